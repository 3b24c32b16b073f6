//! Reads the entries of an archive one after the other.

use std::io::{self, Read};

use backupctl_adapter_stream::Watch;

use super::header::{Header, LEN};
use super::pax::{number, records, time, xattr_name};
use super::{Entry, Extent, Kind, MAX_EXTENTS, MAX_PAX, MAX_XATTRS, Meta, padding};

/// An archive being read. Between two calls of [`next`](Self::next) it gives the stored bytes of the
/// current entry's content.
pub(crate) struct Reader<R> {
    source: R,
    left: u64,
    padding: u64,
    comment: Option<String>,
    watch: Option<Watch>,
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(source: R) -> Self {
        Self { source, left: 0, padding: 0, comment: None, watch: None }
    }

    /// The same for long work, which `watch` can stop where nothing is read.
    pub(crate) fn watched(source: R, watch: Watch) -> Self {
        Self { watch: Some(watch), ..Self::new(source) }
    }

    /// Fails if the work is to stop.
    pub(crate) fn check(&self) -> io::Result<()> {
        self.watch.as_ref().map_or(Ok(()), |watch| watch.check().map_err(io::Error::other))
    }

    /// The remark about the whole archive, once the first entry was read.
    pub(crate) fn comment(&self) -> Option<&str> {
        self.comment.as_deref()
    }

    /// Skips what is left of the current entry and reads the next one's headers; `None` at the end, up
    /// to which everything has been read then.
    pub(crate) fn next(&mut self) -> io::Result<Option<Entry>> {
        // A sum that does not fit ends behind every archive.
        skip(&mut self.source, self.left.saturating_add(self.padding))?;
        (self.left, self.padding) = (0, 0);
        let mut extended = Vec::new();
        loop {
            let Some(header) = self.header()? else {
                self.end()?;
                return Ok(None);
            };
            match header.kind {
                b'x' => extended = self.extension(header.size)?,
                b'g' => {
                    let bytes = self.extension(header.size)?;
                    for record in records(&bytes) {
                        let (key, value) = record?;
                        if key == b"comment" {
                            self.comment = Some(String::from_utf8_lossy(value).into_owned());
                        }
                    }
                }
                _ => return self.entry(header, &extended).map(Some),
            }
        }
    }

    fn header(&mut self) -> io::Result<Option<Header>> {
        let mut block = [0; LEN];
        self.source.read_exact(&mut block)?;
        Header::parse(&block)
    }

    fn extension(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > MAX_PAX {
            return Err(damaged("a record of the tar is too large"));
        }
        let mut bytes = Vec::new();
        self.source.by_ref().take(size).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        skip(&mut self.source, padding(size) as u64)?;
        Ok(bytes)
    }

    /// Behind the end there is nothing but zeros.
    fn end(&mut self) -> io::Result<()> {
        let mut buffer = [0; LEN];
        loop {
            match self.source.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) if buffer[..read].iter().any(|b| *b != 0) => {
                    return Err(damaged("something follows the end of the tar"));
                }
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn entry(&mut self, header: Header, extended: &[u8]) -> io::Result<Entry> {
        let kind = match header.kind {
            b'0' | 0 => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::CharDevice,
            b'4' => Kind::BlockDevice,
            b'5' => Kind::Folder,
            _ => return Err(damaged("the tar holds an entry of a kind that is not known")),
        };
        let meta = Meta {
            mode: u32::try_from(header.mode & 0o7777).unwrap_or_default(),
            uid: header.uid,
            gid: header.gid,
            modified: (i64::try_from(header.mtime).unwrap_or_default(), 0),
            xattrs: Vec::new(),
        };
        let mut entry = Entry::new(kind, &header.name, meta);
        entry.link = header.link;
        entry.device = header.device;
        let mut size = header.size;
        let mut sparse = None;
        for record in records(extended) {
            let (key, value) = record?;
            let count = || number(value).ok_or_else(|| damaged("a number of the tar is damaged"));
            match key {
                b"path" | b"GNU.sparse.name" => value.clone_into(&mut entry.path),
                b"linkpath" => value.clone_into(&mut entry.link),
                b"size" => size = count()?,
                b"uid" => entry.meta.uid = count()?,
                b"gid" => entry.meta.gid = count()?,
                b"mtime" => {
                    let damaged = || damaged("a time of the tar is damaged");
                    entry.meta.modified = time(value).ok_or_else(damaged)?;
                }
                b"comment" => entry.comment = Some(String::from_utf8_lossy(value).into_owned()),
                b"GNU.sparse.realsize" => sparse = Some(count()?),
                _ => {
                    if let Some(name) = xattr_name(key) {
                        if entry.meta.xattrs.len() == MAX_XATTRS {
                            return Err(damaged("a file of the tar has too many attributes"));
                        }
                        entry.meta.xattrs.push((name, value.to_owned()));
                    }
                }
            }
        }
        while entry.path.ends_with(b"/") {
            entry.path.pop();
        }
        self.left = if kind == Kind::File { size } else { 0 };
        self.padding = padding(self.left) as u64;
        entry.size = self.left;
        if let Some(size) = sparse {
            entry.size = size;
            entry.extents = Some(self.sparse_map(size)?);
        }
        Ok(entry)
    }

    /// The map in front of a sparse file's data.
    fn sparse_map(&mut self, size: u64) -> io::Result<Vec<Extent>> {
        let wrong = || damaged("the map of a sparse file is damaged");
        let mut numbers = Numbers { block: [0; LEN], at: LEN };
        let count = numbers.next(self)?.filter(|n| *n <= MAX_EXTENTS as u64 + 1);
        let mut extents = Vec::new();
        let mut end = 0;
        for _ in 0..count.ok_or_else(wrong)? {
            let offset = numbers.next(self)?.ok_or_else(wrong)?;
            let len = numbers.next(self)?.ok_or_else(wrong)?;
            let behind = offset.checked_add(len).filter(|behind| *behind <= size);
            let begin = end;
            end = behind.filter(|_| offset >= begin).ok_or_else(wrong)?;
            if len > 0 {
                extents.push(Extent { offset, len });
            }
        }
        if extents.iter().map(|e| e.len).sum::<u64>() != self.left {
            return Err(wrong());
        }
        Ok(extents)
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.source.read(&mut buf[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// Numbers, a line each, from whole blocks.
struct Numbers {
    block: [u8; LEN],
    at: usize,
}

impl Numbers {
    fn next<R: Read>(&mut self, from: &mut Reader<R>) -> io::Result<Option<u64>> {
        let mut digits = Vec::new();
        loop {
            if self.at == LEN {
                from.read_exact(&mut self.block)?;
                self.at = 0;
            }
            let byte = self.block[self.at];
            self.at += 1;
            match byte {
                b'\n' => return Ok(number(&digits)),
                _ if digits.len() > 20 => return Ok(None),
                _ => digits.push(byte),
            }
        }
    }
}

fn skip(source: &mut impl Read, bytes: u64) -> io::Result<()> {
    let skipped = io::copy(&mut source.take(bytes), &mut io::sink())?;
    if skipped == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
