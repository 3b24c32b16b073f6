//! What could not be delivered: kept, delivered once, never lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use backupctl_application::ports::{FallbackEntry, FallbackWriter, ReplaySink};
use backupctl_domain::{ErrorCode, Failure, Notice, Stage};
use jiff::tz::TimeZone;
use tokio::sync::Notify;

use super::soon;
use crate::builders::{at, name, run};

/// Holds an empty fallback to its promises. Each call of `make` gives a handle to the same entries,
/// as another process would have it.
pub async fn fallback_writer(make: impl Fn() -> Arc<dyn FallbackWriter>) {
    let (ours, theirs) = (make(), make());
    only_what_was_delivered_goes(&*ours, &*theirs).await;
    two_replays_at_once_deliver_once(&*ours, &*theirs).await;
    an_entry_that_comes_during_a_replay_stays(&*ours, &*theirs).await;
}

fn audit(project: &str) -> FallbackEntry {
    let message = "größer als \"vorher\"\nzweite Zeile";
    let took = std::time::Duration::from_secs(79);
    let run = run(project).failed(Stage::Sync, ErrorCode::RepoLocked, message, took).build();
    FallbackEntry::Audit { run: Box::new(run) }
}

fn notification(project: &str) -> FallbackEntry {
    FallbackEntry::Notification {
        project: name(project),
        channel: "webhook".to_owned(),
        index: 1,
        notice: Notice::started(&run(project).build(), &TimeZone::UTC),
    }
}

fn global_notification() -> FallbackEntry {
    FallbackEntry::GlobalNotification {
        channel: "webhook".to_owned(),
        index: 0,
        notice: Notice::daily_summary(&[], at("2026-03-18T08:00:00Z"), &TimeZone::UTC),
    }
}

/// Takes what it is asked to, and remembers it.
#[derive(Default)]
struct Sink {
    refuse_audit: AtomicBool,
    delivered: Mutex<Vec<FallbackEntry>>,
    /// Told at the first delivery.
    began: Notify,
}

impl Sink {
    fn delivered(&self) -> Vec<FallbackEntry> {
        self.delivered.lock().unwrap().clone()
    }
}

#[async_trait]
impl ReplaySink for Sink {
    async fn deliver(&self, entry: &FallbackEntry) -> Result<(), Failure> {
        self.began.notify_one();
        // Lets a second replay in, if it can get in.
        tokio::task::yield_now().await;
        let refuse = self.refuse_audit.load(Ordering::SeqCst);
        if refuse && matches!(entry, FallbackEntry::Audit { .. }) {
            return Err(Failure::new(ErrorCode::AuditUnavailable, "still down"));
        }
        self.delivered.lock().unwrap().push(entry.clone());
        Ok(())
    }
}

async fn only_what_was_delivered_goes(ours: &dyn FallbackWriter, theirs: &dyn FallbackWriter) {
    assert_eq!(ours.pending().await.unwrap(), 0);
    assert_eq!(ours.entries().await.unwrap(), []);
    let sink = Sink::default();
    let report = ours.replay(&sink).await.unwrap();
    assert_eq!((report.delivered, report.remaining.len(), report.rejected), (0, 0, 0));

    let entries = [audit("one"), notification("two"), audit("three"), global_notification()];
    for entry in &entries {
        ours.append(entry).await.unwrap();
    }
    assert_eq!(theirs.pending().await.unwrap(), 4);
    assert_eq!(theirs.entries().await.unwrap(), entries, "what was written is read back");

    sink.refuse_audit.store(true, Ordering::SeqCst);
    let report = theirs.replay(&sink).await.unwrap();
    assert_eq!((report.delivered, report.rejected), (2, 0));
    assert_eq!(report.remaining.len(), 2);
    assert!(report.remaining.iter().all(|why| why.contains("still down")), "{report:?}");
    assert_eq!(sink.delivered(), [entries[1].clone(), entries[3].clone()]);
    assert_eq!(ours.entries().await.unwrap(), [entries[0].clone(), entries[2].clone()]);

    sink.refuse_audit.store(false, Ordering::SeqCst);
    let report = ours.replay(&sink).await.unwrap();
    assert_eq!((report.delivered, report.remaining.len()), (2, 0));
    assert_eq!(sink.delivered()[2..], [entries[0].clone(), entries[2].clone()], "oldest first");
    assert_eq!(theirs.pending().await.unwrap(), 0);
}

async fn two_replays_at_once_deliver_once(ours: &dyn FallbackWriter, theirs: &dyn FallbackWriter) {
    let entries: Vec<FallbackEntry> = (0..10).map(|n| notification(&format!("p{n}"))).collect();
    for entry in &entries {
        ours.append(entry).await.unwrap();
    }
    let sink = Sink::default();
    let both = async { tokio::join!(ours.replay(&sink), theirs.replay(&sink)) };
    let (first, second) = soon("two replays at once", both).await;
    assert_eq!(first.unwrap().delivered + second.unwrap().delivered, entries.len());
    assert_eq!(sink.delivered(), entries);
    assert_eq!(ours.pending().await.unwrap(), 0);
}

async fn an_entry_that_comes_during_a_replay_stays(
    ours: &dyn FallbackWriter,
    theirs: &dyn FallbackWriter,
) {
    ours.append(&notification("before")).await.unwrap();
    let (sink, late) = (Sink::default(), notification("during"));
    let append = async {
        sink.began.notified().await;
        theirs.append(&late).await
    };
    let both = async { tokio::join!(ours.replay(&sink), append) };
    let (replayed, appended) = soon("a replay and an append", both).await;
    replayed.unwrap();
    appended.unwrap();
    // Delivered by that very replay or still waiting: both are right, lost is not.
    let mut all = sink.delivered();
    all.extend(ours.entries().await.unwrap());
    assert_eq!(all, [notification_like(&all[0], "before"), late]);
    ours.replay(&sink).await.unwrap();
    assert_eq!(ours.pending().await.unwrap(), 0);
}

/// The entry itself, if it is that project's.
fn notification_like(entry: &FallbackEntry, project: &str) -> FallbackEntry {
    match entry {
        FallbackEntry::Notification { project: p, .. } if p.as_str() == project => entry.clone(),
        other => panic!("{other:?} stands where {project}'s entry should"),
    }
}
