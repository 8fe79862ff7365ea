//! Code ↔ HTTP status ↔ ack: the one place where a refusal becomes what a client sees.

use std::collections::BTreeMap;

use serde::Serialize;
use syncchat_core::{Error, ErrorCode};
use utoipa::ToSchema;

/// A refusal as clients see it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody<'a> {
    /// What a program decides by.
    #[schema(value_type = Code)]
    pub code: &'static str,
    /// What a person reads.
    pub message: &'a str,
    /// When a new try may succeed, in milliseconds from now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub retry_after_ms: Option<u64>,
    /// Field name → why it was refused.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false)]
    pub fields: BTreeMap<&'a str, &'a str>,
}

/// The body of every REST answer that is an error.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ErrorAnswer<'a> {
    /// Why.
    pub error: ErrorBody<'a>,
}

/// Why a namespace was not joined: the object of CONNECT_ERROR's `data`.
#[derive(Debug, Clone, Serialize)]
pub struct ConnectErrorData {
    /// What a program decides by.
    pub code: &'static str,
}

/// The message of a CONNECT_ERROR for a bad token.
pub const AUTHENTICATION_ERROR: &str = "Authentication error";

impl<'a> From<&'a Error> for ErrorBody<'a> {
    fn from(error: &'a Error) -> ErrorBody<'a> {
        ErrorBody {
            code: error.code.as_str(),
            message: &error.message,
            retry_after_ms: error
                .retry_after
                .map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
            fields: error
                .fields
                .iter()
                .map(|(name, why)| (name.as_ref(), why.as_ref()))
                .collect(),
        }
    }
}

impl<'a> From<&'a Error> for ErrorAnswer<'a> {
    fn from(error: &'a Error) -> ErrorAnswer<'a> {
        ErrorAnswer {
            error: error.into(),
        }
    }
}

impl From<&Error> for ConnectErrorData {
    fn from(error: &Error) -> ConnectErrorData {
        ConnectErrorData {
            code: error.code.as_str(),
        }
    }
}

/// The HTTP status that says this.
pub fn http_status(code: ErrorCode) -> u16 {
    match code {
        ErrorCode::Unauthorized | ErrorCode::TokenExpired => 401,
        ErrorCode::Forbidden => 403,
        ErrorCode::NotFound => 404,
        ErrorCode::Invalid => 400,
        ErrorCode::TooLarge => 413,
        ErrorCode::RateLimited => 429,
        ErrorCode::Conflict => 409,
        ErrorCode::Unavailable => 503,
        ErrorCode::Internal => 500,
    }
}

/// Why a request is refused: a closed list.
#[derive(ToSchema)]
#[schema(as = ErrorCode, rename_all = "snake_case")]
#[allow(dead_code, reason = "a schema only")]
pub(crate) enum Code {
    Unauthorized,
    TokenExpired,
    Forbidden,
    NotFound,
    Invalid,
    TooLarge,
    RateLimited,
    Conflict,
    Unavailable,
    Internal,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use utoipa::PartialSchema;

    use super::*;

    #[test]
    fn the_document_lists_every_code() {
        let schema = serde_json::to_value(Code::schema()).unwrap();
        let codes: Vec<Value> = ErrorCode::ALL.map(|code| code.as_str().into()).into();
        assert_eq!(schema["enum"], Value::Array(codes));
    }

    #[test]
    fn an_answer_has_only_what_it_knows() {
        let error = Error::not_found("message");
        assert_eq!(
            serde_json::to_value(ErrorAnswer::from(&error)).unwrap(),
            json!({"error": {"code": "not_found", "message": "no such message"}})
        );
        let error = Error::conflict("username", "is taken");
        assert_eq!(
            serde_json::to_value(ErrorAnswer::from(&error)).unwrap(),
            json!({"error": {"code": "conflict", "message": "username: is taken",
                "fields": {"username": "is taken"}}})
        );
    }
}
