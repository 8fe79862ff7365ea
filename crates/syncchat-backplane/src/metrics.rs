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
/// Events that could not be published, by cause.
pub const PUBLISH_LOST: &str = "syncchat_backplane_publish_lost_total";
/// Messages of others that were lost here, by cause.
pub const HEARD_LOST: &str = "syncchat_backplane_heard_lost_total";
/// Requests limited by this node alone, because Redis did not answer.
pub const LIMITED_ALONE: &str = "syncchat_rate_limit_alone_total";
/// Notices told again to nodes that missed them.
pub const NOTICES_REPEATED: &str = "syncchat_backplane_notices_repeated_total";
/// Times that a node asked for notices of which some were forgotten.
pub const NOTICES_FORGOTTEN: &str = "syncchat_backplane_notices_forgotten_total";
/// Times that somebody could not be heard any more: Redis (`who="redis"`) or a node (`who="node"`).
pub const SILENCES: &str = "syncchat_backplane_silences_total";
/// Looks at a node without a lease that was left alone, because it noted in the store that it lives.
pub const NODES_SPARED: &str = "syncchat_backplane_nodes_spared_total";
/// Changes of presence that were forgotten before those who cannot hear this node could find them noted.
pub const CHANGES_UNNOTED: &str = "syncchat_backplane_changes_unnoted_total";

/// Looks at who is shown online, after a node had vanished, that were cut short: there are too many.
pub const LOOKS_CUT: &str = "syncchat_backplane_presence_looks_cut_total";

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
    describe_counter!(
        PUBLISH_LOST,
        Unit::Count,
        "events that could not be published, by cause: away, queue_full, error"
    );
    describe_counter!(
        HEARD_LOST,
        Unit::Count,
        "messages of other nodes lost here, by cause: lagged, undecodable"
    );
    describe_counter!(
        LIMITED_ALONE,
        Unit::Count,
        "requests limited by this node alone, because redis did not answer"
    );
    describe_counter!(
        NOTICES_REPEATED,
        Unit::Count,
        "notices told again to nodes that missed them"
    );
    describe_counter!(
        NOTICES_FORGOTTEN,
        Unit::Count,
        "requests for missed notices of which some were forgotten"
    );
    describe_counter!(
        SILENCES,
        Unit::Count,
        "times that redis or another node could not be heard any more, by who"
    );
    describe_counter!(
        NODES_SPARED,
        Unit::Count,
        "looks at a node without a lease that noted in the store that it lives"
    );
    describe_counter!(
        CHANGES_UNNOTED,
        Unit::Count,
        "changes of presence forgotten before nodes that cannot hear this one could find them noted"
    );
    describe_counter!(
        LOOKS_CUT,
        Unit::Count,
        "looks at who is shown online, after a node had vanished, that were cut short"
    );
}
