//! What a server answers to a request that is not Engine.IO's, or not now.

/// Why a request is refused, as official clients know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// `transport` is missing, unknown or disabled.
    UnknownTransport,
    /// There is no session with this `sid`.
    UnknownSid,
    /// A handshake by another method than GET.
    BadHandshakeMethod,
    /// Anything else that does not fit the session or the protocol.
    BadRequest,
    /// The application says no.
    Forbidden,
    /// `EIO` is missing or not 4.
    UnsupportedProtocolVersion,
}

impl ErrorCode {
    /// The number in the JSON body.
    pub const fn code(self) -> u8 {
        match self {
            ErrorCode::UnknownTransport => 0,
            ErrorCode::UnknownSid => 1,
            ErrorCode::BadHandshakeMethod => 2,
            ErrorCode::BadRequest => 3,
            ErrorCode::Forbidden => 4,
            ErrorCode::UnsupportedProtocolVersion => 5,
        }
    }

    /// The words in the JSON body, and the whole body of a refused upgrade.
    pub const fn message(self) -> &'static str {
        match self {
            ErrorCode::UnknownTransport => "Transport unknown",
            ErrorCode::UnknownSid => "Session ID unknown",
            ErrorCode::BadHandshakeMethod => "Bad handshake method",
            ErrorCode::BadRequest => "Bad request",
            ErrorCode::Forbidden => "Forbidden",
            ErrorCode::UnsupportedProtocolVersion => "Unsupported protocol version",
        }
    }

    /// The HTTP status on polling. A refused upgrade is always a 400.
    pub const fn polling_status(self) -> u16 {
        match self {
            ErrorCode::Forbidden => 403,
            _ => 400,
        }
    }

    /// The body on polling, `application/json`.
    pub fn json(self) -> String {
        self.json_with(self.message())
    }

    /// The same with the application's own words.
    pub fn json_with(self, message: &str) -> String {
        let message = serde_json::Value::from(message);
        format!(r#"{{"code":{},"message":{message}}}"#, self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_what_clients_expect() {
        assert_eq!(
            ErrorCode::UnknownTransport.json(),
            r#"{"code":0,"message":"Transport unknown"}"#
        );
        assert_eq!(
            ErrorCode::Forbidden.json_with("no \"you\""),
            r#"{"code":4,"message":"no \"you\""}"#
        );
        assert_eq!(ErrorCode::Forbidden.polling_status(), 403);
        assert_eq!(ErrorCode::UnsupportedProtocolVersion.polling_status(), 400);
    }
}
