//! Names, units and help of what the core measures.

use std::sync::LazyLock;
use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};

use crate::error::ErrorCode;

/// Messages that became durable, system messages not among them.
pub const MESSAGES_ACCEPTED: &str = "syncchat_messages_accepted_total";
/// Messages refused, by code.
pub const MESSAGES_REJECTED: &str = "syncchat_messages_rejected_total";
/// From acceptance to durable, of each message.
pub const PERSIST_SECONDS: &str = "syncchat_persist_seconds";
/// From durable to handed to the backplane and to this node's listener, of each write.
pub const PUBLISH_SECONDS: &str = "syncchat_publish_seconds";
/// Messages that shared a write to the store.
pub const COMMIT_BATCH_MESSAGES: &str = "syncchat_commit_batch_messages";
/// Messages accepted and not yet answered.
pub const COMMIT_QUEUE_MESSAGES: &str = "syncchat_commit_queue_messages";
/// Writes of one conversation that were tried again: `moved` (another was faster), `duplicate` (a
/// resend was among them) or `unknown` (the store did not answer).
pub const COMMIT_RETRIES: &str = "syncchat_commit_retries_total";
/// Writes of one conversation that went behind messages which other nodes wrote meanwhile.
pub const COMMITS_BEHIND: &str = "syncchat_commits_behind_total";
/// Requests answered with what was committed before: resends, and tries whose answer was lost.
pub const RESENDS: &str = "syncchat_resends_total";
/// Heads of conversations found in memory (`hit`) or read from the store (`miss`) before a write.
pub const HEADS: &str = "syncchat_heads_total";
/// Writes of unknown outcome that could not be watched, for there were too many, by kind: `append`,
/// `change` (of members or title, among the appends of one conversation), `creation`, `message` (an
/// edit or a deletion) or `cursor`.
pub const DOUBTS_DROPPED: &str = "syncchat_commit_doubts_dropped_total";
/// Logs found to end before a message that was handed out: an older backup was restored, or the
/// primary changes just now.
pub const LOGS_REWOUND: &str = "syncchat_logs_rewound_total";
/// Writes of unknown outcome that turned out to have happened, and were announced then, by kind: as
/// above, an append counted by its changes of members and title.
pub const IN_DOUBT_FOUND: &str = "syncchat_in_doubt_writes_found_total";
/// Files announced for upload.
pub const FILES_ANNOUNCED: &str = "syncchat_files_announced_total";
/// Files deleted: `unsent` (no message showed it in time) or `taken_back` (its messages were
/// deleted).
pub const FILES_SWEPT: &str = "syncchat_files_swept_total";
/// Questions that the file storage did not answer.
pub const FILE_STORAGE_ERRORS: &str = "syncchat_file_storage_errors_total";

/// What was asked of the store by many at once, by what it is: `arrivals`, who comes and where they are
/// members; for `sync`, `places` where people are members, and `pages` of logs.
pub const READS_ASKED: &str = "syncchat_store_reads_asked_total";
/// Reads of the store made for them, by what it is.
pub const READS: &str = "syncchat_store_reads_total";
/// What was read in them (people, pages), by what it is: each as often as it was read.
pub const READ_KEYS: &str = "syncchat_store_read_keys_total";
/// Who was refused because too many waited for a read, by what it is.
pub const READS_REFUSED: &str = "syncchat_store_reads_refused_total";

/// Seconds by which this machine's date is ahead of the store's, as last compared; negative: behind.
pub const CLOCK_OFFSET: &str = "syncchat_clock_offset_seconds";

/// Tells the recorder what the names mean. Call once, after it was installed.
pub fn describe() {
    const COUNTERS: [(&str, &str); 16] = [
        (MESSAGES_ACCEPTED, "messages that became durable"),
        (MESSAGES_REJECTED, "messages refused, by code"),
        (
            COMMIT_RETRIES,
            "appends tried again, by reason: moved, duplicate or unknown",
        ),
        (
            COMMITS_BEHIND,
            "appends that went behind messages of other nodes",
        ),
        (RESENDS, "requests answered with what was committed before"),
        (
            HEADS,
            "heads found in memory (hit) or read (miss) before a write",
        ),
        (
            DOUBTS_DROPPED,
            "writes of unknown outcome that were not watched, by kind",
        ),
        (
            IN_DOUBT_FOUND,
            "writes of unknown outcome that had happened, by kind",
        ),
        (
            LOGS_REWOUND,
            "logs found to end before a message that was handed out",
        ),
        (READS_ASKED, "what many asked of the store at once"),
        (READS, "reads of the store made for many at once"),
        (READ_KEYS, "people or pages read for many at once"),
        (READS_REFUSED, "refused, for too many waited for a read"),
        (FILES_ANNOUNCED, "files announced for upload"),
        (
            FILES_SWEPT,
            "files deleted, by reason: unsent or taken_back",
        ),
        (
            FILE_STORAGE_ERRORS,
            "questions that the file storage did not answer",
        ),
    ];
    for (name, help) in COUNTERS {
        describe_counter!(name, Unit::Count, help);
    }
    describe_gauge!(
        COMMIT_QUEUE_MESSAGES,
        Unit::Count,
        "messages accepted and not yet answered"
    );
    describe_gauge!(
        CLOCK_OFFSET,
        Unit::Seconds,
        "by how much this machine's date is ahead of the store's"
    );
    describe_histogram!(
        PERSIST_SECONDS,
        Unit::Seconds,
        "from acceptance to durable, of each message"
    );
    describe_histogram!(
        PUBLISH_SECONDS,
        Unit::Seconds,
        "from durable to handed to the backplane, of each write"
    );
    describe_histogram!(
        COMMIT_BATCH_MESSAGES,
        Unit::Count,
        "messages that shared a write to the store"
    );
}

/// What is counted for each message or write. Looked up once, at the first of them: to find a metric
/// by its name costs more than to count. So nothing is counted before the recorder is installed.
struct Commits {
    accepted: Counter,
    persist_seconds: Histogram,
    publish_seconds: Histogram,
    batch_messages: Histogram,
    queue_messages: Gauge,
    heads_hit: Counter,
    heads_missed: Counter,
}

static COMMITS: LazyLock<Commits> = LazyLock::new(|| Commits {
    accepted: counter!(MESSAGES_ACCEPTED),
    persist_seconds: histogram!(PERSIST_SECONDS),
    publish_seconds: histogram!(PUBLISH_SECONDS),
    batch_messages: histogram!(COMMIT_BATCH_MESSAGES),
    queue_messages: gauge!(COMMIT_QUEUE_MESSAGES),
    heads_hit: counter!(HEADS, "result" => "hit"),
    heads_missed: counter!(HEADS, "result" => "miss"),
});

pub(crate) fn clock_offset(millis: i64) {
    gauge!(CLOCK_OFFSET).set(millis as f64 / 1_000.0);
}

/// Counts a message that was refused, here or before it came here.
pub fn message_rejected(code: ErrorCode) {
    counter!(MESSAGES_REJECTED, "code" => code.as_str()).increment(1);
}

pub(crate) fn messages_accepted(count: usize) {
    COMMITS.accepted.increment(count as u64);
}

pub(crate) fn persisted(spans: impl Iterator<Item = Duration>) {
    spans.for_each(|span| COMMITS.persist_seconds.record(span));
}

pub(crate) fn published(span: Duration) {
    COMMITS.publish_seconds.record(span);
}

pub(crate) fn batch_written(messages: usize) {
    COMMITS.batch_messages.record(messages as f64);
}

pub(crate) fn queue_length(messages: usize) {
    COMMITS.queue_messages.set(messages as f64);
}

pub(crate) fn retried(reason: &'static str) {
    counter!(COMMIT_RETRIES, "reason" => reason).increment(1);
}

pub(crate) fn went_behind() {
    counter!(COMMITS_BEHIND).increment(1);
}

pub(crate) fn resend_answered() {
    counter!(RESENDS).increment(1);
}

pub(crate) fn heads_found(hits: usize, misses: usize) {
    COMMITS.heads_hit.increment(hits as u64);
    COMMITS.heads_missed.increment(misses as u64);
}

pub(crate) fn doubt_dropped(kind: &'static str) {
    counter!(DOUBTS_DROPPED, "kind" => kind).increment(1);
}

pub(crate) fn in_doubt_found(kind: &'static str, count: usize) {
    counter!(IN_DOUBT_FOUND, "kind" => kind).increment(count as u64);
}

pub(crate) fn log_rewound() {
    counter!(LOGS_REWOUND).increment(1);
}

pub(crate) fn read_asked(what: &'static str) {
    counter!(READS_ASKED, "what" => what).increment(1);
}

pub(crate) fn read_made(what: &'static str, keys: usize) {
    counter!(READS, "what" => what).increment(1);
    counter!(READ_KEYS, "what" => what).increment(keys as u64);
}

pub(crate) fn read_refused(what: &'static str) {
    counter!(READS_REFUSED, "what" => what).increment(1);
}

pub(crate) fn file_announced() {
    counter!(FILES_ANNOUNCED).increment(1);
}

pub(crate) fn file_swept(reason: &'static str) {
    counter!(FILES_SWEPT, "reason" => reason).increment(1);
}

pub(crate) fn file_storage_failed() {
    counter!(FILE_STORAGE_ERRORS).increment(1);
}
