//! From the file's text to all that it says, and all that is wrong with it.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use backupctl_application::ports::{ConfigIssue, GlobalSettings, LoadedConfig, ProjectEntry};
use backupctl_domain::{ErrorCode, Failure, Secret};
use figment::value::Dict;

use crate::apart;
use crate::environment::{Environment, Variables, parse_dotenv};
use crate::global;
use crate::keys::Scope;
use crate::layers::{self, Arena, FileLayer, Origin, merge, shared_part};
use crate::project;
use crate::reader::{Context, Purpose, Reader};
use crate::yaml::{self, Node, ParseError, Place, Yaml};

/// What was loaded, and the audit database's password, which is yet to be put into its URL.
pub(crate) struct Loaded {
    pub config: LoadedConfig,
    pub audit_password: Option<Secret>,
}

/// Reads the file and the `.env` beside it. `kept` is what is read in its stead, if anything is.
pub(crate) fn load(
    file: &Path,
    kept: Option<&Path>,
    environment: &Environment,
    purpose: Purpose,
) -> Result<Loaded, Failure> {
    let text = std::fs::read_to_string(kept.unwrap_or(file)).map_err(|e| {
        Failure::new(
            ErrorCode::InvalidConfig,
            format!("the configuration {} cannot be read: {e}", file.display()),
        )
        .with_remedy("let this user read the file, or name another with `--config`")
    })?;
    let understood = |root: &Result<Node, ParseError>| understand(file, root, environment, purpose);
    match apart::lent(|| yaml::parse(&text), understood) {
        Some(loaded) => loaded,
        None => understand(file, &yaml::parse(&text), environment, purpose),
    }
}

/// What the document says, if it is one.
fn understand(
    file: &Path,
    root: &Result<Node, ParseError>,
    environment: &Environment,
    purpose: Purpose,
) -> Result<Loaded, Failure> {
    let root = root.as_ref().map_err(|e| {
        let place = e.place.map_or(String::new(), |p| format!(":{}:{}", p.line, p.column));
        Failure::new(
            ErrorCode::InvalidConfig,
            format!(
                "the configuration is not valid YAML: {}{place}: {}",
                file.display(),
                e.message
            ),
        )
        .with_remedy("correct the file at that place, then run `backupctl config validate`")
    })?;
    if !matches!(root.value, Yaml::Map(_)) {
        let found = root.kind();
        return Err(Failure::new(
            ErrorCode::InvalidConfig,
            format!(
                "the configuration {} holds {found} where a mapping with `projects:` is expected",
                file.display()
            ),
        )
        .with_remedy("begin the file with `projects:`; `backupctl init` writes a starter file"));
    }
    let mut warnings = Vec::new();
    let variables = variables(file, environment, &mut warnings);
    Ok(read(file, root, &variables, purpose, warnings))
}

/// The `.env` file: the one beside the configuration. For a `config/projects.yml` that has none
/// there, the one of the folder around: that is where the tool that this one replaces keeps it.
pub(crate) fn dotenv_of(file: &Path) -> PathBuf {
    let beside = file.with_file_name(".env");
    let around = file.parent().and_then(Path::parent).map(|folder| folder.join(".env"));
    match around {
        Some(around)
            if file.ends_with("config/projects.yml") && !beside.exists() && around.exists() =>
        {
            around
        }
        _ => beside,
    }
}

/// The variables of the process and of the `.env` file that belongs to the configuration.
pub(crate) fn variables<'a>(
    file: &Path,
    environment: &'a Environment,
    warnings: &mut Vec<ConfigIssue>,
) -> Variables<'a> {
    let dotenv_file = dotenv_of(file);
    let mut warn = |line: Option<u64>, message: String| {
        warnings.push(ConfigIssue {
            file: dotenv_file.clone(),
            line,
            column: None,
            project: None,
            key: String::new(),
            message,
        });
    };
    let mut dotenv = BTreeMap::new();
    match std::fs::read_to_string(&dotenv_file) {
        Ok(text) => {
            let (read, bad) = parse_dotenv(&text, &|name: &str| environment.get(name));
            dotenv = read;
            for bad in bad {
                warn(Some(bad.line), bad.message);
            }
            let mode = std::fs::metadata(&dotenv_file).map_or(0, |m| m.permissions().mode());
            if mode & 0o004 != 0 {
                let message = "the file can be read by everybody on this machine; `chmod 600` it";
                warn(None, message.to_owned());
            }
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => warn(None, format!("the file cannot be read: {e}")),
    }
    Variables { environment, dotenv_file, dotenv }
}

fn read<'a>(
    file: &Path,
    root: &'a Node,
    variables: &'a Variables<'a>,
    purpose: Purpose,
    mut warnings: Vec<ConfigIssue>,
) -> Loaded {
    let ctx = Context {
        variables,
        purpose,
        file: file.to_owned(),
        folder: file.parent().map(Path::to_owned).unwrap_or_default(),
        inspected: RefCell::default(),
        crons: RefCell::default(),
    };
    let mut arena = Arena::default();
    let mut shapes = Vec::new();
    let mut layer = |scope, shown, section, arena: &mut Arena<'a>| {
        FileLayer { scope, origin: Origin::File, shown, arena, issues: &mut shapes }
            .section("", section)
    };
    let of_file = layer(Scope::Global, "", root, &mut arena);
    let mut of_defaults = match root.get("defaults") {
        Some(section) => layer(Scope::Project, "defaults.", section, &mut arena),
        None => Dict::new(),
    };
    // An issue of its own; projects must not get it.
    of_defaults.remove("name");
    let base = project_base(&of_file, of_defaults, variables, &mut arena);
    let global = global_layers(of_file, variables, &mut arena);

    let mut reader = Reader::new(&ctx, &arena, &global, None, root);
    reader.take_shapes(shapes);
    check_parts(&mut reader, root);
    let global = global::read(&mut reader);
    let (issues, more) = reader.into_findings();
    warnings.extend(more);

    let mut projects = Vec::new();
    let mut places = Vec::new();
    for (number, (node, named, place)) in (1..).zip(project_nodes(root)) {
        let outcome = project::read(&ctx, &global.shared, &base, &mut arena, node, number, named);
        places.push(place);
        warnings.extend(outcome.warnings);
        projects.push(ProjectEntry { name: outcome.name, project: outcome.project });
    }
    refuse_double_names(file, &mut projects, &places);
    warnings.extend(told_by_no_project(global.channel_issues, &projects));
    tell_once(&mut warnings);
    let settings: Result<GlobalSettings, _> =
        if issues.is_empty() { Ok(global.settings) } else { Err(issues) };
    Loaded {
        config: LoadedConfig { file: file.to_owned(), global: settings, projects, warnings },
        audit_password: global.audit_password,
    }
}

/// What is wrong with the global channels where every project has its own: none of them fails by it,
/// and what is sent to everybody goes over theirs.
fn told_by_no_project(issues: Vec<ConfigIssue>, projects: &[ProjectEntry]) -> Vec<ConfigIssue> {
    let told = |issue: &ConfigIssue| {
        projects.iter().any(|p| p.project.as_ref().is_err_and(|of| of.contains(issue)))
    };
    let mut untold: Vec<ConfigIssue> = issues.into_iter().filter(|issue| !told(issue)).collect();
    for issue in &mut untold {
        issue.message = format!(
            "{}; no project uses this channel, and the daily summary does without it",
            issue.message
        );
    }
    untold
}

/// Leaves each warning that is no single project's once.
fn tell_once(warnings: &mut Vec<ConfigIssue>) {
    let mut seen = HashSet::new();
    warnings.retain(|w| {
        let place = (w.file.clone(), w.line, w.column, w.key.clone(), w.message.clone());
        w.project.is_some() || seen.insert(place)
    });
}

/// Defaults, the file's global keys, environment: each over the one before.
fn global_layers(of_file: Dict, variables: &Variables<'_>, arena: &mut Arena<'_>) -> Dict {
    let built_in = layers::defaults(Scope::Global, arena);
    let environment = layers::environment(Scope::Global, variables, arena);
    merge(merge(built_in, of_file), environment)
}

/// What lies below every project's own keys: the same, with `defaults:` over the global keys.
fn project_base(
    of_file: &Dict,
    of_defaults: Dict,
    variables: &Variables<'_>,
    arena: &mut Arena<'_>,
) -> Dict {
    let built_in = layers::defaults(Scope::Project, arena);
    let environment = layers::environment(Scope::Project, variables, arena);
    merge(merge(merge(built_in, shared_part(of_file)), of_defaults), environment)
}

/// Checks the parts of the file that are no keys.
fn check_parts(r: &mut Reader<'_, '_>, root: &Node) {
    if let Some(defaults) = root.get("defaults") {
        if defaults.get("name").is_some() {
            r.missing("defaults.name", "`name` belongs to a project; it has no default");
        }
        if !matches!(defaults.value, Yaml::Map(_) | Yaml::Null) {
            let found = defaults.kind();
            r.missing("defaults", format!("expected a mapping of project keys, found {found}"));
        }
    }
    match root.get("projects").map(|projects| &projects.value) {
        Some(Yaml::Text(_)) => r.missing("projects", "expected a list of projects"),
        Some(Yaml::List(_) | Yaml::Map(_) | Yaml::Null) => {}
        None => r.missing("projects", "the file has no `projects:`, the list of what to back up"),
    }
}

/// The projects: a list of them, or a mapping of names to them.
fn project_nodes(root: &Node) -> Vec<(&Node, Option<&str>, Place)> {
    match root.get("projects").map(|projects| &projects.value) {
        Some(Yaml::List(items)) => {
            items.iter().map(|node| (node, None, name_place(node))).collect()
        }
        Some(Yaml::Map(entries)) => {
            entries.iter().map(|e| (&e.node, Some(e.key.as_str()), e.place)).collect()
        }
        _ => Vec::new(),
    }
}

fn name_place(node: &Node) -> Place {
    node.get("name").map_or(node.place, |name| name.place)
}

/// A name that two projects have means neither: locks, tags and records go by it.
fn refuse_double_names(file: &Path, projects: &mut [ProjectEntry], places: &[Place]) {
    let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, entry) in projects.iter().enumerate().filter(|(_, e)| !e.name.starts_with('#')) {
        by_name.entry(entry.name.clone()).or_default().push(at);
    }
    for (name, same) in by_name.into_iter().filter(|(_, same)| same.len() > 1) {
        for at in &same {
            let others: Vec<String> = same
                .iter()
                .filter(|other| *other != at)
                .map(|other| places[*other].line.to_string())
                .collect();
            let issue = ConfigIssue {
                file: PathBuf::from(file),
                line: Some(places[*at].line),
                column: Some(places[*at].column),
                project: Some(name.clone()),
                key: "name".to_owned(),
                message: format!(
                    "the project name `{name}` is used twice: line {} and line {}",
                    places[*at].line,
                    others.join(", ")
                ),
            };
            match &mut projects[*at].project {
                Err(issues) => issues.insert(0, issue),
                good => *good = Err(vec![issue]),
            }
        }
    }
}
