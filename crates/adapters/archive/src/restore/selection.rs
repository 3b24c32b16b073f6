//! Which of an archive's paths are to come back.

use std::path::{Path, PathBuf};

use crate::tar::{as_path, inner};

/// The paths that were asked for; all where none was.
pub(super) struct Selection {
    include: Vec<Include>,
    /// Folders above them that were there before: they stay as they are.
    before: Vec<PathBuf>,
}

struct Include {
    asked: PathBuf,
    inner: Vec<u8>,
    came: bool,
}

impl Selection {
    pub(super) fn new(include: &[PathBuf], target: &Path) -> Self {
        let mut before = Vec::new();
        for path in include {
            let inside = as_path(inner(path));
            let above = inside.ancestors().skip(1).filter(|above| target.join(above).exists());
            before.extend(above.map(Path::to_owned));
        }
        let include = include.iter().map(|asked| {
            let inner = inner(asked);
            let inner = inner.strip_suffix(b"/").unwrap_or(inner).to_owned();
            Include { asked: asked.clone(), inner, came: false }
        });
        Self { include: include.collect(), before }
    }

    /// Whether this path was asked for: itself, or a folder above it.
    pub(super) fn wants(&self, path: &[u8]) -> bool {
        self.include.is_empty() || self.include.iter().any(|include| include.covers(path))
    }

    /// Whether this is a folder on the way to something that was asked for, to be made as it was.
    pub(super) fn leads(&self, path: &[u8]) -> bool {
        let leads = |include: &Include| {
            include.inner.strip_prefix(path).is_some_and(|rest| rest.starts_with(b"/"))
        };
        self.include.iter().any(leads) && !self.before.iter().any(|b| b == as_path(path))
    }

    /// This path has come.
    pub(super) fn came(&mut self, path: &[u8]) {
        for include in self.include.iter_mut().filter(|include| include.covers(path)) {
            include.came = true;
        }
    }

    /// A path that was asked for and has not come.
    pub(super) fn missing(&self) -> Option<&Path> {
        self.include.iter().find(|include| !include.came).map(|include| include.asked.as_path())
    }
}

impl Include {
    fn covers(&self, path: &[u8]) -> bool {
        self.inner.is_empty()
            || path
                .strip_prefix(self.inner.as_slice())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    }
}
