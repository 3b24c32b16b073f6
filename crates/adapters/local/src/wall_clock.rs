//! Waiting for a time of day. The runtime's own timers count the time that the machine is awake, and
//! know nothing of a clock that is set: what waits by them for two o'clock comes too late after a
//! night of sleep. The kernel's timers of the wall clock do not.

use std::io;
use std::os::fd::OwnedFd;

use jiff::Timestamp;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Waits until the wall clock shows `time`.
#[expect(
    deprecated,
    reason = "the replacement is unsafe; what it warns of cannot be: the descriptor is owned, and stays"
)]
pub(crate) async fn reach(time: Timestamp) -> io::Result<()> {
    let timer = AsyncFd::with_interest(armed(time)?, Interest::READABLE)?;
    let _ready = timer.readable().await?;
    Ok(())
}

fn armed(time: Timestamp) -> io::Result<OwnedFd> {
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    let timer = timerfd_create(TimerfdClockId::Realtime, flags)?;
    // All zero would disarm it; a moment after 1970 is as past as any.
    let (seconds, nanos) = (time.as_second(), i64::from(time.subsec_nanosecond()));
    let (seconds, nanos) = if seconds < 1 { (1, 0) } else { (seconds, nanos.max(0)) };
    let never = Timespec { tv_sec: 0, tv_nsec: 0 };
    let at =
        Itimerspec { it_interval: never, it_value: Timespec { tv_sec: seconds, tv_nsec: nanos } };
    timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME, &at)?;
    Ok(timer)
}
