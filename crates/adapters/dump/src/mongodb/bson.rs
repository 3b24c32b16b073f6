//! The little of BSON that archives' headers and a server's first words need: the top level of a
//! document (bsonspec.org, version 1.1).

/// The shortest document: its length and a zero.
pub(crate) const SHORTEST: usize = 5;

/// A value of the kinds that we look at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    /// A string.
    Text(&'a str),
    /// A 32-bit or 64-bit integer.
    Int(i64),
    /// A floating-point number.
    Double(f64),
    /// A boolean.
    Bool(bool),
    /// Anything else.
    Other,
}

impl<'a> Value<'a> {
    /// The text, if it is one.
    pub(crate) fn text(self) -> Option<&'a str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The whole number, if it is one, in whichever of the types that servers use for the same field.
    #[expect(clippy::cast_possible_truncation, reason = "small counts and flags")]
    pub(crate) fn int(self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(number),
            Self::Double(number) => Some(number as i64),
            Self::Bool(flag) => Some(i64::from(flag)),
            _ => None,
        }
    }
}

/// The top-level fields of a whole document; `None` for bytes that are none.
pub(crate) fn fields(document: &[u8]) -> Option<Vec<(&str, Value<'_>)>> {
    let mut rest = document;
    let length = int32(&mut rest)?;
    if usize::try_from(length).ok()? != document.len() {
        return None;
    }
    let mut found = Vec::new();
    loop {
        let kind = take(&mut rest, 1)?[0];
        if kind == 0 {
            return rest.is_empty().then_some(found);
        }
        let name = cstring(&mut rest)?;
        found.push((name, value(kind, &mut rest)?));
    }
}

/// The field of that name.
pub(crate) fn get<'a>(fields: &[(&str, Value<'a>)], name: &str) -> Option<Value<'a>> {
    fields.iter().find(|(n, _)| *n == name).map(|(_, value)| *value)
}

/// A document of a command: `{name: 1, $db: "admin"}`.
pub(crate) fn command(name: &str) -> Vec<u8> {
    let mut body = vec![0x10];
    body.extend(name.as_bytes());
    body.extend(*b"\0\x01\0\0\0\x02$db\0\x06\0\0\0admin\0\0");
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [length.to_le_bytes().as_slice(), &body].concat()
}

fn value<'a>(kind: u8, rest: &mut &'a [u8]) -> Option<Value<'a>> {
    Some(match kind {
        0x01 => Value::Double(f64::from_le_bytes(take(rest, 8)?.try_into().ok()?)),
        0x02 => Value::Text(string(rest)?),
        0x08 => match take(rest, 1)?[0] {
            0 => Value::Bool(false),
            1 => Value::Bool(true),
            _ => return None,
        },
        0x10 => Value::Int(int32(rest)?.into()),
        0x12 => Value::Int(i64::from_le_bytes(take(rest, 8)?.try_into().ok()?)),
        _ => {
            skip(kind, rest)?;
            Value::Other
        }
    })
}

fn skip(kind: u8, rest: &mut &[u8]) -> Option<()> {
    let size = match kind {
        // undefined, null, the smallest and the largest key
        0x06 | 0x0a | 0xff | 0x7f => 0,
        // a date, a timestamp
        0x09 | 0x11 => 8,
        0x07 => 12,
        0x13 => 16,
        // a document, an array, code with scope: their length counts itself
        0x03 | 0x04 | 0x0f => {
            let mut ahead = *rest;
            usize::try_from(int32(&mut ahead)?).ok()?
        }
        0x05 => usize::try_from(int32(rest)?).ok()?.checked_add(1)?,
        0x0d | 0x0e => {
            string(rest)?;
            0
        }
        0x0c => {
            string(rest)?;
            12
        }
        0x0b => {
            cstring(rest)?;
            cstring(rest)?;
            0
        }
        _ => return None,
    };
    take(rest, size).map(drop)
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

fn int32(rest: &mut &[u8]) -> Option<i32> {
    Some(i32::from_le_bytes(take(rest, 4)?.try_into().ok()?))
}

fn string<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::try_from(int32(rest)?).ok()?;
    let (end, text) = take(rest, length)?.split_last()?;
    if *end == 0 { std::str::from_utf8(text).ok() } else { None }
}

fn cstring<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let end = rest.iter().position(|b| *b == 0)?;
    let text = take(rest, end)?;
    take(rest, 1)?;
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_a_document_with_its_database() {
        let bytes = command("hello");
        let fields = fields(&bytes).unwrap();
        assert_eq!(fields, [("hello", Value::Int(1)), ("$db", Value::Text("admin"))]);
    }

    #[test]
    fn every_kind_of_value_is_passed_over() {
        // {a: {}, b: [], c: binary, d: ObjectId, e: null, f: date, g: /x/i, h: decimal, i: true, j: 2.0}
        let mut body = Vec::new();
        let mut add = |kind: u8, name: &str, value: &[u8]| {
            body.push(kind);
            body.extend(name.as_bytes());
            body.push(0);
            body.extend(value);
        };
        add(0x03, "a", &[5, 0, 0, 0, 0]);
        add(0x04, "b", &[5, 0, 0, 0, 0]);
        add(0x05, "c", &[2, 0, 0, 0, 0, 9, 9]);
        add(0x07, "d", &[7; 12]);
        add(0x0a, "e", &[]);
        add(0x09, "f", &[1; 8]);
        add(0x0b, "g", b"x\0i\0");
        add(0x13, "h", &[3; 16]);
        add(0x08, "i", &[1]);
        add(0x01, "j", &2.0_f64.to_le_bytes());
        body.push(0);
        let length = u32::try_from(body.len() + 4).unwrap();
        let bytes = [length.to_le_bytes().as_slice(), &body].concat();
        let found = fields(&bytes).unwrap();
        assert_eq!(found.len(), 10);
        assert_eq!(get(&found, "i").unwrap().int(), Some(1));
        assert_eq!(get(&found, "j").unwrap().int(), Some(2));
        for cut in 0..bytes.len() {
            assert_eq!(fields(&bytes[..cut]), None, "{cut}");
        }
    }
}
