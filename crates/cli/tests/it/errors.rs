//! Every code of the error reference, raised by what really raises it and told in the same words
//! everywhere: on the terminal, as JSON, in the record, in the notice. Codes that other tests raise
//! are listed with them, so that none is without a test.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;

use backupctl_testkit::services::{GpgHome, Postgres, Reply, Repository, Sshd, free_port};
use serde_json::{Value, json};

use super::support::{
    DATABASE_PASSWORD, Output, REPOSITORY_PASSWORD, Running, World, command, postgres,
    postgres_database, real, wait_until, words,
};

/// Which test raises a code by its real cause.
const RAISED_BY: &[(&str, &str)] = &[
    ("INVALID_CONFIG", "cli/tests/it/configuration.rs"),
    ("UNKNOWN_PROJECT", "cli/tests/it/commands.rs"),
    ("BACKUP_IN_PROGRESS", "cli/tests/it/overlap.rs"),
    ("TOOL_MISSING", "cli/tests/it/failures.rs"),
    ("TOOL_TOO_OLD", "cli/tests/it/errors.rs"),
    ("DB_VERSION_MISMATCH", "cli/tests/it/errors.rs"),
    ("SSH_NOT_CONFIGURED", "cli/tests/it/errors.rs"),
    ("SSH_PERMISSION_DENIED", "cli/tests/it/failures.rs"),
    ("SSH_HOST_KEY_UNKNOWN", "cli/tests/it/failures.rs"),
    ("SSH_KEY_PERMISSIONS", "cli/tests/it/failures.rs"),
    ("SSH_CONNECTION_REFUSED", "cli/tests/it/failures.rs"),
    ("SSH_TIMEOUT", "cli/tests/it/errors.rs"),
    ("SSH_DISCONNECTED", "cli/tests/it/errors.rs"),
    ("DB_CONNECTION_REFUSED", "cli/tests/it/failures.rs"),
    ("DB_TIMEOUT", "cli/tests/it/errors.rs"),
    ("DB_DISCONNECTED", "adapters/dump/tests/it/postgres_refusals.rs"),
    ("DB_AUTH_FAILED", "cli/tests/it/failures.rs"),
    ("DB_NOT_FOUND", "cli/tests/it/failures.rs"),
    ("DB_PERMISSION_DENIED", "cli/tests/it/failures.rs"),
    ("DUMP_INCOMPLETE", "adapters/dump/tests/it/postgres_refusals.rs"),
    ("DUMP_EMPTY", "cli/tests/it/failures.rs"),
    ("DUMP_TRUNCATED", "adapters/dump/tests/it/main.rs"),
    ("DUMP_CORRUPT", "adapters/dump/tests/it/postgres.rs"),
    ("CHECKSUM_MISMATCH", "cli/tests/it/restore.rs"),
    ("DISK_FULL", "cli/tests/it/failures.rs"),
    ("DISK_LOW", "cli/tests/it/failures.rs"),
    ("FS_FILE_TOO_LARGE", "cli/tests/it/errors.rs"),
    ("PATH_NOT_WRITABLE", "cli/tests/it/errors.rs"),
    ("ENCRYPTION_KEY_MISSING", "cli/tests/it/errors.rs"),
    ("ENCRYPTION_KEY_EXPIRED", "cli/tests/it/errors.rs"),
    ("ENCRYPTION_KEY_PERMISSIONS", "cli/tests/it/restore.rs"),
    ("DECRYPTION_FAILED", "cli/tests/it/restore.rs"),
    ("REPO_NOT_INITIALIZED", "cli/tests/it/failures.rs"),
    ("REPO_WRONG_PASSWORD", "cli/tests/it/failures.rs"),
    ("REPO_UNREACHABLE", "cli/tests/it/errors.rs"),
    ("REPO_LOCKED", "cli/tests/it/errors.rs"),
    ("REPO_CORRUPT", "cli/tests/it/errors.rs"),
    ("SOURCE_INCOMPLETE", "cli/tests/it/failures.rs"),
    ("NOTHING_TO_BACK_UP", "cli/tests/it/failures.rs"),
    ("SNAPSHOT_UNPROVEN", "cli/tests/it/errors.rs"),
    ("SNAPSHOT_NOT_FOUND", "cli/tests/it/restore.rs"),
    ("HOOK_FAILED", "cli/tests/it/failures.rs"),
    ("HOOK_TIMEOUT", "cli/tests/it/failures.rs"),
    ("DUMP_TIMEOUT", "adapters/dump/tests/it/postgres_refusals.rs"),
    ("AUDIT_UNAVAILABLE", "cli/tests/it/errors.rs"),
    ("NOTIFY_FAILED", "cli/tests/it/errors.rs"),
    ("HEARTBEAT_FAILED", "cli/tests/it/errors.rs"),
    ("INTERRUPTED", "cli/tests/it/signals.rs"),
    ("RUN_MISSED", "cli/tests/it/schedule.rs"),
    ("DAEMON_NOT_RUNNING", "cli/tests/it/runs.rs"),
];

/// Codes that nothing raises yet, and why.
const NOT_RAISED: &[(&str, &str)] = &[
    ("NOT_MOUNTED", "archives on a disk are not there yet"),
    ("INTERNAL", "a bug, which nobody can order"),
];

/// `DbAuthFailed` of `DB_AUTH_FAILED`.
fn variant(code: &str) -> String {
    code.split('_').flat_map(|w| [w[..1].to_owned(), w[1..].to_lowercase()]).collect()
}

#[test]
fn every_code_has_a_test_that_raises_it_and_an_explanation() {
    let w = World::new();
    let all = w.json(&["explain", "--json"]);
    let all: Vec<&str> =
        all["codes"].as_array().unwrap().iter().map(|c| words(c, "code")).collect();
    let listed: BTreeSet<&str> =
        RAISED_BY.iter().chain(NOT_RAISED).map(|(code, _)| *code).collect();
    assert_eq!(all.iter().copied().collect::<BTreeSet<_>>(), listed);
    let crates = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    for (code, file) in RAISED_BY {
        let text = fs::read_to_string(crates.join(file)).unwrap();
        let uses = text.matches(code).count()
            + text.matches(&format!("ErrorCode::{}", variant(code))).count();
        let own = usize::from(file.ends_with("errors.rs"));
        assert!(uses > own, "{file} has no test of {code}");
    }
    for code in all {
        let explained = w.run(&["explain", code]);
        let text = &explained.expect(0).stdout;
        assert!(text.contains(code) && text.contains("What to do"), "{text}");
    }
}

/// A run of `shop` fails like this, and says so in one and the same words everywhere; the words, with
/// what changes from run to run masked.
#[track_caller]
fn told(w: &World, prefix: &[&str], code: &str, exit: i32, stage: &str) -> String {
    let out = w.finish(Running::start(w.prefixed(prefix, &["run", "shop"])));
    told_by(w, &out, code, exit, stage)
}

#[track_caller]
fn told_by(w: &World, out: &Output, code: &str, exit: i32, stage: &str) -> String {
    // Exit status, terminal, notice, heartbeat and `logs`.
    let record = w.failed(out, code, exit, stage);
    let (message, remedy) = (words(&record["error"], "message"), words(&record["error"], "remedy"));
    assert!(out.stderr.contains(message), "{message}\nis not in\n{}", out.stderr);
    assert!(out.stderr.contains(&format!("fix: {remedy}")), "{remedy}\nis not in\n{}", out.stderr);
    // JSON, and the record by itself.
    let id = words(&record, "run_id");
    let alone = w.json(&["logs", "--run", &id[..8], "--json"]);
    assert_eq!(alone, record);
    let failed = record["stages"].as_array().unwrap().iter().find(|s| s["outcome"] == "failed");
    assert_eq!(words(failed.unwrap(), "stage"), stage);
    let event = w.events_of("backup_failed").pop().unwrap();
    assert_eq!(event["data"]["runUuid"], record["run_id"]);
    assert!(!message.contains('\n') && !remedy.contains('\n'));
    masked(w, &format!("{code} at {stage}, exit {exit}\n{message}\nfix: {remedy}"))
}

fn masked(w: &World, text: &str) -> String {
    text.replace(&w.repository.path().display().to_string(), "[REPOSITORY]")
        .replace(&w.work.path().display().to_string(), "[WORK]")
}

/// A text with more of it masked: everything between `from` and `to`.
fn without(text: &str, from: &str, to: &str) -> String {
    let Some((before, rest)) = text.split_once(from) else { return text.to_owned() };
    let after = rest.find(to).map_or("", |at| &rest[at..]);
    format!("{before}{from}[…]{after}")
}

#[test]
fn a_run_is_told_alike_as_text_as_json_and_as_a_stream() {
    let mut w = World::new();
    w.project()["restic"]["password"] = json!("wrong-password-4711");
    let text = told(&w, &[], "REPO_WRONG_PASSWORD", 4, "Sync");
    let record = w.records().swap_remove(0);
    for args in [&["run", "shop", "--json"][..], &["run", "shop", "--json-stream"]] {
        let out = w.run(args);
        let last: Value = if args[2] == "--json" {
            out.expect(4).json()
        } else {
            let line = out.expect(4).stdout.lines().last().unwrap().to_owned();
            serde_json::from_str::<Value>(&line).unwrap()["run"].clone()
        };
        assert_eq!(last["error"], record["error"], "{args:?}");
    }
    insta::assert_snapshot!(text);
}

#[test]
fn tools_that_are_too_old() {
    let w = World::new();
    w.wrap("restic", "echo 'restic 0.12.1 compiled with go1.16.8 on linux/amd64'");
    insta::assert_snapshot!(told(&w, &[], "TOOL_TOO_OLD", 1, "Sync"));

    let server = postgres();
    let w = World::with_postgres(&server);
    for tool in ["pg_dump", "pg_restore"] {
        w.wrap(tool, &format!("echo '{tool} (PostgreSQL) 13.4'"));
    }
    // The newer ones beside it would be found.
    let hide = "mount -t tmpfs none /usr/lib/postgresql || exit 99\nexec \"$@\"";
    let root = rustix::process::geteuid().is_root();
    let prefix = ["unshare", if root { "-m" } else { "-rm" }, "sh", "-c", hide, "sh"];
    let text = told(&w, &prefix, "DB_VERSION_MISMATCH", 1, "Dump");
    let text = without(&text, "the server is PostgreSQL ", ", pg_dump");
    let text = without(&text, "pg_dump of version ", " or newer");
    insta::assert_snapshot!(without(&text, "postgresql-client-", "`"));
}

#[test]
fn ssh_servers_that_are_not_there_say_nothing_or_hang_up() {
    // Nobody is named.
    let mut w = World::new();
    w.project()["restic"] = json!({"repository_path": "backups", "password": REPOSITORY_PASSWORD});
    let out = w.run(&["run", "shop"]);
    out.expect(4);
    assert!(out.stderr.contains("error[SSH_NOT_CONFIGURED]:"), "{}", out.stderr);
    let error = w.run(&["run", "shop", "--json"]).expect(4).json()["error"].clone();
    assert_eq!(error["code"], "SSH_NOT_CONFIGURED");
    assert!(out.stderr.contains(words(&error, "message")), "{}", out.stderr);
    insta::assert_snapshot!(masked(
        &w,
        &format!("{}\nfix: {}", words(&error, "message"), words(&error, "remedy"))
    ));

    // A port where nobody answers.
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = silent.local_addr().unwrap().port();
    w.config["ssh"] = json!({"host": "127.0.0.1", "user": "u", "port": port});
    let text = told(&w, &[], "SSH_TIMEOUT", 4, "Sync");
    // What restic says beside ssh depends on who is first.
    insta::assert_snapshot!(without(&text, "banner exchange)", "\nfix"));
    drop(silent);

    // One that goes away while it is written to.
    let ssh = Sshd::start();
    let repository = Repository::fresh_at(&ssh.root().join("r"), REPOSITORY_PASSWORD);
    w.config["ssh"] = json!({
        "host": "127.0.0.1", "user": ssh.user(), "port": ssh.port(), "key_path": ssh.key_path(),
        "known_hosts_path": ssh.known_hosts_path(),
    });
    w.project()["restic"] = json!({
        "repository_path": repository.path(), "password": REPOSITORY_PASSWORD,
        "limit_upload_kib": 256,
    });
    let big = w.work.join("assets/uploads/big.bin");
    let make = format!("head -c 60000000 /dev/urandom > '{}'", big.display());
    assert!(command("sh").args(["-c", &make]).status().unwrap().success());
    let mut running = w.start(&["run", "shop"]);
    let data = repository.path().join("data");
    running.wait("a pack", |_| {
        let packs = fs::read_dir(&data).unwrap().filter_map(Result::ok);
        packs.flat_map(|d| fs::read_dir(d.path()).unwrap()).next().is_some()
    });
    ssh.kill_sessions();
    let out = w.finish(running);
    let text = told_by(&w, &out, "SSH_DISCONNECTED", 4, "Sync");
    assert!(text.contains("the ssh connection was lost to"), "{text}");
    w.project()["restic"]["limit_upload_kib"] = Value::Null;
    // Whatever it had locked is freed by itself.
    w.backup();
}

#[test]
fn repositories_that_cannot_be_used() {
    let mut w = World::with_sqlite();
    let port = free_port();
    w.project()["restic"]["repository"] = json!(format!("rest:http://127.0.0.1:{port}/"));
    let text = told(&w, &[], "REPO_UNREACHABLE", 4, "Sync");
    insta::assert_snapshot!(text.replace(&port.to_string(), "[PORT]"));
    w.project()["restic"]["repository"] = json!(w.repository.path());

    // A wrapper that keeps restic's words to itself.
    let restic = real("restic").display().to_string();
    let quiet = format!(
        "case \" $* \" in *' backup '*) {restic} \"$@\" > /dev/null; exit $?;; esac\nexec {restic} \"$@\""
    );
    w.wrap("restic", &quiet);
    insta::assert_snapshot!(told(&w, &[], "SNAPSHOT_UNPROVEN", 1, "Sync"));
    fs::remove_file(w.work.join("bin/restic")).unwrap();

    // Another process works with it, and holds the lock that retention needs.
    w.backup();
    let mut other = command("restic")
        .args(["backup", "--stdin", "--quiet", "--repo"])
        .arg(w.repository.path())
        .env("RESTIC_PASSWORD", REPOSITORY_PASSWORD)
        .env("RESTIC_CACHE_DIR", w.work.join("other-cache"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let locks = w.repository.path().join("locks");
    assert!(wait_until(|| fs::read_dir(&locks).unwrap().next().is_some()));
    let text = told(&w, &[], "REPO_LOCKED", 1, "Prune");
    let _ = other.kill();
    let _ = other.wait();
    let text = without(&text, "locked by PID ", " (the snapshot");
    insta::assert_snapshot!(without(&text, "(the snapshot ", " is safe"));
    w.backup();

    // A file of it is not what it was.
    let index = fs::read_dir(w.repository.path().join("index")).unwrap();
    for file in index.filter_map(Result::ok) {
        let mut bytes = fs::read(file.path()).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(file.path(), bytes).unwrap();
    }
    fs::remove_dir_all(w.work.join("home/cache")).unwrap_or_default();
    let text = told(&w, &[], "REPO_CORRUPT", 1, "Sync");
    assert!(text.contains("restic check"), "{text}");
}

#[test]
fn disks_that_do_not_take_it() {
    let server = postgres();
    let mut w = World::new();
    w.project()["database"] = postgres_database(&server, 60_000);
    w.project()["compression"] = json!({"enabled": false});
    // As a FAT file system does, with a smaller limit.
    let limited = "trap '' XFSZ; ulimit -f 1024; exec \"$@\"";
    let text = told(&w, &["sh", "-c", limited, "sh"], "FS_FILE_TOO_LARGE", 1, "Dump");
    insta::assert_snapshot!(without(&text, "shop_backup_", ".dump"));
    assert_eq!(w.dumps(), [""; 0]);

    let mut w = World::with_sqlite();
    let dir = w.work.dir("state/shop");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o500)).unwrap();
    w.env.insert("BACKUP_BASE_DIR".into(), w.work.join("state").display().to_string());
    let out = as_nobody_special(&w, &["run", "shop"]);
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    // Not even the lock can be made.
    assert!(out.stderr.contains("error[PATH_NOT_WRITABLE]:"), "{}", out.stderr);
    assert_eq!(out.code, 1, "{}", out.stderr);
    w.backup();
}

/// Root writes everywhere, unless it gives that right away.
fn as_nobody_special(w: &World, args: &[&str]) -> Output {
    let root = rustix::process::geteuid().is_root();
    let prefix: &[&str] =
        if root { &["setpriv", "--bounding-set=-dac_override,-dac_read_search"] } else { &[] };
    w.finish(Running::start(w.prefixed(prefix, args)))
}

#[test]
fn keys_that_are_missing_or_too_old() {
    let mut w = World::with_sqlite();
    let file = w.work.join("recipients.txt");
    w.project()["encryption"] = json!({"enabled": true, "type": "age", "recipients_file": file});
    insta::assert_snapshot!(told(&w, &[], "ENCRYPTION_KEY_MISSING", 1, "Encrypt"));

    let home = GpgHome::start();
    let fingerprint = home.expired_key("Old <old@example.org>");
    w.env.insert("GNUPGHOME".into(), home.path().display().to_string());
    w.project()["encryption"] =
        json!({"enabled": true, "type": "gpg", "recipient": "old@example.org"});
    let text = told(&w, &[], "ENCRYPTION_KEY_EXPIRED", 1, "Encrypt");
    insta::assert_snapshot!(text.replace(&fingerprint, "[FINGERPRINT]"));
    assert_eq!(w.dumps(), [""; 0], "nothing is left unencrypted");
}

#[test]
fn a_database_that_does_not_answer() {
    let server = Postgres::start();
    let w = World::with_postgres(&server);
    server.freeze();
    let text = told(&w, &[], "DB_TIMEOUT", 4, "Dump");
    server.thaw();
    let text = without(&text, "database ", " at 127");
    insta::assert_snapshot!(text.replace(&server.port().to_string(), "[PORT]"));
    w.backup();
}

/// A message of a newer version, or of a wrapper: nobody knows it, and it is shown all the same.
#[test]
fn words_that_nobody_has_heard_before_are_shown() {
    const WORDS: &str = "the quux of the frobnicator is 37 cm too long";
    let w = World::new();
    let restic = real("restic").display().to_string();
    let at = |command: &str, status: u8| {
        format!(
            "case \" $* \" in *' {command} '*) echo first; echo '{WORDS}' >&2; exit {status};; esac\n\
             exec {restic} \"$@\""
        )
    };
    for (command, status, code, exit, stage) in [
        ("backup", 1, "SNAPSHOT_UNPROVEN", 1, "Sync"),
        ("backup", 37, "SNAPSHOT_UNPROVEN", 1, "Sync"),
        ("forget", 1, "REPO_UNREACHABLE", 4, "Prune"),
    ] {
        w.wrap("restic", &at(command, status));
        let text = told(&w, &[], code, exit, stage);
        assert!(text.contains(WORDS) && text.contains(&format!("exit status {status}")), "{text}");
    }
    fs::remove_file(w.work.join("bin/restic")).unwrap();

    let server = postgres();
    let w = World::with_postgres(&server);
    w.wrap(
        "pg_dump",
        &format!(
            "case \"$*\" in *--version*) exec {} \"$@\";; esac\necho '{WORDS}' >&2; exit 5",
            real("pg_dump").display()
        ),
    );
    let out = w.run(&["run", "shop"]);
    let record = w.records().swap_remove(0);
    let error = &record["error"];
    let code = words(error, "code");
    let text = told_by(&w, &out, code, out.code, "Dump");
    assert!(text.contains(WORDS) && text.contains("exit status 5"), "{text}");

    let mut w = World::with_sqlite();
    w.project()["hooks"] = json!({"pre_backup": format!("echo '{WORDS}' >&2; exit 9")});
    insta::assert_snapshot!(told(&w, &[], "HOOK_FAILED", 1, "PreHook"));
}

/// Neither changes the run; both are in its record and in the log by their codes.
#[test]
fn notices_and_heartbeats_that_are_not_taken() {
    let w = World::new();
    w.receiver.reply_always(Reply::status(503));
    let record = w.backup();
    let message = |stage: &str| {
        let stages = record["stages"].as_array().unwrap();
        let stage = stages.iter().find(|s| s["stage"] == stage).unwrap();
        assert_eq!(stage["outcome"], "failed", "{stage:#}");
        words(stage, "message").to_owned()
    };
    let port = w.receiver.port().to_string();
    let text = format!("{}\n{}", message("Notify"), message("Heartbeat"));
    insta::assert_snapshot!(masked(&w, &text).replace(&port, "[PORT]"));
    let log: String = w
        .work
        .names("logs")
        .iter()
        .map(|n| fs::read_to_string(w.work.join("logs").join(n)).unwrap())
        .collect();
    for code in ["NOTIFY_FAILED", "HEARTBEAT_FAILED"] {
        assert!(log.contains(&format!("error.code={code}")), "{code} is not in the log:\n{log}");
    }
    let out = w.run(&["recover"]);
    assert!(out.expect(1).stderr.contains("503"), "{}", out.stderr);
    w.receiver.reply_always(Reply::status(200));
}

#[test]
fn an_audit_that_is_down_ends_what_is_about_the_audit() {
    let mut w = World::new();
    let port = free_port();
    w.config["audit"] =
        json!({"url": format!("postgres://u:{DATABASE_PASSWORD}@127.0.0.1:{port}/a")});
    let mut texts = BTreeSet::new();
    for args in
        [&["logs", "shop"][..], &["status"], &["status", "shop"], &["logs", "--run", "0123"]]
    {
        let out = w.run(args);
        out.expect(4);
        assert!(out.stderr.contains("error[AUDIT_UNAVAILABLE]:"), "{}", out.stderr);
        let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        let error = w.run(&args).expect(4).json()["error"].clone();
        assert_eq!(error["code"], "AUDIT_UNAVAILABLE");
        assert!(out.stderr.contains(words(&error, "message")), "{}", out.stderr);
        let text = format!("{}\nfix: {}", words(&error, "message"), words(&error, "remedy"));
        texts.insert(text.replace(&port.to_string(), "[PORT]"));
    }
    insta::assert_snapshot!(texts.into_iter().collect::<Vec<_>>().join("\n"));
    // A backup is not about the audit.
    let run = w.run(&["run", "shop", "--json"]);
    assert_eq!(run.expect(0).json()["status"], "success");
}

#[test]
fn bad_usage_is_a_document_too() {
    let w = World::new();
    let mut told = String::new();
    for args in [
        &["--json"][..],
        &["--json", "backup"],
        &["snapshot", "--json"],
        &["run", "--json"],
        &["run", "shop", "--all", "--json"],
        &["run", "shop", "--fast", "--json"],
        &["run", "shop", "more", "--json"],
        &["run", "shop", "--json", "--json-stream"],
        &["run", "--json-stream"],
        &["logs", "--json"],
        &["logs", "shop", "--last", "few", "--json"],
        &["logs", "shop", "--last", "--json"],
        &["logs", "--run", "0123", "shop", "--json"],
        &["restore", "shop", "--json"],
        &["restore", "shop", "latest", "/tmp/x", "--only", "everything", "--json"],
        &["config", "--json"],
        &["config", "shw", "--json"],
        &["completions", "klingon", "--json"],
    ] {
        let out = w.run(args);
        let error = out.expect(3).json()["error"].clone();
        assert_eq!((&error["code"], &error["stage"]), (&json!("INVALID_CONFIG"), &Value::Null));
        assert_eq!(out.stderr, "", "{args:?}");
        told.extend([&args.join(" "), "\n    ", words(&error, "message"), "\n"]);
        assert!(words(&error, "remedy").contains("--help"));
    }
    insta::assert_snapshot!(told);
}
