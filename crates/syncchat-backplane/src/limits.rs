//! Every bound of the backplane, with its unit, its reason and what happens at it.

use std::time::Duration;

/// Parts of the table of token buckets, each behind a lock of its own.
pub const BUCKET_SHARDS: usize = 64;
/// Token buckets of one shard, so 262,144 in all, about 25 MiB. At the bound the shard forgets
/// buckets that are full again (which changes nothing), then those nearest to full, counted in
/// `syncchat_rate_limit_buckets_evicted_total`.
pub const BUCKETS_PER_SHARD_MAX: usize = 4_096;
/// Buckets of one shard from which on full ones are looked for, and then each time there are twice
/// as many as were left.
pub const BUCKETS_SWEPT_FROM: usize = 64;
/// Buckets that are made room for when a shard is at its bound, so that a flood of new keys pays
/// for a sweep once in so many.
pub const BUCKETS_EVICTED_AT_ONCE: usize = BUCKETS_PER_SHARD_MAX / 8;
/// Bytes of a bucket's key. Of a longer one the first so many count: it shares a bucket.
pub const BUCKET_KEY_BYTES_MAX: usize = 320;

/// Events that wait to be published to Redis. More are dropped, counted in
/// `syncchat_backplane_publish_lost_total{cause="queue_full"}`; comparing heads makes up for it.
pub const PUBLISH_QUEUE_MAX: usize = 20_000;
/// Events published without waiting for the first one's answer.
pub const PUBLISH_BATCH_MAX: usize = 512;
/// Commands that wait inside the Redis client. More are refused, and counted as lost.
pub const COMMAND_BUFFER_MAX: usize = 50_000;
/// Messages heard and not handled yet. Beyond it the oldest are lost, counted in
/// `syncchat_backplane_heard_lost_total{cause="lagged"}`, and heads are compared.
pub const MESSAGE_BUFFER_MAX: usize = 16_384;
/// The same of the connection that hears none: each kind of its notices has a buffer of this size.
pub const ANSWER_BUFFER_MAX: usize = 64;
/// From one line of the log that says why Redis is not reached to the next, if the cause is another one.
pub const TROUBLE_NEWS: Duration = Duration::from_secs(1);
/// The same, while the cause is the same.
pub const TROUBLE_AGAIN: Duration = Duration::from_secs(60);
/// Channels of one SUBSCRIBE: a command of some 30 KiB, a few milliseconds of Redis.
pub const SUBSCRIBE_BATCH_MAX: usize = 500;
/// How long Redis may take for a command. Then it counts as failed, and is not repeated.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);
/// How long Redis may be silent with a command in flight before the connection is given up.
pub const UNRESPONSIVE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a request may wait for the fleet's word on its limit. Then this node decides alone.
pub const LIMIT_TIMEOUT: Duration = Duration::from_millis(250);
/// How long the fleet may take to say who is online. Then it is not known.
pub const PRESENCE_TIMEOUT: Duration = Duration::from_millis(500);
/// Milliseconds between two tries to reach Redis, at most.
pub const RECONNECT_DELAY_MAX: u32 = 1_000;
/// Pause before subscriptions are tried again after an error.
pub const RESUBSCRIBE_DELAY: Duration = Duration::from_millis(200);
/// How often a node says that it is here: a message of some 60 bytes to each node, itself too (in a
/// cluster by way of each master). So a fleet of n nodes costs Redis n publications and n² deliveries
/// in this time.
pub const BEAT: Duration = Duration::from_millis(400);
/// How long a beat, one's own or another's, may fail to come before logs are compared instead of
/// listened for. With a comparison this leaves a good part of the promised 2 s, and one beat may be
/// lost or late without consequence.
pub const SILENCE: Duration = Duration::from_millis(1_000);
/// How often a node looks whether somebody has fallen silent.
pub const SILENCE_CHECK: Duration = Duration::from_millis(100);
/// How long one's own beats may fail to come before the connections are made anew, and how long it
/// takes until they are again.
pub const DEAF_RECONNECT: Duration = Duration::from_secs(3);
/// Other nodes that are watched. Of more, a silence is not noticed: what they could not say is found
/// by the slow comparison of all heads.
pub const PEERS_MAX: usize = 1_024;
/// Processes that are remembered when another with their node's name has taken their place. Of more the
/// oldest are forgotten: if they died with Redis, their people are settled with the next that does.
pub const REPLACED_MAX: usize = 64;
/// People whom the store shows online that are looked at when a node has vanished. Of more, the others
/// stay as they are shown until they come and go; `syncchat_backplane_presence_looks_cut_total` counts that.
pub const SHOWN_ONLINE_MAX: usize = 100_000;
/// How long a node that fell silent without a goodbye is remembered, so that it is noticed when it is
/// heard again.
pub const PEER_FORGOTTEN: Duration = Duration::from_secs(600);
/// How long to wait for the notices that were asked for before asking again.
pub const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Notices (changed messages, cursors, titles, presence, revocations) kept for nodes that missed
/// them. Beyond it the oldest is forgotten; who needed it learns by its next `sync`, or by asking.
/// Counted in `syncchat_backplane_notices_forgotten_total` once somebody asks for it.
pub const NOTICES_MAX: usize = 20_000;
/// Bytes of them, with the same consequence.
pub const NOTICES_BYTES_MAX: usize = 16 << 20;
/// Notices in one answer to a node that missed some.
pub const NOTICES_BATCH_MAX: usize = 100;
/// Nodes that wait for such an answer. More ask again after [`ASK_AGAIN`].
pub const ASKING_MAX: usize = 64;
/// How long a node that ends waits for its last words to be taken.
pub const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a node that ends, and has just told of a loss, answers those who ask for what they missed.
pub const GOODBYE_LINGER: Duration = Duration::from_millis(300);
/// Between two doubts because of events that this release cannot read, at least: while a later release
/// says such, all heads and memberships are compared so often.
pub const UNKNOWN_DOUBT_INTERVAL: Duration = Duration::from_secs(1);

/// How often a node renews its lease.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long a node that is not heard of counts as alive: its people are offline after this and the
/// next look of another node, less than 10 s in all.
pub const LEASE: Duration = Duration::from_secs(6);
/// How old a note in the store may be that says that a silent node lives: three beats. One that dies
/// while it is cut off is buried after this and the next look. So long a node goes on noting after all
/// are heard again.
pub const NOTE_FRESH: Duration = Duration::from_secs(3);
/// How long a silent node is waited for that does not note in the store that it lives: with what it
/// takes to notice that one is cut off, and to write that, several times over.
pub const SILENT_DEAD: Duration = Duration::from_secs(10);
/// For how long who came or went is noted for those who cannot hear it: longer than it takes them to
/// notice that, and to look.
pub const CHANGES_NOTED_FOR: Duration = Duration::from_secs(10);
/// Such changes in one note, so some 200 KiB. Beyond it the oldest are forgotten, counted in
/// `syncchat_backplane_changes_unnoted_total`; who asks is told the truth.
pub const CHANGES_NOTED_MAX: usize = 2_000;
/// Such changes of others that are told at once. More wait for the next look.
pub const CHANGES_TAKEN_MAX: usize = 2_000;
/// From when somebody left a node until it is judged by the notes of others whether they are
/// elsewhere: so long a note may take to say that they left there too.
pub const UNSETTLED: Duration = Duration::from_secs(2);
/// How long Redis must have been reached before anybody is believed to be gone: the others need this
/// time to come back and renew their leases.
pub const RETURN_GRACE: Duration = Duration::from_secs(3);
/// How long the keys of a process stay in Redis after it was last heard of.
pub const LEASE_KEYS_KEPT: Duration = Duration::from_secs(600);
/// People who left while it could not be known whether they are elsewhere. Beyond it they count as
/// gone at once.
pub const UNSETTLED_MAX: usize = 100_000;
/// People named in one command about presence.
pub const PEOPLE_BATCH_MAX: usize = 1_000;

/// How long a gateway's address is good without asking Redis again. One that died meanwhile refuses
/// the connection.
pub const GATEWAYS_FRESH: Duration = Duration::from_secs(2);
/// Between two questions for the gateways' addresses, however many wait for the answer.
pub const GATEWAYS_READ_PAUSE: Duration = Duration::from_millis(100);
/// How long Redis may take for that answer. Then what is known has to do.
pub const GATEWAYS_READ_TIMEOUT: Duration = Duration::from_millis(400);
/// How long a gateway is remembered that Redis does not name, for when Redis is away.
pub const GATEWAYS_KEPT: Duration = Duration::from_secs(600);
/// Gateways that are read at once. Of a larger fleet some are not found, and their sessions need
/// stickiness.
pub const GATEWAYS_MAX: usize = 4_096;

const _: () = assert!(LEASE.as_secs() >= 3 * HEARTBEAT.as_secs());
const _: () = assert!(BUCKETS_EVICTED_AT_ONCE >= 1);
const _: () = assert!(GOODBYE_LINGER.as_millis() < GOODBYE_TIMEOUT.as_millis() / 2);
const _: () = assert!(SILENCE.as_millis() > 2 * BEAT.as_millis());
