//! Tells that a unit has failed, without backupctl: its program may be gone, its configuration broken.
//! A small script of the shell writes to the journal and to every terminal, and posts by curl.

use std::fmt::Write as _;

use backupctl_application::ports::{Alert, AlertTarget, UnitFile, UnitMode, UnitPlan};
use backupctl_domain::project::{Channel, EmailChannel, Monitor, SmtpSecurity};
use backupctl_domain::{ErrorCode, Failure, ProjectName, Secret};

use crate::render::{OWN_DIR, beside};

/// The script's file below [`OWN_DIR`].
const SCRIPT: &str = "failure.sh";

/// The unit that runs the script, as `OnFailure=` of all others.
pub(crate) fn unit() -> String {
    format!(
        "[Unit]\nDescription=Tells that %i has failed\n\n[Service]\nType=oneshot\n\
         ExecStart=/bin/sh {OWN_DIR}/{SCRIPT} %i\nTimeoutStartSec=5min\nUMask=0077\n\
         RuntimeDirectory=backupctl-failure\nRuntimeDirectoryPreserve=yes\nProtectSystem=strict\n\
         # The program may be there: what is hidden looks gone.\n\
         ProtectHome=read-only\nPrivateTmp=no\n# wall writes to the terminals of others.\n\
         CapabilityBoundingSet=CAP_DAC_OVERRIDE\n{}",
        crate::sandbox::CONFINED.replace("PrivateDevices=yes\n", "PrivateDevices=no\n")
    )
}

/// The command by which a unit that has started or run well says so: its next failure is news. Outside
/// the unit's user and sandbox, which may not write there; that it fails is no failure of the unit.
pub(crate) fn well() -> String {
    format!("-+/bin/sh {OWN_DIR}/{SCRIPT} --well %n")
}

/// How a message is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `{"text": …}`, as Slack takes it.
    Slack,
    /// The form of our webhooks.
    Webhook,
    /// A whole mail.
    Mail,
    /// Words alone.
    Words,
    /// A part of an address.
    Query,
}

impl Form {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Slack => "slack",
            Self::Webhook => "webhook",
            Self::Mail => "mail",
            Self::Words => "words",
            Self::Query => "query",
        }
    }
}

/// Somebody to be told: how, and the file that curl reads.
struct Post {
    form: Form,
    curl: String,
    projects: Vec<Option<ProjectName>>,
    /// From and to, of a mail.
    mail: Option<(String, String)>,
}

/// The script, and a file for curl for each of those who are told.
pub(crate) fn files(plan: &UnitPlan) -> Result<Vec<UnitFile>, Failure> {
    let mut posts: Vec<Post> = Vec::new();
    for alert in &plan.alerts {
        let post = post(alert)?;
        match posts.iter_mut().find(|known| known.curl == post.curl) {
            Some(known) => known.projects.extend(post.projects),
            None => posts.push(post),
        }
    }
    let mut files = vec![beside(SCRIPT, &script(plan, &posts)?, 0o700)];
    for (number, post) in (1..).zip(&posts) {
        files.push(beside(&curl_file(number), &post.curl, 0o600));
    }
    Ok(files)
}

fn curl_file(number: usize) -> String {
    format!("alert-{number}.curl")
}

fn post(alert: &Alert) -> Result<Post, Failure> {
    let (form, curl, mail) = match &alert.target {
        AlertTarget::Channel(Channel::Slack { webhook_url }) => {
            (Form::Slack, json_post(webhook_url)?, None)
        }
        AlertTarget::Channel(Channel::Webhook { url, .. }) => {
            (Form::Webhook, json_post(url)?, None)
        }
        AlertTarget::Channel(Channel::Email(mail)) => {
            let to = mail.to.join(", ");
            (Form::Mail, smtp(mail)?, Some((mail.from.clone(), to)))
        }
        AlertTarget::Monitor(Monitor::Healthchecks { ping_url }) => {
            // The address may have a query of its own.
            let url = ping_url.expose()?;
            let (path, query) =
                url.split_once('?').map_or((url, ""), |(path, query)| (path, query));
            let query = if query.is_empty() { String::new() } else { format!("?{query}") };
            let url = format!("{}/fail{query}", path.trim_end_matches('/'));
            (Form::Words, setting("url", &url)?, None)
        }
        AlertTarget::Monitor(Monitor::UptimeKuma { base_url, push_token }) => {
            let base = base_url.trim_end_matches('/');
            let url = format!("{base}/api/push/{}?status=down", push_token.expose()?.trim());
            (Form::Query, format!("get\n{}", setting("url", &url)?), None)
        }
    };
    Ok(Post { form, curl, projects: vec![alert.project.clone()], mail })
}

fn json_post(url: &Secret) -> Result<String, Failure> {
    Ok(format!("{}header = \"Content-Type: application/json\"\n", setting("url", url.expose()?)?))
}

fn smtp(mail: &EmailChannel) -> Result<String, Failure> {
    let scheme = if mail.security == SmtpSecurity::Tls { "smtps" } else { "smtp" };
    let mut curl = setting("url", &format!("{scheme}://{}:{}", mail.host, mail.port))?;
    if mail.security != SmtpSecurity::None {
        curl.push_str("ssl-reqd\n");
    }
    curl.push_str(&setting("mail-from", address(&mail.from))?);
    for to in &mail.to {
        curl.push_str(&setting("mail-rcpt", address(to))?);
    }
    if let (Some(user), Some(password)) = (&mail.user, &mail.password) {
        curl.push_str(&setting("user", &format!("{user}:{}", password.expose()?))?);
    }
    Ok(curl)
}

/// The address in `Name <address>`.
fn address(text: &str) -> &str {
    let inner = text.rsplit_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map_or(text, |(address, _)| address).trim()
}

/// A line of curl's file. Its quotes know `\\`, `\"`, `\t`, `\n`, `\r` and `\v`.
fn setting(key: &str, value: &str) -> Result<String, Failure> {
    if value.chars().any(char::is_control) {
        return Err(Failure::new(
            ErrorCode::InvalidConfig,
            format!("the {key} of a channel has characters that curl cannot be given"),
        )
        .with_remedy("correct `notification.config` or `monitor.config`"));
    }
    Ok(format!("{key} = \"{}\"\n", value.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// A word of the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn script(plan: &UnitPlan, posts: &[Post]) -> Result<String, Failure> {
    let program = crate::text::path_text(&plan.program)?;
    let mut out = String::from(BEGIN);
    let _ = writeln!(out, "program={}", quoted(program));
    out.push_str(MESSAGE);
    out.push_str("\ncase \"$unit\" in\n");
    let all = |wanted: &dyn Fn(&Option<ProjectName>) -> bool| {
        let numbers = (1..).zip(posts).filter(|(_, post)| post.projects.iter().any(wanted));
        numbers.map(|(number, _): (usize, _)| number.to_string()).collect::<Vec<_>>().join(" ")
    };
    if plan.options.mode == UnitMode::Timers {
        for project in plan.projects.iter().filter(|p| p.schedule.is_some()) {
            let name = &project.name;
            let own = all(&|p| p.as_ref().is_none_or(|p| p == name));
            let _ = writeln!(out, "backupctl-{name}.service) posts='{own}' ;;");
        }
    }
    // The watch failing says nothing of any project: monitors of projects stay as they are.
    let channels: Vec<String> = (1..)
        .zip(posts)
        .filter(|(_, post)| !matches!(post.form, Form::Words | Form::Query))
        .map(|(number, _): (usize, _)| number.to_string())
        .collect();
    let _ = writeln!(out, "backupctl-watch.service) posts='{}' ;;", channels.join(" "));
    let _ = writeln!(out, "*) posts='{}' ;;\nesac", all(&|_| true));
    out.push_str("\nfor post in $posts; do\n  case $post in\n");
    for (number, post) in (1_usize..).zip(posts) {
        let (from, to) = post.mail.clone().unwrap_or_default();
        let _ = writeln!(
            out,
            "  {number}) form={} from={} to={} ;;",
            post.form.as_str(),
            quoted(&one_line(&from)),
            quoted(&one_line(&to))
        );
    }
    out.push_str("  *) continue ;;\n  esac\n");
    let _ = writeln!(out, "  file={OWN_DIR}/alert-$post.curl");
    out.push_str(SEND);
    Ok(out)
}

fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// What has failed, and how: systemd says so to units of `OnFailure=` from 251 on, `systemctl` before.
const BEGIN: &str = r#"# Tells that the unit named by $1 has failed, also when backupctl itself cannot start.
# No secret is in an argument: curl reads the addresses from files that root alone may read.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# What has been posted, a file for each unit and exit status.
stamps=${RUNTIME_DIRECTORY:-/run/backupctl-failure}
if [ "$1" = --well ]; then
  # That unit is well again: its next failure is news.
  rm -f -- "$stamps/$2".*
  exit 0
fi
unit=$1
host=$(uname -n)
result=${MONITOR_SERVICE_RESULT:-$(systemctl show -p Result --value "$unit" 2>/dev/null)}
status=${MONITOR_EXIT_STATUS:-$(systemctl show -p ExecMainStatus --value "$unit" 2>/dev/null)}
how="${result:-failed}, exit status ${status:-unknown}"
"#;

const MESSAGE: &str = r#"why=
[ -x "$program" ] || why=" $program is not there or cannot be started."
message="$unit failed on $host ($how).$why Backups may not be running. See: journalctl -u $unit; backupctl systemd verify"
# Nothing of it may end a quoted text of JSON.
message=$(printf '%s' "$message" | tr '\000-\037"\\' ' ')

if command -v systemd-cat >/dev/null 2>&1 &&
  printf '%s\n' "$message" | systemd-cat -t backupctl-failure -p err; then
  :
else
  logger -t backupctl-failure -p daemon.err -- "$message"
fi
wall "$message" 2>/dev/null

# The same failure again and again is posted once in 20 hours, until the unit has been well; the
# journal has each.
stamp=$stamps/$unit.$status
if [ -n "$(find "$stamp" -mmin -1200 2>/dev/null)" ]; then
  exit 0
fi

failed=0
command -v curl >/dev/null 2>&1 || {
  echo "curl is not installed: nobody is told but the journal and the terminals" >&2
  exit 1
}
"#;

const SEND: &str = r#"  post() {
    curl --silent --show-error --fail --output /dev/null --connect-timeout 10 --max-time 30 \
      --retry 2 --config "$file" "$@"
  }
  case $form in
  slack) printf '{"text":"%s"}' "$message" | post --data-binary @- ;;
  webhook)
    printf '{"event":"unit_failed","project":null,"text":"%s","data":{"unit":"%s","host":"%s","result":"%s","exitStatus":"%s"}}' \
      "$message" "$unit" "$host" "$result" "$status" | post --data-binary @-
    ;;
  mail)
    printf 'From: %s\r\nTo: %s\r\nSubject: %s failed on %s\r\nDate: %s\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%s\r\n' \
      "$from" "$to" "$unit" "$host" "$(LC_ALL=C date '+%a, %d %b %Y %H:%M:%S %z')" "$message" | post --upload-file -
    ;;
  words) printf '%s' "$message" | post --data-binary @- ;;
  query) printf '%s' "$message" | post --data-urlencode msg@- ;;
  esac || {
    echo "cannot tell number $post of $file" >&2
    failed=1
  }
done
# Who was not told is tried again at the next failure.
[ "$failed" -eq 0 ] && : >"$stamp"
exit "$failed"
"#;
