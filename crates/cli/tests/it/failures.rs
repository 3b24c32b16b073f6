//! What can go wrong, and what people are told: code, exit status, remedy, notice, heartbeat, record.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use backupctl_testkit::services::{Repository, free_port};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::support::{
    DATABASE_PASSWORD, REPOSITORY_PASSWORD, Running, World, postgres, real, sshd, words,
};

#[test]
fn a_database_that_refuses_is_told_at_once_and_one_that_is_dead_is_tried_again() {
    let server = postgres();
    let mut w = World::with_postgres(&server);
    let good = w.project()["database"].clone();
    // Long enough to be noticed, were it waited for.
    w.env.insert("BACKUP_RETRY_COUNT".into(), "3".into());
    w.env.insert("BACKUP_RETRY_DELAY_MS".into(), "600000".into());
    w.project()["database"]["password"] = json!("wrong-password-4711");
    let record = w.fails("DB_AUTH_FAILED", 4, "Dump");
    assert!(!record.to_string().contains("wrong-password-4711"), "{record:#}");
    assert_eq!(record["error"]["retries"], 0);
    assert!(words(&w.events_of("backup_failed")[0], "text").contains("at stage: Dump\n"));

    w.project()["database"] = good.clone();
    w.project()["database"]["name"] = json!("nowhere");
    w.fails("DB_NOT_FOUND", 4, "Dump");

    w.project()["database"] = good;
    w.project()["database"]["port"] = json!(free_port());
    w.env.insert("BACKUP_RETRY_COUNT".into(), "2".into());
    w.env.insert("BACKUP_RETRY_DELAY_MS".into(), "1".into());
    let record = w.fails("DB_CONNECTION_REFUSED", 4, "Dump");
    assert_eq!(
        (&record["error"]["retries"], &record["stages"][2]["attempts"]),
        (&json!(2), &json!(3))
    );
    let text = words(w.events_of("backup_failed").last().unwrap(), "text").to_owned();
    assert!(text.contains("Failed at stage: Dump (attempt 2/2)\n"), "{text}");
    assert_eq!(w.dumps(), [""; 0]);
}

#[test]
fn a_dump_that_lacks_something_or_ends_too_early_fails() {
    let server = postgres();
    let mut w = World::with_postgres(&server);
    let database = words(&w.project()["database"], "name").to_owned();
    server.psql_in(&database, "CREATE TABLE hidden (id int); REVOKE ALL ON hidden FROM PUBLIC;");
    let record = w.fails("DB_PERMISSION_DENIED", 1, "Dump");
    assert!(words(&record["error"], "message").contains("hidden"), "{record:#}");
    server.psql_in(&database, "DROP TABLE hidden");
    // The tool says that all is well.
    w.wrap("pg_restore", &format!("exec {} \"$@\"", real("pg_restore").display()));
    w.wrap(
        "pg_dump",
        &format!(
            "case \"$*\" in *--version*) exec {0} \"$@\";; esac\n{0} \"$@\" | head -c 6000",
            real("pg_dump").display()
        ),
    );
    let out = w.run(&["run", "shop"]);
    let code = words(&w.records()[0]["error"], "code").to_owned();
    let stage = words(&w.records()[0]["error"], "stage").to_owned();
    assert!(["DUMP_TRUNCATED", "DUMP_CORRUPT", "DUMP_INCOMPLETE"].contains(&&*code), "{code}");
    w.failed(&out, &code, 1, &stage);
    w.wrap(
        "pg_dump",
        &format!("case \"$*\" in *--version*) exec {} \"$@\";; esac", real("pg_dump").display()),
    );
    w.fails("DUMP_EMPTY", 1, "Dump");
    assert_eq!(w.dumps(), [""; 0]);
}

#[test]
fn each_way_in_which_a_server_can_refuse_has_its_name() {
    let ssh = sshd();
    let mut w = World::new();
    let path = ssh.root().join("refusals");
    let repository = Repository::fresh_at(&path, REPOSITORY_PASSWORD);
    let good = json!({
        "host": "127.0.0.1", "user": ssh.user(), "port": ssh.port(), "key_path": ssh.key_path(),
        "known_hosts_path": ssh.known_hosts_path(),
    });
    w.project()["restic"] =
        json!({"repository_path": repository.path(), "password": REPOSITORY_PASSWORD});
    let open = w.work.join("open_key");
    fs::copy(ssh.key_path(), &open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    let cases: [(&str, Value, &str); 6] = [
        ("port", json!(free_port()), "SSH_CONNECTION_REFUSED"),
        ("key_path", json!(ssh.wrong_key_path()), "SSH_PERMISSION_DENIED"),
        ("known_hosts_path", json!(ssh.empty_known_hosts_path()), "SSH_HOST_KEY_UNKNOWN"),
        ("known_hosts_path", json!(ssh.wrong_known_hosts_path()), "SSH_HOST_KEY_UNKNOWN"),
        ("key_path", json!(open), "SSH_KEY_PERMISSIONS"),
        ("key_path", json!(w.work.join("no_key")), "SSH_KEY_PERMISSIONS"),
    ];
    for (key, value, code) in cases {
        w.config["ssh"] = good.clone();
        w.config["ssh"][key] = value;
        let record = w.fails(code, 4, "Sync");
        assert!(record["snapshots"].as_array().unwrap().is_empty());
    }
    w.config["ssh"] = good;
    w.backup();
}

#[test]
fn a_repository_that_is_not_there_or_not_ours_is_named() {
    let mut w = World::new();
    w.project()["restic"]["repository"] = json!(w.work.join("nowhere"));
    let record = w.fails("REPO_NOT_INITIALIZED", 4, "Sync");
    assert!(words(&record["error"], "remedy").contains("backupctl init"), "{record:#}");
    assert!(!w.work.join("nowhere").exists(), "nothing is created in silence");

    w.project()["restic"]["repository"] = json!(w.repository.path());
    w.project()["restic"]["password"] = json!("wrong-password-4711");
    let record = w.fails("REPO_WRONG_PASSWORD", 4, "Sync");
    assert!(!record.to_string().contains("wrong-password-4711"), "{record:#}");
}

#[test]
fn missing_programs_are_named() {
    let mut w = World::new();
    w.project()["restic"]["binary"] = json!("/nowhere/restic");
    let record = w.fails("TOOL_MISSING", 1, "Sync");
    assert!(words(&record["error"], "message").contains("/nowhere/restic"), "{record:#}");
    w.project()["restic"].as_object_mut().unwrap().remove("binary");
    w.env.insert("PATH".into(), w.work.join("bin").display().to_string());
    w.fails("TOOL_MISSING", 1, "Sync");
    w.project()["database"] = json!({
        "type": "postgres", "host": "127.0.0.1", "port": free_port(), "name": "shop",
        "user": "shop", "password": DATABASE_PASSWORD,
    });
    let record = w.run(&["run", "shop", "--dry-run", "--json"]).json();
    assert_eq!(record["checks"][1]["code"], "TOOL_MISSING", "{record:#}");
}

/// Runs the program where `{base_dir}/shop` is a disk of its own with so much space.
fn run_on_small_disk(w: &World, size: &str) -> super::support::Output {
    let dir = w.work.dir("state/shop");
    let script = format!(
        "mount -t tmpfs -o size={size},mode=0700 none '{0}' || exit 99\n\"$@\"\ncode=$?\n\
         ls -A '{0}' > '{1}'\nexit $code",
        dir.display(),
        w.work.join("left").display()
    );
    // A mount of its own, seen by nobody else, and gone with the process.
    let root = rustix::process::geteuid().is_root();
    let flags = if root { "-m" } else { "-rm" };
    let prefix = ["unshare", flags, "sh", "-c", &script, "sh"];
    w.finish(Running::start(w.prefixed(&prefix, &["run", "shop"])))
}

#[test]
fn a_full_disk_is_called_that_and_keeps_no_half_dump() {
    let server = postgres();
    let mut w = World::with_sqlite();
    let big = w.sqlite("big.sqlite", 30_000);
    let small = w.project()["database"].clone();
    w.project()["database"]["path"] = json!(big);
    let postgres = super::support::postgres_database(&server, 60_000);
    for database in [w.project()["database"].clone(), postgres] {
        w.project()["database"] = database;
        let out = run_on_small_disk(&w, "1m");
        w.failed(&out, "DISK_FULL", 1, "Dump");
        let left = fs::read_to_string(w.work.join("left")).unwrap();
        assert!(!left.contains("partial") && !left.contains("shop_backup"), "{left}");
    }
    // Less is free than must remain: not even begun.
    w.project()["database"] = small;
    w.config["min_free_gb"] = json!(1_000_000);
    w.fails("DISK_LOW", 1, "Dump");
}

#[test]
fn an_unreadable_file_fails_the_run_and_keeps_the_snapshot() {
    let mut w = World::new();
    let secret = w.work.file("assets/uploads/locked.txt", "x");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    // Root reads everything, unless it gives that right away.
    let root = rustix::process::geteuid().is_root();
    let prefix: &[&str] =
        if root { &["setpriv", "--bounding-set=-dac_override,-dac_read_search"] } else { &[] };
    let out = w.finish(Running::start(w.prefixed(prefix, &["run", "shop"])));
    let record = w.failed(&out, "SOURCE_INCOMPLETE", 1, "Sync");
    assert!(words(&record["error"], "message").contains("locked.txt"), "{record:#}");
    assert_eq!(record["snapshots"].as_array().unwrap().len(), 1, "{record:#}");
    assert!(w.restic(&["ls", "latest"]).contains("one.txt"));

    w.project()["restic"]["allow_incomplete"] = json!(true);
    let out = w.finish(Running::start(w.prefixed(prefix, &["run", "shop", "--json"])));
    let record = out.expect(0).json();
    assert!(record["warnings"][0].as_str().unwrap().contains("locked.txt"), "{record:#}");
}

#[test]
fn a_missing_folder_is_a_warning_and_nothing_at_all_a_failure() {
    let mut w = World::new();
    let there = w.project()["assets"]["paths"][0].clone();
    let gone = w.work.join("assets/gone").display().to_string();
    w.project()["assets"]["paths"] = json!([there, gone]);
    let record = w.backup();
    let warning = format!("Asset path not found: {gone}");
    assert_eq!(record["warnings"], json!([warning]));
    let warnings = w.events_of("backup_warning");
    let run = &words(&record, "run_id")[..8];
    assert_eq!(warnings.len(), 1);
    assert_eq!(
        words(&warnings[0], "text"),
        format!("⚠️ Backup warning for shop\nRun ID: {run}\n{warning}")
    );
    w.project()["assets"]["paths"] = json!([gone]);
    w.fails("NOTHING_TO_BACK_UP", 1, "Sync");

    // A folder that has lost all its files looks like a disk that is not mounted.
    fs::remove_dir_all(w.work.join("assets/uploads")).unwrap();
    w.work.dir("assets/uploads");
    w.project()["assets"]["paths"] = json!([there]);
    let record = w.backup();
    let warning = record["warnings"][0].as_str().unwrap();
    assert!(warning.contains("empty") && warning.contains("uploads"), "{warning}");
}

#[test]
fn a_hook_that_fails_stops_the_run_and_the_last_hook_runs_all_the_same() {
    let mut w = World::with_sqlite();
    let log = w.work.join("finally.log");
    w.project()["hooks"] = json!({
        "pre_backup": "echo cannot flush >&2; exit 3",
        "finally": format!("echo \"$BACKUPCTL_STATUS $BACKUPCTL_ERROR_CODE\" >> {}", log.display()),
    });
    let record = w.fails("HOOK_FAILED", 1, "PreHook");
    let message = words(&record["error"], "message");
    assert!(message.contains("exit status 3") && message.contains("cannot flush"), "{message}");
    assert_eq!(w.dumps(), [""; 0]);

    w.project()["hooks"]["pre_backup"] = Value::Null;
    w.project()["hooks"].as_object_mut().unwrap().remove("pre_backup");
    w.project()["hooks"]["post_backup"] = json!("exit 1");
    let record = w.fails("HOOK_FAILED", 1, "PostHook");
    // What is stored is safe, and everybody is told so.
    let snapshot = &words(&record["snapshots"][0], "id")[..8];
    assert!(words(&record["error"], "message").contains(snapshot), "{record:#}");
    let text = words(w.events_of("backup_failed").last().unwrap(), "text").to_owned();
    assert!(text.ends_with(&format!("\nSnapshot: {snapshot} (stored)")), "{text}");
    assert_eq!(w.dumps().len(), 1);

    w.project()["hooks"]["post_backup"] = json!("true");
    w.backup();
    let said = fs::read_to_string(&log).unwrap();
    assert_eq!(said, "failed HOOK_FAILED\nfailed HOOK_FAILED\nsuccess \n");
}

/// Minutes are the unit of both limits, so this one takes a minute, of which it sleeps all.
#[test]
fn a_hook_that_hangs_is_called_out_and_then_ended() {
    let mut w = World::with_sqlite();
    w.project()["timeout_minutes"] = json!(1);
    w.project()["hooks"] = json!({
        "timeout_minutes": 1, "pre_backup": "echo waiting for a tape; sleep 1000 | cat",
    });
    let record = w.fails("HOOK_TIMEOUT", 1, "PreHook");
    assert!(words(&record["error"], "message").contains("waiting for a tape"), "{record:#}");
    let run = &words(&record, "run_id")[..8];
    let warnings = w.events_of("backup_warning");
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert_eq!(
        words(&warnings[0], "text"),
        format!(
            "⚠️ Backup timeout warning for shop\nRun ID: {run}\nElapsed: 1m (timeout: 1m)\n\
             Current stage: PreHook (2/11)\nThe backup is still running and has not been killed."
        )
    );
}

#[test]
fn retention_that_fails_says_that_the_snapshot_is_safe() {
    let w = World::new();
    let restic = real("restic").display().to_string();
    w.wrap(
        "restic",
        &format!("case \" $* \" in *' forget '*) echo 'Fatal: no forgetting' >&2; exit 1;; esac\nexec {restic} \"$@\""),
    );
    let out = w.run(&["run", "shop"]);
    let code = words(&w.records()[0]["error"], "code").to_owned();
    let record = w.failed(&out, &code, out.code, "Prune");
    let snapshot = &words(&record["snapshots"][0], "id")[..8];
    let message = words(&record["error"], "message");
    assert!(message.contains(snapshot) && message.contains("no forgetting"), "{message}");
}

#[test]
fn waiting_for_the_next_try_ends_at_once_when_told_to() {
    let mut w = World::new();
    w.project()["database"] = json!({
        "type": "postgres", "host": "127.0.0.1", "port": free_port(), "name": "shop",
        "user": "shop", "password": DATABASE_PASSWORD,
    });
    w.env.insert("BACKUP_RETRY_COUNT".into(), "3".into());
    w.env.insert("BACKUP_RETRY_DELAY_MS".into(), "600000".into());
    let mut running = w.start(&["run", "shop"]);
    running.wait("a retry", |r| r.stderr().contains("retry 1/3"));
    running.signal(Signal::INT);
    let out = w.finish(running);
    w.failed(&out, "INTERRUPTED", 130, "Dump");
}
