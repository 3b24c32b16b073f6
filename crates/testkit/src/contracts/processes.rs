//! The holder of a lock is ended, and nobody else ever signalled.

use std::sync::Arc;
use std::time::Duration;

use backupctl_application::context::Cancel;
use backupctl_application::ports::{Ended, Processes};
use backupctl_domain::ProjectName;

use super::soon;
use crate::builders::name;

/// How the holder of a lock takes being asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Temper {
    /// It ends.
    Willing,
    /// It was stopped, and would end if it could.
    Stopped,
    /// It does not heed it.
    Deaf,
}

/// Holds a [`Processes`] to its promises. `hold` makes another process take a project's lock and
/// returns its number; `is_held` looks at the lock.
pub async fn processes(
    processes: Arc<dyn Processes>,
    hold: impl Fn(&ProjectName, Temper) -> u32,
    is_held: impl Fn(&ProjectName) -> bool,
) {
    assert_eq!(processes.daemon().await.unwrap(), None);
    assert_eq!(processes.reload_daemon().await.unwrap(), None);

    let (patience, cancel) = (Duration::from_mins(1), Cancel::new());
    let free = name("held-by-nobody");
    let ended = processes.end_holder(&free, std::process::id(), patience, &cancel).await;
    assert_eq!(ended.unwrap(), Ended::Gone, "nobody holds it, and this process lives on");

    for (temper, patience, how) in [
        (Temper::Willing, patience, Ended::Asked),
        (Temper::Stopped, patience, Ended::Asked),
        (Temper::Deaf, Duration::from_millis(100), Ended::Killed),
    ] {
        let project = name(&format!("held-{temper:?}").to_lowercase());
        let pid = hold(&project, temper);
        let other = processes.end_holder(&project, std::process::id(), patience, &cancel).await;
        assert_eq!(other.unwrap(), Ended::Gone, "{temper:?}: this process does not hold it");
        assert!(is_held(&project), "{temper:?}: it was not the holder that was meant");
        let call = processes.end_holder(&project, pid, patience, &cancel);
        assert_eq!(soon("its end", call).await.unwrap(), how, "{temper:?}");
        assert!(!is_held(&project), "{temper:?}: its lock is free");
        let again = processes.end_holder(&project, pid, patience, &cancel).await;
        assert_eq!(again.unwrap(), Ended::Gone, "{temper:?}");
    }
}
