//! The files of an archive that is still being written.

use std::fs::{File, TryLockError};
use std::io;
use std::sync::{Mutex, PoisonError};

use backupctl_domain::ArchiveName;

use super::{Folder, Leftover};

/// Partial files, removed again unless they are committed.
#[derive(Debug)]
pub(crate) struct Partials<'f> {
    folder: &'f Folder,
    name: &'f ArchiveName,
    /// Whether there may be more than one.
    splits: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How many there are.
    count: u32,
    /// The first one, whose lock says that somebody is at work on all of them.
    lock: Option<File>,
    /// Final names given so far.
    named: Vec<String>,
    committed: bool,
}

impl<'f> Partials<'f> {
    /// None yet.
    pub(crate) fn new(folder: &'f Folder, name: &'f ArchiveName, splits: bool) -> Self {
        Self { folder, name, splits, state: Mutex::default() }
    }

    /// Begins the next file.
    pub(super) fn next(&self) -> io::Result<File> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let number = state.count + 1;
        let file = self.folder.create(&self.partial(number))?;
        state.count = number;
        if number == 1 {
            let lock = file.try_clone()?;
            // Where a file system has no locks, the project's own lock keeps others away.
            let _ = lock.try_lock();
            state.lock = Some(lock);
        }
        Ok(file)
    }

    /// Gives all of them their names, the first one last: it makes the others an archive.
    pub(crate) fn commit(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for number in (1..=state.count).rev() {
            let name = match state.count {
                1 => self.name.to_string(),
                _ => self.name.part(number),
            };
            self.folder.rename(&self.partial(number), &name)?;
            state.named.push(name);
        }
        self.folder.sync()
    }

    fn partial(&self, number: u32) -> String {
        if self.splits {
            format!(".{}.partial", self.name.part(number))
        } else {
            format!(".{}.partial", self.name)
        }
    }

    /// They stay.
    pub(crate) fn keep(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).committed = true;
    }
}

impl Drop for Partials<'_> {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if state.committed || state.count == 0 {
            return;
        }
        // The first part before the others, so that what a broken removal leaves is no archive.
        for name in state.named.iter().rev() {
            let _ = self.folder.remove(name);
        }
        for number in 1..=state.count {
            let _ = self.folder.remove(&self.partial(number));
        }
        let _ = self.folder.sync();
    }
}

impl Folder {
    /// Removes what broken runs have left, and nothing that somebody is still writing; true where there
    /// was something.
    pub(crate) fn clear(&self, leftovers: &[Leftover]) -> io::Result<bool> {
        // For writing, since a network's file system may lock nothing else. One that knows no locks has
        // the project's own lock to keep others away.
        let busy = |leftover: &&Leftover| {
            let opened = self.open_to_lock(&leftover.file);
            opened.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
        };
        let at_work: Vec<&ArchiveName> =
            leftovers.iter().filter(busy).map(|leftover| &leftover.name).collect();
        let mut removed = false;
        for leftover in leftovers.iter().filter(|leftover| !at_work.contains(&&leftover.name)) {
            self.remove(&leftover.file)?;
            removed = true;
        }
        Ok(removed)
    }
}
