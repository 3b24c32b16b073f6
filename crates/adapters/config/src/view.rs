//! A project shown with the keys of the file, for `config show`.

use std::path::PathBuf;
use std::time::Duration;

use backupctl_domain::destination::{
    Destination, HostKeyCheck, ResticTarget, SnapshotMode, Target,
};
use backupctl_domain::project::{Channel, Database, Encryption, Monitor, SmtpSecurity};
use backupctl_domain::redact::MASK;
use backupctl_domain::retention::KeepPolicy;
use backupctl_domain::schedule::CatchUp;
use backupctl_domain::{Project, Redactor, Secret};
use serde_json::{Map, Value, json};

use crate::text::{size_text, span_text};

/// The project as it is in effect, secrets masked.
pub(crate) fn masked(project: &Project, redactor: &Redactor) -> Value {
    let mut view = Section::default();
    view.put("name", project.name.as_str());
    view.put("enabled", project.enabled);
    view.put("cron", project.schedule.as_ref().map(|s| s.cron.clone()));
    if let Some(schedule) = &project.schedule {
        let mut section = Section::default();
        section.put("timezone", schedule.timezone.iana_name());
        match schedule.catch_up {
            CatchUp::Never => section.put("catch_up", false),
            CatchUp::WithinGrace => section.put("catch_up", true),
            CatchUp::Always => section.put("catch_up", "always"),
        }
        section.put("grace", span_text(schedule.grace));
        view.put("schedule", section.done());
    }
    view.put("timeout_minutes", minutes(project.timeout));
    view.put("database", project.database.as_ref().map(database));
    view.put(
        "compression",
        match project.compression {
            Some(c) => json!({"enabled": true, "algorithm": c.algorithm, "level": c.level}),
            None => json!({"enabled": false}),
        },
    );
    view.put("assets", json!({"paths": project.assets.paths, "exclude": project.assets.exclude}));
    match &project.destinations[..] {
        [only] if is_plain(only, project) => view.put(only.kind(), target(&only.target)),
        several => {
            let several: Vec<Value> = several.iter().map(destination).collect();
            view.put("destinations", several);
        }
    }
    view.put("retention", retention(Some(project.retention.local_days), &project.retention.keep));
    view.put(
        "encryption",
        project.encryption.as_ref().map_or_else(|| json!({"enabled": false}), encryption),
    );
    view.put(
        "hooks",
        json!({
            "pre_backup": project.hooks.pre_backup,
            "post_backup": project.hooks.post_backup,
            "finally": project.hooks.finally,
            "timeout_minutes": minutes(Some(project.hooks.timeout)),
        }),
    );
    view.put("verification", json!({"enabled": project.verification}));
    view.put("notification", project.notifications.iter().map(channel).collect::<Vec<_>>());
    view.put("monitor", project.monitor.as_ref().map(monitor));
    let mut view = view.done();
    redact(&mut view, redactor);
    view
}

/// A mapping under construction.
#[derive(Default)]
struct Section(Map<String, Value>);

impl Section {
    fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.to_owned(), value.into());
    }

    /// A secret in the form that it is given in; a value is never shown.
    fn secret(&mut self, key: &str, secret: &Secret) {
        match secret {
            Secret::Value(_) => self.put(key, MASK),
            Secret::File(path) => self.put(&format!("{key}_file"), path_text(path)),
            Secret::Command(command) => self.put(&format!("{key}_command"), command.as_str()),
        }
    }

    fn done(self) -> Value {
        Value::Object(self.0)
    }
}

fn path_text(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}

fn path_or_none(path: Option<&PathBuf>) -> Option<String> {
    path.map(|p| path_text(p))
}

fn minutes(duration: Option<Duration>) -> Option<u64> {
    duration.map(|d| d.as_secs() / 60)
}

fn database(database: &Database) -> Value {
    let mut view = Section::default();
    view.put("type", database.engine.as_str());
    if let Some(path) = &database.path {
        view.put("path", path_text(path));
    } else {
        view.put("host", database.host.as_str());
        view.put("port", database.port);
        view.put("name", database.name.as_str());
        view.put("user", database.user.clone());
        if let Some(password) = &database.password {
            view.secret("password", password);
        }
    }
    if let Some(name) = &database.container {
        view.put("via", format!("docker:{name}"));
    }
    view.put("dump_timeout_minutes", minutes(database.dump_timeout));
    let options = &database.options;
    view.put(
        "options",
        json!({
            "extra_args": options.extra_args,
            "exclude_tables": options.exclude_tables,
            "exclude_table_data": options.exclude_table_data,
            "globals": options.globals,
            "sslmode": options.sslmode,
            "sslrootcert": options.sslrootcert,
        }),
    );
    view.done()
}

/// Whether a destination is all that the project's own section says.
fn is_plain(destination: &Destination, project: &Project) -> bool {
    destination.name.as_str() == destination.kind() && destination.keep == project.retention.keep
}

fn destination(destination: &Destination) -> Value {
    let mut view = Section::default();
    view.put("name", destination.name.as_str());
    view.put("required", destination.required);
    view.put(destination.kind(), target(&destination.target));
    view.put("retention", retention(destination.keep.days, &destination.keep));
    view.done()
}

/// The rules, with the days if they are one of them.
fn retention(days: Option<u32>, keep: &KeepPolicy) -> Value {
    let mut view = Section::default();
    if let Some(days) = days {
        view.put("local_days", days);
    }
    view.put("keep_last", keep.last);
    view.put("keep_hourly", keep.hourly);
    view.put("keep_daily", keep.daily);
    view.put("keep_weekly", keep.weekly);
    view.put("keep_monthly", keep.monthly);
    view.put("keep_yearly", keep.yearly);
    view.put("keep_within", keep.within.clone());
    view.done()
}

fn target(target: &Target) -> Value {
    match target {
        Target::Restic(target) => restic(target),
        Target::Archive(target) => json!({
            "path": path_text(&target.path),
            "require_mount": target.require_mount,
            "split_size": target.split_size.map(size_text),
            "allow_incomplete": target.allow_incomplete,
        }),
    }
}

fn restic(restic: &ResticTarget) -> Value {
    let mut view = Section::default();
    view.put("repository", restic.repository.as_str());
    if let Some(ssh) = &restic.ssh {
        view.put(
            "ssh",
            json!({
                "host": ssh.host,
                "user": ssh.user,
                "port": ssh.port,
                "key_path": ssh.key_path,
                "known_hosts_path": ssh.known_hosts_path,
                "host_key_check": match ssh.host_key_check {
                    HostKeyCheck::Strict => "strict",
                    HostKeyCheck::AcceptNew => "accept-new",
                },
            }),
        );
    }
    view.secret("password", &restic.password);
    view.put(
        "snapshot_mode",
        match restic.snapshot_mode {
            SnapshotMode::Combined => "combined",
            SnapshotMode::Separate => "separate",
        },
    );
    view.put("auto_init", restic.auto_init);
    view.put("allow_incomplete", restic.allow_incomplete);
    view.put("cache_dir", path_or_none(restic.cache_dir.as_ref()));
    view.put("options", json!(restic.options));
    let mut env = Section::default();
    restic.env.iter().for_each(|(name, secret)| env.secret(name, secret));
    view.put("env", env.done());
    view.put("limit_upload_kib", restic.limit_upload_kib);
    view.put("binary", path_or_none(restic.binary.as_ref()));
    view.done()
}

fn encryption(encryption: &Encryption) -> Value {
    json!({
        "enabled": true,
        "type": encryption.kind,
        "recipients": encryption.recipients,
        "recipients_file": encryption.recipients_file,
        "identity_file": encryption.identity_file,
    })
}

fn channel(channel: &Channel) -> Value {
    let mut config = Section::default();
    match channel {
        Channel::Slack { webhook_url } => config.secret("webhook_url", webhook_url),
        Channel::Webhook { url, secret } => {
            config.secret("url", url);
            if let Some(secret) = secret {
                config.secret("secret", secret);
            }
        }
        Channel::Email(mail) => {
            config.put("smtp_host", mail.host.as_str());
            config.put("smtp_port", mail.port);
            config.put(
                "smtp_security",
                match mail.security {
                    SmtpSecurity::None => "none",
                    SmtpSecurity::StartTls => "starttls",
                    SmtpSecurity::Tls => "tls",
                },
            );
            config.put("from", mail.from.as_str());
            config.put("to", mail.to.clone());
            config.put("user", mail.user.clone());
            if let Some(password) = &mail.password {
                config.secret("password", password);
            }
        }
    }
    json!({"type": channel.kind(), "config": config.done()})
}

fn monitor(monitor: &Monitor) -> Value {
    let mut config = Section::default();
    match monitor {
        Monitor::UptimeKuma { base_url, push_token } => {
            config.secret("push_token", push_token);
            json!({"type": "uptime-kuma", "base_url": base_url, "config": config.done()})
        }
        Monitor::Healthchecks { ping_url } => {
            config.secret("ping_url", ping_url);
            json!({"type": "healthchecks", "config": config.done()})
        }
    }
}

/// Masks known secrets that have got into other texts, e.g. a token in a hook.
fn redact(value: &mut Value, redactor: &Redactor) {
    match value {
        Value::String(text) => *text = redactor.redact(text),
        Value::Array(items) => items.iter_mut().for_each(|item| redact(item, redactor)),
        Value::Object(lines) => lines.values_mut().for_each(|line| redact(line, redactor)),
        _ => {}
    }
}
