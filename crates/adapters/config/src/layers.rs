//! Which value holds: defaults, file, environment and project laid over each other by figment.
//!
//! figment merges dictionaries and knows nothing of lines and columns. So the leaves that it is
//! given are numbers: each is the place in an [`Arena`] of a value that knows where it was written.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeSet;

use figment::value::{Dict, Map, Num, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider};

use crate::environment::{Source, Variables};
use crate::keys::{
    ALTERNATIVES, Default, KEYS, Key, Kind, Known, SECRET_FORMS, Scope, WHOLE_SECTIONS, join,
    known, suggestion,
};
use crate::yaml::{Entry, Node, Place, Yaml};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Built in.
    Default,
    /// The file's global keys or `defaults:`.
    File,
    /// This variable.
    Variable(String, Source),
    /// The project's own keys.
    Own,
    /// The keys of a destination, which lie over those of its project.
    Element,
}

/// A value with its origin.
#[derive(Debug, Clone)]
pub(crate) struct Leaf<'a> {
    pub node: Cow<'a, Node>,
    pub origin: Origin,
}

/// The values that the dictionaries' numbers stand for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Arena<'a>(Vec<Leaf<'a>>);

impl<'a> Arena<'a> {
    pub(crate) fn add(&mut self, leaf: Leaf<'a>) -> Value {
        self.0.push(leaf);
        Value::Num(Tag::Default, Num::USize(self.0.len() - 1))
    }

    pub(crate) fn get(&self, value: &Value) -> Option<&Leaf<'a>> {
        match value {
            Value::Num(_, Num::USize(at)) => self.0.get(*at),
            _ => None,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets all that was added since it had this length.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }
}

/// One layer, as figment takes it: once, so that a thousand projects are not copied a thousand times.
struct Layer(Cell<Dict>);

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named("layer")
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.0.take()))
    }
}

/// Lays one dictionary over another. Of alternatives that exclude each other the upper layer's hold
/// and the lower layer's are dropped, so that no project has a password file and a password.
pub(crate) fn merge(mut lower: Dict, upper: Dict) -> Dict {
    for group in ALTERNATIVES {
        if group.iter().any(|path| find(&upper, path).is_some()) {
            for path in group {
                remove(&mut lower, path);
            }
        }
    }
    drop_other_forms(&mut lower, &upper);
    let merged = Figment::from(Layer(lower.into())).merge(Layer(upper.into()));
    // The dictionaries as they are: extracting would convert them.
    let data = Provider::data(&merged).ok();
    data.and_then(|mut profiles| profiles.remove(&Profile::Default)).unwrap_or_default()
}

/// Takes the other forms of each secret that `upper` gives out of `lower`.
fn drop_other_forms(lower: &mut Dict, upper: &Dict) {
    for (name, value) in upper {
        match (value, lower.get_mut(name)) {
            (Value::Dict(_, upper), Some(Value::Dict(_, lower))) => drop_other_forms(lower, upper),
            (Value::Dict(..), _) => {}
            _ => {
                let base = base_of(name);
                lower.retain(|other, _| other == name || base_of(other) != base);
            }
        }
    }
}

/// A secret's name without the ending of its form.
pub(crate) fn base_of(name: &str) -> &str {
    // These are keys of their own.
    if matches!(name, "recipients_file" | "identity_file") {
        return name;
    }
    SECRET_FORMS.iter().find_map(|form| name.strip_suffix(form)).unwrap_or(name)
}

/// The value at a dotted path.
pub(crate) fn find<'d>(dict: &'d Dict, path: &str) -> Option<&'d Value> {
    match path.split_once('.') {
        None => dict.get(path),
        Some((section, rest)) => match dict.get(section)? {
            Value::Dict(_, inner) => find(inner, rest),
            _ => None,
        },
    }
}

/// Takes out the value at a dotted path.
pub(crate) fn remove(dict: &mut Dict, path: &str) {
    match path.split_once('.') {
        None => {
            dict.remove(path);
        }
        Some((section, rest)) => {
            if let Some(Value::Dict(_, inner)) = dict.get_mut(section) {
                remove(inner, rest);
            }
        }
    }
}

/// Puts a value at a dotted path.
pub(crate) fn insert(dict: &mut Dict, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            dict.insert(path.to_owned(), value);
        }
        Some((section, rest)) => {
            let inner = dict.entry(section.to_owned()).or_insert_with(|| Dict::new().into());
            if let Value::Dict(_, inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

/// Something wrong with the shape of a part of the file.
#[derive(Debug, Clone)]
pub(crate) struct ShapeIssue {
    pub place: Place,
    pub key: String,
    pub message: String,
}

/// Makes a layer of a part of the file, and tells of everything in it that is no key.
pub(crate) struct FileLayer<'a, 'i> {
    pub scope: Scope,
    pub origin: Origin,
    /// Before the keys in messages, e.g. `defaults.`.
    pub shown: &'static str,
    pub arena: &'i mut Arena<'a>,
    pub issues: &'i mut Vec<ShapeIssue>,
}

impl<'a> FileLayer<'a, '_> {
    /// The layer of a section; the empty one is the whole.
    pub(crate) fn section(&mut self, section: &str, node: &'a Node) -> Dict {
        let mut dict = Dict::new();
        for entry in node.entries() {
            // A value for another time of writing: anchors, as compose files have them.
            if section.is_empty() && entry.key.starts_with("x-") {
                continue;
            }
            if let Some(value) = self.line(section, entry) {
                dict.insert(entry.key.clone(), value);
            }
        }
        dict
    }

    /// The layer of one line of a section; `None` for what is no key, and for what is none without a
    /// value.
    pub(crate) fn line(&mut self, section: &str, entry: &'a Entry) -> Option<Value> {
        let path = join(section, &entry.key);
        Some(match known(self.scope, section, &entry.key) {
            None => {
                let near = suggestion(self.scope, section, &entry.key);
                self.issue(entry.place, &path, format!("unknown key `{}`{near}", entry.key));
                return None;
            }
            // The file's own parts, which are read by themselves.
            Some(_) if self.scope == Scope::Global && is_part(&path) => return None,
            Some(_) if entry.node.is_blank() => return None,
            Some(Known::Section) if !WHOLE_SECTIONS.contains(&path.as_str()) => {
                if let Yaml::Map(_) = entry.node.value {
                    self.section(&path, &entry.node).into()
                } else {
                    let found = entry.node.kind();
                    self.issue(
                        entry.node.place,
                        &path,
                        format!("expected a mapping of keys, found {found}"),
                    );
                    return None;
                }
            }
            Some(Known::Key(Key { kind: Kind::Map | Kind::Secrets, .. })) => {
                if !matches!(entry.node.value, Yaml::Map(_)) {
                    let found = entry.node.kind();
                    self.issue(
                        entry.node.place,
                        &path,
                        format!("expected a mapping of names to values, found {found}"),
                    );
                    return None;
                }
                let lines = entry.node.entries().iter();
                let lines = lines.filter(|e| !e.node.is_blank());
                lines.map(|e| (e.key.clone(), self.leaf(&e.node))).collect::<Dict>().into()
            }
            Some(_) => self.leaf(&entry.node),
        })
    }

    fn leaf(&mut self, node: &'a Node) -> Value {
        self.arena.add(Leaf { node: Cow::Borrowed(node), origin: self.origin.clone() })
    }

    fn issue(&mut self, place: Place, path: &str, message: String) {
        self.issues.push(ShapeIssue { place, key: format!("{}{path}", self.shown), message });
    }
}

fn is_part(path: &str) -> bool {
    matches!(path, "projects" | "defaults")
}

/// The layer of built-in defaults.
pub(crate) fn defaults(scope: Scope, arena: &mut Arena<'_>) -> Dict {
    let mut dict = Dict::new();
    for key in KEYS.iter().filter(|k| k.is_in(scope) && !in_whole_section(k.path)) {
        if let Default::Fixed(text) = key.default {
            let node = Cow::Owned(Node::text(text));
            insert(&mut dict, key.path, arena.add(Leaf { node, origin: Origin::Default }));
        }
    }
    dict
}

/// The layer of variables. Channels and recipients depend on a type and are seen to where it is
/// known.
pub(crate) fn environment(scope: Scope, variables: &Variables<'_>, arena: &mut Arena<'_>) -> Dict {
    let mut dict = Dict::new();
    for key in KEYS.iter().filter(|k| k.is_in(scope) && !in_whole_section(k.path)) {
        for (path, leaf) in from_variables(key, variables) {
            insert(&mut dict, &path, arena.add(leaf));
        }
    }
    let url_given = ["audit.url", "audit.url_file", "audit.url_command"];
    if scope == Scope::Global
        && !url_given.iter().any(|path| find(&dict, path).is_some())
        && let Some(leaf) = audit_url(variables)
    {
        insert(&mut dict, "audit.url", arena.add(leaf));
    }
    dict
}

/// What variables say of a key, a secret's other forms included.
pub(crate) fn from_variables(key: &Key, variables: &Variables<'_>) -> Vec<(String, Leaf<'static>)> {
    let mut found = Vec::new();
    let forms: &[&str] =
        if key.kind == Kind::Secret { &["", SECRET_FORMS[0], SECRET_FORMS[1]] } else { &[""] };
    for form in forms {
        let names = key.env.iter().map(|name| format!("{name}{}", form.to_uppercase()));
        let first = names.into_iter().find_map(|name| {
            let (value, source) = variables.get(&name)?;
            Some((name, value.to_owned(), source))
        });
        if let Some((name, value, source)) = first {
            let text = if key.kind == Kind::Listen { format!("127.0.0.1:{value}") } else { value };
            let leaf =
                Leaf { node: Cow::Owned(Node::text(text)), origin: Origin::Variable(name, source) };
            found.push((format!("{}{form}", key.path), leaf));
        }
    }
    found
}

/// The audit database's URL from its parts; `None` without a host.
fn audit_url(variables: &Variables<'_>) -> Option<Leaf<'static>> {
    let (host, source) = variables.get("AUDIT_DB_HOST")?;
    let part = |name, otherwise| variables.value(name).unwrap_or(otherwise);
    let user = crate::text::percent_encode(part("AUDIT_DB_USER", "audit_user"));
    let name = crate::text::percent_encode(part("AUDIT_DB_NAME", "backup_audit"));
    let url = format!("postgres://{user}@{host}:{}/{name}", part("AUDIT_DB_PORT", "5432"));
    let origin = Origin::Variable("AUDIT_DB_HOST".to_owned(), source);
    Some(Leaf { node: Cow::Owned(Node::text(url)), origin })
}

fn in_whole_section(path: &str) -> bool {
    path.split('.').next().is_some_and(|first| WHOLE_SECTIONS.contains(&first))
}

/// What of the file's global part holds for projects.
pub(crate) fn shared_part(global: &Dict) -> Dict {
    let shared: BTreeSet<&str> = KEYS
        .iter()
        .filter(|k| k.scope == Scope::Both)
        .filter_map(|k| k.path.split('.').next())
        .collect();
    global
        .iter()
        .filter(|(name, _)| shared.contains(name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
