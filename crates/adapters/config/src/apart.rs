//! Work whose memory is to leave no trace in a process that stays.
//!
//! A document of a thousand projects is read into millions of bytes in small pieces, and what comes of
//! it is a few of them: freed, the pieces would stay with the process, since something that lives on
//! always lies above them. A thread of its own has a part of the heap of its own. What it makes is lent,
//! and when it lets go of that nothing is left, so that the whole part goes back to the system.

use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Barrier, Mutex, PoisonError};
use std::thread;

/// The stack of the thread: a document may be nested deeply.
const STACK: usize = 8 * 1024 * 1024;

/// So large a piece makes the allocator put the small ones before it together when it is freed.
const LARGE: usize = 100 * 1024;

/// Makes something in a thread of its own and lends it to `work`, here. `None` where there is no thread
/// to be had.
pub(crate) fn lent<T: Send, R>(
    make: impl FnOnce() -> T + Send,
    work: impl FnOnce(&T) -> R,
) -> Option<R> {
    let place = Mutex::new(None);
    // Meeting like this takes no memory. What did, and stayed, would lie above all that is let go.
    let (is_there, is_done) = (Barrier::new(2), Barrier::new(2));
    let make = || {
        let made = catch_unwind(AssertUnwindSafe(make));
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(made);
        is_there.wait();
        is_done.wait();
        drop(place.lock().unwrap_or_else(PoisonError::into_inner).take());
        drop(black_box(vec![1_u8; LARGE]));
    };
    let done = thread::scope(|scope| {
        let thread = thread::Builder::new().name("config".to_owned()).stack_size(STACK);
        thread.spawn_scoped(scope, make).ok()?;
        is_there.wait();
        let mut made = place.lock().unwrap_or_else(PoisonError::into_inner);
        let done = match &*made {
            Some(Ok(made)) => Some(catch_unwind(AssertUnwindSafe(|| work(made)))),
            _ => None,
        };
        let panic = if done.is_none() { made.take() } else { None };
        drop(made);
        is_done.wait();
        Some((done, panic))
    });
    match done? {
        (Some(Ok(result)), _) => Some(result),
        (Some(Err(panic)), _) | (None, Some(Err(panic))) => resume_unwind(panic),
        (None, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_lent_and_a_panic_on_either_side_comes_through() {
        assert_eq!(lent(|| vec![1, 2, 3], Vec::len), Some(3));
        let made: std::thread::Result<Option<()>> =
            catch_unwind(|| lent(|| panic!("made"), |()| ()));
        assert!(made.is_err());
        let used: std::thread::Result<Option<()>> =
            catch_unwind(|| lent(|| (), |()| panic!("used")));
        assert!(used.is_err());
    }
}
