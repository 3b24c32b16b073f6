//! Slack's incoming webhook: the notice's words as a header and sections.
//!
//! Limits are Slack's (docs.slack.dev, Block Kit reference): 150 characters in a header, 3000 in a
//! section, 50 blocks in a message, 40,000 characters in its `text`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backupctl_application::ports::{Clock, Notifier};
use backupctl_domain::{ErrorCode, Failure, Notice, Secret};
use reqwest::Url;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::http::{self, Answer, Http};
use crate::tries::{TIMEOUT, twice};

/// The longest header.
const HEADER_LIMIT: usize = 150;

/// The longest text of a section, room for [`CUT`] left.
const SECTION_LIMIT: usize = 3000 - CUT.len();

/// How many sections there may be beside the header.
const SECTIONS: usize = 49;

/// The longest `text`, room for [`CUT`] left.
const TEXT_LIMIT: usize = 40_000 - CUT.len();

/// Says that there was more.
const CUT: &str = "\n…";

/// Posts notices to a channel of Slack.
pub struct Slack {
    url: Result<Url, &'static str>,
    clock: Arc<dyn Clock>,
    http: Http,
}

impl Slack {
    /// Makes one for this incoming webhook. An address that cannot be used is told by `check` and
    /// by each delivery.
    ///
    /// # Errors
    ///
    /// `INTERNAL` where the URL was not resolved before.
    pub fn new(url: &Secret, clock: Arc<dyn Clock>) -> Result<Self, Failure> {
        Ok(Self { url: http::address(url.expose()?), clock, http: Http::new(TIMEOUT) })
    }

    /// The same with another time limit for each try; 10 s unless told otherwise.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.http = Http::new(timeout);
        self
    }

    fn url(&self) -> Result<&Url, Failure> {
        self.url.as_ref().map_err(|why| {
            Failure::new(ErrorCode::NotifyFailed, format!("slack's webhook address {why}"))
                .with_remedy("set `notification.config.webhook_url` to the URL that Slack gave you")
                .permanent()
        })
    }

    async fn post(&self, url: &Url, body: &[u8]) -> Result<(), String> {
        let client = self.http.client(url)?;
        let request = client.post(url.clone()).header(CONTENT_TYPE, "application/json");
        let request = request.body(body.to_owned());
        let request = request.build().map_err(|_| "the request cannot be made".to_owned())?;
        let answer = self.http.send(client, request).await?;
        match word(&answer, url) {
            Some("ok") if answer.good => Ok(()),
            // What speaks Slack's protocol without being Slack says nothing, or says it in JSON.
            None if answer.good && says_nothing_else(&answer.body) => Ok(()),
            Some(word) => Err(format!("answered {}: {word}", answer.status)),
            None => Err(format!("answered {}, which is not Slack's ok", answer.status)),
        }
    }
}

#[async_trait]
impl Notifier for Slack {
    async fn notify(&self, notice: &Notice) -> Result<(), Failure> {
        let url = self.url()?;
        let body = payload(&notice.text).to_string().into_bytes();
        twice(self.clock.as_ref(), || self.post(url, &body)).await.map_err(|why| {
            let message = format!("slack {}: {why} (2 tries)", http::host(url));
            Failure::new(ErrorCode::NotifyFailed, message).with_remedy(
                "check in Slack that the incoming webhook and its channel still exist, or correct \
                 `notification.config.webhook_url`",
            )
        })
    }

    async fn check(&self) -> Result<(), Failure> {
        self.url().map(drop)
    }

    async fn reach(&self) -> Result<(), Failure> {
        let url = self.url()?;
        // What the webhook's own address is asked counts as a message.
        self.http.reach(&http::root(url)).await.map_err(|why| {
            let message = format!("slack {}: {why}", http::host(url));
            Failure::new(ErrorCode::NotifyFailed, message).with_remedy(
                "check that the host of `notification.config.webhook_url` can be reached from here",
            )
        })
    }
}

/// Slack's answer: `ok`, or the short name of an error such as `no_service`. Anything else may be a
/// proxy's page, and might quote the address.
fn word<'a>(answer: &'a Answer, url: &Url) -> Option<&'a str> {
    let word = std::str::from_utf8(&answer.body).ok()?.trim();
    let short = (1..=60).contains(&word.len());
    let plain = word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    (short && plain && !url.path().contains(word)).then_some(word)
}

/// Whether a body is empty or JSON, which no proxy's page and no login form is.
fn says_nothing_else(body: &[u8]) -> bool {
    let body = body.trim_ascii();
    body.is_empty() || body.starts_with(b"{")
}

/// The message: `text` for notifications and old clients, `blocks` for the channel.
fn payload(text: &str) -> Value {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let title = escaped(first);
    // A title that does not fit is told below in full.
    let (title, rest) = if length(&title) <= HEADER_LIMIT {
        (title, rest)
    } else {
        (pieces(first, HEADER_LIMIT - 1).swap_remove(0) + "…", text)
    };
    let mut blocks = vec![json!({
        "type": "header",
        "text": {"type": "plain_text", "text": title, "emoji": true},
    })];
    let mut sections = chunks(rest, SECTION_LIMIT);
    sections.retain(|section| !section.trim().is_empty());
    shorten(&mut sections, SECTIONS);
    blocks.extend(sections.iter().map(|text| json!({"type": "section", "text": words(text)})));
    let mut whole = chunks(text, TEXT_LIMIT);
    shorten(&mut whole, 1);
    json!({"text": whole.concat(), "blocks": blocks})
}

/// Drops what is too many, and says so.
fn shorten(parts: &mut Vec<String>, limit: usize) {
    if parts.len() > limit {
        parts.truncate(limit);
        parts.iter_mut().last().into_iter().for_each(|last| last.push_str(CUT));
    }
}

/// A section's text. Where Slack would take characters of it for markup and so swallow them, it
/// goes without: the words count more than how they look.
fn words(escaped: &str) -> Value {
    if escaped.lines().any(has_markup) {
        json!({"type": "plain_text", "text": escaped, "emoji": true})
    } else {
        json!({"type": "mrkdwn", "text": escaped, "verbatim": true})
    }
}

/// Whether something in this line opens a quote, bold, italic or struck text.
fn has_markup(line: &str) -> bool {
    let opens = |at: usize, mark: char| {
        let before = line[..at].chars().next_back();
        let after = line[at + mark.len_utf8()..].chars().next();
        !before.is_some_and(char::is_alphanumeric) && after.is_some_and(|c| !c.is_whitespace())
    };
    line.trim_start().starts_with("&gt;")
        || line.char_indices().any(|(at, c)| matches!(c, '*' | '_' | '~') && opens(at, c))
}

/// Slack's control characters in their written form.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A text's length as Slack may count it at most: in UTF-16.
fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

/// The text, escaped, in parts of whole lines within the limit; only a line that does not fit alone
/// is broken.
fn chunks(text: &str, limit: usize) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut filled = 0;
    for piece in text.lines().flat_map(|line| pieces(line, limit)) {
        let more = length(&piece);
        match parts.last_mut() {
            Some(last) if filled + 1 + more <= limit => {
                last.push('\n');
                last.push_str(&piece);
                filled += 1 + more;
            }
            _ => {
                parts.push(piece);
                filled = more;
            }
        }
    }
    parts
}

/// One line, escaped, in as few pieces as the limit takes.
fn pieces(line: &str, limit: usize) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut filled = 0;
    for c in line.chars() {
        let c = escaped(c.encode_utf8(&mut [0; 4]));
        filled += length(&c);
        if filled > limit {
            filled = length(&c);
            parts.push(String::new());
        }
        parts.iter_mut().last().into_iter().for_each(|last| last.push_str(&c));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections(payload: &Value) -> Vec<String> {
        let blocks = payload["blocks"].as_array().unwrap();
        assert_eq!(blocks[0]["type"], "header");
        blocks[1..].iter().map(|b| b["text"]["text"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_long_notice_keeps_every_line_in_sections_that_slack_takes() {
        let lines: Vec<String> =
            (0..300).map(|n| format!("⚠️ project-{n} — no run & <b>")).collect();
        let payload = payload(&format!("📊 Daily Backup Summary\n{}", lines.join("\n")));
        let sections = sections(&payload);
        assert!(sections.len() > 1 && sections.iter().all(|s| length(s) <= 3000));
        assert_eq!(sections.join("\n"), escaped(&lines.join("\n")));
    }

    #[test]
    fn what_slack_cannot_take_at_all_is_cut_at_a_line_with_an_ellipsis() {
        let line = "x".repeat(99);
        let payload = payload(&format!("title\n{}", vec![line.as_str(); 3000].join("\n")));
        let sections = sections(&payload);
        assert_eq!(sections.len(), 49);
        assert!(sections[48].ends_with(&format!("\n{line}\n…")) && length(&sections[48]) <= 3000);
        let text = payload["text"].as_str().unwrap();
        assert!(text.ends_with(&format!("\n{line}\n…")) && length(text) <= 40_000);
    }

    #[test]
    fn a_line_that_fits_nowhere_is_broken_between_characters() {
        let payload = payload(&format!("title\n{}", "🔄&".repeat(1000)));
        let sections = sections(&payload);
        assert_eq!(sections.len(), 3);
        assert_eq!(sections.concat(), "🔄&amp;".repeat(1000));
        assert!(sections.iter().all(|s| length(s) <= 3000));
    }

    #[test]
    fn a_title_that_does_not_fit_is_cut_and_told_below() {
        let title = "t".repeat(200);
        let payload = payload(&title);
        let shown = payload["blocks"][0]["text"]["text"].as_str().unwrap();
        assert_eq!(shown, format!("{}…", "t".repeat(149)));
        assert_eq!(sections(&payload), [title]);
    }

    #[test]
    fn words_that_slack_would_take_for_markup_are_sent_as_they_are() {
        for text in ["Error: *.dump and *.tar", "_private_", "a ~b~", "&gt; quoted"] {
            assert_eq!(words(text)["type"], "plain_text", "{text}");
        }
        for text in ["Code: DB_AUTH_FAILED", "run `backupctl explain`", "2 * 3", "a &gt; b", "~ 3"]
        {
            assert_eq!(words(text)["type"], "mrkdwn", "{text}");
        }
    }
}
