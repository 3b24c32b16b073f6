//! Encrypts and decrypts dumps with GnuPG, and imports its keys.
//!
//! Keyrings are read and filled through gpgme: which key an address means, and whether it serves, is
//! known before a byte is encrypted. The bytes go through `gpg` itself, in a stream of bounded
//! memory. Nobody is asked for a passphrase, and nothing stands under a final name before the whole
//! has authenticated.

mod crypt;
mod engine;
mod keyring;
mod recipients;
mod status;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use backupctl_application::context::StageContext;
use backupctl_application::ports::{DumpEncryptor, EncryptedFile, ToolInfo};
use backupctl_domain::project::{Encryption, EncryptionType};
use backupctl_domain::{ErrorCode, Failure};

pub use keyring::GpgKeyring;

use crate::engine::{Engine, Gpg, blocking};
use crate::recipients::Recipients;

/// Encrypts to the `OpenPGP` keys of a GnuPG keyring.
#[derive(Debug)]
pub struct GpgEncryptor {
    engine: Engine,
    recipients: Arc<Recipients>,
}

impl GpgEncryptor {
    /// Makes one for these settings. `homedir` is GnuPG's folder; `None` leaves it to GnuPG:
    /// `GNUPGHOME`, or `~/.gnupg`. Keys are looked up when they are used, so that a key that was
    /// imported or revoked meanwhile counts at once.
    ///
    /// # Errors
    ///
    /// `INVALID_CONFIG` for settings of another type.
    pub fn new(encryption: &Encryption, homedir: Option<PathBuf>) -> Result<Arc<Self>, Failure> {
        if encryption.kind != EncryptionType::Gpg {
            return Err(Failure::new(
                ErrorCode::InvalidConfig,
                format!("gpg cannot serve encryption type {}", encryption.kind.extension()),
            ));
        }
        Ok(Arc::new(Self {
            engine: Engine::new(homedir),
            recipients: Arc::new(Recipients {
                listed: encryption.recipients.clone(),
                file: encryption.recipients_file.clone(),
            }),
        }))
    }

    /// The fingerprints of the recipients' keys, and the gpg that knows them.
    async fn resolve(&self) -> Result<(Gpg, Vec<String>), Failure> {
        let engine = self.engine.clone();
        let recipients = Arc::clone(&self.recipients);
        blocking(move || {
            let mut context = engine.context()?;
            let fingerprints = recipients.resolve(&engine, &mut context)?;
            Ok((engine.gpg(&context)?, fingerprints))
        })
        .await
    }
}

#[async_trait]
impl DumpEncryptor for GpgEncryptor {
    async fn check_keys(&self) -> Result<(), Failure> {
        self.resolve().await.map(drop)
    }

    async fn check_tool(&self) -> Result<Option<ToolInfo>, Failure> {
        let engine = self.engine.clone();
        blocking(move || engine.tool().map(Some)).await
    }

    async fn encrypt(&self, source: &Path, ctx: &StageContext) -> Result<EncryptedFile, Failure> {
        ctx.cancel.check()?;
        let mut target = source.as_os_str().to_owned();
        target.push(".gpg");
        let (gpg, fingerprints) = self.resolve().await?;
        crypt::encrypt(&gpg, &fingerprints, source, target.into(), ctx).await
    }

    async fn decrypt(
        &self,
        source: &Path,
        target: &Path,
        ctx: &StageContext,
    ) -> Result<(), Failure> {
        ctx.cancel.check()?;
        let engine = self.engine.clone();
        let gpg = blocking(move || engine.gpg(&engine.context()?)).await?;
        crypt::decrypt(&self.engine, &gpg, source, target.to_owned(), ctx).await
    }
}
