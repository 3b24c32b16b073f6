//! A dry run tells everything that is wrong, and does nothing about it.

use std::sync::Arc;

use backupctl_application::World;
use backupctl_application::ports::RepositoryInfo;
use backupctl_application::registry::{NotifierRegistry, Storage, StorageRegistry};
use backupctl_application::use_cases::{Check, CheckOutcome, DryRun};
use backupctl_domain::{ErrorCode, Project};
use backupctl_testkit::builders::ProjectBuilder;
use backupctl_testkit::fakes::Inject;
use backupctl_testkit::mocks::{MockAdmin, MockAudit, MockHooks, MockNotifier, MockStorage};
use backupctl_testkit::{TestBench, project};

use super::failure;

/// The checks of a project that has everything, in their order.
const NAMES: [&str; 8] =
    ["config", "dumper", "notifier", "repository", "disk", "encryption", "assets", "database"];

async fn dry_run(bench: &TestBench, project: &Project) -> Vec<Check> {
    DryRun::new(&bench.world(), project, bench.cancel.clone()).execute().await
}

fn names(checks: &[Check]) -> Vec<&'static str> {
    checks.iter().map(|c| c.name).collect()
}

/// Those that did not pass, with their codes.
fn bad(checks: &[Check]) -> Vec<(&'static str, CheckOutcome, Option<ErrorCode>)> {
    let bad = checks.iter().filter(|c| c.outcome != CheckOutcome::Pass);
    bad.map(|c| (c.name, c.outcome, c.code)).collect()
}

fn shop() -> ProjectBuilder {
    project("shop").everything()
}

#[tokio::test]
async fn a_good_project_passes_every_check_in_the_order_of_the_specification() {
    let bench = TestBench::new();
    let checks = dry_run(&bench, &shop().build()).await;
    assert_eq!(names(&checks), NAMES);
    assert_eq!(bad(&checks), []);
    assert!(checks.iter().all(|c| c.remedy.is_none()));
    let message = |name: &str| &*checks.iter().find(|c| c.name == name).unwrap().message;
    assert!(message("dumper").contains("pg_dump 15.18"), "{checks:?}");
    assert!(message("repository").contains("restic 0.14.0"), "{checks:?}");
    assert!(message("disk").contains("50"), "{checks:?}");
    assert!(message("database").contains("reachable"), "{checks:?}");
    bench.journal.assert_order(&["check notifier", "check repository", "disk of", "check keys"]);
}

#[tokio::test]
async fn nothing_is_stored_sent_run_or_written_down() {
    let bench = TestBench::new();
    let mut world = Arc::into_inner(bench.world()).unwrap();
    let (mut audit, mut admin) = (MockAudit::new(), MockAdmin::new());
    // Reading is allowed, and nothing else: a mock without an expectation ends the test.
    audit.expect_find_runs().returning(|_| Ok(Vec::new()));
    admin.expect_check_tool().times(1).returning(|| Ok(None));
    admin.expect_check().times(1).returning(|_| {
        let (location, detail) = ("/r".to_owned(), "restic".to_owned());
        Ok(RepositoryInfo { id: Some("id".to_owned()), location, detail, remark: None })
    });
    world.audit = Arc::new(audit);
    world.hooks = Arc::new(MockHooks::new());
    let admin = Arc::new(admin);
    world.registries.storages = StorageRegistry::new("destinations").with("restic", move |_, _| {
        let remote = Arc::new(MockStorage::new());
        Ok(Arc::new(Storage { remote, admin: admin.clone(), cache: None }))
    });
    world.registries.notifiers =
        NotifierRegistry::new("notification type").with("webhook", |_, _| {
            let mut channel = MockNotifier::new();
            channel.expect_check().times(1).returning(|| Ok(()));
            Ok(Arc::new(channel))
        });
    let checks = execute(&world, &bench, &shop().build()).await;
    assert_eq!(bad(&checks), []);
    let allowed = ["check ", "disk of "];
    assert_eq!(bench.journal.without(&allowed), [""; 0], "no lock, no dump, no file, no heartbeat");
    assert_eq!(bench.work.names("base"), [""; 0], "not even a folder");
}

async fn execute(world: &World, bench: &TestBench, project: &Project) -> Vec<Check> {
    DryRun::new(world, project, bench.cancel.clone()).execute().await
}

#[tokio::test]
async fn each_failure_is_told_with_its_code_and_the_others_are_checked_all_the_same() {
    let bench = TestBench::new();
    bench.dumper.fail_always("check_tool", failure(ErrorCode::ToolMissing));
    bench.dumper.fail_always("check_database", failure(ErrorCode::DbAuthFailed));
    bench.webhook.fail_always("check", failure(ErrorCode::NotifyFailed));
    bench.repository.fail_always("check", failure(ErrorCode::RepoWrongPassword));
    bench.encryptor.fail_always("check_keys", failure(ErrorCode::EncryptionKeyMissing));
    bench.disk.set_free(1 << 20);
    let checks = dry_run(&bench, &shop().build()).await;
    assert_eq!(names(&checks), NAMES);
    let fail = |name, code| (name, CheckOutcome::Fail, Some(code));
    assert_eq!(
        bad(&checks),
        [
            fail("dumper", ErrorCode::ToolMissing),
            fail("notifier", ErrorCode::NotifyFailed),
            fail("repository", ErrorCode::RepoWrongPassword),
            fail("disk", ErrorCode::DiskLow),
            fail("encryption", ErrorCode::EncryptionKeyMissing),
            fail("database", ErrorCode::DbAuthFailed),
        ]
    );
    let told = checks.iter().filter(|c| c.outcome == CheckOutcome::Fail);
    assert!(told.clone().all(|c| c.remedy.as_ref().is_some_and(|r| !r.is_empty())), "{checks:?}");
    assert!(told.clone().any(|c| c.message.contains("injected")), "{checks:?}");
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_or_holds_no_such_file_fails() {
    let bench = TestBench::new();
    let code = async || {
        let checks = dry_run(&bench, &shop().build()).await;
        bad(&checks).first().map(|(name, _, code)| (*name, code.unwrap()))
    };
    bench.disk.change_system(|system| system.read_only = true);
    assert_eq!(code().await, Some(("disk", ErrorCode::PathNotWritable)));
    bench.disk.change_system(|system| system.read_only = false);
    bench.disk.fail_once("file_system", failure(ErrorCode::PathNotWritable));
    assert_eq!(code().await, Some(("disk", ErrorCode::PathNotWritable)));

    // The last dump was larger than what the file system can hold.
    let last = super::run(&bench, &shop().build()).await.dump.unwrap().bytes;
    bench.disk.change_system(|system| system.max_file_bytes = Some(last / 2));
    assert_eq!(code().await, Some(("disk", ErrorCode::FsFileTooLarge)));
}

#[tokio::test]
async fn missing_assets_are_warned_of_one_by_one() {
    let bench = TestBench::new();
    let paths = ["/srv/shop/one", "/srv/shop/two", "/srv/shop/three"];
    for missing in [paths[0], paths[2]] {
        bench.disk.set_missing(missing);
    }
    let checks = dry_run(&bench, &shop().assets(paths).build()).await;
    let warn = ("assets", CheckOutcome::Warn, None);
    assert_eq!(bad(&checks), [warn, warn]);
    let told: Vec<&str> =
        checks.iter().filter(|c| c.name == "assets").map(|c| &*c.message).collect();
    let expected = [paths[0], paths[2]].map(|path| format!("Asset path not found: {path}"));
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_project_with_nothing_to_back_up_fails() {
    let bench = TestBench::new();
    bench.disk.set_missing("/srv/shop/files");
    let fail = ("assets", CheckOutcome::Fail, Some(ErrorCode::NothingToBackUp));
    for project in [shop().no_database().build(), shop().no_database().no_assets().build()] {
        let checks = dry_run(&bench, &project).await;
        assert_eq!(names(&checks), NAMES);
        assert_eq!(bad(&checks), [fail]);
    }
    let with_database = dry_run(&bench, &shop().no_assets().build()).await;
    assert_eq!(bad(&with_database), []);
}

#[tokio::test]
async fn a_project_that_tells_nobody_is_warned_and_what_it_has_not_is_no_trouble() {
    let bench = TestBench::new();
    let checks = dry_run(&bench, &project("shop").no_database().build()).await;
    assert_eq!(names(&checks), NAMES);
    assert_eq!(bad(&checks), [("notifier", CheckOutcome::Warn, None)]);
    assert!(!bench.journal.has("check keys"), "no encryption, no keys");
}

#[tokio::test]
async fn a_repository_that_the_first_run_creates_is_no_failure() {
    let bench = TestBench::new();
    bench.repository.set_initialized(false);
    let found = bad(&dry_run(&bench, &shop().build()).await);
    let code = Some(ErrorCode::RepoNotInitialized);
    assert_eq!(found, [("repository", CheckOutcome::Fail, code)]);
    bench.repository.set_auto_init(true);
    let checks = dry_run(&bench, &shop().build()).await;
    assert_eq!(bad(&checks), [("repository", CheckOutcome::Warn, None)]);
    let check = checks.iter().find(|c| c.name == "repository").unwrap();
    assert!(check.message.contains("will be created by the first run"), "{}", check.message);
}
