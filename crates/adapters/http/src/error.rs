//! What a request that cannot be answered gets: the error document of the command line, and a status.

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use backupctl_domain::{ErrorCode, Failure};
use serde_json::json;

/// What every handler returns.
pub(crate) type Answer<T> = Result<T, ApiError>;

/// Why a request is not answered.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    failure: Failure,
}

impl ApiError {
    /// A failure with this status, whatever its code usually means.
    pub(crate) fn new(status: StatusCode, failure: Failure) -> Self {
        Self { status, failure }
    }

    /// A request that is wrong in itself. As on the command line its code is `INVALID_CONFIG`.
    pub(crate) fn usage(status: StatusCode, message: impl Into<String>, remedy: &str) -> Self {
        let failure = Failure::new(ErrorCode::InvalidConfig, message).with_remedy(remedy);
        Self { status, failure }
    }

    /// Something in the request that cannot be understood.
    pub(crate) fn bad_request(message: impl Into<String>, remedy: &str) -> Self {
        Self::usage(StatusCode::BAD_REQUEST, message, remedy)
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        let status = match failure.code {
            ErrorCode::UnknownProject => StatusCode::NOT_FOUND,
            ErrorCode::BackupInProgress => StatusCode::CONFLICT,
            ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            // The audit, the configuration or the disk is out of order, or the daemon is ending: the
            // same request is good once that is put right.
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self { status, failure }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Self { status, failure } = self;
        if status.is_server_error() {
            tracing::warn!(code = %failure.code, status = status.as_u16(), "{failure}");
        }
        let body = json!({"error": {
            "code": failure.code,
            "message": failure.full_message(),
            "stage": null,
            "remedy": failure.remedy,
        }});
        let mut response = (status, Json(body)).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
