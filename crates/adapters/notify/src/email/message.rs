//! A notice as an e-mail: the same words as text and as HTML.

use std::time::SystemTime;

use backupctl_domain::Notice;
use jiff::Timestamp;
use lettre::Message;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use uuid::Uuid;

/// Who is written to, and by whom.
#[derive(Debug, Clone)]
pub(super) struct Addresses {
    pub(super) from: Mailbox,
    pub(super) to: Vec<Mailbox>,
}

/// Writes the message, headers and all. Its id is its own: a server that has it twice can tell.
pub(super) fn compose(
    notice: &Notice,
    addresses: &Addresses,
    now: Timestamp,
) -> Result<Vec<u8>, lettre::error::Error> {
    let (first, rest) = notice.text.split_once('\n').unwrap_or((&notice.text, ""));
    let id = format!("<{}@{}>", Uuid::new_v4(), addresses.from.email.domain());
    let mut builder = Message::builder()
        .from(addresses.from.clone())
        .date(SystemTime::from(now.max(Timestamp::UNIX_EPOCH)))
        .message_id(Some(id))
        .subject(one_line(first))
        // RFC 3834: no out-of-office note comes back.
        .raw_header(header("Auto-Submitted", "auto-generated"))
        .raw_header(header("X-Backupctl-Event", notice.kind.event()));
    for mailbox in &addresses.to {
        builder = builder.to(mailbox.clone());
    }
    let plain = format!("{}\n", notice.text);
    let body = MultiPart::alternative_plain_html(plain, html(first, rest));
    Ok(builder.multipart(body)?.formatted())
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

/// A header's value has no control characters.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn html(first: &str, rest: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html>\n<body>\n<h3>{}</h3>\n<pre style=\"white-space: pre-wrap\">{}\
         </pre>\n</body>\n</html>\n",
        escaped(first),
        escaped(rest)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
