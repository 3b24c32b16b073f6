//! What a stick does to its user: full, locked, pulled out, not there, too small for the file, or with
//! a byte that is not what it was. Red each time, with a code and a way out; nothing half, nothing lost.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{OnStick, Running, random, tree, words};

/// A file that no compression makes smaller.
fn noise(s: &OnStick, mib: usize) {
    fs::write(s.w.work.join("assets/uploads/noise"), random(mib << 20)).unwrap();
}

/// A run that fails like this, and everybody is told so.
#[track_caller]
fn fails(s: &OnStick, before: &[&str], code: &str) -> Value {
    let output = s.w.finish(s.start(before, &["run", "shop"]));
    s.w.failed(&output, code, 1, "Sync")
}

/// All that is on the stick.
fn all(s: &OnStick) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    tree(&s.stick.on_it("backups")).into_iter().collect()
}

#[test]
fn a_full_stick_keeps_its_older_archives_and_no_half_one() {
    let s = OnStick::new("8m");
    s.backup();
    let before = all(&s);
    noise(&s, 9);
    let record = fails(&s, &[], "DISK_FULL");
    let error = &record["error"];
    assert!(words(error, "message").contains("mnt/usb"), "{error:#}");
    assert!(
        words(error, "remedy").contains("archive.path")
            || words(error, "remedy").contains("mnt/usb")
    );
    assert_eq!(all(&s), before);

    // What the last one needed is known: the next is not even begun without that room.
    fs::remove_file(s.w.work.join("assets/uploads/noise")).unwrap();
    noise(&s, 4);
    s.backup();
    let record = fails(&s, &[], "DISK_LOW");
    assert!(words(&record["error"], "message").contains("free"), "{record:#}");
    let check = s.run(&["run", "shop", "--dry-run", "--json"]).expect(1).json();
    let archive = check["checks"].as_array().unwrap().iter().find(|c| c["name"] == "archive");
    assert_eq!(archive.unwrap()["code"], "DISK_LOW", "{check:#}");
}

#[test]
fn a_locked_stick_is_told_as_that() {
    let s = OnStick::new("8m");
    s.backup();
    let before = all(&s);
    s.stick.set_read_only(true);
    let record = fails(&s, &[], "PATH_NOT_WRITABLE");
    assert!(words(&record["error"], "message").contains("read-only"), "{record:#}");
    let health = s.run(&["health", "shop", "--json"]).json();
    let checks = health["checks"].as_array().unwrap();
    assert!(checks.iter().any(|c| c["name"] == "archive" && c["code"] == "PATH_NOT_WRITABLE"));
    s.stick.set_read_only(false);
    assert_eq!(all(&s), before);
    s.backup();
}

#[test]
fn a_stick_that_is_not_there_takes_nothing_in_its_place() {
    let s = OnStick::new("8m");
    s.backup();
    s.stick.pull_out();
    let record = fails(&s, &[], "NOT_MOUNTED");
    assert!(words(&record["error"], "remedy").contains("mount"), "{record:#}");
    assert_eq!(s.w.work.names("mnt/usb"), [""; 0], "nothing was written where it should be");
    for command in [&["snapshots", "shop"][..], &["verify", "shop"], &["prune", "shop"]] {
        let words: Vec<&str> = command.iter().copied().chain(["--json"]).collect();
        let output = s.run(&words);
        assert_eq!(output.code, 1, "{command:?}: {}", output.stdout);
        assert_eq!(output.json()["error"]["code"], "NOT_MOUNTED", "{command:?}");
    }
    let target = s.w.work.join("back").display().to_string();
    let output = s.run(&["restore", "shop", "latest", &target, "--json"]);
    assert_eq!(output.expect(1).json()["error"]["code"], "NOT_MOUNTED");
    let init = s.run(&["init", "--json"]);
    assert!(init.code != 0 && init.stdout.contains("NOT_MOUNTED"), "{}", init.stdout);
    let dry = s.run(&["run", "shop", "--dry-run", "--json"]).expect(1).json();
    assert!(dry.to_string().contains("NOT_MOUNTED"), "{dry:#}");
    s.stick.plug_in_again();
    s.backup();
    assert_eq!(s.names().len(), 2);
}

/// A service manager makes a folder writable by mounting it onto itself: that makes no disk of it, nor
/// another one of the disk that is there.
#[test]
fn a_sandbox_hides_neither_a_missing_stick_nor_one_that_is_there() {
    let s = OnStick::new("8m");
    let path = s.w.work.join("mnt/usb/backups").display().to_string();
    let bound = format!("mount --bind '{path}' '{path}' && exec \"$0\" \"$@\"");
    let sandbox = ["unshare", "-m", "sh", "-c", &bound];
    s.backup();
    s.w.finish(s.start(&sandbox, &["run", "shop"])).expect(0);
    s.backup();
    assert_eq!(s.names().len(), 3);

    s.stick.pull_out();
    let below = s.w.work.dir("mnt/usb/backups");
    fails(&s, &sandbox, "NOT_MOUNTED");
    fails(&s, &[], "NOT_MOUNTED");
    assert_eq!(fs::read_dir(below).unwrap().count(), 0, "nothing was written in its place");
}

/// A run that has begun to write its archive and is stopped in the middle.
fn in_the_middle(s: &OnStick) -> Running {
    noise(s, 48);
    let mut running = s.start(&[], &["run", "shop"]);
    running.wait("an archive that grows", |_| {
        let partial = s.names().into_iter().find(|n| n.ends_with(".partial"));
        partial.is_some_and(|name| fs::metadata(s.file(&name)).is_ok_and(|m| m.len() > 1 << 20))
    });
    running.signal(Signal::STOP);
    running
}

#[test]
fn a_stick_that_is_pulled_out_in_the_middle_has_no_half_archive() {
    let s = OnStick::new("128m");
    s.backup();
    let before = all(&s);
    let running = in_the_middle(&s);
    s.stick.pull_out();
    running.signal(Signal::CONT);
    let output = s.w.finish(running);
    let record = s.w.failed(&output, "NOT_MOUNTED", 1, "Sync");
    assert!(words(&record["error"], "message").contains("mnt/usb"), "{record:#}");
    assert_eq!(all(&s), before, "not on the stick");
    assert_eq!(s.w.work.names("mnt/usb"), [""; 0], "and not where it was");
    s.stick.plug_in_again();
    s.backup();
}

#[test]
fn a_run_that_is_killed_in_the_middle_is_cleared_up_after() {
    let s = OnStick::new("256m");
    s.backup();
    let first = s.names();
    let running = in_the_middle(&s);
    running.kill();
    assert!(s.names().iter().any(|n| n.ends_with(".partial")), "a power cut leaves it");
    let recovered = s.run(&["recover"]);
    recovered.expect(0);
    let told = "leftovers of an interrupted backup of shop removed at ";
    assert!(recovered.stderr.contains(told), "{} {}", recovered.stdout, recovered.stderr);
    assert!(!recovered.stderr.contains("repository"), "{}", recovered.stderr);
    assert_eq!(s.names(), first, "the half one is gone, the whole one is not");
    s.backup();
    let running = in_the_middle(&s);
    running.signal(Signal::TERM);
    running.signal(Signal::CONT);
    s.w.finish(running).expect(143);
    assert_eq!(s.names().len(), 2);
}

#[test]
fn a_file_system_that_cannot_hold_the_file_is_named_with_the_way_out() {
    let mut s = OnStick::new("64m");
    s.backup();
    let before = all(&s);
    noise(&s, 6);
    // As FAT32 does, with a smaller limit.
    let limited = ["sh", "-c", "ulimit -f 4096; exec \"$@\"", "sh"];
    let record = fails(&s, &limited, "FS_FILE_TOO_LARGE");
    let remedy = words(&record["error"], "remedy");
    assert!(remedy.contains("archive.split_size"), "{remedy}");
    assert_eq!(all(&s), before);
    // The size of the last one says it before anything is written.
    s.backup();
    let record = fails(&s, &limited, "FS_FILE_TOO_LARGE");
    assert!(words(&record["error"], "message").contains("may take"), "{record:#}");
    s.w.project()["archive"]["split_size"] = json!("1MiB");
    let output = s.w.finish(s.start(&limited, &["run", "shop"]));
    output.expect(0);
    let explained = s.run(&["explain", "FS_FILE_TOO_LARGE"]).stdout;
    for command in ["parted --script DEV mklabel gpt", "mkfs.ext4", "archive.split_size"] {
        assert!(explained.contains(command), "{command}: {explained}");
    }
}

#[test]
fn a_flipped_byte_is_found_by_name_and_counts_as_no_copy() {
    let mut s = OnStick::new("64m");
    s.w.project()["retention"] = json!({"keep_last": 2});
    s.backup();
    s.backup();
    let [old, new] = &s.names()[..] else { panic!("{:?}", s.names()) };
    let middle = usize::try_from(fs::metadata(s.file(new)).unwrap().len()).unwrap() / 2;
    s.flip(new, middle);

    let found = s.run(&["verify", "shop", "--json"]);
    let error = found.json()["verified"][0]["error"].clone();
    assert!(found.code == 1 && words(&error, "message").contains(new.as_str()), "{error:#}");
    let target = s.w.work.join("back").display().to_string();
    let refused = s.run(&["restore", "shop", new, &target, "--json"]);
    let error = refused.expect(1).json()["error"].clone();
    assert!(words(&error, "message").contains(new.as_str()), "{error:#}");
    assert!(!Path::new(&target).exists(), "not a byte of it");

    // The third run keeps two: the damaged one does not count, so the oldest stays.
    s.backup();
    let names = s.names();
    assert!(names.contains(old), "{names:?}");
    let listed = s.json(&["snapshots", "shop", "--json"]);
    let proofs: Vec<&str> =
        listed["snapshots"].as_array().unwrap().iter().map(|x| words(x, "proof")).collect();
    assert!(proofs.contains(&"damaged") && proofs.iter().filter(|p| **p == "proven").count() == 2);
    let output = s.run(&["snapshots", "shop"]);
    output.expect(0);
    let table = &output.stdout;
    assert!(table.lines().next().unwrap().contains("  STATE  "), "{table}");
    let of_new = table.lines().find(|line| line.contains(new.as_str())).unwrap();
    assert!(of_new.contains("  damaged  "), "{table}");
    assert_eq!(table.matches("  proven  ").count(), 2, "{table}");
    // What `latest` brings is whole.
    s.json(&["restore", "shop", "latest", &target, "--json"]);
}

#[test]
fn retention_finds_a_flipped_byte_that_nobody_has_looked_for() {
    let mut s = OnStick::new("64m");
    s.w.project()["retention"] = json!({"keep_last": 2});
    s.backup();
    s.backup();
    let [old, new] = &s.names()[..] else { panic!("{:?}", s.names()) };
    s.flip(new, 300);
    let record = s.backup();
    assert!(s.names().contains(old), "it was not removed for a copy that is none");
    let warnings = record["warnings"].to_string();
    assert!(warnings.contains(new.as_str()), "{warnings}");
    let told = s.w.events_of("backup_warning");
    assert!(told.iter().any(|e| words(e, "text").contains(new.as_str())), "{told:#?}");
}

#[test]
fn whoever_has_not_the_key_is_told_what_works_without_it() {
    let mut s = OnStick::new("64m");
    s.backup();
    s.w.project()["encryption"].as_object_mut().unwrap().remove("identity_file");
    let target = s.w.work.join("back").display().to_string();
    let refused = s.run(&["restore", "shop", "latest", &target, "--decompress", "--json"]);
    let error = refused.json()["error"].clone();
    assert_eq!(error["code"], "ENCRYPTION_KEY_MISSING", "{error:#}");
    let remedy = words(&error, "remedy");
    assert!(remedy.contains("encryption.identity_file"), "{remedy}");
    assert!(remedy.contains("--guide") && remedy.contains("of an archive"), "{remedy}");
    let guide = s.run(&["restore", "shop", "latest", &target, "--guide"]);
    guide.expect(0);
    assert!(guide.stdout.contains("age --decrypt --identity IDENTITY"), "{}", guide.stdout);
}

#[test]
fn another_machine_with_the_key_reads_them_all() {
    let s = OnStick::new("64m");
    s.backup();
    s.backup();
    // Nothing that this machine remembers, and no record.
    fs::remove_dir_all(s.w.state(".state")).unwrap();
    fs::remove_file(s.w.state("audit.db")).unwrap();
    let listed = s.json(&["snapshots", "shop", "--json"]);
    let found = listed["snapshots"].as_array().unwrap();
    assert_eq!(found.len(), 2);
    assert!(
        found
            .iter()
            .all(|x| x["proof"] == "unproven" && !x["paths"].as_array().unwrap().is_empty())
    );
    let table = s.run(&["snapshots", "shop"]).stdout;
    assert_eq!(table.matches("  unproven  ").count(), 2, "{table}");
    s.json(&["verify", "shop", "--all", "--json"]);
    let target = s.w.work.join("back").display().to_string();
    let done = s.json(&["restore", "shop", "latest", &target, "--only", "db", "--json"]);
    assert_eq!(done["files"], 1);
}
