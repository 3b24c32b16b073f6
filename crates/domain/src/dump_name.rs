//! The name of a dump file: `{project}_backup_{YYYYMMDD}_{HHMMSS}_{runid8}.{ext}` (pipeline.md §4).
//!
//! Cleanup and recovery touch a file only if its name parses here: whatever does not is not ours.

use std::fmt;

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
        let rest = file_name.strip_prefix(project.as_str())?.strip_prefix("_backup_")?;
        let (stem, ext) = rest.split_once('.')?;
        let mut parts = stem.split('_');
        let (date, clock, run) = (parts.next()?, parts.next()?, parts.next()?);
        let digits = |s: &str, n| s.len() == n && s.bytes().all(|b| b.is_ascii_digit());
        let hex = |s: &str| s.len() == 8 && s.bytes().all(|b| b.is_ascii_hexdigit());
        if parts.next().is_some() || ext.is_empty() {
            return None;
        }
        if !digits(date, 8) || !digits(clock, 6) || !hex(run) {
            return None;
        }
        let time = DateTime::strptime("%Y%m%d%H%M%S", format!("{date}{clock}")).ok()?;
        Some(Self { project: project.clone(), time, run: run.to_owned(), ext: ext.to_owned() })
    }

    /// Reads the name of a partial file of `project`: `.{name}.partial`, with anything between the
    /// run's id and `.partial`.
    pub fn parse_partial(project: &ProjectName, file_name: &str) -> Option<Self> {
        let inner = file_name.strip_prefix('.')?.strip_suffix(".partial")?;
        Self::parse(project, inner)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::unwrap_used, reason = "a test")]
    fn names_round_trip_and_foreign_files_do_not_parse() {
        let p = ProjectName::new("my-app").unwrap();
        let name = "my-app_backup_20260318_000005_a1b2c3d4.dump.zst.age";
        let parsed = DumpName::parse(&p, name).unwrap();
        assert_eq!(parsed.to_string(), name);
        assert_eq!(parsed.run, "a1b2c3d4");
        assert_eq!(DumpName::parse_partial(&p, &parsed.partial()), Some(parsed));
        for foreign in [
            "my-app_backup_20260318_000005_a1b2c3d4",
            "my-app_backup_20261318_000005_a1b2c3d4.dump",
            "my-app-2_backup_20260318_000005_a1b2c3d4.dump",
            "my-app_backup_20260318_000005_a1b2c3d4_x.dump",
            "notes.txt",
            ".my-app_backup_20260318_000005_a1b2c3d4.dump.partial",
        ] {
            assert_eq!(DumpName::parse(&p, foreign), None, "{foreign}");
        }
    }
}
