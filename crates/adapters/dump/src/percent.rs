//! Percent-encoding, for the URIs that SQLite and the PostgreSQL client take.

use std::fmt::Write as _;

/// The bytes with all but ASCII letters, digits and those in `keep` as `%XX`.
pub(crate) fn encode(bytes: &[u8], keep: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || keep.contains(byte) {
            out.push(char::from(*byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
