//! Importing keys into the keyring.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use backupctl_application::ports::KeyManager;
use backupctl_domain::{ErrorCode, Failure};
use gpgme::{Data, ImportFlags};

use crate::engine::{Engine, blocking, failure, own_words};

/// What the files of a key folder end with; others are left alone.
const EXTENSIONS: [&str; 3] = ["asc", "gpg", "key"];

/// A GnuPG keyring.
#[derive(Debug)]
pub struct GpgKeyring {
    engine: Engine,
}

impl GpgKeyring {
    /// The keyring in this folder; `None` leaves it to GnuPG: `GNUPGHOME`, or `~/.gnupg`.
    pub fn new(homedir: Option<PathBuf>) -> Arc<Self> {
        Arc::new(Self { engine: Engine::new(homedir) })
    }
}

#[async_trait]
impl KeyManager for GpgKeyring {
    async fn import_file(&self, file: &Path) -> Result<Vec<String>, Failure> {
        let (engine, file) = (self.engine.clone(), file.to_owned());
        blocking(move || Ok(import(&engine, &file)?.into_iter().map(|i| i.fingerprint).collect()))
            .await
    }

    async fn import_new(&self, dir: &Path) -> Result<Vec<String>, Failure> {
        let (engine, dir) = (self.engine.clone(), dir.to_owned());
        blocking(move || import_folder(&engine, &dir)).await
    }
}

/// A key that a file holds.
struct Imported {
    fingerprint: String,
    /// The keyring has learnt something: the key, or a later expiry, a revocation, a subkey of it.
    changed: bool,
}

/// Every file of the folder goes to gpg, known keys too: only so does the keyring learn that a key
/// was extended or revoked. A file that does not serve keeps the others from nothing.
fn import_folder(engine: &Engine, dir: &Path) -> Result<Vec<String>, Failure> {
    let mut fingerprints = Vec::new();
    let mut problems: Vec<Failure> = Vec::new();
    for file in key_files(dir)? {
        match import(engine, &file) {
            Ok(keys) => {
                let changed = keys.into_iter().filter(|k| k.changed).map(|k| k.fingerprint);
                fingerprints.extend(changed);
            }
            Err(failure) => problems.push(failure),
        }
    }
    let Some(mut failure) = problems.first().cloned() else { return Ok(fingerprints) };
    let mut messages: Vec<String> = problems.into_iter().map(|p| p.message).collect();
    if !fingerprints.is_empty() {
        messages.push(format!("imported from other files: {}", fingerprints.join(", ")));
    }
    failure.message = messages.join("; ");
    Err(failure)
}

fn key_files(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unreadable = |e: std::io::Error| {
        Failure::new(
            ErrorCode::EncryptionKeyMissing,
            format!("the folder of keys {} cannot be read: {e}", dir.display()),
        )
        .with_remedy("create the folder, correct `gpg_keys_dir` (GPG_KEYS_DIR), or unset it")
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
        let named = path
            .extension()
            .is_some_and(|e| EXTENSIONS.iter().any(|known| e.eq_ignore_ascii_case(known)));
        if named && !hidden && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Imports a file, armored or binary; tells each of its keys once, in the file's order.
fn import(engine: &Engine, path: &Path) -> Result<Vec<Imported>, Failure> {
    let shown = path.display();
    let refused = |message: String| {
        Failure::new(ErrorCode::EncryptionKeyMissing, message).with_remedy(
            "give a file of OpenPGP keys, e.g. made by `gpg --armor --export ADDRESS > key.asc`",
        )
    };
    let unreadable = |e: std::io::Error| refused(format!("key file {shown} cannot be read: {e}"));
    if path.is_dir() {
        return Err(refused(format!("{shown} is a folder, not a key file")));
    }
    let file = File::open(path).map_err(unreadable)?;
    let mut context = engine.context()?;
    let what = format!("gpg cannot import key file {shown}");
    let result = Data::from_reader(file)
        .map_err(|e| e.error())
        .and_then(|mut data| context.import(&mut data));
    let result = match result {
        Ok(result) => result,
        Err(e) => {
            return Err(failure(e, Some(&mut context), ErrorCode::EncryptionKeyMissing, &what));
        }
    };
    let mut keys: Vec<Imported> = Vec::new();
    for import in result.imports() {
        let Ok(fingerprint) = import.fingerprint() else { continue };
        if import.result().is_err() {
            let words = own_words(&mut context);
            return Err(refused(format!("gpg refuses key {fingerprint} of key file {shown}"))
                .with_detail(words));
        }
        let changed = import.status() != ImportFlags::empty();
        match keys.iter_mut().find(|k| k.fingerprint == fingerprint) {
            // A secret key is told a second time, for its public half.
            Some(known) => known.changed |= changed,
            None => keys.push(Imported { fingerprint: fingerprint.to_owned(), changed }),
        }
    }
    if keys.is_empty() {
        return Err(refused(format!("key file {shown} holds no OpenPGP key that gpg takes"))
            .with_detail(own_words(&mut context)));
    }
    Ok(keys)
}
