//! How an adapter encrypts a stream without knowing with what.

use std::io::{self, Read, Write};
use std::path::Path;

use backupctl_domain::Failure;

/// Encrypts and decrypts whole streams.
///
/// Promises: what is sealed is authenticated piece by piece and at its end, so that a reader of it gets
/// an error for every changed byte and for a missing end, and never bytes that were not sealed.
pub trait Envelope: Send + Sync {
    /// The recipients are usable; the identity too, where one is configured.
    ///
    /// # Errors
    ///
    /// `ENCRYPTION_KEY_MISSING`, `ENCRYPTION_KEY_PERMISSIONS`.
    fn check(&self) -> Result<(), Failure>;

    /// Whether an identity is configured to open with.
    fn can_open(&self) -> bool;

    /// Encrypts what is written to the result into `out`.
    fn seal<'w>(
        &self,
        out: Box<dyn Write + Send + 'w>,
    ) -> Result<Box<dyn Sealing + Send + 'w>, Failure>;

    /// Decrypts `source`; `path` is for messages.
    ///
    /// # Errors
    ///
    /// `ENCRYPTION_KEY_MISSING` where there is no identity, `DECRYPTION_FAILED` where it is not the
    /// right one or the beginning is damaged.
    fn open<'r>(
        &self,
        source: Box<dyn Read + Send + 'r>,
        path: &Path,
    ) -> Result<Box<dyn Read + 'r>, Failure>;

    /// What an error of reading what [`open`](Self::open) gave means: cut, not authentic, or what the
    /// system says.
    fn read_failure(&self, error: &io::Error, path: &Path) -> Failure;
}

/// A stream being encrypted. Only [`finish`](Self::finish) makes it whole.
pub trait Sealing: Write {
    /// Writes the end, and flushes what it was written to.
    fn finish(self: Box<Self>) -> io::Result<()>;
}
