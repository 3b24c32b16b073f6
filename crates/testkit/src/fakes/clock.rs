//! A clock that the test holds.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use backupctl_application::ports::Clock;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::watch;

use super::{Journal, locked};

/// How many turns of the scheduler everybody else gets before a sleep of an automatic clock ends.
const TURNS: usize = 32;

/// A [`Clock`] that never really waits.
///
/// *Automatic* (as made): a sleep lets everybody else have a few turns in which no sleep begins or ends
/// and then, if it is the earliest of all sleeps, moves the clock to its end. So a retry's wait costs nothing, and a timer
/// beside a stage fires only when that stage hangs. *Manual*: a sleep ends by
/// [`FakeClock::advance`] alone; a loop that sleeps for ever needs this one.
pub struct FakeClock {
    journal: Arc<Journal>,
    now: watch::Sender<Timestamp>,
    sleepers: watch::Sender<Vec<Sleep>>,
    sleeps: Mutex<Vec<Duration>>,
    manual: AtomicBool,
    zone: Mutex<TimeZone>,
    next: Mutex<u64>,
    /// Counts sleeps that begin and end, and moves of the time.
    changes: AtomicU64,
}

impl FakeClock {
    /// A clock at 2026-03-18T00:00:05Z in UTC, automatic.
    pub fn new(journal: &Arc<Journal>) -> Self {
        let start = "2026-03-18T00:00:05Z".parse().expect("a timestamp");
        Self {
            journal: Arc::clone(journal),
            now: watch::Sender::new(start),
            sleepers: watch::Sender::new(Vec::new()),
            sleeps: Mutex::default(),
            manual: AtomicBool::new(false),
            zone: Mutex::new(TimeZone::UTC),
            next: Mutex::default(),
            changes: AtomicU64::new(0),
        }
    }

    /// From now on sleeps end only by [`FakeClock::advance`].
    pub fn set_manual(&self) {
        self.manual.store(true, Ordering::SeqCst);
    }

    /// Sets the time; sleeps that it passes end.
    pub fn set(&self, now: Timestamp) {
        self.now.send_replace(now);
        self.changed();
    }

    /// Sets the wall clock back, which those do not see who sleep for a time, only those who wait for one.
    pub fn set_back(&self, to: Timestamp) {
        let by = self.now().duration_since(to);
        self.sleepers.send_modify(|all| {
            for sleep in all.iter_mut().filter(|sleep| !sleep.by_the_wall) {
                sleep.end = sleep.end.checked_sub(by).unwrap_or(Timestamp::MIN);
            }
        });
        self.set(to);
    }

    /// Moves the time on; sleeps that it passes end.
    pub fn advance(&self, by: Duration) {
        self.now.send_modify(|now| *now = after(*now, by));
        self.changed();
    }

    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// Sets the system's time zone.
    pub fn set_zone(&self, zone: TimeZone) {
        *locked(&self.zone) = zone;
    }

    /// Every sleep that was asked for, in order.
    pub fn sleeps(&self) -> Vec<Duration> {
        locked(&self.sleeps).clone()
    }

    /// Waits until at least so many calls sleep at once.
    pub async fn sleeping(&self, count: usize) {
        let _ = self.sleepers.subscribe().wait_for(|all| all.len() >= count).await;
    }
}

/// One that goes on.
#[derive(Debug, Clone, Copy)]
struct Sleep {
    id: u64,
    end: Timestamp,
    /// Whether it waits for a time of the wall clock, rather than for so long.
    by_the_wall: bool,
}

fn after(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

struct Sleeper<'a> {
    clock: &'a FakeClock,
    id: u64,
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        self.clock.sleepers.send_modify(|all| all.retain(|sleep| sleep.id != self.id));
        self.clock.changed();
    }
}

impl FakeClock {
    async fn wait(&self, duration: Duration, by_the_wall: bool) {
        self.journal.record(format!("sleep {}s", duration.as_secs_f64()));
        locked(&self.sleeps).push(duration);
        let id = {
            let mut next = locked(&self.next);
            *next += 1;
            *next
        };
        let sleep = Sleep { id, end: after(self.now(), duration), by_the_wall };
        self.sleepers.send_modify(|all| all.push(sleep));
        self.changed();
        let _sleeper = Sleeper { clock: self, id };
        let mut now = self.now.subscribe();
        let mut turns = 0;
        let mut seen = 0;
        loop {
            let all = self.sleepers.borrow().clone();
            let end = all.iter().find(|s| s.id == id).map_or(sleep.end, |s| s.end);
            if *now.borrow_and_update() >= end {
                return;
            }
            if self.manual.load(Ordering::SeqCst) {
                let _ = now.changed().await;
                continue;
            }
            tokio::task::yield_now().await;
            let changes = self.changes.load(Ordering::SeqCst);
            turns = if changes == seen { turns + 1 } else { 0 };
            seen = changes;
            if turns >= TURNS && all.iter().all(|other| end <= other.end) {
                self.now.send_modify(|now| *now = (*now).max(end));
                self.changed();
            }
        }
    }
}

#[async_trait]
impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    fn system_time_zone(&self) -> TimeZone {
        locked(&self.zone).clone()
    }

    async fn sleep_until(&self, time: Timestamp) {
        let left = Duration::try_from(time.duration_since(self.now())).unwrap_or_default();
        self.wait(left, true).await;
    }

    async fn sleep(&self, duration: Duration) {
        self.wait(duration, false).await;
    }
}
