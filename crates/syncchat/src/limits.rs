//! Every bound of the program, with its unit, its reason and what happens at it.

use std::time::Duration;

/// From the first byte a connection may send to the end of the request's head, and from one
/// request to the next on a connection that is kept. Then it is closed: whoever sends half a
/// request holds a place for so long.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of a request's head. More: 431.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// After the goodbyes: for sessions to end, with what their events were doing. Then they are cut
/// off.
pub const SESSIONS_END_TIMEOUT: Duration = Duration::from_secs(5);
/// After the last session: for what its client sent before it heard the goodbye, which is still
/// answered then.
pub const CROSSING_REQUESTS_WAIT: Duration = Duration::from_millis(500);
/// After the sockets are gone: for the first request on a connection that was made a moment before.
/// Then it is closed like one that is idle.
pub const LAST_REQUEST_WAIT: Duration = Duration::from_millis(250);
/// After the sockets are gone: for requests under way to end. Then they are cut off.
pub const REQUESTS_END_TIMEOUT: Duration = Duration::from_secs(5);
/// For what was accepted to become durable and be told to the fleet. Then the node ends anyway,
/// and says so; nothing of it was acknowledged.
pub const COMMITS_END_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest spread of the goodbyes of a node that ends because one of its tasks has ended, if
/// `--drain` is longer: some of its sockets hear nothing meanwhile.
pub const FAILED_DRAIN_MAX: Duration = Duration::from_secs(3);
/// For all that such a node does before it ends. Then it ends anyway: what is broken may be what it
/// waits for.
pub const FAILED_END_TIMEOUT: Duration = Duration::from_secs(30);

/// Lines of the log that wait for standard error. More: dropped, and counted in
/// `syncchat_log_lines_dropped_total`.
pub const LOG_LINES_MAX: usize = 2_048;
/// Bytes of one line. What is longer is cut.
pub const LOG_LINE_BYTES_MAX: usize = 16 * 1024;
/// For the last lines to be written when the program ends. Then it ends anyway.
pub const LOG_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// File descriptors kept for the store, files, logs and the admin listener.
pub const DESCRIPTORS_RESERVED: u64 = 256;
/// One in so many of the remaining file descriptors is kept for requests that are no session.
pub const DESCRIPTORS_PER_REQUEST: u64 = 8;
/// One in so many of them is kept, in a fleet, for passing on what belongs to other nodes.
pub const DESCRIPTORS_PER_FORWARD: u64 = 8;
/// File descriptors of one poll or WebSocket that is passed on: the client's and the other node's.
pub const DESCRIPTORS_OF_FORWARD: u64 = 2;
/// File descriptors assumed where the system does not say.
pub const DESCRIPTORS_ASSUMED: u64 = 1_024;
/// When a client that found no place may come back.
pub const FULL_RETRY_AFTER: Duration = Duration::from_secs(5);
/// Connections to the admin listener. More: closed at once.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;
/// Pause after an error of `accept`, such as no file descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// From one question whether the store answers to the next.
pub const STORE_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// For its answer. Then the node is not ready.
pub const STORE_CHECK_TIMEOUT: Duration = Duration::from_secs(2);
/// From one failed attempt to bring the store to this version's schema to the next.
pub const MIGRATE_RETRY: Duration = Duration::from_secs(1);
/// Between two sweeps of expired refresh tokens.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(3_600);
/// Between two looks for files that nothing shows, at least and at most; a quarter of
/// `--unsent-file-ttl` in between.
pub const FILE_SWEEP_INTERVAL: (Duration, Duration) =
    (Duration::from_secs(1), Duration::from_secs(60));
/// Between two clean-ups inside the metrics' recorder, which keeps single values until then.
pub const METRICS_UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

// What is bounded by itself has its time.
const _: () = assert!(
    FAILED_DRAIN_MAX.as_secs()
        + SESSIONS_END_TIMEOUT.as_secs()
        + REQUESTS_END_TIMEOUT.as_secs()
        + COMMITS_END_TIMEOUT.as_secs()
        < FAILED_END_TIMEOUT.as_secs()
);
// A poll that was passed on before a drain began ends by itself.
const _: () = assert!(
    syncchat_engine::limits::FORWARDED_POLL_HOLD.as_millis() < REQUESTS_END_TIMEOUT.as_millis()
);
