//! Reads typed values out of merged layers, and writes down everything that is wrong with them.
//!
//! A getter answers `None` for what is not given and for what is wrong; the latter leaves an issue.
//! So a caller reads on, and one pass finds every mistake.

mod values;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use backupctl_application::ports::ConfigIssue;
use backupctl_domain::project::credential_name;
use backupctl_domain::schedule::Schedule;
use figment::value::{Dict, Value};

use crate::environment::{Source, Variables};
use crate::expand::{Problem, expand};
use crate::keys::{SECRET_FORMS, join, nearest};
use crate::layers::{Arena, Leaf, Origin, ShapeIssue, find};
use crate::shell;
use crate::yaml::{Node, Place, Yaml};

/// What a configuration is loaded for: how much of it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Everything: projects are backed up.
    BackUp,
    /// Projects are only read from (see [`crate::FileConfig::to_read`]).
    Read,
    /// Their snapshots are compared with their schedules (see [`crate::FileConfig::to_watch`]).
    Watch,
}

impl Purpose {
    /// Whether what only a backup needs may be out of reach.
    pub(crate) fn is_reading(self) -> bool {
        self != Self::BackUp
    }

    /// The keys and sections that it cannot do without, where it can do without others.
    fn needs(self) -> impl Iterator<Item = &'static str> {
        let schedules = if self == Self::Watch { &NEEDED_TO_WATCH[..] } else { &[] };
        NEEDED_TO_READ.iter().chain(schedules).copied()
    }
}

/// What all readers of one loading have in common.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub variables: &'a Variables<'a>,
    /// What the projects are for.
    pub purpose: Purpose,
    /// The configuration file.
    pub file: PathBuf,
    /// Its folder, which relative paths count from.
    pub folder: PathBuf,
    /// Secret files that were looked at: one warning each is enough.
    pub inspected: RefCell<HashSet<PathBuf>>,
    /// Cron expressions that were read: many projects share one, and reading one is slow.
    pub crons: RefCell<HashMap<String, Result<Schedule, String>>>,
}

impl Context<'_> {
    /// Where a secret's file is. What systemd hands over goes first: a relative path is the name of a
    /// credential, and the units of `systemd install` hand over a file of any path by a name made of
    /// it. Else it is an absolute path, or beside the configuration.
    pub(crate) fn secret_path(&self, path: &Path) -> PathBuf {
        let file = self.folder.join(path);
        let credentials = self.variables.environment.get("CREDENTIALS_DIRECTORY").map(Path::new);
        let handed_over = |folder: &Path| {
            let named = (!path.is_absolute()).then(|| folder.join(path));
            let by_path = folder.join(credential_name(&values::tidy(&file)));
            named.into_iter().chain([by_path]).find(|candidate| candidate.exists())
        };
        credentials.and_then(handed_over).unwrap_or(file)
    }
}

/// A mapping in a list, e.g. a channel, whose keys are read by the paths that they have in the table.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// How it is shown, e.g. `notification[1]`.
    pub shown: String,
    /// The sections of the table whose keys stand in it without that section.
    pub open: &'static [&'static str],
    /// Whether its keys lie over those of the project: what is wrong with one of these is told as of
    /// the project.
    pub inherits: bool,
}

impl Part {
    /// Where in the mapping a key stands.
    fn inside<'p>(&self, path: &'p str) -> &'p str {
        let below = |section: &&str| {
            let rest = path.strip_prefix(section)?;
            if rest.is_empty() { Some(rest) } else { rest.strip_prefix('.') }
        };
        self.open.iter().find_map(below).unwrap_or(path)
    }
}

/// What is unusual about a secret's file, if anything is.
pub(crate) fn inspect_secret_file(path: &Path) -> Option<String> {
    match std::fs::metadata(path) {
        Ok(meta) if meta.permissions().mode() & 0o004 != 0 => Some(format!(
            "{} can be read by everybody on this machine; `chmod 600` it",
            path.display()
        )),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Some(format!("{} does not exist", path.display()))
        }
        _ => None,
    }
}

/// Reads one part of the configuration: the global one, a project, a channel.
pub(crate) struct Reader<'r, 'a> {
    pub ctx: &'r Context<'a>,
    pub arena: &'r Arena<'a>,
    pub dict: &'r Dict,
    /// The project's name, for issues.
    pub project: Option<String>,
    /// The project's own mapping, or the whole file: what is missing is missing there.
    pub own: &'r Node,
    /// The part of a list that is read, if it is one.
    pub part: Option<Part>,
    pub issues: Vec<ConfigIssue>,
    pub warnings: Vec<ConfigIssue>,
}

impl<'r, 'a> Reader<'r, 'a> {
    pub(crate) fn new(
        ctx: &'r Context<'a>,
        arena: &'r Arena<'a>,
        dict: &'r Dict,
        project: Option<String>,
        own: &'r Node,
    ) -> Self {
        Self { ctx, arena, dict, project, own, part: None, issues: vec![], warnings: vec![] }
    }

    /// Whether a key, or a form of a secret, is given by any layer, rightly or wrongly.
    pub(crate) fn given(&self, path: &str) -> bool {
        find(self.dict, path).is_some()
            || SECRET_FORMS.iter().any(|form| find(self.dict, &format!("{path}{form}")).is_some())
    }

    /// Whether something is wrong with a key's value, or with that of a secret's other form: then it is
    /// not missing as well.
    pub(crate) fn misread(&self, path: &str) -> bool {
        // Reading does without a value that does not resolve, and tells nothing of it.
        let done_without = self.ctx.purpose.is_reading() && self.given(path);
        done_without || self.told(path)
    }

    /// Whether it has been written down what is wrong with a key, or with a secret's other form.
    pub(crate) fn told(&self, path: &str) -> bool {
        // Of a value that a part has from its project the key is told as the project's.
        let keys = [self.shown_key(path), path.to_owned()];
        let is = |form: &str| form.is_empty() || SECRET_FORMS.contains(&form);
        let of =
            |told: &str| keys.iter().any(|key| told.strip_prefix(key.as_str()).is_some_and(is));
        self.issues.iter().any(|issue| of(&issue.key))
    }

    /// Whether a key is given by somebody, and not by the built-in defaults alone.
    pub(crate) fn chosen(&self, path: &str) -> bool {
        self.leaf(path).is_some_and(|leaf| leaf.origin != Origin::Default)
    }

    /// Whether anything of a section is given by somebody.
    pub(crate) fn section_chosen(&self, path: &str) -> bool {
        fn any(arena: &Arena<'_>, value: &Value) -> bool {
            match value {
                Value::Dict(_, inner) => inner.values().any(|v| any(arena, v)),
                leaf => arena.get(leaf).is_some_and(|leaf| leaf.origin != Origin::Default),
            }
        }
        find(self.dict, path).is_some_and(|value| any(self.arena, value))
    }

    /// The value at a key, with its origin.
    pub(crate) fn leaf(&self, path: &str) -> Option<&'r Leaf<'a>> {
        let arena: &'r Arena<'a> = self.arena;
        arena.get(find(self.dict, path)?)
    }

    /// Writes down what is wrong with a value.
    pub(crate) fn wrong(&mut self, path: &str, leaf: &Leaf<'_>, message: impl Into<String>) {
        let issue = self.about(path, leaf, message.into());
        self.issues.push(issue);
    }

    /// Writes down what is worth knowing about a value.
    pub(crate) fn warn(&mut self, path: &str, message: impl Into<String>) {
        let message = message.into();
        let issue = match self.leaf(path) {
            Some(leaf) => self.about(path, leaf, message),
            None => self.at(path, self.place_of(path), message),
        };
        self.warnings.push(issue);
    }

    /// Writes down something that is missing, or wrong with several keys; the place is that of the
    /// nearest section that there is.
    pub(crate) fn missing(&mut self, path: &str, message: impl Into<String>) {
        let issue = self.at(path, self.place_of(path), message.into());
        self.issues.push(issue);
    }

    /// Takes over what is wrong with the shape of the project's own mapping.
    pub(crate) fn take_shapes(&mut self, shapes: impl IntoIterator<Item = ShapeIssue>) {
        for shape in shapes {
            let issue = self.at(&shape.key, shape.place, shape.message);
            self.issues.push(issue);
        }
    }

    /// What was found, in the order of the file.
    pub(crate) fn into_findings(self) -> (Vec<ConfigIssue>, Vec<ConfigIssue>) {
        let mut issues: Vec<ConfigIssue> = Vec::new();
        for issue in self.issues {
            if !issues.contains(&issue) {
                issues.push(issue);
            }
        }
        issues.sort_by_key(|issue| (issue.line.is_none(), issue.line, issue.column));
        (issues, self.warnings)
    }

    fn about(&self, path: &str, leaf: &Leaf<'_>, message: String) -> ConfigIssue {
        let mut issue = self.at(path, leaf.node.place, message);
        if leaf.origin != Origin::Element && self.part.as_ref().is_some_and(|part| part.inherits) {
            path.clone_into(&mut issue.key);
        }
        if let Origin::Variable(name, source) = &leaf.origin {
            issue.message = format!("{} (from the variable {name})", issue.message);
            issue.column = None;
            issue.line = None;
            if let Source::DotEnv(line) = source {
                issue.file.clone_from(&self.ctx.variables.dotenv_file);
                issue.line = Some(*line);
            }
        }
        issue
    }

    /// A key as messages name it.
    fn shown_key(&self, path: &str) -> String {
        match &self.part {
            Some(part) => match part.inside(path) {
                "" => part.shown.clone(),
                inside => join(&part.shown, inside),
            },
            None => path.to_owned(),
        }
    }

    fn at(&self, path: &str, place: Place, message: String) -> ConfigIssue {
        let key = self.shown_key(path);
        ConfigIssue {
            file: self.ctx.file.clone(),
            line: Some(place.line).filter(|line| *line > 0),
            column: Some(place.column).filter(|column| *column > 0),
            project: self.project.clone(),
            key,
            message,
        }
    }

    /// Where a key is, or the nearest section around where it should be.
    fn place_of(&self, path: &str) -> Place {
        let mut node = self.own;
        let mut place = node.place;
        let path = self.part.as_ref().map_or(path, |part| part.inside(path));
        for part in path.split('.') {
            let Some(entry) = node.entry(part) else { break };
            place = entry.place;
            node = &entry.node;
        }
        place
    }

    /// A value's text with its variables in place; `None`, with an issue, if it is no single value
    /// or something does not resolve. An empty text is as good as none.
    pub(crate) fn resolved(&mut self, path: &str, leaf: &Leaf<'_>) -> Option<String> {
        let text = match &leaf.node.value {
            Yaml::Text(text) => text,
            Yaml::Null => return None,
            Yaml::List(_) | Yaml::Map(_) => {
                let found = leaf.node.kind();
                self.wrong(path, leaf, format!("expected a single value, found {found}"));
                return None;
            }
        };
        let from_file = matches!(leaf.origin, Origin::File | Origin::Own | Origin::Element);
        if !from_file || !text.contains("${") {
            return Some(text.clone()).filter(|t| !t.is_empty());
        }
        let variables = self.ctx.variables;
        let resolved = if HOOKS.contains(&path) {
            let is_set =
                |name: &str| HOOK_VARIABLES.contains(&name) || variables.get(name).is_some();
            shell::check(text, &is_set)
        } else {
            expand(text, &|name| variables.value(name))
        };
        match resolved {
            Ok(text) => Some(text).filter(|t| !t.is_empty()),
            Err(problems) if self.can_do_without(path, &problems) => {
                // Recipients are for writing, and that there are some is asked all the same.
                path.starts_with("encryption.").then(|| text.clone())
            }
            Err(problems) => {
                for problem in problems {
                    self.wrong(path, leaf, self.problem_text(problem, path));
                }
                None
            }
        }
    }

    /// Whether nothing but an unset variable keeps this value away, and reading does without it.
    fn can_do_without(&self, path: &str, problems: &[Problem]) -> bool {
        let needed = |section: &str| {
            path.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.ctx.purpose.is_reading()
            && problems.iter().all(|problem| matches!(problem, Problem::Unset(_)))
            && !self.ctx.purpose.needs().any(needed)
    }

    fn problem_text(&self, problem: Problem, path: &str) -> String {
        match problem {
            Problem::Syntax(text) => text,
            Problem::Unset(name) if self.ctx.variables.set_to_nothing(&name).is_some() => {
                let place = match self.ctx.variables.set_to_nothing(&name) {
                    Some(Source::DotEnv(line)) => {
                        format!("{}:{line}", self.ctx.variables.dotenv_file.display())
                    }
                    _ => "the environment".to_owned(),
                };
                format!(
                    "the variable `{name}` is empty in {place}; give it a value, or write \
                     `${{{name}:-}}` if nothing is meant"
                )
            }
            Problem::Unset(name) => {
                let file = self.ctx.variables.dotenv_file.display();
                let set = match nearest(&name, self.ctx.variables.dotenv.keys().map(String::as_str))
                {
                    Some(near) => format!("did you mean `{near}`? Else set it"),
                    None => "set it".to_owned(),
                };
                let unchecked = if HOOKS.contains(&path) {
                    format!(", or write `$${{{name}}}` if the hook sets it itself")
                } else {
                    String::new()
                };
                format!(
                    "the variable `{name}` is not set; {set} in the environment or in \
                     {file}{unchecked}"
                )
            }
        }
    }
}

/// What reading a project's snapshots needs of the configuration.
const NEEDED_TO_READ: [&str; 11] = [
    "name",
    "base_dir",
    "restic",
    "archive",
    "destinations.name",
    "destinations.type",
    "ssh",
    "assets",
    "encryption.enabled",
    "encryption.type",
    "encryption.identity_file",
];

/// What telling whether they are as new as promised needs beside that.
const NEEDED_TO_WATCH: [&str; 5] = ["enabled", "cron", "schedule", "timezone", "database.type"];

/// The keys whose texts are for a shell.
pub(crate) const HOOKS: [&str; 3] = ["hooks.pre_backup", "hooks.post_backup", "hooks.finally"];

/// The variables that hooks are given.
pub(crate) const HOOK_VARIABLES: [&str; 6] = [
    "BACKUPCTL_PROJECT",
    "BACKUPCTL_RUN_ID",
    "BACKUPCTL_STATUS",
    "BACKUPCTL_STAGE",
    "BACKUPCTL_DUMP_FILE",
    "BACKUPCTL_ERROR_CODE",
];
