//! Units: what is planned from the configuration, and each way in which what looks installed starts
//! nothing or has not run.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use backupctl_application::ports::{
    ConfigLoader, Need, ServiceHost, UnitMode, UnitOptions, UnitPlan,
};
use backupctl_application::use_cases::systemd::{
    InstallUnits, PlanInput, VerifyUnits, plan, uninstall,
};
use backupctl_application::use_cases::{CheckOutcome, HealthReport};
use backupctl_domain::project::{Engine, Hooks};
use backupctl_domain::{ErrorCode, Project, Secret};
use backupctl_testkit::builders::{ProjectBuilder, archive, restic};
use backupctl_testkit::fakes::{FakeServiceHost, FakeServiceManager, FakeUnitFiles, Inject};
use backupctl_testkit::{TestBench, project};

use super::{failure, run};

const DAY: Duration = Duration::from_hours(24);

struct Machine {
    bench: TestBench,
    manager: Arc<FakeServiceManager>,
    files: Arc<FakeUnitFiles>,
    host: Arc<FakeServiceHost>,
}

impl Machine {
    fn new(projects: &[Project]) -> Self {
        let bench = TestBench::new();
        bench.config.set_projects(projects.to_vec());
        let journal = &bench.journal;
        Self {
            manager: Arc::new(FakeServiceManager::new(journal)),
            files: Arc::new(FakeUnitFiles::new(journal)),
            host: Arc::new(FakeServiceHost::new(journal)),
            bench,
        }
    }

    async fn plan(&self, mode: UnitMode) -> UnitPlan {
        let loaded = self.bench.config.load().await.unwrap();
        let config: Arc<dyn ConfigLoader> = self.bench.config.clone();
        let global = loaded.global.unwrap();
        let input = PlanInput {
            options: UnitOptions {
                mode,
                user: "root".to_owned(),
                path: "/usr/bin:/bin".to_owned(),
                read_write: Vec::new(),
                mounts: Vec::new(),
            },
            program: PathBuf::from("/usr/bin/backupctl"),
            config: loaded.file.clone(),
            global: &global,
            audit_url: &global.audit_url,
            user: self.host.user("root").await.unwrap(),
            entries: &loaded.projects,
        };
        plan(&config, input).await.0
    }

    fn installer(&self) -> InstallUnits {
        InstallUnits {
            world: self.bench.world(),
            files: self.files.clone(),
            manager: Some(self.manager.clone()),
            host: self.host.clone(),
        }
    }

    async fn verify(&self, plan: &UnitPlan) -> HealthReport {
        let entries = self.bench.config.load().await.unwrap().projects;
        let verify = VerifyUnits {
            world: self.bench.world(),
            files: self.files.clone(),
            manager: self.manager.clone(),
            host: self.host.clone(),
        };
        verify.execute(plan, &entries, true).await
    }
}

fn shop() -> ProjectBuilder {
    project("shop").cron("0 3 * * *")
}

/// What failed: check and code.
fn failed(report: &HealthReport) -> Vec<(&'static str, ErrorCode)> {
    let all = report.checks.iter().filter(|c| c.check.outcome == CheckOutcome::Fail);
    all.map(|c| (c.check.name, c.check.code.unwrap())).collect()
}

/// Installed as timers, and backed up a minute ago.
async fn good() -> (Machine, UnitPlan) {
    let shop = shop().build();
    let machine = Machine::new(std::slice::from_ref(&shop));
    run(&machine.bench, &shop).await;
    machine.bench.clock.advance(Duration::from_mins(1));
    let plan = machine.plan(UnitMode::Timers).await;
    machine.files.set_installed(&plan);
    (machine, plan)
}

#[tokio::test]
async fn what_is_installed_and_has_run_is_verified() {
    let (machine, plan) = good().await;
    let report = machine.verify(&plan).await;
    assert_eq!(failed(&report), []);
    assert!(report.is_healthy());
    let warned: Vec<_> =
        report.checks.iter().filter(|c| c.check.outcome != CheckOutcome::Pass).collect();
    assert!(warned.is_empty(), "{warned:#?}");
}

#[tokio::test]
async fn a_timer_that_is_green_and_has_not_run_fails() {
    let (machine, plan) = good().await;
    machine.bench.clock.advance(DAY * 180);
    let report = machine.verify(&plan).await;
    assert_eq!(failed(&report), [("freshness", ErrorCode::RunMissed)]);
    let remedy = report.checks.iter().find(|c| c.check.name == "freshness").unwrap();
    assert!(remedy.check.remedy.as_ref().unwrap().contains("journalctl"), "{remedy:#?}");
}

#[tokio::test]
async fn a_last_run_that_failed_is_told_with_its_own_code() {
    let (machine, plan) = good().await;
    machine.bench.dumper.fail_always("dump", failure(ErrorCode::DbAuthFailed));
    run(&machine.bench, &shop().build()).await;
    assert_eq!(failed(&machine.verify(&plan).await), [("freshness", ErrorCode::DbAuthFailed)]);
}

#[tokio::test]
async fn a_disk_that_went_away_or_cannot_hold_the_file_fails() {
    let (machine, mut plan) = good().await;
    plan.options.mounts = vec![PathBuf::from("/mnt/stick")];
    assert_eq!(failed(&machine.verify(&plan).await), [("disk", ErrorCode::NotMounted)]);

    let (machine, plan) = good().await;
    // The last dump of the fakes is larger than this.
    machine.bench.disk.change_system(|system| system.max_file_bytes = Some(1));
    assert_eq!(failed(&machine.verify(&plan).await), [("disk", ErrorCode::FsFileTooLarge)]);
}

#[tokio::test]
async fn what_the_user_the_path_or_the_sandbox_keeps_away_fails() {
    let (machine, plan) = good().await;
    machine.host.set_missing("pg_dump");
    machine.host.set_access("/srv/shop/files", None);
    machine.host.set_access("/srv/repositories/shop", None);
    machine.host.set_version("backupctl 0.0.9");
    let report = machine.verify(&plan).await;
    assert_eq!(
        failed(&report),
        [
            ("program", ErrorCode::ToolTooOld),
            ("path", ErrorCode::PathNotWritable),
            ("assets", ErrorCode::SourceIncomplete),
            ("tool", ErrorCode::ToolMissing),
        ]
    );
}

#[tokio::test]
async fn without_systemd_only_a_warning_says_that_nothing_starts_the_units() {
    let (machine, plan) = good().await;
    machine.manager.set_absent("systemd does not run here");
    let report = machine.verify(&plan).await;
    // No links either: files alone start nothing at the next boot.
    assert_eq!(failed(&report), [("unit", ErrorCode::DaemonNotRunning)]);
    let first = &report.checks[0].check;
    assert_eq!((first.name, first.outcome), ("systemd", CheckOutcome::Warn));
    assert!(first.message.contains("systemd does not run here"), "{}", first.message);
}

#[tokio::test]
async fn the_plan_names_what_the_configuration_needs_and_nothing_else() {
    let shop = shop()
        .with(|p| {
            let database = p.database.as_mut().unwrap();
            database.engine = Engine::Mariadb;
            p.hooks = Hooks { pre_backup: Some("true".to_owned()), ..Hooks::default() };
        })
        .restic(|restic| restic.password = Secret::File(PathBuf::from("/etc/backupctl/restic")))
        .build();
    let off = project("off").disabled().build();
    let machine = Machine::new(&[shop, off]);
    let plan = machine.plan(UnitMode::Serve).await;
    assert_eq!(plan.projects.len(), 1);
    let needs = plan.all_needs();
    let writes: Vec<&Path> = needs.writes.iter().map(|w| w.path.as_path()).collect();
    let base = machine.bench.base_dir();
    assert_eq!(writes, [base.as_path(), Path::new("/srv/repositories/shop")]);
    let reads: Vec<&Path> = needs.reads.iter().map(|r| r.path.as_path()).collect();
    assert_eq!(reads, [Path::new("/srv/shop/files"), Path::new("/etc/backupctl/restic")]);
    let tools: Vec<&str> = needs.tools.iter().map(|t| t.any_of[0].as_str()).collect();
    assert_eq!(tools, ["restic", "mariadb-dump", "mariadb"]);
    assert!(needs.hooks && !needs.docker);
}

#[tokio::test]
async fn a_destination_that_the_run_can_do_without_is_no_failure_of_the_units() {
    let mut stick = archive("/mnt/usb/backups");
    stick.required = false;
    let both = [restic("/srv/repositories/shop"), stick];
    let shop = shop().destinations(both).build();
    let machine = Machine::new(std::slice::from_ref(&shop));
    run(&machine.bench, &shop).await;
    let mut plan = machine.plan(UnitMode::Timers).await;
    let stores: Vec<_> =
        plan.projects[0].needs.writes.iter().map(|w| (w.need, w.on_a_disk)).collect();
    assert_eq!(stores, [(Need::OneOfSeveral, false), (Need::Optional, true)]);
    machine.files.set_installed(&plan);
    plan.options.mounts = vec![PathBuf::from("/mnt/usb")];
    let report = machine.verify(&plan).await;
    assert_eq!(failed(&report), []);
    let warned = report.checks.iter().filter(|c| c.check.outcome == CheckOutcome::Warn);
    let warned: Vec<_> = warned.map(|c| (c.check.name, c.check.code)).collect();
    assert!(warned.contains(&("disk", Some(ErrorCode::NotMounted))), "{warned:?}");

    let alone = project("alone").destinations([archive("/mnt/usb/backups")]).build();
    let plan = Machine::new(&[alone]).plan(UnitMode::Timers).await;
    assert_eq!(plan.projects[0].needs.writes[0].need, Need::Required);
}

#[tokio::test]
async fn installing_writes_enables_and_takes_the_obsolete_away() {
    let machine = Machine::new(&[shop().build(), project("blog").cron("0 4 * * *").build()]);
    let timers = machine.plan(UnitMode::Timers).await;
    machine.installer().execute(&timers, false).await.unwrap();
    assert_eq!(machine.files.names().len(), 4);
    machine.bench.config.set_projects([shop().build()]);
    let fewer = machine.plan(UnitMode::Timers).await;

    let done = machine.installer().execute(&fewer, false).await.unwrap();

    assert_eq!(done.removed.len(), 2);
    assert_eq!(done.enabled, ["backupctl-shop.timer"]);
    let events = machine.bench.journal.events();
    let last: Vec<&str> =
        events.iter().filter(|e| e.starts_with("systemd")).map(String::as_str).collect();
    assert!(last.contains(&"systemd disable backupctl-blog.service backupctl-blog.timer"));
    let removed = uninstall(machine.files.as_ref(), Some(machine.manager.as_ref())).await.unwrap();
    assert_eq!(removed.len(), 2);
    assert!(machine.files.names().is_empty());
}

#[tokio::test]
async fn nothing_changes_where_an_edited_file_stands_in_the_way() {
    let machine = Machine::new(&[shop().build()]);
    let plan = machine.plan(UnitMode::Timers).await;
    machine.files.set_installed(&plan);
    machine.files.edit("/etc/systemd/system/backupctl-shop.timer");
    let before = machine.bench.journal.events().len();
    let refused = machine.installer().execute(&plan, false).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::PathNotWritable);
    assert!(refused.remedy.contains("--force"), "{}", refused.remedy);
    let events = machine.bench.journal.events().split_off(before);
    assert!(!events.iter().any(|e| e.starts_with("systemd") || e.starts_with("units")));
    machine.installer().execute(&plan, true).await.unwrap();
}
