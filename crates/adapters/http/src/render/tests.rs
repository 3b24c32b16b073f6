//! What monitoring systems read, held to the rules of the format and of `promtool check metrics`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use backupctl_application::use_cases::{DestinationMetrics, LastRun};

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn shop() -> ProjectMetrics {
    ProjectMetrics {
        project: "shop".to_owned(),
        enabled: Some(true),
        state: Some("failing"),
        is_overdue: Some(true),
        is_paused: Some(false),
        is_running: false,
        due: Some(at("2026-03-18T03:00:00Z")),
        last_success: Some(at("2026-03-17T02:00:00.500Z")),
        last_run: Some(LastRun {
            started_at: at("2026-03-18T02:00:00Z"),
            duration: Duration::from_millis(79_123),
            succeeded: false,
        }),
        dump_bytes: Some(152_253_030),
        bytes_added: Some(0),
        repository_bytes: Some(1 << 40),
        failures: vec![("DISK_FULL".to_owned(), 1), ("REPO_LOCKED".to_owned(), 12)],
        destinations: vec![
            DestinationMetrics {
                destination: "box".to_owned(),
                last_stored: Some(at("2026-03-17T02:00:00.500Z")),
                is_overdue: true,
            },
            DestinationMetrics {
                destination: "stick".to_owned(),
                last_stored: None,
                is_overdue: false,
            },
        ],
    }
}

fn everything() -> Metrics {
    Metrics {
        version: "0.1.0".to_owned(),
        config_up: true,
        audit_up: true,
        fallback_pending: Some(3),
        watched_at: Some(at("2026-03-18T04:00:00Z")),
        summary_delivered: Some(false),
        projects: vec![
            shop(),
            ProjectMetrics { project: "new".to_owned(), ..ProjectMetrics::default() },
        ],
    }
}

#[test]
fn what_is_known_is_told_and_what_is_not_is_left_out() {
    insta::assert_snapshot!(render(&everything()));
}

#[test]
fn without_anything_there_is_still_something() {
    let text = render(&Metrics { version: "0.1.0".to_owned(), ..Metrics::default() });
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(
        lines,
        ["backupctl_audit_up 0", "backupctl_config_up 0", "backupctl_info{version=\"0.1.0\"} 1"]
    );
}

#[test]
fn any_name_can_be_a_label() {
    let odd = ProjectMetrics { project: "a\"b\\c\nd é#2".to_owned(), ..shop() };
    let text = render(&Metrics { projects: vec![odd.clone(), odd], ..everything() });
    checked(&text);
    assert!(text.contains("backupctl_overdue{project=\"a\\\"b\\\\c\\nd é#2\"} 1\n"), "{text}");
    assert!(
        text.contains("\",code=\"REPO_LOCKED\"} 12\n")
            || text.contains("code=\"REPO_LOCKED\",project=")
    );
}

#[test]
fn the_rules_of_the_format_are_kept() {
    let families = checked(&render(&everything()));
    // Each of the numbers that a rule may be built upon is there.
    let names: Vec<&str> = families.keys().map(String::as_str).collect();
    assert_eq!(names.len(), GAUGES.len() + 10, "{names:?}");
}

/// Reads the text as strictly as `promtool check metrics`; returns the series of each family.
fn checked(text: &str) -> BTreeMap<String, usize> {
    let mut families: BTreeMap<String, usize> = BTreeMap::new();
    let mut series = BTreeSet::new();
    let mut lines = text.lines().peekable();
    assert!(text.ends_with('\n'));
    while let Some(line) = lines.next() {
        let (name, help) = line.strip_prefix("# HELP ").unwrap().split_once(' ').unwrap();
        assert!(help.ends_with('.'), "{line}");
        let kind = lines.next().unwrap().strip_prefix(&format!("# TYPE {name} ")).unwrap();
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        assert!(["counter", "gauge"].contains(&kind));
        assert!(name.starts_with("backupctl_"), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        for unit in ["milliseconds", "minutes", "hours", "kilobytes", "mib", "_gauge", "_count"] {
            assert!(!name.contains(unit), "{name} has no base unit");
        }
        assert!(families.insert(name.to_owned(), 0).is_none(), "{name} comes twice");
        while let Some(sample) = lines.next_if(|line| !line.starts_with('#')) {
            let (what, value) = sample.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().unwrap().is_finite(), "{sample}");
            let bare = what.split_once('{').map_or(what, |(bare, labels)| {
                assert!(labels.ends_with("\"}"), "{sample}");
                bare
            });
            assert_eq!(bare, name);
            assert!(series.insert(what.to_owned()), "{what} comes twice");
            *families.get_mut(name).unwrap() += 1;
        }
        assert!(families[name] > 0, "{name} has no series");
    }
    families
}
