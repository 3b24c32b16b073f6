//! The one HTTP client, made when it is first used.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Request, Url};
use rustls::{ClientConfig, RootCertStore};

use crate::tries::innermost;

/// The longest part of an answer that is looked at.
const ANSWER_LIMIT: usize = 16 * 1024;

/// Sends requests to one address.
#[derive(Debug)]
pub(crate) struct Http {
    timeout: Duration,
    client: OnceLock<Client>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Whether its status is 2xx.
    pub(crate) good: bool,
    /// Its status, e.g. `404 Not Found`.
    pub(crate) status: String,
    /// The beginning of its body.
    pub(crate) body: Vec<u8>,
}

impl Http {
    /// One whose requests may take so long, answer included.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { timeout, client: OnceLock::new() }
    }

    /// The client for this URL's requests.
    pub(crate) fn client(&self, url: &Url) -> Result<&Client, String> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = build(url.scheme() == "https", self.timeout)
            .map_err(|e| format!("no HTTP client can be made: {}", innermost(&e.without_url())))?;
        Ok(self.client.get_or_init(|| client))
    }

    /// Sends one request. The error says why there is no answer, without the address.
    pub(crate) async fn send(&self, client: &Client, request: Request) -> Result<Answer, String> {
        let told = |e: reqwest::Error| {
            if e.is_timeout() {
                format!("no answer within {} s", self.timeout.as_secs_f32())
            } else {
                innermost(&e.without_url())
            }
        };
        let mut response = client.execute(request).await.map_err(told)?;
        let status = response.status();
        let mut body = Vec::new();
        // The status decides; a body that breaks off takes nothing from it.
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() >= ANSWER_LIMIT {
                body.truncate(ANSWER_LIMIT);
                break;
            }
        }
        Ok(Answer { good: status.is_success(), status: status.to_string(), body })
    }

    /// That the server at this address answers, whatever it answers.
    pub(crate) async fn reach(&self, url: &Url) -> Result<(), String> {
        let client = self.client(url)?;
        let request =
            client.get(url.clone()).build().map_err(|_| "the request cannot be made".to_owned())?;
        self.send(client, request).await.map(drop)
    }
}

fn build(tls: bool, timeout: Duration) -> Result<Client, reqwest::Error> {
    let builder = Client::builder()
        .user_agent(concat!("backupctl/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .timeout(timeout);
    // Reading the system's certificates costs more than the whole delivery: plain HTTP goes without.
    let builder = if tls {
        // An error means that somebody was earlier, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        builder
    } else {
        match without_roots() {
            Some(config) => builder.tls_backend_preconfigured(config),
            None => builder,
        }
    };
    builder.build()
}

/// A TLS configuration that trusts nobody.
fn without_roots() -> Option<ClientConfig> {
    let provider = rustls::crypto::ring::default_provider();
    let config = ClientConfig::builder_with_provider(provider.into());
    let config = config.with_safe_default_protocol_versions().ok()?;
    Some(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// The address of the server alone: no path, query or user.
pub(crate) fn root(url: &Url) -> Url {
    let mut root = url.clone();
    root.set_path("/");
    root.set_query(None);
    root.set_fragment(None);
    // Both fail only for addresses that can have neither.
    let _ = root.set_username("");
    let _ = root.set_password(None);
    root
}

/// Reads an address; the error says what is wrong with it, without it.
pub(crate) fn address(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text.trim()).map_err(|_| "is not a valid URL")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("is neither an http nor an https URL");
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("names no host");
    }
    Ok(url)
}

/// The part of an address that may be shown: host, and port where it is given.
pub(crate) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The address with further path segments, its query kept.
pub(crate) fn below(url: &Url, segments: &[&str]) -> Url {
    let mut url = url.clone();
    // Every http address has a path.
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}
