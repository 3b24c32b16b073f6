//! Dumps loaded into databases: what is refused, what is proven first, what is left behind.

use std::path::PathBuf;

use backupctl_application::ports::TargetState;
use backupctl_application::use_cases::{IntoOptions, IntoOutcome, Restore, RestoreInto};
use backupctl_domain::project::Engine;
use backupctl_domain::{ErrorCode, Failure, Project};
use backupctl_testkit::builders::database;
use backupctl_testkit::fakes::Inject;
use backupctl_testkit::{TestBench, project};

use super::{failure, run};

fn options() -> IntoOptions {
    IntoOptions {
        snapshot: None,
        destination: None,
        target: None,
        decompress: false,
        database: database(Engine::Postgres, "copy"),
        create: false,
        force: false,
    }
}

async fn load(
    bench: &TestBench,
    project: &Project,
    options: &IntoOptions,
) -> Result<IntoOutcome, Failure> {
    let ctx = Restore::context(project, bench.cancel.clone());
    RestoreInto::new(&bench.world(), project, ctx).execute(options).await
}

/// A project with a database alone, backed up once.
async fn backed_up(bench: &TestBench, change: impl FnOnce(&mut Project)) -> Project {
    bench.dumper.set_content("the dump");
    let shop = project("shop").no_assets().with(change).build();
    run(bench, &shop).await;
    bench.journal.clear();
    shop
}

/// What is left in the project's folder beside dumps.
fn left(bench: &TestBench) -> Vec<String> {
    std::fs::read_dir(bench.base_dir().join("shop"))
        .into_iter()
        .flatten()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| !n.starts_with("shop_backup_"))
        .collect()
}

#[tokio::test]
async fn the_dump_is_proven_whole_before_it_is_loaded_and_does_not_stay() {
    let bench = TestBench::new();
    let shop = backed_up(&bench, |_| {}).await;
    let outcome = load(&bench, &shop, &options()).await.unwrap();

    assert_eq!(bench.loader.content(), b"the dump");
    assert!(outcome.restored.checksum_proven && !outcome.created);
    assert_eq!((outcome.loaded.tables, outcome.restored.dump), (1, None));
    let (file, replaced) = bench.loader.loaded().remove(0);
    assert!(file.starts_with(bench.base_dir().join("shop")) && !replaced);
    assert!(file.extension().is_some_and(|e| e == "zst"), "decompressed as it is loaded");
    assert_eq!(left(&bench), Vec::<String>::new());
    bench.journal.assert_order(&[
        "check load tool",
        "snapshots",
        "look at the target database",
        "scratch shop",
        "restore",
        "checksum",
        "look at the target database",
        "load the dump",
    ]);
}

#[tokio::test]
async fn an_encrypted_dump_is_decrypted_first_and_with_a_target_stays() {
    let bench = TestBench::new();
    let shop = project("shop").no_assets().age("age1one").build();
    let shop = {
        let mut shop = shop;
        if let Some(e) = &mut shop.encryption {
            e.identity_file = Some(PathBuf::from("/srv/key"));
        }
        shop
    };
    bench.dumper.set_content("secret dump");
    run(&bench, &shop).await;
    let target = bench.work.join("back");
    let kept = IntoOptions { target: Some(target.clone()), ..options() };
    let outcome = load(&bench, &shop, &kept).await.unwrap();
    assert_eq!(bench.loader.content(), b"secret dump");
    let dump = outcome.restored.dump.unwrap();
    assert!(dump.starts_with(&target) && dump.exists());
    assert!(dump.extension().is_none_or(|e| e != "age"));
    assert!(!bench.journal.has("scratch"));

    let again = load(&bench, &shop, &IntoOptions { force: false, ..kept.clone() }).await;
    bench.loader.set_state(TargetState::Empty);
    bench.disk.set_dir(&target);
    assert_eq!(again.unwrap_err().code, ErrorCode::PathNotWritable);
    let filled = load(&bench, &shop, &kept).await.unwrap_err();
    assert!(filled.message.contains("target"), "{}", filled.message);
}

#[tokio::test]
async fn a_changed_dump_loads_nothing() {
    let bench = TestBench::new();
    let shop = backed_up(&bench, |_| {}).await;
    let mut record = bench.audit.runs().pop().unwrap();
    record.dump.as_mut().unwrap().checksum = "blake3:0".to_owned();
    bench.audit.seed(record);
    let refused = load(&bench, &shop, &options()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::ChecksumMismatch);
    assert!(bench.loader.loaded().is_empty());
    assert_eq!(left(&bench), Vec::<String>::new());
}

#[tokio::test]
async fn a_missing_database_is_created_only_when_asked_for() {
    let bench = TestBench::new();
    let shop = backed_up(&bench, |_| {}).await;
    bench.loader.set_state(TargetState::Missing);
    let refused = load(&bench, &shop, &options()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::DbNotFound);
    assert!(refused.remedy.contains("--create"), "{}", refused.remedy);
    assert!(!bench.journal.has("restore") && !bench.journal.has("create"), "nothing is fetched");
    let created = load(&bench, &shop, &IntoOptions { create: true, ..options() }).await.unwrap();
    assert!(created.created);
    bench.journal.assert_order(&["create the target database", "load the dump"]);

    bench.loader.set_state(TargetState::Missing);
    bench.loader.fail_times("load", failure(ErrorCode::DumpCorrupt), 1);
    let failed = load(&bench, &shop, &IntoOptions { create: true, ..options() }).await.unwrap_err();
    assert!(failed.message.contains("was created for it, and stays"), "{}", failed.message);
}

#[tokio::test]
async fn a_filled_database_is_refused_by_its_tables_and_replaced_by_force() {
    let bench = TestBench::new();
    let shop = backed_up(&bench, |_| {}).await;
    let objects = (1..=9).map(|n| format!("table public.t{n}")).collect();
    bench.loader.set_state(TargetState::Filled { objects });
    let refused =
        load(&bench, &shop, &IntoOptions { create: true, ..options() }).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::PathNotWritable);
    assert!(refused.message.contains("public.t1") && refused.message.contains("copy at"));
    assert!(!refused.message.contains("t9"), "some, not all: {}", refused.message);
    assert!(refused.remedy.contains("--force"));
    assert!(!bench.journal.has("restore"), "nothing is fetched");
    load(&bench, &shop, &IntoOptions { force: true, ..options() }).await.unwrap();
    assert!(bench.loader.loaded()[0].1, "it is to replace");
}

#[tokio::test]
async fn the_engine_must_take_the_dump() {
    let bench = TestBench::new();
    let shop = backed_up(&bench, |_| {}).await;
    let mysql = IntoOptions { database: database(Engine::Mysql, "copy"), ..options() };
    let refused = load(&bench, &shop, &mysql).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidConfig);
    assert!(refused.message.contains("postgres dump"), "{}", refused.message);
    assert!(!bench.journal.has("snapshots"));

    // The project's database may have been another one when the snapshot was made.
    let moved = Project { database: None, ..shop };
    assert_eq!(load(&bench, &moved, &mysql).await.unwrap_err().code, ErrorCode::InvalidConfig);

    let bench = TestBench::new();
    let maria = backed_up(&bench, |p| p.database = Some(database(Engine::Mariadb, "shop"))).await;
    load(&bench, &maria, &mysql).await.unwrap();

    for engine in [Engine::Mongodb, Engine::Redis] {
        let bench = TestBench::new();
        let other = backed_up(&bench, |p| p.database = Some(database(engine, "shop"))).await;
        let refused = load(&bench, &other, &options()).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidConfig);
        assert!(refused.remedy.contains("--guide"), "{}", refused.remedy);
    }
}

#[tokio::test]
async fn whatever_fails_leaves_no_dump_in_the_clear() {
    for operation in ["load", "state"] {
        let bench = TestBench::new();
        let shop = backed_up(&bench, |_| {}).await;
        bench.loader.fail_times(operation, failure(ErrorCode::DbDisconnected), 1);
        let failed = load(&bench, &shop, &options()).await.unwrap_err();
        assert_eq!(failed.code, ErrorCode::DbDisconnected);
        assert_eq!(left(&bench), Vec::<String>::new(), "{operation}");
    }
    let bench = TestBench::new();
    let shop = backed_up(&bench, |_| {}).await;
    bench.loader.fail_always("check_tool", failure(ErrorCode::ToolMissing));
    assert_eq!(load(&bench, &shop, &options()).await.unwrap_err().code, ErrorCode::ToolMissing);
    assert!(!bench.journal.has("snapshots"), "before anything is asked of the repository");
}
