//! Programs in a container, by a stand-in for Docker's client.

use std::fs;
use std::sync::{Arc, Mutex};

use backupctl_application::context::Interrupt;
use backupctl_domain::ErrorCode;
use backupctl_testkit::services::DockerClient;

use super::{assert_dies, ctx, kill, lives, sh};
use crate::{Tool, end_orphans};

fn inside(tool: Tool, path: &str, container: &str) -> Tool {
    tool.in_container(Some(container)).env("PATH", path)
}

#[tokio::test]
async fn it_gets_its_own_environment_alone_and_no_value_is_an_argument() {
    let docker = DockerClient::new();
    let path = docker.path();
    let script = "echo $PGPASSWORD $CARGO_MANIFEST_DIR; cat; tr '\\0' ' ' < /proc/$PPID/cmdline";
    let tool = inside(sh(script).env("PGPASSWORD", "hunter3"), &path, "db");
    let (output, written) =
        tool.run_writing(&ctx(), |stdin| stdin.write_all(b"in\n")).await.unwrap();
    written.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..2], ["hunter3", "in"]);
    assert!(lines[2].contains("sh") && !lines[2].contains("hunter3"), "{said}");
}

#[tokio::test]
async fn what_the_client_says_is_told_with_what_to_do() {
    let docker = DockerClient::new();
    let path = docker.path();
    for (container, program, code, told) in [
        ("gone", "sh", ErrorCode::DbConnectionRefused, "docker ps"),
        ("stopped", "sh", ErrorCode::DbConnectionRefused, "docker start stopped"),
        ("dead", "sh", ErrorCode::DbConnectionRefused, "systemctl start docker"),
        ("denied", "sh", ErrorCode::DbPermissionDenied, "group `docker`"),
        ("db", "pg_dump_of_nowhere", ErrorCode::ToolMissing, "database.via"),
    ] {
        let ran = inside(Tool::new(program), &path, container).run(&ctx()).await;
        let failure = ran.unwrap_err().into_failure(ErrorCode::DumpTimeout);
        assert_eq!(failure.code, code, "{container}: {}", failure.message);
        assert!(failure.remedy.contains(told), "{container}: {}", failure.remedy);
    }
    // The program's own failure stays its own.
    let output = inside(sh("echo no >&2; exit 1"), &path, "db").run(&ctx()).await.unwrap();
    assert_eq!((output.code, output.stderr.as_str()), (Some(1), "no\n"));
}

#[tokio::test]
async fn without_a_client_it_is_said_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().to_str().unwrap();
    let failure = inside(sh("true"), nowhere, "db").run(&ctx()).await.unwrap_err();
    let failure = failure.into_failure(ErrorCode::DumpTimeout);
    assert_eq!(failure.code, ErrorCode::ToolMissing);
    assert!(failure.message.contains("docker") && failure.remedy.contains("database.via"));
}

#[tokio::test]
async fn a_hanging_program_is_ended_inside() {
    let docker = DockerClient::new();
    let path = docker.path();
    // Its first line tells that it hangs now; however long that took to come.
    let tool = inside(sh("echo $$; exec sleep 600"), &path, "db");
    let ctx = ctx();
    let (cancel, told) = (ctx.cancel.clone(), Arc::new(Mutex::new(String::new())));
    let said = Arc::clone(&told);
    let ran = tool.run_lines(&ctx, move |line| {
        said.lock().unwrap().push_str(&String::from_utf8_lossy(line));
        cancel.cancel(Interrupt::Term);
    });
    ran.await.unwrap_err();
    assert_dies(&told.lock().unwrap());
}

/// The stand-in must be in this process's PATH for this, so the test does by hand what the next start
/// does: it ends carriers of the token that the journal keeps.
#[tokio::test]
async fn one_that_outlived_us_is_in_the_journal_with_its_token() {
    let dir = tempfile::tempdir().unwrap();
    let docker = DockerClient::new();
    let path = docker.path();
    let (journal, pid) = (dir.path().join(".children"), dir.path().join("pid"));
    let noted = dir.path().join("noted");
    let script = format!(
        "echo $$ > {}; cp {} {}; tr '\\0' '\\n' < /proc/$$/environ",
        pid.display(),
        journal.display(),
        noted.display()
    );
    let tool = inside(sh(&script), &path, "db").journal(&journal);
    let output = tool.run(&ctx()).await.unwrap();
    let environment = String::from_utf8(output.stdout).unwrap();
    let token = environment.lines().find_map(|l| l.strip_prefix("BACKUPCTL_CHILD=")).unwrap();
    let line = fs::read_to_string(noted).unwrap();
    let fits = line.trim_end().ends_with(&format!(" db {token}"));
    // It may have looked before its number was noted.
    assert!(fits || line.trim_end() == format!("? {token}"), "{line}");
    assert!(!journal.exists());
    let pid = fs::read_to_string(pid).unwrap();
    if lives(&pid) {
        kill(&pid);
    }
    assert_eq!(end_orphans(&journal), 0);
}
