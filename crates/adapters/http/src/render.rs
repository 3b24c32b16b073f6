//! Metrics in the text format of Prometheus.

#[cfg(test)]
mod tests;

use backupctl_application::use_cases::{Metrics, ProjectMetrics};
use jiff::Timestamp;
use prometheus::{Encoder as _, GaugeVec, IntCounterVec, Opts, Registry, TextEncoder};

/// The one label that every number of a project has.
const PROJECT: &[&str] = &["project"];

/// Of the machine as a whole.
const NO_LABELS: &[&str] = &[];

/// A gauge of projects: its name, what it says, and what it is for one of them.
type Gauge = (&'static str, &'static str, fn(&ProjectMetrics) -> Option<f64>);

/// The gauges of projects.
const GAUGES: [Gauge; 12] = [
    (
        "backupctl_last_success_timestamp_seconds",
        "When the last successful run started: a backup is as old as what is in it.",
        |p| p.last_success.map(seconds),
    ),
    (
        "backupctl_last_run_timestamp_seconds",
        "When the last run that has ended started; of a missed one, when it was due.",
        |p| p.last_run.map(|run| seconds(run.started_at)),
    ),
    ("backupctl_last_run_duration_seconds", "How long the last run that has ended took.", |p| {
        p.last_run.map(|run| run.duration.as_secs_f64())
    }),
    ("backupctl_last_run_success", "Whether the last run that has ended succeeded.", |p| {
        p.last_run.map(|run| truth(run.succeeded))
    }),
    ("backupctl_due_timestamp_seconds", "By when the next success is, or was, due.", |p| {
        p.due.map(seconds)
    }),
    ("backupctl_overdue", "Whether a success that was promised is missing.", |p| {
        p.is_overdue.map(truth)
    }),
    ("backupctl_paused", "Whether the schedule is paused.", |p| p.is_paused.map(truth)),
    ("backupctl_enabled", "Whether the configuration enables the project.", |p| {
        p.enabled.map(truth)
    }),
    ("backupctl_running", "Whether a run goes on.", |p| Some(truth(p.is_running))),
    ("backupctl_dump_bytes", "The size of the last successful run's dump file.", |p| {
        p.dump_bytes.map(number)
    }),
    (
        "backupctl_bytes_added",
        "What the last successful run added to the repository, before compression.",
        |p| p.bytes_added.map(number),
    ),
    (
        "backupctl_repository_bytes",
        "The size of the repository, where it is known at no cost.",
        |p| p.repository_bytes.map(number),
    ),
];

/// The metrics as `/metrics` answers and the textfile collector reads: a family a name, in the order
/// of names; a number that is not known is left out.
pub fn render(metrics: &Metrics) -> String {
    encode(metrics).unwrap_or_else(|error| {
        // Names and labels are constants, so this is a bug, and one that missing metrics show.
        tracing::error!(%error, "metrics cannot be written");
        String::new()
    })
}

fn encode(metrics: &Metrics) -> prometheus::Result<String> {
    let registry = Registry::new();
    for (name, help, value) in GAUGES {
        let gauge = gauge(&registry, name, help, PROJECT)?;
        for (p, value) in metrics.projects.iter().filter_map(|p| Some((p, value(p)?))) {
            gauge.get_metric_with_label_values(&[&p.project])?.set(value);
        }
    }
    words(&registry, &metrics.projects)?;
    destinations(&registry, &metrics.projects)?;
    machine(&registry, metrics)?;
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn gauge(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<GaugeVec> {
    let gauge = GaugeVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

/// What has a word as its second label.
fn words(registry: &Registry, projects: &[ProjectMetrics]) -> prometheus::Result<()> {
    let help = "1 for the one word that says how the project stands; only fresh is green.";
    let states = gauge(registry, "backupctl_state", help, &["project", "state"])?;
    let help = "Recorded runs that have failed, by error code.";
    let opts = Opts::new("backupctl_failures_total", help);
    let failures = IntCounterVec::new(opts, &["project", "code"])?;
    registry.register(Box::new(failures.clone()))?;
    for p in projects {
        if let Some(state) = p.state {
            states.get_metric_with_label_values(&[p.project.as_str(), state])?.set(1.0);
        }
        for (code, count) in &p.failures {
            let counter = failures.get_metric_with_label_values(&[&p.project, code])?;
            // Two entries of one name, which is an error of the configuration, have one count.
            counter.reset();
            counter.inc_by(*count);
        }
    }
    Ok(())
}

/// What each destination of a project has.
fn destinations(registry: &Registry, projects: &[ProjectMetrics]) -> prometheus::Result<()> {
    let labels = &["project", "destination"];
    let help = "When the newest run started that is stored at the destination.";
    let name = "backupctl_destination_last_stored_timestamp_seconds";
    let stored = gauge(registry, name, help, labels)?;
    let help = "Whether a backup that was promised is missing at the destination.";
    let overdue = gauge(registry, "backupctl_destination_overdue", help, labels)?;
    for p in projects {
        for d in &p.destinations {
            let labels = [p.project.as_str(), d.destination.as_str()];
            if let Some(at) = d.last_stored {
                stored.get_metric_with_label_values(&labels)?.set(seconds(at));
            }
            overdue.get_metric_with_label_values(&labels)?.set(truth(d.is_overdue));
        }
    }
    Ok(())
}

fn machine(registry: &Registry, metrics: &Metrics) -> prometheus::Result<()> {
    let help = "backupctl's version.";
    let info = gauge(registry, "backupctl_info", help, &["version"])?;
    info.get_metric_with_label_values(&[&metrics.version])?.set(1.0);
    let numbers = [
        (
            "backupctl_audit_up",
            "Whether the audit database answers; without it much is not known.",
            Some(truth(metrics.audit_up)),
        ),
        (
            "backupctl_config_up",
            "Whether the configuration can be loaded; without it no project is known.",
            Some(truth(metrics.config_up)),
        ),
        (
            "backupctl_fallback_pending",
            "Records and notices that wait to be delivered.",
            metrics.fallback_pending.map(|n| number(u64::try_from(n).unwrap_or(u64::MAX))),
        ),
        (
            "backupctl_watched_timestamp_seconds",
            "When it was last looked whether successes come as promised.",
            metrics.watched_at.map(seconds),
        ),
        (
            "backupctl_summary_delivered",
            "Whether every channel took the last daily summary.",
            metrics.summary_delivered.map(truth),
        ),
    ];
    for (name, help, value) in numbers {
        if let Some(value) = value {
            gauge(registry, name, help, NO_LABELS)?
                .get_metric_with_label_values(NO_LABELS)?
                .set(value);
        }
    }
    Ok(())
}

const fn truth(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "sizes up to 8 PiB are exact, and larger ones near it"
)]
const fn number(n: u64) -> f64 {
    n as f64
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of these centuries fit 53 bits")]
fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}
