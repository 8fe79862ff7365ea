//! The closed list of reasons why a request is refused. A caller decides by [`ErrorCode`];
//! the message and the fields are for people.

use std::borrow::Cow;
use std::time::Duration;

use thiserror::Error as ThisError;

/// The result of everything the core does for a caller.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request was refused. The names on the wire are those of the outside contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// Nobody, or somebody unknown, is asking.
    Unauthorized,
    /// The access token was good once.
    TokenExpired,
    /// The caller is known and may not do this.
    Forbidden,
    /// There is no such thing, or the caller may not know of it.
    NotFound,
    /// The request breaks a rule; `fields` names where.
    Invalid,
    /// The request is bigger than the limit.
    TooLarge,
    /// The caller asks too often; `retry_after` says when to come back.
    RateLimited,
    /// The request contradicts what is stored.
    Conflict,
    /// A dependency did not answer in time. Safe to try again with the same `clientMsgId`.
    Unavailable,
    /// A defect of ours.
    Internal,
}

impl ErrorCode {
    /// Every code, for metrics and documents.
    pub const ALL: [ErrorCode; 10] = [
        ErrorCode::Unauthorized,
        ErrorCode::TokenExpired,
        ErrorCode::Forbidden,
        ErrorCode::NotFound,
        ErrorCode::Invalid,
        ErrorCode::TooLarge,
        ErrorCode::RateLimited,
        ErrorCode::Conflict,
        ErrorCode::Unavailable,
        ErrorCode::Internal,
    ];

    /// The code as clients see it.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorCode::Unauthorized => "unauthorized",
            ErrorCode::TokenExpired => "token_expired",
            ErrorCode::Forbidden => "forbidden",
            ErrorCode::NotFound => "not_found",
            ErrorCode::Invalid => "invalid",
            ErrorCode::TooLarge => "too_large",
            ErrorCode::RateLimited => "rate_limited",
            ErrorCode::Conflict => "conflict",
            ErrorCode::Unavailable => "unavailable",
            ErrorCode::Internal => "internal",
        }
    }
}

/// A refusal: a code for programs, words for people.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
#[error("{}: {message}", code.as_str())]
pub struct Error {
    /// What the caller can decide by.
    pub code: ErrorCode,
    /// What was wrong: lower case, no final dot, never a secret.
    pub message: Cow<'static, str>,
    /// Field name → why it was refused. Only with [`ErrorCode::Invalid`] and [`ErrorCode::Conflict`].
    pub fields: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    /// When a new try may succeed.
    pub retry_after: Option<Duration>,
}

impl Error {
    /// A refusal without fields.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Error {
        Error {
            code,
            message: message.into(),
            fields: Vec::new(),
            retry_after: None,
        }
    }

    /// One field breaks a rule. The message names it too.
    pub fn invalid(
        field: impl Into<Cow<'static, str>>,
        why: impl Into<Cow<'static, str>>,
    ) -> Error {
        let (field, why) = (field.into(), why.into());
        Error {
            code: ErrorCode::Invalid,
            message: Cow::Owned(format!("{field}: {why}")),
            fields: vec![(field, why)],
            retry_after: None,
        }
    }

    /// One field contradicts what is stored, e.g. a taken username.
    pub fn conflict(
        field: impl Into<Cow<'static, str>>,
        why: impl Into<Cow<'static, str>>,
    ) -> Error {
        Error {
            code: ErrorCode::Conflict,
            ..Error::invalid(field, why)
        }
    }

    /// There is no such thing, or the caller may not know of it.
    pub fn not_found(what: &'static str) -> Error {
        Error::new(ErrorCode::NotFound, format!("no such {what}"))
    }

    /// A dependency did not answer in time.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(ErrorCode::Unavailable, message)
    }

    /// The caller asks too often.
    pub fn rate_limited(retry_after: Duration) -> Error {
        Error {
            retry_after: Some(retry_after),
            ..Error::new(ErrorCode::RateLimited, "too many requests")
        }
    }
}
