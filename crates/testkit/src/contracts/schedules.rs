//! What is remembered of schedules: per project and for the machine, and never half.

use std::sync::Arc;

use backupctl_application::ports::ScheduleStore;
use backupctl_domain::schedule::memory::{MachineMemory, Pause, ScheduleMemory, SummaryMemory};
use jiff::{Timestamp, ToSpan};

use crate::builders::name;

/// Holds an empty store to its promises. Each call of `make` gives a handle to the same memory, as
/// another process would have it.
pub async fn schedule_store(make: impl Fn() -> Arc<dyn ScheduleStore>) {
    let (ours, theirs) = (make(), make());
    let at: Timestamp = "2026-03-18T00:00:05Z".parse().expect("a timestamp");
    let shop = name("shop");

    assert_eq!(ours.project(&shop).await.unwrap(), ScheduleMemory::default());
    assert_eq!(ours.machine().await.unwrap(), MachineMemory::default());

    let pause = Pause { since: at, until: Some(at.checked_add(1.hour()).unwrap()) };
    let changed = ours.update_project(&shop, Box::new(move |m| m.pause = Some(pause))).await;
    assert_eq!(changed.unwrap().pause, Some(pause));
    assert_eq!(theirs.project(&shop).await.unwrap().pause, Some(pause));
    assert_eq!(theirs.project(&name("other")).await.unwrap(), ScheduleMemory::default());

    let summary = SummaryMemory { at, problems: vec!["webhook: no answer".to_owned()] };
    let kept = summary.clone();
    theirs.update_machine(Box::new(move |m| m.summary = Some(kept))).await.unwrap();
    assert_eq!(ours.machine().await.unwrap().summary, Some(summary));

    // Many at once, each on top of what the one before has left.
    let step = |store: Arc<dyn ScheduleStore>| {
        let shop = shop.clone();
        tokio::spawn(async move {
            let change = |m: &mut ScheduleMemory| {
                let last = m.handled_until.unwrap_or(Timestamp::UNIX_EPOCH);
                m.handled_until = last.checked_add(1.second()).ok();
            };
            store.update_project(&shop, Box::new(change)).await.unwrap();
        })
    };
    let steps: Vec<_> = (0..10).flat_map(|_| [step(make()), step(make())]).collect();
    for step in steps {
        step.await.unwrap();
    }
    let counted = ours.project(&shop).await.unwrap();
    assert_eq!(counted.handled_until, Timestamp::from_second(20).ok());
    assert_eq!(counted.pause, Some(pause), "one change leaves the rest alone");
}
