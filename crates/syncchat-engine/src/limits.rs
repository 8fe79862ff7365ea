//! Every bound that is not a setting, with its unit and its reason. Settings are in
//! [`Config`](crate::Config), the codec's bounds in [`syncchat_protocol::Limits`].

use std::time::Duration;

/// Bytes that are read from a WebSocket at once. There is one such buffer for each thread of the
/// runtime, none for a connection.
pub const READ_BYTES: usize = 64 * 1024;

/// Reads of one connection before the others get their turn.
pub const READS_PER_TURN: usize = 4;

/// Frames that go into one vectored write; Linux takes up to 1,024.
pub const WRITE_SLICES: usize = 64;

/// Vectored writes of one connection before the others get their turn.
pub const WRITES_PER_TURN: usize = 16;

/// Tasks that write to WebSockets, however many processors there are: more of them than a network
/// card has use for.
pub const LANES_MAX: usize = 64;

/// WebSockets that one of these tasks writes to before others get their turn: half a millisecond's
/// work.
pub const FLUSHES_PER_TURN: usize = 256;

/// Bytes of frames that are copied into one buffer to be written at once, one buffer for each of
/// these tasks. More go out as a list.
pub const GATHERED_BYTES_MAX: usize = 8 * 1024;

/// Essential frames that may wait for a client whatever their size: more than it can have asked for
/// at once ([`Config::events_at_once`](crate::Config)), as each of its requests has one answer. With
/// more of them, and more than the limit's bytes, it is closed.
pub const ESSENTIAL_FRAMES: usize = 128;

/// Places that an empty outbound queue keeps; one that grew larger is given back.
pub const IDLE_QUEUE_PLACES: usize = 16;

/// From `3probe` on, a poll with nothing to take is held at most so long, as the client waits for
/// it before it upgrades. Not answered at once: a client that polls in a loop would spin.
pub const UPGRADING_POLL_HOLD: Duration = Duration::from_millis(100);

/// A client ends its session by a POST while its poll waits. They come on two connections, so the
/// POST may be here first: it waits so long for the poll that shall be answered.
pub const CLOSING_POLL_WAIT: Duration = Duration::from_millis(25);

/// How long a session that the server ended waits for the polls that take what is left and then
/// hear of the end.
pub const GOODBYE_POLL_WAIT: Duration = Duration::from_secs(5);

/// How long a session that the server ended is remembered for the POST that its client has sent
/// meanwhile. It is answered as any other, and has no effect: as what is written to a WebSocket that
/// is being closed.
pub const PARTING_POST_WAIT: Duration = Duration::from_secs(5);

/// Such sessions at once. Of more, the oldest are forgotten early, and their client sees a 400.
pub const PARTING_SESSIONS_MAX: usize = 10_000;

/// For a WebSocket that is being closed: to write what waits, and the close frame.
pub const CLOSE_WRITE_WAIT: Duration = Duration::from_secs(5);
/// The same for one whose client has taken nothing for the slow timeout.
pub const SLOW_GOODBYE_WAIT: Duration = Duration::from_secs(1);

/// For the client's close frame after ours was written.
pub const CLOSE_ANSWER_WAIT: Duration = Duration::from_secs(1);

/// For the application to admit a handshake; after that it is told to come back.
pub const ADMIT_WAIT: Duration = Duration::from_secs(10);

/// `Retry-After` of what the engine itself refuses.
pub const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Beyond [`Config::connect_timeout`](crate::Config::connect_timeout), for a CONNECT that is on its
/// way when it ends.
pub const CONNECT_GRACE: Duration = Duration::from_millis(200);

/// For the attachments of a binary packet, from its text on.
pub const ATTACHMENTS_WAIT: Duration = Duration::from_secs(30);

/// A ping that is sent later than this counts from when it was sent: a node that was itself
/// stopped does not blame its clients.
pub const LATE_PING: Duration = Duration::from_millis(20);

/// Bytes of a poll's answer from which it pays to compress it: it fills more than one packet.
pub const COMPRESSED_BYTES_MIN: usize = 1024;

/// Bytes of a poll's answer that are compressed at most, as a thread is busy with it meanwhile: some
/// milliseconds.
pub const COMPRESSED_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a request's query.
pub const QUERY_BYTES: usize = 8 * 1024;

/// Parameters of a request's query.
pub const QUERY_PARAMETERS: usize = 64;

/// How long a poll is held that another node has passed on, instead of to the next ping. So a node
/// that fell silent is noticed soon, and a node that ends need not wait long for the polls it passed
/// on before it drained.
pub const FORWARDED_POLL_HOLD: Duration = Duration::from_secs(4);

/// The same if the node that passes it on is about to end.
pub const DRAINING_POLL_HOLD: Duration = Duration::from_secs(1);

/// For another node's answer, beyond the time it may hold the poll. Then: 504.
pub const FORWARD_GRACE: Duration = Duration::from_secs(5);

/// For another node's answer to a POST, which comes when its packets are worked off. Then: 504.
pub const FORWARD_POST_TIMEOUT: Duration = Duration::from_secs(30);

/// For a connection to another node; then it counts as dead. It is in the same network.
pub const FORWARD_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Connections to one node that are kept for the next request to be passed on. More are closed.
pub const FORWARD_IDLE_PER_NODE: usize = 64;

/// How long they are kept: well below what a node waits for the next request.
pub const FORWARD_IDLE_TIMEOUT: Duration = Duration::from_secs(8);

/// How far the clock of a node that passes something on may be from ours. Then: 403.
pub const TICKET_AGE_MAX: Duration = Duration::from_secs(60);

/// Bytes of a ticket. More: 403.
pub const TICKET_BYTES_MAX: usize = 256;

/// Bytes in each direction of a WebSocket that is passed on. What does not fit waits in the kernel,
/// and then with whoever sends.
pub const TUNNEL_BUFFER_BYTES: usize = 4 * 1024;

/// For the second side of such a WebSocket to end after the first. Then it is cut.
pub const TUNNEL_CLOSE_WAIT: Duration = Duration::from_secs(5);

// What one connection may read in a turn has to hold the largest control frames many times over,
// and a write has to make progress.
const _: () = assert!(READ_BYTES >= 4096 && WRITE_SLICES >= 1 && WRITES_PER_TURN >= 1);
