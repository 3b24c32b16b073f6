//! The variables that a configuration may use: the process's own and those of a `.env` file.
//!
//! Both are captured as values, so that loading depends on nothing that a test cannot give it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use backupctl_domain::redact::is_secret_name;

use crate::expand::{Problem, expand};

/// The surroundings that configuration is read in, captured once.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// The variables.
    pub variables: BTreeMap<String, String>,
    /// The current folder.
    pub cwd: PathBuf,
    /// The user's home folder, if there is one.
    pub home: Option<PathBuf>,
    /// The effective user's number; 0 is root.
    pub euid: u32,
}

impl Environment {
    /// Captures the process's surroundings. Variables that are not UTF-8 are passed over.
    pub fn from_process() -> Self {
        let variables: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .collect();
        let home = variables.get("HOME").filter(|h| !h.is_empty()).map(PathBuf::from);
        Self {
            cwd: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            home,
            euid: rustix::process::geteuid().as_raw(),
            variables,
        }
    }

    /// A variable of the process; one that is empty counts as unset.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|v| !v.is_empty())
    }

    /// A base folder of the XDG specification: the variable's, else this one below home.
    pub(crate) fn xdg(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        self.get(variable)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
            .or_else(|| Some(self.home.as_ref()?.join(below_home)))
    }
}

/// Where a variable's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Process,
    /// The `.env` file's line.
    DotEnv(u64),
}

/// The variables of process and `.env` together.
#[derive(Debug)]
pub(crate) struct Variables<'a> {
    pub environment: &'a Environment,
    /// The `.env` file, whether it exists or not.
    pub dotenv_file: PathBuf,
    pub dotenv: BTreeMap<String, (String, u64)>,
}

impl Variables<'_> {
    /// A variable and where it is from. The process wins; empty ones are unset.
    pub(crate) fn get(&self, name: &str) -> Option<(&str, Source)> {
        if let Some(value) = self.environment.get(name) {
            return Some((value, Source::Process));
        }
        let (value, line) = self.dotenv.get(name)?;
        (!value.is_empty()).then_some((value.as_str(), Source::DotEnv(*line)))
    }

    /// Where a variable is set to nothing, if it is.
    pub(crate) fn set_to_nothing(&self, name: &str) -> Option<Source> {
        if let Some((value, line)) = self.dotenv.get(name) {
            return value.is_empty().then_some(Source::DotEnv(*line));
        }
        let process = self.environment.variables.get(name)?;
        process.is_empty().then_some(Source::Process)
    }

    /// Its value alone.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.get(name).map(|(value, _)| value)
    }

    /// Every value whose variable's name says that it is a secret.
    pub(crate) fn secrets(&self) -> Vec<String> {
        // Masking a word of three letters would blacken the text and hide nothing.
        let secret = |name: &str, value: &str| value.len() >= 4 && is_secret_name(name);
        let own = self.environment.variables.iter();
        own.chain(self.dotenv.iter().map(|(k, (v, _))| (k, v)))
            .filter(|(name, value)| secret(name, value) && !Path::new(value.as_str()).is_absolute())
            .map(|(_, value)| value.clone())
            .collect()
    }
}

/// A `.env` file's lines that are none, or not what they seem.
pub(crate) struct BadLine {
    pub line: u64,
    pub message: String,
}

/// Reads `KEY=VALUE` lines: `export ` before it, comments and blank lines are fine, quotes go off, and
/// a quoted value may go on over several lines. Between double quotes `\n`, `\"`, `\\` and `\$` are
/// escapes. `${VAR}` and `${VAR:-default}` stand for what the process or a line above sets, save
/// between single quotes; what nobody sets stays as it is written.
pub(crate) fn parse_dotenv<'p>(
    text: &str,
    process: &impl Fn(&str) -> Option<&'p str>,
) -> (BTreeMap<String, (String, u64)>, Vec<BadLine>) {
    let mut variables: BTreeMap<String, (String, u64)> = BTreeMap::new();
    let mut bad = Vec::new();
    let mut lines = (1_u64..).zip(text.trim_start_matches('\u{feff}').lines());
    while let Some((number, line)) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        let mut problem = |message: String| bad.push(BadLine { line: number, message });
        let Some((name, value)) = line.split_once('=') else {
            problem("not of the form `KEY=VALUE`; the line is ignored".to_owned());
            continue;
        };
        let name = name.trim();
        if !is_variable_name(name) {
            problem("not a variable's name before `=`; the line is ignored".to_owned());
            continue;
        }
        let value = value.trim();
        let mut read = unquote(value);
        if read.is_none() {
            // The quote may be closed further down.
            let mut ahead = lines.clone();
            let mut whole = value.to_owned();
            while read.is_none() {
                let Some((_, more)) = ahead.next() else { break };
                whole.push('\n');
                whole.push_str(more);
                read = unquote(&whole);
            }
            if read.is_some() {
                lines = ahead;
            }
        }
        let Some(value) = read else {
            problem("a quote is not closed; the line is ignored".to_owned());
            continue;
        };
        let value = match value {
            Unquoted::Literal(value) => value,
            Unquoted::Open(value) => {
                let above = |n: &str| variables.get(n).map(|(v, _)| v.as_str());
                match expand(&value, &|n: &str| process(n).or_else(|| above(n))) {
                    Ok(value) => value,
                    Err(problems) => {
                        for what in problems {
                            problem(match what {
                                Problem::Unset(n) => format!(
                                    "`${{{n}}}` in the value of {name} is set nowhere above; it \
                                     stays as it is written"
                                ),
                                Problem::Syntax(why) => {
                                    format!("{why}; the value of {name} stays as it is written")
                                }
                            });
                        }
                        value
                    }
                }
            }
        };
        variables.insert(name.to_owned(), (value, number));
    }
    (variables, bad)
}

/// Whether this can be a variable's name.
pub(crate) fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A value without its quotes.
enum Unquoted {
    /// Meant as it is.
    Literal(String),
    /// `${VAR}` in it means a variable.
    Open(String),
}

/// The value without quotes, or without a comment behind it; `None` if a quote is not closed.
fn unquote(value: &str) -> Option<Unquoted> {
    match value.chars().next() {
        Some('\'') => Some(Unquoted::Literal(value[1..].split_once('\'')?.0.to_owned())),
        Some('"') => {
            let mut out = String::new();
            let mut chars = value[1..].chars().peekable();
            loop {
                match chars.next()? {
                    '"' => return Some(Unquoted::Open(out)),
                    '\\' => match chars.next()? {
                        'n' => out.push('\n'),
                        // What the reader of `${VAR}` takes for the characters themselves.
                        '$' if chars.peek() == Some(&'{') => out.push_str("$$"),
                        c @ ('"' | '\\' | '$') => out.push(c),
                        c => out.extend(['\\', c]),
                    },
                    c => out.push(c),
                }
            }
        }
        Some('#') | None => Some(Unquoted::Literal(String::new())),
        Some(_) => {
            let comment = value.find(" #").into_iter().chain(value.find("\t#")).min();
            let value = &value[..comment.unwrap_or(value.len())];
            Some(Unquoted::Open(value.trim_end().to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: &str) -> Option<&'static str> {
        None
    }

    #[test]
    fn a_dotenv_file_is_read_as_written() {
        let (all, bad) = parse_dotenv(
            "\u{feff}# c\nA=1\nexport B = two words # note\nC='x # y $Z'\nD=\"l\\n\\\"q\\\" \\d\"\n\
             E=\nF=pa#ss=w\nnonsense\n1X=2\nG='open\nDAILY=0 8 * * *\nH= # nothing\nI=x\t# c\r\n",
            &nothing,
        );
        let get = |k: &str| all.get(k).map(|(v, _)| v.as_str());
        assert_eq!(get("A"), Some("1"));
        assert_eq!(get("B"), Some("two words"));
        assert_eq!(get("C"), Some("x # y $Z"));
        assert_eq!(get("D"), Some("l\n\"q\" \\d"));
        assert_eq!(get("E"), Some(""));
        assert_eq!(get("F"), Some("pa#ss=w"));
        assert_eq!(get("DAILY"), Some("0 8 * * *"));
        assert_eq!(get("H"), Some(""));
        assert_eq!(get("I"), Some("x"));
        assert_eq!(bad.iter().map(|b| b.line).collect::<Vec<_>>(), [8, 9, 10]);
    }

    #[test]
    fn quoted_values_go_on_over_lines() {
        let (all, bad) = parse_dotenv("K=\"one\n# two\nthree\" # c\nL='a\n\nb'\nM=1\n", &nothing);
        assert!(bad.is_empty());
        assert_eq!(all["K"], ("one\n# two\nthree".to_owned(), 1));
        assert_eq!(all["L"], ("a\n\nb".to_owned(), 4));
        assert_eq!(all["M"], ("1".to_owned(), 7));
    }

    #[test]
    fn variables_in_values_stand_for_what_is_set_above() {
        let (all, bad) = parse_dotenv(
            "A=1\nB=x${A}y${P}\nC=\"${A}\"\nD='${A}'\nE=\"\\${A} \\$A\"\nF=${LATER}\nLATER=2\n\
             G=${NOPE:-d}$${A}\nH=${A\nP=file\nI=${P}\n",
            &|name: &str| (name == "P").then_some("process"),
        );
        let got: Vec<&str> = "ABCDEFGHI".chars().map(|c| all[&c.to_string()].0.as_str()).collect();
        let expected =
            ["1", "x1yprocess", "1", "${A}", "${A} $A", "${LATER}", "d${A}", "${A", "process"];
        assert_eq!(got, expected);
        assert_eq!(bad.iter().map(|b| b.line).collect::<Vec<_>>(), [6, 9]);
        assert!(bad[0].message.contains("`${LATER}` in the value of F"), "{}", bad[0].message);
    }

    #[test]
    fn the_process_wins_and_empty_is_unset() {
        let environment = Environment {
            variables: [("A", "env"), ("B", "")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            ..Environment::default()
        };
        let dotenv = parse_dotenv("A=file\nB=file\nC=\n", &nothing).0;
        let all = Variables { environment: &environment, dotenv_file: ".env".into(), dotenv };
        assert_eq!(all.get("A"), Some(("env", Source::Process)));
        assert_eq!(all.get("B"), Some(("file", Source::DotEnv(2))));
        assert_eq!(all.get("C"), None);
        assert_eq!(all.set_to_nothing("C"), Some(Source::DotEnv(3)));
        assert_eq!(all.set_to_nothing("A"), None);
    }
}
