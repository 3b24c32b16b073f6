//! An encryptor whose cipher is a disguise, with the manners of a real one.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use backupctl_application::context::StageContext;
use backupctl_application::ports::{DumpEncryptor, EncryptedFile};
use backupctl_domain::project::EncryptionType;
use backupctl_domain::{ErrorCode, Failure};

use super::faults::injectable;
use super::{Core, Journal, checksum, digest, with_suffix};

const HEADER: &[u8] = b"backupctl-fake-encryption\n";
const DIGEST_LEN: usize = 64;
const MASK: u8 = 0x5a;

/// A [`DumpEncryptor`]. Operations: `check_keys`, `encrypt`, `decrypt`.
///
/// A source that does not exist is encrypted in name only. Clones share their plans.
#[derive(Clone)]
pub struct FakeEncryptor {
    core: Arc<Core>,
    kind: EncryptionType,
}

injectable!(FakeEncryptor);

impl FakeEncryptor {
    /// One that says it is age.
    pub fn new(journal: &Arc<Journal>) -> Self {
        let operations = &["check_keys", "encrypt", "decrypt"];
        Self { core: Arc::new(Core::new(journal, operations)), kind: EncryptionType::Age }
    }

    /// The same under another name.
    #[must_use]
    pub fn with_kind(&self, kind: EncryptionType) -> Self {
        Self { kind, ..self.clone() }
    }
}

fn write_atomically(target: &Path, content: &[u8]) -> Result<(), Failure> {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let partial = target.with_file_name(format!(".{name}.partial"));
    let write = || {
        let mut options = fs::OpenOptions::new();
        options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)?
            .write_all(content)?;
        fs::rename(&partial, target)
    };
    write().map_err(|e: std::io::Error| {
        let _ = fs::remove_file(&partial);
        let message = format!("{} cannot be written: {e}", target.display());
        Failure::new(ErrorCode::PathNotWritable, message)
    })
}

#[async_trait]
impl DumpEncryptor for FakeEncryptor {
    async fn check_keys(&self) -> Result<(), Failure> {
        self.core.call("check_keys", "check keys", None).await
    }

    async fn encrypt(&self, source: &Path, ctx: &StageContext) -> Result<EncryptedFile, Failure> {
        self.core.call("encrypt", "encrypt", Some(&ctx.cancel)).await?;
        let path = with_suffix(source, &format!(".{}", self.kind.extension()));
        let Ok(plain) = fs::read(source) else {
            return Ok(EncryptedFile { path, bytes: 1024, checksum: checksum(b"not on disk") });
        };
        let mut out = HEADER.to_vec();
        out.extend_from_slice(digest(&plain).as_bytes());
        out.extend(plain.iter().map(|b| b ^ MASK));
        write_atomically(&path, &out)?;
        Ok(EncryptedFile { path, bytes: out.len() as u64, checksum: checksum(&out) })
    }

    async fn decrypt(
        &self,
        source: &Path,
        target: &Path,
        ctx: &StageContext,
    ) -> Result<(), Failure> {
        self.core.call("decrypt", "decrypt", Some(&ctx.cancel)).await?;
        let refused = |why: &str| {
            let message = format!("{} cannot be decrypted: {why}", source.display());
            Failure::new(ErrorCode::DecryptionFailed, message)
        };
        let sealed = fs::read(source).map_err(|e| refused(&e.to_string()))?;
        let body = sealed.strip_prefix(HEADER).ok_or_else(|| refused("no header"))?;
        let (seal, body) =
            body.split_at_checked(DIGEST_LEN).ok_or_else(|| refused("it ends too early"))?;
        let plain: Vec<u8> = body.iter().map(|b| b ^ MASK).collect();
        if digest(&plain).as_bytes() != seal {
            return Err(refused("it does not authenticate"));
        }
        write_atomically(target, &plain)
    }
}
