//! `systemd`: units that are installed can run and have run, or it is told why not. Each way to look
//! installed and start nothing is played.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::support::{Output, Running, World, command, words};

/// The name of whoever runs the tests.
fn me() -> String {
    let output = command("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A world whose project has a schedule, a stand-in for systemctl, and a root to install below.
struct Machine {
    world: World,
    root: PathBuf,
    systemctl: String,
}

impl Machine {
    fn new() -> Self {
        let mut world = World::new();
        world.project()["cron"] = json!("0 3 * * *");
        Self::of(world)
    }

    fn of(world: World) -> Self {
        let root = world.work.dir("image");
        let (states, log) = (world.work.dir("states"), world.work.join("systemctl.log"));
        // It says of each unit what the file of its name sets, and that all is well without one.
        world.wrap(
            "systemctl-stand-in",
            &format!(
                "case \"$*\" in *' show '*) ;; *) echo \"$@\" >> {log}; exit 0 ;; esac\n\
                 while [ \"$1\" != -- ]; do shift; done; shift\n\
                 for unit; do\n\
                 load=loaded active=active file=enabled result=success status=0\n\
                 next='Sun 2026-11-22 03:00:00 CET'\n\
                 if [ -f \"{states}/$unit\" ]; then . \"{states}/$unit\"; fi\n\
                 printf 'Id=%s\\nLoadState=%s\\nActiveState=%s\\nUnitFileState=%s\\nResult=%s\\n' \
                 \"$unit\" \"$load\" \"$active\" \"$file\" \"$result\"\n\
                 printf 'ExecMainStatus=%s\\nNextElapseUSecRealtime=%s\\n\\n' \"$status\" \"$next\"\n\
                 done",
                log = log.display(),
                states = states.display(),
            ),
        );
        let systemctl = world.work.join("bin/systemctl-stand-in").display().to_string();
        Self { world, root, systemctl }
    }

    fn args<'a>(&'a self, words: &[&'a str]) -> Vec<&'a str> {
        let root = self.root.to_str().unwrap();
        [words, &["--root", root, "--systemctl", &self.systemctl]].concat()
    }

    fn install(&self, more: &[&str]) -> Output {
        let me = me();
        let words = [&["systemd", "install", "--user", &me], more].concat();
        self.world.run(&self.args(&words))
    }

    #[track_caller]
    fn installed(self, more: &[&str]) -> Self {
        self.install(more).expect(0);
        self
    }

    fn verify(&self) -> Value {
        self.world.run(&self.args(&["systemd", "verify", "--json"])).json()
    }

    fn unit(&self, name: &str) -> PathBuf {
        self.root.join("etc/systemd/system").join(name)
    }

    fn says(&self, unit: &str, state: &str) {
        self.world.work.file(format!("states/{unit}"), state);
    }
}

/// The failures of that name, each `CODE: message`.
fn failures(document: &Value, name: &str) -> Vec<String> {
    let checks = document["checks"].as_array().unwrap();
    let failed = checks.iter().filter(|c| c["name"] == name && c["outcome"] == "fail");
    let told = failed.map(|c| {
        assert!(!words(c, "remedy").is_empty(), "{c:#}");
        format!("{}: {}", words(c, "code"), words(c, "message"))
    });
    told.collect()
}

/// The one failure of that name begins so and has this in it.
#[track_caller]
fn assert_fails(document: &Value, name: &str, code: &str, text: &str) {
    let told = failures(document, name);
    let found = told.iter().any(|t| t.starts_with(&format!("{code}: ")) && t.contains(text));
    assert!(found, "{name} does not fail with {code} and {text:?}: {document:#}");
    assert_eq!(document["verified"], false);
}

#[test]
fn what_is_installed_is_proven_once_a_run_has_succeeded() {
    for timers in [true, false] {
        let more: &[&str] = if timers { &["--timers"] } else { &[] };
        let m = Machine::new().installed(more);
        let log = fs::read_to_string(m.world.work.join("systemctl.log")).unwrap();
        let unit = if timers { "backupctl-shop.timer" } else { "backupctl.service" };
        assert!(log.contains("daemon-reload"), "{log}");
        assert!(log.contains(&format!("enable --now -- {unit} backupctl-watch.timer")), "{log}");
        let before = m.verify();
        let of = |c: &&Value| c["name"] == "freshness";
        let fresh = before["checks"].as_array().unwrap().iter().find(of).unwrap();
        assert_eq!((&fresh["outcome"], &fresh["project"]), (&json!("warn"), &json!("shop")));

        m.world.backup();
        let document = m.verify();

        assert_eq!(document["verified"], true, "{document:#}");
        let names: Vec<&str> =
            document["checks"].as_array().unwrap().iter().map(|c| words(c, "name")).collect();
        for name in
            ["systemd", "unit", "program", "path", "key", "tool", "disk", "state", "freshness"]
        {
            assert!(names.contains(&name), "{name} is not in {names:?}");
        }
        let shown = m.world.run(&m.args(&["systemd", "verify"]));
        assert!(shown.expect(0).stdout.contains("\nverified: "), "{}", shown.stdout);
    }
}

#[test]
fn installing_again_changes_nothing_and_uninstalling_leaves_nothing() {
    let m = Machine::new().installed(&["--timers"]);
    let again = m.install(&["--timers", "--json"]).expect(0).json();
    assert_eq!(again["written"], json!([]), "{again:#}");
    // The daemon takes the timers' place.
    let serve = m.install(&["--json"]).expect(0).json();
    let removed = serve["removed"].as_array().unwrap();
    assert!(removed.contains(&json!("/etc/systemd/system/backupctl-shop.timer")), "{serve:#}");
    assert!(!m.unit("backupctl-shop.timer").exists() && m.unit("backupctl.service").exists());
    let foreign = m.world.work.file("image/etc/systemd/system/other.service", "[Service]\n");

    m.world.run(&m.args(&["systemd", "uninstall"])).expect(0);

    assert!(foreign.exists());
    assert_eq!(m.world.work.names("image/etc/systemd/system"), ["other.service"]);
    assert!(!m.root.join("etc/backupctl/systemd").exists());
    let document = m.verify();
    assert_fails(&document, "unit", "DAEMON_NOT_RUNNING", "no unit of backupctl is installed");
}

#[test]
fn a_program_that_is_gone_is_told_although_the_timer_is_active() {
    let m = Machine::new();
    let copy = m.world.work.join("opt-backupctl");
    fs::copy(env!("CARGO_BIN_EXE_backupctl"), &copy).unwrap();
    // The configuration is written by this.
    let mut first = m.world.backupctl(&["config", "validate"]);
    assert!(first.output().unwrap().status.success());
    let me = me();
    let mut install = command(copy.to_str().unwrap());
    install.args(m.args(&["systemd", "install", "--timers", "--user", &me]));
    install.env_clear().envs(&m.world.env).current_dir(m.world.work.join("etc"));
    m.world.finish(Running::start(install)).expect(0);
    m.world.backup();
    fs::remove_file(&copy).unwrap();

    let document = m.verify();

    let gone = format!("starts {}, which is not there", copy.display());
    assert_fails(&document, "program", "TOOL_MISSING", &gone);
    assert_fails(&document, "unit", "INVALID_CONFIG", "ExecStart is `");
    assert_eq!(failures(&document, "state"), Vec::<String>::new(), "the timer looks well");
}

#[test]
fn a_tool_that_only_the_shell_has_is_told() {
    let m = Machine::new();
    m.world.work.dir("bare");
    let bare = m.world.work.join("bare").display().to_string();
    let m = m.installed(&["--path", &bare]);
    m.world.backup();
    let document = m.verify();
    let text = format!("restic is not in the PATH of the units, {bare}");
    assert_fails(&document, "tool", "TOOL_MISSING", &text);
}

#[test]
fn a_key_elsewhere_or_with_another_mode_is_told() {
    let mut m = Machine::new();
    let key = m.world.work.file("keys/id_ed25519", "key");
    let known = m.world.work.file("keys/known_hosts", "");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    m.world.config["ssh"] = json!({
        "host": "127.0.0.1", "key_path": key, "known_hosts_path": known,
    });
    m.world.project()["restic"] = json!({"repository_path": "backups", "password": "p"});
    let m = m.installed(&[]);
    assert_eq!(failures(&m.verify(), "key"), Vec::<String>::new());

    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let document = m.verify();
    assert_fails(&document, "key", "SSH_KEY_PERMISSIONS", "has mode 0644");
    fs::rename(&key, m.world.work.join("keys/elsewhere")).unwrap();
    assert_fails(&m.verify(), "key", "SSH_KEY_PERMISSIONS", "is not there");
    fs::remove_file(&known).unwrap();
    assert_fails(&m.verify(), "key", "SSH_HOST_KEY_UNKNOWN", "known hosts");
}

#[test]
fn a_destination_whose_disk_is_not_mounted_is_told_and_not_made() {
    let mut m = Machine::new();
    let stick = "/mnt/no-such-stick-of-the-tests/repository";
    m.world.project()["restic"]["repository"] = json!(stick);
    let output = m.install(&["--timers"]);
    assert!(output.expect(0).stderr.contains("no disk is mounted"), "{}", output.stderr);
    assert!(!Path::new(stick).exists());
    assert_fails(&m.verify(), "path", "NOT_MOUNTED", stick);
}

#[test]
fn a_folder_out_of_the_sandbox_is_told() {
    let mut m = Machine::new().installed(&[]);
    let moved = m.world.work.dir("moved");
    m.world.config["base_dir"] = json!(moved);
    let document = m.verify();
    let text = "(base_dir) is below no ReadWritePaths of backupctl";
    assert_fails(&document, "path", "PATH_NOT_WRITABLE", text);
    assert_fails(&document, "unit", "INVALID_CONFIG", "ReadWritePaths is `");
}

#[test]
fn what_systemd_says_is_told_in_words() {
    let m = Machine::new().installed(&["--timers"]);
    for (unit, state, code, text) in [
        ("backupctl-shop.timer", "active=inactive", "DAEMON_NOT_RUNNING", "it starts nothing"),
        ("backupctl-shop.timer", "file=disabled", "DAEMON_NOT_RUNNING", "not enabled"),
        ("backupctl-shop.timer", "load=not-found", "DAEMON_NOT_RUNNING", "not-found"),
        ("backupctl-shop.timer", "next=", "DAEMON_NOT_RUNNING", "no next time"),
        (
            "backupctl-shop.service",
            "active=failed result=exit-code status=203",
            "TOOL_MISSING",
            "could not be started",
        ),
        (
            "backupctl-shop.service",
            "active=failed result=exit-code status=226",
            "PATH_NOT_WRITABLE",
            "its sandbox could not be made",
        ),
        (
            "backupctl-shop.service",
            "active=inactive result=timeout status=0",
            "RUN_MISSED",
            "failed (timeout)",
        ),
    ] {
        m.says(unit, state);
        let document = m.verify();
        assert_fails(&document, "state", code, text);
        assert_eq!(failures(&document, "state").len(), 1, "{document:#}");
        fs::remove_file(m.world.work.join("states").join(unit)).unwrap();
    }
}

#[test]
fn a_daemon_that_is_down_for_good_is_told_with_the_way_back() {
    let m = Machine::new().installed(&[]);
    for (state, code, text) in [
        (
            "active=failed result=start-limit-hit status=1",
            "DAEMON_NOT_RUNNING",
            "started too often within its limit, and stays down",
        ),
        ("active=failed result=exit-code status=2", "BACKUP_IN_PROGRESS", "another daemon"),
        ("active=failed result=exit-code status=3", "INVALID_CONFIG", "cannot be used"),
    ] {
        m.says("backupctl.service", state);
        assert_fails(&m.verify(), "state", code, text);
    }
}

#[test]
fn an_edited_unit_is_kept_unless_forced() {
    let m = Machine::new().installed(&[]);
    let unit = m.unit("backupctl.service");
    let edited = fs::read_to_string(&unit).unwrap().replace("UMask=0077", "UMask=0022");
    fs::write(&unit, &edited).unwrap();
    assert_fails(&m.verify(), "unit", "INVALID_CONFIG", "UMask is `0022`, would be `0077`");

    let refused = m.install(&[]);
    assert!(refused.expect(1).stderr.contains("edited by hand"), "{}", refused.stderr);
    assert_eq!(fs::read_to_string(&unit).unwrap(), edited);
    m.install(&["--force"]).expect(0);
    assert_eq!(failures(&m.verify(), "unit"), Vec::<String>::new());
}

#[test]
fn a_variable_that_only_the_shell_has_is_told_before_the_unit_fails() {
    let mut m = Machine::new();
    m.world.env.insert("ONLY_IN_THE_SHELL".to_owned(), "shell-value".to_owned());
    let m = m.installed(&[]);
    let mut m = m;
    m.world.project()["assets"]["exclude"] = json!(["${ONLY_IN_THE_SHELL}"]);
    m.world.run(&["config", "validate"]).expect(0);
    assert_fails(&m.verify(), "config", "INVALID_CONFIG", "ONLY_IN_THE_SHELL");
}

#[test]
fn without_systemd_the_files_are_written_and_it_is_said_that_nothing_starts_them() {
    let m = Machine::new();
    let (me, root) = (me(), m.root.display().to_string());
    let install = ["systemd", "install", "--timers", "--user", &me, "--root", &root];
    m.world.run(&install).expect(0);
    m.world.backup();
    let link = m.unit("timers.target.wants/backupctl-shop.timer");
    let target = fs::read_link(&link).unwrap();
    assert_eq!(target, Path::new("/etc/systemd/system/backupctl-shop.timer"));
    let verify = ["systemd", "verify", "--root", &root, "--json"];
    let document = m.world.run(&verify).expect(0).json();
    let first = &document["checks"][0];
    assert_eq!((&first["name"], &first["outcome"]), (&json!("systemd"), &json!("warn")));
    assert!(words(first, "message").contains("nothing here can start the units"), "{first:#}");
    fs::remove_file(&link).unwrap();
    let document = m.world.run(&verify).expect(1).json();
    assert_fails(&document, "unit", "DAEMON_NOT_RUNNING", "not enabled");
}

#[test]
fn secrets_are_in_files_for_root_alone_and_are_not_printed() {
    let mut m = Machine::new();
    let secret = m.world.work.file("etc/restic-password", super::support::REPOSITORY_PASSWORD);
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let repository = m.world.repository.path().to_owned();
    m.world.project()["restic"] =
        json!({"repository": repository, "password_file": "restic-password"});
    let printed = m.install(&["--print"]);
    assert!(printed.expect(0).stdout.contains("ExecStart="), "{}", printed.stdout);
    assert!(!m.root.join("etc").exists());
    let m = m.installed(&[]);
    let unit = fs::read_to_string(m.unit("backupctl.service")).unwrap();
    let handed = unit.lines().find(|l| l.starts_with("LoadCredential=")).unwrap();
    let (name, path) = handed["LoadCredential=".len()..].split_once(':').unwrap();
    assert_eq!(path, secret.display().to_string());

    // What systemd does with it: the file itself need not be readable, nor there.
    let credentials = m.world.work.dir("credentials");
    fs::rename(&secret, credentials.join(name)).unwrap();
    let mut run = m.world.backupctl(&["run", "shop"]);
    run.env("CREDENTIALS_DIRECTORY", &credentials);
    m.world.finish(Running::start(run)).expect(0);
    assert_fails(&m.verify(), "key", "INVALID_CONFIG", "secret");
}
