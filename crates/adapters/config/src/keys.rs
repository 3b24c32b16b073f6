//! What keys there are: the one table that checking, defaults, environment names, the JSON Schema
//! and the reference page are all made from, so that none of them can say something else.

mod table;

use std::collections::HashMap;
use std::sync::OnceLock;

pub(crate) use table::KEYS;

/// Where a key may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// At the top of the file.
    Global,
    /// In a project, and under `defaults:`.
    Project,
    /// In all three; the global one holds for projects that have none.
    Both,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Text,
    /// A secret, which may be given as `…_file` or `…_command` instead.
    Secret,
    Flag,
    /// A whole number within bounds.
    Count(u64, u64),
    /// A number that is not negative, maybe with a fraction.
    Amount,
    /// A time span such as `90m`.
    Span,
    /// A number of bytes such as `4GB`, not less than [`LEAST_SIZE`].
    Size,
    Path,
    List,
    Paths,
    /// Texts by free names.
    Map,
    /// Secrets by free names.
    Secrets,
    Choice(&'static [&'static str]),
    Cron,
    Zone,
    /// `host:port`.
    Listen,
    Url,
    /// Accepted for the sake of older files; the text says what to use instead.
    Ignored(&'static str),
}

/// What holds when a key is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Default {
    None,
    /// It must be given.
    Required,
    /// This very value.
    Fixed(&'static str),
    /// A value that depends on something, in words.
    Computed(&'static str),
}

/// A key of the file.
#[derive(Debug)]
pub(crate) struct Key {
    /// Dotted; for a list of channels without the index.
    pub path: &'static str,
    pub scope: Scope,
    pub kind: Kind,
    /// The variables that give it, the first that is set wins.
    pub env: &'static [&'static str],
    pub default: Default,
    pub meaning: &'static str,
}

impl Key {
    /// Its last part.
    pub(crate) fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// Whether it may stand in a file's part of this scope.
    pub(crate) fn is_in(&self, scope: Scope) -> bool {
        self.scope == scope || self.scope == Scope::Both
    }
}

/// The least that a [`Kind::Size`] may be, in bytes: less is a slip of the unit.
pub(crate) const LEAST_SIZE: u64 = 64 << 10;

/// The two other forms of a secret.
pub(crate) const SECRET_FORMS: [&str; 2] = ["_file", "_command"];

/// Sections that are taken or replaced whole: lists, and those whose keys depend on their `type`.
pub(crate) const WHOLE_SECTIONS: [&str; 3] = ["destinations", "notification", "monitor"];

/// The sections of a project that each of its destinations may have for itself.
pub(crate) const DESTINATION_SECTIONS: [&str; 3] = ["restic", "archive", "retention"];

/// Of each group a layer that gives one takes the place of all that lower layers give.
pub(crate) const ALTERNATIVES: [&[&str]; 2] = [
    &["restic.repository", "restic.repository_path", "archive.path", "destinations"],
    &["encryption.recipient", "encryption.recipients", "encryption.recipients_file"],
];

/// What a name in a section is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Known {
    /// A section with keys of its own.
    Section,
    /// A key; for the `_file` form of a secret, the secret's.
    Key(&'static Key),
}

type Sections = HashMap<String, Vec<(String, Known)>>;

fn sections(scope: Scope) -> &'static Sections {
    static GLOBAL: OnceLock<Sections> = OnceLock::new();
    static PROJECT: OnceLock<Sections> = OnceLock::new();
    let cell = if scope == Scope::Global { &GLOBAL } else { &PROJECT };
    cell.get_or_init(|| {
        let mut all = Sections::new();
        for key in KEYS.iter().filter(|k| k.is_in(scope)) {
            let mut section = String::new();
            for part in key.path.split('.').take(key.path.matches('.').count()) {
                let names = all.entry(section.clone()).or_default();
                if !names.iter().any(|(name, _)| name == part) {
                    names.push((part.to_owned(), Known::Section));
                }
                section = join(&section, part);
            }
            let names = all.entry(section).or_default();
            names.push((key.name().to_owned(), Known::Key(key)));
            if key.kind == Kind::Secret {
                for form in SECRET_FORMS {
                    names.push((format!("{}{form}", key.name()), Known::Key(key)));
                }
            }
        }
        for section in DESTINATION_SECTIONS.iter().filter(|_| scope == Scope::Project) {
            let names = all.get(*section).cloned().unwrap_or_default();
            all.insert(join("destinations", section), names);
            let of_each = all.entry("destinations".to_owned()).or_default();
            of_each.push(((*section).to_owned(), Known::Section));
        }
        if scope == Scope::Global {
            all.entry(String::new())
                .or_default()
                .extend(["defaults", "projects"].map(|name| (name.to_owned(), Known::Section)));
        }
        all
    })
}

/// What may stand in a section (empty for the top), in the table's order.
pub(crate) fn names_in(scope: Scope, section: &str) -> &'static [(String, Known)] {
    sections(scope).get(section).map_or(&[], Vec::as_slice)
}

/// What a name in a section is, if it is anything.
pub(crate) fn known(scope: Scope, section: &str, name: &str) -> Option<Known> {
    names_in(scope, section).iter().find(|(n, _)| n == name).map(|(_, k)| *k)
}

/// A key by its path.
pub(crate) fn key(path: &str) -> Option<&'static Key> {
    static BY_PATH: OnceLock<HashMap<&'static str, &'static Key>> = OnceLock::new();
    BY_PATH.get_or_init(|| KEYS.iter().map(|k| (k.path, k)).collect()).get(path).copied()
}

/// A dotted path with one more part.
pub(crate) fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

/// What was probably meant by a name that a section does not know, in words; empty if nothing is
/// near.
pub(crate) fn suggestion(scope: Scope, section: &str, name: &str) -> String {
    let names = names_in(scope, section).iter().map(|(n, _)| n.as_str());
    if let Some(near) = nearest(name, names) {
        return format!("; did you mean `{near}`?");
    }
    // The right name in the wrong place.
    let here = KEYS.iter().find(|k| k.is_in(scope) && k.name() == name);
    if let Some(key) = here {
        return format!("; did you mean `{}`?", key.path);
    }
    let path = join(section, name);
    let elsewhere = if scope == Scope::Global { Scope::Project } else { Scope::Global };
    match known(elsewhere, section, name) {
        Some(_) if elsewhere == Scope::Project => {
            format!("; `{path}` is a key of a project: put it into one, or under `defaults:`")
        }
        Some(_) => format!("; `{path}` is a key of the whole file: put it at its top"),
        None => String::new(),
    }
}

/// The nearest of some names to one that is not among them, if any is near.
pub(crate) fn nearest<'a>(name: &str, among: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase().replace('-', "_");
    let limit = (lower.len() / 3).clamp(1, 3);
    among
        .filter_map(|candidate| {
            let near = candidate.to_lowercase().replace('-', "_");
            let distance = strsim::damerau_levenshtein(&lower, &near);
            // `smtp_user` for `user`, `repo` for `repository`.
            let part = near.len() >= 3
                && (lower.ends_with(&format!("_{near}"))
                    || near.ends_with(&format!("_{lower}"))
                    || (lower.len() >= 4 && near.starts_with(&lower)));
            if distance <= limit {
                Some((distance, candidate))
            } else {
                part.then_some((limit + 1, candidate))
            }
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn paths_are_unique_and_no_key_is_a_section() {
        let paths: HashSet<_> = KEYS.iter().map(|k| k.path).collect();
        assert_eq!(paths.len(), KEYS.len());
        for key in KEYS {
            assert!(!KEYS.iter().any(|k| k.path.starts_with(&format!("{}.", key.path))));
            assert!(!key.meaning.is_empty() && !key.meaning.ends_with('.'), "{}", key.path);
        }
    }

    #[test]
    fn a_near_name_is_found() {
        for (scope, section, name, found) in [
            (Scope::Project, "database", "pasword", "; did you mean `password`?"),
            (Scope::Project, "restic", "repo", "; did you mean `repository`?"),
            (Scope::Project, "notification.config", "smtp_user", "; did you mean `user`?"),
            (
                Scope::Project,
                "notification",
                "webhook_url",
                "; did you mean `notification.config.webhook_url`?",
            ),
            (Scope::Global, "", "zebra", ""),
        ] {
            assert_eq!(suggestion(scope, section, name), found, "{section}.{name}");
        }
        let text = suggestion(Scope::Global, "", "hooks");
        assert!(text.contains("put it into one, or under `defaults:`"), "{text}");
        let text = suggestion(Scope::Project, "", "ssh");
        assert!(text.contains("put it at its top"), "{text}");
    }
}
