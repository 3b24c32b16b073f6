//! Uptime Kuma's push monitor.

use std::time::Duration;

use async_trait::async_trait;
use backupctl_application::ports::{Heartbeat, HeartbeatMonitor};
use backupctl_domain::redact::MASK;
use backupctl_domain::{ErrorCode, Failure, Secret};
use reqwest::Url;
use serde_json::Value;

use crate::http::{self, Answer, Http};

/// The longest message that is sent, in characters.
const MESSAGE_LIMIT: usize = 200;

/// Tells a push monitor of Uptime Kuma.
pub struct UptimeKuma {
    base: Url,
    token: Secret,
    http: Http,
}

impl UptimeKuma {
    /// Makes one; `base_url` is the server's address without `/api/push`.
    ///
    /// # Errors
    ///
    /// `INVALID_CONFIG` for an address that cannot be used, `INTERNAL` where the token was not
    /// resolved before.
    pub fn new(base_url: &str, push_token: &Secret) -> Result<Self, Failure> {
        push_token.expose()?;
        let base = http::address(base_url).map_err(|why| {
            Failure::new(ErrorCode::InvalidConfig, format!("`uptime_kuma_base_url` {why}"))
                .with_remedy("set `uptime_kuma_base_url` to the server's http(s) address")
        })?;
        let http = Http::new(Duration::from_secs(5));
        Ok(Self { base, token: push_token.clone(), http })
    }

    /// The same with another time limit; 5 s unless told otherwise.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.http = Http::new(timeout);
        self
    }

    async fn push(&self, status: &str, message: &str, took: Duration) -> Result<(), String> {
        let token = self.token.expose().map_err(|e| e.message)?.trim();
        let mut url = http::below(&self.base, &["api", "push", token]);
        let message: String = message.chars().take(MESSAGE_LIMIT).collect();
        url.query_pairs_mut()
            .append_pair("status", status)
            .append_pair("msg", &message)
            .append_pair("ping", &took.as_millis().to_string());
        // A plus is a space only to those who read the query as a form; this one is to all.
        let query = url.query().map(|q| q.replace('+', "%20"));
        url.set_query(query.as_deref());
        let client = self.http.client(&url)?;
        let request =
            client.get(url).build().map_err(|_| "the request cannot be made".to_owned())?;
        let answer = self.http.send(client, request).await?;
        let refusal = refusal(&answer).map(|text| text.replace(token, MASK));
        match refusal {
            Some(text) => Err(format!("answered {}: {text}", answer.status)),
            None if answer.good => Ok(()),
            None => Err(format!("answered {}", answer.status)),
        }
    }
}

/// Why the server did not take it, in its own words.
fn refusal(answer: &Answer) -> Option<String> {
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    if body.get("ok")? != &Value::Bool(false) {
        return None;
    }
    let text = body.get("msg").and_then(Value::as_str).unwrap_or("not ok");
    Some(text.chars().take(MESSAGE_LIMIT).collect())
}

#[async_trait]
impl HeartbeatMonitor for UptimeKuma {
    async fn send(&self, heartbeat: &Heartbeat) -> Result<(), Failure> {
        let done = match heartbeat {
            // It knows no "has begun", and anything sent would count as up.
            Heartbeat::Start => return Ok(()),
            Heartbeat::Up { message, took } => self.push("up", message, *took).await,
            Heartbeat::Down { message, took } => self.push("down", message, *took).await,
        };
        done.map_err(|why| {
            let message = format!("uptime kuma {}: {why}", http::host(&self.base));
            Failure::new(ErrorCode::HeartbeatFailed, message).with_remedy(
                "check `uptime_kuma_base_url`, and that `monitor.config.push_token` is the token \
                 of an active push monitor",
            )
        })
    }

    async fn check(&self) -> Result<(), Failure> {
        // The push address itself would count as a heartbeat.
        self.http.reach(&self.base).await.map_err(|why| {
            let message = format!("uptime kuma {}: {why}", http::host(&self.base));
            Failure::new(ErrorCode::HeartbeatFailed, message).with_remedy(
                "check that the server of `uptime_kuma_base_url` runs and can be reached from here",
            )
        })
    }
}
