//! The names in a folder, sorted, in little memory: a folder may hold a million.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The names, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Names {
    bytes: Vec<u8>,
    /// Where each begins and ends, and whether it is a file, in the order of the names.
    places: Vec<(u32, u32, bool)>,
    next: usize,
}

impl Names {
    /// Lists a folder. With an error come the names that were read before it.
    pub(crate) fn of(folder: &Path) -> (Self, Option<io::Error>) {
        let mut names = Self::default();
        let error = names.fill(folder).err();
        let Self { bytes, places, .. } = &mut names;
        places.sort_unstable_by_key(|(from, to, _)| &bytes[*from as usize..*to as usize]);
        (names, error)
    }

    fn fill(&mut self, folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let (name, is_file) = (entry.file_name(), entry.file_type().is_ok_and(|t| t.is_file()));
            let from = self.bytes.len();
            self.bytes.extend_from_slice(name.as_bytes());
            let place = |at: usize| u32::try_from(at).map_err(|_| too_many());
            self.places.push((place(from)?, place(self.bytes.len())?, is_file));
        }
        Ok(())
    }

    /// The next name, and whether it was that of a file.
    pub(crate) fn next(&mut self) -> Option<(&OsStr, bool)> {
        let (from, to, is_file) = *self.places.get(self.next)?;
        self.next += 1;
        Some((OsStr::from_bytes(&self.bytes[from as usize..to as usize]), is_file))
    }
}

fn too_many() -> io::Error {
    io::Error::other("it holds more names than memory does")
}
