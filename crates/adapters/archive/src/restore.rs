//! Brings an archive's files back.
//!
//! Everything is unpacked into a folder of its own inside the target first. Only when the whole archive
//! has been read, is authentic, and every file in it is what the manifest says, does anything get its
//! place; else nothing is left.

mod extract;
mod folders;
mod place;
mod selection;
mod staging;
mod workplace;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use backupctl_adapter_stream::Watch;
use backupctl_application::ports::{RestoreReport, RestoreRequest};
use backupctl_domain::manifest::listed;
use backupctl_domain::{ErrorCode, Failure};

use crate::Inner;
use crate::damage::damaged;
use crate::inspect::{Contents, Visitor, inspect};
use crate::intake::Intake;

use extract::{Borrow, Extract};
use selection::Selection;
use staging::Staging;
use workplace::Workplace;

impl Inner {
    pub(crate) fn restore(
        &self,
        request: &RestoreRequest,
        watch: &Watch,
    ) -> Result<RestoreReport, Failure> {
        watch.check()?;
        let id = &request.snapshot;
        let Some((folder, found)) = self.find(id)? else { return Err(self.not_found(id)) };
        let target = &request.target;
        let failed = |e| target_failure(&e, target);
        let place = File::open(target).map_err(failed)?;
        workplace::clear(target);
        let workplace = Workplace::new(target).map_err(failed)?;
        let scratch = self.scratch_or(workplace.path());
        let selection = Selection::new(&request.include, target);
        let intake = self.intake(&folder, &found, false)?;
        if let Some(part) = found.gap() {
            return Err(damaged(intake.path(), &format!("its part {part} is missing")));
        }
        let name = found.name.to_string();
        // What is encrypted is authentic by itself.
        let checksum = self.memory.known(&name).filter(|_| !found.name.encrypted);
        let checksum = checksum.map(|known| known.checksum);
        let opened = workplace.open().map_err(failed)?;
        let stage = Staging::new(opened.into());
        let mut extract = Extract::new(stage, selection, &scratch).map_err(failed)?;
        let read = pass(&intake, checksum.as_deref(), target, &scratch, watch, &mut extract);
        let read = read.and_then(|contents| {
            self.check_name(&found, &contents.head, intake.path())?;
            Ok(contents.head.unread)
        });
        let read = read.and_then(|unread| match extract.take_borrowed() {
            None => Ok(unread),
            Some(borrowed) => {
                let opened = workplace.open().map_err(failed)?;
                let mut borrow = Borrow::new(Staging::new(opened.into()), borrowed);
                pass(&intake, None, target, &scratch, watch, &mut borrow)?;
                let what = "a link in it leads to a file that is not in it";
                extract.add_bytes(borrow.finish().ok_or_else(|| damaged(intake.path(), what))?);
                Ok(unread)
            }
        });
        let read = read.inspect_err(|failure| {
            // What cannot be decrypted may be good, and the key another one.
            if failure.code == ErrorCode::ChecksumMismatch {
                let now = self.settings.clock.now();
                self.memory.judge(&name, backupctl_domain::retention::Proof::Damaged, now);
            }
        });
        let unread = read?;
        if let Some(what) = extract.lacks() {
            let message = format!("archive {name} {what}");
            return Err(Failure::new(ErrorCode::SnapshotNotFound, message).with_remedy(format!(
                "see which archives hold what: `backupctl snapshots {}`",
                self.settings.project
            )));
        }
        watch.check()?;
        let (mut report, folders) = extract.finish();
        if !unread.is_empty() {
            report.notes.push(format!(
                "{name} was made without all of {}, which could not be read",
                listed(&unread, 5)
            ));
        }
        let opened = workplace.open().map_err(failed)?;
        place::conflicts(&opened, &place, target)?;
        place::merge(&opened, &place).map_err(failed)?;
        folders.apply(place.into()).map_err(failed)?;
        Ok(report)
    }

    /// Where temporary files without a name go; `other` where this user may not write to this program's
    /// own folder, since a restore needs nothing of it.
    fn scratch_or(&self, other: &Path) -> PathBuf {
        let own = self.scratch().ok().filter(|own| tempfile::tempfile_in(own).is_ok());
        own.unwrap_or_else(|| other.to_owned())
    }
}

/// Reads the archive once for `visitor`, and holds it against its manifest and its checksum.
fn pass(
    intake: &Intake<'_>,
    checksum: Option<&str>,
    target: &Path,
    scratch: &Path,
    watch: &Watch,
    visitor: &mut dyn Visitor,
) -> Result<Contents, Failure> {
    let inside = Mutex::default();
    let mut visitor = Explained { inner: visitor, target };
    let (contents, raw) = intake.read(checksum.is_some(), watch, &inside, |reader| {
        inspect(reader, &[], intake.path(), scratch, &inside, &mut visitor)
    })?;
    match checksum {
        Some(checksum) if checksum != raw.checksum => {
            Err(damaged(intake.path(), "its bytes are not those that were written"))
        }
        _ => Ok(contents),
    }
}

/// Errors of writing, told as such: they say nothing about the archive.
struct Explained<'a> {
    inner: &'a mut dyn Visitor,
    target: &'a Path,
}

impl Explained<'_> {
    fn explain<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|e| match e.downcast::<Failure>() {
            Ok(failure) => io::Error::other(failure),
            Err(e) => io::Error::other(target_failure(&e, self.target)),
        })
    }
}

impl Visitor for Explained<'_> {
    fn entry(&mut self, entry: &crate::tar::Entry) -> io::Result<bool> {
        let result = self.inner.entry(entry);
        self.explain(result)
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let result = self.inner.data(offset, bytes);
        self.explain(result)
    }

    fn end(&mut self, entry: &crate::tar::Entry) -> io::Result<()> {
        let result = self.inner.end(entry);
        self.explain(result)
    }
}

/// What an error of writing to the target means.
fn target_failure(error: &io::Error, target: &Path) -> Failure {
    let target = target.display();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Failure::new(ErrorCode::DiskFull, format!("the disk of {target} is full: {error}"))
                .with_remedy(format!(
                    "free space on the disk of {target}, or restore to a larger one (`--target`)"
                ))
        }
        io::ErrorKind::FileTooLarge => Failure::new(
            ErrorCode::FsFileTooLarge,
            format!("the file system of {target} cannot hold a file as large: {error}"),
        )
        .with_remedy("restore to a disk whose file system has no such limit (`--target`)"),
        _ => Failure::new(
            ErrorCode::PathNotWritable,
            format!("cannot restore to {target}: {error}"),
        )
        .with_remedy(format!(
            "restore to a folder that this user may write to (`--target`), or check the disk of \
                 {target} (`dmesg`)"
        )),
    }
}
