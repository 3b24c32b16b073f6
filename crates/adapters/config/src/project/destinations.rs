//! `destinations`: the places that a project's backups go to, each with its own keys over those that the
//! project has for all of them. Without the list, the project's `restic` or `archive` is the only one.

use std::borrow::Cow;

use backupctl_domain::destination::{Destination, DestinationName, Target};
use backupctl_domain::retention::KeepPolicy;
use figment::value::{Dict, Value};

use crate::expand::expand;
use crate::global::Shared;
use crate::keys::{DESTINATION_SECTIONS, Scope, join, known, names_in, nearest};
use crate::layers::{Arena, FileLayer, Origin, ShapeIssue, find, insert, merge, remove};
use crate::project::destination::{self, REPOSITORY, REPOSITORY_PATH};
use crate::project::retention::Rules;
use crate::reader::{Context, Part, Reader};
use crate::yaml::{Node, Yaml};

const LIST: &str = "destinations";
const ARCHIVE_PATH: &str = "archive.path";

/// The keys that say where a place is. Of each destination they are its own.
const LOCATIONS: [&str; 3] = [REPOSITORY, REPOSITORY_PATH, ARCHIVE_PATH];

/// What kind of place a destination is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Restic,
    Archive,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Restic, Self::Archive];

    /// The section of its keys.
    const fn section(self) -> &'static str {
        match self {
            Self::Restic => "restic",
            Self::Archive => "archive",
        }
    }

    /// The sections whose keys stand in an entry of it without them.
    const fn open(self, flat: bool) -> &'static [&'static str] {
        match (self, flat) {
            (_, false) => &["destinations"],
            (Self::Restic, true) => &["destinations.restic", "destinations", "restic"],
            (Self::Archive, true) => &["destinations.archive", "destinations", "archive"],
        }
    }

    fn target(self, r: &mut Reader<'_, '_>, shared: &Shared) -> Option<Target> {
        match self {
            Self::Restic => {
                destination::restic(r, shared).map(|restic| Target::Restic(Box::new(restic)))
            }
            Self::Archive => destination::archive(r).map(Target::Archive),
        }
    }
}

/// An entry of the list, its keys laid over those of the project.
pub(super) struct Element<'a> {
    node: &'a Node,
    dict: Dict,
    shapes: Vec<ShapeIssue>,
    /// What it is, if it is one thing.
    kind: Option<Kind>,
    /// Whether the keys of its section stand beside a `type`.
    flat: bool,
    /// Whether it says itself what it keeps.
    own_retention: bool,
}

/// The entries of the list that holds for a project, whatever is wrong with them.
pub(super) fn elements<'a>(
    ctx: &Context<'_>,
    dict: &Dict,
    arena: &mut Arena<'a>,
) -> Vec<Element<'a>> {
    let leaf = find(dict, LIST).and_then(|value| arena.get(value));
    let Some(Cow::Borrowed(list)) = leaf.map(|leaf| &leaf.node) else { return Vec::new() };
    let Yaml::List(items) = &list.value else { return Vec::new() };
    let shared = |section: &&str| Some(((*section).to_owned(), find(dict, section)?.clone()));
    let mut base: Dict = DESTINATION_SECTIONS.iter().filter_map(shared).collect();
    for path in LOCATIONS {
        remove(&mut base, path);
    }
    items.iter().map(|node| element(ctx, node, base.clone(), arena)).collect()
}

fn element<'a>(
    ctx: &Context<'_>,
    node: &'a Node,
    mut base: Dict,
    arena: &mut Arena<'a>,
) -> Element<'a> {
    let flat = node.get("type").filter(|kind| !kind.is_blank());
    let kind = match flat {
        Some(kind) => kind_of_type(ctx, kind),
        None => kind_of_section(node),
    };
    let mut shapes = Vec::new();
    let mut layer = FileLayer {
        scope: Scope::Project,
        origin: Origin::Element,
        shown: "",
        arena,
        issues: &mut shapes,
    };
    let mut own = Dict::new();
    for entry in node.entries() {
        let section = match kind.filter(|_| flat.is_some()) {
            Some(kind) => section_beside_type(kind, &entry.key),
            None => LIST.to_owned(),
        };
        // Without a kind its keys cannot be told from those that are none.
        if flat.is_some() && kind.is_none() && known(Scope::Project, LIST, &entry.key).is_none() {
            continue;
        }
        let value = layer.line(&section, entry);
        // Both forms at once are a mistake, and one of them is enough to go on with.
        let is_other_form = flat.is_some() && kind_named(&entry.key).is_some();
        if let Some(value) = value.filter(|_| !is_other_form) {
            insert(&mut own, &path_in_project(&section, &entry.key), value);
        }
    }
    let own_retention =
        matches!(own.get("retention"), Some(Value::Dict(_, dict)) if !dict.is_empty());
    if own_retention {
        base.remove("retention");
    }
    let dict = merge(base, own);
    Element { node, dict, shapes, kind, flat: flat.is_some(), own_retention }
}

fn kind_of_type(ctx: &Context<'_>, node: &Node) -> Option<Kind> {
    let Yaml::Text(text) = &node.value else { return None };
    kind_named(&expand(text, &|name| ctx.variables.value(name)).ok()?)
}

fn kind_named(name: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.section() == name)
}

/// The path of an entry's key among those of the project that it lies over, if it does over any.
fn path_in_project(section: &str, key: &str) -> String {
    let path = join(section, key);
    let below = path.strip_prefix("destinations.").unwrap_or(&path);
    let first = below.split('.').next().unwrap_or_default();
    if DESTINATION_SECTIONS.contains(&first) { below.to_owned() } else { path }
}

/// The kind whose section there is, if it is one only.
fn kind_of_section(node: &Node) -> Option<Kind> {
    match Kind::ALL.map(|kind| node.get(kind.section()).is_some()) {
        [true, false] => Some(Kind::Restic),
        [false, true] => Some(Kind::Archive),
        _ => None,
    }
}

/// The section that a key beside a `type` belongs to, or was probably meant for.
fn section_beside_type(kind: Kind, key: &str) -> String {
    let section = join(LIST, kind.section());
    let of_list = || names_in(Scope::Project, LIST).iter().map(|(name, _)| name.as_str());
    let is_of_section = known(Scope::Project, &section, key).is_some();
    if !is_of_section && nearest(key, of_list()).is_some() { LIST.to_owned() } else { section }
}

/// Where a project's backups go, as far as that can be read.
pub(super) struct Places {
    /// `None`, with an issue, if there is none that can be used.
    pub destinations: Option<Vec<Destination>>,
    /// Whether a repository is among them, good or not.
    pub repository: bool,
    /// Whether a folder of archives is.
    pub archive: bool,
}

pub(super) fn read<'r, 'a>(
    r: &mut Reader<'r, 'a>,
    shared: &Shared,
    rules: &Rules,
    elements: &'r [Element<'a>],
) -> Places {
    if r.given(LIST) {
        let of = |kind| elements.iter().any(|element| element.kind == Some(kind));
        let destinations = list(r, shared, rules, elements);
        Places { destinations, repository: of(Kind::Restic), archive: of(Kind::Archive) }
    } else {
        let kind = only_kind(r);
        let destinations = only(r, shared, rules, kind).map(|only| vec![only]);
        let archive = kind == Kind::Archive;
        Places { destinations, repository: !archive, archive }
    }
}

/// What the project's own sections are about, where there is no list.
fn only_kind(r: &Reader<'_, '_>) -> Kind {
    let repository = r.given(REPOSITORY) || r.given(REPOSITORY_PATH);
    if r.given(ARCHIVE_PATH) || (r.section_chosen("archive") && !repository) {
        Kind::Archive
    } else {
        Kind::Restic
    }
}

fn only(r: &mut Reader<'_, '_>, shared: &Shared, rules: &Rules, kind: Kind) -> Option<Destination> {
    for path in [REPOSITORY, REPOSITORY_PATH] {
        if kind == Kind::Archive && r.given(path) {
            r.missing(
                "archive",
                format!(
                    "`archive` and `{path}` are both given; to back up to both, list them under \
                     `destinations`"
                ),
            );
        }
    }
    let target = kind.target(r, shared);
    let keep = keep(r, rules, kind);
    let name = DestinationName::new(kind.section()).ok()?;
    Some(Destination { name, required: true, keep, target: target? })
}

/// What a place of this kind keeps by these rules.
fn keep(r: &mut Reader<'_, '_>, rules: &Rules, kind: Kind) -> KeepPolicy {
    match kind {
        Kind::Restic => {
            rules.check_repository(r);
            rules.of_repository()
        }
        Kind::Archive => {
            rules.check_archives(r);
            rules.of_archives()
        }
    }
}

fn list<'r, 'a>(
    r: &mut Reader<'r, 'a>,
    shared: &Shared,
    rules: &Rules,
    elements: &'r [Element<'a>],
) -> Option<Vec<Destination>> {
    let leaf = r.leaf(LIST)?;
    for path in LOCATIONS {
        if let Some(location) = r.leaf(path) {
            let message = format!(
                "`{path}` and `destinations` are both given; keep one, or move this place into the \
                 list"
            );
            r.wrong(path, location, message);
        }
    }
    if !matches!(leaf.node.value, Yaml::List(_)) {
        let found = leaf.node.kind();
        r.wrong(LIST, leaf, format!("expected a list of destinations, found {found}"));
        return None;
    }
    if elements.is_empty() {
        r.wrong(LIST, leaf, "the list is empty; a project needs at least one destination");
    }
    let mut all = Listed::default();
    for element in elements {
        all.take(r, shared, rules, element);
    }
    if !elements.is_empty() && !all.any_required && !r.ctx.purpose.is_reading() {
        r.wrong(
            LIST,
            leaf,
            "no destination is required, so that a run would be a success that stores nothing; \
             leave `required: false` out of one",
        );
    }
    all.destinations.into_iter().collect()
}

/// The entries of a list that are read so far. Each is there, whether it is good or not.
#[derive(Default)]
struct Listed {
    destinations: Vec<Option<Destination>>,
    names: Vec<Option<String>>,
    kinds: Vec<Option<Kind>>,
    any_required: bool,
}

impl Listed {
    fn take<'r, 'a>(
        &mut self,
        r: &mut Reader<'r, 'a>,
        shared: &Shared,
        rules: &Rules,
        element: &'r Element<'a>,
    ) {
        let number = self.destinations.len();
        let mut inner = Reader::new(r.ctx, r.arena, &element.dict, r.project.clone(), element.node);
        inner.part = Some(Part {
            shown: format!("{LIST}[{number}]"),
            open: element.kind.map_or(&["destinations"], |kind| kind.open(element.flat)),
            inherits: true,
        });
        inner.take_shapes(element.shapes.iter().cloned());
        check_kind(&mut inner, element);
        self.kinds.push(element.kind);
        let name = self.name(&mut inner, element.kind);
        let required = inner.flag("destinations.required").unwrap_or(true);
        self.any_required |= required;
        let target = element.kind.and_then(|kind| kind.target(&mut inner, shared));
        let keep = match element.kind {
            Some(kind) if element.own_retention && !r.ctx.purpose.is_reading() => {
                if kind == Kind::Restic {
                    Rules::refuse_days(&mut inner);
                }
                let rules = Rules::read(&mut inner);
                Some(keep(&mut inner, &rules, kind))
            }
            Some(kind) => Some(keep(r, rules, kind)),
            None => None,
        };
        let destination = match (name, target, keep) {
            (Some(name), Some(target), Some(keep)) => {
                Some(Destination { name, required, keep, target })
            }
            _ => None,
        };
        if let Some(destination) = &destination {
            self.refuse_same_place(&mut inner, destination);
        }
        let (issues, warnings) = inner.into_findings();
        r.issues.extend(issues);
        r.warnings.extend(warnings);
        self.destinations.push(destination);
    }

    /// The name that is given, else one made of the kind: by the place among its kind, so that it stays
    /// whatever the others are called.
    fn name(&mut self, r: &mut Reader<'_, '_>, kind: Option<Kind>) -> Option<DestinationName> {
        const NAME: &str = "destinations.name";
        let written = r.text(NAME);
        let leaf = r.leaf(NAME);
        let usual = kind.map(|kind| {
            let of_kind = self.kinds.iter().filter(|other| **other == Some(kind)).count();
            match of_kind {
                1 => kind.section().to_owned(),
                n => format!("{}-{n}", kind.section()),
            }
        });
        let name = if r.told(NAME) { None } else { written.or(usual) };
        let same = self.names.iter().position(|other| name.is_some() && *other == name);
        self.names.push(name.clone());
        if let (Some(same), Some(name)) = (same, &name) {
            let message = format!(
                "the destination name `{name}` is that of `{LIST}[{same}]` as well; give each a \
                 `name` of its own"
            );
            match leaf {
                Some(leaf) => r.wrong(NAME, leaf, message),
                None => r.missing(NAME, message),
            }
        }
        match DestinationName::new(name?) {
            Ok(name) => Some(name),
            Err(why) => {
                r.wrong(NAME, leaf?, why);
                None
            }
        }
    }

    /// Two entries for one place would be one copy that looks like two.
    fn refuse_same_place(&self, r: &mut Reader<'_, '_>, destination: &Destination) {
        let is_same = |other: &Option<Destination>| {
            let place = |d: &Destination| (d.kind(), d.location());
            other.as_ref().is_some_and(|other| place(other) == place(destination))
        };
        if let Some(same) = self.destinations.iter().position(is_same) {
            r.missing(
                destination.kind(),
                format!("this is the place of `{LIST}[{same}]` as well; remove one of them"),
            );
        }
    }
}

/// Tells what keeps an entry from being one thing.
fn check_kind(r: &mut Reader<'_, '_>, element: &Element<'_>) {
    const TYPE: &str = "destinations.type";
    if !matches!(element.node.value, Yaml::Map(_)) {
        let found = element.node.kind();
        r.missing(LIST, format!("expected a mapping with `restic` or `archive`, found {found}"));
        return;
    }
    let sections = Kind::ALL.map(Kind::section).into_iter();
    let sections: Vec<&str> = sections.filter(|name| element.node.get(name).is_some()).collect();
    if element.flat {
        r.text(TYPE);
        if let (Some(section), Some(leaf)) = (sections.first(), r.leaf(TYPE)) {
            let message = format!(
                "`type` and the section `{section}` are both given; keep `{section}` with its keys, \
                 or `type` with the keys beside it"
            );
            r.wrong(TYPE, leaf, message);
        }
    } else if sections.len() > 1 {
        r.missing(
            LIST,
            "`restic` and `archive` are both given; make each an entry of the list by itself",
        );
    } else if sections.is_empty() && element.shapes.is_empty() {
        // A key that is none has probably been meant for it.
        r.missing(LIST, "the destination is no place: give it a section `restic` or `archive`");
    }
}
