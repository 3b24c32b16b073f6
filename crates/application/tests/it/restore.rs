//! Restores: which snapshots, which files, what is proven of them.

use std::path::Path;

use backupctl_application::use_cases::guide::import_guide;
use backupctl_application::use_cases::{Only, Restore, RestoreOptions, RestoreOutcome};
use backupctl_domain::project::Engine;
use backupctl_domain::{ErrorCode, Failure, Project};
use backupctl_testkit::{TestBench, builders, project};

use super::run;

fn options(bench: &TestBench) -> RestoreOptions {
    RestoreOptions {
        snapshot: None,
        destination: None,
        target: bench.work.join("back"),
        only: None,
        paths: Vec::new(),
        decompress: false,
        force: false,
    }
}

async fn restore(
    bench: &TestBench,
    project: &Project,
    options: &RestoreOptions,
) -> Result<RestoreOutcome, Failure> {
    let ctx = Restore::context(project, bench.cancel.clone());
    Restore::new(&bench.world(), project, ctx).execute(options).await
}

/// A project with a real asset folder, backed up once.
async fn backed_up(bench: &TestBench, separate: bool) -> Project {
    let files = bench.work.dir("files");
    std::fs::write(files.join("a.txt"), "a").unwrap();
    bench.disk.set_dir(&files);
    let shop = project("shop").assets([files]);
    let shop = if separate { shop.separate() } else { shop }.build();
    run(bench, &shop).await;
    shop
}

#[tokio::test]
async fn the_dump_stands_at_the_top_and_is_proven_assets_keep_their_paths() {
    for separate in [false, true] {
        let bench = TestBench::new();
        let shop = backed_up(&bench, separate).await;
        let outcome = restore(&bench, &shop, &options(&bench)).await.unwrap();

        let dump = outcome.dump.unwrap();
        assert_eq!(dump.parent(), Some(bench.work.join("back").as_path()));
        assert!(dump.exists() && outcome.checksum_proven);
        let asset = shop.assets.paths[0].join("a.txt");
        let back = bench.work.join("back").join(asset.strip_prefix("/").unwrap());
        assert_eq!(std::fs::read_to_string(back).unwrap(), "a");
        assert_eq!(outcome.snapshots.len(), if separate { 2 } else { 1 });
    }
}

#[tokio::test]
async fn only_one_part_is_restored_when_asked_for() {
    for separate in [false, true] {
        let bench = TestBench::new();
        let shop = backed_up(&bench, separate).await;
        let db = RestoreOptions { only: Some(Only::Db), ..options(&bench) };
        let outcome = restore(&bench, &shop, &db).await.unwrap();
        assert_eq!((outcome.files, outcome.dump.is_some()), (1, true));

        let target = bench.work.join("files-back");
        let assets = RestoreOptions { only: Some(Only::Assets), target, ..options(&bench) };
        let outcome = restore(&bench, &shop, &assets).await.unwrap();
        assert_eq!((outcome.files, outcome.dump), (1, None));
    }
}

#[tokio::test]
async fn a_filled_target_is_refused_without_force() {
    let bench = TestBench::new();
    let shop = backed_up(&bench, false).await;
    bench.disk.set_dir(bench.work.join("back"));
    let refused = restore(&bench, &shop, &options(&bench)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::PathNotWritable);
    assert!(refused.remedy.contains("--force"));
    assert!(!bench.journal.has("restore"));
    let forced = RestoreOptions { force: true, ..options(&bench) };
    restore(&bench, &shop, &forced).await.unwrap();
}

#[tokio::test]
async fn a_dump_that_is_not_the_recorded_one_is_refused() {
    let bench = TestBench::new();
    let shop = backed_up(&bench, false).await;
    let mut record = bench.audit.runs().pop().unwrap();
    record.dump.as_mut().unwrap().checksum = "blake3:0".to_owned();
    bench.audit.seed(record);
    let refused = restore(&bench, &shop, &options(&bench)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::ChecksumMismatch);
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let bench = TestBench::new();
    let shop = backed_up(&bench, false).await;
    let wrong = RestoreOptions { snapshot: Some("ffffffff".to_owned()), ..options(&bench) };
    assert_eq!(restore(&bench, &shop, &wrong).await.unwrap_err().code, ErrorCode::SnapshotNotFound);
    let other = project("other").build();
    let none = restore(&bench, &other, &options(&bench)).await.unwrap_err();
    assert_eq!(none.code, ErrorCode::SnapshotNotFound);
}

#[tokio::test]
async fn one_path_is_restored_from_the_newest_snapshot_with_it() {
    for separate in [false, true] {
        let bench = TestBench::new();
        let shop = backed_up(&bench, separate).await;
        let file = shop.assets.paths[0].join("a.txt");
        for asked in [file.clone(), shop.assets.paths[0].clone()] {
            let target = bench.work.join(format!("back-{}", asked.ends_with("a.txt")));
            let one =
                RestoreOptions { paths: vec![asked], target: target.clone(), ..options(&bench) };
            let outcome = restore(&bench, &shop, &one).await.unwrap();
            assert_eq!((outcome.files, outcome.dump, outcome.snapshots.len()), (1, None, 1));
            assert!(target.join(file.strip_prefix("/").unwrap()).exists());
        }
    }
}

#[tokio::test]
async fn a_folder_above_several_sources_brings_the_newest_of_each() {
    for separate in [false, true] {
        let bench = TestBench::new();
        let sources = ["srv/a", "srv/b"].map(|source| bench.work.dir(source));
        let build = |sources: &[std::path::PathBuf]| {
            let shop = project("shop").assets(sources.to_vec());
            if separate { shop.separate() } else { shop }.build()
        };
        let shop = build(&sources);
        for day in ["old", "new"] {
            for source in &sources {
                std::fs::write(source.join("day.txt"), day).unwrap();
                bench.disk.set_dir(source);
            }
            run(&bench, &shop).await;
            bench.clock.advance(std::time::Duration::from_hours(24));
        }
        let above = sources[0].parent().unwrap().to_owned();
        let asked = RestoreOptions { paths: vec![above], ..options(&bench) };
        let outcome = restore(&bench, &shop, &asked).await.unwrap();
        assert_eq!((outcome.files, outcome.snapshots.len()), (2, if separate { 2 } else { 1 }));
        for source in &sources {
            let back = bench.work.join("back").join(source.strip_prefix("/").unwrap());
            assert_eq!(std::fs::read_to_string(back.join("day.txt")).unwrap(), "new");
        }
    }
}

#[tokio::test]
async fn what_was_once_backed_up_as_a_whole_does_not_go_over_newer_parts() {
    let bench = TestBench::new();
    let (whole, part) = (bench.work.dir("srv"), bench.work.dir("srv/a"));
    for (day, source) in [("old", &whole), ("new", &part)] {
        std::fs::write(part.join("day.txt"), day).unwrap();
        bench.disk.set_dir(source);
        run(&bench, &project("shop").assets([source.clone()]).separate().build()).await;
        bench.clock.advance(std::time::Duration::from_hours(24));
    }
    let shop = project("shop").assets([part.clone()]).separate().build();
    let asked = RestoreOptions { paths: vec![whole], ..options(&bench) };
    restore(&bench, &shop, &asked).await.unwrap();
    let back = bench.work.join("back").join(part.strip_prefix("/").unwrap()).join("day.txt");
    assert_eq!(std::fs::read_to_string(back).unwrap(), "new");
}

#[tokio::test]
async fn a_path_that_is_in_no_snapshot_is_named_with_how_to_list_them() {
    let bench = TestBench::new();
    let shop = backed_up(&bench, false).await;
    let inside = shop.assets.paths[0].join("gone.txt");
    for path in ["/etc/elsewhere".into(), inside] {
        let asked = RestoreOptions { paths: vec![path.clone()], ..options(&bench) };
        let refused = restore(&bench, &shop, &asked).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::SnapshotNotFound);
        assert!(refused.message.contains(path.to_str().unwrap()), "{}", refused.message);
        assert!(refused.remedy.contains("backupctl restic shop ls"), "{}", refused.remedy);
    }
}

#[tokio::test]
async fn a_restore_that_finds_no_room_writes_nothing() {
    let bench = TestBench::new();
    bench.dumper.set_content(vec![7; 4096]);
    let shop = backed_up(&bench, false).await;
    bench.disk.set_free(4095);
    bench.journal.clear();
    let refused = restore(&bench, &shop, &options(&bench)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::DiskLow);
    assert!(!bench.journal.has("restore ") && !bench.work.join("back").exists());
    bench.disk.set_free(1 << 20);
    restore(&bench, &shop, &options(&bench)).await.unwrap();
}

#[test]
fn the_guide_loads_as_an_administrator_not_as_the_user_of_the_backup() {
    let guide = |engine: Engine, name: &str| {
        let mut database = builders::database(engine, name);
        database.user = Some("backup".to_owned());
        let project = builders::project("shop").database(database).build();
        import_guide(&project, "latest", Path::new("/back"))
    };
    for engine in [Engine::Postgres, Engine::Mysql, Engine::Mariadb] {
        let text = guide(engine, "shop");
        let by =
            if engine == Engine::Postgres { "-U postgres" } else { "-u root -p --binary-mode" };
        assert!(text.contains(by) && !text.contains("backup -p"), "{text}");
        assert!(!text.contains("--role backup") && !text.contains("--owner backup"), "{text}");
    }
    let all = guide(Engine::Mariadb, "all");
    assert!(!all.contains("CREATE DATABASE") && !all.contains("all_restored"), "{all}");
}

#[test]
fn the_guide_of_a_dump_with_roles_names_psql_and_the_script() {
    let guide = |name: &str, globals: bool| {
        let mut database = builders::database(Engine::Postgres, name);
        database.options.globals = globals;
        let project = builders::project("shop").database(database).build();
        import_guide(&project, "latest", Path::new("/back"))
    };
    assert!(
        guide("shop", false).contains("pg_restore") && guide("shop", false).contains("_*.dump")
    );
    let one = guide("shop", true);
    assert!(one.contains("--dbname shop_restored --file /back/db/shop_backup_*.sql"), "{one}");
    let all = guide("all", false);
    assert!(all.contains("--dbname postgres --file /back/db/shop_backup_*.sql"), "{all}");
    assert!(!all.contains("createdb"), "{all}");
}

#[test]
fn the_guide_of_a_whole_mongodb_server_renames_nothing() {
    for (name, renames) in [("shop", true), ("all", false)] {
        let project = builders::project("shop").database(builders::database(Engine::Mongodb, name));
        let text = import_guide(&project.build(), "latest", Path::new("/back"));
        assert!(text.contains("mongorestore"), "{text}");
        assert_eq!(text.contains("--nsFrom"), renames, "{text}");
        assert_eq!(text.contains("new server"), !renames, "{text}");
    }
}
