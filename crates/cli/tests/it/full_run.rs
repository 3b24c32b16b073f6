//! The whole way of a backup with everything switched on, and back.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use age::secrecy::ExposeSecret;
use backupctl_testkit::services::Repository;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::support::{
    DATABASE_PASSWORD, HOOK_TOKEN, PUSH_TOKEN, REPOSITORY_PASSWORD, STAGES, World, command,
    postgres, postgres_database, real, sshd, words,
};

/// A size as texts carry it.
fn size(bytes: &Value) -> String {
    let bytes = bytes.as_f64().unwrap();
    if bytes < 1024.0 { format!("{bytes} B") } else { format!("{:.1} KB", bytes / 1024.0) }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story from configuration to restored rows")]
fn a_database_goes_to_a_server_encrypted_and_comes_back_with_every_row() {
    let (server, ssh) = (postgres(), sshd());
    let mut w = World::new();
    let database = postgres_database(&server, 2500);
    let repository = ssh.root().join(database["name"].as_str().unwrap());
    let repository = Repository::fresh_at(&repository, REPOSITORY_PASSWORD);
    let identity = age::x25519::Identity::generate();
    let key = w.work.file("etc/identity.txt", identity.to_string().expose_secret());
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    w.work.file("assets/config/app.ini", "[app]\n");
    // Every start of a wrapped program is noted with its arguments.
    for program in ["restic", "pg_dump", "pg_restore", "ssh"] {
        let (log, real) = (w.work.join("argv.log"), real(program));
        w.wrap(
            program,
            &format!("echo \"$0 $*\" >> {0}\nexec {1} \"$@\"", log.display(), real.display()),
        );
    }
    w.config = Value::Null;
    let dir = w.work.path().display();
    let (name, port) = (database["name"].as_str().unwrap(), &database["port"]);
    w.work.file(
        "etc/.env",
        format!(
            "SHOP_DB_PASSWORD={DATABASE_PASSWORD}\nRESTIC_PASSWORD={REPOSITORY_PASSWORD}\n\
             PUSH_TOKEN={PUSH_TOKEN}\nWEBHOOK_URL={}\nTIMEZONE=Europe/Berlin\n",
            w.receiver.url(&format!("/{HOOK_TOKEN}"))
        ),
    );
    w.work.file(
        "etc/backupctl.yml",
        format!(
            "base_dir: {dir}/state
min_free_gb: 0.01
uptime_kuma_base_url: {kuma}
log: {{ dir: {dir}/logs, level: debug }}
ssh:
  host: 127.0.0.1
  port: {ssh_port}
  user: {ssh_user}
  key_path: {ssh_key}
  known_hosts_path: {known_hosts}
projects:
  - name: shop
    cron: \"0 3 * * *\"
    database:
      type: postgres
      host: 127.0.0.1
      port: {port}
      name: {name}
      user: {name}
      password: ${{SHOP_DB_PASSWORD}}
    assets:
      paths: [{dir}/assets/uploads, {dir}/assets/config]
    restic:
      repository_path: {repository}
    encryption:
      enabled: true
      type: age
      recipient: {recipient}
      identity_file: {key}
    hooks:
      pre_backup: 'echo \"pre $BACKUPCTL_PROJECT $BACKUPCTL_STATUS $BACKUPCTL_STAGE\" >> {dir}/hooks.log'
      post_backup: 'echo \"post $BACKUPCTL_RUN_ID $BACKUPCTL_STATUS $BACKUPCTL_DUMP_FILE\" >> {dir}/hooks.log'
    notification: {{ type: webhook, config: {{ url: \"${{WEBHOOK_URL}}\" }} }}
    monitor: {{ type: uptime-kuma, config: {{ push_token: \"${{PUSH_TOKEN}}\" }} }}
",
            kuma = w.receiver.base_url(),
            ssh_port = ssh.port(),
            ssh_user = ssh.user(),
            ssh_key = ssh.key_path().display(),
            known_hosts = ssh.known_hosts_path().display(),
            repository = repository.path().display(),
            recipient = identity.to_public(),
            key = key.display(),
        ),
    );

    let done = w.run(&["run", "shop"]);
    done.expect(0);
    let record = w.records().swap_remove(0);
    let uuid = words(&record, "run_id");
    let run = &uuid[..8];
    let started: Timestamp = words(&record, "started_at").parse().unwrap();
    let started = started.to_zoned(TimeZone::get("Europe/Berlin").unwrap());

    // Files on disk.
    let dump = started.strftime("shop_backup_%Y%m%d_%H%M%S").to_string();
    let dump = format!("{dump}_{run}.dump.zst.age");
    assert_eq!(w.dumps(), [&*dump]);
    let file = w.state("shop").join(&dump);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(&w.state("shop"))), (0o600, 0o700));
    assert_eq!(record["dump"]["file"], json!(file));
    assert_eq!(record["dump"]["bytes"], fs::metadata(&file).unwrap().len());

    // What people and machines were told.
    let snapshot = &words(&record["snapshots"][0], "id")[..8];
    let seconds = record["duration"].as_f64().unwrap().floor();
    let requests = w.receiver.requests();
    assert_eq!(requests.len(), 3, "{requests:#?}");
    let events = w.events();
    let texts: Vec<&str> = events.iter().map(|e| words(e, "text")).collect();
    assert_eq!(
        texts,
        [
            format!(
                "🔄 Backup started for shop\nRun ID: {run}\nTime: {} (Europe/Berlin)",
                started.strftime("%Y-%m-%d %H:%M:%S")
            ),
            format!(
                "✅ Backup completed for shop\nRun ID: {run}\nDuration: {seconds}s\nDump size: {}\n\
                 Snapshot: {snapshot}{}",
                size(&record["dump"]["bytes"]),
                match &record["repository_bytes"] {
                    Value::Null => String::new(),
                    bytes => format!("\nRepository size: {}", size(bytes)),
                }
            ),
        ]
    );
    for (event, (kind, status)) in
        events.iter().zip([("backup_started", "started"), ("backup_success", "success")])
    {
        let keys: Vec<&String> = event.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["event", "project", "text", "data"]);
        assert_eq!((&event["event"], &event["project"]), (&json!(kind), &json!("shop")));
        let data = &event["data"];
        assert_eq!(data["runId"], run);
        assert_eq!(data["runUuid"], uuid);
        assert_eq!(data["project"], "shop");
        assert_eq!(data["status"], status);
        assert_eq!(data["startedAt"], record["started_at"]);
    }
    for key in ["duration", "dumpSize", "snapshotId", "repositorySize", "finishedAt"] {
        assert_eq!(events[0]["data"].get(key), Some(&Value::Null), "{key}");
    }
    let data = &events[1]["data"];
    assert_eq!(data["dumpSize"], record["dump"]["bytes"]);
    assert_eq!(data["snapshotId"], snapshot);
    assert_eq!(data["finishedAt"], record["finished_at"]);
    assert_eq!(requests[2].method, "GET");
    assert_eq!(requests[2].path(), format!("/api/push/{PUSH_TOKEN}"));
    assert_eq!(requests[2].query("status").unwrap(), "up");
    assert!(requests[2].query("ping").unwrap().parse::<u64>().unwrap() > 0);

    // What is in the repository.
    let listed = repository.restic(&["snapshots", "--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["tags"], json!(["backupctl:combined", "project:shop"]));
    let inside = repository.restic(&["ls", "latest"]);
    let files = inside.lines().filter(|l| l.starts_with('/'));
    let dumps: Vec<&str> = files.filter(|l| l.contains("shop_backup_")).collect();
    assert_eq!(dumps, [file.to_str().unwrap()]);
    assert!(inside.contains("/assets/uploads/deep/two.txt"), "{inside}");
    assert!(inside.contains("/assets/config/app.ini"), "{inside}");

    // The record.
    let stages: Vec<&str> =
        record["stages"].as_array().unwrap().iter().map(|s| words(s, "stage")).collect();
    assert_eq!(stages, STAGES);
    let shown = w.run(&["logs", "--run", run]);
    for (number, stage) in (1..).zip(&STAGES[..11]) {
        let row =
            shown.stdout.lines().find(|l| l.split_whitespace().nth(1) == Some(*stage)).unwrap();
        let cells: Vec<&str> = row.split_whitespace().take(3).collect();
        assert_eq!(cells, [&*number.to_string(), *stage, "ok"]);
    }
    let hooks = fs::read_to_string(w.work.join("hooks.log")).unwrap();
    assert_eq!(
        hooks,
        format!("pre shop started PreHook\npost {uuid} success {}\n", file.display())
    );

    // Arguments are for everybody to see.
    let argv = fs::read_to_string(w.work.join("argv.log")).unwrap();
    for program in ["restic", "pg_dump", "ssh"] {
        assert!(argv.contains(&format!("bin/{program} ")), "{argv}");
    }
    for secret in [DATABASE_PASSWORD, REPOSITORY_PASSWORD, HOOK_TOKEN, PUSH_TOKEN] {
        assert!(!argv.contains(secret), "{argv}");
    }

    // The way back.
    let target = w.work.join("back");
    let target = target.to_str().unwrap();
    let back =
        w.json(&["restore", "shop", "latest", target, "--only", "db", "--decompress", "--json"]);
    assert_eq!(back["checksum_proven"], true);
    let plain = words(&back, "dump");
    assert_eq!(plain.split_once(".dump").unwrap().1, "", "neither packed nor encrypted");
    assert_eq!(w.work.names("back").len(), 1);
    let restored = format!("{name}_back");
    server.create_database(&restored, name);
    let status = command(real("pg_restore").to_str().unwrap())
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", name, "-d", &restored])
        .args(["--exit-on-error", plain])
        .env("PGPASSWORD", DATABASE_PASSWORD)
        .status()
        .unwrap();
    assert!(status.success());
    let count = |db: &str| {
        server.psql_in(
            db,
            "SELECT count(*), sum(id), max(note) FROM orders; SELECT count(*) FROM customers",
        )
    };
    assert_eq!(count(&restored), count(name));
    assert!(count(name).starts_with("2500|"));
}
