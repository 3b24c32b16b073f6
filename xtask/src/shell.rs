//! Starting programs, finding them, and building the workspace's own.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// What cargo tells the program that it runs about that program. Build scripts that look at these
/// would run again for every change between `cargo test` and `cargo xtask test`.
const CARGO_OWN: [&str; 22] = [
    "CARGO",
    "CARGO_BIN_NAME",
    "CARGO_CRATE_NAME",
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_LINKS",
    "CARGO_MANIFEST_PATH",
    "CARGO_PKG_AUTHORS",
    "CARGO_PKG_DESCRIPTION",
    "CARGO_PKG_HOMEPAGE",
    "CARGO_PKG_LICENSE",
    "CARGO_PKG_LICENSE_FILE",
    "CARGO_PKG_NAME",
    "CARGO_PKG_README",
    "CARGO_PKG_REPOSITORY",
    "CARGO_PKG_RUST_VERSION",
    "CARGO_PKG_VERSION",
    "CARGO_PKG_VERSION_MAJOR",
    "CARGO_PKG_VERSION_MINOR",
    "CARGO_PKG_VERSION_PATCH",
    "CARGO_PKG_VERSION_PRE",
    "CARGO_PRIMARY_PACKAGE",
    "LD_LIBRARY_PATH",
];

/// The workspace's root folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// A program, started in the workspace's root without stdin.
#[expect(clippy::disallowed_methods, reason = "the one place where tasks start programs")]
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// A program that sees nothing of this environment but what every program needs: the settings of
/// whoever runs the task must not decide what it does.
#[expect(clippy::disallowed_methods, reason = "the one place where tasks read the environment")]
pub(crate) fn hermetic(program: impl AsRef<OsStr>) -> Command {
    let mut command = command(program);
    command.env_clear();
    for name in ["PATH", "HOME", "LANG", "LC_ALL", "TERM", "TMPDIR", "TZ", "USER", "NO_COLOR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// cargo, as if it were called from a shell.
pub(crate) fn cargo() -> Command {
    let mut cargo = command("cargo");
    for name in CARGO_OWN {
        cargo.env_remove(name);
    }
    cargo
}

/// The command line, for people.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|w| w.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Runs it with this terminal as its output; a status other than 0 is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let text = shown(command);
    let status = command.status().with_context(|| format!("cannot start `{text}`"))?;
    ensure!(status.success(), "`{text}` failed: {status}");
    Ok(())
}

/// Runs it and keeps stdout and stderr, whatever its status.
pub(crate) fn output(command: &mut Command) -> Result<Output> {
    let text = shown(command);
    command.output().with_context(|| format!("cannot start `{text}`"))
}

/// Runs it and returns its stdout; a status other than 0 is an error that shows its stderr.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let out = output(command)?;
    if !out.status.success() {
        bail!(
            "`{}` failed: {}\n{}",
            shown(command),
            out.status,
            String::from_utf8_lossy(&out.stderr).trim_end()
        );
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// What a build has made.
pub(crate) struct Built {
    executables: Vec<(String, String, PathBuf)>,
}

impl Built {
    /// The path of an executable of this kind (`bin`, `example`) and name.
    pub(crate) fn find(&self, kind: &str, name: &str) -> Option<&Path> {
        let found = self.executables.iter().find(|(k, n, _)| k == kind && n == name);
        found.map(|(_, _, path)| path.as_path())
    }

    /// The `backupctl` program.
    pub(crate) fn backupctl(&self) -> Result<PathBuf> {
        let path = self.find("bin", "backupctl").context("the build has made no `backupctl`")?;
        Ok(path.to_owned())
    }
}

/// Builds with these arguments and finds out what was made.
pub(crate) fn build(args: &[&str]) -> Result<Built> {
    let mut cargo = cargo();
    cargo.arg("build").args(args).arg("--message-format=json-render-diagnostics");
    cargo.stderr(Stdio::inherit());
    let text = read(&mut cargo)?;
    let mut executables = Vec::new();
    for line in text.lines() {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let Some(path) = message["executable"].as_str() else { continue };
        let is_test = message["profile"]["test"].as_bool() == Some(true);
        let kind = message["target"]["kind"][0].as_str().unwrap_or_default();
        let name = message["target"]["name"].as_str().unwrap_or_default();
        if !is_test {
            executables.push((kind.to_owned(), name.to_owned(), PathBuf::from(path)));
        }
    }
    Ok(Built { executables })
}

/// Builds `backupctl` with the profile that is quick to build, and returns where it is.
pub(crate) fn build_backupctl() -> Result<PathBuf> {
    build(&["--package", "cli", "--bin", "backupctl"])?.backupctl()
}

/// Every folder in which a program of this system may be.
#[expect(clippy::disallowed_methods, reason = "the one place where tasks read the environment")]
fn program_dirs() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    dirs.extend(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    // Debian keeps the server programs of PostgreSQL out of PATH, one folder a version.
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        let mut versions: Vec<_> = versions.flatten().map(|v| v.path().join("bin")).collect();
        versions.sort();
        versions.reverse();
        dirs.extend(versions);
    }
    dirs
}

/// Where a program is, also outside PATH.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    program_dirs().into_iter().map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// The files under a folder, in order, as paths below it. Symbolic links are not followed.
pub(crate) fn files_under(dir: &Path) -> Result<Vec<PathBuf>> {
    fn walk(base: &Path, dir: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
        let entries =
            fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                walk(base, &path, into)?;
            } else {
                into.push(path.strip_prefix(base).unwrap_or(&path).to_owned());
            }
        }
        Ok(())
    }
    let mut files = Vec::new();
    walk(dir, dir, &mut files)?;
    files.sort();
    Ok(files)
}

/// Whether this process may do everything.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}
