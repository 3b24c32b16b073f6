//! The repository itself: there or not, the same or another, the tool.

use std::fs;
use std::path::PathBuf;

use backupctl_application::ports::{RemoteStorage, RepositoryAdmin};
use backupctl_domain::{ErrorCode, Secret};

use backupctl_testkit::services::Repository;

use crate::world::{PASSWORD, World, ctx, request};

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
    let stored = restic.store(&request(world.part(None)), &ctx()).await.unwrap();
    restic.prove(&stored, &world.part(None), &ctx()).await.unwrap();
    assert_eq!(world.calls(), ["version", "snapshots", "init", "backup", "ls"]);
    let info = restic.check(&ctx()).await.unwrap();
    assert_eq!((info.id.len(), info.tool.as_str()), (64, "restic 0.14.0"));
    assert_eq!(restic.init(&ctx()).await.unwrap(), (info, false));

    // The disk is not mounted: the location is an empty folder.
    fs::rename(world.repo(), world.path("elsewhere")).unwrap();
    fs::create_dir(world.repo()).unwrap();
    let again = world.restic_with(|target| target.auto_init = true);
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
    assert_eq!(restic.cache_dir(), Some(world.path("cache").as_path()));
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
