//! Rate limits, shared by the fleet.

use std::time::Duration;

use async_trait::async_trait;

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LimitKind {
    /// Messages sent by a user.
    Messages,
    /// REST calls of a user.
    Requests,
    /// Handshakes from an address.
    Handshakes,
    /// Registrations from an address.
    Registrations,
    /// Failed log-ins from an address and to an account.
    Logins,
}

impl LimitKind {
    /// The `kind` label of the metric.
    pub fn as_str(self) -> &'static str {
        match self {
            LimitKind::Messages => "messages",
            LimitKind::Requests => "requests",
            LimitKind::Handshakes => "handshakes",
            LimitKind::Registrations => "registrations",
            LimitKind::Logins => "logins",
        }
    }
}

/// A token bucket: `burst` tokens at most, refilled evenly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Tokens a second.
    pub per_second: f64,
    /// Tokens in a full bucket.
    pub burst: u32,
}

/// Token buckets by kind and key.
#[async_trait]
pub trait Limiter: Send + Sync + 'static {
    /// Takes a token from the bucket of `key`.
    ///
    /// # Errors
    /// How long until one is there, if none is.
    async fn take(&self, kind: LimitKind, key: &str) -> Result<(), Duration>;

    /// Whether [`Self::take`] would succeed, without taking.
    ///
    /// # Errors
    /// As [`Self::take`].
    async fn peek(&self, kind: LimitKind, key: &str) -> Result<(), Duration>;
}
