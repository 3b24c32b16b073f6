//! The user's own arguments for `pg_dump`: which would break us, and which choose parts of a database.

use backupctl_domain::Failure;

use crate::extra_args;

/// What is known of `options.extra_args`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ExtraArgs {
    /// The first argument that chooses what is dumped: then the catalog says nothing of the archive.
    pub(crate) selects: Option<String>,
    /// Whether a snapshot of ours would be refused.
    pub(crate) own_transaction: bool,
    /// Those for `pg_dump`.
    pub(crate) dump: Vec<String>,
    /// Those for `pg_dumpall`, which writes roles and tablespaces.
    pub(crate) globals: Vec<String>,
    /// Whether roles are dumped without their passwords.
    pub(crate) no_passwords: bool,
    /// Whether tablespaces are left out.
    pub(crate) no_tablespaces: bool,
}

/// Short options of `pg_dump` that take a value.
const SHORT_WITH_VALUE: &str = "deEfFhjnNpStTUZ";
/// Short options that choose what is dumped.
const SHORT_SELECTING: &str = "aBenNstT";

/// Long options that are ours to set, or that change what comes out of `pg_dump`, with the reason.
const REFUSED: &[(&str, char, &str)] = &[
    ("format", 'F', "the format is always custom"),
    ("file", 'f', "the dump is streamed"),
    ("jobs", 'j', "the dump is streamed in one piece"),
    ("compress", 'Z', "`compression` sets how the dump is compressed"),
    ("enable-row-security", '\0', "the dump would silently lack rows"),
    ("password", 'W', "nobody is there to type it; set `database.password`"),
    ("dbname", 'd', "set `database.name`"),
    ("host", 'h', "set `database.host`"),
    ("port", 'p', "set `database.port`"),
    ("username", 'U', "set `database.user`"),
    ("snapshot", '\0', "backupctl passes a snapshot of its own"),
    ("help", '?', "it makes no dump"),
    ("version", 'V', "it makes no dump"),
];

/// The same for a script, of which loading knows what it makes.
const REFUSED_IN_SCRIPT: &[(&str, char, &str)] = &[
    ("create", 'C', "backupctl decides whether the script makes its database"),
    ("clean", 'c', "the script would drop what is there when it is loaded"),
];

/// Long options that mean the same to `pg_dumpall`.
const FOR_GLOBALS_TOO: &[&str] = &[
    "lock-wait-timeout",
    "no-comments",
    "no-security-labels",
    "no-tablespaces",
    "quote-all-identifiers",
    "role",
];

/// Long options that take a value in an argument of its own; those that are not here and not refused
/// take none or are written `--name=value`.
const LONG_WITH_VALUE: &[&str] = &[
    "encoding",
    "exclude-extension",
    "exclude-schema",
    "exclude-table",
    "exclude-table-and-children",
    "exclude-table-data",
    "exclude-table-data-and-children",
    "extension",
    "extra-float-digits",
    "filter",
    "include-foreign-data",
    "lock-wait-timeout",
    "restrict-key",
    "role",
    "rows-per-insert",
    "schema",
    "section",
    "superuser",
    "sync-method",
    "table",
    "table-and-children",
];

/// Beginnings of long options that choose what is dumped.
const LONG_SELECTING: &[&str] = &[
    "data-only",
    "exclude-",
    "extension",
    "filter",
    "include-foreign-data",
    "no-data",
    "no-schema",
    "no-statistics",
    "no-unlogged-table-data",
    "schema",
    "section",
    "sequence-data",
    "statistics",
    "table",
];

/// Reads the arguments; `INVALID_CONFIG` naming the first that cannot be. `script` for a dump as SQL, with
/// roles in it.
pub(crate) fn check(args: &[String], script: bool) -> Result<ExtraArgs, Failure> {
    let mut found = ExtraArgs::default();
    let refusing = || REFUSED.iter().chain(REFUSED_IN_SCRIPT.iter().filter(|_| script));
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if arg == "--no-role-passwords" {
            if !script {
                return Err(refused(arg, "without `database.options.globals` no roles are dumped"));
            }
            found.no_passwords = true;
            found.globals.push(arg.clone());
            continue;
        }
        found.dump.push(arg.clone());
        if let Some(long) = arg.strip_prefix("--") {
            let (name, has_value) = match long.split_once('=') {
                Some((name, _)) => (name, true),
                None => (long, false),
            };
            if name.is_empty() {
                return Err(refused(arg, "everything behind it would be a database's name"));
            }
            let known = LONG_WITH_VALUE.contains(&name);
            // pg_dump takes any beginning that is unambiguous for the whole name.
            if let Some((_, _, why)) =
                refusing().find(|r| r.0 == name || !known && is_prefix(name, r.0))
            {
                return Err(refused(arg, why));
            }
            let selecting = |s: &str| name.starts_with(s) || !known && is_prefix(name, s);
            if LONG_SELECTING.iter().any(|s| selecting(s)) {
                found.selects.get_or_insert_with(|| arg.clone());
            }
            found.own_transaction |= name.starts_with("serial");
            found.no_tablespaces |= name == "no-tablespaces";
            let value = if known && !has_value { rest.next().cloned() } else { None };
            if FOR_GLOBALS_TOO.contains(&name) {
                found.globals.extend([arg.clone()].into_iter().chain(value.clone()));
            }
            found.dump.extend(value);
        } else if let Some(cluster) = arg.strip_prefix('-').filter(|c| !c.is_empty()) {
            for (i, letter) in cluster.char_indices() {
                if let Some((_, _, why)) = refusing().find(|r| r.1 == letter) {
                    return Err(refused(arg, why));
                }
                if SHORT_SELECTING.contains(letter) {
                    found.selects.get_or_insert_with(|| arg.clone());
                }
                if SHORT_WITH_VALUE.contains(letter) {
                    if i + letter.len_utf8() == cluster.len() {
                        found.dump.extend(rest.next().cloned());
                    }
                    break;
                }
            }
        } else {
            return Err(refused(arg, "it would be taken for a database's name"));
        }
    }
    Ok(found)
}

/// An abbreviation of at least three letters: shorter ones are ambiguous to `pg_dump` itself.
fn is_prefix(given: &str, whole: &str) -> bool {
    given.len() >= 3 && whole.starts_with(given)
}

fn refused(arg: &str, why: &str) -> Failure {
    let shown = arg.split('=').next().unwrap_or(arg);
    extra_args::refused(shown, why)
}

#[cfg(test)]
mod tests {
    use backupctl_domain::ErrorCode;

    use super::*;

    fn args(list: &[&str]) -> Result<ExtraArgs, Failure> {
        let list = list.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>();
        let found = check(&list, false)?;
        assert_eq!(found.dump, list);
        Ok(found)
    }

    #[test]
    fn a_script_has_arguments_for_both_programs() {
        let list = |v: &[&str]| v.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>();
        let given = ["--no-role-passwords", "-O", "--role", "x", "--no-tablespaces", "-n", "app"];
        let found = check(&list(&given), true).unwrap();
        assert_eq!(found.dump, given[1..]);
        assert_eq!(found.globals, ["--no-role-passwords", "--role", "x", "--no-tablespaces"]);
        assert!(found.no_passwords && found.no_tablespaces);
        assert!(check(&list(&given), false).unwrap_err().message.contains("--no-role-passwords"));
        for bad in ["--clean", "-c", "-OC", "--create"] {
            assert!(check(&list(&[bad]), true).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_would_break_the_dump_is_refused_by_name() {
        for bad in [
            &["--format=plain"][..],
            &["--form=plain"],
            &["-Fp"],
            &["-OFp"],
            &["--file", "/x"],
            &["-f/x"],
            &["-j2"],
            &["-Z9"],
            &["--compress=gzip"],
            &["--enable-row-security"],
            &["-W"],
            &["--password"],
            &["-d", "other"],
            &["--dbname=other"],
            &["-Uroot"],
            &["other"],
            &["-O", "other"],
            &["--"],
            &["--no-owner", "--version"],
        ] {
            let failure = args(bad).unwrap_err();
            assert_eq!(failure.code, ErrorCode::InvalidConfig, "{bad:?}");
            let shown = bad.iter().find(|a| failure.message.contains(a.split('=').next().unwrap()));
            assert!(shown.is_some(), "{}", failure.message);
        }
    }

    #[test]
    fn harmless_arguments_pass_and_selecting_ones_are_noticed() {
        for fine in [
            &["--no-owner", "-x", "-v"][..],
            &["--lock-wait-timeout", "5s"],
            &["--role", "reader", "--no-sync"],
            &["-E", "UTF8", "-b"],
            &["--encoding=UTF8"],
        ] {
            assert_eq!(args(fine).unwrap().selects, None, "{fine:?}");
        }
        for (selecting, which) in [
            (&["--schema=app"][..], "--schema=app"),
            (&["--schema", "app"], "--schema"),
            (&["-O", "-nform"], "-nform"),
            (&["-Os"], "-Os"),
            (&["--schema-only"], "--schema-only"),
            (&["-T", "log_*"], "-T"),
            (&["--section=data"], "--section=data"),
            (&["--no-unlogged-table-data"], "--no-unlogged-table-data"),
        ] {
            assert_eq!(args(selecting).unwrap().selects.as_deref(), Some(which), "{selecting:?}");
        }
        assert!(args(&["--serializable-deferrable"]).unwrap().own_transaction);
    }
}
