//! Names, units and help of what this crate counts.

use metrics::{Unit, describe_counter, describe_gauge};

/// 1 while other nodes can be heard; always 1 in a fleet of one.
pub const CONNECTED: &str = "syncchat_backplane_connected";
/// Events that this node published (`direction="out"`) or heard (`direction="in"`).
pub const MESSAGES: &str = "syncchat_backplane_messages_total";
/// Requests refused by a rate limit, by what was limited.
pub const RATE_LIMITED: &str = "syncchat_rate_limited_total";
/// Buckets forgotten before they were full, because there were too many.
pub const BUCKETS_EVICTED: &str = "syncchat_rate_limit_buckets_evicted_total";

/// Tells the recorder what the names mean. Call once, after it was installed.
pub fn describe() {
    describe_gauge!(
        CONNECTED,
        Unit::Count,
        "1 while the backplane is connected, else 0"
    );
    describe_counter!(
        MESSAGES,
        Unit::Count,
        "events published (out) to and heard (in) from the backplane"
    );
    describe_counter!(
        RATE_LIMITED,
        Unit::Count,
        "requests refused by a rate limit, by kind"
    );
    describe_counter!(
        BUCKETS_EVICTED,
        Unit::Count,
        "token buckets forgotten before they were full, because there were too many"
    );
}
