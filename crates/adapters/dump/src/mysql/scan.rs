//! Reads the SQL of `mysqldump` and `mariadb-dump` while it streams by: what it creates, and whether
//! it ends as it should.
//!
//! Only beginnings of lines are looked at. In the rows of a table no line end stands by itself, since
//! both tools write it as `\n`; the bodies of triggers, routines and events are what may hold anything,
//! and they stand between two `DELIMITER` lines.

use backupctl_domain::manifest::Contents;
use memchr::memchr;

use super::head::{Head, Kind, head, quoted_name};

/// As much of a line or statement as is kept: more than the longest names need.
const KEPT: usize = 4096;

/// Which project's tool has written a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// MariaDB's.
    MariaDb,
    /// MySQL's.
    MySql,
}

impl Family {
    /// The name for messages.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::MariaDb => "MariaDB",
            Self::MySql => "MySQL",
        }
    }
}

/// What was seen of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// Whose tool its head names; `None` for what is no dump.
    pub(crate) family: Option<Family>,
    /// Everything that it creates, by [`contents_name`].
    pub(crate) contents: Contents,
    /// Whether it names its databases, and so goes into those whatever the connection's is.
    pub(crate) names_databases: bool,
    /// How many users it creates.
    pub(crate) users: u64,
    /// Behind which bytes `IF NOT EXISTS` is wanting: the servers that a dump with users is loaded into
    /// have some of them, `root` at least.
    pub(crate) wants_condition: Vec<u64>,
    /// Whether its last line says that it is complete.
    pub(crate) complete: bool,
}

/// How a thing is called in comparisons and messages: `table shop.orders`.
pub(crate) fn contents_name(kind: &str, database: &str, name: &str) -> String {
    if kind == "database" { format!("{kind} {name}") } else { format!("{kind} {database}.{name}") }
}

/// Whether a dump's first line is the one at which clients that do not know it stop.
pub(crate) fn is_sandbox_line(line: &[u8]) -> bool {
    line.starts_with(br"/*M!999999\-") || line.starts_with(br"/*!999999\-")
}

/// A reader that is fed a dump from its first byte.
#[derive(Debug)]
pub(crate) struct Scanner {
    database: String,
    /// Where the line begins that is looked at or kept.
    line_at: u64,
    line_length: u64,
    /// The beginning of the line that is not over yet, and its last two bytes.
    line: Vec<u8>,
    line_end: [u8; 2],
    line_begun: bool,
    /// Between `DELIMITER ;;` and `DELIMITER ;`.
    in_bodies: bool,
    /// The beginning of the statement there; `None` once it is known what it is.
    statement: Option<Vec<u8>>,
    seen: Scanned,
}

impl Scanner {
    /// A reader that has seen nothing; `database` is whose things come before any `USE`.
    pub(crate) fn new(database: &str) -> Self {
        Self {
            database: database.to_owned(),
            line_at: 0,
            line_length: 0,
            line: Vec::new(),
            line_end: [0; 2],
            line_begun: false,
            in_bodies: false,
            statement: Some(Vec::new()),
            seen: Scanned {
                family: None,
                contents: Contents::new(),
                names_databases: false,
                users: 0,
                wants_condition: Vec::new(),
                complete: false,
            },
        }
    }

    /// Takes the next bytes of the dump.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while let Some(end) = memchr(b'\n', bytes) {
            let line = &bytes[..end];
            bytes = &bytes[end + 1..];
            if self.line_begun {
                self.keep(line);
                self.end_line();
            } else {
                self.see(&line[..line.len().min(KEPT)], line.ends_with(b";;"));
                self.line_at += line.len() as u64 + 1;
            }
        }
        if !bytes.is_empty() {
            self.keep(bytes);
        }
    }

    /// The dump has ended.
    pub(crate) fn finish(mut self) -> Scanned {
        if self.line_begun {
            self.end_line();
        }
        self.seen
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.line_begun = true;
        self.line_length += bytes.len() as u64;
        let room = KEPT.saturating_sub(self.line.len());
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
        match bytes {
            [.., a, b] => self.line_end = [*a, *b],
            [b] => self.line_end = [self.line_end[1], *b],
            [] => {}
        }
    }

    fn end_line(&mut self) {
        let mut line = std::mem::take(&mut self.line);
        let closes = self.line_end == *b";;";
        self.line_begun = false;
        self.line_end = [0; 2];
        self.see(&line, closes);
        line.clear();
        self.line = line;
        self.line_at += self.line_length + 1;
        self.line_length = 0;
    }

    /// Looks at a line's beginning; `closes` tells whether it ends a statement between delimiters.
    fn see(&mut self, line: &[u8], closes: bool) {
        if self.in_bodies {
            return self.see_in_bodies(line, closes);
        }
        match line.first() {
            // Blank: what was last is still last.
            None | Some(b'\r') => {}
            Some(b'-') => self.see_comment(line),
            Some(b'C' | b'/') => {
                self.seen.complete = false;
                self.see_statement(line);
            }
            Some(b'U') => {
                self.seen.complete = false;
                if let Some(name) = line.strip_prefix(b"USE ").and_then(quoted_name) {
                    self.database = name;
                    self.seen.names_databases = true;
                }
            }
            Some(b'D') => {
                self.seen.complete = false;
                if line.strip_prefix(b"DELIMITER ").is_some_and(|d| d.trim_ascii() != b";") {
                    self.in_bodies = true;
                    self.statement = Some(Vec::new());
                }
            }
            Some(_) => self.seen.complete = false,
        }
    }

    fn see_statement(&mut self, line: &[u8]) {
        let bare = line[0] == b'C';
        self.see_user(line);
        let Head::Creates { kind, name, create } = head(line, true) else { return };
        // A view is first made as a stand-in, inside a conditional comment; its second half, which
        // makes the real one, has no `CREATE`.
        let counts = match (bare, create) {
            (true, _) => true,
            (false, true) => !matches!(kind, Kind::Table | Kind::View),
            (false, false) => kind == Kind::View,
        };
        // A function of a library is the server's, of no database.
        let of_library = kind == Kind::Function && line.windows(8).any(|w| w == b" SONAME ");
        if counts && !of_library {
            self.note(kind, &name);
        }
    }

    fn see_user(&mut self, line: &[u8]) {
        let (statement, quote) = match line.first() {
            Some(b'C') => (&b"CREATE USER "[..], b'`'),
            // Inside the mark of a conditional comment.
            _ => (&b"CREATE ROLE "[..], b'\''),
        };
        let begin = line.iter().take(16).position(|b| *b == b'C').unwrap_or_default();
        let Some(name) = line[begin..].strip_prefix(statement) else { return };
        self.seen.users += u64::from(begin == 0);
        if name.first() == Some(&quote) {
            let end = begin + statement.len() - 1;
            self.seen.wants_condition.push(self.line_at + end as u64);
        }
    }

    fn see_comment(&mut self, line: &[u8]) {
        self.seen.complete = line.starts_with(b"-- Dump completed");
        if self.seen.family.is_none() {
            if line.starts_with(b"-- MariaDB dump ") {
                self.seen.family = Some(Family::MariaDb);
            } else if line.starts_with(b"-- MySQL dump ") {
                self.seen.family = Some(Family::MySql);
            }
        }
    }

    fn see_in_bodies(&mut self, line: &[u8], closes: bool) {
        self.seen.complete = false;
        if line.strip_prefix(b"DELIMITER ").is_some_and(|d| d.trim_ascii() == b";") {
            self.in_bodies = false;
            return;
        }
        if let Some(statement) = &mut self.statement {
            let room = KEPT.saturating_sub(statement.len());
            statement.extend_from_slice(&line[..line.len().min(room)]);
            statement.push(b'\n');
            match head(statement, closes || statement.len() > KEPT) {
                Head::Unknown => {}
                Head::Nothing => self.statement = None,
                Head::Creates { kind, name, .. } => {
                    self.statement = None;
                    self.note(kind, &name);
                }
            }
        }
        if closes {
            self.statement = Some(Vec::new());
        }
    }

    fn note(&mut self, kind: Kind, name: &str) {
        if kind == Kind::Database {
            self.seen.names_databases = true;
        }
        self.seen.contents.insert(contents_name(kind.name(), &self.database, name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &[u8] = include_bytes!("../../tests/fixtures/mariadb-dump-everything.sql");

    fn scanned(dump: &[u8], step: usize) -> Scanned {
        let mut scanner = Scanner::new("shop");
        dump.chunks(step).for_each(|chunk| scanner.feed(chunk));
        scanner.finish()
    }

    fn names(seen: &Scanned) -> Vec<&str> {
        seen.contents.iter().map(String::as_str).collect()
    }

    #[test]
    fn everything_in_a_real_dump_is_seen_wherever_it_is_cut_into_chunks() {
        let expected = [
            "event shop.ev1",
            "function shop.f1",
            "package body shop.pk",
            "package shop.pk",
            "procedure shop.p1",
            "sequence shop.s1",
            "table shop.log",
            "table shop.orders",
            "table shop.sv",
            "trigger shop.tr1",
            "view shop.v",
        ];
        let whole = scanned(WHOLE, WHOLE.len());
        assert_eq!(names(&whole), expected);
        assert_eq!((whole.family, whole.complete), (Some(Family::MariaDb), true));
        assert!(!whole.names_databases);
        for step in [1, 2, 3, 7, 64, 1000, 4095] {
            assert_eq!(scanned(WHOLE, step), whole, "chunks of {step}");
        }
    }

    #[test]
    fn a_dump_cut_before_its_last_line_is_not_complete() {
        let words = b"-- Dump completed on";
        let last = WHOLE.windows(words.len()).rposition(|w| w == words).unwrap();
        let enough = last + "-- Dump completed".len();
        for cut in 0..enough {
            assert!(!scanned(&WHOLE[..cut], 4096).complete, "cut at {cut}");
        }
        // Whether the date behind the words is whole does not matter.
        assert!(scanned(&WHOLE[..enough], 4096).complete);
        assert!(!scanned(&[WHOLE, b"INSERT INTO `t` VALUES (1);"].concat(), 4096).complete);
        assert!(scanned(&[WHOLE, b"\n\n"].concat(), 4096).complete);
    }

    #[test]
    fn what_bodies_say_is_not_believed() {
        let dump = b"-- MySQL dump 10.13\nINSERT INTO `t` VALUES ('x');\nDELIMITER ;;\n\
            CREATE DEFINER=`r`@`l` PROCEDURE `p`()\nbegin\nCREATE TABLE `no` (a int);\n\
            -- Dump completed\nDELIMITER\nend ;;\n\
            /*!50003 CREATE*/ /*!50003 TRIGGER\n `t1` BEFORE INSERT ON `t` FOR EACH ROW set @a=1 */;;\n\
            DELIMITER ;\n";
        let seen = scanned(dump, 5);
        assert_eq!(names(&seen), ["procedure shop.p", "trigger shop.t1"]);
        assert_eq!((seen.family, seen.complete), (Some(Family::MySql), false));
    }

    #[test]
    fn lines_longer_than_any_buffer_cost_nothing() {
        let mut scanner = Scanner::new("shop");
        scanner.feed(b"INSERT INTO `t` VALUES ('");
        for _ in 0..1000 {
            scanner.feed(&[b'x'; 10_000]);
        }
        assert!(scanner.line.capacity() < 3 * KEPT);
        scanner.feed(b"');\n-- Dump completed on 2026-03-18  0:00:05\n");
        assert!(scanner.finish().complete);
    }

    #[test]
    fn several_databases_are_told_apart() {
        let dump =
            b"-- Current Database: `a`\n--\n\nCREATE DATABASE /*!32312 IF NOT EXISTS*/ `a`;\n\
            USE `a`;\nCREATE TABLE `t` (\n  `x` int\n);\nUSE `b.c`;\nCREATE TABLE `t` (\n\
            CREATE USER `u`@`%` IDENTIFIED BY PASSWORD '*1';\n\
            CREATE ROLE IF NOT EXISTS mariadb_dump_import_role;\n\
            CREATE FUNCTION IF NOT EXISTS `lib` RETURNS STRING SONAME 'lib.so';\n\
            /*M!100005 CREATE ROLE 'r' WITH ADMIN mariadb_dump_import_role */;\n";
        let seen = scanned(dump, 9);
        assert_eq!(names(&seen), ["database a", "table a.t", "table b.c.t"]);
        assert!(seen.names_databases);
        assert_eq!(seen.users, 1);
        let text = String::from_utf8_lossy(dump);
        let at: Vec<_> =
            seen.wants_condition.iter().map(|at| &text[..usize::try_from(*at).unwrap()]).collect();
        assert!(at.len() == 2 && at[0].ends_with("\nCREATE USER"), "{at:?}");
        assert!(at[1].ends_with("/*M!100005 CREATE ROLE"), "{at:?}");
    }
}
