//! The name of a dump file: `{project}_backup_{YYYYMMDD}_{HHMMSS}_{runid8}.{ext}` (pipeline.md §4).
//!
//! Cleanup and recovery touch a file only if its name parses here: whatever does not is not ours.

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;

use jiff::civil::DateTime;

use crate::ProjectName;

/// The parts of a dump file's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpName {
    /// The project.
    pub project: ProjectName,
    /// When the run started, in the configured time zone.
    pub time: DateTime,
    /// The first 8 characters of the run's id.
    pub run: String,
    /// Everything behind the first dot: `dump.zst.age`; empty before the dumper has added its own.
    pub ext: String,
}

impl DumpName {
    /// Reads the name of a finished dump of `project`; `None` for any other file.
    pub fn parse(project: &ProjectName, file_name: &str) -> Option<Self> {
        Self::parse_any(project, file_name).filter(|name| !name.ext.is_empty())
    }

    /// Whether this is the name of a dump of `project` without a run's id, as the tool has made them
    /// that this one replaces. It can be restored; it is not ours to remove.
    pub fn is_of_older_tool(project: &ProjectName, file_name: &str) -> bool {
        file_name.split_once('.').is_some_and(|(stem, ext)| {
            Self::parse(project, &format!("{stem}_00000000.{ext}")).is_some()
        })
    }

    /// Whether a path in a snapshot is a dump of `project`, of this tool or of the one before.
    pub fn is_dump_of(project: &ProjectName, path: &Path) -> bool {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
            Self::parse(project, name).is_some() || Self::is_of_older_tool(project, name)
        })
    }

    /// Whether a path in a snapshot is a dump of any project: one that was renamed keeps the dumps of its
    /// old name.
    pub fn is_dump(path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str());
        let project = name.and_then(|name| name.rsplit_once("_backup_"));
        let project = project.and_then(|(project, _)| ProjectName::new(project).ok());
        project.is_some_and(|project| Self::is_dump_of(&project, path))
    }

    fn parse_any(project: &ProjectName, file_name: &str) -> Option<Self> {
        let rest = file_name.strip_prefix(project.as_str())?.strip_prefix("_backup_")?;
        let (stem, ext) = rest.split_once('.').unwrap_or((rest, ""));
        let mut parts = stem.split('_');
        let (date, clock, run) = (parts.next()?, parts.next()?, parts.next()?);
        let digits = |s: &str, n| s.len() == n && s.bytes().all(|b| b.is_ascii_digit());
        let hex = |s: &str| s.len() == 8 && s.bytes().all(|b| b.is_ascii_hexdigit());
        if parts.next().is_some() || !digits(date, 8) || !digits(clock, 6) || !hex(run) {
            return None;
        }
        let time = DateTime::strptime("%Y%m%d%H%M%S", format!("{date}{clock}")).ok()?;
        let name =
            Self { project: project.clone(), time, run: run.to_owned(), ext: ext.to_owned() };
        // Whatever would be written otherwise (a second 60, a lone final dot) is not ours.
        (name.to_string() == file_name).then_some(name)
    }

    /// Reads the name of a partial file of `project`: `.{name}.partial`, with any extension or none
    /// between the run's id and `.partial`.
    pub fn parse_partial(project: &ProjectName, file_name: &str) -> Option<Self> {
        let inner = file_name.strip_prefix('.')?.strip_suffix(".partial")?;
        Self::parse_any(project, inner)
    }

    /// The same name with another extension, without its leading dot.
    #[must_use]
    pub fn with_ext(&self, ext: impl Into<String>) -> Self {
        Self { ext: ext.into(), ..self.clone() }
    }

    /// The name while the file is being written.
    pub fn partial(&self) -> String {
        format!(".{self}.partial")
    }
}

impl fmt::Display for DumpName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_backup_{}_{}", self.project, self.time.strftime("%Y%m%d_%H%M%S"), self.run)?;
        if !self.ext.is_empty() {
            write!(f, ".{}", self.ext)?;
        }
        Ok(())
    }
}
