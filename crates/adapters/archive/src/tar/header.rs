//! The block of 512 bytes that stands before every entry.

use std::io;

use super::BLOCK;

/// The same as [`BLOCK`], of what memory holds.
pub(super) const LEN: usize = 512;

const _: () = assert!(LEN as u64 == BLOCK);

const NAME: (usize, usize) = (0, 100);
const MODE: (usize, usize) = (100, 8);
const UID: (usize, usize) = (108, 8);
const GID: (usize, usize) = (116, 8);
const SIZE: (usize, usize) = (124, 12);
const MTIME: (usize, usize) = (136, 12);
const CHECKSUM: (usize, usize) = (148, 8);
const TYPE: usize = 156;
const LINK: (usize, usize) = (157, 100);
const MAGIC: (usize, usize) = (257, 8);
const MAJOR: (usize, usize) = (329, 8);
const MINOR: (usize, usize) = (337, 8);
const PREFIX: (usize, usize) = (345, 155);

/// The largest number that a field of 8 holds, and one of 12.
pub(super) const MAX_SHORT: u64 = 0o777_7777;
pub(super) const MAX_LONG: u64 = 0o777_7777_7777;
/// The most bytes of a name.
pub(super) const MAX_NAME: usize = NAME.1;

/// The fields of a header, as far as they fit. What does not is cut, and stands in a PAX record.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub(super) name: Vec<u8>,
    pub(super) kind: u8,
    pub(super) link: Vec<u8>,
    pub(super) mode: u64,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) size: u64,
    pub(super) mtime: u64,
    pub(super) device: (u32, u32),
}

impl Header {
    /// The block.
    pub(super) fn block(&self) -> [u8; LEN] {
        let mut block = [0; LEN];
        text(&mut block, NAME, &self.name);
        octal(&mut block, MODE, self.mode & 0o7777);
        octal(&mut block, UID, self.uid.min(MAX_SHORT));
        octal(&mut block, GID, self.gid.min(MAX_SHORT));
        octal(&mut block, SIZE, self.size.min(MAX_LONG));
        octal(&mut block, MTIME, self.mtime.min(MAX_LONG));
        block[TYPE] = self.kind;
        text(&mut block, LINK, &self.link);
        text(&mut block, MAGIC, b"ustar\x0000");
        octal(&mut block, MAJOR, u64::from(self.device.0));
        octal(&mut block, MINOR, u64::from(self.device.1));
        let sum = checksum(&block);
        octal(&mut block, (CHECKSUM.0, 7), sum);
        block[CHECKSUM.0 + 7] = b' ';
        block
    }

    /// Reads a block; `None` for one of zeros, which is the end.
    pub(super) fn parse(block: &[u8; LEN]) -> io::Result<Option<Self>> {
        if block.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        if number(block, CHECKSUM)? != checksum(block) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a header of the tar is damaged",
            ));
        }
        let mut name = string(block, PREFIX);
        if !name.is_empty() {
            name.push(b'/');
        }
        name.extend(string(block, NAME));
        let short = |field| number(block, field).map(|n| u32::try_from(n).unwrap_or_default());
        Ok(Some(Self {
            name,
            kind: block[TYPE],
            link: string(block, LINK),
            mode: number(block, MODE)?,
            uid: number(block, UID)?,
            gid: number(block, GID)?,
            size: number(block, SIZE)?,
            mtime: number(block, MTIME)?,
            device: (short(MAJOR)?, short(MINOR)?),
        }))
    }
}

fn text(block: &mut [u8; LEN], (at, len): (usize, usize), value: &[u8]) {
    let len = value.len().min(len);
    block[at..at + len].copy_from_slice(&value[..len]);
}

fn octal(block: &mut [u8; LEN], (at, len): (usize, usize), value: u64) {
    let digits = format!("{value:0width$o}", width = len - 1);
    text(block, (at, len - 1), digits.as_bytes());
}

fn string(block: &[u8; LEN], (at, len): (usize, usize)) -> Vec<u8> {
    let field = &block[at..at + len];
    field[..field.iter().position(|b| *b == 0).unwrap_or(len)].to_owned()
}

fn number(block: &[u8; LEN], (at, len): (usize, usize)) -> io::Result<u64> {
    let field = &block[at..at + len];
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "a number of the tar is damaged");
    let text = std::str::from_utf8(field).map_err(|_| wrong())?;
    match text.trim_matches(['\0', ' ']) {
        "" => Ok(0),
        digits => u64::from_str_radix(digits, 8).map_err(|_| wrong()),
    }
}

/// The sum of all bytes, with the sum's own as blanks.
fn checksum(block: &[u8; LEN]) -> u64 {
    let own = CHECKSUM.0..CHECKSUM.0 + CHECKSUM.1;
    let sum = |(i, byte): (usize, &u8)| if own.contains(&i) { 32 } else { u64::from(*byte) };
    block.iter().enumerate().map(sum).sum()
}
