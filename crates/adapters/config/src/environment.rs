//! The variables that a configuration may use: the process's own and those of a `.env` file.
//!
//! Both are captured as values, so that loading depends on nothing that a test cannot give it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use backupctl_domain::redact::is_secret_name;

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

/// A `.env` file's lines that are none.
pub(crate) struct BadLine {
    pub line: u64,
    pub message: String,
}

/// Reads `KEY=VALUE` lines: `export ` before it, comments and blank lines are fine, quotes go off.
/// Nothing in a value is expanded, save `\n`, `\"` and `\\` between double quotes.
pub(crate) fn parse_dotenv(text: &str) -> (BTreeMap<String, (String, u64)>, Vec<BadLine>) {
    let mut variables = BTreeMap::new();
    let mut bad = Vec::new();
    for (number, line) in (1_u64..).zip(text.trim_start_matches('\u{feff}').lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        let mut problem =
            |message: &str| bad.push(BadLine { line: number, message: message.to_owned() });
        let Some((name, value)) = line.split_once('=') else {
            problem("not of the form `KEY=VALUE`; the line is ignored");
            continue;
        };
        let name = name.trim();
        if !is_variable_name(name) {
            problem("not a variable's name before `=`; the line is ignored");
            continue;
        }
        match unquote(value.trim()) {
            Some(value) => {
                variables.insert(name.to_owned(), (value, number));
            }
            None => problem("a quote is not closed; the line is ignored"),
        }
    }
    (variables, bad)
}

/// Whether this can be a variable's name.
pub(crate) fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The value without quotes, or without a comment behind it; `None` if a quote is not closed.
fn unquote(value: &str) -> Option<String> {
    match value.chars().next() {
        Some('\'') => Some(value[1..].split_once('\'')?.0.to_owned()),
        Some('"') => {
            let mut out = String::new();
            let mut chars = value[1..].chars();
            loop {
                match chars.next()? {
                    '"' => return Some(out),
                    '\\' => match chars.next()? {
                        'n' => out.push('\n'),
                        c @ ('"' | '\\' | '$') => out.push(c),
                        c => out.extend(['\\', c]),
                    },
                    c => out.push(c),
                }
            }
        }
        Some('#') | None => Some(String::new()),
        Some(_) => Some(value.split(" #").next().unwrap_or(value).trim_end().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dotenv_file_is_read_as_written() {
        let (all, bad) = parse_dotenv(
            "\u{feff}# c\nA=1\nexport B = two words # note\nC='x # y $Z'\nD=\"l\\n\\\"q\\\" \\d\"\n\
             E=\nF=pa#ss=w\nnonsense\n1X=2\nG='open\nDAILY=0 8 * * *\nH= # nothing\n",
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
        assert_eq!(bad.iter().map(|b| b.line).collect::<Vec<_>>(), [8, 9, 10]);
    }

    #[test]
    fn the_process_wins_and_empty_is_unset() {
        let environment = Environment {
            variables: [("A", "env"), ("B", "")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            ..Environment::default()
        };
        let dotenv = parse_dotenv("A=file\nB=file\nC=\n").0;
        let all = Variables { environment: &environment, dotenv_file: ".env".into(), dotenv };
        assert_eq!(all.get("A"), Some(("env", Source::Process)));
        assert_eq!(all.get("B"), Some(("file", Source::DotEnv(2))));
        assert_eq!(all.get("C"), None);
    }
}
