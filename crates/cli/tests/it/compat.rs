//! Moving over from the tool that backupctl replaces: its two files, its repositories and its audit
//! database, as `docs/guides/migrating.md` says it.

use std::fs;
use std::path::Path;

use backupctl_testkit::mongo_archive::{MongoArchive, document};
use backupctl_testkit::services::{
    GpgHome, MariaDb, Mongodump, Postgres, Reply, Repository, Request, SmtpSink, SmtpTls, Sshd,
};
use serde_json::{Value, json};

use super::support::{
    DATABASE_PASSWORD, PUSH_TOKEN, REPOSITORY_PASSWORD, World, command, postgres,
    postgres_database, sshd, words,
};

const PROJECTS: &str = include_str!("../../../../docs/guides/migrating/projects.yml");
const VARIABLES: &str = include_str!("../../../../docs/guides/migrating/.env.example");
const GUIDE: &str = include_str!("../../../../docs/guides/migrating.md");
const DEFAULT_PASSWORD: &str = "default-password-3c11";

/// A text with changes, each of which must be to something.
fn changed(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "the example has no {from:?}");
        text.replace(from, to)
    })
}

/// The two files of the example where that tool has them, with this machine's addresses in place of
/// the example's.
struct Migrated {
    world: World,
    keys: GpgHome,
    _keyring: GpgHome,
    audit: String,
}

impl Migrated {
    fn new(ssh: &Sshd, server: &Postgres) -> Self {
        let mut w = World::new();
        w.config = Value::Null;
        let keys = GpgHome::start();
        let keyring = GpgHome::start();
        let key = keys.key("Backup of the shop <shop-backup@example.com>");
        w.work.file("gpg-keys/shop.asc", keys.public_key(&key));
        w.env.insert("GNUPGHOME".into(), keyring.path().display().to_string());
        for name in ["BACKUP_RETRY_COUNT", "BACKUP_RETRY_DELAY_MS"] {
            w.env.remove(name);
        }

        let database = postgres_database(server, 1000);
        let name = words(&database, "name").to_owned();
        let audit = format!("audit_{name}");
        server.create_role(&audit, DATABASE_PASSWORD);
        server.create_database(&audit, &audit);
        let port = server.port().to_string();
        let root = ssh.root().join(w.work.path().file_name().unwrap());
        fs::create_dir_all(&root).unwrap();
        for path in
            ["shop/uploads/a.txt", "shop/assets/b.txt", "static/uploads/c.txt", "crm/storage/d.txt"]
        {
            w.work.file(Path::new("data").join(path), path);
        }
        w.work.dir("data/static/documents");

        let projects = changed(
            PROJECTS,
            &[
                (
                    "host: postgres-shop\n      port: 5432",
                    &format!("host: 127.0.0.1\n      port: {port}"),
                ),
                (
                    "name: shop_db\n      user: backup_user",
                    &format!("name: {name}\n      user: {name}"),
                ),
                ("/data/", &format!("{}/", w.work.join("data").display())),
                ("repository_path: backups/", &format!("repository_path: {}/", root.display())),
                ("http://shop-app:3000", &w.receiver.base_url()),
                (
                    "https://hooks.slack.com/services/T000/B000/shop",
                    &w.receiver.url("/slack-of-shop"),
                ),
                ("shoppushtoken", PUSH_TOKEN),
            ],
        );
        let variables = changed(
            VARIABLES,
            &[
                (
                    "BACKUP_BASE_DIR=/data/backups",
                    &format!("BACKUP_BASE_DIR={}", w.work.join("state").display()),
                ),
                (
                    "LOG_DIR=/data/backups/.logs",
                    &format!("LOG_DIR={}", w.work.join("logs").display()),
                ),
                (
                    "AUDIT_DB_HOST=backupctl-audit-db\nAUDIT_DB_PORT=5432",
                    &format!("AUDIT_DB_HOST=127.0.0.1\nAUDIT_DB_PORT={port}"),
                ),
                ("backup_audit\n", &format!("{audit}\n")),
                ("audit_user\n", &format!("{audit}\n")),
                ("audit-secret", DATABASE_PASSWORD),
                ("u123456.your-storagebox.de", "127.0.0.1"),
                ("HETZNER_SSH_USER=u123456", &format!("HETZNER_SSH_USER={}", ssh.user())),
                ("HETZNER_SSH_PORT=23", &format!("HETZNER_SSH_PORT={}", ssh.port())),
                ("/home/node/.ssh/id_ed25519", &ssh.key_path().display().to_string()),
                ("default-repository-secret", DEFAULT_PASSWORD),
                (
                    "https://hooks.slack.com/services/T000/B000/default",
                    &w.receiver.url("/slack-of-all"),
                ),
                ("/app/gpg-keys", &w.work.join("gpg-keys").display().to_string()),
                ("https://kuma.example.com", &w.receiver.base_url()),
                ("shop-db-secret", DATABASE_PASSWORD),
                ("shop-repository-secret", REPOSITORY_PASSWORD),
                ("HEALTH_DISK_MIN_FREE_GB=5", "HEALTH_DISK_MIN_FREE_GB=0.1"),
                ("BACKUP_RETRY_COUNT=3", "BACKUP_RETRY_COUNT=0"),
            ],
        ) + &format!("SSH_KNOWN_HOSTS_PATH={}\n", ssh.known_hosts_path().display());
        w.work.file("etc/config/projects.yml", projects);
        let env = w.work.file("etc/.env", variables);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(env, mode).unwrap();
        Repository::fresh_at(&root.join("shop"), REPOSITORY_PASSWORD);
        for name in ["crm", "analytics", "static-files"] {
            Repository::fresh_at(&root.join(name), DEFAULT_PASSWORD);
        }
        // As Slack answers.
        w.receiver.reply_always(Reply::Status(200, "ok".to_owned()));
        Self { world: w, keys, _keyring: keyring, audit }
    }

    /// Changes more of one of the two files.
    fn change(&self, file: &str, changes: &[(&str, &str)]) {
        let path = self.world.work.join("etc").join(file);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, changed(&text, changes)).unwrap();
    }
}

#[test]
fn the_files_of_the_tool_before_are_valid_shown_and_checked() {
    let (ssh, server) = (sshd(), postgres());
    let m = Migrated::new(&ssh, &server);
    let w = &m.world;
    let out = w.run(&["config", "validate", "--json"]);
    let document = out.expect(0).json();
    assert_eq!(document["errors"], json!([]));
    let warnings = document["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert_eq!((&warnings[0]["key"], &warnings[0]["line"]), (&json!("docker_network"), &json!(9)));
    let names: Vec<&str> =
        document["projects"].as_array().unwrap().iter().map(|p| words(p, "project")).collect();
    assert_eq!(names, ["shop", "crm", "analytics", "static-files"]);

    for name in names {
        let shown = w.run(&["config", "show", name]);
        let text = &shown.expect(0).stdout;
        assert!(text.contains("password: '***'") || text.contains("password: \"***\""), "{text}");
        for secret in [DEFAULT_PASSWORD, "crm-db-secret", "analytics-db-secret", "email-secret"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    let shop = w.json(&["config", "show", "shop", "--json"]);
    assert_eq!(shop["notification"][0]["config"]["webhook_url"], "***");
    assert_eq!(shop["encryption"]["type"], "gpg");

    // The key of the folder is imported by the first run; a dry run changes nothing.
    let dry = w.run(&["run", "shop", "--dry-run", "--json"]);
    let checks = dry.expect(1).json();
    let failing: Vec<&Value> =
        checks["checks"].as_array().unwrap().iter().filter(|c| c["outcome"] == "fail").collect();
    assert_eq!(failing.len(), 1, "{checks:#}");
    assert_eq!(failing[0]["code"], "ENCRYPTION_KEY_MISSING");
    w.run(&["config", "import-gpg-key", &w.work.join("gpg-keys/shop.asc").display().to_string()])
        .expect(0);
    w.run(&["run", "shop", "--dry-run"]).expect(0);
    w.run(&["run", "static-files", "--dry-run"]).expect(0);
    assert!(!w.state("shop").exists(), "a dry run writes nothing");
}

#[test]
fn the_files_of_the_tool_before_are_run() {
    let (ssh, server) = (sshd(), postgres());
    let m = Migrated::new(&ssh, &server);
    let w = &m.world;
    // The table of the tool before, in the same database.
    let old =
        "CREATE TABLE backup_log (id uuid, project_name varchar); CREATE TABLE migrations (id int);
               INSERT INTO backup_log VALUES (gen_random_uuid(), 'shop')";
    server.psql_as(&m.audit, &m.audit, old);

    // What it could not deliver, in its own form.
    let waiting = "{\"id\":\"1\",\"type\":\"audit\",\"payload\":{\"runId\":\"2\"},\"timestamp\":\"2026-03-18T00:00:05.000Z\"}\n\
                   {\"id\":\"3\",\"type\":\"notification\",\"payload\":{\"notificationType\":\"slack\"},\"timestamp\":\"2026-03-18T00:00:05.000Z\"}\n";
    w.work.file("state/.fallback-audit/fallback.jsonl", waiting);

    let record = w.run(&["run", "shop", "--json"]).expect(0).json();
    assert_eq!(record["status"], "success", "{record:#}");
    let tags = &record["snapshots"][0]["tags"];
    assert_eq!(tags, &json!(["backupctl:combined", "project:shop"]));
    let requests = w.receiver.requests();
    let paths: Vec<&str> = requests.iter().map(Request::path).collect();
    let push = format!("/api/push/{PUSH_TOKEN}");
    assert_eq!(
        paths,
        ["/slack-of-shop", "/maintenance/on", "/maintenance/off", "/slack-of-shop", &push]
    );

    let rejected = fs::read_to_string(w.state(".fallback-audit/fallback.rejected.jsonl")).unwrap();
    assert_eq!(rejected.lines().count(), 2, "{rejected}");

    // The dump of the snapshot is for the key's owner alone.
    let target = w.work.join("restored");
    w.run(&["restore", "shop", "latest", &target.display().to_string(), "--only", "db"]).expect(0);
    let file = w.work.names("restored").remove(0);
    assert!(file.ends_with(".dump.zst.gpg"), "{file}");
    let plain = w.work.join("plain.zst");
    m.keys.gpg(&[
        "--output",
        &plain.display().to_string(),
        "--decrypt",
        &target.join(file).display().to_string(),
    ]);
    let list = format!("zstd -q -d -c '{}' | pg_restore --list", plain.display());
    let list = command("sh").args(["-c", &list]).output().unwrap();
    assert!(String::from_utf8_lossy(&list.stdout).contains("orders"), "{list:?}");

    let files = w.run(&["run", "static-files", "--json"]).expect(0).json();
    assert_eq!(files["dump"], Value::Null);
    let newest = w.receiver.requests().last().unwrap().path().to_owned();
    assert_eq!(newest, "/slack-of-all");

    // One database for both, each with tables of its own.
    let rows = |table: &str| {
        server
            .psql_as(&m.audit, &m.audit, &format!("SELECT count(*) FROM {table}"))
            .trim()
            .to_owned()
    };
    assert_eq!((rows("backup_runs"), rows("backup_log")), ("2".to_owned(), "1".to_owned()));
    assert_eq!(w.json(&["logs", "shop", "--json"])["runs"].as_array().unwrap().len(), 1);
}

/// The two engines whose servers are not the one of PostgreSQL: e-mail and separate snapshots for the
/// one, nothing but what `.env` says for the other.
#[test]
fn mysql_and_mongodb_of_the_files_are_run() {
    let (ssh, server) = (sshd(), postgres());
    let mut m = Migrated::new(&ssh, &server);
    let mariadb = MariaDb::start();
    mariadb.create_database("crm_db");
    mariadb.sql_in("crm_db", "create table people (id int); insert into people values (17), (4)");
    mariadb.create_user("backup_user", DATABASE_PASSWORD, &["all on crm_db.*"]);
    let mails = SmtpSink::start(SmtpTls::Implicit);
    mails.require_login("backup@example.com", "email-secret");
    let authority = m.world.work.file("authority.pem", mails.authority());
    m.world.env.insert("SSL_CERT_FILE".into(), authority.display().to_string());
    let archive = MongoArchive::new().collection(
        "analytics_db",
        "visits",
        (0..50).map(|i| document(i, &format!("visit {i}"))),
    );
    let mongodump = Mongodump::install(&archive);
    let stand_in = mongodump.bin().join("mongodump");
    m.world.wrap("mongodump", &format!("exec '{}' \"$@\"", stand_in.display()));
    m.change(
        "config/projects.yml",
        &[
            (
                "host: mysql-crm\n      port: 3306",
                &format!("host: 127.0.0.1\n      port: {}", mariadb.port()),
            ),
            (
                "smtp_host: smtp.example.com\n        smtp_port: 587",
                &format!("smtp_host: {}\n        smtp_port: {}", mails.host(), mails.port()),
            ),
            (
                "host: mongo-analytics\n      port: 27017\n      name: analytics_db\n      user: \
                 backup_user",
                &format!(
                    "host: 127.0.0.1\n      port: {}\n      name: analytics_db\n      user: {}",
                    mongodump.port(),
                    Mongodump::USER
                ),
            ),
        ],
    );
    m.change(
        ".env",
        &[("crm-db-secret", DATABASE_PASSWORD), ("analytics-db-secret", Mongodump::PASSWORD)],
    );
    let w = &m.world;
    for name in ["crm", "analytics"] {
        w.run(&["run", name, "--dry-run"]).expect(0);
    }

    let record = w.run(&["run", "crm", "--json"]).expect(0).json();
    let storage = w.work.join("data/crm/storage").display().to_string();
    let tags: Vec<&Value> =
        record["snapshots"].as_array().unwrap().iter().map(|s| &s["tags"]).collect();
    assert_eq!(
        tags,
        [
            &json!(["backupctl:db", "project:crm"]),
            &json!([format!("backupctl:assets:{storage}"), "project:crm"])
        ]
    );
    assert_eq!(mails.mails().len(), 2, "one when it begins and one at its end");
    let target = w.work.join("crm");
    w.run(&[
        "restore",
        "crm",
        "latest",
        &target.display().to_string(),
        "--only",
        "db",
        "--decompress",
    ])
    .expect(0);
    let text = fs::read_to_string(target.join(w.work.names("crm").remove(0))).unwrap();
    assert!(text.contains("INSERT INTO `people` VALUES"), "{text}");

    let record = w.run(&["run", "analytics", "--json"]).expect(0).json();
    let file = words(&record["dump"], "file");
    assert!(file.ends_with(".archive.zst"), "{file}");
    let slack = w.receiver.requests().iter().filter(|r| r.path() == "/slack-of-all").count();
    assert_eq!(slack, 2);
}

/// What the guide says of the snapshots that are there already.
#[test]
fn snapshots_of_the_tool_before_are_listed_restored_and_pruned() {
    let mut w = World::with_sqlite();
    w.project()["retention"] = json!({"local_days": 7, "keep_daily": 3});
    let folder = w.project()["assets"]["paths"][0].clone();
    let dump = |day: u32| format!("old/shop/shop_backup_202603{day:02}_000005.sql.gz");
    for day in 1..=9 {
        let plain = w.work.file(format!("old/{day}.sql"), format!("-- day {day}\n"));
        let packed = w.work.join(dump(day));
        fs::create_dir_all(packed.parent().unwrap()).unwrap();
        let pack = format!("gzip -c '{}' > '{}'", plain.display(), packed.display());
        assert!(command("sh").args(["-c", &pack]).status().unwrap().success());
        w.restic(&[
            "backup",
            "--quiet",
            "--host",
            "3f2a1b9c0d4e",
            "--time",
            &format!("2026-03-{day:02} 00:00:05"),
            "--tag",
            "backupctl:combined",
            "--tag",
            "project:shop",
            &packed.display().to_string(),
            folder.as_str().unwrap(),
        ]);
    }
    // Somebody else's, in the same repository.
    w.restic(&["backup", "--quiet", "--tag", "other", folder.as_str().unwrap()]);

    let list = w.json(&["snapshots", "shop", "--json"]);
    let list = list["snapshots"].as_array().unwrap().clone();
    assert_eq!(list.len(), 9);
    let third = list.iter().find(|s| words(s, "time").starts_with("2026-03-03")).unwrap();
    let id = words(third, "short_id").to_owned();
    let target = w.work.join("back");
    let out = w.run(&[
        "restore",
        "shop",
        &id,
        &target.display().to_string(),
        "--only",
        "db",
        "--decompress",
    ]);
    out.expect(0);
    assert_eq!(w.work.names("back"), ["shop_backup_20260303_000005.sql"]);
    let text = fs::read_to_string(target.join("shop_backup_20260303_000005.sql")).unwrap();
    assert_eq!(text, "-- day 3\n");
    let whole = w.work.join("whole");
    w.run(&["restore", "shop", &id, &whole.display().to_string()]).expect(0);
    assert!(whole.join("shop_backup_20260303_000005.sql.gz").exists());

    // The first run applies the retention, to them as well: the tool before never removed any.
    w.backup();
    let left = w.json(&["snapshots", "shop", "--json"]);
    let left: Vec<&str> = left["snapshots"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| &words(s, "time")[..10])
        .skip(1)
        .collect();
    assert_eq!(left, ["2026-03-09", "2026-03-08"]);
    assert!(w.restic(&["snapshots", "--tag", "other"]).contains("1 snapshots"));
    // Its local dumps are not ours to remove.
    assert_eq!(w.work.names("old/shop").len(), 9);
}

/// The guide shows what this prints.
#[test]
fn the_same_file_with_mistakes_is_told_as_the_guide_shows_it() {
    let mut w = World::new();
    w.config = Value::Null;
    let mistakes = [
        ("cron: '0 0 * * *'", "cron: '0 0 * *'"),
        ("timeout_minutes: 30", "timout_minutes: 30"),
        ("port: 5432", "port: default"),
        ("${SHOP_DB_PASSWORD}", "${SHOP_DB_PASWORD}"),
        ("snapshot_mode: separate", "snapshot_mode: seperate"),
        ("type: email", "type: e-mail"),
        ("name: static-files", "name: analytics"),
    ];
    w.work.file("etc/config/projects.yml", changed(PROJECTS, &mistakes));
    w.work.file("etc/.env", VARIABLES);
    let out = w.run(&["config", "validate"]);
    out.expect(3);
    let etc = w.work.join("etc").display().to_string();
    let told: Vec<String> = out
        .stderr
        .lines()
        .filter(|l| l.starts_with("error["))
        .map(|l| l.replace(&etc, "/opt/backupctl"))
        .collect();
    assert_eq!(told.len(), 8, "{told:#?}");
    for line in told {
        assert!(GUIDE.contains(&line), "the guide does not show: {line}");
    }
    let one = w.run(&["run", "crm", "--json"]);
    assert_eq!(one.expect(3).json()["error"]["code"], "INVALID_CONFIG");
}
