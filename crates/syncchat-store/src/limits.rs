//! Every bound of the stores, with its unit, its reason and what happens at it. What happens is
//! counted in `syncchat_store_errors_total{store,kind}`.

use std::time::Duration;

/// One read, or a small write. Then: `unavailable`.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// One append, the largest write. Longer than other calls, because a spurious end leaves the
/// sender in doubt; less than half of the core's own bound, so that it can try again.
pub(crate) const APPEND_TIMEOUT: Duration = Duration::from_millis(4_500);

/// Writes that wait for SQLite's writer. A further one waits for a place until its time is up.
pub(crate) const SQLITE_QUEUE_MAX: usize = 1_024;
/// Writes that share one transaction, hence one sync of the disk. The next ones wait for it.
pub(crate) const SQLITE_GROUP_MAX: usize = 64;
/// Connections that read, each used by one call at a time. Further calls wait for one.
pub(crate) const SQLITE_READERS_MAX: usize = 4;
/// How long SQLite waits for a lock that another process holds. Then: `unavailable`.
pub(crate) const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_millis(2_000);
/// Prepared statements kept by each connection. The longest unused goes.
pub(crate) const SQLITE_STATEMENTS_CACHED: usize = 64;
/// Pages in the log before they are copied into the file; 8 MiB. More would make the copying rarer
/// and each one longer.
pub(crate) const SQLITE_CHECKPOINT_PAGES: usize = 2_000;
/// Bytes that an emptied log keeps on the disk.
pub(crate) const SQLITE_LOG_BYTES_MAX: usize = 64 << 20;
/// Steps of SQLite's machine between two looks at the clock; about a millisecond.
pub(crate) const SQLITE_STEPS_PER_CLOCK: i32 = 50_000;

/// Notes of nodes that are read at once. Of more, some are not seen: their people count as they did
/// before.
pub(crate) const NODE_NOTES_READ_MAX: u32 = 1_024;
/// How long a node's note that it lives is kept at least. The next node that notes something forgets
/// older ones, so there are no more of them than nodes that died while they were cut off.
pub(crate) const NODE_NOTES_KEPT: Duration = Duration::from_secs(600);
/// How long a server of MongoDB is looked for, and a connection tried. Then: `unavailable`.
pub(crate) const MONGO_SELECTION_TIMEOUT: Duration = Duration::from_millis(2_000);
/// How long a call goes on that was under way when another member became primary. It may have been
/// waiting for it. Then: `unavailable`, the outcome unknown.
pub(crate) const MONGO_MOVED_GRACE: Duration = Duration::from_millis(250);
/// Connections to each server. Further calls wait for one.
pub(crate) const MONGO_CONNECTIONS_MAX: u32 = 64;
/// Connections made at the same moment. More at once help after a failover only.
pub(crate) const MONGO_CONNECTING_MAX: u32 = 8;
/// How often a transaction that others got in the way of is tried again. Then: `unavailable`.
pub(crate) const MONGO_ATTEMPTS_MAX: u32 = 10;
/// Tries to commit all appends together before each is tried alone.
pub(crate) const MONGO_TOGETHER_ATTEMPTS_MAX: u32 = 3;
/// Tries of each of them alone. Then [`syncchat_core::ports::store::Appended::Moved`].
pub(crate) const MONGO_ALONE_ATTEMPTS_MAX: u32 = 3;
/// Appends tried alone at the same time, of one call.
pub(crate) const MONGO_ALONE_MAX: usize = 4;
/// How long an append is tried that goes behind those of others. Then
/// [`syncchat_core::ports::store::Appended::Moved`].
pub(crate) const MONGO_CROWDED_SPAN: Duration = Duration::from_millis(1_500);
/// By how many messages a log may have grown for an append to go behind them. Beyond it:
/// [`syncchat_core::ports::store::Appended::Moved`].
pub(crate) const MONGO_BEHIND_MAX: u64 = 2_000;
/// The longest pause before such an append is tried again, for each time it was refused, up to eight;
/// about as long as a transaction keeps others out.
pub(crate) const MONGO_CROWD_PAUSE: Duration = Duration::from_millis(3);
/// Commits of one transaction whose outcome is unknown. Then: `unavailable`.
pub(crate) const MONGO_COMMIT_ATTEMPTS_MAX: u32 = 3;
/// The longest pause before a transaction is tried again; the real one is random below
/// this and below 4 ms doubled with each try.
pub(crate) const MONGO_PAUSE_MAX: Duration = Duration::from_millis(100);
/// How long a transaction may be idle before whoever runs into it ends it. A living gateway sends the
/// next command of one within milliseconds.
pub(crate) const MONGO_ORPHAN_IDLE: Duration = Duration::from_millis(1_000);
/// Between two looks for such transactions.
pub(crate) const MONGO_ORPHAN_INTERVAL: Duration = Duration::from_millis(250);
/// Queries joined into one round trip. More take further ones.
pub(crate) const MONGO_UNION_MAX: usize = 64;
/// Round trips in flight for one call.
pub(crate) const MONGO_UNIONS_IN_FLIGHT_MAX: usize = 8;
/// Own or deleted messages after a cursor, on average of the conversations asked for, that are brought here
/// to be counted. Of more the server counts each conversation by itself, which costs more.
pub(crate) const MONGO_UNREAD_FOUND_MAX: usize = 50;
/// Members who got a message, on average of the conversations asked for, who are brought here to find the
/// furthest. Of more the server finds those of each conversation by itself, which costs more.
pub(crate) const MONGO_AUDIENCE_FOUND_MAX: usize = 50;
/// Places of all those whose contacts are asked for at once, and people looked at there; some 5 MiB. Who is
/// beyond it is not found.
pub(crate) const MONGO_CONTACTS_PLACES_MAX: usize = 200_000;
pub(crate) const MONGO_CONTACTS_PEOPLE_MAX: usize = 500_000;
/// Conversations looked at to find a person's contacts, or read at once for those of many. People in others
/// only are not found.
pub(crate) const CONTACTS_CONVERSATIONS_MAX: usize = 1_000;
/// One step of a migration, such as building an index over all messages.
pub(crate) const MIGRATION_STEP_TIMEOUT: Duration = Duration::from_secs(6 * 3_600);
/// Documents of one write of a migration.
pub(crate) const MIGRATION_BATCH: usize = 500;
/// Conversations that a migration works on at the same time.
pub(crate) const MIGRATION_CONVERSATIONS_MAX: usize = 8;

/// Conversations, members or files looked at in one step of a deep check.
pub(crate) const DEEP_BATCH: usize = 500;
/// Rows of messages looked through in one step of a deep check of SQLite.
pub(crate) const SQLITE_DEEP_ROWS: u64 = 10_000;
/// Conversations looked at in one step of a deep check of MongoDB, with all their members.
pub(crate) const MONGO_DEEP_CONVERSATIONS: usize = 64;
/// Messages by which a head that is behind its log is raised in one transaction.
pub(crate) const MONGO_HEAL_MAX: usize = 1_000;

/// Notes about single documents that a migration gives back. More are logged only.
pub(crate) const MIGRATION_NOTES_MAX: usize = 50;

/// Members looked at to find contacts. People beyond it are not found.
pub(crate) const CONTACTS_SCAN_MAX: usize = 50_000;

const _: () = assert!(MONGO_SELECTION_TIMEOUT.as_millis() < CALL_TIMEOUT.as_millis());
const _: () = assert!(MONGO_CROWDED_SPAN.as_millis() < APPEND_TIMEOUT.as_millis());
const _: () = assert!(SQLITE_BUSY_TIMEOUT.as_millis() < CALL_TIMEOUT.as_millis());
const _: () =
    assert!(APPEND_TIMEOUT.as_millis() * 2 < syncchat_core::limits::COMMIT_TIMEOUT.as_millis());
