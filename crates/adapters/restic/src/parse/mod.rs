//! Reads what restic prints, as it comes: nothing of a repository's size is held in memory.

pub(crate) mod backup;
pub(crate) mod forget;
pub(crate) mod ls;
pub(crate) mod snapshots;
pub(crate) mod text;

use std::io::{self, BufRead, BufReader, Read};

use serde::de::DeserializeOwned;

/// Longest line that is looked at; of a longer one the rest is passed over.
const LINE_LIMIT: usize = 4 * 1024 * 1024;

/// Hands over each line, without its end.
pub(crate) fn lines(reader: impl Read, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(32 * 1024, reader);
    let mut line = Vec::new();
    loop {
        let chunk = reader.fill_buf()?;
        if chunk.is_empty() {
            if !line.is_empty() {
                each(&line);
            }
            return Ok(());
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let used = end.unwrap_or(chunk.len());
        line.extend_from_slice(&chunk[..used.min(LINE_LIMIT.saturating_sub(line.len()))]);
        reader.consume(end.map_or(used, |end| end + 1));
        if end.is_some() {
            each(&line);
            line.clear();
        }
    }
}

/// The first JSON value, if there is one, and the text lines that 0.14 lets follow it.
pub(crate) fn first_value<T: DeserializeOwned>(
    reader: impl Read,
    each_line: impl FnMut(&[u8]),
) -> io::Result<Option<T>> {
    let mut reader = BufReader::with_capacity(32 * 1024, reader);
    let value = T::deserialize(&mut serde_json::Deserializer::from_reader(&mut reader));
    // What cannot be read is treated as not there: the caller decides what that means, after a
    // look at the exit status.
    let value = value.ok();
    lines(reader, each_line)?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_without_their_ends_and_the_last_needs_none() {
        let mut seen = Vec::new();
        lines(&b"a\n\nbc"[..], |line| seen.push(line.to_vec())).unwrap();
        assert_eq!(seen, [&b"a"[..], b"", b"bc"]);
    }

    #[test]
    fn a_line_beyond_the_limit_is_cut_and_the_next_is_whole() {
        let mut text = vec![b'x'; LINE_LIMIT + 100_000];
        text.extend(b"\nnext\n");
        let mut seen = Vec::new();
        lines(&text[..], |line| seen.push(line.len())).unwrap();
        assert_eq!(seen, [LINE_LIMIT, 4]);
    }

    #[test]
    fn only_the_first_value_counts_and_none_is_no_error() {
        let mut rest = Vec::new();
        let value: Option<Vec<u32>> =
            first_value(&b"[1,2]\nremoved\n"[..], |line| rest.extend_from_slice(line)).unwrap();
        assert_eq!((value, rest), (Some(vec![1, 2]), b"removed".to_vec()));
        assert_eq!(first_value::<Vec<u32>>(&b""[..], |_| {}).unwrap(), None);
        assert_eq!(first_value::<Vec<u32>>(&b"no json"[..], |_| {}).unwrap(), None);
    }
}
