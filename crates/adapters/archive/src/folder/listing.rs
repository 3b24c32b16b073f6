//! Which archives a folder holds. A file whose name does not say that it is this project's does not
//! exist for anybody here.

use std::collections::BTreeMap;
use std::io;

use backupctl_domain::{ArchiveName, ProjectName};
use rustix::fs::{AtFlags, Dir, FileType, statat};

use super::Folder;

/// A finished archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) name: ArchiveName,
    /// The files that it is, in order.
    pub(crate) files: Vec<String>,
    /// The size of all of them.
    pub(crate) bytes: u64,
}

impl Found {
    /// How many files it is.
    pub(crate) fn parts(&self) -> u32 {
        u32::try_from(self.files.len()).unwrap_or(u32::MAX)
    }

    /// The first part that is missing before another one.
    pub(crate) fn gap(&self) -> Option<String> {
        let whole = self.name.to_string();
        let numbered = self.files.iter().any(|file| *file != whole);
        let wanted = (1..).map(|number| self.name.part(number)).zip(&self.files);
        wanted.filter(|_| numbered).find(|(part, file)| part != *file).map(|(part, _)| part)
    }
}

/// A file that a broken run has left: a partial one, or a part that had its name before the first one
/// got its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leftover {
    pub(crate) name: ArchiveName,
    pub(crate) file: String,
}

impl Folder {
    /// This project's archives, newest first, and what broken runs have left of it.
    pub(crate) fn list(&self, project: &ProjectName) -> io::Result<(Vec<Found>, Vec<Leftover>)> {
        let mut whole = Vec::new();
        let mut parts: BTreeMap<ArchiveName, BTreeMap<u32, (String, u64)>> = BTreeMap::new();
        let mut leftovers = Vec::new();
        for entry in Dir::read_from(&self.dir)? {
            let entry = entry?;
            let Ok(file) = entry.file_name().to_str() else { continue };
            if let Some((name, _)) = ArchiveName::parse_partial(project, file) {
                leftovers.push(Leftover { name, file: file.to_owned() });
                continue;
            }
            let Some((name, part)) = ArchiveName::parse(project, file) else { continue };
            let Ok(stat) = statat(&self.dir, file, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                continue;
            }
            let bytes = u64::try_from(stat.st_size).unwrap_or_default();
            match part {
                None => whole.push(Found { name, files: vec![file.to_owned()], bytes }),
                Some(part) => {
                    parts.entry(name).or_default().insert(part, (file.to_owned(), bytes));
                }
            }
        }
        for (name, parts) in parts {
            // The first part is named last. Where it is neither here nor on its way, somebody took it.
            let unfinished = leftovers.iter().any(|left: &Leftover| left.name == name);
            if unfinished && !parts.contains_key(&1) {
                let files = parts.into_values();
                leftovers.extend(files.map(|(file, _)| Leftover { name: name.clone(), file }));
            } else if whole.iter().all(|found| found.name != name) {
                let bytes = parts.values().map(|(_, bytes)| bytes).sum();
                let files = parts.into_values().map(|(file, _)| file).collect();
                whole.push(Found { name, files, bytes });
            }
        }
        whole.sort_by(|a, b| b.name.time.cmp(&a.name.time).then_with(|| b.name.cmp(&a.name)));
        Ok((whole, leftovers))
    }
}
