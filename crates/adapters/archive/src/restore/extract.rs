//! Unpacks what was asked for into the staging folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use backupctl_application::ports::RestoreReport;

use super::folders::{Folders, apply, apply_at};
use super::selection::Selection;
use super::staging::Staging;
use crate::inspect::Visitor;
use crate::tar::{Entry, Kind};

/// Files that are not asked for themselves, with the names that are.
pub(super) type Borrowed = BTreeMap<Vec<u8>, Vec<Vec<u8>>>;

/// Unpacks.
pub(super) struct Extract {
    staging: Staging,
    selection: Selection,
    folders: Folders,
    current: Option<File>,
    borrowed: Borrowed,
    entries: u64,
    report: RestoreReport,
}

impl Extract {
    pub(super) fn new(staging: Staging, selection: Selection, scratch: &Path) -> io::Result<Self> {
        Ok(Self {
            staging,
            selection,
            folders: Folders::new(scratch)?,
            current: None,
            borrowed: Borrowed::new(),
            entries: 0,
            report: RestoreReport::default(),
        })
    }

    /// The links to files that came before and were not asked for, if there are any.
    pub(super) fn take_borrowed(&mut self) -> Option<Borrowed> {
        let borrowed = std::mem::take(&mut self.borrowed);
        (!borrowed.is_empty()).then_some(borrowed)
    }

    pub(super) fn add_bytes(&mut self, bytes: u64) {
        self.report.bytes += bytes;
    }

    /// What was asked for and did not come, in words.
    pub(super) fn lacks(&self) -> Option<String> {
        if let Some(path) = self.selection.missing() {
            return Some(format!("does not hold {}", path.display()));
        }
        (self.entries == 0).then(|| "brought nothing".to_owned())
    }

    /// What has come, and the folders that are still to get their own.
    pub(super) fn finish(self) -> (RestoreReport, Folders) {
        (self.report, self.folders)
    }
}

impl Visitor for Extract {
    fn entry(&mut self, entry: &Entry) -> io::Result<bool> {
        if !self.selection.wants(&entry.path) {
            if entry.kind == Kind::Folder && self.selection.leads(&entry.path) {
                self.staging.make_folder(&entry.path)?;
                self.folders.push(entry)?;
            }
            return Ok(false);
        }
        self.selection.came(&entry.path);
        self.entries += 1;
        match entry.kind {
            Kind::Folder => {
                self.staging.make_folder(&entry.path)?;
                self.folders.push(entry)?;
            }
            Kind::File => {
                self.current = Some(self.staging.create(&entry.path)?);
                self.report.files += 1;
                self.report.bytes += entry.size;
                return Ok(true);
            }
            Kind::HardLink => {
                self.report.files += 1;
                if self.selection.wants(&entry.link) {
                    self.staging.link(&entry.link, &entry.path)?;
                } else {
                    self.borrowed.entry(entry.link.clone()).or_default().push(entry.path.clone());
                }
            }
            Kind::Symlink | Kind::CharDevice | Kind::BlockDevice => {
                if self.staging.make_other(entry)? {
                    let (parent, name) = self.staging.parent(&entry.path, true)?;
                    apply_at(parent, name, entry)?;
                }
            }
        }
        Ok(false)
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match &self.current {
            Some(file) => file.write_all_at(bytes, offset),
            None => Ok(()),
        }
    }

    fn end(&mut self, entry: &Entry) -> io::Result<()> {
        self.current.take().map_or(Ok(()), |file| complete(&file, entry))
    }
}

/// Unpacks files under the names of links to them.
pub(super) struct Borrow {
    staging: Staging,
    borrowed: Borrowed,
    current: Option<(File, Vec<Vec<u8>>)>,
    bytes: u64,
}

impl Borrow {
    pub(super) fn new(staging: Staging, borrowed: Borrowed) -> Self {
        Self { staging, borrowed, current: None, bytes: 0 }
    }

    /// The bytes of the files, if all have come.
    pub(super) fn finish(self) -> Option<u64> {
        self.borrowed.is_empty().then_some(self.bytes)
    }
}

impl Visitor for Borrow {
    fn entry(&mut self, entry: &Entry) -> io::Result<bool> {
        let names = self.borrowed.remove(&entry.path).filter(|_| entry.kind == Kind::File);
        let Some(names) = names else { return Ok(false) };
        let Some(first) = names.first() else { return Ok(false) };
        self.current = Some((self.staging.create(first)?, names));
        self.bytes += entry.size;
        Ok(true)
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match &self.current {
            Some((file, _)) => file.write_all_at(bytes, offset),
            None => Ok(()),
        }
    }

    fn end(&mut self, entry: &Entry) -> io::Result<()> {
        let Some((file, names)) = self.current.take() else { return Ok(()) };
        complete(&file, entry)?;
        let Some((first, others)) = names.split_first() else { return Ok(()) };
        for other in others {
            self.staging.link(first, other)?;
        }
        Ok(())
    }
}

fn complete(file: &File, entry: &Entry) -> io::Result<()> {
    if entry.extents.is_some() {
        file.set_len(entry.size)?;
    }
    apply(file, &entry.meta)
}
