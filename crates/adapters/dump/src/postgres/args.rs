//! The user's own arguments for `pg_dump`: which would break us, and which choose parts of a database.

use backupctl_domain::{ErrorCode, Failure};

/// What is known of `options.extra_args`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExtraArgs {
    /// The first argument that chooses what is dumped: then the catalog says nothing of the archive.
    pub(crate) selects: Option<String>,
    /// Whether a snapshot of ours would be refused.
    pub(crate) own_transaction: bool,
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

/// Reads the arguments; `INVALID_CONFIG` naming the first that cannot be.
pub(crate) fn check(args: &[String]) -> Result<ExtraArgs, Failure> {
    let mut found = ExtraArgs { selects: None, own_transaction: false };
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
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
                REFUSED.iter().find(|r| r.0 == name || !known && is_prefix(name, r.0))
            {
                return Err(refused(arg, why));
            }
            let selecting = |s: &str| name.starts_with(s) || !known && is_prefix(name, s);
            if LONG_SELECTING.iter().any(|s| selecting(s)) {
                found.selects.get_or_insert_with(|| arg.clone());
            }
            found.own_transaction |= name.starts_with("serial");
            if known && !has_value {
                rest.next();
            }
        } else if let Some(cluster) = arg.strip_prefix('-').filter(|c| !c.is_empty()) {
            for (i, letter) in cluster.char_indices() {
                if let Some((_, _, why)) = REFUSED.iter().find(|r| r.1 == letter) {
                    return Err(refused(arg, why));
                }
                if SHORT_SELECTING.contains(letter) {
                    found.selects.get_or_insert_with(|| arg.clone());
                }
                if SHORT_WITH_VALUE.contains(letter) {
                    if i + letter.len_utf8() == cluster.len() {
                        rest.next();
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
    Failure::new(
        ErrorCode::InvalidConfig,
        format!("`database.options.extra_args` may not hold {shown}: {why}"),
    )
    .with_remedy(format!("remove {shown} from `database.options.extra_args`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(list: &[&str]) -> Result<ExtraArgs, Failure> {
        check(&list.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>())
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
