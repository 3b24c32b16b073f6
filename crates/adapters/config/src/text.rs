//! Small readings and writings of texts: time spans, truth values, percent signs.

use std::fmt::Write as _;
use std::time::Duration;

/// Reads `2h`, `90m`, `1d`, `30s`, and sums such as `1h 30m`.
pub fn span(text: &str) -> Option<Duration> {
    let mut total = 0_u64;
    let mut number = String::new();
    let mut any = false;
    for c in text.trim().chars() {
        if c.is_ascii_digit() {
            number.push(c);
            continue;
        }
        if c == ' ' && number.is_empty() {
            continue;
        }
        let unit: u64 = match c {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 7 * 86_400,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        number.clear();
        any = true;
    }
    (any && number.is_empty()).then(|| Duration::from_secs(total))
}

/// Writes a span the way [`span`] reads it, in the largest unit that leaves no remainder.
pub(crate) fn span_text(duration: Duration) -> String {
    let s = duration.as_secs();
    match s {
        0 => "0s".to_owned(),
        _ if s.is_multiple_of(86_400) => format!("{}d", s / 86_400),
        _ if s.is_multiple_of(3600) => format!("{}h", s / 3600),
        _ if s.is_multiple_of(60) => format!("{}m", s / 60),
        _ => format!("{s}s"),
    }
}

/// Reads `4GB`, `3900MiB`, `2G`, `500K` and numbers of bytes: units are powers of 1024, however they are
/// written.
pub(crate) fn size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = match unit.trim_start() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// Writes a size the way [`size`] reads it, in the largest unit that leaves no remainder.
pub(crate) fn size_text(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let whole = |(power, _): &(u32, &str)| bytes > 0 && bytes.is_multiple_of(1 << power);
    match units.into_iter().find(whole) {
        Some((power, unit)) => format!("{}{unit}", bytes >> power),
        None => bytes.to_string(),
    }
}

/// Reads what YAML and people write for yes and no.
pub(crate) fn flag(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// Encodes a text for a part of a URL.
pub(crate) fn percent_encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, b| {
        if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
            out.push(b.into());
        } else {
            // Writing to a text cannot fail.
            let _ = write!(out, "%{b:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_written() {
        for (text, seconds) in
            [("2h", 7200), ("90m", 5400), ("1d", 86_400), ("45s", 45), ("1h 30m", 5400), ("0s", 0)]
        {
            assert_eq!(span(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "2", "h", "2x", "-1h", "1.5h", "99999999999999999999h"] {
            assert_eq!(span(text), None, "{text}");
        }
        assert_eq!(span_text(Duration::from_hours(2)), "2h");
        assert_eq!(span_text(Duration::from_mins(90)), "90m");
    }

    #[test]
    fn sizes_are_read_and_written() {
        let gib = 1 << 30;
        for (text, bytes) in [
            ("4GB", 4 * gib),
            ("4gib", 4 * gib),
            ("2G", 2 * gib),
            ("2 g", 2 * gib),
            ("3900MiB", 3900 << 20),
            ("500K", 500 << 10),
            ("1tb", 1 << 40),
            ("1048576", 1 << 20),
            ("70000B", 70_000),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
            assert_eq!(size(&size_text(bytes)), Some(bytes), "{text}");
        }
        for text in ["", "GB", "-1G", "1.5G", "4X", "4GiBs", "99999999999999999999", "99999999T"] {
            assert_eq!(size(text), None, "{text}");
        }
        assert_eq!(size_text(4 * gib), "4GiB");
        assert_eq!(size_text(70_000), "70000");
    }

    #[test]
    fn url_parts_are_encoded() {
        assert_eq!(percent_encode("a b@/é~"), "a%20b%40%2F%C3%A9~");
    }
}
