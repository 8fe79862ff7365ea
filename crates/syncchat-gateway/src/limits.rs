//! Every bound of the gateway, with its unit, its reason and what happens at it.

use std::time::Duration;

/// From CONNECT without a token to `authenticate`. Then: disconnected.
pub(crate) const AUTHENTICATE_WAIT: Duration = Duration::from_secs(10);
/// `token_expiring` comes so long before the end, or at once if less is left; on a socket whose token was renewed in
/// the last third of the new one's life, if that is later.
pub(crate) const TOKEN_WARNING: Duration = Duration::from_secs(60);
/// How long a socket with a good token may wait for a store that is away. Then its connection is
/// closed, and the client comes back later, here or elsewhere.
pub(crate) const ENTRANCE_WAIT: Duration = Duration::from_secs(30);
/// Between two tries to let such a socket in.
pub(crate) const ENTRANCE_RETRY: Duration = Duration::from_millis(500);
/// `reconnectInMs` when a store that is away is the cause.
pub(crate) const RETURN_AFTER_FAILURE: Duration = Duration::from_secs(2);

/// `reconnectInMs` for who took nothing for the slow timeout.
pub(crate) const RETURN_AFTER_SLOWNESS: Duration = Duration::from_secs(1);

/// Conversations whose place an offset tells by itself, when they had messages a moment ago. Beyond
/// it those with the oldest go; messages of theirs that are still on their way then make a recovery
/// impossible.
pub(crate) const RECENT_ROOMS_MAX: usize = 16;
/// How long a conversation has to have been quiet for the watermark of an offset to speak for it:
/// longer than a message takes from its time to its receivers, clocks that differ included.
pub(crate) const RECENT_QUIET: Duration = Duration::from_secs(10);
/// Messages that a recovery sends at most. Who missed more is told that it was not recovered, and
/// asks for what it wants to see.
pub(crate) const RECOVERED_MESSAGES_MAX: u64 = 10_000;
/// Conversations a person may have come to while they were away, for a recovery.
pub(crate) const NEW_ROOMS_MAX: usize = 32;
/// How long a connection that may be recovered waits for a store that is away. Then it is begun anew.
pub(crate) const RECOVERY_WAIT: Duration = Duration::from_secs(10);
/// Messages read at once to find when they were written.
pub(crate) const PAST_PAGE: usize = 100;
/// Conversations of which such times are remembered. Beyond it all are forgotten, to be read again;
/// `syncchat_recovery_times_forgotten_total` counts that.
pub(crate) const PAST_ROOMS_MAX: usize = 4_096;
/// Such times of all conversations, 8 MiB, with the same consequence.
pub(crate) const PAST_TIMES_MAX: usize = 1 << 20;
/// Messages of one conversation, from one time to the next that times are forgotten which nobody had
/// use for in between.
pub(crate) const PAST_TURN: u64 = 512;

/// Shards at most, however many processors there are: each knows every socket.
pub(crate) const SHARDS_MAX: usize = 16;
/// Events of the fleet that wait for one shard. Beyond it they are dropped and counted, and the
/// shard compares all heads: messages are found in the store, what has no `seq` is lost.
pub(crate) const EVENTS_WAITING_MAX: usize = 20_000;
/// Deliveries of a shard before other tasks, those that write to sockets among them, get a turn.
pub(crate) const DELIVERIES_PER_TURN: usize = 1_000;
/// Commands of a shard before the same.
pub(crate) const COMMANDS_PER_TURN: usize = 256;
/// Conversations in one read of missing messages, or of missing changes.
pub(crate) const FETCH_ROOMS: usize = 16;
/// Such reads of one shard at once. More rooms wait, each once.
pub(crate) const FETCHES_AT_ONCE: usize = 4;
/// The same for reads of missing changes, besides those.
pub(crate) const CHANGE_FETCHES_AT_ONCE: usize = 2;
/// Events other than messages that a shard keeps for a socket that is behind, the last of each kind.
/// Beyond it the newest are lost, and counted.
pub(crate) const NOTICES_KEPT_MAX: usize = 100;
/// Changed messages that a shard keeps for a person who was added to a conversation, until the store has said whether
/// they may see them. Beyond it the oldest are lost, and counted.
pub(crate) const CHANGES_AWAITING_MAX: usize = 256;
/// People of whom the store is asked again what they may see, with each comparison of heads that succeeds.
pub(crate) const RIGHTS_ASKED_AGAIN_MAX: usize = 16;
/// Changed messages that a shard remembers, so that an older version that is still on its way down
/// does not get through. Beyond it the oldest are forgotten, and what was asked for before so many
/// changes is read again.
pub(crate) const CHANGES_KEPT_MAX: usize = 1_024;
/// How often all heads are compared while other nodes cannot be heard: with the time a comparison
/// and a fetch take, messages still arrive within the contract's 2 s.
pub(crate) const DEAF_COMPARE_INTERVAL: Duration = Duration::from_secs(1);

/// Between two looks for memberships that this node was not told of, at least.
pub(crate) const ADDITIONS_PAUSE: Duration = Duration::from_millis(250);
/// After a look, when one looks once more: a person who was just entering then is there now.
pub(crate) const ADDITIONS_AGAIN: Duration = Duration::from_secs(1);
/// How far behind the last look one looks: as long as a commit may take from its id to the store,
/// and what two nodes may differ in what they take for the store's time.
pub(crate) const ADDITIONS_SPAN: Duration = Duration::from_secs(20);

/// Between two comparisons of the sockets' log-ins with the store at rest: with the time that one takes,
/// a socket whose revocation was not heard is closed within 30 s. Each costs a read for each thousand
/// log-ins that are connected here.
pub(crate) const FAMILIES_INTERVAL: Duration = Duration::from_secs(25);
/// After such a comparison, at least, before the next one in doubt.
pub(crate) const FAMILIES_PAUSE: Duration = Duration::from_millis(250);
/// After one that failed.
pub(crate) const FAMILIES_RETRY: Duration = Duration::from_secs(1);
/// How often memberships are compared at rest, as a part of the time in which all heads are compared
/// once (30 s): a membership whose announcement was lost is known within that time.
pub(crate) const MEMBERSHIP_REVIEW_SHARE: f64 = 0.75;
/// How far behind the last look one looks at rest: as long as a store may take to end a write that
/// nobody waits for any more, its node included.
pub(crate) const MEMBERSHIP_REVIEW_SPAN: Duration = Duration::from_secs(60);

/// Additions of late that a shard remembers, to tell each person once. Beyond it the oldest are
/// forgotten.
pub(crate) const ADDITIONS_KEPT_MAX: usize = 4_096;

/// Typing ends by itself after so long without a word of it.
pub(crate) const TYPING_SPAN: Duration = Duration::from_secs(6);
/// A client that goes on typing is passed on again after so long, for those who came meanwhile or
/// lost it; not more often.
pub(crate) const TYPING_REPEAT: Duration = Duration::from_secs(3);
/// People typing on this node at once. Beyond it typing is not passed on, and counted.
pub(crate) const TYPING_MAX: usize = 50_000;

/// Epochs of the store under which a client's offset is looked for, the newest first; each costs half a
/// microsecond, and mostly the first is right. A client of an older one begins anew.
pub(crate) const EPOCHS_TRIED_MAX: usize = 256;

/// Sockets with a token that are looked after at once. Others wait, in the order in which they came, for
/// [`ARRIVAL_WAIT`]; then they are there without being anybody's yet, and are let in later. Their
/// number is bounded by the engine's sessions (`--max-connections`).
pub(crate) const ARRIVALS_AT_ONCE_MAX: usize = 256;
/// How long a socket waits for its turn. As long as a client that comes back waits for the store.
pub(crate) const ARRIVAL_WAIT: Duration = Duration::from_secs(10);
/// People of whom is read at once who they are and where they are members.
pub(crate) const ARRIVALS_BATCH_MAX: usize = 64;
/// Such reads under way at once.
pub(crate) const ARRIVALS_READS_MAX: usize = 2;

/// From a person's last socket to `offline`: a reconnect in between is not seen by anybody.
pub(crate) const PRESENCE_GRACE: Duration = Duration::from_secs(2);
/// People told of a change of presence. Others see it when they ask.
pub(crate) const PRESENCE_WATCHERS_MAX: usize = 500;
/// From telling of a crowd that came and went to the next time. Those of one round share what is asked
/// of the store, and what is told to one socket shares its write.
pub(crate) const PRESENCE_ROUND: Duration = Duration::from_millis(500);
/// People in a round after whom the next need not wait.
pub(crate) const PRESENCE_FEW: usize = 8;
/// People looked at together. More are looked at right after.
pub(crate) const PRESENCE_LOOKS_MAX: usize = 1_000;
/// People of whom the fleet is told at once.
pub(crate) const PRESENCE_ASKED_AT_ONCE: usize = 64;
/// People who are noted, and whose contacts are read, at once: the more, the more rooms they share. Some
/// 6 MiB of contacts at most.
pub(crate) const PRESENCE_BATCH_MAX: usize = 1_000;
/// People of whom others are still to be told. Beyond it nobody more is looked at; and if so many more
/// wait for that, those of a round are not told to others, only noted.
pub(crate) const PRESENCE_WAITING_MAX: usize = 4_000;
/// What is gathered before it is told, each change once for everybody who watches: about 4 MiB. Beyond
/// it, it is told, and the rest of the round after it.
pub(crate) const PRESENCE_NEWS_MAX: usize = 150_000;
/// Contacts told before others may run.
pub(crate) const PRESENCE_TOLD_PER_TURN: usize = 1_000;
/// People of whom is remembered when another one here was last told of their presence.
pub(crate) const PRESENCE_TIMES_MAX: usize = 50_000;
/// People whose presence is kept in the form in which it is sent, as it is said to many, one after the
/// other; about 1 MiB. Beyond it all are forgotten, and encoded again.
pub(crate) const PRESENCE_SAID_MAX: usize = 4_096;
/// How often the fleet is asked for people whose node died.
pub(crate) const PRESENCE_DEPARTED_INTERVAL: Duration = Duration::from_secs(1);

/// Parts of the table of recent messages, each behind a lock of its own.
pub(crate) const TRACE_PARTS: usize = 1_024;
/// Messages of one part, so 8,192 in all, about 0.8 MiB. Beyond it the part's oldest is forgotten:
/// `syncchat trace` then knows only what the store does.
pub(crate) const TRACES_PER_PART_MAX: usize = 8;

/// How often a drain closes some sockets.
pub(crate) const DRAIN_STEP: Duration = Duration::from_millis(100);
/// `reconnectInMs` of a drain is spread up to here, so that clients do not come back in step.
pub(crate) const DRAIN_RETURN_MAX: Duration = Duration::from_secs(2);
/// `Retry-After` for handshakes while draining.
pub(crate) const DRAIN_RETRY_AFTER: Duration = Duration::from_secs(1);
