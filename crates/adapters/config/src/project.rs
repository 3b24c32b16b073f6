//! A project's keys, made into the domain's [`Project`].

pub(crate) mod channels;
mod database;
mod destination;
mod destinations;
mod encryption;
mod retention;

use std::collections::BTreeSet;
use std::time::Duration;

use backupctl_application::ports::ConfigIssue;
use backupctl_domain::project::{Assets, Hooks, Monitor};
use backupctl_domain::retention::Retention;
use backupctl_domain::schedule::{CatchUp, Schedule};
use backupctl_domain::{Project, ProjectName, Secret};
use figment::value::Dict;

use crate::environment::Source;
use crate::global::Shared;
use crate::keys::Scope;
use crate::layers::{Arena, FileLayer, Origin, merge};
use crate::project::destinations::Element;
use crate::project::retention::Rules;
use crate::reader::{Context, HOOK_VARIABLES, HOOKS, Purpose, Reader};
use crate::shell;
use crate::yaml::{Node, Yaml};

/// What was found out about a project.
pub(crate) struct Outcome {
    pub name: String,
    pub project: Result<Project, Vec<ConfigIssue>>,
    pub warnings: Vec<ConfigIssue>,
}

/// Reads an entry of the list. `number` counts from 1 and stands for a name that is missing;
/// `named` is the name of an entry in a mapping of projects.
pub(crate) fn read<'a>(
    ctx: &Context<'a>,
    shared: &Shared,
    base: &Dict,
    arena: &mut Arena<'a>,
    node: &'a Node,
    number: usize,
    named: Option<&str>,
) -> Outcome {
    let before = arena.len();
    let mut shapes = Vec::new();
    let own = FileLayer {
        scope: Scope::Project,
        origin: Origin::Own,
        shown: "",
        arena,
        issues: &mut shapes,
    }
    .section("", node);
    let dict = merge(base.clone(), own);
    let elements = destinations::elements(ctx, &dict, arena);
    let mut r = Reader::new(ctx, arena, &dict, None, node);
    let written = r.text("name").or_else(|| named.map(str::to_owned));
    let name = written.clone().unwrap_or_else(|| format!("#{number}"));
    r.project = Some(name.clone());
    for issue in &mut r.issues {
        issue.project = Some(name.clone());
    }
    r.take_shapes(shapes);
    let project = if matches!(node.value, Yaml::Map(_)) {
        build(&mut r, shared, written, &elements)
    } else {
        let found = node.kind();
        r.missing("", format!("expected a project's mapping of keys, found {found}"));
        None
    };
    let (issues, warnings) = r.into_findings();
    arena.truncate(before);
    let project = match project {
        Some(project) if issues.is_empty() => Ok(project),
        _ => Err(issues),
    };
    Outcome { name, project, warnings }
}

/// Builds the project, or leaves at least one issue and answers `None`.
fn build<'r, 'a>(
    r: &mut Reader<'r, 'a>,
    shared: &Shared,
    written: Option<String>,
    elements: &'r [Element<'a>],
) -> Option<Project> {
    let name = name(r, written);
    if r.given("docker_network") {
        r.warn(
            "docker_network",
            "`docker_network` is ignored: backupctl connects to the database directly; publish its \
             port and name the address in `database.host`, or set `database.via: docker:CONTAINER`",
        );
    }
    let to_read = r.ctx.purpose.is_reading();
    let schedule = schedule(r, shared);
    let database = database::read(r).or(to_read.then_some(None));
    let compression = database::compression(r);
    let assets = Assets { paths: r.paths("assets.paths"), exclude: r.list("assets.exclude") };
    let rules = if to_read { Rules::default() } else { Rules::read(r) };
    let places = destinations::read(r, shared, &rules, elements);
    let enabled = r.flag("enabled").unwrap_or(true);
    let timeout = r.minutes("timeout_minutes");
    let keep = if places.repository { rules.of_repository() } else { rules.of_archives() };
    let retention = Retention { local_days: rules.local_days(), keep };
    let encryption = encryption::read(r);
    if places.archive && !to_read {
        encryption::check_for_archives(r, encryption.as_ref());
    }
    let hooks = if to_read { Hooks::default() } else { hooks(r) };
    let verification = r.flag("verification.enabled").unwrap_or(true);
    let untold = r.ctx.purpose == Purpose::Read;
    let notifications = if untold { Vec::new() } else { channels::read(r) };
    let monitor = if to_read { None } else { monitor(r, shared) };
    if !r.issues.is_empty() {
        return None;
    }
    Some(Project {
        name: name?,
        enabled,
        schedule,
        timeout,
        database: database?,
        compression,
        assets,
        destinations: places.destinations?,
        retention,
        encryption,
        hooks,
        verification,
        notifications,
        monitor,
    })
}

fn name(r: &mut Reader<'_, '_>, written: Option<String>) -> Option<ProjectName> {
    let Some(written) = written else {
        if r.issues.iter().all(|issue| issue.key != "name") {
            r.missing("name", "the project has no `name`");
        }
        return None;
    };
    match ProjectName::new(written) {
        Ok(name) => Some(name),
        Err(why) => {
            match r.leaf("name") {
                Some(leaf) => r.wrong("name", leaf, why),
                None => r.missing("name", why),
            }
            None
        }
    }
}

fn schedule(r: &mut Reader<'_, '_>, shared: &Shared) -> Option<Schedule> {
    let timezone = r.zone("schedule.timezone").unwrap_or_else(|| shared.timezone.clone());
    let catch_up = match r.text("schedule.catch_up").as_deref() {
        Some("false") => CatchUp::Never,
        Some("always") => CatchUp::Always,
        _ => CatchUp::WithinGrace,
    };
    let grace = r.span("schedule.grace").unwrap_or(Duration::from_hours(2));
    let cron = r.text("cron")?;
    let leaf = r.leaf("cron")?;
    let mut crons = r.ctx.crons.borrow_mut();
    let read = crons
        .entry(cron.clone())
        .or_insert_with(|| Schedule::new(cron, timezone.clone(), catch_up, grace));
    match read.clone() {
        Ok(mut schedule) => {
            schedule.timezone = timezone;
            schedule.catch_up = catch_up;
            schedule.grace = grace;
            Some(schedule)
        }
        Err(why) => {
            drop(crons);
            r.wrong("cron", leaf, why);
            None
        }
    }
}

fn hooks(r: &mut Reader<'_, '_>) -> Hooks {
    let [pre_backup, post_backup, finally] = HOOKS.map(|key| r.text(key));
    let texts = [&pre_backup, &post_backup, &finally].into_iter().flatten();
    let named: BTreeSet<&str> = texts.flat_map(|text| shell::names(text)).collect();
    // The shell inherits the process's own variables; those of `.env` it must be given.
    let of_dotenv = |name: &str| match r.ctx.variables.get(name)? {
        (value, Source::DotEnv(_)) => Some((name.to_owned(), Secret::value(value))),
        (_, Source::Process) => None,
    };
    let given = |name: &&str| HOOK_VARIABLES.contains(name);
    let env = named.into_iter().filter(|name| !given(name)).filter_map(of_dotenv).collect();
    let timeout = r.minutes("hooks.timeout_minutes").unwrap_or(Hooks::default().timeout);
    Hooks { pre_backup, post_backup, finally, timeout, env }
}

fn monitor(r: &mut Reader<'_, '_>, shared: &Shared) -> Option<Monitor> {
    let elements = channels::elements(r, "monitor");
    let element = elements.into_iter().next()?;
    let mut inner = element.reader(r, &["monitor"], "monitor".to_owned());
    let monitor = read_monitor(&mut inner, shared);
    let (issues, warnings) = inner.into_findings();
    r.issues.extend(issues);
    r.warnings.extend(warnings);
    monitor
}

fn read_monitor(r: &mut Reader<'_, '_>, shared: &Shared) -> Option<Monitor> {
    let kind = channels::kind(r, "monitor")?;
    channels::warn_of_others(r, "monitor.config", &kind);
    match kind.as_str() {
        "uptime-kuma" => {
            let push_token = channels::required_secret(r, "monitor.config.push_token", &kind);
            if shared.kuma_base_url.is_none() && !shared.kuma_is_wrong {
                r.missing(
                    "monitor",
                    "the monitor needs to know where Uptime Kuma is: set `uptime_kuma_base_url` at \
                     the top of the file, or UPTIME_KUMA_BASE_URL",
                );
            }
            // A wrong base URL is an issue of the global part; the project is fine by itself.
            let base_url = shared.kuma_base_url.clone().unwrap_or_default();
            Some(Monitor::UptimeKuma { base_url, push_token: push_token? })
        }
        "healthchecks" => {
            let ping_url = channels::required_secret(r, "monitor.config.ping_url", &kind)?;
            channels::check_url(r, "monitor.config.ping_url", &ping_url);
            Some(Monitor::Healthchecks { ping_url })
        }
        _ => None,
    }
}
