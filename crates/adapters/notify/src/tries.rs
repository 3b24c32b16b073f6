//! How a delivery is tried, the same on every channel: twice, with a pause between.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use backupctl_application::ports::Clock;

/// How long one try may take.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// The wait between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// Tries it, and once more where that fails. The error is the second one.
pub(crate) async fn twice<E, F>(clock: &dyn Clock, attempt: impl Fn() -> F + Send) -> Result<(), E>
where
    F: Future<Output = Result<(), E>> + Send,
{
    if attempt().await.is_ok() {
        return Ok(());
    }
    clock.sleep(PAUSE).await;
    attempt().await
}

/// The first cause: the system's or the other side's own words.
pub(crate) fn innermost(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = cause.to_string();
        next = cause.source();
    }
    text
}
