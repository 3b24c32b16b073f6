//! Units as systemd itself reads them: its own checker judges the files, its own calendar the times.

#![expect(clippy::unwrap_used, reason = "a broken assumption is to end the test")]

mod alert;
mod calendar;
mod units;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use backupctl_application::ports::{
    Need, Needs, NeedsTool, PlannedProject, ReadKind, Reads, UnitMode, UnitOptions, UnitPlan,
    UnitUser, Writes,
};
use backupctl_domain::ProjectName;
use backupctl_domain::schedule::{CatchUp, Schedule};
use backupctl_testkit::WorkDir;
use jiff::tz::TimeZone;

/// A program of the system, for a test's own use.
#[expect(clippy::disallowed_methods, reason = "the one place of these tests that starts programs")]
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("LC_ALL", "C").env("SYSTEMD_COLORS", "0").env("SYSTEMD_PAGER", "");
    command
}

fn schedule(cron: &str, zone: &str) -> Schedule {
    let zone = TimeZone::get(zone).unwrap();
    Schedule::new(cron, zone, CatchUp::WithinGrace, Duration::from_hours(2)).unwrap()
}

/// A plan of one project `shop`, everything below the test's folder.
fn plan(work: &WorkDir, mode: UnitMode) -> UnitPlan {
    let reads = |path: PathBuf, kind| Reads { path, kind };
    let writes = |path, what, need| Writes { path, what, need, on_a_disk: false };
    let needs = Needs {
        writes: vec![writes(work.dir("my repo"), "the repository", Need::Required)],
        reads: vec![
            reads(work.file("secrets/restic", "secret"), ReadKind::Secret),
            reads(work.dir("assets"), ReadKind::Asset),
        ],
        tools: vec![NeedsTool { any_of: vec!["restic".to_owned()] }],
        docker: false,
        hooks: false,
    };
    let base_dir = work.dir("base");
    UnitPlan {
        options: UnitOptions {
            mode,
            user: "root".to_owned(),
            path: "/usr/local/bin:/usr/bin:/bin".to_owned(),
            read_write: vec![work.dir("hooks")],
            mounts: vec![PathBuf::from("/mnt/usb-stick")],
        },
        program: PathBuf::from("/bin/sh"),
        config: work.file("etc/backupctl.yml", ""),
        base_dir: base_dir.clone(),
        user: UnitUser {
            name: "root".to_owned(),
            uid: 0,
            gid: 0,
            groups: vec![0],
            home: PathBuf::from("/root"),
        },
        shared: Needs {
            writes: vec![writes(base_dir, "base_dir", Need::Vital)],
            ..Needs::default()
        },
        projects: vec![PlannedProject {
            name: ProjectName::new("shop").unwrap(),
            schedule: Some(schedule("30 2 * * *", "Europe/Berlin")),
            needs,
        }],
        alerts: Vec::new(),
    }
}
