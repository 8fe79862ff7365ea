//! What a refused call answers: the contract's status and body, and the headers that go with them.

use std::any::Any;
use std::borrow::Cow;

use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use syncchat_contract::error::{ErrorAnswer, http_status};
use syncchat_core::{Error, ErrorCode};

use crate::extract::json_response;
use crate::limits::{BODY_TIMEOUT, RETRY_AFTER_DEFAULT};

/// A call that is refused.
#[derive(Debug)]
pub struct Refusal {
    error: Error,
    /// Where HTTP says it more closely than the code does.
    status: Option<StatusCode>,
}

/// What a handler gives.
pub type Answer = Result<Response, Refusal>;

impl Refusal {
    /// With a status of its own.
    fn with_status(
        status: StatusCode,
        code: ErrorCode,
        message: impl Into<Cow<'static, str>>,
    ) -> Refusal {
        Refusal {
            error: Error::new(code, message),
            status: Some(status),
        }
    }

    /// What the caller can decide by.
    pub fn code(&self) -> ErrorCode {
        self.error.code
    }

    /// 415.
    pub fn not_json() -> Refusal {
        Refusal::with_status(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ErrorCode::Invalid,
            "content-type must be application/json",
        )
    }

    /// 408.
    pub fn slow_body() -> Refusal {
        Refusal::with_status(
            StatusCode::REQUEST_TIMEOUT,
            ErrorCode::Invalid,
            format!(
                "the body did not arrive whole within {} s",
                BODY_TIMEOUT.as_secs()
            ),
        )
    }

    /// 405; the router adds `Allow`.
    pub fn wrong_method() -> Refusal {
        Refusal::with_status(
            StatusCode::METHOD_NOT_ALLOWED,
            ErrorCode::Invalid,
            "this method is not allowed here",
        )
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal {
            error,
            status: None,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Refusal { error, status } = self;
        if error.code == ErrorCode::Internal {
            tracing::error!(%error, "call failed");
        }
        let status = status
            .or_else(|| StatusCode::from_u16(http_status(error.code)).ok())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = json_response(status, &ErrorAnswer::from(&error))
            .unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response());
        match error.code {
            ErrorCode::Unauthorized => {
                let challenge = HeaderValue::from_static("Bearer");
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            }
            ErrorCode::TokenExpired => {
                let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            }
            ErrorCode::RateLimited | ErrorCode::Unavailable => {
                let after = error.retry_after.unwrap_or(RETRY_AFTER_DEFAULT);
                // Whole seconds, rounded up: a client that obeys is not refused again.
                let seconds = after.as_millis().div_ceil(1_000).max(1) as u64;
                response.headers_mut().insert(RETRY_AFTER, seconds.into());
            }
            _ => {}
        }
        response
    }
}

/// A handler has panicked: a defect of ours, of which the caller learns no more than that.
pub(crate) fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let cause = cause
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| cause.downcast_ref::<&str>().copied())
        .unwrap_or("unknown");
    tracing::error!(cause, "handler panicked");
    Refusal::from(Error::new(ErrorCode::Internal, "internal error")).into_response()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_code_has_its_status_and_headers() {
        let statuses = ErrorCode::ALL.map(|code| {
            let response = Refusal::from(Error::new(code, "why")).into_response();
            let status = response.status().as_u16();
            let headers = response.headers();
            assert_eq!(
                headers.contains_key(WWW_AUTHENTICATE),
                status == 401,
                "{code:?}"
            );
            let again = matches!(status, 429 | 503);
            assert_eq!(headers.contains_key(RETRY_AFTER), again, "{code:?}");
            status
        });
        assert_eq!(statuses, [401, 401, 403, 404, 400, 413, 429, 409, 503, 500]);
    }

    #[test]
    fn retry_after_is_rounded_up() {
        for (millis, seconds) in [
            (0, "1"),
            (1, "1"),
            (1_000, "1"),
            (1_001, "2"),
            (59_500, "60"),
        ] {
            let error = Error::rate_limited(Duration::from_millis(millis));
            let response = Refusal::from(error).into_response();
            assert_eq!(response.headers()[RETRY_AFTER], seconds, "{millis}");
        }
    }
}
