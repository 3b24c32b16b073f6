//! A pattern means the same here as to restic: the program itself is asked.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use backupctl_adapter_archive::Archive;
use backupctl_application::ports::{RemoteStorage, StoreRequest};
use backupctl_testkit::builders::store_request;

use crate::support::{World, context, file_of, sh};

/// Each costs a process that takes its time with the key; what a pattern means by itself is tried in the
/// unit tests.
const PATTERNS: &[&[&str]] = &[
    &["*.LOG", "cache/", "./a.txt"],
    &["cache/*", "files/a/*/deep.txt"],
    &["a/**/deep.txt"],
    &["**"],
    &["?.txt"],
    &["[^a-c].txt", "\\[z\\].txt"],
    &["{x,y}", " a.txt"],
    &["*.txt", "!a.txt"],
    &["!a.txt", "*.txt"],
    &["cache", "!deep.txt"],
    &["/cache", ".*"],
    &["a//cache", "é*", "cache/../one.log"],
];

fn fill(asset: &Path) {
    fs::create_dir_all(asset.join("a/cache")).unwrap();
    fs::create_dir_all(asset.join("cache/sub")).unwrap();
    for name in [
        "a.txt",
        "b.txt",
        "c.txt",
        "d.txt",
        "[z].txt",
        "{x,y}",
        "x",
        "y.txt",
        ".hidden",
        "one.log",
        "Two.LOG",
        "été",
        "a/deep.txt",
        "a/cache/deep.txt",
        "cache/keep",
        "cache/deep.txt",
        "cache/sub/deep.txt",
        " a.txt",
        "a.txt ",
    ] {
        fs::write(asset.join(name), "x").unwrap();
    }
}

async fn ours(world: &World, archive: &Archive, exclude: Vec<String>) -> BTreeSet<PathBuf> {
    let mut part = world.part(&[world.asset()]);
    part.dump = None;
    let request = StoreRequest { exclude, ..store_request(part) };
    let stored = archive.store(&request, &context()).await.unwrap();
    let listed = sh(&format!("tar --quoting-style=literal -tf {}", file_of(&stored).display()));
    let below = world.asset();
    let paths = listed.lines().map(|line| Path::new("/").join(line.trim_end_matches('/')));
    paths.filter(|path| path.starts_with(&below)).collect()
}

#[tokio::test]
async fn patterns_mean_what_they_mean_to_restic() {
    let world = World::new();
    let asset = world.asset();
    fill(&asset);
    let archive = world.archive(|settings| settings.compression = None);
    let repo = world.dir.path().join("repo");
    let restic = format!("RESTIC_PASSWORD=x restic -q --no-cache -r {}", repo.display());
    sh(&format!("{restic} init"));
    let dry_run = format!("{} backup --dry-run -vv", restic.replace("-q ", ""));
    for patterns in PATTERNS.iter().map(|p| p.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>()) {
        let args: Vec<String> = patterns.iter().map(|p| format!("--exclude '{p}'")).collect();
        let (args, shown) = (args.join(" "), asset.display());
        // One process that lists what it would store, folders with a slash behind.
        let listed = sh(&format!("{dry_run} {args} {shown}"));
        let theirs: BTreeSet<PathBuf> = listed
            .lines()
            .filter_map(|line| line.strip_prefix("new ")?.trim_start().split(", saved in").next())
            .map(|path| PathBuf::from(path.trim_end_matches('/')))
            .filter(|path| path.starts_with(&asset))
            .collect();
        assert_eq!(ours(&world, &archive, patterns.clone()).await, theirs, "{patterns:?}");
    }
    for pattern in ["[]", "a\\"] {
        let line = format!(
            "{restic} backup --exclude '{pattern}' {} 2>/dev/null || echo refused",
            asset.display()
        );
        assert_eq!(sh(&line), "refused\n", "{pattern}");
    }
}
