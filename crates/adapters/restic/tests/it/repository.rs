//! The repository itself: there or not, the same or another, the tool.

use std::fs;
use std::path::PathBuf;

use backupctl_application::ports::{RemoteStorage, RepositoryAdmin, StoreRequest};
use backupctl_domain::destination::ResticTarget;
use backupctl_domain::retention::KeepPolicy;
use backupctl_domain::sync::SyncPart;
use backupctl_domain::tag::Tag;
use backupctl_domain::{ErrorCode, Secret, SnapshotId};

use backupctl_testkit::services::Repository;

use crate::world::{PASSWORD, World, ctx, request};

/// Reaches the world's repository as one that no file system shows: restic itself gets its folder.
fn serve_as_remote(world: &World, target: &mut ResticTarget) {
    world.script(&format!(
        "echo \"$1\" >> '{}'\nRESTIC_REPOSITORY='{}' exec restic \"$@\"\n",
        world.path("calls").display(),
        world.repo().display()
    ));
    target.repository = String::from("rest:https://backup.example.com/demo");
}

#[tokio::test]
async fn a_missing_repository_is_not_created_in_silence() {
    let world = World::without_repository();
    let restic = world.restic();
    for failure in [
        restic.store(&request(world.part(None)), &ctx()).await.unwrap_err(),
        restic.check(&ctx()).await.unwrap_err(),
    ] {
        assert_eq!(failure.code, ErrorCode::RepoNotInitialized);
        assert!(failure.remedy.contains("`backupctl init`"));
    }
    assert!(!world.repo().exists());
}

#[tokio::test]
async fn auto_init_creates_it_once_and_never_where_one_was_before() {
    let world = World::without_repository();
    let restic = world.restic_with(|target| target.auto_init = true);
    assert!(restic.creates_by_itself());
    let failure = restic.check(&ctx()).await.unwrap_err();
    assert!(failure.remedy.contains("the first run creates it"), "{}", failure.remedy);
    drop(world.calls());
    let stored = restic.store(&request(world.part(None)), &ctx()).await.unwrap();
    restic.prove(&stored, &world.part(None), &ctx()).await.unwrap();
    assert_eq!(world.calls(), ["snapshots", "init", "backup", "ls"]);
    let info = restic.check(&ctx()).await.unwrap();
    assert_eq!((info.id.as_ref().unwrap().len(), info.detail.as_str()), (64, "restic 0.14.0"));
    assert_eq!(restic.init(&ctx()).await.unwrap(), (info, false));

    // The disk is not mounted: the location is an empty folder.
    fs::rename(world.repo(), world.path("elsewhere")).unwrap();
    fs::create_dir(world.repo()).unwrap();
    let again = world.restic_with(|target| target.auto_init = true);
    assert!(!again.creates_by_itself());
    let failure = again.store(&request(world.part(None)), &ctx()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::RepoNotInitialized);
    assert!(failure.remedy.contains("mount the disk"), "{}", failure.remedy);
    let failure = again.init(&ctx()).await.unwrap_err();
    assert!(failure.message.contains("one was there before"), "{}", failure.message);
    assert_eq!(fs::read_dir(world.repo()).unwrap().count(), 0);

    // Another repository in its place.
    fs::remove_dir(world.repo()).unwrap();
    Repository::fresh_at(&world.repo(), PASSWORD);
    let failure = again.check(&ctx()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::RepoNotInitialized);
    assert!(failure.message.contains("another repository than before"), "{}", failure.message);
}

#[tokio::test]
async fn another_repository_at_the_location_takes_no_backup() {
    // Made by backupctl, and by somebody else; reached as a folder, and as nobody can look into it.
    for (made_here, local) in [(true, true), (false, true), (true, false), (false, false)] {
        let world = World::without_repository();
        let restic = || {
            world.restic_with(|target| {
                target.auto_init = true;
                if !local {
                    serve_as_remote(&world, target);
                }
            })
        };
        if made_here {
            restic().init(&ctx()).await.unwrap();
        } else {
            Repository::fresh_at(&world.repo(), PASSWORD);
        }
        let part = world.part(None);
        for _ in 0..2 {
            let stored = restic().store(&request(part.clone()), &ctx()).await.unwrap();
            restic().prove(&stored, &part, &ctx()).await.unwrap();
        }
        fs::rename(world.repo(), world.path("elsewhere")).unwrap();
        if made_here {
            Repository::fresh_at(&world.repo(), PASSWORD);
        } else {
            assert!(world.raw(&["init"]).status().unwrap().success());
        }

        let case = format!("made here: {made_here}, local: {local}");
        let parent = SnapshotId::new("0123456789abcdef");
        let mut requests = vec![request(part.clone()), StoreRequest { parent, ..request(part) }];
        if local {
            // There is no parent to miss.
            requests.push(request(SyncPart { tags: vec![Tag::Db], ..world.part(None) }));
        }
        for request in requests {
            let failure = restic().store(&request, &ctx()).await.expect_err(&case);
            assert_eq!(failure.code, ErrorCode::RepoNotInitialized, "{case}: {failure:?}");
            assert!(
                failure.message.contains("another repository than before"),
                "{case}: {failure}"
            );
            assert!(failure.remedy.contains("mount the right disk"), "{case}: {}", failure.remedy);
        }
        assert!(restic().check(&ctx()).await.is_err(), "{case}: a dry run tells it too");
        assert_eq!(fs::read_dir(world.repo().join("snapshots")).unwrap().count(), 0, "{case}");

        fs::remove_dir_all(world.repo()).unwrap();
        fs::rename(world.path("elsewhere"), world.repo()).unwrap();
        restic().store(&request(world.part(None)), &ctx()).await.expect(&case);
    }
}

#[tokio::test]
async fn a_look_writes_nothing_and_init_remembers() {
    let world = World::new();
    let before = world.tree();
    let looks = world.restic_with(|target| target.cache_dir = Some(world.path("look-cache")));
    assert_eq!(looks.check_tool().await.unwrap().unwrap().version, "0.14.0");
    let info = looks.check(&ctx()).await.unwrap();
    assert_eq!(world.calls(), ["version", "cat"]);
    assert_eq!(world.tree(), before);

    let (again, created) = world.restic().init(&ctx()).await.unwrap();
    assert_eq!((again, created), (info, false));
    world.calls();
    let (restic, part) = (world.restic(), world.part(Some(world.dump("d.dump", "dump"))));
    let stored = restic.store(&request(part.clone()), &ctx()).await.unwrap();
    restic.prove(&stored, &part, &ctx()).await.unwrap();
    let keep = KeepPolicy { daily: 7, ..KeepPolicy::default() };
    restic.prune(&keep, &ctx()).await.unwrap();
    assert_eq!(world.calls(), ["backup", "ls", "forget"]);
}

#[tokio::test]
async fn init_makes_a_repository_and_the_first_store_looks_for_no_parent() {
    let world = World::without_repository();
    let (info, created) = world.restic().init(&ctx()).await.unwrap();
    assert!(created && info.location == world.repo().to_str().unwrap());
    world.calls();
    world.restic().store(&request(world.part(None)), &ctx()).await.unwrap();
    assert_eq!(world.calls(), ["backup"]);
}

#[tokio::test]
async fn a_wrong_password_is_told_and_not_shown() {
    let world = World::new();
    let restic = world.restic_with(|target| target.password = Secret::value("wr0ng"));
    let failure = restic.check(&ctx()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::RepoWrongPassword);
    assert!(!failure.is_transient() && !format!("{failure:?}").contains("wr0ng"));
    let call = restic.invocation(["snapshots"]).unwrap();
    assert!(!format!("{call:?}").contains("wr0ng"));
}

#[tokio::test]
async fn a_missing_or_old_tool_is_told_before_anything_else() {
    let world = World::new();
    let restic = world.restic_with(|target| target.binary = Some(PathBuf::from("no-such-restic")));
    let failure = restic.check_tool().await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::ToolMissing);
    assert!(failure.remedy.contains("restic.binary"), "{}", failure.remedy);

    world.script("echo 'restic 0.12.1 compiled with go1.16'");
    let failure = world.restic().check_tool().await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::ToolTooOld);

    world.script("echo 'borg 1.2.4'");
    let failure = world.restic().check_tool().await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::ToolMissing);
}

#[tokio::test]
async fn only_restics_own_variables_and_the_projects_reach_it() {
    let world = World::new();
    world.script(&format!("env > '{}'\nexec restic \"$@\"\n", world.path("env").display()));
    let restic = world.restic_with(|target| {
        target.env.insert("AWS_ACCESS_KEY_ID".to_owned(), Secret::value("key"));
        target.options.insert("local.layout".to_owned(), "default".to_owned());
    });
    restic.snapshots(&ctx()).await.unwrap();
    let seen = fs::read_to_string(world.path("env")).unwrap();
    let mut names: Vec<&str> = seen
        .lines()
        .filter_map(|line| Some(line.split_once('=')?.0))
        .filter(|name| name.starts_with("RESTIC_") || *name == "AWS_ACCESS_KEY_ID")
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "AWS_ACCESS_KEY_ID",
            "RESTIC_CACHE_DIR",
            "RESTIC_PASSWORD",
            "RESTIC_PROGRESS_FPS",
            "RESTIC_REPOSITORY"
        ]
    );
    let call = restic.invocation(["snapshots", "--json"]).unwrap();
    assert_eq!(call.args, ["snapshots", "-o", "local.layout=default", "--json"]);
    for name in ["RESTIC_PASSWORD_FILE", "RESTIC_REPOSITORY_FILE"] {
        assert!(call.env_remove.iter().any(|removed| removed == name));
    }
    let call = restic.invocation(["--cache-dir", "x", "snapshots"]).unwrap();
    assert_eq!(call.args, ["-o", "local.layout=default", "--cache-dir", "x", "snapshots"]);
    let set = |name: &str| call.env.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    assert_eq!(set("RESTIC_CACHE_DIR").unwrap(), world.path("cache").as_os_str());
}

#[tokio::test]
async fn one_snapshot_is_forgotten_and_only_the_projects_own() {
    let world = World::new();
    let restic = world.restic();
    let first = restic.store(&request(world.part(None)), &ctx()).await.unwrap();
    let second = restic.store(&request(world.part(None)), &ctx()).await.unwrap();
    let status = world
        .raw(&["backup", "--tag", "project:other", world.assets().to_str().unwrap()])
        .status()
        .unwrap();
    assert!(status.success());
    RepositoryAdmin::forget(&*restic, &first.info.id, &ctx()).await.unwrap();
    let left = restic.snapshots(&ctx()).await.unwrap();
    assert_eq!(left.iter().map(|s| &s.id).collect::<Vec<_>>(), [&second.info.id]);

    let again = RepositoryAdmin::forget(&*restic, &first.info.id, &ctx()).await.unwrap_err();
    assert_eq!(again.code, ErrorCode::SnapshotNotFound);
    assert_eq!(fs::read_dir(world.repo().join("snapshots")).unwrap().count(), 2);
}
