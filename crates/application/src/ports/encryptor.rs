//! Encrypting a dump file, and getting it back.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use backupctl_domain::Failure;

use super::ToolInfo;
use crate::context::StageContext;

/// An encrypted file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptedFile {
    /// Where it is: the source's name with `.age` or `.gpg` added.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// `blake3:` and 64 hexadecimal characters over its bytes.
    pub checksum: String,
}

/// Encrypts and decrypts files.
///
/// Promises: both directions write atomically (`.{name}.partial`, 0600, fsync, rename) and replace a
/// file that has the name; memory does not grow with the file; no byte of a decrypted file stands
/// under its final name before the whole has authenticated; the source is left alone.
#[async_trait]
pub trait DumpEncryptor: Send + Sync {
    /// That every recipient can be encrypted to: present, well-formed, not expired.
    async fn check_keys(&self) -> Result<(), Failure>;
    /// The program that does the work, found and answering; `None` for one that is built in.
    async fn check_tool(&self) -> Result<Option<ToolInfo>, Failure> {
        Ok(None)
    }
    /// Encrypts `source` beside itself.
    async fn encrypt(&self, source: &Path, ctx: &StageContext) -> Result<EncryptedFile, Failure>;
    /// Decrypts `source` into `target`.
    async fn decrypt(
        &self,
        source: &Path,
        target: &Path,
        ctx: &StageContext,
    ) -> Result<(), Failure>;
}
