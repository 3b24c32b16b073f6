//! The script that tells of a failure without backupctl: what it posts, to whom, and what it hides.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use backupctl_adapter_systemd::UnitFolder;
use backupctl_application::ports::{Alert, AlertTarget, UnitFile, UnitFiles, UnitMode, UnitPlan};
use backupctl_domain::project::{Channel, Monitor};
use backupctl_domain::{ProjectName, Secret};
use backupctl_testkit::WorkDir;
use backupctl_testkit::services::{HttpReceiver, Reply, Request};

use super::{command, plan};

/// Has the files written with their own folder in place of the real one, and stand-ins for what
/// speaks to the whole machine.
async fn installed(work: &WorkDir, plan: &UnitPlan) -> Vec<UnitFile> {
    let root = work.dir("root");
    let folder = UnitFolder::new(&root);
    let mut files = folder.render(plan).unwrap();
    let place = root.join("etc/backupctl/systemd").display().to_string();
    for file in files.iter_mut().filter(|file| !file.is_unit()) {
        file.text = file.text.replace("/etc/backupctl/systemd", &place).replace(
            "PATH=/usr/local/sbin",
            &format!("PATH={}:/usr/local/sbin", work.join("bin").display()),
        );
    }
    folder.write(&files).await.unwrap();
    for (name, script) in [
        ("wall", "echo \"$@\" >> \"$SAID\""),
        ("systemd-cat", "{ echo \"$@\"; cat; } >> \"$SAID\""),
        ("logger", "echo \"$@\" >> \"$SAID\""),
    ] {
        let file = work.file(format!("bin/{name}"), format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    files
}

/// Runs the script for a unit, as the failure unit does; whether it went well.
fn fail(work: &WorkDir, unit: &str) -> bool {
    script(work, &[unit])
}

/// Runs the script with these arguments.
fn script(work: &WorkDir, args: &[&str]) -> bool {
    let script = work.join("root/etc/backupctl/systemd/failure.sh");
    let run = work.dir("run");
    let output = command("/bin/sh")
        .arg(&script)
        .args(args)
        .env("SAID", work.join("said"))
        .env("RUNTIME_DIRECTORY", &run)
        .env("MONITOR_SERVICE_RESULT", "exit-code")
        .env("MONITOR_EXIT_STATUS", "203")
        .env("NO_PROXY", "*")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    for secret in ["hook-token", "push-token"] {
        assert!(!stderr.contains(secret), "{stderr}");
    }
    output.status.success()
}

fn alert(project: Option<&str>, target: AlertTarget) -> Alert {
    Alert { project: project.map(|p| ProjectName::new(p).unwrap()), target }
}

#[tokio::test]
async fn everybody_is_told_although_the_program_is_gone() {
    let (work, receiver) = (WorkDir::new(), HttpReceiver::start());
    let mut plan = plan(&work, UnitMode::Serve);
    plan.program = work.join("gone/backupctl");
    let url = |path: &str| Secret::value(receiver.url(path));
    plan.alerts = vec![
        alert(
            Some("shop"),
            AlertTarget::Channel(Channel::Webhook { url: url("/hook-token"), secret: None }),
        ),
        alert(
            None,
            AlertTarget::Channel(Channel::Webhook { url: url("/hook-token"), secret: None }),
        ),
        alert(Some("shop"), AlertTarget::Channel(Channel::Slack { webhook_url: url("/slack") })),
        alert(
            Some("shop"),
            AlertTarget::Monitor(Monitor::UptimeKuma {
                base_url: receiver.base_url(),
                push_token: Secret::value("push-token"),
            }),
        ),
        alert(
            Some("shop"),
            AlertTarget::Monitor(Monitor::Healthchecks { ping_url: url("/ping/uuid?create=1") }),
        ),
    ];
    let files = installed(&work, &plan).await;

    assert!(fail(&work, "backupctl.service"));

    let requests = receiver.requests();
    let paths: Vec<&str> = requests.iter().map(Request::path).collect();
    assert_eq!(paths, ["/hook-token", "/slack", "/api/push/push-token", "/ping/uuid/fail"]);
    let hook: serde_json::Value = serde_json::from_slice(&requests[0].body).unwrap();
    assert_eq!(hook["event"], "unit_failed");
    assert_eq!(hook["data"]["unit"], "backupctl.service");
    assert_eq!(hook["data"]["exitStatus"], "203");
    let text = hook["text"].as_str().unwrap();
    assert!(text.contains("gone/backupctl is not there"), "{text}");
    let slack: serde_json::Value = serde_json::from_slice(&requests[1].body).unwrap();
    assert_eq!(slack["text"].as_str(), Some(text));
    assert_eq!(requests[2].method, "GET");
    let said = fs::read_to_string(work.join("said")).unwrap();
    assert!(said.contains("-p err") && said.matches("backupctl.service failed").count() == 2);

    // The same again is for the journal alone; another unit's failure is not the same.
    receiver.clear();
    assert!(fail(&work, "backupctl.service"));
    assert_eq!(receiver.requests().len(), 0);
    assert!(fail(&work, "backupctl-watch.service"));
    let paths: Vec<String> = receiver.requests().iter().map(|r| r.path().to_owned()).collect();
    assert_eq!(paths, ["/hook-token", "/slack"]);

    // Once it has been well, a failure is news, and that of others still is not.
    receiver.clear();
    assert!(script(&work, &["--well", "backupctl.service"]));
    assert!(fail(&work, "backupctl-watch.service"));
    assert_eq!(receiver.requests().len(), 0);
    assert!(fail(&work, "backupctl.service"));
    assert_eq!(receiver.requests().len(), 4);

    for file in &files {
        let secret = file.text.contains("hook-token") || file.text.contains("push-token");
        assert!(!secret || file.mode == 0o600, "{}", file.name());
        let place = work.join("root").join(file.path.strip_prefix("/").unwrap());
        assert_eq!(mode(&place), file.mode, "{}", file.name());
    }
    assert_eq!(mode(&work.join("root/etc/backupctl/systemd")), 0o700);
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_projects_timer_tells_its_own_people_and_who_was_not_told_is_tried_again() {
    let (work, receiver) = (WorkDir::new(), HttpReceiver::start());
    let mut plan = plan(&work, UnitMode::Timers);
    let hook = |path: &str| {
        let url = Secret::value(receiver.url(path));
        AlertTarget::Channel(Channel::Webhook { url, secret: None })
    };
    plan.alerts = vec![
        alert(Some("shop"), hook("/shop")),
        alert(Some("blog"), hook("/blog")),
        alert(None, hook("/all")),
    ];
    installed(&work, &plan).await;
    receiver.reply_always(Reply::status(404));
    assert!(!fail(&work, "backupctl-shop.service"));
    receiver.clear();
    receiver.reply_always(Reply::status(200));
    assert!(fail(&work, "backupctl-shop.service"));
    let paths: Vec<String> = receiver.requests().iter().map(|r| r.path().to_owned()).collect();
    assert_eq!(paths, ["/shop", "/all"]);
}

#[tokio::test]
async fn without_the_journal_the_system_log_has_it() {
    let work = WorkDir::new();
    installed(&work, &plan(&work, UnitMode::Serve)).await;
    // Not there, as where systemd has no such program, or of no use.
    let cat = work.join("bin/systemd-cat");
    for gone in [false, true] {
        fs::write(work.join("said"), "").unwrap();
        fs::write(&cat, "#!/bin/sh\ncat >/dev/null\nexit 1\n").unwrap();
        let path = work.join("root/etc/backupctl/systemd/failure.sh");
        let text = fs::read_to_string(&path).unwrap();
        if gone {
            fs::write(&path, text.replace("command -v systemd-cat", "command -v no-such-cat"))
                .unwrap();
        }
        assert!(fail(&work, "backupctl.service"));
        let said = fs::read_to_string(work.join("said")).unwrap();
        let logged = said.lines().any(|line| line.contains("-p daemon.err -- backupctl.service"));
        assert!(logged, "gone: {gone}: {said}");
    }
}

#[tokio::test]
async fn every_shell_understands_the_script() {
    let (work, receiver) = (WorkDir::new(), HttpReceiver::start());
    let mut plan = plan(&work, UnitMode::Timers);
    let webhook_url = Secret::value(receiver.url("/slack"));
    plan.alerts = vec![alert(None, AlertTarget::Channel(Channel::Slack { webhook_url }))];
    installed(&work, &plan).await;
    for shell in ["sh", "dash", "bash"] {
        let script = work.join("root/etc/backupctl/systemd/failure.sh");
        let output = command(shell).arg("-n").arg(script).output().unwrap();
        assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
