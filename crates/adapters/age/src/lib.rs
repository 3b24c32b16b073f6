//! Encrypts and decrypts dumps with age, in-process.
//!
//! One file is one stream: read, encrypted and written in bounded buffers, under a partial name
//! until the last byte is on disk. The format is age's own, so the `age` program reads what this
//! writes, and the other way round.

mod crypt;
mod envelope;
mod keys;
mod sink;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use backupctl_application::context::StageContext;
use backupctl_application::ports::{DumpEncryptor, EncryptedFile};
use backupctl_domain::project::{Encryption, EncryptionType};
use backupctl_domain::{ErrorCode, Failure};

use crate::crypt::Job;
use crate::keys::Keys;

/// Encrypts to age and ssh public keys.
#[derive(Debug)]
pub struct AgeEncryptor {
    keys: Arc<Keys>,
}

impl AgeEncryptor {
    /// Makes one for these settings. Keys and key files are read when they are used, so that a
    /// changed recipients file counts at once.
    ///
    /// # Errors
    ///
    /// `INVALID_CONFIG` for settings of another type.
    pub fn new(encryption: &Encryption) -> Result<Arc<Self>, Failure> {
        if encryption.kind != EncryptionType::Age {
            return Err(Failure::new(
                ErrorCode::InvalidConfig,
                format!("age cannot serve encryption type {}", encryption.kind.extension()),
            ));
        }
        Ok(Arc::new(Self {
            keys: Arc::new(Keys {
                recipients: encryption.recipients.clone(),
                recipients_file: encryption.recipients_file.clone(),
                identity_file: encryption.identity_file.clone(),
            }),
        }))
    }

    /// Runs blocking work on its own thread. Work whose caller has gone is told to stop: nobody
    /// would know of the file that it makes.
    async fn blocking<T: Send + 'static>(
        &self,
        ctx: &StageContext,
        source: &Path,
        target: PathBuf,
        work: impl FnOnce(&Keys, &Job) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let abandoned = Arc::new(AtomicBool::new(false));
        let _guard = AbandonOnDrop(Arc::clone(&abandoned));
        let keys = Arc::clone(&self.keys);
        let job = Job { source: source.to_owned(), target, ctx: ctx.clone(), abandoned };
        tokio::task::spawn_blocking(move || work(&keys, &job))
            .await
            .unwrap_or_else(|e| Err(Failure::internal(format!("the age thread ended early: {e}"))))
    }
}

struct AbandonOnDrop(Arc<AtomicBool>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl DumpEncryptor for AgeEncryptor {
    async fn check_keys(&self) -> Result<(), Failure> {
        self.keys.check()
    }

    async fn encrypt(&self, source: &Path, ctx: &StageContext) -> Result<EncryptedFile, Failure> {
        let mut target = source.as_os_str().to_owned();
        target.push(".age");
        self.blocking(ctx, source, target.into(), crypt::encrypt).await
    }

    async fn decrypt(
        &self,
        source: &Path,
        target: &Path,
        ctx: &StageContext,
    ) -> Result<(), Failure> {
        self.blocking(ctx, source, target.to_owned(), crypt::decrypt).await
    }
}
