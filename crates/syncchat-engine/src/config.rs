//! What an operator may set, with the bounds that follow from it.

use std::time::Duration;

use http::HeaderName;
use syncchat_protocol::Limits;

/// Settings of one engine. [`Config::default`] is what a product starts from.
#[derive(Debug, Clone)]
pub struct Config {
    /// From a pong to the next ping.
    pub ping_interval: Duration,
    /// From a ping to the end of a session that sent no pong.
    pub ping_timeout: Duration,
    /// Bytes of one message from a client, and of one POST body. More: 1009 or 413.
    pub max_payload: usize,
    /// Who may call from a browser.
    pub origins: Origins,
    /// Sessions at once; one more is answered 503 with `Retry-After`.
    pub max_sessions: usize,
    /// Bytes that may wait for one client, see [`Class`](crate::socket::Class).
    pub outbound_limit: usize,
    /// How long a client with waiting bytes may take none of them before it is closed.
    pub slow_timeout: Duration,
    /// From the handshake to the first joined namespace.
    pub connect_timeout: Duration,
    /// From the opening of an upgrading WebSocket to its upgrade packet.
    pub upgrade_timeout: Duration,
    /// For the whole body of one POST.
    pub body_timeout: Duration,
    /// Event futures of one session that may be under way; beyond, it is not read.
    pub events_at_once: usize,
    /// Events of one socket whose ack the server waits for.
    pub pending_acks: usize,
    /// Request headers that stay in [`crate::Handshake::headers`] after the first namespace was
    /// joined. All the others are forgotten then: an idle socket shall not pay for them.
    pub kept_headers: Vec<HeaderName>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            max_payload: 100_000,
            origins: Origins::Same,
            max_sessions: 10_000,
            outbound_limit: 1024 * 1024,
            slow_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(45),
            upgrade_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(20),
            events_at_once: 32,
            pending_acks: 64,
            kept_headers: Vec::new(),
        }
    }
}

impl Config {
    /// The codec's limits under these settings.
    pub fn limits(&self) -> Limits {
        Limits::for_messages_of(self.max_payload)
    }
}

/// From which pages of the web a browser may open sessions. What is no browser sends no `Origin`
/// and is not asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Pages of the host that was called. No CORS headers are sent.
    Same,
    /// Any page, without credentials.
    Any,
    /// These (`https://chat.example.org`), besides the host's own, with credentials.
    List(Vec<String>),
}
