//! gpgme's contexts, all made the same way, and what its errors mean.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use backupctl_adapter_process::last_lines;
use backupctl_application::ports::ToolInfo;
use backupctl_domain::{ErrorCode, Failure};
use gpgme::{AuditLogFlags, Context, Data, Error, Gpgme, PinentryMode, Protocol};

/// Lines of gpg's own words that a failure carries.
pub(crate) const DETAIL_LINES: usize = 10;

/// As much of gpg's own words as is looked at.
const DETAIL_BYTES: u64 = 64 * 1024;

/// The gpg program as gpgme uses it, to be started beside it.
#[derive(Debug)]
pub(crate) struct Gpg {
    pub(crate) program: PathBuf,
    pub(crate) homedir: Option<PathBuf>,
}

/// What makes contexts.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    homedir: Option<PathBuf>,
}

impl Engine {
    pub(crate) fn new(homedir: Option<PathBuf>) -> Self {
        Self { homedir }
    }

    /// A context that neither goes online nor asks anybody anything. To be made and dropped on one
    /// thread: gpgme's are bound to theirs.
    pub(crate) fn context(&self) -> Result<Context, Failure> {
        let failed = |e| failure(e, None, ErrorCode::Internal, "gpgme cannot be set up");
        let mut context = Context::from_protocol(Protocol::OpenPgp).map_err(failed)?;
        if let Some(homedir) = &self.homedir {
            if !homedir.is_dir() {
                let homedir = homedir.display();
                return Err(Failure::new(
                    ErrorCode::EncryptionKeyMissing,
                    format!("GnuPG's folder {homedir} does not exist"),
                )
                .with_remedy(format!(
                    "create it (`install -d -m 700 {homedir}`) and import the keys"
                )));
            }
            context.set_engine_home_dir(homedir.as_os_str().as_bytes()).map_err(failed)?;
        }
        context.set_offline(true);
        // What would be asked of a person is answered with no. A passphrase that gpg-agent already
        // has still serves.
        context.set_pinentry_mode(PinentryMode::Cancel).map_err(failed)?;
        Ok(context)
    }

    /// The program behind a context.
    pub(crate) fn gpg(&self, context: &Context) -> Result<Gpg, Failure> {
        let engine = context.engine_info();
        let program = engine.path_raw().map(|p| PathBuf::from(OsStr::from_bytes(p.to_bytes())));
        let program = program.filter(|p| p.is_file()).ok_or_else(no_gpg)?;
        Ok(Gpg { program, homedir: self.homedir.clone() })
    }

    /// The program and its version.
    pub(crate) fn tool(&self) -> Result<ToolInfo, Failure> {
        let context = self.context()?;
        self.gpg(&context)?;
        let version = context.engine_info().version().unwrap_or("unknown").to_owned();
        Ok(ToolInfo { name: "gpg".to_owned(), version })
    }

    /// The keyring, for messages.
    pub(crate) fn keyring(&self) -> String {
        let homedir = match &self.homedir {
            Some(homedir) => Some(homedir.display().to_string()),
            None => gpgme::init().get_dir_info(Gpgme::HOME_DIR).ok().map(str::to_owned),
        };
        homedir.map_or_else(|| "the keyring".to_owned(), |dir| format!("the keyring in {dir}"))
    }
}

/// What an error of gpgme means: `TOOL_MISSING` where there is no gpg, otherwise `code`. `context` is
/// the one that the operation has failed in: it knows gpg's own words.
pub(crate) fn failure(
    error: Error,
    context: Option<&mut Context>,
    code: ErrorCode,
    what: &str,
) -> Failure {
    if [Error::INV_ENGINE.code(), Error::UNSUPPORTED_PROTOCOL.code()].contains(&error.code()) {
        return no_gpg();
    }
    let detail = context.map(own_words).unwrap_or_default();
    Failure::new(code, format!("{what}: {}", error.description())).with_detail(detail)
}

fn no_gpg() -> Failure {
    Failure::new(ErrorCode::ToolMissing, "gpg is not installed, or older than 2.1")
        .with_remedy("install GnuPG: `apt install gnupg`")
}

/// The last lines that gpg has written about the last operation.
pub(crate) fn own_words(context: &mut Context) -> String {
    let mut read = || {
        let mut data = Data::new().ok()?;
        context.get_audit_log(&mut data, AuditLogFlags::DIAG).ok()?;
        let mut data = std::io::Cursor::new(data.try_into_bytes()?).take(DETAIL_BYTES);
        let mut words = Vec::new();
        data.read_to_end(&mut words).ok()?;
        Some(last_lines(&String::from_utf8_lossy(&words), DETAIL_LINES))
    };
    read().unwrap_or_default()
}

/// Runs blocking work on its own thread.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|e| Err(Failure::internal(format!("the gpg thread ended early: {e}"))))
}
