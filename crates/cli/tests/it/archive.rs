//! One archive a run on a stick: what is on it, what opens it, what it survives.

mod trouble;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev, mknodat, setxattr};
use serde_json::json;

use super::support::{OnStick, command, faithful, random, words};

/// A folder with everything that a file system has.
fn varied(s: &OnStick) {
    let w = &s.w;
    let dir = w.work.dir("assets/varied");
    let file = w.work.file("assets/varied/äöü 'quoted' name", "odd name");
    setxattr(&file, "user.colour", b"blue", XattrFlags::empty()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o4750)).unwrap();
    fs::hard_link(&file, dir.join("another name of it")).unwrap();
    symlink("../varied", dir.join("link to a folder")).unwrap();
    symlink("/nowhere", dir.join("dangling")).unwrap();
    fs::create_dir(dir.join("empty")).unwrap();
    fs::set_permissions(dir.join("empty"), fs::Permissions::from_mode(0o1777)).unwrap();
    w.work.file(format!("assets/varied/{}", "long/".repeat(40) + "file"), "deep");
    w.work.file("assets/varied/nothing", "");
    let sparse = fs::File::create(dir.join("sparse")).unwrap();
    sparse.set_len(8 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"in the middle", 4 << 20).unwrap();
    let pipe = dir.join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::from(0o600), makedev(0, 0)).unwrap();
    drop(std::os::unix::net::UnixListener::bind(dir.join("socket")).unwrap());
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(dir.join("nothing"), Some(12345), Some(54321)).unwrap();
    }
    let old = std::time::UNIX_EPOCH + std::time::Duration::new(981_173_106, 123_456_789);
    sparse.set_modified(old).unwrap();
    fs::File::open(dir.join("empty")).unwrap().set_modified(old).unwrap();
}

/// What a restore brings of that folder: all but sockets and pipes.
fn without_special(dir: &Path) {
    fs::remove_file(dir.join("pipe")).unwrap();
    fs::remove_file(dir.join("socket")).unwrap();
}

#[test]
fn what_comes_back_is_what_was_there_by_standard_tools_and_by_ours() {
    let mut s = OnStick::new("64m");
    varied(&s);
    let assets = s.w.work.join("assets");
    s.w.project()["assets"]["paths"] = json!([assets.join("uploads"), assets.join("varied")]);
    let record = s.backup();
    let sync = record["stages"].as_array().unwrap().iter().find(|x| x["stage"] == "Sync").unwrap();
    assert!(words(sync, "message").contains("skipped 2 sockets and fifos"), "{sync:#}");

    let [archive] = &s.names()[..] else { panic!("{:?}", s.names()) };
    let started = words(&record["dump"], "file");
    let stamp = &Path::new(started).file_name().unwrap().to_str().unwrap()[12..27];
    assert_eq!(archive, &format!("shop_{stamp}.tar.zst.age"));
    assert_eq!(fs::metadata(s.file(archive)).unwrap().permissions().mode() & 0o777, 0o600);
    let info = &record["snapshots"][0]["archive"];
    assert_eq!(info["bytes"], fs::metadata(s.file(archive)).unwrap().len());
    assert_eq!(info["parts"], 1);

    // The folder that was skipped from has another time now; a second run has it as it is.
    without_special(&assets.join("varied"));
    s.w.work.file("assets/varied/touched", "");
    let record = s.backup();
    let newest = s.names().pop().unwrap();
    let by_hand = s.open_by_hand(&newest, "by-hand");
    let inside = by_hand.join(assets.strip_prefix("/").unwrap());
    for folder in ["uploads", "varied"] {
        assert_eq!(faithful(&inside.join(folder)), faithful(&assets.join(folder)), "{folder}");
    }
    let sparse = inside.join("varied/sparse");
    let blocks = std::os::unix::fs::MetadataExt::blocks(&fs::metadata(&sparse).unwrap());
    assert!(blocks * 512 < 1 << 20, "holes came back as holes: {blocks} blocks");

    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(by_hand.join("MANIFEST.json")).unwrap()).unwrap();
    assert_eq!(manifest["run_id"], record["run_id"]);
    let listed = manifest["files"].as_array().unwrap();
    let one = listed.iter().find(|f| words(f, "path").ends_with("uploads/one.txt")).unwrap();
    let sum = command("b3sum").arg("--no-names").arg(inside.join("uploads/one.txt")).output();
    let hash = String::from_utf8(sum.unwrap().stdout).unwrap().trim().to_owned();
    assert_eq!(
        (one["size"].as_u64(), words(one, "checksum")),
        (Some(12), &*format!("blake3:{hash}"))
    );
    let dump = Path::new(words(&record["dump"], "file")).file_name().unwrap().to_str().unwrap();
    assert!(by_hand.join(dump).is_file(), "the dump is at the top");
    assert!(listed.iter().any(|f| words(f, "path") == dump), "{listed:#?}");

    let target = s.w.work.join("ours");
    let done =
        s.json(&["restore", "shop", "latest", target.to_str().unwrap(), "--decompress", "--json"]);
    assert_eq!(done["destination"], "archive");
    assert_eq!(done["checksum_proven"], true);
    let ours = target.join(assets.strip_prefix("/").unwrap());
    for folder in ["uploads", "varied"] {
        assert_eq!(faithful(&ours.join(folder)), faithful(&assets.join(folder)), "{folder}");
    }
    let db = rusqlite::Connection::open(words(&done, "dump")).unwrap();
    let rows: i64 = db.query_row("SELECT count(*) FROM items", [], |r| r.get(0)).unwrap();
    assert_eq!(rows, 100);
}

#[test]
fn a_part_of_an_archive_comes_back_alone() {
    let s = OnStick::new("32m");
    s.backup();
    let target = |name: &str| s.w.work.join(name).display().to_string();
    let uploads = s.w.work.join("assets/uploads");
    let one = uploads.join("deep/two.txt");
    let done = s.json(&[
        "restore",
        "shop",
        "latest",
        &target("one"),
        "--path",
        one.to_str().unwrap(),
        "--json",
    ]);
    assert_eq!(done["files"], 1);
    let restored = Path::new(&target("one")).join(one.strip_prefix("/").unwrap());
    assert_eq!(fs::read_to_string(restored).unwrap(), "second upload");

    let done = s.json(&["restore", "shop", "latest", &target("db"), "--only", "db", "--json"]);
    assert_eq!((done["files"].as_u64(), s.w.work.names("db").len()), (Some(1), 1));
    let done =
        s.json(&["restore", "shop", "latest", &target("files"), "--only", "assets", "--json"]);
    assert!(done["dump"].is_null(), "{done:#}");
    let uploaded = Path::new(&target("files")).join(uploads.strip_prefix("/").unwrap());
    assert_eq!(faithful(&uploaded), faithful(&uploads));

    let gone = s.run(&["restore", "shop", "latest", &target("no"), "--path", "/no/such", "--json"]);
    assert_eq!(gone.expect(1).json()["error"]["code"], "SNAPSHOT_NOT_FOUND");
    assert!(!Path::new(&target("no")).exists(), "nothing is left of it");

    // By its id, and by the name of its file.
    let listed = s.json(&["snapshots", "shop", "--json"]);
    let found = &listed["snapshots"][0];
    assert_eq!(found["proof"], "proven");
    assert_eq!(found["tags"], json!(["backupctl:combined", "project:shop"]));
    let id = words(found, "short_id").to_owned();
    s.json(&["restore", "shop", &id, &target("by-id"), "--json"]);
    let name = s.names().pop().unwrap();
    s.json(&["restore", "shop", &name, &target("by-name"), "--json"]);
    let guide = s.run(&["restore", "shop", "latest", &target("x"), "--guide"]);
    assert!(guide.stdout.contains("age --decrypt --identity"), "{}", guide.stdout);
    assert!(guide.stdout.contains(".tar.zst.age | "), "{}", guide.stdout);
}

#[test]
fn a_run_that_only_makes_archives_speaks_of_no_repository() {
    let s = OnStick::new("64m");
    let output = s.run(&["run", "shop"]);
    output.expect(0);
    assert!(output.stdout.contains("\n  archives  "), "{}", output.stdout);
    assert!(!output.stdout.contains("repository"), "{}", output.stdout);
}

#[test]
fn fourteen_days_of_nightly_archives_stay() {
    let mut s = OnStick::new("64m");
    s.w.project()["cron"] = json!("0 2 * * *");
    s.w.config["timezone"] = json!("UTC");
    let foreign = ["holiday.jpg", "shop_notes.txt", "crm_20200101_000000.tar.zst.age"];
    fs::create_dir(s.stick.on_it("backups")).unwrap();
    for name in foreign {
        fs::write(s.file(name), "not ours").unwrap();
    }
    for day in 1..=20 {
        let time = format!("2026-03-{day:02} 02:00:00");
        let running = s.start(&["faketime", &time], &["run", "shop", "--scheduled", "--json"]);
        let record = s.w.finish(running).expect(0).json();
        assert_eq!(record["status"], "success", "{record:#}");
        assert_eq!(record["trigger"], "scheduled");
    }
    let expected: Vec<String> =
        (7..=20).map(|day| format!("shop_202603{day:02}_020000.tar.zst.age")).collect();
    let ours: Vec<String> =
        s.names().into_iter().filter(|name| !foreign.contains(&name.as_str())).collect();
    // The run may have begun within its first seconds.
    let days = |names: &[String]| names.iter().map(|n| n[..13].to_owned()).collect::<Vec<_>>();
    assert_eq!(days(&ours), days(&expected));
    for name in foreign {
        assert_eq!(fs::read_to_string(s.file(name)).unwrap(), "not ours");
    }
    for (at, archive) in ours.iter().enumerate() {
        let opened = s.open_by_hand(archive, &format!("day-{at}"));
        let uploads = s.w.work.join("assets/uploads");
        let inside = opened.join(uploads.strip_prefix("/").unwrap());
        assert_eq!(faithful(&inside), faithful(&uploads), "{archive}");
    }
    let listed = s.json(&["snapshots", "shop", "--json"]);
    assert_eq!(listed["snapshots"].as_array().unwrap().len(), 14);
    let pruned = s.json(&["prune", "shop", "--json"]);
    assert_eq!(pruned["kept"], 1, "today they are all too old, but for the newest: {pruned:#}");
}

#[test]
fn parts_for_a_file_system_with_small_files_join_by_cat() {
    let mut s = OnStick::new("64m");
    s.w.project()["archive"]["split_size"] = json!("1MiB");
    let noise = random(3_200_000);
    fs::write(s.w.work.join("assets/uploads/noise"), &noise).unwrap();
    let record = s.backup();
    let names = s.names();
    assert_eq!(names.len(), 4, "{names:?}");
    let whole = names[0].strip_suffix(".001").unwrap().to_owned();
    assert!(names.iter().enumerate().all(|(i, n)| *n == format!("{whole}.{:03}", i + 1)));
    assert!(names.iter().all(|n| fs::metadata(s.file(n)).unwrap().len() <= 1 << 20));
    assert_eq!(record["snapshots"][0]["archive"]["parts"], 4);
    let opened = s.open_by_hand(&format!("{whole}.*"), "joined");
    let uploads = s.w.work.join("assets/uploads");
    assert_eq!(faithful(&opened.join(uploads.strip_prefix("/").unwrap())), faithful(&uploads));
    let target = s.w.work.join("ours").display().to_string();
    s.json(&["restore", "shop", "latest", &target, "--json"]);
    s.json(&["verify", "shop", "--json"]);

    // A part that is lost is missed, and the archive is named.
    fs::remove_file(s.file(&names[2])).unwrap();
    let bad = s.run(&["verify", "shop", "--json"]);
    let found = bad.json();
    assert!(
        bad.code != 0 && words(&found["verified"][0]["error"], "message").contains(&whole),
        "{found:#}"
    );
}

#[test]
fn everything_speaks_of_archives_as_of_snapshots() {
    let mut s = OnStick::new("64m");
    let checks = |s: &OnStick, args: &[&str]| s.run(args).json()["checks"].clone();
    let dry = checks(&s, &["run", "shop", "--dry-run", "--json"]);
    let of = |checks: &serde_json::Value, name: &str| {
        checks.as_array().unwrap().iter().find(|c| c["name"] == name).cloned().unwrap()
    };
    assert_eq!(of(&dry, "archive")["outcome"], "pass", "{dry:#}");
    assert!(s.names().is_empty() && !s.stick.on_it("backups").exists(), "a look makes nothing");
    let made = s.run(&["init"]);
    assert!(made.expect(0).stdout.contains("folder of archives"), "{}", made.stdout);
    assert!(s.stick.on_it("backups").is_dir());

    let first = s.backup();
    let second = s.backup();
    assert_ne!(first["snapshots"][0]["id"], second["snapshots"][0]["id"]);
    assert_eq!(s.names().len(), 2, "two runs within a second are two archives");
    let health = checks(&s, &["health", "--json"]);
    let check = of(&health, "archive");
    assert_eq!(check["outcome"], "pass", "{health:#}");
    assert!(words(&check, "message").contains("2 archives"), "{check:#}");
    let status = s.json(&["status", "--json"]);
    assert_eq!(status["projects"][0]["destinations"][0]["kind"], "archive", "{status:#}");
    let text = s.run(&["snapshots", "shop"]).stdout;
    assert!(text.contains(".tar.zst.age"), "{text}");

    let oldest = words(&first["snapshots"][0], "id").to_owned();
    let done = s.json(&["forget", "shop", &oldest[..12], "--yes", "--json"]);
    assert_eq!((done["left"].as_u64(), s.names().len()), (Some(1), 1));
    let last = s.names().pop().unwrap();
    let refused = s.run(&["forget", "shop", &last, "--yes", "--json"]);
    assert_eq!(refused.expect(3).json()["error"]["code"], "INVALID_CONFIG");
    assert_eq!(s.names(), [last]);
    let none = s.run(&["cache", "shop", "--json"]);
    assert_eq!(none.expect(3).json()["error"]["code"], "INVALID_CONFIG");
    let none = s.run(&["restic", "shop", "snapshots"]);
    assert!(none.expect(3).stderr.contains("no repository of restic"), "{}", none.stderr);
    s.run(&["cache", "--clear-all"]);

    // gzip, and in the clear where somebody has written that out.
    s.w.project()["compression"] = json!({"algorithm": "gzip"});
    s.w.project()["encryption"] = json!({"enabled": false});
    s.backup();
    let plain = s.names().into_iter().find(|n| n.ends_with(".tar.gz")).unwrap();
    let list = command("tar").arg("-tzf").arg(s.file(&plain)).output().unwrap();
    assert!(String::from_utf8_lossy(&list.stdout).contains("MANIFEST.json"));
    s.w.project().as_object_mut().unwrap().remove("encryption");
    let refused = s.run(&["run", "shop"]);
    assert!(refused.expect(3).stderr.contains("encryption"), "{}", refused.stderr);
}
