//! The generic webhook: a POST with a JSON body.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backupctl_application::ports::{Clock, Notifier};
use backupctl_domain::{ErrorCode, Failure, Notice, Secret};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Url;
use reqwest::header::CONTENT_TYPE;
use sha2::Sha256;

use crate::http::{self, Http};
use crate::tries::{TIMEOUT, twice};

/// The header that proves who sent the body: `sha256=` and the HMAC-SHA256 in hexadecimal.
const SIGNATURE: &str = "X-Backupctl-Signature";

/// Posts notices to an HTTP endpoint.
pub struct Webhook {
    url: Result<Url, &'static str>,
    secret: Option<Secret>,
    clock: Arc<dyn Clock>,
    http: Http,
}

impl Webhook {
    /// Makes one. An address that cannot be used is told by `check` and by each delivery.
    ///
    /// # Errors
    ///
    /// `INTERNAL` where a secret was not resolved before.
    pub fn new(
        url: &Secret,
        secret: Option<&Secret>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Failure> {
        if let Some(secret) = secret {
            secret.expose()?;
        }
        let url = http::address(url.expose()?);
        let http = Http::new(TIMEOUT);
        Ok(Self { url, secret: secret.cloned(), clock, http })
    }

    /// The same with another time limit for each try; 10 s unless told otherwise.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.http = Http::new(timeout);
        self
    }

    fn url(&self) -> Result<&Url, Failure> {
        self.url.as_ref().map_err(|why| {
            Failure::new(ErrorCode::NotifyFailed, format!("the webhook's address {why}"))
                .with_remedy("set `notification.config.url` to an http(s) URL")
                .permanent()
        })
    }

    async fn post(&self, url: &Url, body: &[u8]) -> Result<(), String> {
        let client = self.http.client(url)?;
        let mut request =
            client.post(url.clone()).header(CONTENT_TYPE, "application/json").body(body.to_owned());
        if let Some(secret) = &self.secret {
            let secret = secret.expose().map_err(|e| e.message)?;
            request = request.header(SIGNATURE, signature(secret.as_bytes(), body));
        }
        let request = request.build().map_err(|_| "the request cannot be made".to_owned())?;
        let answer = self.http.send(client, request).await?;
        if answer.good { Ok(()) } else { Err(format!("answered {}", answer.status)) }
    }
}

#[async_trait]
impl Notifier for Webhook {
    async fn notify(&self, notice: &Notice) -> Result<(), Failure> {
        let url = self.url()?;
        let body = serde_json::to_vec(&notice.webhook_body())
            .map_err(|e| Failure::internal(format!("a notice cannot be written: {e}")))?;
        twice(self.clock.as_ref(), || self.post(url, &body)).await.map_err(|why| {
            let host = http::host(url);
            Failure::new(ErrorCode::NotifyFailed, format!("webhook {host}: {why} (2 tries)"))
                .with_remedy(format!(
                    "check that {host} takes the webhook, or correct `notification.config.url`"
                ))
        })
    }

    async fn check(&self) -> Result<(), Failure> {
        self.url().map(drop)
    }

    async fn reach(&self) -> Result<(), Failure> {
        let url = self.url()?;
        // What the webhook's own address is asked counts as a notice.
        self.http.reach(&http::root(url)).await.map_err(|why| {
            let host = http::host(url);
            Failure::new(ErrorCode::NotifyFailed, format!("webhook {host}: {why}")).with_remedy(
                format!(
                    "check that {host} can be reached from here, or correct \
                     `notification.config.url`"
                ),
            )
        })
    }
}

fn signature(secret: &[u8], body: &[u8]) -> String {
    let mut text = "sha256=".to_owned();
    // HMAC takes a key of any length.
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) {
        mac.update(body);
        for byte in mac.finalize().into_bytes() {
            let _ = write!(text, "{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_hmac_sha256() {
        // RFC 4231, test case 2.
        assert_eq!(
            signature(b"Jefe", b"what do ya want for nothing?"),
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
