//! Who may ask: whoever knows the token.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use backupctl_domain::{Failure, Secret};

use crate::error::{Answer, ApiError};

/// The one address that answers everybody: it says nothing but that the process lives.
pub(crate) const LIVE: &str = "/health/live";

/// The token that requests must carry. Only its hash is kept.
pub(crate) struct Token(Option<blake3::Hash>);

impl Token {
    /// The token of the configuration, resolved. An empty one counts as none: it would let everybody
    /// in.
    pub(crate) fn new(secret: Option<&Secret>) -> Result<Self, Failure> {
        let text = secret.map(Secret::expose).transpose()?;
        let text = text.map(str::trim).filter(|text| !text.is_empty());
        Ok(Self(text.map(|text| blake3::hash(text.as_bytes()))))
    }

    /// Whether the value of an `Authorization` header carries the token. Hashes are compared, in
    /// constant time: how long it takes says nothing of the token, nor of its length.
    fn admits(&self, authorization: Option<&[u8]>) -> Answer<()> {
        let refused =
            |message: &str, remedy| Err(ApiError::usage(StatusCode::UNAUTHORIZED, message, remedy));
        let Some(token) = &self.0 else {
            return refused(
                "no token is configured, so only /health/live answers",
                "set `http.token` (or `http.token_file`) in the configuration, then restart the daemon",
            );
        };
        let remedy = "send the header `Authorization: Bearer TOKEN` with the token of `http.token`";
        match authorization.map(bearer) {
            None => refused("no token was sent", remedy),
            Some(Some(given)) if blake3::hash(given) == *token => Ok(()),
            Some(_) => refused("the token that was sent is not the configured one", remedy),
        }
    }
}

/// The credentials of the scheme `Bearer`, whose name is read in any case.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(b"bearer".len())?;
    let token = rest.trim_ascii();
    let separated = rest.first().is_some_and(u8::is_ascii_whitespace);
    (scheme.eq_ignore_ascii_case(b"bearer") && separated && !token.is_empty()).then_some(token)
}

/// Lets a request pass, or answers it.
pub(crate) async fn check(
    State(token): State<Arc<Token>>,
    request: Request,
    next: Next,
) -> Answer<Response> {
    if request.uri().path() != LIVE {
        token.admits(request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes))?;
    }
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(token: &str, header: Option<&str>) -> bool {
        let token = Token::new(Some(&Secret::value(token))).unwrap();
        token.admits(header.map(str::as_bytes)).is_ok()
    }

    #[test]
    fn only_the_token_itself_is_admitted() {
        for header in ["Bearer s3cret", "bearer s3cret", "BEARER  s3cret "] {
            assert!(admits("s3cret", Some(header)), "{header:?}");
        }
        for header in [
            "",
            "Bearer",
            "Bearer ",
            "Bearers3cret",
            "s3cret",
            "Basic s3cret",
            "Bearer s3cre",
            "Bearer s3crett",
            "Bearer S3CRET",
            "Bearer s3cret s3cret",
        ] {
            assert!(!admits("s3cret", Some(header)), "{header:?}");
        }
        assert!(!admits("s3cret", None));
    }

    #[test]
    fn an_empty_token_admits_nobody() {
        for token in ["", " ", "\n"] {
            assert!(!admits(token, Some("Bearer ")));
            assert!(!admits(token, Some("Bearer")));
            assert!(!admits(token, None));
        }
        assert!(Token::new(None).unwrap().admits(Some(b"Bearer x")).is_err());
    }
}
