//! The two directions: gpg reads one file, and what it writes becomes another.
//!
//! gpg is started here rather than by gpgme, which looks at every single byte that it hands on (twice
//! the time of gpg itself, with 1.18), takes a gpg that was killed for one that has finished, and can
//! then wait for it without end. See docs/decisions/0005.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use backupctl_adapter_process::{
    AtomicFile, Existing, Output, ProcessError, Tool, last_lines, write_failure,
};
use backupctl_application::context::StageContext;
use backupctl_application::ports::EncryptedFile;
use backupctl_domain::{ErrorCode, Failure};

use crate::engine::{DETAIL_LINES, Engine, Gpg, blocking};
use crate::status::Status;

/// Bytes that are read, hashed and written at once.
const BUFFER: usize = 1 << 18;

/// How often progress is told.
const STEP: u64 = 1 << 20;

/// Encrypts `source` beside itself to the keys of these fingerprints.
pub(crate) async fn encrypt(
    gpg: &Gpg,
    fingerprints: &[String],
    source: &Path,
    target: PathBuf,
    ctx: &StageContext,
) -> Result<EncryptedFile, Failure> {
    let size = size(source, |e, path| unread(ErrorCode::DumpCorrupt, e, path).permanent()).await?;
    let mut tool = tool(gpg)
        // Which keys to use is the configuration's to say, which names them; a gpg.conf neither adds
        // one nor keeps one out. The dump is compressed already. Its name is nobody's business.
        .args(["--trust-model", "always", "--no-encrypt-to", "--compress-algo", "none"])
        .args(["--set-filename", "", "--no-armor", "--no-textmode"]);
    for fingerprint in fingerprints {
        tool = tool.args(["--recipient", fingerprint]);
    }
    let tool = tool.arg("--encrypt").arg("--").arg(source);
    let (output, written) = run(tool, target, true, size, ctx).await?;
    if !output.success() {
        let status = Status::of(&output.stderr);
        let refused = status.refuses_recipient();
        let code = if refused { ErrorCode::EncryptionKeyMissing } else { ErrorCode::Internal };
        let failure = Failure::new(
            code,
            format!("gpg cannot encrypt {} ({})", source.display(), output.status_text()),
        )
        .with_detail(last_lines(&status.words, DETAIL_LINES));
        return Err(match output.signal {
            Some(_) => failure.with_remedy(
                "look in the system's log for who ended gpg (out of memory?), and run again",
            ),
            None if refused => failure.with_remedy("run `gpg --list-keys` as this user"),
            None => failure.with_remedy("see what gpg says, and check its gpg.conf"),
        });
    }
    let hash = written.hash.ok_or_else(|| Failure::internal("the encrypted file has no hash"))?;
    let bytes = written.bytes;
    let path = commit(written.file, ctx).await?;
    Ok(EncryptedFile { path, bytes, checksum: format!("blake3:{}", hash.to_hex()) })
}

/// Decrypts `source` into `target`, which appears only once the whole has authenticated.
pub(crate) async fn decrypt(
    engine: &Engine,
    gpg: &Gpg,
    source: &Path,
    target: PathBuf,
    ctx: &StageContext,
) -> Result<(), Failure> {
    let size = size(source, |e, path| unread(ErrorCode::DecryptionFailed, e, path)).await?;
    let tool = tool(gpg).arg("--decrypt").arg("--").arg(source);
    let (output, written) = run(tool, target, false, size, ctx).await?;
    let status = Status::of(&output.stderr);
    // gpg succeeds with what was signed only or not protected at all, too, and decrypts it.
    if output.success() && status.is_decrypted() {
        return commit(written.file, ctx).await.map(drop);
    }
    Err(undecrypted(&status, &output, engine, source))
}

/// gpg with what both directions need.
fn tool(gpg: &Gpg) -> Tool {
    let tool = Tool::new(&gpg.program)
        .env("LC_ALL", "C")
        // Not `--quiet`: it also keeps back why a secret key does not serve.
        .args(["--batch", "--no-tty", "--yes", "--status-fd", "2"])
        // What would be asked of a person is answered with no. A passphrase that gpg-agent already
        // has still serves.
        .args(["--pinentry-mode", "cancel", "--disable-dirmngr"])
        .args(["--output", "-"]);
    match &gpg.homedir {
        Some(homedir) => tool.arg("--homedir").arg(homedir),
        None => tool,
    }
}

/// What gpg has written, not yet under its name.
struct Written {
    file: AtomicFile,
    bytes: u64,
    /// BLAKE3, where it was asked for.
    hash: Option<blake3::Hash>,
}

/// Runs gpg and writes what it writes.
async fn run(
    tool: Tool,
    target: PathBuf,
    hash: bool,
    total: u64,
    ctx: &StageContext,
) -> Result<(Output, Written), Failure> {
    let shown = target.clone();
    let file = blocking(move || AtomicFile::create(&target, Existing::Replace)).await?;
    let told = ctx.clone();
    tool.run_reading(ctx, move |stdout| {
        // Of what comes out there is a little more or less than of what went in.
        write(stdout, file, hash, |bytes| told.progress(bytes.min(total), Some(total)))
    })
    .await
    .map_err(|e| match e {
        ProcessError::Pipe(e, _) => write_failure(&e, &shown),
        e => e.into_failure(ErrorCode::Internal),
    })
}

fn write(
    stdout: &mut dyn Read,
    file: AtomicFile,
    hash: bool,
    told: impl Fn(u64),
) -> io::Result<Written> {
    let mut hasher = hash.then(blake3::Hasher::new);
    let mut buffer = vec![0; BUFFER];
    let mut bytes = 0;
    loop {
        let read = match stdout.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        if let Some(hasher) = &mut hasher {
            hasher.update(&buffer[..read]);
        }
        file.handle().write_all(&buffer[..read])?;
        let before = bytes / STEP;
        bytes += read as u64;
        if bytes / STEP != before {
            told(bytes);
        }
    }
    told(bytes);
    Ok(Written { file, bytes, hash: hasher.map(|h| h.finalize()) })
}

async fn commit(file: AtomicFile, ctx: &StageContext) -> Result<PathBuf, Failure> {
    ctx.cancel.check()?;
    blocking(move || file.commit()).await
}

/// The size of a file that can be read.
async fn size(
    path: &Path,
    unread: impl FnOnce(&io::Error, &Path) -> Failure + Send + 'static,
) -> Result<u64, Failure> {
    let path = path.to_owned();
    blocking(move || {
        let opened = File::open(&path).and_then(|file| file.metadata());
        opened.map(|m| m.len()).map_err(|e| unread(&e, &path))
    })
    .await
}

fn unread(code: ErrorCode, error: &io::Error, path: &Path) -> Failure {
    Failure::new(code, format!("cannot read {}: {error}", path.display()))
        .with_remedy(format!("check that {} is there and its disk healthy", path.display()))
}

/// What gpg's refusal to decrypt means.
fn undecrypted(status: &Status, output: &Output, engine: &Engine, path: &Path) -> Failure {
    let path = path.display();
    let (message, remedy) = if status.needs_passphrase() {
        (
            format!("the secret key for {path} has a passphrase, and nobody is asked for it"),
            "give gpg-agent the passphrase first: decrypt any file with `gpg --decrypt` as this \
             user, or use `gpg-preset-passphrase`",
        )
    } else if status.lacks_secret_key() {
        (
            format!(
                "{path} is encrypted to {}, and no secret key of that is in {}",
                status.encrypted_to.join(", "),
                engine.keyring()
            ),
            "import the secret key of one of its recipients for this user: `backupctl config \
             import-gpg-key FILE`",
        )
    } else if output.signal.is_some() {
        (format!("gpg was ended by {} while it read {path}", output.status_text()), "try again")
    } else if status.encrypted_to.is_empty() {
        (format!("{path} is damaged, or not encrypted by gpg"), "restore it from another snapshot")
    } else {
        (
            format!("{path} is cut off or damaged: it does not authenticate"),
            "restore it from another snapshot",
        )
    };
    Failure::new(ErrorCode::DecryptionFailed, message)
        .with_remedy(remedy)
        .with_detail(last_lines(&status.words, DETAIL_LINES))
}
