//! The file's global part.

use std::path::PathBuf;
use std::time::Duration;

use backupctl_application::ports::{ConfigIssue, GlobalSettings, LogSettings};
use backupctl_domain::schedule::{CatchUp, Schedule};
use backupctl_domain::{RetryPolicy, Secret};
use jiff::tz::TimeZone;

use crate::project::channels;
use crate::reader::{Purpose, Reader};
use crate::ssh::SshSettings;

/// What of the global part projects need.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub timezone: TimeZone,
    pub ssh: SshSettings,
    pub kuma_base_url: Option<String>,
    /// It is given and wrong, which is told once and not for each project.
    pub kuma_is_wrong: bool,
}

/// The global part as far as it can be read; the reader holds what is wrong with it.
pub(crate) struct Global {
    pub settings: GlobalSettings,
    pub shared: Shared,
    /// The audit database's password, where it is not in the URL.
    pub audit_password: Option<Secret>,
    /// What is wrong with the global channels. Those projects fail by it that have no others.
    pub channel_issues: Vec<ConfigIssue>,
}

/// Reads the global part. What is wrong is replaced by a default, so that all of it is looked at.
pub(crate) fn read(r: &mut Reader<'_, '_>) -> Global {
    let timezone = r.zone("timezone").unwrap_or_else(TimeZone::system);
    let base_dir = r.path("base_dir").or_else(|| default_base_dir(r)).unwrap_or_default();
    let audit_url = match r.secret("audit.url") {
        Some(url) => check_audit_url(r, url),
        None => Secret::value(format!("sqlite://{}/audit.db", base_dir.display())),
    };
    let daily_summary_cron = r.text("daily_summary_cron").unwrap_or_default();
    if let Some(leaf) = r.leaf("daily_summary_cron")
        && !daily_summary_cron.is_empty()
        && let Err(why) = Schedule::new(
            daily_summary_cron.as_str(),
            timezone.clone(),
            CatchUp::Never,
            Duration::ZERO,
        )
    {
        r.wrong("daily_summary_cron", leaf, why);
    }
    let defaults = RetryPolicy::default();
    let before = r.issues.len();
    let untold = r.ctx.purpose == Purpose::Read;
    let notifications = if untold { Vec::new() } else { channels::read(r) };
    let channel_issues = r.issues.split_off(before);
    let settings = GlobalSettings {
        base_dir,
        timezone: timezone.clone(),
        audit_url,
        retry: RetryPolicy {
            count: r.small("retry.count").unwrap_or(defaults.count),
            base_delay: r
                .count("retry.delay_ms")
                .map_or(defaults.base_delay, Duration::from_millis),
        },
        min_free_gb: r.amount("min_free_gb").unwrap_or_default(),
        daily_summary_cron,
        gpg_keys_dir: r.path("gpg_keys_dir"),
        http_listen: r.text("http.listen").unwrap_or_default(),
        http_token: r.secret("http.token"),
        concurrency: r.small("concurrency").unwrap_or(1),
        notifications,
        log: LogSettings {
            level: r.text("log.level").unwrap_or_default(),
            dir: r.path("log.dir"),
            json: r.text("log.format").is_some_and(|format| format == "json"),
        },
    };
    let kuma_base_url = r.text("uptime_kuma_base_url");
    let shared = Shared {
        timezone,
        ssh: SshSettings::read(r),
        kuma_is_wrong: kuma_base_url.is_none() && r.given("uptime_kuma_base_url"),
        kuma_base_url,
    };
    Global { settings, shared, audit_password: r.secret("audit.password"), channel_issues }
}

fn default_base_dir(r: &mut Reader<'_, '_>) -> Option<PathBuf> {
    if r.given("base_dir") {
        return None;
    }
    let environment = r.ctx.variables.environment;
    if environment.euid == 0 {
        return Some(PathBuf::from("/var/lib/backupctl"));
    }
    let folder = environment.xdg("XDG_STATE_HOME", ".local/state").map(|d| d.join("backupctl"));
    if folder.is_none() {
        r.missing(
            "base_dir",
            "`base_dir` is not given, and there is no home folder to put it in; set it or \
             BACKUP_BASE_DIR",
        );
    }
    folder
}

fn check_audit_url(r: &mut Reader<'_, '_>, url: Secret) -> Secret {
    // A URL may hold a password: it is never part of a message.
    let known = |url: &str| {
        ["sqlite:", "postgres://", "postgresql://"].iter().any(|start| url.starts_with(start))
    };
    if let (Ok(text), Some(leaf)) = (url.expose(), r.leaf("audit.url"))
        && !known(text)
    {
        r.wrong("audit.url", leaf, "expected a URL that begins with `sqlite://` or `postgres://`");
    }
    url
}

/// Puts a password into the URL of a database server. The error says why it cannot be.
pub(crate) fn with_password(url: &str, password: &str) -> Result<String, &'static str> {
    let Some((scheme, rest)) = url.split_once("://").filter(|(s, _)| s.starts_with("postgres"))
    else {
        return Ok(url.to_owned());
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let Some((user, host)) = authority.rsplit_once('@').filter(|(user, _)| !user.is_empty()) else {
        return Err("`audit.password` needs a user in `audit.url`: `postgres://user@host/name`");
    };
    let user = user.split(':').next().unwrap_or(user);
    Ok(format!("{scheme}://{user}:{}@{host}{tail}", crate::text::percent_encode(password)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_goes_into_a_server_url_alone() {
        let with = |url| with_password(url, "p@ss");
        assert_eq!(with("postgres://u@h:5/d?x=1").unwrap(), "postgres://u:p%40ss@h:5/d?x=1");
        assert_eq!(with("postgres://u:old@h/d").unwrap(), "postgres://u:p%40ss@h/d");
        assert_eq!(with("sqlite:///a.db").unwrap(), "sqlite:///a.db");
        assert!(with("postgres://h/d").is_err());
    }
}
