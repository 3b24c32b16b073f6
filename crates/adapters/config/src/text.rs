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
    fn url_parts_are_encoded() {
        assert_eq!(percent_encode("a b@/é~"), "a%20b%40%2F%C3%A9~");
    }
}
