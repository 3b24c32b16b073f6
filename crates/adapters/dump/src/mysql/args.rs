//! The user's own arguments for the dump program: which would break us, which leave something out on
//! purpose, and which are about the connection.

use backupctl_domain::Failure;

use crate::extra_args;

/// What is known of `options.extra_args`.
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the programs")]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ExtraArgs {
    /// The first argument that leaves out definitions: then the catalog says nothing of the dump.
    pub(crate) selects: Option<String>,
    /// The first argument that leaves out rows.
    pub(crate) without_rows: Option<String>,
    /// Triggers are not wanted.
    pub(crate) skips_triggers: bool,
    /// Routines are not wanted.
    pub(crate) skips_routines: bool,
    /// Events are not wanted.
    pub(crate) skips_events: bool,
    /// Whether the history of system-versioned tables is wanted or not is said.
    pub(crate) history_is_chosen: bool,
    /// Databases that are not wanted, of all.
    pub(crate) ignored_databases: Vec<String>,
    /// Those about the connection, which the client needs too.
    pub(crate) connection: Vec<String>,
}

const SETTINGS: &str = "the keys of `database` set how the server is reached";
const TABLES: &str = "set `database.options.exclude_tables` or `exclude_table_data`";
const STREAMED: &str = "the dump is streamed";
const UNPROVEN: &str = "what it writes could not be proven";
const NO_PROOF: &str = "the lines that prove the dump would be missing";
const GOES_ON: &str = "it would go on after errors and say that the dump is complete";

/// Long options that are ours to set, or that take from the dump what proves it, with the reason.
const REFUSED: &[(&str, char, &str)] = &[
    ("all-databases", 'A', "set `database.name: all`"),
    ("compact", '\0', NO_PROOF),
    ("compatible", '\0', UNPROVEN),
    ("databases", 'B', "set `database.name`"),
    ("debug", '#', "it makes no dump"),
    ("defaults-extra-file", '\0', SETTINGS),
    ("defaults-file", '\0', SETTINGS),
    ("defaults-group-suffix", '\0', SETTINGS),
    ("delete-master-logs", '\0', "it deletes logs of the server"),
    ("delete-source-logs", '\0', "it deletes logs of the server"),
    ("dir", '\0', STREAMED),
    ("fields-enclosed-by", '\0', UNPROVEN),
    ("fields-escaped-by", '\0', UNPROVEN),
    ("fields-optionally-enclosed-by", '\0', UNPROVEN),
    ("fields-terminated-by", '\0', UNPROVEN),
    ("force", 'f', GOES_ON),
    ("help", '?', "it makes no dump"),
    ("host", 'h', "set `database.host`"),
    ("ignore-error", '\0', GOES_ON),
    ("ignore-table", '\0', TABLES),
    ("ignore-table-data", '\0', TABLES),
    ("ignore-views", '\0', "set `database.options.exclude_tables`"),
    ("lines-terminated-by", '\0', UNPROVEN),
    ("login-path", '\0', SETTINGS),
    ("no-defaults", '\0', SETTINGS),
    ("password", 'p', "arguments are public; set `database.password`"),
    ("pipe", 'W', SETTINGS),
    ("port", 'P', "set `database.port`"),
    ("print-defaults", '\0', "it makes no dump"),
    ("protocol", '\0', SETTINGS),
    ("result-file", 'r', STREAMED),
    ("socket", 'S', "set `database.host` to the socket"),
    ("tab", 'T', STREAMED),
    ("tables", '\0', "set `database.options.exclude_tables`"),
    ("user", 'u', "set `database.user`"),
    ("version", 'V', "it makes no dump"),
    ("wildcards", '\0', "set `database.options.exclude_tables`"),
    ("xml", 'X', UNPROVEN),
];

/// Beginnings of long options about the connection.
const CONNECTION: &[&str] = &[
    "bind-address",
    "compress",
    "compression-algorithms",
    "default-auth",
    "enable-cleartext-plugin",
    "get-server-public-key",
    "plugin-dir",
    "server-public-key-path",
    "ssl",
    "tls",
];

/// Long options whose value may stand in an argument of its own.
const LONG_WITH_VALUE: &[&str] = &[
    "as-of",
    "bind-address",
    "character-sets-dir",
    "compression-algorithms",
    "default-auth",
    "default-character-set",
    "ignore-database",
    "init-command",
    "max-allowed-packet",
    "net-buffer-length",
    "parallel",
    "plugin-dir",
    "server-public-key-path",
    "ssl-ca",
    "ssl-capath",
    "ssl-cert",
    "ssl-cipher",
    "ssl-crl",
    "ssl-crlpath",
    "ssl-key",
    "ssl-mode",
    "system",
    "tls-ciphersuites",
    "tls-version",
    "where",
];

/// Options that may be named and not be switched off.
const NEVER_OFF: &[&str] = &["comments", "quote-names"];
/// Options that may be named and switched off.
const SWITCHES: &[&str] = &["events", "routines", "triggers"];

/// A long option in one form, however it is written.
struct Long<'a> {
    name: String,
    value: Option<&'a str>,
    off: bool,
}

impl<'a> Long<'a> {
    /// The programs take `_` for `-`, and `skip-`, `disable-` or `=0` for no.
    fn read(text: &'a str) -> Self {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let name = name.replace('_', "-");
        let name = name.strip_prefix("loose-").unwrap_or(&name);
        let negated = name.strip_prefix("skip-").or(name.strip_prefix("disable-"));
        let no = value.is_some_and(|v| ["0", "false", "off"].contains(&v.to_lowercase().as_str()));
        let off = negated.is_some() || no;
        let plain = match name {
            // This one is called so.
            "enable-cleartext-plugin" => name,
            _ => negated.or(name.strip_prefix("enable-")).unwrap_or(name),
        };
        Self { name: plain.to_owned(), value, off }
    }

    fn is_known(&self) -> bool {
        [LONG_WITH_VALUE, NEVER_OFF, SWITCHES, CONNECTION].iter().any(|l| l.contains(&&*self.name))
    }

    /// Whether it is that option; the programs take an unambiguous beginning for the whole.
    fn is(&self, option: &str) -> bool {
        let beginning = self.name.len() >= 3 && option.starts_with(&self.name);
        self.name == option || beginning && !self.is_known()
    }

    fn takes_value(&self) -> bool {
        LONG_WITH_VALUE.contains(&&*self.name) && !self.off
    }
}

/// Reads the arguments; `INVALID_CONFIG` naming the first that cannot be.
pub(crate) fn check(args: &[String]) -> Result<ExtraArgs, Failure> {
    let mut found = ExtraArgs::default();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if let Some(text) = arg.strip_prefix("--") {
            if text.is_empty() {
                return Err(refused(arg, "everything behind it would be a table's name"));
            }
            let long = Long::read(text);
            let separate = match long.value {
                None if long.takes_value() => rest.next(),
                _ => None,
            };
            found.take(arg, &long, long.value.or(separate.map(String::as_str)))?;
            if CONNECTION.iter().any(|c| long.name.starts_with(c)) {
                found.connection.extend([arg].into_iter().chain(separate).cloned());
            }
        } else if let Some(cluster) = arg.strip_prefix('-').filter(|c| !c.is_empty()) {
            for (i, letter) in cluster.char_indices() {
                if let Some((_, _, why)) = REFUSED.iter().find(|r| r.1 == letter) {
                    return Err(refused(arg, why));
                }
                found.take_letter(arg, letter);
                if letter == 'w' {
                    if i + 1 == cluster.len() {
                        rest.next();
                    }
                    break;
                }
            }
        } else {
            return Err(refused(arg, "it would be taken for a table's name"));
        }
    }
    Ok(found)
}

impl ExtraArgs {
    fn take(&mut self, arg: &str, long: &Long<'_>, value: Option<&str>) -> Result<(), Failure> {
        // Off by a word in front of it is harmless; `--password=0` is a password.
        let negated = long.off && long.value.is_none();
        if let Some((_, _, why)) = REFUSED.iter().find(|r| !negated && long.is(r.0)) {
            return Err(refused(arg, why));
        }
        if long.off && NEVER_OFF.iter().any(|option| long.is(option)) {
            return Err(refused(arg, NO_PROOF));
        }
        match (long.name.as_str(), value) {
            ("triggers", _) => self.skips_triggers = long.off,
            ("routines", _) => self.skips_routines = long.off,
            ("events", _) => self.skips_events = long.off,
            ("dump-history" | "as-of", _) => self.history_is_chosen = true,
            ("ignore-database", Some(name)) => self.ignored_databases.push(name.to_owned()),
            ("default-character-set", Some(set)) if !set.to_lowercase().starts_with("utf8") => {
                return Err(refused(arg, "names are compared in UTF-8"));
            }
            ("no-data" | "where", _) if !long.off => self.take_letter(arg, 'w'),
            ("no-create-info" | "no-create-db", _) if !long.off => self.take_letter(arg, 't'),
            _ => {}
        }
        Ok(())
    }

    fn take_letter(&mut self, arg: &str, letter: char) {
        self.history_is_chosen |= letter == 'H';
        let list = match letter {
            'd' | 'w' => &mut self.without_rows,
            't' | 'n' => &mut self.selects,
            _ => return,
        };
        list.get_or_insert_with(|| arg.split('=').next().unwrap_or(arg).to_owned());
    }
}

fn refused(arg: &str, why: &str) -> Failure {
    // What is glued to a short option may be a password.
    let shown: String = match arg.strip_prefix('-') {
        Some(rest) if !rest.starts_with('-') => arg.chars().take(2).collect(),
        _ => arg.split('=').next().unwrap_or(arg).to_owned(),
    };
    extra_args::refused(&shown, why)
}

#[cfg(test)]
mod tests {
    use backupctl_domain::ErrorCode;

    use super::*;

    fn args(list: &[&str]) -> Result<ExtraArgs, Failure> {
        check(&list.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn what_would_break_the_dump_or_its_proof_is_refused_by_name() {
        for bad in [
            &["--skip-comments"][..],
            &["--comments=0"],
            &["--skip_comments"],
            &["--disable-comments"],
            &["--skip-comm"],
            &["--compact"],
            &["--comp"],
            &["--force"],
            &["-f"],
            &["-qf"],
            &["--result-file=/x"],
            &["--result_file", "/x"],
            &["-r/x"],
            &["-psecret"],
            &["--password=secret"],
            &["--password=0"],
            &["-uroot"],
            &["--host=other"],
            &["--all-databases"],
            &["-A"],
            &["--databases"],
            &["--tab=/tmp"],
            &["--xml"],
            &["--ignore-table=a.b"],
            &["--ignore-table-data=a.b"],
            &["--delete-master-logs"],
            &["--skip-quote-names"],
            &["--compatible=ansi"],
            &["--no-defaults"],
            &["--default-character-set=latin1"],
            &["orders"],
            &["--hex-blob", "orders"],
            &["--"],
        ] {
            let failure = args(bad).unwrap_err();
            assert_eq!(failure.code, ErrorCode::InvalidConfig, "{bad:?}");
            assert!(!failure.message.contains("secret"), "{}", failure.message);
        }
    }

    #[test]
    fn harmless_arguments_pass_and_what_they_leave_out_is_known() {
        for fine in [
            &["--hex-blob", "-v"][..],
            &["--max-allowed-packet", "512M"],
            &["--default-character-set=utf8mb4"],
            &["--skip-lock-tables", "--skip-opt"],
            &["--single-transaction", "-R", "-E", "--comments"],
            &["--set-gtid-purged=AUTO"],
            &["--dump-date"],
            &["--order-by-primary"],
        ] {
            assert_eq!(args(fine).unwrap(), ExtraArgs::default(), "{fine:?}");
        }
        let found = args(&["--skip-triggers", "--routines=FALSE", "--disable_events"]).unwrap();
        assert!(found.skips_triggers && found.skips_routines && found.skips_events);
        let found = args(&["--skip-triggers", "--triggers"]).unwrap();
        assert!(!found.skips_triggers, "the last one counts");
        assert_eq!(args(&["-t"]).unwrap().selects.as_deref(), Some("-t"));
        assert_eq!(args(&["--no-data"]).unwrap().without_rows.as_deref(), Some("--no-data"));
        assert_eq!(args(&["-w", "id>5"]).unwrap().without_rows.as_deref(), Some("-w"));
        let found = args(&["--ignore-database=a", "--ssl-key=/k", "--ssl-cert", "/c"]).unwrap();
        assert_eq!(found.ignored_databases, ["a"]);
        for chosen in
            [&["--dump-history"][..], &["--skip-dump-history"], &["-H"], &["--as-of", "x"]]
        {
            assert!(args(chosen).unwrap().history_is_chosen, "{chosen:?}");
        }
        assert_eq!(found.connection, ["--ssl-key=/k", "--ssl-cert", "/c"]);
    }
}
