//! A message as it came, and as a reader sees it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// A message that the sink has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The envelope's sender.
    pub from: String,
    /// The envelope's recipients.
    pub to: Vec<String>,
    /// Who had logged in.
    pub user: Option<String>,
    /// Whether it came over TLS.
    pub encrypted: bool,
    /// The message as sent, lines separated by `\n`.
    pub text: String,
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its `Content-Type`.
    pub content_type: String,
    /// Its text, transfer encoding undone, lines separated by `\n`.
    pub text: String,
}

impl Mail {
    /// The header of that name, in any case, as a reader sees it: unfolded and decoded.
    pub fn header(&self, name: &str) -> Option<String> {
        header(self.text.split("\n\n").next().unwrap_or_default(), name)
    }

    /// The parts of a multipart message, or the message itself as the only one.
    pub fn parts(&self) -> Vec<Part> {
        let kind = self.header("content-type").unwrap_or_default();
        let Some(boundary) = kind.split("boundary=").nth(1) else { return vec![part(&self.text)] };
        let boundary = boundary.split(';').next().unwrap_or_default().trim().trim_matches('"');
        let mark = format!("--{boundary}");
        let (_, body) = self.text.split_once("\n\n").unwrap_or_default();
        let pieces = body.split(mark.as_str()).skip(1).take_while(|piece| !piece.starts_with("--"));
        pieces.map(|piece| part(piece.strip_prefix('\n').unwrap_or(piece))).collect()
    }
}

fn part(text: &str) -> Part {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    // The line break before a boundary belongs to the boundary.
    let body = body.strip_suffix('\n').unwrap_or(body);
    let encoding = header(head, "content-transfer-encoding").unwrap_or_default();
    let bytes = match encoding.to_ascii_lowercase().as_str() {
        "base64" => from_base64(body),
        "quoted-printable" => from_quoted_printable(body),
        _ => body.as_bytes().to_vec(),
    };
    Part {
        content_type: header(head, "content-type").unwrap_or_default(),
        text: String::from_utf8_lossy(&bytes).replace("\r\n", "\n"),
    }
}

fn header(head: &str, name: &str) -> Option<String> {
    let mut found: Option<String> = None;
    for line in head.lines() {
        let folded = line.starts_with([' ', '\t']);
        if let (true, Some(value)) = (folded, found.as_mut()) {
            value.push_str(line);
        } else if found.is_some() {
            break;
        } else if let Some((key, value)) = line.split_once(':')
            && key.eq_ignore_ascii_case(name)
        {
            found = Some(value.trim().to_owned());
        }
    }
    found.map(|value| decoded_words(&value))
}

/// Undoes RFC 2047: `=?utf-8?b?…?=`; white space between two such words is none.
fn decoded_words(value: &str) -> String {
    let mut out = String::new();
    let mut rest = value;
    let mut bytes = Vec::new();
    while let Some((before, word)) = rest.split_once("=?") {
        let mut fields = word.splitn(4, '?');
        let _charset = fields.next();
        let (Some(kind), Some(text), Some(tail)) = (fields.next(), fields.next(), fields.next())
        else {
            break;
        };
        if bytes.is_empty() || !before.trim().is_empty() {
            out.push_str(&String::from_utf8_lossy(&bytes));
            bytes.clear();
            out.push_str(before);
        }
        if kind.eq_ignore_ascii_case("b") {
            bytes.extend(from_base64(text));
        } else {
            bytes.extend(from_quoted_printable(&text.replace('_', " ")));
        }
        rest = tail.strip_prefix('=').unwrap_or(tail);
    }
    out.push_str(&String::from_utf8_lossy(&bytes));
    out.push_str(rest);
    out
}

fn from_base64(text: &str) -> Vec<u8> {
    let text: String = text.split_whitespace().collect();
    BASE64_STANDARD.decode(text).expect("base64")
}

fn from_quoted_printable(text: &str) -> Vec<u8> {
    let text = text.replace("=\n", "");
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if let (b'=', Some(byte)) = (first, byte) {
            out.push(byte);
            rest = &tail[2..];
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    out
}
