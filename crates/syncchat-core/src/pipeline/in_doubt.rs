//! Writes whose outcome is unknown: a call that timed out, failed over or lost its answer may have
//! happened, or may still. Each is watched until that is known, and then announced with everything
//! that an ordinary write announces.
//!
//! | kind | how it is found out | what is announced |
//! | --- | --- | --- |
//! | append | the head of the log has grown; its changes of members and title are there, by their ids | `Head`; `Joined`, `Parted`, `Updated`, in the order of the log |
//! | creation | the conversation is there, by its id | `Joined`, to everybody in it |
//! | edit, deletion | the message is another than the one that was read before | `Changed`, as it is now |
//! | cursor | it is raised again, which changes nothing where it was raised before | `Cursor` |
//!
//! A write may land late, so an entry is kept for [`DOUBT_SPAN`] after the last attempt, unless it
//! is settled before. Entries are bounded for each kind; what finds no room is counted, and the
//! gateways' own comparisons find it in the store: heads, changes and memberships at rest every 30
//! seconds.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::announce;
use super::recent::Recent;
use crate::command::CursorKind;
use crate::deadline::{read, write};
use crate::error::Result;
use crate::limits::{
    CHANGES_IN_DOUBT_MAX, CURSOR_BATCH_MAX, DOUBT_INTERVAL, DOUBT_SPAN, DOUBTS_MAX, DOUBTS_READ_MAX,
};
use crate::metrics;
use crate::model::{ConversationId, Message, MessageId, Seq, UserId};
use crate::ports::fleet::{Fleet, FleetEvent};
use crate::ports::store::{CursorAdvance, Store};

/// A write of unknown outcome.
#[derive(Debug, Clone)]
pub(crate) enum InDoubt {
    /// Something beyond `known` may land in this log.
    Append {
        conversation: ConversationId,
        /// The newest `seq` the fleet was told of.
        known: Seq,
        /// The system messages among what may land.
        changes: Vec<MessageId>,
    },
    /// This conversation may have been made, by this person.
    Creation {
        conversation: ConversationId,
        by: UserId,
    },
    /// This message may have been edited or deleted since it had this fingerprint.
    Message {
        message: MessageId,
        fingerprint: Fingerprint,
    },
    /// This cursor may have risen.
    Cursor(CursorAdvance),
}

/// What tells one state of a message from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    pub(crate) fn of(message: &Message) -> Fingerprint {
        let Message {
            content,
            edited,
            deleted,
            updated_at,
            rev,
            ..
        } = message;
        let state = (rev, content, edited, deleted, updated_at.millis());
        Fingerprint(FixedState::default().hash_one(state))
    }
}

/// The writes of this node that are in doubt.
pub(crate) struct InDoubtWrites {
    store: Arc<dyn Store>,
    fleet: Arc<dyn Fleet>,
    recent: Arc<Recent>,
    state: Mutex<State>,
    /// A fault planted by a test: nothing is looked for.
    #[cfg(test)]
    pub(crate) planted_blindness: std::sync::atomic::AtomicBool,
}

struct State {
    appends: Watched<ConversationId, Append>,
    creations: Watched<ConversationId, UserId>,
    messages: Watched<MessageId, Fingerprint>,
    cursors: Watched<(ConversationId, UserId, CursorKind), Seq>,
    /// Whether the task that looks is running.
    looking: bool,
    /// Before the next look but one.
    wait: Duration,
}

#[derive(Debug, Clone)]
struct Append {
    known: Seq,
    changes: Vec<MessageId>,
}

/// The entries of one kind.
struct Watched<K, V> {
    kind: &'static str,
    entries: HashMap<K, Entry<V>>,
}

struct Entry<V> {
    value: V,
    /// When the outcome of the last attempt was lost.
    since: Instant,
}

impl<K: Copy + Eq + Hash, V> Watched<K, V> {
    fn new(kind: &'static str) -> Watched<K, V> {
        Watched {
            kind,
            entries: HashMap::new(),
        }
    }

    /// Adds an entry, or merges it into the one that is there. Beyond [`DOUBTS_MAX`] it is dropped.
    fn add(&mut self, key: K, value: V, merge: impl FnOnce(&mut V, V)) {
        let since = Instant::now();
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.since = since;
            merge(&mut entry.value, value);
        } else if self.entries.len() >= DOUBTS_MAX {
            metrics::doubt_dropped(self.kind);
        } else {
            self.entries.insert(key, Entry { value, since });
        }
    }

    fn keys(&self) -> Vec<K> {
        self.entries.keys().copied().collect()
    }

    /// Lets go of those among these that had been watched for long enough when a look began.
    fn expire(&mut self, keys: &[K], begun: Instant) {
        for key in keys {
            let entry = self.entries.get(key);
            if entry.is_some_and(|entry| entry.since + DOUBT_SPAN <= begun) {
                self.entries.remove(key);
            }
        }
    }
}

/// A write that is under way. Unless it is settled it is watched once this is dropped: whether
/// the call failed, was given up, or a panic came between the write and its announcement.
#[must_use]
pub(crate) struct UnderWay {
    writes: Arc<InDoubtWrites>,
    write: Option<InDoubt>,
}

impl UnderWay {
    /// The outcome is known, and announced if there is something to announce.
    pub(crate) fn settle(mut self) {
        self.write = None;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(write) = self.write.take() {
            self.writes.watch(write);
        }
    }
}

impl InDoubtWrites {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        fleet: Arc<dyn Fleet>,
        recent: Arc<Recent>,
    ) -> Arc<InDoubtWrites> {
        Arc::new(InDoubtWrites {
            store,
            fleet,
            recent,
            state: Mutex::new(State {
                appends: Watched::new("append"),
                creations: Watched::new("creation"),
                messages: Watched::new("message"),
                cursors: Watched::new("cursor"),
                looking: false,
                wait: DOUBT_INTERVAL.0,
            }),
            #[cfg(test)]
            planted_blindness: false.into(),
        })
    }

    /// A write begins.
    pub(crate) fn begin(self: &Arc<Self>, write: InDoubt) -> UnderWay {
        UnderWay {
            writes: Arc::clone(self),
            write: Some(write),
        }
    }

    /// Watches a write from now on.
    pub(crate) fn watch(self: &Arc<Self>, write: InDoubt) {
        {
            let mut state = self.state.lock();
            state.add(write);
            state.wait = DOUBT_INTERVAL.0;
        }
        self.start_looking();
    }

    /// Starts the task that looks, unless it is running or has nothing to do.
    fn start_looking(self: &Arc<Self>) {
        let mut state = self.state.lock();
        // Without a runtime the process is ending, and other nodes find what landed.
        if !state.looking
            && !state.is_empty()
            && let Ok(runtime) = Handle::try_current()
        {
            state.looking = true;
            runtime.spawn(Looking(Arc::clone(self)).look_while_in_doubt());
        }
    }

    /// Looks once more if anything is in doubt: for a clean end. What is still unknown then is
    /// found by the comparisons of the other nodes.
    pub(crate) async fn drain(&self) {
        if !self.state.lock().is_empty() {
            self.look().await;
        }
    }

    /// Asks the store once for everything that is in doubt. What it does not answer stays so.
    async fn look(&self) {
        #[cfg(test)]
        if self
            .planted_blindness
            .load(std::sync::atomic::Ordering::Relaxed)
        {
            return;
        }
        let begun = Instant::now();
        let looks = tokio::join!(
            self.look_for_appends(begun),
            self.look_for_creations(begun),
            self.look_for_messages(begun),
            self.raise_cursors(),
        );
        let (appends, creations, messages, cursors) = looks;
        for result in [appends, creations, messages, cursors] {
            if let Err(error) = result {
                tracing::debug!(%error, "writes stay in doubt");
            }
        }
    }

    /// In this order: a change that the head tells of is found and announced before the head is.
    async fn look_for_appends(&self, begun: Instant) -> Result<()> {
        let ids = self.state.lock().appends.keys();
        for ids in ids.chunks(DOUBTS_READ_MAX) {
            let heads = read(self.store.heads(ids)).await?;
            self.look_for_changes(ids).await?;
            for (conversation, head) in heads {
                self.compare(conversation, head);
            }
            self.state.lock().appends.expire(ids, begun);
        }
        Ok(())
    }

    async fn look_for_changes(&self, conversations: &[ConversationId]) -> Result<()> {
        let wanted: Vec<MessageId> = {
            let state = self.state.lock();
            let appends = conversations
                .iter()
                .filter_map(|id| state.appends.entries.get(id));
            let changes = appends.flat_map(|append| &append.value.changes);
            changes.copied().collect()
        };
        let mut found: BTreeMap<ConversationId, Vec<Arc<Message>>> = BTreeMap::new();
        for ids in wanted.chunks(DOUBTS_READ_MAX) {
            for message in read(self.store.messages(ids)).await? {
                let of = found.entry(message.conversation).or_default();
                of.push(Arc::new(message));
            }
        }
        let ids: Vec<ConversationId> = found.keys().copied().collect();
        for ids in ids.chunks(DOUBTS_READ_MAX) {
            for conversation in read(self.store.conversations(ids)).await? {
                let Some(mut messages) = found.remove(&conversation.id) else {
                    continue;
                };
                messages.sort_unstable_by_key(|message| message.seq);
                metrics::in_doubt_found("append", messages.len());
                self.announced(conversation.id, &messages);
                announce::found(&*self.fleet, &Arc::new(conversation), &messages);
            }
        }
        Ok(())
    }

    /// These messages are announced, in rising `seq`: their ids are in doubt no more, nor is the log up
    /// to them.
    pub(crate) fn announced(&self, conversation: ConversationId, messages: &[Arc<Message>]) {
        let mut state = self.state.lock();
        if let Some(Entry { value, .. }) = state.appends.entries.get_mut(&conversation) {
            let is_found = |id: &MessageId| messages.iter().any(|message| message.id == *id);
            value.changes.retain(|id| !is_found(id));
            let last = messages.last().map_or(0, |message| message.seq);
            value.known = value.known.max(last);
        }
    }

    fn compare(&self, conversation: ConversationId, head: Seq) {
        {
            let mut state = self.state.lock();
            let Some(append) = state.appends.entries.get_mut(&conversation) else {
                return;
            };
            if head <= append.value.known {
                return;
            }
            append.value.known = head;
        }
        self.fleet.publish(FleetEvent::Head { conversation, head });
    }

    async fn look_for_creations(&self, begun: Instant) -> Result<()> {
        let ids = self.state.lock().creations.keys();
        for ids in ids.chunks(DOUBTS_READ_MAX) {
            for conversation in read(self.store.conversations(ids)).await? {
                let made = self.state.lock().creations.entries.remove(&conversation.id);
                if let Some(Entry { value: by, .. }) = made {
                    metrics::in_doubt_found("creation", 1);
                    announce::created(&*self.fleet, &Arc::new(conversation), by);
                }
            }
            self.state.lock().creations.expire(ids, begun);
        }
        Ok(())
    }

    /// A message that was found changed stays watched: if somebody else changed it, the write in
    /// doubt may still land.
    async fn look_for_messages(&self, begun: Instant) -> Result<()> {
        let ids = self.state.lock().messages.keys();
        for ids in ids.chunks(DOUBTS_READ_MAX) {
            for message in read(self.store.messages(ids)).await? {
                if self.is_changed(&message) {
                    metrics::in_doubt_found("message", 1);
                    let message = Arc::new(message);
                    self.recent.forget(&message);
                    announce::changed(&*self.fleet, &message);
                }
            }
            self.state.lock().messages.expire(ids, begun);
        }
        Ok(())
    }

    fn is_changed(&self, message: &Message) -> bool {
        let mut state = self.state.lock();
        let Some(entry) = state.messages.entries.get_mut(&message.id) else {
            return false;
        };
        let now = Fingerprint::of(message);
        std::mem::replace(&mut entry.value, now) != now
    }

    /// An answer settles it, whatever becomes of the attempts before: a cursor only rises.
    async fn raise_cursors(&self) -> Result<()> {
        let keys = self.state.lock().cursors.keys();
        for keys in keys.chunks(CURSOR_BATCH_MAX) {
            let advances: Vec<CursorAdvance> = {
                let state = self.state.lock();
                let advance = |&(conversation, user, kind): &(_, _, _)| {
                    let key = (conversation, user, kind);
                    let entry = state.cursors.entries.get(&key)?;
                    Some(CursorAdvance {
                        conversation,
                        user,
                        kind,
                        seq: entry.value,
                    })
                };
                keys.iter().filter_map(advance).collect()
            };
            let after = write(self.store.advance_cursors(&advances)).await?;
            for (advance, after) in advances.iter().zip(after) {
                self.state.lock().forget_cursor(advance);
                if let Some((cursors, _)) = after {
                    metrics::in_doubt_found("cursor", 1);
                    announce::cursor(&*self.fleet, advance, cursors);
                }
            }
        }
        Ok(())
    }
}

/// The task that looks, while there is one.
struct Looking(Arc<InDoubtWrites>);

impl Looking {
    async fn look_while_in_doubt(self) {
        loop {
            let wait = {
                let mut state = self.0.state.lock();
                if state.is_empty() {
                    state.looking = false;
                    return;
                }
                let wait = state.wait;
                state.wait = (wait * 2).min(DOUBT_INTERVAL.1);
                wait
            };
            tokio::time::sleep(wait).await;
            self.0.look().await;
        }
    }
}

impl Drop for Looking {
    /// After a panic of a listener another task goes on.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.state.lock().looking = false;
            self.0.start_looking();
        }
    }
}

impl State {
    fn add(&mut self, write: InDoubt) {
        match write {
            InDoubt::Append {
                conversation,
                known,
                changes,
            } => {
                let append = Append {
                    known,
                    changes: Vec::new(),
                };
                self.appends.add(conversation, append, |_, _| {});
                if let Some(entry) = self.appends.entries.get_mut(&conversation) {
                    entry.value.add_changes(changes);
                }
            }
            InDoubt::Creation { conversation, by } => {
                self.creations.add(conversation, by, |_, _| {});
            }
            // The fingerprint that is there is of what was announced last, or before that.
            InDoubt::Message {
                message,
                fingerprint,
            } => self.messages.add(message, fingerprint, |_, _| {}),
            InDoubt::Cursor(advance) => {
                let furthest = |known: &mut Seq, seq: Seq| *known = seq.max(*known);
                self.cursors
                    .add(cursor_key(&advance), advance.seq, furthest);
            }
        }
    }

    /// Unless it is to rise further by now.
    fn forget_cursor(&mut self, raised: &CursorAdvance) {
        let key = cursor_key(raised);
        let entry = self.cursors.entries.get(&key);
        if entry.is_some_and(|entry| entry.value <= raised.seq) {
            self.cursors.entries.remove(&key);
        }
    }

    fn is_empty(&self) -> bool {
        self.appends.entries.is_empty()
            && self.creations.entries.is_empty()
            && self.messages.entries.is_empty()
            && self.cursors.entries.is_empty()
    }
}

impl Append {
    /// Beyond [`CHANGES_IN_DOUBT_MAX`] the newest are dropped.
    fn add_changes(&mut self, changes: Vec<MessageId>) {
        for id in changes {
            if self.changes.contains(&id) {
                continue;
            }
            if self.changes.len() >= CHANGES_IN_DOUBT_MAX {
                metrics::doubt_dropped("change");
                continue;
            }
            self.changes.push(id);
        }
    }
}

fn cursor_key(advance: &CursorAdvance) -> (ConversationId, UserId, CursorKind) {
    (advance.conversation, advance.user, advance.kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Faults, MemoryStore, RecordingFleet};

    #[tokio::test(start_paused = true)]
    async fn each_kind_is_bounded_and_what_is_watched_is_not_lost() {
        let (store, fleet) = (Arc::new(MemoryStore::new(0)), RecordingFleet::new());
        let down = Faults {
            down: true,
            ..Faults::NONE
        };
        store.set_faults(down);
        let watched: Arc<dyn Store> = Arc::clone(&store) as _;
        let writes = InDoubtWrites::new(watched, fleet, Arc::new(Recent::new()));
        let conversation = ConversationId::generate();
        for number in 0..DOUBTS_MAX as u64 + 10 {
            let mut user = [0; 12];
            user[..8].copy_from_slice(&number.to_be_bytes());
            writes.watch(InDoubt::Cursor(CursorAdvance {
                conversation,
                user: UserId::from_bytes(user),
                kind: CursorKind::Read,
                seq: 0,
            }));
        }
        let id = MessageId::generate();
        for _ in 0..2 {
            writes.watch(InDoubt::Append {
                conversation,
                known: 0,
                changes: vec![id],
            });
        }
        writes.watch(InDoubt::Append {
            conversation,
            known: 5,
            changes: (0..20).map(|_| MessageId::generate()).collect(),
        });
        {
            let state = writes.state.lock();
            assert_eq!(state.cursors.entries.len(), DOUBTS_MAX);
            let append = &state.appends.entries[&conversation].value;
            assert_eq!(append.changes.len(), CHANGES_IN_DOUBT_MAX);
            assert_eq!((append.known, append.changes[0]), (0, id));
        }
        // However long the store is away.
        tokio::time::sleep(10 * DOUBT_SPAN).await;
        assert_eq!(writes.state.lock().cursors.entries.len(), DOUBTS_MAX);
        store.set_faults(Faults::NONE);
        tokio::time::sleep(2 * DOUBT_SPAN).await;
        let state = writes.state.lock();
        assert!(state.is_empty() && !state.looking);
    }
}
