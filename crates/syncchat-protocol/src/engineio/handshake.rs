//! The first packet of a session.

use std::time::Duration;

use serde::Serialize;

/// What the open packet tells a client; see [`Frame::open`](crate::Frame::open).
#[derive(Debug, Clone, Copy)]
pub struct Open<'a> {
    /// The session's secret id.
    pub sid: &'a str,
    /// Whether the client may upgrade to WebSocket: true on polling only.
    pub upgrade: bool,
    /// From one pong to the next ping; whole milliseconds count.
    pub ping_interval: Duration,
    /// From a ping to the end of a session without pong; whole milliseconds count.
    pub ping_timeout: Duration,
    /// Bytes that the client may send in one message.
    pub max_payload: usize,
}

/// Exactly these five keys: official clients and suites compare the set.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OpenJson<'a> {
    sid: &'a str,
    upgrades: &'a [&'a str],
    ping_interval: u64,
    ping_timeout: u64,
    max_payload: usize,
}

impl<'a> Open<'a> {
    pub(crate) fn json(&self) -> OpenJson<'a> {
        OpenJson {
            sid: self.sid,
            upgrades: if self.upgrade { &["websocket"] } else { &[] },
            ping_interval: millis(self.ping_interval),
            ping_timeout: millis(self.ping_timeout),
            max_payload: self.max_payload,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
