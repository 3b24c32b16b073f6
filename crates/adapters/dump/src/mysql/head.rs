//! The beginning of a `CREATE` statement, as the servers and tools write it: what is created, and how
//! it is called.

/// What a dump can create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Database,
    Table,
    View,
    Sequence,
    Trigger,
    Procedure,
    Function,
    Package,
    PackageBody,
    Event,
}

impl Kind {
    /// The word for messages, which is also the catalog's in lower case.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Table => "table",
            Self::View => "view",
            Self::Sequence => "sequence",
            Self::Trigger => "trigger",
            Self::Procedure => "procedure",
            Self::Function => "function",
            Self::Package => "package",
            Self::PackageBody => "package body",
            Self::Event => "event",
        }
    }

    fn of(word: &[u8]) -> Option<Self> {
        const WORDS: &[(&str, Kind)] = &[
            ("DATABASE", Kind::Database),
            ("TABLE", Kind::Table),
            ("VIEW", Kind::View),
            ("SEQUENCE", Kind::Sequence),
            ("TRIGGER", Kind::Trigger),
            ("PROCEDURE", Kind::Procedure),
            ("FUNCTION", Kind::Function),
            ("PACKAGE", Kind::Package),
            ("EVENT", Kind::Event),
        ];
        WORDS.iter().find(|(w, _)| word.eq_ignore_ascii_case(w.as_bytes())).map(|(_, kind)| *kind)
    }
}

/// What the beginning of a statement tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Head {
    /// Not enough of it is there.
    Unknown,
    /// It creates nothing of interest.
    Nothing,
    /// It creates this.
    Creates {
        /// What kind of thing.
        kind: Kind,
        /// Its name, without its database's.
        name: String,
        /// Whether the word `CREATE` stands before; the second half of a view has none.
        create: bool,
    },
}

/// Reads it. `whole` says that no more will come.
pub(crate) fn head(statement: &[u8], whole: bool) -> Head {
    let unknown = if whole { Head::Nothing } else { Head::Unknown };
    let mut tokens = Tokens { rest: statement };
    let mut create = false;
    let mut first = true;
    let mut kind = None;
    loop {
        let Some(token) = tokens.next(whole) else { return unknown };
        match (token, kind) {
            (Token::Word(word), None) => {
                kind = Kind::of(word);
                if first && kind.is_none() {
                    if !word.eq_ignore_ascii_case(b"CREATE") {
                        return Head::Nothing;
                    }
                    create = true;
                }
                first = false;
            }
            (Token::End, _) | (Token::Other(b';'), None) | (Token::Other(_), Some(_)) => {
                return Head::Nothing;
            }
            (_, None) => {}
            (Token::Word(word), Some(Kind::Package)) if word.eq_ignore_ascii_case(b"BODY") => {
                kind = Some(Kind::PackageBody);
            }
            (Token::Word(word), Some(_)) if is_condition(word) => {}
            (Token::Word(name), Some(kind)) => {
                return named(kind, create, text(name), tokens, whole);
            }
            (Token::Quoted(name), Some(kind)) => return named(kind, create, name, tokens, whole),
        }
    }
}

/// The name is there; one with a point behind it is the database's.
fn named(kind: Kind, create: bool, name: String, mut tokens: Tokens<'_>, whole: bool) -> Head {
    let name = match tokens.next(whole) {
        None if !whole => return Head::Unknown,
        Some(Token::Other(b'.')) => match tokens.next(whole) {
            None if !whole => return Head::Unknown,
            Some(Token::Word(name)) => text(name),
            Some(Token::Quoted(name)) => name,
            _ => name,
        },
        _ => name,
    };
    Head::Creates { kind, name, create }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn is_condition(word: &[u8]) -> bool {
    [&b"IF"[..], b"NOT", b"EXISTS"].iter().any(|w| word.eq_ignore_ascii_case(w))
}

/// The name with which a text begins, in backquotes.
pub(crate) fn quoted_name(text: &[u8]) -> Option<String> {
    match (Tokens { rest: text }).next(true) {
        Some(Token::Quoted(name)) => Some(name),
        _ => None,
    }
}

enum Token<'a> {
    Word(&'a [u8]),
    Quoted(String),
    Other(u8),
    End,
}

/// SQL in pieces; the marks of conditional comments are passed over, what they hold is not.
struct Tokens<'a> {
    rest: &'a [u8],
}

impl<'a> Tokens<'a> {
    /// The next piece; `None` where it is cut and more may come, or where a quote never ends.
    fn next(&mut self, whole: bool) -> Option<Token<'a>> {
        loop {
            self.rest = self.rest.trim_ascii_start();
            let Some(byte) = self.rest.first() else { return whole.then_some(Token::End) };
            if !whole && matches!(self.rest, b"/" | b"/*" | b"/*M" | b"*" | b"-" | b"--") {
                return None;
            }
            if let Some(inside) = self.rest.strip_prefix(b"/*") {
                let inside = inside.strip_prefix(b"M").unwrap_or(inside);
                if let Some(version) = inside.strip_prefix(b"!") {
                    let digits = version.iter().take_while(|b| b.is_ascii_digit()).count();
                    self.rest = &version[digits..];
                } else {
                    self.skip_past(b"*/")?;
                }
            } else if let Some(rest) = self.rest.strip_prefix(b"*/") {
                self.rest = rest;
            } else if *byte == b'#' || self.rest.starts_with(b"-- ") {
                self.skip_past(b"\n")?;
            } else if matches!(byte, b'`' | b'"' | b'\'') {
                return self.quoted(*byte).map(Token::Quoted);
            } else {
                let length = self.rest.iter().take_while(|b| is_word(**b)).count();
                if length == self.rest.len() && !whole {
                    return None;
                }
                let (token, rest) = self.rest.split_at(length.max(1));
                self.rest = rest;
                return Some(if length == 0 { Token::Other(token[0]) } else { Token::Word(token) });
            }
        }
    }

    fn skip_past(&mut self, end: &[u8]) -> Option<()> {
        let at = self.rest.windows(end.len()).skip(1).position(|w| w == end)?;
        self.rest = &self.rest[at + 1 + end.len()..];
        Some(())
    }

    /// Text in quotes, in which the quote stands doubled.
    fn quoted(&mut self, quote: u8) -> Option<String> {
        let mut out = Vec::new();
        let mut at = 1;
        loop {
            let byte = *self.rest.get(at)?;
            if byte == quote {
                if self.rest.get(at + 1) != Some(&quote) {
                    break;
                }
                at += 1;
            }
            out.push(byte);
            at += 1;
        }
        self.rest = &self.rest[at + 1..];
        Some(text(&out))
    }
}

/// What an unquoted name may hold.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(Kind, String, bool)> {
        match head(text.as_bytes(), true) {
            Head::Creates { kind, name, create } => Some((kind, name, create)),
            _ => None,
        }
    }

    #[test]
    fn what_is_created_and_its_name_are_read_as_servers_write_them() {
        for (text, kind, name) in [
            ("CREATE TABLE `orders` (", Kind::Table, "orders"),
            ("CREATE TABLE IF NOT EXISTS `a``b` (", Kind::Table, "a`b"),
            ("CREATE DATABASE /*!32312 IF NOT EXISTS*/ `-x y` /*!40100 …", Kind::Database, "-x y"),
            ("CREATE SEQUENCE `s1` start with 1", Kind::Sequence, "s1"),
            ("CREATE DEFINER=`event`@`%` PROCEDURE `p1`()", Kind::Procedure, "p1"),
            ("CREATE DEFINER=\"r\"@\"l\" PACKAGE BODY \"pk\" as", Kind::PackageBody, "pk"),
            ("CREATE DEFINER=\"r\"@\"l\" PACKAGE \"pk\" as", Kind::Package, "pk"),
            ("CREATE AGGREGATE FUNCTION f(x INT)", Kind::Function, "f"),
            (
                "/*!50003 CREATE*/ /*!50017 DEFINER=`r`@`l`*/ /*!50003 trigger tr1 before insert",
                Kind::Trigger,
                "tr1",
            ),
            (
                "/*!50003 CREATE*/ /*!50003 TRIGGER /* why */ if not exists\n-- so\n `shop`.`t r` on",
                Kind::Trigger,
                "t r",
            ),
            (
                "/*!50106 CREATE*/ /*!50117 DEFINER=`r`@`l`*/ /*!50106 EVENT `ev1` ON SCHEDULE",
                Kind::Event,
                "ev1",
            ),
        ] {
            assert_eq!(read(text), Some((kind, name.to_owned(), true)), "{text}");
        }
        let second_half = "/*!50001 VIEW `v` AS select 1 */;";
        assert_eq!(read(second_half), Some((Kind::View, "v".to_owned(), false)));
        for text in [
            "/*!50003 SET sql_mode = 'CREATE TABLE x' */ ;;",
            "/*!50001 CREATE ALGORITHM=UNDEFINED */",
            "/*!50013 DEFINER=`root`@`localhost` SQL SECURITY DEFINER */",
            "CREATE USER `event`@`%`;",
            "INSERT INTO `table` VALUES",
            "",
            "CREATE TABLE",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_beginning_that_may_go_on_is_not_judged() {
        let whole = "/*!50003 CREATE*/ /* a */ /*!50003 trigger\n -- b\n tr1\n before insert on t";
        for cut in 0..whole.len() {
            match head(&whole.as_bytes()[..cut], false) {
                Head::Unknown => {}
                Head::Creates { name, .. } => assert_eq!(name, "tr1", "cut at {cut}"),
                Head::Nothing => panic!("cut at {cut}"),
            }
        }
    }
}
