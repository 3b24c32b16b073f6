//! The name of an archive: `{project}_{YYYYMMDD}_{HHMMSS}.tar[.zst|.gz][.age]`, and behind it `.001`,
//! `.002` … for the parts of one that was split (spec: config.md `archive`).
//!
//! Listing, retention and recovery touch a file only if its name parses here: whatever does not is
//! somebody else's.

use std::fmt;

use jiff::ToSpan;
use jiff::civil::DateTime;

use crate::project::{Algorithm, Compression};
use crate::{ProjectName, SnapshotId};

/// The most parts that an archive is split into: three digits, so that a shell's `*` sorts them.
pub const MAX_PARTS: u32 = 999;

/// The parts of an archive's name, without the number of a part.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArchiveName {
    /// The project.
    pub project: ProjectName,
    /// When its run started, in the configured time zone.
    pub time: DateTime,
    /// What it is compressed with; `None` for a bare tar.
    pub algorithm: Option<Packed>,
    /// Whether it is encrypted with age.
    pub encrypted: bool,
}

/// What an archive is compressed with, as its name says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Packed {
    /// `.zst`
    Zstd,
    /// `.gz`
    Gzip,
}

impl Packed {
    /// The extension.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Zstd => Algorithm::Zstd.extension(),
            Self::Gzip => Algorithm::Gzip.extension(),
        }
    }
}

impl From<Compression> for Packed {
    fn from(compression: Compression) -> Self {
        match compression.algorithm {
            Algorithm::Zstd => Self::Zstd,
            Algorithm::Gzip => Self::Gzip,
        }
    }
}

impl ArchiveName {
    /// Reads the name of a finished archive of `project`: of a whole one, or of a part with its number.
    /// `None` for any other file.
    pub fn parse(project: &ProjectName, file_name: &str) -> Option<(Self, Option<u32>)> {
        let rest = file_name.strip_prefix(project.as_str())?.strip_prefix('_')?;
        let (stem, ext) = rest.split_once(".tar")?;
        let (date, clock) = stem.split_once('_')?;
        let digits = |s: &str, n| s.len() == n && s.bytes().all(|b| b.is_ascii_digit());
        if !digits(date, 8) || !digits(clock, 6) {
            return None;
        }
        let time = DateTime::strptime("%Y%m%d%H%M%S", format!("{date}{clock}")).ok()?;
        let (ext, part) = match ext.rsplit_once('.') {
            Some((ext, number)) if digits(number, 3) => (ext, Some(number.parse::<u32>().ok()?)),
            _ => (ext, None),
        };
        let (ext, encrypted) = match ext.strip_suffix(".age") {
            Some(ext) => (ext, true),
            None => (ext, false),
        };
        let algorithm = match ext {
            "" => None,
            ".zst" => Some(Packed::Zstd),
            ".gz" => Some(Packed::Gzip),
            _ => return None,
        };
        let name = Self { project: project.clone(), time, algorithm, encrypted };
        let shown = part.map_or_else(|| name.to_string(), |part| name.part(part));
        (shown == file_name && part != Some(0)).then_some((name, part))
    }

    /// Reads the name of a file that is still being written: `.{name}.partial`.
    pub fn parse_partial(project: &ProjectName, file_name: &str) -> Option<(Self, Option<u32>)> {
        Self::parse(project, file_name.strip_prefix('.')?.strip_suffix(".partial")?)
    }

    /// The name of a part, counted from 1.
    pub fn part(&self, number: u32) -> String {
        format!("{self}.{number:03}")
    }

    /// A name a second later: two runs that start within one second are two archives.
    #[must_use]
    pub fn next(&self) -> Self {
        Self { time: self.time.saturating_add(1.second()), ..self.clone() }
    }

    /// The archive's id among snapshots: made of its name alone, so that it is the same wherever the
    /// disk is plugged in. `digest` is a hash of at least 64 hexadecimal characters over a text.
    pub fn id(&self, digest: impl Fn(&str) -> String) -> Option<SnapshotId> {
        let digest = digest(&self.to_string());
        SnapshotId::new(digest.get(..64).unwrap_or(&digest))
    }
}

impl fmt::Display for ArchiveName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}.tar", self.project, self.time.strftime("%Y%m%d_%H%M%S"))?;
        if let Some(packed) = self.algorithm {
            write!(f, ".{}", packed.extension())?;
        }
        if self.encrypted {
            write!(f, ".age")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    fn shop() -> ProjectName {
        ProjectName::new("shop").unwrap()
    }

    fn name(algorithm: Option<Packed>, encrypted: bool) -> ArchiveName {
        let time = date(2026, 3, 18).at(0, 0, 5, 0);
        ArchiveName { project: shop(), time, algorithm, encrypted }
    }

    #[test]
    fn a_name_says_what_the_file_is_and_reads_back() {
        let names = [
            (name(Some(Packed::Zstd), true), "shop_20260318_000005.tar.zst.age"),
            (name(Some(Packed::Gzip), true), "shop_20260318_000005.tar.gz.age"),
            (name(Some(Packed::Zstd), false), "shop_20260318_000005.tar.zst"),
            (name(None, true), "shop_20260318_000005.tar.age"),
            (name(None, false), "shop_20260318_000005.tar"),
        ];
        for (name, text) in names {
            assert_eq!(name.to_string(), text);
            assert_eq!(ArchiveName::parse(&shop(), text), Some((name.clone(), None)));
            let part = format!("{text}.002");
            assert_eq!(name.part(2), part);
            assert_eq!(ArchiveName::parse(&shop(), &part), Some((name.clone(), Some(2))));
            let partial = format!(".{part}.partial");
            assert_eq!(ArchiveName::parse_partial(&shop(), &partial), Some((name, Some(2))));
        }
    }

    #[test]
    fn what_is_not_ours_has_no_name() {
        for text in [
            "shop_20260318_000005.tar.zst.age.partial",
            ".shop_20260318_000005.tar.zst.age",
            "shop_20260318_000005.tar.zst.age.000",
            "shop_20260318_000005.tar.zst.age.1",
            "shop_20260318_000005.tar.xz",
            "shop_20260318_000005.tar.age.zst",
            "shop_20260318_000005.zip",
            "shop_20260318_000060.tar",
            "shop_20261318_000005.tar",
            "shop_20260318.tar.zst.age",
            "shop-2_20260318_000005.tar.zst.age",
            "holiday.tar.zst.age",
        ] {
            assert_eq!(ArchiveName::parse(&shop(), text), None, "{text}");
            assert_eq!(ArchiveName::parse_partial(&shop(), text), None, "{text}");
        }
    }

    #[test]
    fn the_next_second_is_another_name() {
        let late = ArchiveName { time: date(2026, 12, 31).at(23, 59, 59, 0), ..name(None, false) };
        assert_eq!(late.next().to_string(), "shop_20270101_000000.tar");
    }

    proptest! {
        #[test]
        fn reading_never_accepts_what_it_would_not_write(text in "shop_[0-9]{8}_[0-9]{6}\\.tar[.a-z0-9]{0,12}") {
            if let Some((name, part)) = ArchiveName::parse(&shop(), &text) {
                prop_assert_eq!(part.map_or_else(|| name.to_string(), |n| name.part(n)), text);
            }
        }
    }
}
