//! Every bound of the core, with its unit, its reason and what happens at it.

use std::time::Duration;

use crate::together::TogetherLimits;

/// Characters of a message's content, after trimming. Longer: `invalid`.
pub const CONTENT_CHARS_MAX: usize = 4_000;
/// Bytes of a `clientMsgId` or a `clientConversationId`. Longer: `invalid`.
pub const CLIENT_ID_BYTES_MAX: usize = 64;
/// Bytes of the header `Idempotency-Key`, which is kept with what was made under it. Longer: `invalid`.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// Attachments of one message. More: `invalid`.
pub const ATTACHMENTS_MAX: usize = 10;
/// Characters of a group's title. Longer: `invalid`.
pub const TITLE_CHARS_MAX: usize = 100;
/// Bytes of an avatar's address. Longer: `invalid`.
pub const AVATAR_BYTES_MAX: usize = 2_048;
/// People named in one request to create a conversation, the caller not counted. More: `invalid`.
/// Larger groups grow by adding people.
pub const PARTICIPANTS_PER_REQUEST_MAX: usize = 1_000;
/// People in one conversation. More: `conflict`.
pub const PARTICIPANTS_MAX: usize = 10_000;

/// Messages on a page when the caller does not say.
pub const PAGE_DEFAULT: usize = 50;
/// Messages on a page at most. More: `invalid`.
pub const PAGE_MAX: usize = 200;
/// People found by one search.
pub const PEOPLE_FOUND_MAX: usize = 50;
/// Characters of what is searched for: a username has no more. Longer: `invalid`.
pub const PEOPLE_QUERY_CHARS_MAX: usize = 32;
/// Users named in one `presence` request. More: `invalid`.
pub const PRESENCE_USERS_MAX: usize = 500;
/// Conversations in one `sync` request. More: `invalid`; ask again with the rest.
pub const SYNC_CURSORS_MAX: usize = 10_000;
/// Messages in one `sync` answer, over all conversations. Conversations that do not fit come with
/// `more: true`.
pub const SYNC_MESSAGES_MAX: usize = 1_000;
/// Conversations whose changes are in one `sync` answer, [`PAGE_DEFAULT`] of each. Others come with
/// `more: true`, and with the change that the client knows already.
pub const SYNC_CHANGED_MAX: usize = SYNC_MESSAGES_MAX / PAGE_DEFAULT;
/// People whose conversations are read together for `sync`, such reads under way, and people who
/// wait. More: `unavailable`.
pub const PLACES_TOGETHER: TogetherLimits = TogetherLimits {
    batch_max: 64,
    in_flight_max: 2,
    waiting_max: 10_000,
};
/// The same for pages of logs; each is read once for all who wait for it.
pub const SYNC_PAGES_TOGETHER: TogetherLimits = TogetherLimits {
    batch_max: 64,
    in_flight_max: 4,
    waiting_max: 50_000,
};
/// Epochs of a store's history that are kept, one for each start of a node; 16 KiB. Beyond it the
/// oldest are forgotten: clients that were last here in those begin anew.
pub const EPOCHS_KEPT_MAX: usize = 1_024;
/// How often a node looks whether the store still holds the history in which the node began: one
/// small read.
pub const EPOCH_POLL: Duration = Duration::from_secs(10);
/// Reads of the store's epochs for clients that bring one this node does not know. One read serves
/// all who wait; more of them: `unavailable`.
pub const LINEAGE_TOGETHER: TogetherLimits = TogetherLimits {
    batch_max: 1,
    in_flight_max: 1,
    waiting_max: 10_000,
};
/// Between two warnings that logs end before messages that were handed out.
pub const REWOUND_WARNING_PAUSE: Duration = Duration::from_secs(60);
/// Readers listed with a message. Further readers are not named; `status` is still right.
pub const READ_BY_MAX: usize = 100;
/// Own or deleted messages counted in one unread figure. Beyond it the figure is an upper bound.
pub const UNREAD_SCAN_MAX: usize = 10_000;

/// Messages of one write to the store. More wait for the next.
pub const COMMIT_BATCH_MAX: usize = 256;
/// Writes in flight at once. One conversation is in one of them only.
pub const COMMITS_IN_FLIGHT_MAX: usize = 4;
/// Messages that wait for a write. More: `unavailable`, and counted as rejected.
pub const COMMIT_QUEUE_MAX: usize = 20_000;
/// Writes in flight at once of conversations that other nodes write too, each by itself.
pub const COMMITS_ALONE_IN_FLIGHT_MAX: usize = 16;
/// For how long a conversation has writes of its own after another node was met there.
pub const CROWDED_SPAN: Duration = Duration::from_secs(1);
/// Conversations of which is remembered that another node was met there. Beyond it the oldest are
/// forgotten: they share a write with others, and meet the other node again.
pub const RIVALS_MAX: usize = 16_384;
/// From acceptance to the answer. Then: `unavailable`, the outcome unknown; a resend with the same
/// `clientMsgId` finds out.
pub const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);
/// One read from the store. Then: `unavailable`.
pub const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of the heads and members of conversations kept in memory, about. Beyond it those unused
/// for longest go and are read again. Room for 150,000 small conversations, or 500 of the largest.
pub const HEADS_CACHED_BYTES_MAX: usize = 64 << 20;
/// Messages kept so that a resend with the same `clientMsgId` soon after costs no read. Beyond it
/// the oldest go, and the store answers. With the messages some 10 MiB. Seven eighths of a power of two,
/// as below: to that hash tables are filled before they double.
pub const RESENDS_CACHED_MAX: usize = 14_336;
/// Messages whose place is kept so that an answer to one of them costs no read. As above; 2.6 MiB, where
/// a few more would make it twice as much.
pub const PLACES_CACHED_MAX: usize = 57_344;
/// The longest wait before a write that lost against another node is tried again, for as long as
/// somebody waits for it. The first retry comes at once, then the wait doubles from a millisecond,
/// less a random part.
pub const COMMIT_BACKOFF_MAX: Duration = Duration::from_millis(64);
/// How old a request may be that is tried again although the store did not answer: the length of
/// a failover. Older: `unavailable`. With one more try it still ends within [`COMMIT_TIMEOUT`].
pub const STORE_RETRY_SPAN: Duration = Duration::from_secs(5);
/// The longest wait before such a try. The wait grows as above.
pub const STORE_BACKOFF_MAX: Duration = Duration::from_millis(500);

/// Writes of unknown outcome that are watched, of each of the four kinds: conversations with an append,
/// new conversations, messages with an edit or a deletion, cursors. About 8 MiB in all. More are not
/// watched, and counted; the gateways' own comparisons find in the store what landed there.
pub const DOUBTS_MAX: usize = 20_000;
/// Changes of members or title that are watched in one conversation. More are not, as above.
pub const CHANGES_IN_DOUBT_MAX: usize = 16;
/// Such conversations or messages in one read.
pub const DOUBTS_READ_MAX: usize = 1_000;
/// For how long such a write is watched, once the store answers. Longer than any store takes
/// to give up a write.
pub const DOUBT_SPAN: Duration = Duration::from_secs(30);
/// The shortest and the longest wait between two looks at such writes; it doubles. What landed in a
/// store that was away is announced within the longest of its return.
pub const DOUBT_INTERVAL: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_secs(1));
/// Messages looked through for the one that added a member who is added again, back from where that
/// member has read to. Beyond it nothing is announced again.
pub const ADDITION_LOOK_BACK: usize = 50;

/// Writes of cursors in flight at once, each with conversations of its own.
pub const CURSOR_LANES: usize = 4;
/// Cursors of one write. More wait for the next.
pub const CURSOR_BATCH_MAX: usize = 512;
/// Cursors that wait in one lane. More: `unavailable`; a cursor only rises, so the client's next one
/// makes up for it.
pub const CURSOR_QUEUE_MAX: usize = 10_000;

/// Groups of messages of which one is edited or deleted at a time, so that changes of one message
/// are made and announced in the order in which they came. Others wait, at most
/// [`COMMIT_TIMEOUT`].
pub const EDIT_LANES: usize = 256;
/// Edits, deletions and new conversations under way at once. More: `unavailable`.
pub const TASKS_MAX: usize = 10_000;

/// Characters of a file's name; no file is stored under it. Longer: `invalid`.
pub const FILE_NAME_CHARS_MAX: usize = 255;
/// Bytes of a file's content type. Longer: `invalid`.
pub const CONTENT_TYPE_BYTES_MAX: usize = 127;
/// Messages that show one file, or may. More: `invalid`; it can be uploaded again.
pub const FILE_CLAIMS_MAX: usize = 50;
/// For how long the link to upload a file is good, at most. Then: 403, and it is announced anew.
pub const UPLOAD_LINK_SPAN: Duration = Duration::from_secs(3_600);
/// One question to the file storage. Then: `unavailable`.
pub const FILE_STORAGE_TIMEOUT: Duration = Duration::from_secs(5);
/// From a claim of files to the begin of the write that shows them. Later: `unavailable`.
pub const FILE_CLAIM_USE_SPAN: Duration = Duration::from_secs(15);
/// For how long a claim protects a file although its message is not in the log. Longer than a
/// write can take from the claim on, late landing and clocks that differ included.
pub const FILE_CLAIM_SPAN: Duration = Duration::from_secs(300);
/// Files looked at by one round of the sweep. More wait for the next, which follows at once.
pub const FILE_SWEEP_BATCH: usize = 100;
/// When a file whose bytes could not be deleted is tried again.
pub const FILE_SWEEP_RETRY: Duration = Duration::from_secs(300);

/// Between two comparisons of this machine's date with the store's.
pub const CLOCK_COMPARE_INTERVAL: Duration = Duration::from_secs(60);
/// Between two comparisons at least: after one that failed, and when the clocks of the machine move
/// apart again and again.
pub const CLOCK_COMPARE_PAUSE: Duration = Duration::from_secs(1);
/// From the question for the store's time to the answer. One that takes longer tells too little and is
/// thrown away; the time is off by half of it at most.
pub const CLOCK_COMPARE_TIMEOUT: Duration = Duration::from_secs(4);
/// A date that is off by more is warned of.
pub const CLOCK_OFFSET_WARN: Duration = Duration::from_secs(5);
/// A node whose date is off by more is not ready and writes nothing that bears a time: `unavailable`.
/// Also what a time in the store may be ahead of the store's before it is taken for a mistake, and the
/// next message has its own time again.
pub const CLOCK_OFFSET_MAX: Duration = Duration::from_secs(60);
/// By how much a machine's date and its monotonic clock may move apart between two comparisons. Beyond
/// it the time is unknown until they are compared again: `unavailable`.
pub const CLOCK_JUMP_MAX: Duration = Duration::from_secs(5);
/// For how long nothing is deleted on account of its age after the store's time jumped ahead by more
/// than [`CLOCK_OFFSET_MAX`]. Tokens and files live so much longer then.
pub const CLOCK_SWEEP_HOLD: Duration = Duration::from_secs(3_600);

/// Spans of `seq` of somebody who was away from a conversation in between that are read at once.
pub const SPANS_READ_MAX: usize = 8;

const _: () = assert!(PAGE_DEFAULT <= PAGE_MAX && PAGE_MAX <= SYNC_MESSAGES_MAX);
const _: () = assert!(COMMIT_BATCH_MAX * COMMITS_IN_FLIGHT_MAX <= COMMIT_QUEUE_MAX);
const _: () = assert!(
    FILE_CLAIM_SPAN.as_millis()
        > FILE_CLAIM_USE_SPAN.as_millis() + COMMIT_TIMEOUT.as_millis() + 120_000
);
const _: () = assert!(CLOCK_COMPARE_TIMEOUT.as_millis() < CLOCK_OFFSET_WARN.as_millis());
const _: () = assert!(COMMIT_TIMEOUT.as_millis() < CLOCK_OFFSET_MAX.as_millis());
const _: () = assert!(DOUBT_SPAN.as_millis() > 2 * COMMIT_TIMEOUT.as_millis());
const _: () = assert!(2 * STORE_RETRY_SPAN.as_millis() <= COMMIT_TIMEOUT.as_millis());

/// New conversations, and messages that add somebody, in one look for memberships that a gateway has
/// not heard of. Of more the newest are not seen, and their people learn of it at the next connect.
pub const ADDITIONS_MAX: usize = 10_000;
/// Conversations read at once in such a look.
pub const ADDITIONS_READ_MAX: usize = 500;
