//! Programs inside a running Docker container, by `docker exec`.
//!
//! `docker exec` passes no signal on: a program in a container goes on when the client here is ended.
//! So each carries a token in its environment, and is ended by that from a second `docker exec`.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use backupctl_domain::{ErrorCode, Failure};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::journal::{TOKEN, new_token};
use crate::output::{Output, last_lines};
use crate::program::find_in;
use crate::{Tool, find_program};

/// The client.
const DOCKER: &str = "docker";
/// How long ending a program in a container may take.
const END_WAIT: Duration = Duration::from_secs(20);
/// Lines of the client's words that a failure carries.
const DETAIL_LINES: usize = 10;

/// Ends every process that carries the token `$1`. The images of every engine have what it needs.
const END_SCRIPT: &str = r#"for p in /proc/[0-9]*; do
if tr '\0' '\n' < "$p/environ" 2>/dev/null | grep -qx "BACKUPCTL_CHILD=$1"; then kill "${p#/proc/}"; fi
done"#;

/// A tool's way into its container.
pub(crate) struct Inside {
    /// The client with everything that it is given.
    pub(crate) tool: Tool,
    /// The program in it.
    pub(crate) at: Place,
}

/// A program in a container.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    client: PathBuf,
    container: String,
    program: String,
    token: String,
}

/// The tool as the client starts it in its container; `None` for one on this machine, `TOOL_MISSING`
/// where there is no client.
pub(crate) fn inside(tool: &Tool) -> Result<Option<Inside>, Failure> {
    let Some(container) = tool.container.clone() else { return Ok(None) };
    let client = find_in(OsStr::new(DOCKER), tool.path()).ok_or_else(missing_client)?;
    let token = new_token();
    let mut args: Vec<OsString> = vec!["exec".into(), "-i".into()];
    // The name alone: the client takes the value from its own environment, so that no argument
    // shows it.
    let names = tool.env.iter().map(|(name, _)| name.as_os_str()).filter(|name| *name != "PATH");
    for name in names.chain([OsStr::new(TOKEN)]) {
        args.extend(["-e".into(), name.to_owned()]);
    }
    args.extend([container.clone().into(), tool.program.clone()]);
    args.extend(tool.args.iter().cloned());
    let program = tool.name();
    let token_too = Some(token.clone());
    let file = client.clone().into_os_string();
    let mut tool = Tool { program: file, args, token: token_too, ..tool.clone() };
    tool.env.push((TOKEN.into(), token.clone().into()));
    Ok(Some(Inside { tool, at: Place { client, container, program, token } }))
}

impl Place {
    /// Ends the program, which the end of the client has left running. Best effort: what cannot be
    /// ended is said in the log.
    pub(crate) async fn end(&self) {
        let place = self.clone();
        let ended = timeout(
            END_WAIT,
            spawn_blocking(move || end_by(&place.client, &place.container, &place.token)),
        );
        if !matches!(ended.await, Ok(Ok(true))) {
            tracing::warn!(
                target: "backupctl::child",
                container = %self.container,
                program = %self.program,
                "may still be running in its container"
            );
        }
    }

    /// What the client's own words say: why the program was not even started. `None` where they are
    /// the program's.
    pub(crate) fn failure(&self, output: &Output) -> Option<Failure> {
        let Self { container, program, .. } = self;
        let said = |words: &str| output.stderr.contains(words);
        let (code, message, remedy) = if said("No such container") {
            (
                ErrorCode::DbConnectionRefused,
                format!("there is no container {container}"),
                "`docker ps` lists those that run; correct `database.via`".to_owned(),
            )
        } else if said("Error response from daemon")
            && ["is not running", "is paused", "is restarting"].into_iter().any(said)
        {
            (
                ErrorCode::DbConnectionRefused,
                format!("container {container} does not run"),
                format!(
                    "start it: `docker start {container}`; `docker logs {container}` says why it ended"
                ),
            )
        } else if said("permission denied while trying to connect to the") {
            (
                ErrorCode::DbPermissionDenied,
                "this user may not use Docker".to_owned(),
                "run backupctl as root, or add its user to the group `docker`".to_owned(),
            )
        } else if said("Cannot connect to the Docker daemon") || said("error during connect") {
            (
                ErrorCode::DbConnectionRefused,
                "the Docker daemon does not answer".to_owned(),
                "start it: `systemctl start docker`; `DOCKER_HOST` names another one".to_owned(),
            )
        } else if matches!(output.code, Some(126 | 127)) {
            (
                ErrorCode::ToolMissing,
                format!("{program} is not in container {container}"),
                "name a container whose image has it in `database.via`, or remove `database.via` to run it here"
                    .to_owned(),
            )
        } else {
            return None;
        };
        let detail = last_lines(&output.stderr, DETAIL_LINES);
        Some(Failure::new(code, message).with_detail(detail).with_remedy(remedy))
    }
}

/// What to do where there is no client.
fn missing_client() -> Failure {
    Failure::new(
        ErrorCode::ToolMissing,
        "docker is not installed or not in PATH, and `database.via` names a container",
    )
    .with_remedy(
        "install Docker's client (`apt install docker.io`), or remove `database.via` and name an address in `database.host` that this machine reaches",
    )
}

/// Ends the carriers of a token in a container. Blocks meanwhile; true where it could be tried.
pub(crate) fn end(container: &str, token: &str) -> bool {
    find_program(DOCKER).is_some_and(|client| end_by(&client, container, token))
}

fn end_by(client: &Path, container: &str, token: &str) -> bool {
    let client = duct::cmd(client, ["exec", container, "sh", "-c", END_SCRIPT, "sh", token]);
    let ran = client.stdin_null().stdout_null().stderr_null().unchecked().run();
    ran.is_ok_and(|output| output.status.success())
}
