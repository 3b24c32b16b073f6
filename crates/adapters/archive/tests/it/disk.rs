//! Disks that are full, gone, read-only, or not what they were.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use backupctl_application::context::{Cancel, Interrupt, Observer, RunEvent, StageContext};
use backupctl_application::ports::{RemoteStorage, RepositoryAdmin, StoreRequest};
use backupctl_domain::ErrorCode;
use backupctl_testkit::builders::store_request;

use crate::names::noise;
use crate::support::{World, context, file_of, is_root, names, seen, sh};

const MIB: usize = 1 << 20;

/// A mounted tmpfs, unmounted at the end.
struct Mount(PathBuf);

impl Mount {
    /// Mounts one of that size, if that is permitted here.
    fn tmpfs(at: &Path, size: &str, options: &str) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let options = format!("size={size}{options}");
        let mounted = is_root()
            && Command::new("mount")
                .args(["-t", "tmpfs", "-o", &options, "none"])
                .arg(at)
                .status()
                .is_ok_and(|status| status.success());
        if !mounted {
            assert!(std::env::var_os("CI").is_none(), "mounting is not permitted");
            eprintln!("skipped: mounting is not permitted here");
            return None;
        }
        Some(Self(at.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .stderr(std::process::Stdio::null())
            .status();
    }
}

/// A world whose stick is a real mount.
fn mounted(size: &str) -> Option<(World, Mount)> {
    let dir = tempfile::tempdir().unwrap();
    let stick = dir.path().join("stick");
    let mount = Mount::tmpfs(&stick, size, "")?;
    let folder = stick.join("backups");
    fs::create_dir(&folder).unwrap();
    let world = World::at(dir, folder);
    fs::write(world.asset().join("noise"), noise(40 * MIB)).unwrap();
    Some((world, mount))
}

#[tokio::test]
async fn a_full_disk_is_told_and_nothing_stays() {
    let Some((world, _mount)) = mounted("8m") else { return };
    let archive = world.archive(|_| ());
    let part = world.part(&[world.asset()]);
    let failure = world.store(&archive, &part).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DiskFull, "{failure:?}");
    assert!(failure.remedy.contains("archive.path"), "{failure:?}");
    assert_eq!(world.names(), Vec::<String>::new());
}

/// Does something once the work is well under way.
struct Once(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Observer for Once {
    fn event(&self, event: &RunEvent) {
        if let RunEvent::Progress { bytes: 1_000_000.., .. } = event
            && let Some(act) = self.0.lock().unwrap().take()
        {
            act();
        }
    }
}

fn context_that(act: impl FnOnce() + Send + 'static) -> StageContext {
    let observer = Arc::new(Once(Mutex::new(Some(Box::new(act)))));
    StageContext { observer, ..context() }
}

#[tokio::test]
async fn a_stick_pulled_while_it_is_written_to_is_told_and_the_folder_below_stays_empty() {
    let Some((world, _mount)) = mounted("200m") else { return };
    let archive = world.archive(|_| ());
    let stick = world.dir.path().join("stick");
    // What is seen of the stick after it is gone.
    let held = fs::File::open(&world.folder).unwrap();
    let pulled = stick.clone();
    let ctx = context_that(move || drop(sh(&format!("umount -l {}", pulled.display()))));
    let request = store_request(world.part(&[world.asset()]));
    let failure = archive.store(&request, &ctx).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::NotMounted, "{failure:?}");
    assert!(failure.message.contains("taken out"), "{failure}");
    assert_eq!(names(&stick), Vec::<String>::new());
    let fd = std::os::fd::AsRawFd::as_raw_fd(&held);
    assert_eq!(names(Path::new(&format!("/proc/self/fd/{fd}"))), Vec::<String>::new());
}

#[tokio::test]
async fn another_disk_in_its_place_is_not_written_to() {
    let Some((world, _mount)) = mounted("200m") else { return };
    let archive = world.archive(|_| ());
    let stick = world.dir.path().join("stick");
    let at = stick.display().to_string();
    let ctx = context_that(move || {
        sh(&format!("umount -l {at} && mount -t tmpfs none {at} && mkdir {at}/backups"));
    });
    let request = store_request(world.part(&[world.asset()]));
    let failure = archive.store(&request, &ctx).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::NotMounted, "{failure:?}");
    assert_eq!(world.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_read_only_disk_is_told_before_anything_is_read() {
    let Some((world, _mount)) = mounted("8m") else { return };
    let archive = world.archive(|_| ());
    let part = world.part(&[world.asset()]);
    sh(&format!("mount -o remount,ro {}", world.dir.path().join("stick").display()));
    let failure = world.store(&archive, &part).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::PathNotWritable, "{failure:?}");
    world.disk.change_system(|system| system.read_only = true);
    for failure in [
        world.store(&archive, &part).await.unwrap_err(),
        archive.check(&context()).await.unwrap_err(),
    ] {
        assert_eq!(failure.code, ErrorCode::PathNotWritable, "{failure:?}");
    }
}

#[tokio::test]
async fn a_folder_on_the_root_file_system_is_no_stick() {
    let world = World::new();
    world.disk.change_system(|system| {
        system.mount_point = PathBuf::from("/");
        system.is_root = true;
    });
    let archive = world.archive(|settings| settings.target.path = settings.target.path.join("new"));
    let part = world.part(&[world.asset()]);
    let ctx = context();
    let failures = [
        world.store(&archive, &part).await.unwrap_err(),
        archive.snapshots(&ctx).await.unwrap_err(),
        archive.check(&ctx).await.unwrap_err(),
        archive.init(&ctx).await.unwrap_err(),
    ];
    for failure in failures {
        assert_eq!(failure.code, ErrorCode::NotMounted, "{failure:?}");
        assert!(failure.remedy.contains("archive.require_mount: false"), "{failure:?}");
    }
    assert_eq!(world.names(), Vec::<String>::new(), "nothing was made there");
    let allowed = world.archive(|settings| settings.target.require_mount = false);
    world.store(&allowed, &part).await.unwrap();
}

#[tokio::test]
async fn the_mount_of_the_last_run_is_remembered() {
    let world = World::new();
    let archive = world.archive(|_| ());
    let part = world.part(&[world.asset()]);
    let stored = world.store(&archive, &part).await.unwrap();
    // The stick is gone, and its folder is on a disk of its own above.
    let above = world.dir.path().to_owned();
    world.disk.change_system(|system| system.mount_point = above);
    let failure = world.store(&archive, &part).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::NotMounted, "{failure:?}");
    assert!(failure.remedy.contains("backupctl init shop"), "{failure:?}");
    archive.init(&context()).await.unwrap();
    world.store(&archive, &part).await.unwrap();
    assert!(file_of(&stored).exists());
}

#[tokio::test]
async fn a_file_system_with_small_files_is_told_before_and_while_it_is_written_to() {
    let world = World::new();
    fs::write(world.asset().join("noise"), noise(3 * MIB)).unwrap();
    world.disk.change_system(|system| {
        system.max_file_bytes = Some(MIB as u64);
        system.kind = "vfat".to_owned();
        system.device = "/dev/sdb1".to_owned();
    });
    let archive = world.archive(|_| ());
    let part = world.part(&[world.asset()]);
    let failure = world.store(&archive, &part).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::FsFileTooLarge, "{failure:?}");
    assert!(failure.remedy.contains("FAT32") && failure.remedy.contains("archive.split_size"));
    assert_eq!(world.names(), Vec::<String>::new());

    let remark = archive.check(&context()).await.unwrap().remark.unwrap();
    assert_eq!(remark.code, ErrorCode::FsFileTooLarge);
    for command in ["parted --script /dev/sdb mklabel gpt", "mkfs.ext4 -L backup /dev/sdb1"] {
        assert!(remark.remedy.contains(command), "{}", remark.remedy);
    }

    let split = world.archive(|settings| settings.target.split_size = Some(2 * MIB as u64));
    let failure = world.store(&split, &part).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::FsFileTooLarge, "{failure:?}");
    let split = world.archive(|settings| settings.target.split_size = Some(MIB as u64));
    let stored = world.store(&split, &part).await.unwrap();
    assert!(stored.info.archive.as_ref().unwrap().parts > 2);
    assert_eq!(split.check(&context()).await.unwrap().remark, None);
    // The next one may be as large as the last, which is known before it is written.
    let failure = archive.check(&context()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::FsFileTooLarge, "{failure:?}");
}

#[tokio::test]
async fn the_next_archive_must_have_room() {
    let world = World::new();
    fs::write(world.asset().join("noise"), noise(MIB)).unwrap();
    let archive = world.archive(|_| ());
    let part = world.part(&[world.asset()]);
    world.store(&archive, &part).await.unwrap();
    let info = archive.check(&context()).await.unwrap();
    assert_eq!(info.id, None);
    assert!(
        info.detail.starts_with("1 archive, 5") && info.detail.ends_with(" free on ext4"),
        "{info:?}"
    );
    world.disk.set_free(MIB as u64);
    for failure in [
        world.store(&archive, &part).await.unwrap_err(),
        archive.check(&context()).await.unwrap_err(),
    ] {
        assert_eq!(failure.code, ErrorCode::DiskLow, "{failure:?}");
    }
    assert_eq!(world.names().len(), 1);
}

#[tokio::test]
async fn a_told_stop_leaves_nothing() {
    let world = World::new();
    fs::write(world.asset().join("noise"), noise(20 * MIB)).unwrap();
    let archive = world.archive(|_| ());
    let cancel = Cancel::new();
    let told = cancel.clone();
    let ctx = StageContext { cancel, ..context_that(move || told.cancel(Interrupt::Term)) };
    let request = store_request(world.part(&[world.asset()]));
    let failure = archive.store(&request, &ctx).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::Interrupted);
    assert_eq!(world.names(), Vec::<String>::new());
}

#[tokio::test]
async fn what_cannot_be_read_is_told_and_the_rest_is_stored() {
    let world = World::new();
    let archive = world.archive(|_| ());
    let asset = world.asset();
    let file = asset.join("shrinking");
    fs::write(&file, noise(30 * MIB)).unwrap();
    fs::write(asset.join("z"), "after it").unwrap();
    let part = world.part(&[asset.clone(), world.dir.path().join("gone")]);
    let cut = file.clone();
    let ctx = context_that(move || {
        fs::File::options().write(true).open(&cut).unwrap().set_len(5 * MIB as u64).unwrap();
    });
    let request = StoreRequest { ..store_request(part.clone()) };
    let stored = archive.store(&request, &ctx).await.unwrap();
    assert_eq!(stored.unread.len(), 2, "{:?}", stored.unread);
    assert_eq!(stored.unread[0], format!("{} (it shrank while it was read)", file.display()));
    assert!(stored.unread[1].contains("/gone (No such file"), "{:?}", stored.unread);
    world.prove(&archive, &stored, &part).await.unwrap();
    let (target, report) = world.restore(&archive, &stored, &[&asset], "target").await;
    let report = report.unwrap();
    assert_eq!(report.files, 3);
    assert!(report.notes[0].contains("shrinking"), "{report:?}");
    let how = archive.verify(&stored.info.id, &context()).await.unwrap().how;
    assert!(how.contains("it was made without all of") && how.contains("shrinking"), "{how}");
    let back = target.join(file.strip_prefix("/").unwrap());
    assert_eq!(fs::metadata(back).unwrap().len(), 30 * MIB as u64, "as announced");
}

#[tokio::test]
async fn a_dump_that_is_not_what_was_dumped_is_an_error() {
    let world = World::new();
    let archive = world.archive(|_| ());
    let mut part = world.part(&[world.asset()]);
    let mut request = store_request(part.clone());
    let content = blake3::hash(b"something else").to_hex();
    request.dump.as_mut().unwrap().checksum = format!("blake3:{content}");
    let failure = archive.store(&request, &context()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::ChecksumMismatch);
    part.dump = part.dump.map(|(path, _)| (path, 9));
    let failure = world.store(&archive, &part).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DumpTruncated);
    fs::remove_file(&part.dump.as_ref().unwrap().0).unwrap();
    let failure = world.store(&archive, &part).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DumpCorrupt);
    assert_eq!(world.names(), Vec::<String>::new());
}

/// Runs one of the ignored tests in a process of its own, begun as the shell's `with` says.
#[track_caller]
fn in_a_process(with: &str, test: &str) {
    let me = std::env::current_exe().unwrap();
    let line = format!("{with} {} --exact disk::{test} --ignored", me.display());
    let out = Command::new("bash").args(["-c", &line]).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && text.contains("1 passed"), "{text}{errors}");
}

/// The limit of a process (`ulimit -f`): its signal would end it before it could clean up.
#[test]
fn a_limit_of_the_process_is_an_error_and_not_its_end() {
    in_a_process("ulimit -f 2048 &&", "in_a_limited_process");
}

#[test]
fn somebody_else_than_root_stores_and_restores_what_he_may() {
    let me = std::env::current_exe().unwrap();
    let nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups";
    let line = format!("{nobody} test -x {}", me.display());
    let may = Command::new("bash").args(["-c", &line]).status().unwrap().success();
    if !is_root() || !may {
        eprintln!("skipped: nobody may not run this");
        return;
    }
    in_a_process(nobody, "without_any_rights");
}

#[tokio::test]
#[ignore = "run by the test above, as nobody"]
async fn without_any_rights() {
    let world = World::new();
    let archive = world.archive(|_| ());
    let asset = world.asset();
    let (secret, closed) = (asset.join("secret"), asset.join("closed"));
    fs::write(&secret, "x").unwrap();
    fs::create_dir(&closed).unwrap();
    fs::create_dir(asset.join("full")).unwrap();
    fs::write(asset.join("full/file"), "x").unwrap();
    for (path, mode) in [(&secret, 0o000), (&closed, 0o000), (&asset.join("full"), 0o555)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let part = world.part(std::slice::from_ref(&asset));
    let stored = world.store(&archive, &part).await.unwrap();
    let denied = |path: &Path| format!("{} (Permission denied (os error 13))", path.display());
    assert_eq!(stored.unread, [denied(&closed), denied(&secret)]);
    world.prove(&archive, &stored, &part).await.unwrap();
    let (target, report) = world.restore(&archive, &stored, &[&asset], "target").await;
    assert_eq!(report.unwrap().files, 2);
    let back = target.join(asset.strip_prefix("/").unwrap());
    assert_eq!(seen(&back.join("full")), seen(&asset.join("full")));
    assert!(!back.join("secret").exists() && back.join("closed").exists());

    // Root's setuid is not for whoever restores it.
    let su = PathBuf::from("/usr/bin/su");
    if fs::metadata(&su).is_ok_and(|su| su.permissions().mode() & 0o4000 != 0) {
        let stored = world.store(&archive, &world.part(std::slice::from_ref(&su))).await.unwrap();
        let (target, report) = world.restore(&archive, &stored, &[&su], "su").await;
        report.unwrap();
        assert_eq!(seen(&target.join("usr/bin/su")).mode & 0o7777, 0o755);
    }
}

#[tokio::test]
#[ignore = "run by the test above, with a limit"]
async fn in_a_limited_process() {
    let world = World::new();
    let archive = world.archive(|_| ());
    let sources: Vec<PathBuf> = (0..4).map(|n| world.asset().join(format!("noise{n}"))).collect();
    for path in sources {
        fs::write(path, noise(MIB)).unwrap();
    }
    let part = world.part(&[world.asset()]);
    let failure = world.store(&archive, &part).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::FsFileTooLarge, "{failure:?}");
    assert!(failure.remedy.contains("ulimit -f"), "{failure:?}");
    assert_eq!(world.names(), Vec::<String>::new());
}
