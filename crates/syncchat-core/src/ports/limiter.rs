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

/// The rate of each kind; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LimiterRates {
    /// Messages sent by a user.
    pub messages: Option<Rate>,
    /// REST calls of a user.
    pub requests: Option<Rate>,
    /// Handshakes from an address.
    pub handshakes: Option<Rate>,
    /// Registrations from an address.
    pub registrations: Option<Rate>,
    /// Failed log-ins from an address and to an account.
    pub logins: Option<Rate>,
}

impl LimiterRates {
    /// No limit on anything.
    pub const OFF: LimiterRates = LimiterRates {
        messages: None,
        requests: None,
        handshakes: None,
        registrations: None,
        logins: None,
    };

    /// The rate of one kind.
    pub fn of(&self, kind: LimitKind) -> Option<Rate> {
        match kind {
            LimitKind::Messages => self.messages,
            LimitKind::Requests => self.requests,
            LimitKind::Handshakes => self.handshakes,
            LimitKind::Registrations => self.registrations,
            LimitKind::Logins => self.logins,
        }
    }
}

/// The contract's defaults: `20/s:100`, `50/s:200`, `50/s:500`, `1/s:50`, `10/m:10`.
impl Default for LimiterRates {
    fn default() -> LimiterRates {
        let rate = |per_second, burst| Some(Rate { per_second, burst });
        LimiterRates {
            messages: rate(20.0, 100),
            requests: rate(50.0, 200),
            handshakes: rate(50.0, 500),
            registrations: rate(1.0, 50),
            logins: rate(10.0 / 60.0, 10),
        }
    }
}

/// Token buckets by kind and key. A refusal is counted by the driver, as
/// `syncchat_rate_limited_total{kind}`.
#[async_trait]
pub trait Limiter: Send + Sync + 'static {
    /// Takes a token from the bucket of `key`. A kind without a rate always succeeds.
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
