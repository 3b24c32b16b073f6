//! Walks the sources and writes them as one archive: the remark, the dump, the assets, the manifest.

mod content;
mod links;
mod unread;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use backupctl_adapter_stream::{CHUNK, Watch};
use backupctl_domain::{ErrorCode, Failure};

use crate::exclude::Exclude;
use crate::manifest::{self, Head, Opening, Spool};
use crate::source::{self, Source};
use crate::tar::{self, END, Entry, Kind, Meta};
use crate::walk::Names;

use content::copy;
pub(crate) use content::hash_zeros;
use links::Links;
use unread::Unread;

/// What becomes an archive.
pub(crate) struct Sources<'a> {
    /// The dump file with its size.
    pub(crate) dump: Option<(&'a Path, u64)>,
    pub(crate) assets: &'a [PathBuf],
    pub(crate) exclude: &'a Exclude,
    /// The folder of archives by device and inode: an archive that held those before it would double
    /// with every run.
    pub(crate) own: (u64, u64),
}

/// What an archive was made of.
#[derive(Debug)]
pub(crate) struct Packed {
    /// Files in it, links to them included.
    pub(crate) files: u64,
    /// Sources that could not be read, or not whole.
    pub(crate) unread: Vec<String>,
    /// What was left out by design.
    pub(crate) notes: Vec<String>,
}

/// Writes the archive to `out`. The lines of the manifest wait in `scratch` meanwhile.
pub(crate) fn pack(
    sources: &Sources<'_>,
    opening: &Opening,
    head: Head,
    scratch: &Path,
    out: &mut dyn Write,
    watch: &mut Watch,
) -> io::Result<Packed> {
    let mut packer = Packer {
        out,
        watch,
        exclude: sources.exclude,
        own: sources.own,
        lines: Spool::new(scratch)?,
        links: Links::default(),
        unread: Unread::default(),
        transient: unread::Few::default(),
        vanished: unread::Few::default(),
        itself: unread::Few::default(),
        parents: BTreeSet::new(),
        buffer: vec![0; CHUNK],
        files: 0,
    };
    packer.out.write_all(&tar::global(&opening.text().map_err(io::Error::other)?))?;
    if let Some((path, bytes)) = sources.dump {
        packer.dump(path, bytes, &head)?;
    }
    let mut absent = Vec::new();
    for (place, asset) in sources.assets.iter().enumerate() {
        // What stands below another asset comes with it, and what is named twice comes once.
        let below = |other: &PathBuf| asset.starts_with(other) && asset != other;
        if sources.assets.iter().any(below) || sources.assets[..place].contains(asset) {
            continue;
        }
        if !packer.asset(asset)? {
            absent.push(asset.clone());
        }
    }
    packer.finish(Head { absent, ..head })
}

struct Packer<'a> {
    out: &'a mut dyn Write,
    watch: &'a mut Watch,
    exclude: &'a Exclude,
    own: (u64, u64),
    lines: Spool,
    links: Links,
    unread: Unread,
    transient: unread::Few,
    vanished: unread::Few,
    itself: unread::Few,
    /// Parent folders of assets that have their entry.
    parents: BTreeSet<PathBuf>,
    buffer: Vec<u8>,
    files: u64,
}

impl Packer<'_> {
    /// The dump, whose every byte must be readable.
    fn dump(&mut self, path: &Path, bytes: u64, head: &Head) -> io::Result<()> {
        let failed = |e: &io::Error| {
            let message = format!("the dump {} cannot be read: {e}", path.display());
            io::Error::other(Failure::new(ErrorCode::DumpCorrupt, message))
        };
        let file = source::open(path).map_err(|e| failed(&e))?;
        let metadata = file.metadata().map_err(|e| failed(&e))?;
        if !metadata.is_file() || metadata.len() != bytes {
            let message = format!(
                "the dump {} has {} bytes, and {bytes} were dumped",
                path.display(),
                metadata.len()
            );
            return Err(io::Error::other(Failure::new(ErrorCode::DumpTruncated, message)));
        }
        let name = path.file_name().unwrap_or_default().as_bytes();
        let modified = (metadata.mtime(), u32::try_from(metadata.mtime_nsec()).unwrap_or_default());
        let meta = Meta {
            mode: 0o600,
            uid: u64::from(metadata.uid()),
            gid: u64::from(metadata.gid()),
            modified,
            xattrs: Vec::new(),
        };
        let mut entry = Entry::new(Kind::File, name, meta);
        entry.size = bytes;
        let (checksum, trouble) = self.file(&entry, &file)?;
        if let Some(trouble) = trouble {
            return Err(failed(&io::Error::other(trouble)));
        }
        let recorded = head.dump.as_ref().map(|dump| dump.checksum.as_str());
        if recorded.is_some_and(|sum| sum.len() == checksum.len() && sum != checksum) {
            let message = format!("the dump {} is not the file that was dumped", path.display());
            return Err(io::Error::other(Failure::new(ErrorCode::ChecksumMismatch, message)));
        }
        Ok(())
    }

    /// One asset with all below it; false where nothing of it was written.
    fn asset(&mut self, path: &Path) -> io::Result<bool> {
        if self.exclude.excludes(path) {
            return Ok(false);
        }
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(e) => {
                self.unread.add(path, &e);
                return Ok(false);
            }
        };
        self.parents_of(path)?;
        let kind = self.source(path, &metadata)?;
        if kind == Some(Kind::Folder) {
            self.below(path)?;
        }
        Ok(kind.is_some())
    }

    /// The folders above an asset, so that they come back as they are.
    fn parents_of(&mut self, path: &Path) -> io::Result<()> {
        let mut parents: Vec<&Path> = path.ancestors().skip(1).collect();
        parents.reverse();
        for parent in parents {
            if tar::inner(parent).is_empty() || !self.parents.insert(parent.to_owned()) {
                continue;
            }
            // A link on the way is followed: the asset is below it by this name.
            let entry = fs::metadata(parent)
                .and_then(|metadata| source::entry(parent, Kind::Folder, &metadata));
            match entry {
                Ok(entry) => self.head(&entry)?,
                Err(e) => self.unread.add(parent, &e),
            }
        }
        Ok(())
    }

    /// A source without what is below it; `None` where it has no entry.
    fn source(&mut self, path: &Path, metadata: &fs::Metadata) -> io::Result<Option<Kind>> {
        self.watch.check().map_err(io::Error::other)?;
        let kind = match source::kind(metadata) {
            Source::Kept(kind) => kind,
            Source::Transient => {
                self.transient.add(path);
                return Ok(None);
            }
        };
        if kind == Kind::Folder && (metadata.dev(), metadata.ino()) == self.own {
            self.itself.add(path);
            return Ok(None);
        }
        if kind == Kind::File {
            return self.regular(path).map(|stored| stored.then_some(kind));
        }
        match source::entry(path, kind, metadata) {
            // The root has no name of its own.
            Ok(entry) if entry.path.is_empty() => {}
            Ok(entry) => self.head(&entry)?,
            Err(e) => {
                self.failed(path, &e);
                return Ok(None);
            }
        }
        Ok(Some(kind))
    }

    /// All that is below a folder, however deep.
    fn below(&mut self, folder: &Path) -> io::Result<()> {
        let mut path = folder.to_owned();
        let mut open = vec![self.names(&path)];
        while let Some(names) = open.last_mut() {
            let Some((name, is_file)) = names.next() else {
                open.pop();
                path.pop();
                continue;
            };
            path.push(name);
            if self.listed(&path, is_file)? == Some(Kind::Folder) {
                open.push(self.names(&path));
            } else {
                path.pop();
            }
        }
        Ok(())
    }

    fn names(&mut self, folder: &Path) -> Names {
        let (names, error) = Names::of(folder);
        if let Some(error) = error {
            self.failed(folder, &error);
        }
        names
    }

    /// What was found in a folder.
    fn listed(&mut self, path: &Path, is_file: bool) -> io::Result<Option<Kind>> {
        if self.exclude.excludes(path) {
            return Ok(None);
        }
        if is_file {
            // Asking for more than the listing has said would cost as much as a small file itself.
            self.watch.check().map_err(io::Error::other)?;
            return self.regular(path).map(|stored| stored.then_some(Kind::File));
        }
        match fs::symlink_metadata(path) {
            Ok(metadata) => self.source(path, &metadata),
            Err(e) => {
                self.failed(path, &e);
                Ok(None)
            }
        }
    }

    fn regular(&mut self, path: &Path) -> io::Result<bool> {
        let opened = source::open(path).and_then(|file| {
            let metadata = file.metadata()?;
            if !metadata.is_file() {
                return Err(io::ErrorKind::NotFound.into());
            }
            let entry = source::file_entry(path, &file, &metadata)?;
            Ok((file, metadata, entry))
        });
        let (file, metadata, mut entry) = match opened {
            Ok(opened) => opened,
            Err(e) => {
                self.failed(path, &e);
                return Ok(false);
            }
        };
        if let Some(to) = self.links.find(&metadata) {
            let line = manifest::link_line(&entry.path, &to)?;
            (entry.kind, entry.link, entry.size) = (Kind::HardLink, to, 0);
            self.head(&entry)?;
            self.lines.push(&line)?;
            self.files += 1;
            return Ok(true);
        }
        entry.extents = source::extents(&file, &metadata);
        let (_, trouble) = self.file(&entry, &file)?;
        if let Some(trouble) = trouble {
            self.unread.add(path, &trouble);
        }
        self.links.remember(&metadata, path, &entry.path);
        Ok(true)
    }

    /// A file with its content; tells its checksum, and what kept it from being read whole.
    fn file(&mut self, entry: &Entry, file: &File) -> io::Result<(String, Option<String>)> {
        let head = tar::encode(entry);
        self.out.write_all(&head.bytes)?;
        let (checksum, trouble) = copy(entry, file, &mut self.buffer, self.out, self.watch)?;
        self.out.write_all(&END[..head.padding])?;
        self.lines.push(&manifest::file_line(&entry.path, entry.size, &checksum)?)?;
        self.files += 1;
        Ok((checksum, trouble))
    }

    fn head(&mut self, entry: &Entry) -> io::Result<()> {
        self.out.write_all(&tar::encode(entry).bytes)
    }

    /// What was listed and could not be read. What is gone by then was removed by somebody, and is not
    /// missing.
    fn failed(&mut self, path: &Path, error: &io::Error) {
        if error.kind() == io::ErrorKind::NotFound {
            self.vanished.add(path);
        } else {
            self.unread.add(path, error);
        }
    }

    fn finish(self, head: Head) -> io::Result<Packed> {
        let Self { out, lines, links, unread, transient, vanished, itself, files, .. } = self;
        let unread = unread.into_texts();
        let head = Head { unread, ..head };
        let text = manifest::head_text(&head)?;
        let size = text.len() as u64 + lines.text_bytes() + manifest::tail_text().len() as u64;
        let meta = Meta { mode: 0o600, ..Meta::default() };
        let mut entry = Entry::new(Kind::File, manifest::NAME.as_bytes(), meta);
        entry.size = size;
        entry.comment = Some(manifest::MARK.to_owned());
        let encoded = tar::encode(&entry);
        out.write_all(&encoded.bytes)?;
        manifest::write(&text, lines, &mut |bytes| out.write_all(bytes))?;
        out.write_all(&END[..encoded.padding])?;
        out.write_all(&END)?;
        let notes = [
            transient.note("skipped", "socket or fifo", "sockets and fifos"),
            vanished.note("not stored, for it was gone:", "source", "sources"),
            itself.note("left out:", "folder of archives itself", "folders of archives themselves"),
            links.note(),
        ];
        let notes = notes.into_iter().flatten().collect();
        Ok(Packed { files, unread: head.unread, notes })
    }
}
