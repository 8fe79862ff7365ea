//! Every bound of the backplane, with its unit, its reason and what happens at it.

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

const _: () = assert!(BUCKETS_EVICTED_AT_ONCE >= 1);
