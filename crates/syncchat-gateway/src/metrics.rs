//! Names, units and help of what the gateway measures.

use std::time::Duration;

use metrics::{
    Counter, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use syncchat_delivery::Reason;

/// Messages handed to sockets, each socket counted.
pub const DELIVERIES: &str = "syncchat_deliveries_total";
/// From accepted to handed to the sockets of one shard, of each message: they get it in one go.
pub const DELIVERY_SECONDS: &str = "syncchat_delivery_seconds";
/// Gaps in what the fleet said that were closed from the store.
pub const GAPS: &str = "syncchat_backplane_gaps_total";
/// Messages read from the store to close gaps and to refill sockets.
pub const BACKFILLED: &str = "syncchat_backfilled_messages_total";
/// Reads of missing messages that failed; they are tried again.
pub const BACKFILLS_FAILED: &str = "syncchat_backfills_failed_total";
/// Edits and deletions that were read from the store because this node may not have heard of them.
pub const CHANGES_READ: &str = "syncchat_changes_read_total";
/// Refills of sockets that were behind, by pages of the store.
pub const REFILLS: &str = "syncchat_refills_total";
/// Events other than messages that a socket missed because it was behind for too long, by event.
pub const NOTICES_LOST: &str = "syncchat_notices_lost_total";
/// Typing and presence that was dropped, by event.
pub const EPHEMERAL_DROPPED: &str = "syncchat_ephemeral_dropped_total";
/// Events of the fleet that a shard had no room for.
pub const FEED_DROPPED: &str = "syncchat_feed_dropped_total";
/// Looks for memberships that this node was not told of.
pub const ADDITIONS_LOOKS: &str = "syncchat_membership_looks_total";
/// Memberships found in this way.
pub const ADDITIONS_FOUND: &str = "syncchat_memberships_found_total";
/// Comparisons of the sockets' log-ins with the store.
pub const FAMILIES_COMPARED: &str = "syncchat_login_comparisons_total";
/// Sockets closed because such a comparison found their log-in revoked.
pub const REVOCATIONS_FOUND: &str = "syncchat_revocations_found_total";
/// Returns of clients: `recovered` by connection state recovery, or why not (`invalid`,
/// `membership`, `uncertain`, `too_much`, `unavailable`), and each `sync`.
pub const RECOVERIES: &str = "syncchat_recoveries_total";
/// Times that all was forgotten which is kept of when messages were written, because it was too much.
pub const PAST_FORGOTTEN: &str = "syncchat_recovery_times_forgotten_total";
/// Events from clients, by event and result.
pub const EVENTS: &str = "syncchat_events_total";
/// Sockets that belong to somebody.
pub const AUTHENTICATED: &str = "syncchat_authenticated_sockets";
/// Conversations that some socket of this node reads, or did a moment ago.
pub const ROOMS: &str = "syncchat_rooms";

/// Sockets with a good token that wait for their turn to be let in, now.
pub const ARRIVALS_WAITING: &str = "syncchat_arrivals_waiting";
/// Sockets whose turn did not come in time; they are let in later.
pub const ARRIVALS_LATE: &str = "syncchat_arrivals_late_total";

/// Tells the recorder what the names mean. Call once, after it was installed.
pub fn describe() {
    const COUNTERS: [(&str, &str); 17] = [
        (DELIVERIES, "messages handed to sockets"),
        (GAPS, "gaps in the backplane closed from the store"),
        (BACKFILLED, "messages read to close gaps and refill sockets"),
        (BACKFILLS_FAILED, "reads of missing messages that failed"),
        (
            CHANGES_READ,
            "edits and deletions read that were not heard of",
        ),
        (REFILLS, "pages read for sockets that were behind"),
        (NOTICES_LOST, "events missed by sockets that were behind"),
        (EPHEMERAL_DROPPED, "typing and presence dropped"),
        (FEED_DROPPED, "fleet events a shard had no room for"),
        (ADDITIONS_LOOKS, "looks for memberships not heard of"),
        (ADDITIONS_FOUND, "memberships found without being heard of"),
        (FAMILIES_COMPARED, "comparisons of log-ins with the store"),
        (REVOCATIONS_FOUND, "sockets closed by such a comparison"),
        (RECOVERIES, "returns of clients, by result"),
        (PAST_FORGOTTEN, "times of messages forgotten all at once"),
        (EVENTS, "events from clients, by event and result"),
        (ARRIVALS_LATE, "sockets whose turn did not come in time"),
    ];
    for (name, help) in COUNTERS {
        describe_counter!(name, Unit::Count, help);
    }
    describe_histogram!(
        DELIVERY_SECONDS,
        Unit::Seconds,
        "from accepted to handed to sockets, of each message"
    );
    describe_gauge!(
        AUTHENTICATED,
        Unit::Count,
        "sockets that belong to somebody"
    );
    describe_gauge!(
        ARRIVALS_WAITING,
        Unit::Count,
        "sockets that wait for their turn to be let in"
    );
    describe_gauge!(ROOMS, Unit::Count, "conversations read on this node");
}

/// What is counted for each delivery: looked up once.
pub(crate) struct Deliveries {
    count: Counter,
    seconds: Histogram,
}

impl Deliveries {
    pub(crate) fn new() -> Deliveries {
        Deliveries {
            count: counter!(DELIVERIES),
            seconds: histogram!(DELIVERY_SECONDS),
        }
    }

    /// So many sockets were handed a message of this age.
    pub(crate) fn made(&self, count: usize, age: Duration) {
        self.count.increment(count as u64);
        // Once: the recorder would keep each of so many equal values until it is asked for them.
        self.seconds.record(age);
    }
}

pub(crate) fn fetching(reason: Reason) {
    let name = match reason {
        Reason::Gap => GAPS,
        Reason::Behind => REFILLS,
    };
    counter!(name).increment(1);
}

pub(crate) fn backfilled(messages: usize) {
    counter!(BACKFILLED).increment(messages as u64);
}

pub(crate) fn changes_read(messages: usize) {
    counter!(CHANGES_READ).increment(messages as u64);
}

pub(crate) fn backfill_failed() {
    counter!(BACKFILLS_FAILED).increment(1);
}

pub(crate) fn notice_lost(event: &'static str) {
    counter!(NOTICES_LOST, "event" => event).increment(1);
}

pub(crate) fn ephemeral_dropped(event: &'static str, count: usize) {
    if count > 0 {
        counter!(EPHEMERAL_DROPPED, "event" => event).increment(count as u64);
    }
}

pub(crate) fn past_forgotten() {
    counter!(PAST_FORGOTTEN).increment(1);
}

pub(crate) fn feed_dropped() {
    counter!(FEED_DROPPED).increment(1);
}

pub(crate) fn additions_looked_for() {
    counter!(ADDITIONS_LOOKS).increment(1);
}

pub(crate) fn addition_found() {
    counter!(ADDITIONS_FOUND).increment(1);
}

pub(crate) fn families_compared() {
    counter!(FAMILIES_COMPARED).increment(1);
}

pub(crate) fn revocation_found(sockets: usize) {
    counter!(REVOCATIONS_FOUND).increment(sockets as u64);
}

/// Counts events from clients with this result.
pub(crate) fn events(event: &'static str, result: &'static str) -> Counter {
    counter!(EVENTS, "event" => event, "result" => result)
}

pub(crate) fn recovery(result: &'static str) {
    counter!(RECOVERIES, "result" => result).increment(1);
}

/// Counts a socket that waits for its turn, while it does.
pub(crate) struct WaitingArrival(());

impl WaitingArrival {
    pub(crate) fn count() -> WaitingArrival {
        gauge!(ARRIVALS_WAITING).increment(1.0);
        WaitingArrival(())
    }
}

impl Drop for WaitingArrival {
    fn drop(&mut self) {
        gauge!(ARRIVALS_WAITING).decrement(1.0);
    }
}

pub(crate) fn arrival_late() {
    counter!(ARRIVALS_LATE).increment(1);
}

pub(crate) fn authenticated(change: f64) {
    gauge!(AUTHENTICATED).increment(change);
}

pub(crate) fn rooms(change: f64) {
    gauge!(ROOMS).increment(change);
}
