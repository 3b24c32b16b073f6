//! Which restic this is, asked once per binary.
//!
//! Users run 0.14 to 0.19, and what a call may use or believe depends on it. What writes keeps the
//! answer with the binary's identity, so that a normal run starts no process to ask.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use backupctl_adapter_process::{Tool, find_program};
use backupctl_application::context::StageContext;
use backupctl_domain::destination::ResticTarget;
use backupctl_domain::{ErrorCode, Failure};

use crate::memory::{self, KnownTool};

/// A version of restic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 0 up to now.
    pub major: u32,
    /// The one that counts.
    pub minor: u32,
    /// A repair.
    pub patch: u32,
}

impl Version {
    /// The oldest that works.
    pub const OLDEST: Self = Self::new(0, 14, 0);

    /// A version by its numbers.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// Reads the first line of `restic version`, or a bare `0.14.0`.
    pub fn parse(text: &str) -> Option<Self> {
        let word = text.trim().strip_prefix("restic ").unwrap_or(text.trim());
        let word = word.split_whitespace().next()?;
        let mut numbers = word.split('.').map(|part| {
            // `0.18.0-dev` is taken as 0.18.0.
            let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part[..digits].parse::<u32>().ok()
        });
        let (major, minor) = (numbers.next()??, numbers.next()??);
        Some(Self::new(major, minor, numbers.next().flatten().unwrap_or(0)))
    }

    /// Whether `forget` ends with status 0 although it could not delete (0.17 and 0.18).
    pub(crate) fn forget_may_lie(self) -> bool {
        (Self::new(0, 17, 0)..Self::new(0, 19, 0)).contains(&self)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The version of the target's restic, from what is remembered or from restic itself.
pub(crate) async fn of(
    target: &ResticTarget,
    state_dir: &Path,
    ctx: &StageContext,
) -> Result<Version, Failure> {
    let path = find(target)?;
    let remembered = identity(&path).ok().and_then(|tool| memory::tool_version(state_dir, &tool));
    let version = match remembered.as_deref().and_then(Version::parse) {
        Some(version) => version,
        None => ask(&path, ctx).await?,
    };
    if version < Version::OLDEST {
        return Err(Failure::new(
            ErrorCode::ToolTooOld,
            format!(
                "{} is restic {version}, the oldest that works is {}",
                path.display(),
                Version::OLDEST
            ),
        )
        .with_remedy("install a newer package restic, or let restic.binary name a newer one"));
    }
    Ok(version)
}

/// Keeps the version of the target's restic, unless it is known already. Best effort.
pub(crate) fn remember(target: &ResticTarget, state_dir: &Path, version: Version) {
    let tool = find(target).ok().and_then(|path| identity(&path).ok());
    if let Some(tool) = tool.filter(|tool| memory::tool_version(state_dir, tool).is_none()) {
        memory::remember_tool(state_dir, tool, &version.to_string());
    }
}

/// The program as it is going to be started.
pub(crate) fn find(target: &ResticTarget) -> Result<PathBuf, Failure> {
    let name = target.binary.as_deref().unwrap_or(Path::new("restic"));
    find_program(name).ok_or_else(|| missing(name))
}

fn missing(name: &Path) -> Failure {
    let text = if name.components().count() > 1 {
        format!("there is no program at {} (restic.binary)", name.display())
    } else {
        format!("{} is not installed or not in PATH", name.display())
    };
    Failure::new(ErrorCode::ToolMissing, text)
        .with_remedy("install the package restic, or let restic.binary name the program")
}

fn identity(path: &Path) -> std::io::Result<KnownTool> {
    let path = path.canonicalize()?;
    let meta = path.metadata()?;
    Ok(KnownTool {
        size: meta.size(),
        modified: format!("{}.{:09}", meta.mtime(), meta.mtime_nsec()),
        inode: meta.ino(),
        path,
    })
}

async fn ask(path: &Path, ctx: &StageContext) -> Result<Version, Failure> {
    let tool = Tool::new(path).arg("version").timeout(Some(std::time::Duration::from_mins(1)));
    let output = tool.run(ctx).await.map_err(|e| e.into_failure(ErrorCode::ToolMissing))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Version::parse(&text).ok_or_else(|| {
        Failure::new(
            ErrorCode::ToolMissing,
            format!("{} version does not answer as restic does: {:?}", path.display(), text.trim()),
        )
        .with_remedy("let restic.binary name the program restic")
        .with_detail(output.stderr)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_restic_prints() {
        let read = Version::parse;
        let fixture = include_str!("../tests/fixtures/restic-0.14/version.stdout");
        assert_eq!(read(fixture), Some(Version::new(0, 14, 0)));
        assert_eq!(read("restic 0.17.3 compiled with go1.23"), Some(Version::new(0, 17, 3)));
        assert_eq!(read("restic 0.18.0-dev (v0.17.3-1-gab)"), Some(Version::new(0, 18, 0)));
        assert_eq!(read("0.9"), Some(Version::new(0, 9, 0)));
        assert_eq!(read("borg 1.2.4"), None);
        assert!(Version::new(0, 9, 6) < Version::OLDEST);
    }

    #[test]
    fn forget_is_doubted_where_it_hides_failures() {
        let lies = |minor, patch| Version::new(0, minor, patch).forget_may_lie();
        assert_eq!(
            [lies(14, 0), lies(16, 5), lies(17, 0), lies(18, 1), lies(19, 0)],
            [false, false, true, true, false]
        );
    }
}
