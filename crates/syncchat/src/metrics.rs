//! The recorder behind `/metrics`, and what the program itself counts. Every crate describes its
//! own names.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use syncchat_core::ErrorCode;
use syncchat_core::ports::limiter::LimitKind;

use crate::limits::METRICS_UPKEEP_INTERVAL;

/// Upper bounds of the buckets of every histogram of seconds: from what memory costs to what a
/// store that fails over costs.
const SECONDS_BUCKETS: [f64; 16] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

/// The same for every other histogram, all of which count things: powers of two.
const COUNT_BUCKETS: [f64; 12] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 2_048.0,
];

// The engine's, which counts without describing.
const CONNECTIONS: &str = "syncchat_connections";
const HANDSHAKES: &str = "syncchat_handshakes_total";
const OUTBOUND_QUEUE: &str = "syncchat_outbound_queue_bytes";
const SLOW_CONSUMERS: &str = "syncchat_slow_consumers_closed_total";

const BUILD_INFO: &str = "syncchat_build_info";
const STORE_UP: &str = "syncchat_store_up";
const PANICS: &str = "syncchat_panics_total";
const LOG_LINES_DROPPED: &str = "syncchat_log_lines_dropped_total";
const HTTP_CONNECTIONS: &str = "syncchat_http_connections";
const CONNECTIONS_REFUSED: &str = "syncchat_http_connections_refused_total";

/// Installs the recorder and tells it what this node's names mean. Once for each process, before
/// anything is counted.
///
/// # Errors
/// There is a recorder already.
pub fn start(node: &str) -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets(&COUNT_BUCKETS)?
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)?
        .install_recorder()?;
    describe();
    begin_at_zero();
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION"), "node" => node.to_owned()).set(1.0);
    Ok(handle)
}

/// Clears the recorder's short-term memory again and again. Runs until it is dropped.
pub async fn keep_up(handle: PrometheusHandle) {
    let mut ticks = tokio::time::interval(METRICS_UPKEEP_INTERVAL);
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}

fn describe() {
    describe_gauge!(CONNECTIONS, Unit::Count, "sessions that are open");
    describe_counter!(
        HANDSHAKES,
        Unit::Count,
        "handshakes, by transport and result"
    );
    describe_gauge!(
        OUTBOUND_QUEUE,
        Unit::Bytes,
        "bytes that wait for clients to take them"
    );
    describe_counter!(
        SLOW_CONSUMERS,
        Unit::Count,
        "sockets closed because they took nothing"
    );
    describe_gauge!(
        BUILD_INFO,
        Unit::Count,
        "1, with the version and the node's name"
    );
    describe_gauge!(STORE_UP, Unit::Count, "1 while the store answers, else 0");
    describe_counter!(
        PANICS,
        Unit::Count,
        "defects met: a task of one connection or request ended by it, or the node"
    );
    describe_counter!(
        LOG_LINES_DROPPED,
        Unit::Count,
        "log lines dropped because standard error is read too slowly"
    );
    describe_gauge!(
        HTTP_CONNECTIONS,
        Unit::Count,
        "connections that are no WebSocket, by listener"
    );
    describe_counter!(
        CONNECTIONS_REFUSED,
        Unit::Count,
        "connections closed at once because there was no room"
    );
    syncchat_core::metrics::describe();
    syncchat_identity::metrics::describe();
    syncchat_backplane::metrics::describe();
    syncchat_engine::metrics::describe();
    syncchat_gateway::metrics::describe();
    syncchat_api::metrics::describe();
}

/// Makes what the contract names, and alerts watch, exist before it first happens: the growth from
/// nothing to one is not seen by those who ask for growth.
fn begin_at_zero() {
    for kind in [
        LimitKind::Messages,
        LimitKind::Requests,
        LimitKind::Handshakes,
        LimitKind::Registrations,
        LimitKind::Logins,
    ] {
        counter!(syncchat_backplane::metrics::RATE_LIMITED, "kind" => kind.as_str()).increment(0);
    }
    for code in ErrorCode::ALL {
        counter!(syncchat_core::metrics::MESSAGES_REJECTED, "code" => code.as_str()).increment(0);
    }
    for direction in ["in", "out"] {
        counter!(syncchat_backplane::metrics::MESSAGES, "direction" => direction).increment(0);
    }
    for result in ["recovered", "sync"] {
        counter!(syncchat_gateway::metrics::RECOVERIES, "result" => result).increment(0);
    }
    // Routes are known once they are asked for; until then there is this one.
    let route = "unmatched";
    counter!(syncchat_api::metrics::HTTP_REQUESTS_TOTAL, "route" => route, "status" => "404")
        .increment(0);
    drop(histogram!(syncchat_api::metrics::HTTP_REQUEST_SECONDS, "route" => route));
    for name in [
        syncchat_core::metrics::PERSIST_SECONDS,
        syncchat_core::metrics::PUBLISH_SECONDS,
    ] {
        drop(histogram!(name));
    }
    for transport in ["polling", "websocket"] {
        counter!(HANDSHAKES, "transport" => transport, "result" => "ok").increment(0);
    }
    for name in [
        PANICS,
        LOG_LINES_DROPPED,
        SLOW_CONSUMERS,
        syncchat_core::metrics::MESSAGES_ACCEPTED,
        syncchat_gateway::metrics::GAPS,
        syncchat_gateway::metrics::BACKFILLED,
        syncchat_identity::metrics::PASSWORDS_REFUSED,
    ] {
        counter!(name).increment(0);
    }
    for name in [CONNECTIONS, OUTBOUND_QUEUE] {
        gauge!(name).increment(0.0);
    }
}

/// Whether the store answers.
pub fn store_up(up: bool) {
    gauge!(STORE_UP).set(if up { 1.0 } else { 0.0 });
}

/// A log line found no room.
pub fn log_line_dropped() {
    counter!(LOG_LINES_DROPPED).increment(1);
}

/// Something panicked.
pub fn panicked() {
    counter!(PANICS).increment(1);
}

/// A connection to this listener was refused for lack of room.
pub fn connection_refused(listener: &'static str) {
    counter!(CONNECTIONS_REFUSED, "listener" => listener).increment(1);
}

/// A connection that is counted as long as this lives.
pub struct OpenConnection(&'static str);

impl OpenConnection {
    /// One more at this listener.
    pub fn count(listener: &'static str) -> OpenConnection {
        gauge!(HTTP_CONNECTIONS, "listener" => listener).increment(1.0);
        OpenConnection(listener)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        gauge!(HTTP_CONNECTIONS, "listener" => self.0).decrement(1.0);
    }
}
