//! Every bound of the backplane, with its unit, its reason and what happens at it.

use std::time::Duration;

/// Parts of the table of token buckets, each behind a lock of its own.
pub const BUCKET_SHARDS: usize = 64;
/// Token buckets of one shard, so 262,144 in all, about 25 MiB. At the bound the shard forgets
/// buckets that are full again (which changes nothing), then those nearest to full, counted in
/// `syncchat_rate_limit_buckets_evicted_total`.
pub const BUCKETS_PER_SHARD_MAX: usize = 4_096;
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
pub const MESSAGE_BUFFER_MAX: usize = 65_536;
/// Channels of one SUBSCRIBE: a command of some 30 KiB, a few milliseconds of Redis.
pub const SUBSCRIBE_BATCH_MAX: usize = 500;
/// How long Redis may take for a command. Then it counts as failed, and is not repeated.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);
/// How long Redis may be silent with a command in flight before the connection is given up.
pub const UNRESPONSIVE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a request may wait for the fleet's word on its limit. Then this node decides alone.
pub const LIMIT_TIMEOUT: Duration = Duration::from_millis(250);
/// Milliseconds between two tries to reach Redis, at most.
pub const RECONNECT_DELAY_MAX: u32 = 1_000;
/// Pause before subscriptions are tried again after an error.
pub const RESUBSCRIBE_DELAY: Duration = Duration::from_millis(200);
/// How often a node renews its lease and looks at its connection.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long a node that is not heard of counts as alive: its people are offline after this and the
/// next look of another node, less than 10 s in all.
pub const LEASE: Duration = Duration::from_secs(6);
/// How long the keys of a process stay in Redis after it was last heard of.
pub const LEASE_KEYS_KEPT: Duration = Duration::from_secs(600);
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
