//! One look each at what a project's backup needs. Nothing is dumped, stored or sent.

use std::sync::Arc;

use backupctl_domain::plan::{self, Space};
use backupctl_domain::{Destination, ErrorCode, Failure, Project, RunStatus, Stage};

use crate::World;
use crate::context::{Cancel, StageContext};
use crate::ports::RunQuery;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckOutcome {
    /// Good.
    Pass,
    /// A run would go through, and somebody should look.
    Warn,
    /// A run would fail.
    Fail,
}

impl CheckOutcome {
    /// `pass`, `warn` or `fail`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was checked, e.g. `repository`.
    pub name: &'static str,
    /// How it ended.
    pub outcome: CheckOutcome,
    /// The facts.
    pub message: String,
    /// The failure's code, where it is not a pass.
    pub code: Option<ErrorCode>,
    /// What to do, where it is not a pass.
    pub remedy: Option<String>,
}

impl Check {
    pub(super) fn pass(name: &'static str, message: impl Into<String>) -> Self {
        let outcome = CheckOutcome::Pass;
        Self { name, outcome, message: message.into(), code: None, remedy: None }
    }

    pub(super) fn warn(
        name: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (outcome, message) = (CheckOutcome::Warn, message.into());
        Self { name, outcome, message, code: None, remedy: Some(remedy.into()) }
    }

    /// A check that ended so by this failure.
    pub fn bad(name: &'static str, outcome: CheckOutcome, failure: Failure) -> Self {
        Self {
            name,
            outcome,
            message: failure.full_message(),
            code: Some(failure.code),
            remedy: Some(failure.remedy),
        }
    }

    pub(super) fn of(name: &'static str, result: Result<String, Failure>) -> Self {
        match result {
            Ok(message) => Self::pass(name, message),
            Err(failure) => Self::bad(name, CheckOutcome::Fail, failure),
        }
    }
}

/// Looks at one project, its secrets resolved.
pub(super) struct ProjectChecks<'a> {
    world: &'a World,
    project: &'a Project,
    ctx: StageContext,
}

impl<'a> ProjectChecks<'a> {
    pub(super) fn new(world: &'a World, project: &'a Project, cancel: Cancel) -> Self {
        let ctx = StageContext::new(Stage::Dump, cancel, Arc::new(project.redactor()));
        Self { world, project, ctx }
    }

    /// The dump tool.
    pub(super) async fn dumper(&self) -> Check {
        let name = "dumper";
        let Some(database) = &self.project.database else {
            return Check::pass(name, "no database configured");
        };
        let found = match self.world.registries.dumper(self.project) {
            Ok(Some(dumper)) => dumper.check_tool().await,
            Ok(None) => return Check::pass(name, "no database configured"),
            Err(failure) => Err(failure),
        };
        Check::of(name, found.map(|t| format!("{}: {} {}", database.engine, t.name, t.version)))
    }

    /// Every channel by itself, and whether its other side answers where `reach` is set; one warning
    /// where there is none.
    pub(super) async fn notifiers(&self, reach: bool) -> Vec<Check> {
        let name = "notifier";
        let mut checks = Vec::new();
        for (kind, notifier) in self.world.registries.notifiers(self.project) {
            let look = async {
                let notifier = notifier?;
                notifier.check().await?;
                if reach { notifier.reach().await } else { Ok(()) }
            };
            let checked = look.await;
            checks.push(Check::of(name, checked.map(|()| kind.to_owned())));
        }
        if checks.is_empty() {
            checks.push(Check::warn(
                name,
                "nobody is told when a backup fails",
                "configure `notification` for the project or globally",
            ));
        }
        checks
    }

    /// What keeps the run from storing anything anywhere, where something does: the program that stores,
    /// and where `mounts` is set whether the disks of archives are there. One destination that is ready
    /// is enough to begin: its copy is worth having whatever becomes of the others.
    pub(super) async fn no_destination(&self, mounts: bool) -> Option<Check> {
        let (mut required, mut first) = (None, None);
        for at in &self.project.destinations {
            let look = async {
                let storage = self.world.registries.storage(self.project, at)?;
                storage.admin.check_tool().await?;
                if mounts && at.archive().is_some() {
                    storage.admin.check(&self.ctx).await?;
                }
                Ok::<_, Failure>(())
            };
            match look.await {
                Ok(()) => return None,
                Err(failure) => {
                    let check = Check::bad(at.check_name(), CheckOutcome::Fail, failure);
                    let of_kind = if at.required { &mut required } else { &mut first };
                    of_kind.get_or_insert(self.of_destination(at, check));
                }
            }
        }
        required.or(first)
    }

    /// Every destination, opened with what it takes; only a warning where there is no repository and
    /// the first run creates it.
    pub(super) async fn destinations(&self) -> Vec<Check> {
        let mut checks = Vec::with_capacity(self.project.destinations.len());
        for at in &self.project.destinations {
            checks.extend(self.destination(at).await);
        }
        checks
    }

    /// One destination, and what should be known of it although it works.
    pub(super) async fn destination(&self, at: &Destination) -> Vec<Check> {
        let name = at.check_name();
        let open = async {
            let storage = self.world.registries.storage(self.project, at)?;
            storage.admin.check_tool().await?;
            let info = match storage.admin.check(&self.ctx).await {
                Err(failure)
                    if failure.code == ErrorCode::RepoNotInitialized
                        && storage.admin.creates_by_itself() =>
                {
                    let text = format!(
                        "{}; it will be created by the first run (restic.auto_init)",
                        failure.message
                    );
                    return Ok(vec![Check::warn(name, text, failure.remedy)]);
                }
                checked => checked?,
            };
            let mut checks = vec![Check::pass(name, info.shown())];
            checks.extend(info.remark.map(|remark| Check {
                code: Some(remark.code),
                ..Check::warn(name, remark.message, remark.remedy)
            }));
            Ok(checks)
        };
        let found = open
            .await
            .unwrap_or_else(|failure| vec![Check::bad(name, CheckOutcome::Fail, failure)]);
        found.into_iter().map(|check| self.of_destination(at, check)).collect()
    }

    /// A check as one of a destination: named where there are several, and a failure of one that is not
    /// required does not fail a run.
    pub(super) fn of_destination(&self, at: &Destination, check: Check) -> Check {
        let mut check = Self::as_required(at, check);
        if self.project.has_several_destinations() {
            check.message = format!("{}: {}", at.name, check.message);
        }
        check
    }

    /// A check of something that a destination needs: no failure where it is not required.
    pub(super) fn as_required(at: &Destination, mut check: Check) -> Check {
        if !at.required && check.outcome == CheckOutcome::Fail {
            check.outcome = CheckOutcome::Warn;
            check.message.push_str(" (not required)");
        }
        check
    }

    /// Room for the next dump.
    pub(super) async fn disk(&self) -> Check {
        let name = "disk";
        let dir = self.world.settings.project_dir(&self.project.name);
        let disk = match self.world.disk.file_system(&dir).await {
            Ok(disk) => disk,
            Err(failure) => return Check::bad(name, CheckOutcome::Fail, failure),
        };
        if disk.read_only {
            let failure = Failure::new(
                ErrorCode::PathNotWritable,
                format!("{} is mounted read-only", disk.mount_point.display()),
            );
            return Check::bad(name, CheckOutcome::Fail, failure);
        }
        let encrypted = self.project.encryption.is_some();
        let expected = self.previous_dump().await.map(|p| plan::expected_dump(p, encrypted));
        let space = Space {
            free: disk.free_bytes,
            min_free: self.world.settings.min_free_bytes,
            max_file: disk.max_file_bytes,
            largest: expected.map(|(file, _)| file),
            total: expected.map(|(_, total)| total),
        };
        let free = backupctl_domain::ByteSize(disk.free_bytes);
        let checked = plan::check_space(space, &dir.to_string_lossy());
        Check::of(name, checked.map(|()| format!("{free} free at {}", disk.mount_point.display())))
    }

    async fn previous_dump(&self) -> Option<u64> {
        let query = RunQuery {
            project: Some(self.project.name.clone()),
            status: Some(RunStatus::Success),
            limit: Some(1),
            ..RunQuery::default()
        };
        let runs = self.world.audit.find_runs(&query).await.ok()?;
        runs.first()?.dump.as_ref().map(|d| d.bytes)
    }

    /// The keys that are encrypted to.
    pub(super) async fn encryption(&self) -> Check {
        let name = "encryption";
        let checked = match self.world.registries.encryptor(self.project) {
            Ok(None) => return Check::pass(name, "not enabled"),
            Ok(Some(encryptor)) => encryptor.check_keys().await,
            Err(failure) => Err(failure),
        };
        let kind = self.project.encryption.as_ref().map_or("", |e| e.kind.extension());
        Check::of(name, checked.map(|()| format!("{kind} recipients are usable")))
    }

    fn add_something(&self) -> String {
        format!(
            "correct `assets.paths` or add a `database`, then check with `backupctl run {} --dry-run`",
            self.project.name
        )
    }

    /// The asset paths.
    pub(super) async fn assets(&self) -> Vec<Check> {
        let name = "assets";
        let paths = &self.project.assets.paths;
        if paths.is_empty() {
            if self.project.database.is_none() {
                let failure = Failure::new(
                    ErrorCode::NothingToBackUp,
                    "the project has neither a database nor asset paths",
                )
                .with_remedy(self.add_something());
                return vec![Check::bad(name, CheckOutcome::Fail, failure)];
            }
            return vec![Check::pass(name, "no asset paths configured")];
        }
        let mut missing = Vec::new();
        for path in paths {
            if self.world.disk.is_empty_dir(path).await.is_none() {
                missing.push(path.to_string_lossy().into_owned());
            }
        }
        if missing.len() == paths.len() && self.project.database.is_none() {
            let failure = Failure::new(
                ErrorCode::NothingToBackUp,
                format!("none of the asset paths exists: {}", missing.join(", ")),
            )
            .with_remedy(self.add_something());
            return vec![Check::bad(name, CheckOutcome::Fail, failure)];
        }
        if missing.is_empty() {
            return vec![Check::pass(name, format!("{} of {0} paths exist", paths.len()))];
        }
        missing
            .into_iter()
            .map(|path| {
                Check::warn(
                    name,
                    format!("Asset path not found: {path}"),
                    "create the path or take it out of `assets.paths`",
                )
            })
            .collect()
    }

    /// The database itself.
    pub(super) async fn database(&self) -> Check {
        let name = "database";
        let preview = match self.world.registries.dumper(self.project) {
            Ok(None) => return Check::pass(name, "no database configured"),
            Ok(Some(dumper)) => dumper.check_database(&self.ctx).await,
            Err(failure) => Err(failure),
        };
        Check::of(
            name,
            preview.map(|p| {
                let size = p
                    .database_bytes
                    .map_or_else(String::new, |b| format!(", {}", backupctl_domain::ByteSize(b)));
                format!("reachable, server {}{size}", p.server_version)
            }),
        )
    }
}
