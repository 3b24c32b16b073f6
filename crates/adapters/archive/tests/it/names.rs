//! Which files an archive is, and which files in the folder are nobody's business here.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use backupctl_application::ports::{RemoteStorage, RepositoryAdmin};
use backupctl_domain::ErrorCode;
use backupctl_domain::retention::Proof;

use crate::support::{Key, World, context, file_of, sh, tree};

#[tokio::test]
async fn two_runs_of_one_second_are_two_archives() {
    let world = World::new();
    let archive = world.archive(|_| ());
    let part = world.part(&[world.asset()]);
    for _ in 0..3 {
        world.store(&archive, &part).await.unwrap();
    }
    let expected = ["05", "06", "07"].map(|s| format!("shop_20260318_0000{s}.tar.zst"));
    assert_eq!(world.names(), expected);
    let modes = world.names().into_iter().map(|n| fs::metadata(world.folder.join(n)).unwrap());
    for metadata in modes {
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    }
    // Another form of archive has another name, and the second all the same.
    let bare = world.archive(|settings| settings.compression = None);
    world.store(&bare, &part).await.unwrap();
    assert!(world.folder.join("shop_20260318_000008.tar").exists());
}

#[tokio::test]
async fn parts_are_one_archive_that_cat_puts_together() {
    let (world, key) = (World::new(), Key::new());
    fs::write(world.asset().join("noise"), noise(2_500_000)).unwrap();
    let archive = world.archive(|settings| {
        settings.target.split_size = Some(600_000);
        settings.envelope = Some(key.envelope());
    });
    let part = world.part(&[world.asset()]);
    let stored = world.store(&archive, &part).await.unwrap();
    let info = stored.info.archive.clone().unwrap();
    assert_eq!(info.parts, 5);
    let name = "shop_20260318_000005.tar.zst.age";
    let expected: Vec<String> = (1..=5).map(|n| format!("{name}.{n:03}")).collect();
    assert_eq!(world.names(), expected);
    let sizes: Vec<u64> =
        expected.iter().map(|n| fs::metadata(world.folder.join(n)).unwrap().len()).collect();
    assert!(sizes[..4].iter().all(|size| *size == 600_000), "{sizes:?}");
    assert_eq!(sizes.iter().sum::<u64>(), info.bytes);
    world.prove(&archive, &stored, &part).await.unwrap();
    let (target, report) = world.restore(&archive, &stored, &[], "restored").await;
    assert_eq!(report.unwrap().files, 3);

    let to = world.dir.path().join("by-hand");
    fs::create_dir(&to).unwrap();
    let (folder, key, shown) = (world.folder.display(), key.file(), to.display());
    sh(&format!(
        "cat {folder}/{name}.0* | age -d -i {} | zstd -dc | tar -x -C {shown}",
        key.display()
    ));
    let asset = world.asset();
    let below = asset.strip_prefix("/").unwrap();
    assert_eq!(tree(&to.join(below)), tree(&asset));
    assert_eq!(tree(&target.join(below)), tree(&asset));

    // Without one of its parts it is told as what it is, and the others are nobody's to remove.
    for missing in [1, 3] {
        let part = world.folder.join(&expected[missing - 1]);
        let bytes = fs::read(&part).unwrap();
        fs::remove_file(&part).unwrap();
        let listed = archive.snapshots(&context()).await.unwrap();
        assert_eq!(listed[0].proof, Some(Proof::Damaged));
        let failure = archive.verify(&stored.info.id, &context()).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::ChecksumMismatch);
        assert!(
            failure.message.contains(&format!("{} is missing", expected[missing - 1])),
            "{failure}"
        );
        let info = archive.check(&context()).await.unwrap();
        assert!(info.remark.unwrap().message.contains("damaged"));
        assert!(!archive.unlock_stale(&context()).await.unwrap());
        assert_eq!(world.names().len(), 4);
        fs::write(&part, bytes).unwrap();
    }
    archive.verify(&stored.info.id, &context()).await.unwrap();
}

#[tokio::test]
async fn one_part_is_a_whole_archive() {
    let world = World::new();
    let archive = world.archive(|settings| settings.target.split_size = Some(1 << 30));
    let stored = world.store(&archive, &world.part(&[])).await.unwrap();
    assert_eq!(file_of(&stored).file_name().unwrap(), "shop_20260318_000005.tar.zst");
    assert_eq!(world.names().len(), 1);
}

#[tokio::test]
async fn what_broken_runs_have_left_goes_and_nothing_else() {
    let world = World::new();
    let archive = world.archive(|_| ());
    let part = world.part(&[world.asset()]);
    let write = |name: &str| fs::write(world.folder.join(name), "x").unwrap();
    let foreign = [
        ".blog_20260318_000005.tar.zst.partial",
        "blog_20260318_000005.tar.zst",
        "shop_20260318_000005.tar.zst.bak",
        "shop_notes.txt",
        "holiday.jpg",
    ];
    for name in foreign {
        write(name);
    }
    write(".shop_20260101_000005.tar.zst.001.partial");
    write(".shop_20260102_000005.tar.zst.001.partial");
    write("shop_20260102_000005.tar.zst.002");
    let busy = ".shop_20260103_000005.tar.zst.001.partial";
    write(busy);
    write(".shop_20260103_000005.tar.zst.002.partial");
    let lock = fs::File::open(world.folder.join(busy)).unwrap();
    lock.lock().unwrap();
    let stored = world.store(&archive, &part).await.unwrap();
    let mut expected: Vec<String> = foreign.iter().map(|n| (*n).to_owned()).collect();
    expected.extend(world.names().into_iter().filter(|n| n.starts_with(".shop_20260103")));
    expected.push(file_of(&stored).file_name().unwrap().to_string_lossy().into_owned());
    expected.sort();
    assert_eq!(world.names(), expected);
    assert_eq!(expected.len(), foreign.len() + 3, "both of the busy ones are there");
    assert!(!archive.unlock_stale(&context()).await.unwrap());
    drop(lock);
    assert!(archive.unlock_stale(&context()).await.unwrap());
    assert_eq!(world.names().len(), foreign.len() + 1);
}

pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

#[tokio::test]
async fn archives_are_listed_from_their_first_bytes_where_nothing_is_remembered() {
    let (world, key) = (World::new(), Key::new());
    let open = world.archive(|settings| settings.envelope = Some(key.envelope()));
    let closed = world.archive(|settings| settings.envelope = Some(key.sealing_only()));
    let stored = world.store(&open, &world.part(&[world.asset()])).await.unwrap();
    let known = open.snapshots(&context()).await.unwrap().remove(0);
    world.forget_everything();
    let read = open.snapshots(&context()).await.unwrap().remove(0);
    assert_eq!(read.paths, known.paths);
    assert_eq!(read.paths.len(), 2);
    assert_eq!(read.archive, Some(file_of(&stored)));
    assert_eq!(
        closed.snapshots(&context()).await.unwrap()[0].paths,
        Vec::<std::path::PathBuf>::new()
    );
}
