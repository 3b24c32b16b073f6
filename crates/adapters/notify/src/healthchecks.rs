//! Ping URLs as healthchecks.io has them.

use std::time::Duration;

use async_trait::async_trait;
use backupctl_application::ports::{Heartbeat, HeartbeatMonitor};
use backupctl_domain::{ErrorCode, Failure, Secret};
use reqwest::{Method, Url};

use crate::http::{self, Http};

/// The longest message that is sent, in characters; healthchecks.io itself keeps more.
const MESSAGE_LIMIT: usize = 2000;

/// Pings a URL: `{url}/start`, `{url}`, `{url}/fail`.
pub struct Healthchecks {
    url: Url,
    http: Http,
}

impl Healthchecks {
    /// Makes one for this ping URL.
    ///
    /// # Errors
    ///
    /// `INVALID_CONFIG` for an address that cannot be used, `INTERNAL` where it was not resolved
    /// before.
    pub fn new(ping_url: &Secret) -> Result<Self, Failure> {
        let url = http::address(ping_url.expose()?).map_err(|why| {
            Failure::new(ErrorCode::InvalidConfig, format!("`monitor.config.ping_url` {why}"))
                .with_remedy("set `monitor.config.ping_url` to the http(s) URL of the check")
        })?;
        Ok(Self { url, http: Http::new(Duration::from_secs(5)) })
    }

    /// The same with another time limit; 5 s unless told otherwise.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.http = Http::new(timeout);
        self
    }

    async fn ping(&self, method: Method, url: Url, message: &str) -> Result<(), String> {
        let client = self.http.client(&url)?;
        let mut request = client.request(method.clone(), url);
        if method == Method::POST {
            request = request.body(message.chars().take(MESSAGE_LIMIT).collect::<String>());
        }
        let request = request.build().map_err(|_| "the request cannot be made".to_owned())?;
        let answer = self.http.send(client, request).await?;
        if !answer.good {
            return Err(format!("answered {}", answer.status));
        }
        // healthchecks.io says this with status 200 where nobody watches: no heartbeat was taken.
        let unknown = answer.body.windows(11).any(|w| w == b"(not found)");
        if unknown { Err("knows no such check".to_owned()) } else { Ok(()) }
    }
}

#[async_trait]
impl HeartbeatMonitor for Healthchecks {
    async fn send(&self, heartbeat: &Heartbeat) -> Result<(), Failure> {
        let done = match heartbeat {
            Heartbeat::Start => {
                self.ping(Method::GET, http::below(&self.url, &["start"]), "").await
            }
            Heartbeat::Up { .. } => self.ping(Method::GET, self.url.clone(), "").await,
            Heartbeat::Down { message, .. } => {
                self.ping(Method::POST, http::below(&self.url, &["fail"]), message).await
            }
        };
        done.map_err(|why| {
            let message = format!("ping to {}: {why}", http::host(&self.url));
            Failure::new(ErrorCode::HeartbeatFailed, message)
                .with_remedy("check `monitor.config.ping_url`")
        })
    }

    async fn check(&self) -> Result<(), Failure> {
        // Any address below the check's own would count as a ping.
        self.http.reach(&http::root(&self.url)).await.map_err(|why| {
            let message = format!("ping server {}: {why}", http::host(&self.url));
            Failure::new(ErrorCode::HeartbeatFailed, message).with_remedy(
                "check that the host of `monitor.config.ping_url` can be reached from here",
            )
        })
    }
}
