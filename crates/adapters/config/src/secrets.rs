//! Gets the values behind secrets: reads their files, runs their commands.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backupctl_adapter_process::{ProcessError, Tool};
use backupctl_application::context::{Cancel, StageContext};
use backupctl_domain::project::{Channel, Monitor};
use backupctl_domain::{ErrorCode, Failure, Project, Redactor, Secret, Stage};

/// A secret is a line; more than this is another kind of file.
const LONGEST: u64 = 64 * 1024;

/// How long a command has to print a secret.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// A command may have the value of a variable in it, and arguments are public: so the shell is given
/// its text by the environment, and keeps it from what it starts.
const COMMAND_VARIABLE: &str = "BACKUPCTL_SECRET_COMMAND";
const EVALUATE: &str = "eval \"unset BACKUPCTL_SECRET_COMMAND; $BACKUPCTL_SECRET_COMMAND\"";

/// The value of a secret; `key` is for messages, `folder` is where a command runs.
pub(crate) async fn resolve(key: &str, secret: Secret, folder: &Path) -> Result<Secret, Failure> {
    match secret {
        Secret::Value(value) => Ok(Secret::Value(value)),
        Secret::File(path) => read_file(key, &path),
        Secret::Command(command) => run_command(key, &command, folder).await,
    }
}

fn invalid(message: String, remedy: String) -> Failure {
    Failure::new(ErrorCode::InvalidConfig, message).with_remedy(remedy)
}

fn read_file(key: &str, path: &Path) -> Result<Secret, Failure> {
    let mut line = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| BufReader::new(file).take(LONGEST).read_until(b'\n', &mut line))
        .map_err(|e| {
            invalid(
                format!("the secret of `{key}` cannot be read from {}: {e}", path.display()),
                format!("put the secret there, or correct `{key}_file`"),
            )
        })?;
    first_line(&line).ok_or_else(|| {
        invalid(
            format!("the secret of `{key}` is empty or no text: {}", path.display()),
            format!("write the secret into the file's first line, or correct `{key}_file`"),
        )
    })
}

async fn run_command(key: &str, command: &str, folder: &Path) -> Result<Secret, Failure> {
    let name = format!("{key}_command");
    let context = StageContext::new(Stage::Lock, Cancel::new(), Arc::new(Redactor::default()));
    let run = Tool::new("sh")
        .args(["-c", EVALUATE])
        .env(COMMAND_VARIABLE, command)
        .cwd(folder)
        .timeout(Some(COMMAND_TIMEOUT));
    let output = run.run(&context).await.map_err(|e| {
        let detail = match &e {
            ProcessError::TimedOut { stderr, .. } => stderr.clone(),
            _ => String::new(),
        };
        let message = match e {
            ProcessError::TimedOut { limit, .. } => {
                format!("the command of `{name}` did not end within {} s", limit.as_secs())
            }
            other => format!("the command of `{name}` cannot be run: {other}"),
        };
        invalid(message, format!("run it by hand, and correct `{name}`")).with_detail(detail)
    })?;
    let secret = first_line(&output.stdout);
    if output.code != Some(0) {
        let end = match (output.code, output.signal) {
            (Some(code), _) => format!("exit status {code}"),
            (None, signal) => format!("signal {}", signal.unwrap_or_default()),
        };
        // What it printed may be a secret, even if it failed later; stderr may repeat it.
        let printed = String::from_utf8_lossy(&output.stdout);
        let redactor = Redactor::new(printed.lines().map(|line| line.trim().to_owned()));
        return Err(invalid(
            format!("the command of `{name}` failed with {end}"),
            format!("run it by hand, and correct `{name}`"),
        )
        .with_detail(redactor.redact(&output.stderr)));
    }
    secret.ok_or_else(|| {
        invalid(
            format!("the command of `{name}` printed nothing"),
            format!("let it print the secret as its first line, or correct `{name}`"),
        )
    })
}

/// The first line without its end; `None` if it is empty or no text.
fn first_line(bytes: &[u8]) -> Option<Secret> {
    let line = bytes.split(|b| *b == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?.trim_end_matches('\r');
    (!line.is_empty()).then(|| Secret::value(line))
}

/// Every secret of a project, with its key.
pub(crate) fn with_keys(project: &mut Project) -> Vec<(String, &mut Secret)> {
    let several = project.has_several_destinations();
    let mut all = Vec::new();
    for (number, destination) in project.destinations.iter_mut().enumerate() {
        let start = if several { format!("destinations[{number}].") } else { String::new() };
        let secrets = destination.secrets_mut().into_iter();
        all.extend(secrets.map(|(key, secret)| (format!("{start}{key}"), secret)));
    }
    if let Some(password) = project.database.as_mut().and_then(|d| d.password.as_mut()) {
        all.push(("database.password".to_owned(), password));
    }
    for channel in &mut project.notifications {
        let mut add =
            |name: &str, secret| all.push((format!("notification.config.{name}"), secret));
        match channel {
            Channel::Slack { webhook_url } => add("webhook_url", webhook_url),
            Channel::Webhook { url, secret } => {
                add("url", url);
                if let Some(secret) = secret {
                    add("secret", secret);
                }
            }
            Channel::Email(mail) => {
                if let Some(password) = &mut mail.password {
                    add("password", password);
                }
            }
        }
    }
    match &mut project.monitor {
        Some(Monitor::UptimeKuma { push_token, .. }) => {
            all.push(("monitor.config.push_token".to_owned(), push_token));
        }
        Some(Monitor::Healthchecks { ping_url }) => {
            all.push(("monitor.config.ping_url".to_owned(), ping_url));
        }
        None => {}
    }
    all
}
