//! Reads an RDB file as it streams by: where it really ends, whether its checksum is right, and
//! whether it holds any keys.
//!
//! A server that syncs without a disk (the default from Redis 7.0 on) ends its stream by a mark of 40
//! hexadecimal digits. `redis-cli --rdb FILE` cuts the mark off again; `--rdb -` cannot, and leaves it
//! behind the RDB. So the last bytes are held back until it is known what they are.

use std::io::{self, Read};

use crate::crc64::Crc64;
use crate::stream::CHUNK;

const MAGIC: &[u8] = b"REDIS";
/// The first version that ends with a checksum (Redis 2.6).
const OLDEST: u32 = 5;
/// The mark behind a stream.
const MARK: usize = 40;
/// The opcode that ends an RDB, and its checksum.
const END: usize = 1 + 8;
const EOF: u8 = 0xff;
/// The beginning that is looked through for keys. Before the first key there are a few fields and the
/// functions.
const BEGINNING: usize = 256 * 1024;

/// What is known of an RDB that was read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// It ends as it should, and the checksum is that of its bytes.
    Proven,
    /// It ends as it should; the server has computed no checksum (`rdbchecksum no`).
    Unproven,
    /// It is none, is cut, or its bytes are others than were written.
    Bad(&'static str),
}

/// What passed.
#[derive(Debug)]
pub(crate) struct Rdb {
    /// How it ends.
    pub(crate) end: End,
    /// Whether it holds keys; `None` where its beginning does not tell.
    pub(crate) keys: Option<bool>,
}

/// Passes an RDB on without what may stand behind it.
pub(crate) struct RdbReader<R> {
    source: R,
    buffer: Vec<u8>,
    /// What may be handed over.
    ready: std::ops::Range<usize>,
    filled: usize,
    check: RdbCheck,
    end: Option<End>,
}

impl<R: Read> RdbReader<R> {
    pub(crate) fn new(source: R) -> Self {
        Self {
            source,
            buffer: vec![0; CHUNK + END + MARK],
            ready: 0..0,
            filled: 0,
            check: RdbCheck::new(),
            end: None,
        }
    }

    /// What has passed; to be asked at the end.
    pub(crate) fn finish(self) -> Rdb {
        let end = self.end.unwrap_or(End::Bad("it was not read to its end"));
        Rdb { end, keys: keys(&self.check.beginning) }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.ready.end..self.filled, 0);
        self.filled -= self.ready.end;
        self.ready = 0..0;
        let read = self.source.read(&mut self.buffer[self.filled..])?;
        self.filled += read;
        if read > 0 {
            self.ready = 0..self.filled.saturating_sub(END + MARK);
            self.check.feed(&self.buffer[self.ready.clone()]);
            return Ok(());
        }
        let rest = &self.buffer[..self.filled];
        let with_mark = rest.len() == END + MARK
            && rest[END..].iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let whole = |rdb: &[u8]| self.check.clone().finish(rdb);
        let (kept, end) = match whole(rest) {
            // Bytes of an RDB without a checksum cannot tell a mark from what looks like one.
            end @ (End::Bad(_) | End::Unproven) if with_mark => match whole(&rest[..END]) {
                End::Bad(_) => (rest.len(), end),
                inner => (END, inner),
            },
            end => (rest.len(), end),
        };
        self.check.keep_beginning(&self.buffer[..kept]);
        self.ready = 0..kept;
        self.filled = kept;
        self.end = Some(end);
        Ok(())
    }
}

impl<R: Read> Read for RdbReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.ready.is_empty() {
            if self.end.is_some() {
                return Ok(0);
            }
            self.fill()?;
        }
        let count = out.len().min(self.ready.len());
        out[..count].copy_from_slice(&self.buffer[self.ready.start..][..count]);
        self.ready.start += count;
        Ok(count)
    }
}

/// The checksum of an RDB, told at its last bytes.
#[derive(Debug, Clone)]
pub(crate) struct RdbCheck {
    crc: Crc64,
    beginning: Vec<u8>,
    fed: u64,
}

impl RdbCheck {
    pub(crate) fn new() -> Self {
        Self { crc: Crc64::jones(), beginning: Vec::new(), fed: 0 }
    }

    fn keep_beginning(&mut self, bytes: &[u8]) {
        let room = BEGINNING - self.beginning.len();
        self.beginning.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Takes the next bytes, which are not the last nine.
    fn feed(&mut self, bytes: &[u8]) {
        self.crc.update(bytes);
        self.keep_beginning(bytes);
        self.fed += bytes.len() as u64;
    }

    /// These are the last bytes.
    fn finish(mut self, rest: &[u8]) -> End {
        let Some(at) = rest.len().checked_sub(END) else {
            return End::Bad("it is too short");
        };
        self.keep_beginning(rest);
        if version(&self.beginning).is_none_or(|version| version < OLDEST) {
            return End::Bad("it does not begin as RDB files do");
        }
        let (body, end) = rest.split_at(at);
        let mut stored = [0; 8];
        stored.copy_from_slice(&end[1..]);
        let stored = u64::from_le_bytes(stored);
        if end[0] != EOF {
            return End::Bad("it does not end as RDB files do");
        }
        self.crc.update(body);
        self.crc.update(&end[..1]);
        match stored {
            0 => End::Unproven,
            stored if stored == self.crc.value() => End::Proven,
            _ => End::Bad("its checksum is not that of its bytes"),
        }
    }
}

/// The version of the format.
fn version(beginning: &[u8]) -> Option<u32> {
    let digits = beginning.strip_prefix(MAGIC)?.get(..4)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Whether an RDB that begins so holds a key. What stands before the first one is passed over: fields
/// about the server, and functions.
fn keys(beginning: &[u8]) -> Option<bool> {
    let mut rest = beginning.get(MAGIC.len() + 4..)?;
    loop {
        let (opcode, behind) = rest.split_first()?;
        rest = behind;
        match opcode {
            0xfa => {
                string(&mut rest)?;
                string(&mut rest)?;
            }
            // A library of functions.
            0xf5 => string(&mut rest)?,
            // A database begins; how many keys it has; of which cluster slot.
            0xfe => {
                length(&mut rest)?;
            }
            0xfb => {
                let count = length(&mut rest)?;
                length(&mut rest)?;
                if count > 0 {
                    return Some(true);
                }
            }
            0xf4 => {
                length(&mut rest)?;
                length(&mut rest)?;
                length(&mut rest)?;
            }
            0xff => return Some(false),
            // What modules have written, which only they can read.
            0xf6 | 0xf7 => return None,
            _ => return Some(true),
        }
    }
}

/// A length as RDB files write it; `None` for one of the special encodings of a string.
fn length(rest: &mut &[u8]) -> Option<u64> {
    let first = take(rest, 1)?[0];
    match first >> 6 {
        0 => Some(u64::from(first & 0x3f)),
        1 => Some(u64::from(first & 0x3f) << 8 | u64::from(take(rest, 1)?[0])),
        2 if first == 0x80 => Some(u32::from_be_bytes(take(rest, 4)?.try_into().ok()?).into()),
        2 if first == 0x81 => Some(u64::from_be_bytes(take(rest, 8)?.try_into().ok()?)),
        _ => None,
    }
}

/// Passes over a string, which may be a number or compressed.
fn string(rest: &mut &[u8]) -> Option<()> {
    let size = match *rest.first()? {
        0xc0 => {
            take(rest, 1)?;
            1
        }
        0xc1 => {
            take(rest, 1)?;
            2
        }
        0xc2 => {
            take(rest, 1)?;
            4
        }
        0xc3 => {
            take(rest, 1)?;
            let compressed = length(rest)?;
            length(rest)?;
            compressed
        }
        _ => length(rest)?,
    };
    take(rest, usize::try_from(size).ok()?).map(drop)
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of Redis 7.0.15: a library of functions, keys in two databases, one with a time to live.
    const REAL: &[u8] = include_bytes!("../../tests/fixtures/redis-7.0.rdb");
    /// The same as `redis-cli --rdb -` gives it from a server that syncs without a disk.
    const MARK_BEHIND: &[u8] = include_bytes!("../../tests/fixtures/redis-7.0-stdout.rdb");

    fn read(bytes: &[u8], piece: usize) -> (Vec<u8>, Rdb) {
        struct Pieces<'a>(&'a [u8], usize);
        impl Read for Pieces<'_> {
            fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
                let limit = out.len().min(self.1);
                self.0.read(&mut out[..limit])
            }
        }
        let mut reader = RdbReader::new(Pieces(bytes, piece));
        let mut passed = Vec::new();
        reader.read_to_end(&mut passed).unwrap();
        (passed, reader.finish())
    }

    #[test]
    fn a_mark_behind_is_cut_off_and_nothing_else() {
        assert_eq!(MARK_BEHIND.len(), REAL.len() + MARK);
        for piece in [1, 7, 40, 49, 50, 4096] {
            for bytes in [REAL, MARK_BEHIND] {
                let (passed, rdb) = read(bytes, piece);
                assert_eq!(passed, REAL);
                assert_eq!((rdb.end, rdb.keys), (End::Proven, Some(true)), "{piece}");
            }
        }
    }

    #[test]
    fn a_cut_or_a_flipped_bit_anywhere_is_noticed_and_all_bytes_pass() {
        for bytes in [REAL, MARK_BEHIND] {
            for cut in 0..bytes.len() {
                let (passed, rdb) = read(&bytes[..cut], 64);
                if cut == REAL.len() {
                    assert_eq!(rdb.end, End::Proven, "the mark is no part of it");
                } else {
                    assert!(matches!(rdb.end, End::Bad(_)), "{cut}");
                    assert_eq!(passed, &bytes[..cut]);
                }
            }
        }
        for at in 0..REAL.len() {
            for bit in 0..8 {
                let mut bad = REAL.to_vec();
                bad[at] ^= 1 << bit;
                assert!(matches!(read(&bad, 64).1.end, End::Bad(_)), "{at}, {bit}");
            }
        }
    }

    #[test]
    fn an_rdb_without_a_checksum_is_told_apart() {
        let mut none = REAL.to_vec();
        let end = none.len() - 8;
        none[end..].fill(0);
        assert_eq!(read(&none, 64).1.end, End::Unproven);
        let marked = [none.as_slice(), &MARK_BEHIND[REAL.len()..]].concat();
        let (passed, rdb) = read(&marked, 64);
        assert_eq!((passed, rdb.end), (none, End::Unproven));
    }

    #[test]
    fn keys_are_told_from_none_by_the_beginning() {
        let head = b"REDIS0010\xfa\x09redis-ver\x067.0.15\xfa\x05ctime\xc2\x01\x02\x03\x04";
        let of = |more: &[u8]| keys(&[head.as_slice(), more].concat());
        assert_eq!(of(b"\xff12345678"), Some(false));
        assert_eq!(of(b"\xf5\x03abc\xff"), Some(false), "functions are no keys");
        assert_eq!(of(b"\xfe\x00\xfb\x41\x00\x00"), Some(true));
        assert_eq!(of(b"\xfe\x00\x00\x01k\x01v"), Some(true), "older ones tell no count");
        assert_eq!(of(b"\xf7whatever"), None);
        assert_eq!(of(b"\xf5\x80\x00\x01\x00\x00 and on"), None, "functions longer than that");
        assert_eq!(keys(b"REDIS"), None);
    }
}
