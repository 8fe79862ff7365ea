//! What the engine counts. Names are part of the outside contract.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

use crate::handler::DisconnectReason;
use crate::socket::Class;

/// Tells the recorder help and units of what only the engine knows; the program describes the rest.
pub fn describe() {
    for (name, help) in [
        (
            "syncchat_outbound_dropped_total",
            "frames that no client will get, by class",
        ),
        (
            "syncchat_outbound_behind_total",
            "queues that went over their limit",
        ),
        (
            "syncchat_sessions_closed_total",
            "sessions ended, by reason",
        ),
        (
            "syncchat_upgrades_total",
            "attempts to move a session from polling to WebSocket, by result",
        ),
        (
            "syncchat_invalid_packets_total",
            "messages that closed their session, by what was wrong",
        ),
        (
            "syncchat_forwarded_received_total",
            "requests that other nodes passed on to this one, by result",
        ),
        (
            "syncchat_forwarded_requests_total",
            "requests passed on to other nodes, by kind and result",
        ),
    ] {
        describe_counter!(name, Unit::Count, help);
    }
    describe_gauge!(
        "syncchat_forwards",
        Unit::Count,
        "requests that are being passed on, by kind"
    );
}

/// The outcome of one handshake.
pub(crate) fn handshake(transport: &'static str, result: &'static str) {
    counter!("syncchat_handshakes_total", "transport" => transport, "result" => result)
        .increment(1);
}

/// A session began (+1) or ended (-1).
pub(crate) fn connections(change: f64) {
    gauge!("syncchat_connections").increment(change);
}

/// Bytes that waited after a turn's writing; what is written within its turn is never counted.
pub(crate) fn outbound_queue_bytes(change: f64) {
    gauge!("syncchat_outbound_queue_bytes").increment(change);
}

/// Frames that no client will get.
pub(crate) fn dropped(class: Class, frames: usize) {
    if frames > 0 {
        let class = match class {
            Class::Droppable => "droppable",
            Class::Reliable => "reliable",
            Class::Essential => "essential",
        };
        counter!("syncchat_outbound_dropped_total", "class" => class).increment(frames as u64);
    }
}

/// A queue went over its limit.
pub(crate) fn behind() {
    counter!("syncchat_outbound_behind_total").increment(1);
}

/// The end of a session.
pub(crate) fn closed(reason: DisconnectReason) {
    counter!("syncchat_sessions_closed_total", "reason" => reason.as_str()).increment(1);
    if reason == DisconnectReason::SlowConsumer {
        counter!("syncchat_slow_consumers_closed_total").increment(1);
    }
}

/// The outcome of one attempt to move a session from polling to WebSocket.
pub(crate) fn upgrade(result: &'static str) {
    counter!("syncchat_upgrades_total", "result" => result).increment(1);
}

/// A message that closed its session; `kind` says what was wrong with it.
pub(crate) fn invalid_packet(kind: &'static str) {
    counter!("syncchat_invalid_packets_total", "kind" => kind).increment(1);
}

/// A ticket was accepted, or was not one.
pub(crate) fn forward_received(is_good: bool) {
    let result = if is_good { "ok" } else { "refused" };
    counter!("syncchat_forwarded_received_total", "result" => result).increment(1);
}

/// What is passed on at the moment: one more or less.
pub(crate) fn forwards(kind: &'static str, change: f64) {
    gauge!("syncchat_forwards", "kind" => kind).increment(change);
}

/// One request that is passed on; if its client goes before an answer came, it is `aborted`.
pub(crate) struct Forward {
    kind: &'static str,
    result: &'static str,
}

impl Forward {
    /// It begins.
    pub(crate) fn begin(is_upgrade: bool) -> Forward {
        Forward {
            kind: if is_upgrade { "websocket" } else { "request" },
            result: "aborted",
        }
    }

    /// This came of it.
    pub(crate) fn end(&mut self, result: &'static str) {
        self.result = result;
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        counter!(
            "syncchat_forwarded_requests_total",
            "kind" => self.kind, "result" => self.result
        )
        .increment(1);
    }
}
