use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use backupctl_adapter_archive::Archive;
use backupctl_application::ports::{RemoteStorage, StoreRequest};
use backupctl_testkit::builders::store_request;

use crate::support::{World, context, file_of, has, sh};

const PATTERNS: &[&[&str]] = &[
    &["*.log"],
    &["*.LOG"],
    &["cache"],
    &["cache/"],
    &["./cache"],
    &["cache/*"],
    &["*/cache"],
    &["a/**/deep.txt"],
    &["**/cache"],
    &["a/**"],
    &["**"],
    &["?.txt"],
    &["[ab].txt"],
    &["[^a].txt"],
    &["[a-c].txt"],
    &["\\[z\\].txt"],
    &["{x,y}"],
    &["{x,y}.txt"],
    &["*", "!a.txt"],
    &["*.txt", "!a.txt"],
    &["!a.txt", "*.txt"],
    &["cache", "!deep.txt"],
    &["cache/*", "!cache/keep"],
    &["/cache"],
    &["srv"],
    &[" a.txt"],
    &["a.txt "],
    &[".*"],
    &["files/a/*/deep.txt"],
    &["a//cache"],
    &["a/../cache"],
    &["é*"],
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
    if !has("restic") {
        return;
    }
    let world = World::new();
    let asset = world.asset();
    fill(&asset);
    let archive = world.archive(|settings| settings.compression = None);
    let repo = world.dir.path().join("repo");
    let restic = format!("RESTIC_PASSWORD=x restic -q --no-cache -r {}", repo.display());
    sh(&format!("{restic} init"));
    for patterns in PATTERNS.iter().map(|p| p.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>()) {
        let args: Vec<String> = patterns.iter().map(|p| format!("--exclude '{p}'")).collect();
        let (args, shown) = (args.join(" "), asset.display());
        // Where everything is left out, restic has nothing to say and fails, or stores the folders above.
        let line = format!("{restic} backup {args} {shown} && {restic} ls latest");
        let listed = sh(&line);
        let theirs: BTreeSet<PathBuf> =
            listed.lines().map(PathBuf::from).filter(|path| path.starts_with(&asset)).collect();
        assert_eq!(ours(&world, &archive, patterns.clone()).await, theirs, "{patterns:?}");
    }
    for pattern in ["[", "a[", "[]", "[a-]", "a\\"] {
        let line = format!(
            "{restic} backup --exclude '{pattern}' {} 2>/dev/null || echo refused",
            asset.display()
        );
        assert_eq!(sh(&line), "refused\n", "{pattern}");
    }
}
