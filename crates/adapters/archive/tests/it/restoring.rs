//! Everything comes back as it was, at its place and nowhere else.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use backupctl_domain::ErrorCode;

use crate::standard_tools::{everything, same};
use crate::support::{Key, World, file_of, names, seen, sh, tree};

fn below(target: &Path, path: &Path) -> PathBuf {
    target.join(path.strip_prefix("/").unwrap())
}

#[tokio::test]
async fn everything_comes_back_as_it_was() {
    let (world, key) = (World::new(), Key::new());
    let asset = world.asset();
    everything(&asset);
    sh(&format!("touch -d '1969-12-31 12:00:00.25 UTC' {}/empty", asset.display()));
    let archive = world.archive(|settings| settings.envelope = Some(key.envelope()));
    let part = world.part(std::slice::from_ref(&asset));
    let stored = world.store(&archive, &part).await.unwrap();
    let (target, report) = world.restore(&archive, &stored, &[], "target").await;
    let report = report.unwrap();
    assert_eq!(report.files, stored.files_total);
    same(&asset, &target, "restore");
    assert_eq!(names(&target), ["shop_backup_1.dump", "tmp"]);
    let (again, report) = world.restore(&archive, &stored, &[], "target").await;
    report.unwrap();
    same(&asset, &again, "restoring over it");
}

#[tokio::test]
async fn what_is_asked_for_comes_alone_and_links_bring_their_content() {
    let world = World::new();
    let asset = world.asset();
    fs::create_dir_all(asset.join("b/c")).unwrap();
    fs::write(asset.join("a"), "linked").unwrap();
    fs::hard_link(asset.join("a"), asset.join("b/one")).unwrap();
    fs::hard_link(asset.join("a"), asset.join("b/two")).unwrap();
    fs::set_permissions(asset.join("b"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::write(asset.join("b/c/file"), "x").unwrap();
    fs::write(asset.join("bb"), "not asked for").unwrap();
    let archive = world.archive(|_| ());
    let part = world.part(std::slice::from_ref(&asset));
    let stored = world.store(&archive, &part).await.unwrap();

    let folder = asset.join("b");
    let (target, report) = world.restore(&archive, &stored, &[&folder], "target").await;
    let report = report.unwrap();
    assert_eq!((report.files, report.bytes), (3, 7));
    let back = below(&target, &folder);
    assert_eq!(fs::read_to_string(back.join("one")).unwrap(), "linked");
    let inode = |name: &str| fs::metadata(back.join(name)).unwrap().ino();
    assert_eq!(inode("one"), inode("two"));
    assert_eq!(seen(&back).mode, seen(&folder).mode);
    assert_eq!(seen(&back).modified, seen(&folder).modified);
    assert_eq!(names(&below(&target, &asset)), ["b"]);

    let (target, report) =
        world.restore(&archive, &stored, &[&folder, &asset.join("no")], "none").await;
    let failure = report.unwrap_err();
    assert_eq!(failure.code, ErrorCode::SnapshotNotFound);
    assert!(failure.message.contains("srv/files/no"), "{failure}");
    assert_eq!(names(&target), Vec::<String>::new());
}

#[tokio::test]
async fn a_filled_target_keeps_what_is_not_in_the_archive() {
    let world = World::new();
    let asset = world.asset();
    let archive = world.archive(|_| ());
    let part = world.part(std::slice::from_ref(&asset));
    let stored = world.store(&archive, &part).await.unwrap();
    let target = world.dir.path().join("target");
    let there = below(&target, &asset);
    fs::create_dir_all(&there).unwrap();
    fs::write(there.join("mine.txt"), "mine").unwrap();
    fs::write(there.join("hello.txt"), "another").unwrap();
    let (_, report) = world.restore(&archive, &stored, &[], "target").await;
    report.unwrap();
    assert_eq!(fs::read_to_string(there.join("mine.txt")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(there.join("hello.txt")).unwrap(), "hello");

    // A folder where a file is to go is nobody's to remove, and then nothing moves at all.
    fs::remove_file(there.join("hello.txt")).unwrap();
    fs::create_dir(there.join("hello.txt")).unwrap();
    let before = tree(&target);
    let (_, report) = world.restore(&archive, &stored, &[], "target").await;
    let failure = report.unwrap_err();
    assert_eq!(failure.code, ErrorCode::PathNotWritable);
    let text = "hello.txt is a folder in the target and a file in the archive";
    assert!(failure.message.contains(text), "{failure}");
    assert!(failure.remedy.contains("--target"), "{failure}");
    assert_eq!(tree(&target), before);
}

#[tokio::test]
async fn a_link_in_the_target_is_not_followed() {
    let world = World::new();
    let asset = world.asset();
    let archive = world.archive(|_| ());
    let stored = world.store(&archive, &world.part(std::slice::from_ref(&asset))).await.unwrap();
    let (target, outside) = (world.dir.path().join("target"), world.dir.path().join("outside"));
    fs::create_dir(&outside).unwrap();
    fs::create_dir(&target).unwrap();
    symlink(&outside, target.join("tmp")).unwrap();
    let (_, report) = world.restore(&archive, &stored, &[], "target").await;
    let failure = report.unwrap_err();
    assert_eq!(failure.code, ErrorCode::PathNotWritable);
    let text = "tmp is a symbolic link in the target and a folder in the archive";
    assert!(failure.message.contains(text), "{failure}");
    assert_eq!(names(&outside), Vec::<String>::new());
}

#[tokio::test]
async fn a_restore_needs_no_folder_of_its_own() {
    let world = World::new();
    let asset = world.asset();
    let archive = world.archive(|_| ());
    let stored = world.store(&archive, &world.part(std::slice::from_ref(&asset))).await.unwrap();
    world.forget_everything();
    fs::write(world.dir.path().join("state"), "in the way").unwrap();
    let (target, report) = world.restore(&archive, &stored, &[], "target").await;
    assert_eq!(report.unwrap().files, 2);
    same(&asset, &target, "restore");
    assert_eq!(names(&target), ["shop_backup_1.dump", "tmp"]);
}

/// What is left of a restore that was killed goes, and nothing else.
#[tokio::test]
async fn what_killed_restores_have_left_goes() {
    let world = World::new();
    let archive = world.archive(|_| ());
    let stored = world.store(&archive, &world.part(&[world.asset()])).await.unwrap();
    let target = world.dir.path().join("target");
    let stays = [
        ".backupctl-restore-Alive1",
        ".backupctl-restore-file01",
        ".backupctl-restore-notes.txt",
        ".backupctl-restore-others",
    ];
    for name in [".backupctl-restore-Dead01", stays[0], stays[2], stays[3]] {
        fs::create_dir_all(target.join(name).join("srv")).unwrap();
        fs::write(target.join(name).join("srv/file"), "x").unwrap();
    }
    fs::write(target.join(stays[1]), "x").unwrap();
    if crate::support::is_root() {
        fs::create_dir(target.join(".backupctl-restore-0thers")).unwrap();
        let folder = target.join(".backupctl-restore-0thers");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::chown(folder, Some(99), None).unwrap();
    }
    symlink(target.join(stays[2]), target.join(".backupctl-restore-link01")).unwrap();
    let alive = fs::File::open(target.join(stays[0])).unwrap();
    alive.lock().unwrap();
    for name in [".backupctl-restore-Dead01", stays[0]] {
        fs::set_permissions(target.join(name), fs::Permissions::from_mode(0o700)).unwrap();
    }
    let (_, report) = world.restore(&archive, &stored, &[], "target").await;
    report.unwrap();
    let now = names(&target);
    assert!(!now.contains(&".backupctl-restore-Dead01".to_owned()), "{now:?}");
    for name in stays.into_iter().chain([".backupctl-restore-link01"]) {
        assert!(now.contains(&name.to_owned()), "{name}: {now:?}");
    }
    assert_eq!(fs::read(target.join(stays[2]).join("srv/file")).unwrap(), b"x");
    if crate::support::is_root() {
        assert!(now.contains(&".backupctl-restore-0thers".to_owned()), "{now:?}");
    }
    drop(alive);
    world.restore(&archive, &stored, &[], "target").await.1.unwrap();
    assert!(!names(&target).contains(&stays[0].to_owned()));
}

/// A copy under the name of another project's archive is none of that project.
#[tokio::test]
async fn an_archive_of_another_project_is_not_restored_under_this_ones_name() {
    use backupctl_application::ports::RemoteStorage;
    let world = World::new();
    let shop = world.archive(|_| ());
    let blog = world.archive(|s| s.project = backupctl_domain::ProjectName::new("blog").unwrap());
    let stored = world.store(&shop, &world.part(&[world.asset()])).await.unwrap();
    let copy = file_of(&stored).to_string_lossy().replace("/shop_", "/blog_");
    fs::copy(file_of(&stored), &copy).unwrap();
    let ctx = crate::support::context();
    let mut named = stored.clone();
    named.info.id = blog.snapshots(&ctx).await.unwrap().remove(0).id;
    let (target, report) = world.restore(&blog, &named, &[], "target").await;
    let failure = report.unwrap_err();
    assert_eq!(failure.code, ErrorCode::ChecksumMismatch);
    assert!(failure.message.starts_with(&copy), "{failure}");
    assert!(failure.message.contains("an archive of project shop, not blog"), "{failure}");
    assert_eq!(names(&target), Vec::<String>::new());
    world.restore(&shop, &stored, &[], "target").await.1.unwrap();
}

/// Archives that somebody else has made are read as if they meant harm.
#[tokio::test]
async fn paths_that_lead_out_of_the_archive_are_refused() {
    let world = World::new();
    let archive = world.archive(|settings| settings.compression = None);
    let stored = world.store(&archive, &world.part(&[world.asset()])).await.unwrap();
    let file = file_of(&stored);
    let evil = world.dir.path().join("evil");
    fs::create_dir_all(evil.join("sub")).unwrap();
    symlink("/tmp", evil.join("link")).unwrap();
    fs::write(evil.join("sub/x"), "x").unwrap();
    let (file, evil) = (file.display(), evil.display());
    let making = [
        format!("tar -cf {file} -C {evil} --transform 's,sub/x,../../x,' -P sub/x"),
        format!("tar -cf {file} -C {evil} --transform 's,sub/x,link/x,' link sub/x"),
    ];
    for line in making {
        sh(&line);
        world.forget_everything();
        let (target, report) = world.restore(&archive, &stored, &[], "target").await;
        let failure = report.unwrap_err();
        assert_eq!(failure.code, ErrorCode::ChecksumMismatch, "{failure}");
        assert!(failure.message.contains("leads out of it"), "{failure}");
        assert_eq!(names(&target), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_folder_that_takes_nothing_more_is_filled_first() {
    let world = World::new();
    let asset = world.asset();
    fs::create_dir(asset.join("closed")).unwrap();
    fs::write(asset.join("closed/file"), "x").unwrap();
    fs::set_permissions(asset.join("closed"), fs::Permissions::from_mode(0o555)).unwrap();
    let archive = world.archive(|_| ());
    let stored = world.store(&archive, &world.part(std::slice::from_ref(&asset))).await.unwrap();
    let (target, report) = world.restore(&archive, &stored, &[], "target").await;
    report.unwrap();
    assert_eq!(seen(&below(&target, &asset.join("closed"))), seen(&asset.join("closed")));
}

#[tokio::test]
async fn a_tree_as_deep_as_paths_go_comes_and_goes() {
    let world = World::new();
    let asset = world.asset();
    let mut deep = asset.clone();
    while deep.as_os_str().len() < 3900 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("f"), "deep").unwrap();
    let archive = world.archive(|_| ());
    let part = world.part(std::slice::from_ref(&asset));
    let stored = world.store(&archive, &part).await.unwrap();
    assert_eq!(stored.unread, Vec::<String>::new());
    let (target, report) = world.restore(&archive, &stored, &[&asset], "t").await;
    assert_eq!(report.unwrap().files, 2);
    let back = below(&target, &deep);
    sh(&format!(
        "cd {} && cd $(printf 'd/%.0s' {{1..200}}) && test -d d",
        below(&target, &asset).display()
    ));
    assert!(back.as_os_str().len() < 4090 && fs::read(back.join("f")).unwrap() == b"deep");
}

/// Whoever waits no longer for a restore or an archive gets none.
#[tokio::test]
async fn work_whose_caller_is_gone_leaves_nothing() {
    use backupctl_application::ports::RemoteStorage;
    let world = World::new();
    fs::write(world.asset().join("noise"), crate::names::noise(3 << 20)).unwrap();
    // What no machine is through with before it is given up.
    fs::File::create(world.asset().join("vast")).unwrap().set_len(1 << 43).unwrap();
    let archive = world.archive(|_| ());
    let part = world.part(&[world.asset()]);
    let request = backupctl_testkit::builders::store_request(part);
    let ctx = crate::support::context();
    abandoned(archive.store(&request, &ctx), &world.folder).await;
}

/// A hole that is larger than any disk is no work that cannot be stopped.
#[tokio::test]
async fn a_hole_without_an_end_stops_nobody_from_stopping() {
    use backupctl_application::ports::{RemoteStorage, RestoreRequest};
    let world = World::new();
    let archive = world.archive(|settings| settings.compression = None);
    let stored = world.store(&archive, &world.part(&[])).await.unwrap();
    let asset = world.asset();
    fs::File::create(asset.join("hole")).unwrap().set_len(1 << 43).unwrap();
    let target = world.dir.path().join("target");
    fs::create_dir(&target).unwrap();
    sh(&format!(
        "tar --format=posix -cSf {} -C {} hole",
        file_of(&stored).display(),
        asset.display()
    ));
    let ctx = crate::support::context();
    let snapshot = stored.info.id.clone();
    let request = RestoreRequest { snapshot, target: target.clone(), include: vec![] };
    abandoned(archive.restore(&request, &ctx), &target).await;

    fs::remove_file(file_of(&stored)).unwrap();
    let request = backupctl_testkit::builders::store_request(world.part(&[asset]));
    abandoned(archive.store(&request, &ctx), &world.folder).await;
}

/// Gives work up after a while, and waits until nothing of it is left in the folder.
async fn abandoned<T: std::fmt::Debug>(work: impl Future<Output = T>, folder: &Path) {
    let soon = std::time::Duration::from_millis(30);
    if let Ok(done) = tokio::time::timeout(soon, work).await {
        panic!("it takes longer than to {done:?}");
    }
    let emptied = async {
        while !names(folder).is_empty() {
            tokio::task::yield_now().await;
        }
    };
    let gone = std::time::Duration::from_secs(20);
    assert!(tokio::time::timeout(gone, emptied).await.is_ok(), "{:?} is left", names(folder));
}
