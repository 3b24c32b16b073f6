//! What all projects share: the audit, the disk of `base_dir`, what waits for delivery, the units
//! that start backupctl, and whether successes come as promised.

use std::path::Path;
use std::time::Duration;

use backupctl_domain::freshness::Freshness;
use backupctl_domain::plan::{self, Space};
use backupctl_domain::{BackupRun, ByteSize, ErrorCode, Failure, human, notice};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::schedules::judge_schedule;
use super::{FRESHNESS, Health};
use crate::ports::{FileSystem, ProjectEntry, ServiceUnit};
use crate::use_cases::checks::{Check, CheckOutcome};
use crate::use_cases::schedule::between;
use crate::use_cases::status::{ProjectStatus, Status};
use crate::use_cases::watch::verdict;

/// How old the last success of a project without a schedule may be.
const UNSCHEDULED_LIMIT: Duration = Duration::from_hours(7 * 24);

impl Health {
    pub(super) async fn machine(&self) -> Vec<Check> {
        let (audit, disk, waiting, units) = tokio::join!(
            self.audit(),
            self.limited(("disk", ErrorCode::NotMounted), &self.cancel, self.base_dir()),
            self.waiting(),
            self.units(),
        );
        [vec![audit], disk, vec![waiting], units].concat()
    }

    async fn audit(&self) -> Check {
        let name = "audit";
        match self.world.audit.check().await {
            Ok(state) if state.exists => {
                Check::pass(name, format!("{} takes records", state.location))
            }
            Ok(state) => Check::warn(
                name,
                format!("{} is not there yet: no run was recorded so far", state.location),
                "create it with `backupctl init`; the first run does, too",
            ),
            Err(failure) => Check::bad(name, CheckOutcome::Fail, failure),
        }
    }

    /// Room in `base_dir`, and that it can be written; or that it is not there yet, and that it could
    /// be made. Both by a probe that is removed again.
    async fn base_dir(&self) -> Vec<Check> {
        let dir = &self.world.settings.base_dir;
        let mut checks = Vec::new();
        match self.world.disk.file_system(dir).await {
            Ok(system) => checks.push(self.room(dir, &system)),
            Err(failure) => checks.push(Check::bad("disk", CheckOutcome::Fail, failure)),
        }
        let mut there = dir.as_path();
        while self.world.disk.is_empty_dir(there).await.is_none() {
            let Some(parent) = there.parent() else { break };
            there = parent;
        }
        let name = "base_dir";
        let shown = dir.display();
        checks.push(match self.world.disk.ensure_dir(there, true).await {
            Err(mut failure) => {
                if there != dir {
                    failure.message =
                        format!("{shown} is not there and cannot be made: {}", failure.message);
                }
                Check::bad(name, CheckOutcome::Fail, failure)
            }
            Ok(()) if there == dir => Check::pass(name, format!("{shown} can be written")),
            Ok(()) => Check::warn(
                name,
                format!("{shown} is not there yet"),
                "create it with `backupctl init`; the first run does, too",
            ),
        });
        checks
    }

    fn room(&self, dir: &Path, system: &FileSystem) -> Check {
        let name = "disk";
        let mount = system.mount_point.display();
        if system.read_only {
            let message = format!("{mount} is mounted read-only");
            let failure = Failure::new(ErrorCode::PathNotWritable, message);
            return Check::bad(name, CheckOutcome::Fail, failure);
        }
        let space = Space {
            free: system.free_bytes,
            min_free: self.world.settings.min_free_bytes,
            max_file: None,
            largest: None,
            total: None,
        };
        let free = ByteSize(system.free_bytes);
        let total = ByteSize(system.total_bytes);
        let checked = plan::check_space(space, &dir.to_string_lossy());
        Check::of(
            name,
            checked.map(|()| format!("{free} of {total} free at {mount} ({})", system.kind)),
        )
    }

    async fn waiting(&self) -> Check {
        let name = "fallback";
        match self.world.fallback.pending().await {
            Ok(0) => Check::pass(name, "nothing waits to be delivered"),
            Ok(n) => Check::warn(
                name,
                format!("{n} records or notices could not be delivered and wait"),
                "deliver them with `backupctl recover`, which tells why where it cannot",
            ),
            Err(failure) => Check::bad(name, CheckOutcome::Fail, failure),
        }
    }

    async fn units(&self) -> Vec<Check> {
        let name = "systemd";
        match self.units.installed().await {
            Ok(units) if units.is_empty() => {
                vec![Check::pass(name, "no unit of backupctl is installed")]
            }
            Ok(units) => units.iter().map(|unit| judge_unit(name, unit)).collect(),
            Err(failure) => vec![Check::bad(name, CheckOutcome::Fail, failure)],
        }
    }

    /// What starts the runs, the daily summary, and for each project how its schedule stands and
    /// whether successes come as promised. Where the audit does not answer, which has a check of its
    /// own, the latter is not known.
    pub(super) async fn freshness(
        &self,
        entries: Vec<ProjectEntry>,
        shared: &mut Vec<Check>,
    ) -> Vec<(String, Check)> {
        let now = self.world.clock.now();
        let tz = &self.world.settings.timezone;
        let Ok(all) = Status::new(&self.world).execute(entries.clone()).await else {
            shared.push(self.daemon(None).await);
            shared.push(self.summary().await);
            shared.push(Check::warn(
                FRESHNESS,
                "not known: the audit database does not answer",
                "repair the audit database, then run `backupctl health` again",
            ));
            return self.schedules(&entries, now).await;
        };
        shared.push(self.daemon(Some(&all)).await);
        shared.push(self.summary().await);
        let of_project = |p: &ProjectStatus| {
            let project = p.project.as_ref();
            let success = p.last_success_at;
            let schedule = project.and_then(|of| judge_schedule(of, p.pause, success, now, tz));
            let checks = schedule.into_iter().chain(judge(p, now, tz));
            checks.map(|check| (p.name.clone(), check)).collect::<Vec<_>>()
        };
        all.iter().flat_map(of_project).collect()
    }
}

impl Health {
    /// How schedules stand, by what this machine remembers alone.
    async fn schedules(&self, entries: &[ProjectEntry], now: Timestamp) -> Vec<(String, Check)> {
        let tz = &self.world.settings.timezone;
        let mut checks = Vec::new();
        for (entry, project) in entries.iter().filter_map(|e| Some((e, e.project.as_ref().ok()?))) {
            let memory = self.world.schedules.project(&project.name).await.unwrap_or_default();
            let pause = memory.pause_at(now);
            let check = judge_schedule(project, pause, memory.last_success, now, tz);
            checks.extend(check.map(|check| (entry.name.clone(), check)));
        }
        checks
    }
}

fn judge_unit(name: &'static str, unit: &ServiceUnit) -> Check {
    if let Some(program) = &unit.missing_program {
        let failure = Failure::new(
            ErrorCode::ToolMissing,
            format!("{} starts {program}, which is no program", unit.name),
        )
        .with_remedy(format!(
            "let ExecStart of {} name the program backupctl, then run `systemctl daemon-reload`",
            unit.name
        ));
        return Check::bad(name, CheckOutcome::Fail, failure);
    }
    if unit.enabled == Some(false) {
        return Check::warn(
            name,
            format!("{} is installed and not enabled: nothing starts it", unit.name),
            format!("run `systemctl enable --now {}`", unit.name),
        );
    }
    Check::pass(name, format!("{} is installed", unit.name))
}

/// Whether successes come as the schedule promises; `None` for what the configuration turns off or
/// nobody can read.
fn judge(p: &ProjectStatus, now: Timestamp, tz: &TimeZone) -> Option<Check> {
    let freshness = p.freshness?;
    let name = FRESHNESS;
    let again = format!("`backupctl run {}`", p.name);
    let failed = p.failed_run();
    let last = p.last_success.as_ref();
    let success = last.map_or_else(|| "no success so far".to_owned(), |r| succeeded(r, now));
    let why = failed.and_then(|r| r.error.as_ref());
    let why_text =
        why.map_or_else(String::new, |e| format!("; the last run failed: {}", e.message));

    if let Some(run) = &p.running {
        let Freshness::Overdue { since, .. } = freshness else {
            return Some(Check::pass(name, format!("a run goes on, {success}")));
        };
        // It may be the one that hangs: going on makes nothing good.
        let failure = Failure::new(
            ErrorCode::RunMissed,
            format!(
                "overdue since {}: {success}; a run has been going on for {}",
                notice::local_time(since, tz),
                human::age(between(run.started_at, now))
            ),
        )
        .with_remedy(format!(
            "see its stage with `backupctl status {}`; end one that hangs with `backupctl runs abort \
             {}`",
            p.name,
            run.run_id.short()
        ));
        return Some(Check::bad(name, CheckOutcome::Fail, failure));
    }
    if let Some(ahead) = p.waits_behind.as_ref().filter(|_| freshness.is_late(now)) {
        let waits = verdict::waits(&success, ahead);
        return Some(Check {
            name,
            outcome: CheckOutcome::Fail,
            message: waits.message,
            code: waits.code,
            remedy: waits.remedy,
        });
    }
    Some(match freshness {
        // Nothing is promised, and the check of the schedule says so of a pause.
        Freshness::Disabled | Freshness::Paused => return None,
        Freshness::Overdue { since, .. } => Check {
            name,
            outcome: CheckOutcome::Fail,
            message: format!(
                "overdue since {}: {success}{why_text}",
                notice::local_time(since, tz)
            ),
            code: why.map(|e| e.code),
            remedy: Some(match why {
                Some(e) => e.remedy.clone(),
                None => format!(
                    "see what is to start its runs (timer, cron job), and make one with {again}"
                ),
            }),
        },
        // Green again only by a run that succeeds: what is stored is older than it should be.
        _ if failed.is_some() => Check {
            name,
            outcome: CheckOutcome::Fail,
            message: format!("{success}{why_text}"),
            code: why.map(|e| e.code),
            remedy: Some(why.map_or_else(
                || format!("see why with `backupctl logs {}`, then make one with {again}", p.name),
                |e| e.remedy.clone(),
            )),
        },
        Freshness::NeverRan { first_due: Some(due) } if freshness.is_late(now) => Check {
            name,
            outcome: CheckOutcome::Fail,
            message: format!(
                "it has never run, its first success was due by {}",
                notice::local_time(due, tz)
            ),
            code: Some(ErrorCode::RunMissed),
            remedy: Some(format!(
                "see what is to start its runs (timer, cron job), and make one with {again}"
            )),
        },
        Freshness::NeverRan { .. } => Check::warn(
            name,
            "it has a schedule and has never run",
            format!("make the first backup with {again}, and see what is to start the next"),
        ),
        Freshness::Unscheduled { last_success: None } => {
            Check::warn(name, "there is no backup yet", format!("make the first with {again}"))
        }
        Freshness::Fresh { due } => {
            let due = notice::local_time(due, tz);
            Check::pass(name, format!("{success}, the next is due by {due}"))
        }
        Freshness::Unscheduled { last_success: Some(at) } if is_old(at, now) => Check::warn(
            name,
            format!("no schedule, {success}"),
            format!("make one with {again}, and let a `cron` key or a timer make the next"),
        ),
        Freshness::Unscheduled { .. } => Check::pass(name, format!("no schedule, {success}")),
    })
}

/// Whether a success that nothing promised to follow up is to be mentioned.
fn is_old(success: Timestamp, now: Timestamp) -> bool {
    Duration::try_from(now.duration_since(success)).is_ok_and(|age| age > UNSCHEDULED_LIMIT)
}

fn succeeded(run: &BackupRun, now: Timestamp) -> String {
    let age = Duration::try_from(now.duration_since(run.started_at)).unwrap_or_default();
    format!("last success {} ago", human::age(age))
}
