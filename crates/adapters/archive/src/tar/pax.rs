//! Records of the form `LENGTH KEY=VALUE\n`, where the length counts itself.

use std::io;

/// Appends a record.
pub(super) fn record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + digits(length) {
        length = rest + digits(length);
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn digits(number: usize) -> usize {
    number.to_string().len()
}

/// What the keys of extended attributes begin with.
const XATTR: &[u8] = b"SCHILY.xattr.";

/// The key of an extended attribute. A key ends at its first `=`, so GNU tar encodes those in a name.
pub(super) fn xattr_key(name: &[u8]) -> Vec<u8> {
    let mut key = XATTR.to_vec();
    for byte in name {
        match byte {
            b'%' => key.extend_from_slice(b"%25"),
            b'=' => key.extend_from_slice(b"%3D"),
            _ => key.push(*byte),
        }
    }
    key
}

/// The name of the extended attribute that a key is of, if it is of one.
pub(super) fn xattr_name(key: &[u8]) -> Option<Vec<u8>> {
    let mut rest = key.strip_prefix(XATTR)?;
    let mut name = Vec::with_capacity(rest.len());
    while let [first, behind @ ..] = rest {
        let (byte, behind) = match rest {
            [b'%', b'2', b'5', behind @ ..] => (b'%', behind),
            [b'%', b'3', b'D', behind @ ..] => (b'=', behind),
            _ => (*first, behind),
        };
        name.push(byte);
        rest = behind;
    }
    Some(name)
}

/// A record's key and value.
type Record<'a> = (&'a [u8], &'a [u8]);

/// Reads all records, one by one: there may be millions.
pub(super) fn records(mut bytes: &[u8]) -> impl Iterator<Item = io::Result<Record<'_>>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let read = first(bytes);
        bytes = read.map_or(&[], |(_, rest)| rest);
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "a record of the tar is damaged");
        Some(read.map(|(record, _)| record).ok_or_else(wrong))
    })
}

/// The first record, and what follows it.
fn first(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let space = bytes.iter().take(20).position(|b| *b == b' ')?;
    let length = usize::try_from(number(&bytes[..space])?).ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|b| *b == b'=')?;
    Some(((&record[..equals], &record[equals + 1..]), rest))
}

/// A decimal number without a sign.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}

/// A time: seconds, which may be negative, and a fraction behind a point.
pub(super) fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(text) => (true, text),
        None => (false, text),
    };
    let point = text.iter().position(|b| *b == b'.').unwrap_or(text.len());
    let seconds = i64::try_from(number(&text[..point])?).ok()?;
    let mut nanos = 0;
    let mut unit = 100_000_000;
    for digit in text.get(point + 1..).unwrap_or_default() {
        nanos += u32::from(digit.is_ascii_digit().then(|| digit - b'0')?) * unit;
        unit /= 10;
    }
    Some(match (negative, nanos) {
        (false, _) => (seconds, nanos),
        (true, 0) => (-seconds, 0),
        // The fraction counts from the second below.
        (true, _) => (-seconds - 1, 1_000_000_000 - nanos),
    })
}

/// The same as text.
pub(super) fn time_text((seconds, nanos): (i64, u32)) -> String {
    let (sign, seconds, nanos) = match (seconds < 0, nanos) {
        (true, 1..) => ("-", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanos),
        (true, 0) => ("-", seconds.unsigned_abs(), 0),
        (false, _) => ("", seconds.unsigned_abs(), nanos),
    };
    if nanos == 0 {
        return format!("{sign}{seconds}");
    }
    let text = format!("{sign}{seconds}.{nanos:09}");
    text.trim_end_matches('0').to_owned()
}
