//! tar, zstd, gzip and age open every archive to exactly what was stored.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use crate::support::{GZIP, Key, World, ZSTD, file_of, is_root, seen, sh, tree};

/// A tree with everything that a file system has.
pub(crate) fn everything(root: &Path) {
    fs::create_dir_all(root.join("deep/er")).unwrap();
    let write = |name: &str, content: &[u8]| fs::write(root.join(name), content).unwrap();
    write("empty", b"");
    write("small", b"small");
    write("deep/er/big", &vec![7; 3_000_000]);
    write("a name, with 'quotes' and {braces}", b"x");
    write("new\nline", b"x");
    fs::write(root.join(OsStr::from_bytes(b"caf\xe9")), "latin").unwrap();
    let long = root.join("l".repeat(200)).join("m".repeat(200));
    fs::create_dir_all(&long).unwrap();
    fs::write(long.join("n".repeat(250)), "long").unwrap();
    fs::hard_link(root.join("small"), root.join("deep/another name")).unwrap();
    std::os::unix::fs::symlink("small", root.join("link")).unwrap();
    std::os::unix::fs::symlink("t".repeat(300), root.join("long link")).unwrap();
    std::os::unix::fs::symlink("/no/where", root.join("dead link")).unwrap();
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    sparse.write_all_at(b"begin", 0).unwrap();
    sparse.write_all_at(b"middle", 5_000_000).unwrap();
    sparse.set_len(20_000_000).unwrap();
    fs::File::create(root.join("hole")).unwrap().set_len(1_000_000).unwrap();
    let mode = |name: &str, mode| {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("small", 0o4751);
    mode("empty", 0o000);
    fs::create_dir(root.join("sticky")).unwrap();
    mode("sticky", 0o1777);
    let shown = root.display();
    sh(&format!(
        "cd {shown} && setfattr -n user.note -v 'some value' small && setfattr -n user.folder -v x deep \
         && touch -d '1970-01-01 00:00:01.25 UTC' empty && touch -d '2001-02-03 04:05:06.789 UTC' deep"
    ));
    if is_root() {
        sh(&format!(
            "cd {shown} && chown 1234:4321 empty && chown -h 77:88 link && chown 3000000:3000001 sticky \
             && mknod null c 1 3 && mknod disk b 8 1 && setfacl -m u:99:r empty && setfacl -d -m u:99:rx \
             sticky && setcap cap_net_raw+ep deep/er/big"
        ));
    }
}

fn opened(by: &str) -> &'static str {
    match by {
        "gnu" => "tar -x -p --xattrs '--xattrs-include=*' --numeric-owner -C",
        _ => "bsdtar -x -p --numeric-owner -f - -C",
    }
}

#[tokio::test]
async fn every_archive_opens_with_standard_tools_to_what_was_stored() {
    let (world, key) = (World::new(), Key::new());
    let asset = world.asset();
    everything(&asset);
    let (fifo, socket) = (asset.join("fifo"), asset.join("socket"));
    sh(&format!("mkfifo {}", fifo.display()));
    let listener = UnixListener::bind(&socket).unwrap();
    let part = world.part(std::slice::from_ref(&asset));
    let sealed = [Some(key.envelope()), None];
    for (n, compression) in [ZSTD, GZIP, None].into_iter().enumerate() {
        for (m, envelope) in sealed.iter().enumerate() {
            let archive = world.archive(|settings| {
                settings.compression = compression;
                settings.envelope.clone_from(envelope);
            });
            let stored = world.store(&archive, &part).await.unwrap();
            world.prove(&archive, &stored, &part).await.unwrap();
            assert_eq!(stored.unread, Vec::<String>::new());
            let (fifo, socket) = (fifo.display(), socket.display());
            assert_eq!(stored.notes, [format!("skipped 2 sockets and fifos: {fifo}, {socket}")]);
            let file = file_of(&stored);
            let decrypt = match envelope {
                Some(_) => format!("age -d -i {} {}", key.file().display(), file.display()),
                None => format!("cat {}", file.display()),
            };
            let unpack = ["zstd -dc", "gzip -dc", "cat"][n];
            for by in ["gnu", "bsd"] {
                let tar = opened(by);
                let to = world.dir.path().join(format!("{by}{n}{m}"));
                fs::create_dir(&to).unwrap();
                sh(&format!("{decrypt} | {unpack} | LC_ALL=C.UTF-8 {tar} {}", to.display()));
                same(&asset, &to, by);
                assert_eq!(fs::read(to.join("shop_backup_1.dump")).unwrap(), b"the dump");
                manifest_fits(&to);
            }
        }
    }
    drop(listener);
}

/// Attributes whose names hold what ends a name in a tar.
#[tokio::test]
async fn names_of_attributes_come_back_as_they_were() {
    let world = World::new();
    let asset = world.asset();
    sh(&format!(
        "cd {} && setfattr -n 'user.a=b' -v one hello.txt && setfattr -n user.50%25 -v two hello.txt \
         && setfattr -n 'user.%3D' -v three .",
        asset.display()
    ));
    let archive = world.archive(|settings| settings.compression = None);
    let part = world.part(std::slice::from_ref(&asset));
    let stored = world.store(&archive, &part).await.unwrap();
    let by_tar = world.dir.path().join("by-tar");
    fs::create_dir(&by_tar).unwrap();
    let (file, tar) = (file_of(&stored), opened("gnu"));
    sh(&format!("cat {} | {tar} {}", file.display(), by_tar.display()));
    same(&asset, &by_tar, "tar");
    let (target, report) = world.restore(&archive, &stored, &[], "target").await;
    report.unwrap();
    same(&asset, &target, "restore");
    assert_eq!(seen(&asset.join("hello.txt")).xattrs.len(), 2);
}

/// Whether a tree that was unpacked somewhere is what it was.
#[track_caller]
pub(crate) fn same(asset: &Path, unpacked: &Path, by: &str) {
    let back = unpacked.join(asset.strip_prefix("/").unwrap());
    let (mut expected, found) = (tree(asset), tree(&back));
    expected.retain(|_, seen| seen.what != "other");
    let names = |tree: &std::collections::BTreeMap<PathBuf, _>| -> Vec<PathBuf> {
        tree.keys().cloned().collect()
    };
    assert_eq!(names(&found), names(&expected), "{by}");
    for (path, mut seen) in expected {
        let mut found = found[&path].clone();
        if by == "bsd" {
            // It takes access control lists from records of its own alone.
            seen.xattrs.retain(|line| !line.starts_with("system.posix_acl"));
            found.xattrs.retain(|line| !line.starts_with("system.posix_acl"));
        }
        assert_eq!(found, seen, "{} by {by}", path.display());
    }
    for above in asset.strip_prefix("/").unwrap().ancestors() {
        if !above.as_os_str().is_empty() {
            let (mut a, mut b) = (seen(&Path::new("/").join(above)), seen(&unpacked.join(above)));
            (a.modified, b.modified) = ((0, 0), (0, 0));
            assert_eq!(b, a, "{} by {by}", above.display());
        }
    }
}

#[track_caller]
fn manifest_fits(unpacked: &Path) {
    let text = fs::read(unpacked.join("MANIFEST.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(manifest["project"], "shop");
    assert_eq!(manifest["host"], "testhost");
    let files = manifest["files"].as_array().unwrap();
    assert_eq!(files[0]["path"], "shop_backup_1.dump");
    let mut checked = 0;
    for file in files {
        let path = file["path"].as_str().unwrap();
        let Some(checksum) = file["checksum"].as_str() else { continue };
        if file["encoded"] == true {
            continue;
        }
        let content = fs::read(unpacked.join(path)).unwrap();
        assert_eq!(file["size"], content.len());
        assert_eq!(checksum, format!("blake3:{}", blake3::hash(&content).to_hex()), "{path}");
        checked += 1;
    }
    assert!(checked > 8, "{checked}");
}
