//! A whole store in memory. It checks what the core must keep (places follow one another, times do
//! not fall but behind one that was ahead, cursors stay within the log), and remembers where it did not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::faults::Faults;
use super::log::{Log, State};
use super::rng::Rng;
use crate::limits::EPOCHS_KEPT_MAX;
use crate::model::{
    Conversation, ConversationId, EpochId, Lineage, Membership, Message, MessageId, MessageKind,
    Rev, Seq, Timestamp, UserId,
};
use crate::ports::store::{
    Addition, Append, Appended, Audience, ConversationChange, ConversationCursor,
    ConversationStore, CreatedConversation, CursorAdvance, Cursors, DeepFinding, HistoryStore,
    LogRange, Mark, NamedMessage, NewConversation, NodeStore, Store, StoreError, StoreResult,
};

/// Logs, accounts and tokens in memory, with fault dials.
pub struct MemoryStore {
    pub(super) state: Arc<Mutex<State>>,
    faults: Mutex<Faults>,
    rng: Mutex<Rng>,
    calls: AtomicU64,
    /// What its clock shows, if not what the machine's does.
    time: Mutex<Option<Timestamp>>,
    before_log: Mutex<Option<Meanwhile>>,
}

/// What happens in the store while a caller is between two reads.
type Meanwhile = Box<dyn FnOnce(&MemoryStore) + Send>;

impl MemoryStore {
    /// Empty, without faults; they will follow from this seed.
    pub fn new(seed: u64) -> MemoryStore {
        MemoryStore {
            state: Arc::default(),
            faults: Mutex::new(Faults::NONE),
            rng: Mutex::new(Rng::new(seed)),
            calls: AtomicU64::new(0),
            time: Mutex::default(),
            before_log: Mutex::default(),
        }
    }

    /// Turns the dials.
    pub fn set_faults(&self, faults: Faults) {
        *self.faults.lock() = faults;
    }

    /// Sets its clock, which stands still from then on.
    pub fn set_time(&self, time: Timestamp) {
        *self.time.lock() = Some(time);
    }

    /// How many calls there were so far.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Which of its duties towards a store the core has broken so far.
    pub fn broken(&self) -> Vec<&'static str> {
        self.state.lock().broken.clone()
    }

    /// Does this just before the next read of a log, as another node would: whatever its caller read
    /// before it, it did not see this.
    pub fn before_next_log(&self, meanwhile: impl FnOnce(&MemoryStore) + Send + 'static) {
        *self.before_log.lock() = Some(Box::new(meanwhile));
    }

    /// Makes a backup. The answer restores it: everything written since is gone.
    pub fn backup(&self) -> impl FnOnce(&MemoryStore) + Send + use<> {
        let saved = self.state.lock().clone();
        move |store| *store.state.lock() = saved
    }

    /// The whole log, without a fault.
    pub fn log_of(&self, id: ConversationId) -> Vec<Message> {
        let state = self.state.lock();
        state
            .logs
            .get(&id)
            .map_or_else(Vec::new, |log| log.range(LogRange::After(0), usize::MAX))
    }

    /// All conversations, without a fault.
    pub fn all_conversations(&self) -> Vec<Conversation> {
        let state = self.state.lock();
        let logs = state.logs.values();
        logs.map(|log| log.conversation.clone()).collect()
    }

    /// The cursors of all who are in it now, without a fault.
    pub fn cursors_of(&self, id: ConversationId) -> Vec<Cursors> {
        let state = self.state.lock();
        state.logs.get(&id).map_or_else(Vec::new, Log::cursors)
    }

    /// Appends as another node would, without a fault; the messages' places are filled in.
    pub fn append_behind(
        &self,
        id: ConversationId,
        mut messages: Vec<Message>,
        change: Option<fn(UserId, Seq) -> ConversationChange>,
        whom: UserId,
    ) {
        let mut state = self.state.lock();
        let Some(log) = state.logs.get(&id) else {
            return;
        };
        let (mut seq, mut ordinal) = (log.conversation.last_seq, log.conversation.last_ordinal);
        let append = Append {
            conversation: id,
            expected_seq: seq,
            changes: change
                .map(|change| change(whom, seq + 1))
                .into_iter()
                .collect(),
            messages: {
                for message in &mut messages {
                    seq += 1;
                    ordinal += u64::from(message.kind != MessageKind::System);
                    (message.seq, message.ordinal) = (seq, ordinal);
                    message.created_at = message.created_at.max(log.conversation.updated_at);
                }
                messages.into_iter().map(Arc::new).collect()
            },
        };
        state.append(&append);
    }

    pub(super) async fn reading(&self) -> StoreResult<()> {
        let (faults, fails) = self.call(|f| f.fail_read, |f| f.hold_reads).await;
        if faults.down || fails {
            return Err(StoreError::Unavailable("a read failed".into()));
        }
        Ok(())
    }

    /// Does a write as the dials say.
    pub(super) async fn writing<T: Send + 'static>(
        &self,
        write: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> StoreResult<T> {
        let (faults, fails) = self.call(|f| f.fail_before_write, |f| f.hold_writes).await;
        if faults.down || fails {
            return Err(StoreError::Unavailable("a write failed".into()));
        }
        let (late, lost) = {
            let mut rng = self.rng.lock();
            let late = rng.chance(faults.land_late).then(|| rng.span(faults.late));
            (late, rng.chance(faults.lose_answer))
        };
        if let Some(late) = late {
            let state = Arc::clone(&self.state);
            tokio::spawn(async move {
                tokio::time::sleep(late).await;
                write(&mut state.lock());
            });
            return Err(StoreError::Unavailable("a write will land late".into()));
        }
        let answer = write(&mut self.state.lock());
        let pause = self.rng.lock().span(faults.delay);
        // Even the shortest sleep is a millisecond.
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        if lost {
            return Err(StoreError::Unavailable("an answer was lost".into()));
        }
        Ok(answer)
    }

    async fn call(
        &self,
        probability: fn(&Faults) -> f64,
        held: fn(&Faults) -> bool,
    ) -> (Faults, bool) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        while held(&self.faults.lock()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let faults = *self.faults.lock();
        let (fails, pause) = {
            let mut rng = self.rng.lock();
            (rng.chance(probability(&faults)), rng.span(faults.delay))
        };
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        (faults, fails)
    }

    /// Lets another node write first, if the dial says so.
    fn overtake(&self, append: &Append) {
        let (overtaken, by_change) = {
            let mut faults = self.faults.lock();
            let overtaken = faults.overtaken > 0;
            faults.overtaken = faults.overtaken.saturating_sub(1);
            (overtaken, faults.overtaken_by_change)
        };
        let member = self.state.lock().any_member(append.conversation);
        if overtaken && let Some(member) = member {
            let mut message = super::message(append.conversation, member, "faster");
            if by_change {
                message.kind = MessageKind::System;
            }
            self.append_behind(append.conversation, vec![message], None, member);
        }
    }
}

#[async_trait]
impl ConversationStore for MemoryStore {
    async fn append(&self, appends: Vec<Append>) -> StoreResult<Vec<Appended>> {
        let mut ids: Vec<_> = appends.iter().map(|append| append.conversation).collect();
        ids.sort_unstable();
        ids.dedup();
        let once = ids.len() == appends.len();
        self.state.lock().must(once, "a conversation occurs once");
        appends.iter().for_each(|append| self.overtake(append));
        self.writing(move |state| appends.iter().map(|append| state.append(append)).collect())
            .await
    }

    async fn append_behind(&self, append: Append) -> StoreResult<Appended> {
        self.overtake(&append);
        self.writing(move |state| state.append_behind(append.clone()))
            .await
    }

    async fn conversations(&self, ids: &[ConversationId]) -> StoreResult<Vec<Conversation>> {
        self.reading().await?;
        let state = self.state.lock();
        let logs = ids.iter().filter_map(|id| state.logs.get(id));
        Ok(logs.map(|log| log.conversation.clone()).collect())
    }

    async fn marks(&self, ids: &[ConversationId]) -> StoreResult<Vec<Mark>> {
        self.reading().await?;
        let state = self.state.lock();
        let logs = ids.iter().filter_map(|id| state.logs.get(id));
        Ok(logs.map(Log::mark).collect())
    }

    async fn changes(
        &self,
        after: &[(ConversationId, Rev)],
        limit: usize,
    ) -> StoreResult<Vec<Vec<Message>>> {
        self.reading().await?;
        let state = self.state.lock();
        let read = |(id, after): &(ConversationId, Rev)| {
            let log = state.logs.get(id);
            log.map_or_else(Vec::new, |log| log.changes(*after, limit))
        };
        Ok(after.iter().map(read).collect())
    }

    async fn messages_by_client_id(
        &self,
        keys: &[(ConversationId, UserId, String)],
    ) -> StoreResult<Vec<NamedMessage>> {
        self.reading().await?;
        let state = self.state.lock();
        let find = |(id, sender, name): &(ConversationId, UserId, String)| {
            let mut messages = state.logs.get(id)?.messages.iter();
            messages.find(|m| m.sender == *sender && m.client_msg_id.as_ref() == Some(name))
        };
        let found = keys.iter().filter_map(find);
        Ok(found.map(|message| state.named(message)).collect())
    }

    async fn message(&self, id: MessageId) -> StoreResult<Option<Message>> {
        self.reading().await?;
        Ok(self.state.lock().find(id).cloned())
    }

    async fn messages(&self, ids: &[MessageId]) -> StoreResult<Vec<Message>> {
        self.reading().await?;
        let state = self.state.lock();
        Ok(ids
            .iter()
            .filter_map(|id| state.find(*id))
            .cloned()
            .collect())
    }

    async fn log(
        &self,
        ranges: &[(ConversationId, LogRange)],
        limit: usize,
    ) -> StoreResult<Vec<Vec<Message>>> {
        self.reading().await?;
        let meanwhile = self.before_log.lock().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile(self);
        }
        let state = self.state.lock();
        let read = |(id, range): &(ConversationId, LogRange)| {
            let log = state.logs.get(id);
            log.map_or_else(Vec::new, |log| log.range(*range, limit))
        };
        Ok(ranges.iter().map(read).collect())
    }

    async fn edit_message(
        &self,
        id: MessageId,
        content: String,
        at: Timestamp,
    ) -> StoreResult<Option<Message>> {
        self.writing(move |state| {
            if state.find(id)?.deleted {
                return None;
            }
            state.change(id, |message| {
                message.content = content;
                message.edited = true;
                message.updated_at = at;
            })
        })
        .await
    }

    async fn delete_message(&self, id: MessageId, at: Timestamp) -> StoreResult<Option<Message>> {
        self.writing(move |state| match state.find(id) {
            Some(message) if message.deleted => Some(message.clone()),
            _ => state.change(id, |message| {
                message.content.clear();
                message.attachments.clear();
                message.updated_at = at;
                message.deleted = true;
            }),
        })
        .await
    }

    async fn create_conversation(&self, new: NewConversation) -> StoreResult<CreatedConversation> {
        self.writing(move |state| state.create(&new)).await
    }

    async fn conversations_of(
        &self,
        user: UserId,
        after: Option<ConversationCursor>,
        limit: usize,
    ) -> StoreResult<Vec<Conversation>> {
        self.reading().await?;
        let state = self.state.lock();
        let mut mine: Vec<Conversation> = state
            .logs_of(user)
            .map(|log| &log.conversation)
            .filter(|conversation| conversation.has_member(user))
            .filter(|c| after.is_none_or(|at| (c.updated_at, c.id) < (at.updated_at, at.id)))
            .cloned()
            .collect();
        mine.sort_by_key(|conversation| {
            std::cmp::Reverse((conversation.updated_at, conversation.id))
        });
        mine.truncate(limit);
        Ok(mine)
    }

    async fn memberships_of(&self, users: &[UserId]) -> StoreResult<Vec<Vec<Membership>>> {
        self.reading().await?;
        let state = self.state.lock();
        let of = |user: &UserId| {
            let places = state.logs_of(*user).filter_map(|log| log.membership(*user));
            places.filter(|place| place.spans.is_open()).collect()
        };
        Ok(users.iter().map(of).collect())
    }

    async fn additions_since(&self, since: Timestamp, limit: usize) -> StoreResult<Vec<Addition>> {
        self.reading().await?;
        Ok(self.state.lock().additions_since(since, limit))
    }

    async fn memberships(
        &self,
        user: UserId,
        ids: &[ConversationId],
    ) -> StoreResult<Vec<Membership>> {
        self.reading().await?;
        let state = self.state.lock();
        let place = |id| state.logs.get(id).and_then(|log| log.membership(user));
        Ok(ids.iter().filter_map(place).collect())
    }

    async fn unread(&self, places: &[Membership]) -> StoreResult<Vec<u64>> {
        self.reading().await?;
        let state = self.state.lock();
        let log = |place: &Membership| state.logs.get(&place.conversation);
        let unread = |place| log(place).map_or(0, |log| log.unread(place));
        Ok(places.iter().map(unread).collect())
    }

    async fn advance_cursors(
        &self,
        advances: &[CursorAdvance],
    ) -> StoreResult<Vec<Option<(Cursors, bool)>>> {
        let advances = advances.to_vec();
        self.writing(move |state| advances.iter().map(|a| state.advance(a)).collect())
            .await
    }

    async fn readers(
        &self,
        conversation: ConversationId,
        seq: Seq,
        limit: usize,
    ) -> StoreResult<Vec<Cursors>> {
        self.reading().await?;
        let state = self.state.lock();
        let log = state.logs.get(&conversation);
        Ok(log.map_or_else(Vec::new, |log| log.readers(seq, limit)))
    }

    async fn furthest_delivered(&self, conversation: ConversationId) -> StoreResult<Vec<Cursors>> {
        self.reading().await?;
        let state = self.state.lock();
        let log = state.logs.get(&conversation);
        Ok(log.map_or_else(Vec::new, Log::furthest_delivered))
    }

    async fn audiences(
        &self,
        of: &[(ConversationId, Seq)],
        limit: usize,
    ) -> StoreResult<Vec<Audience>> {
        self.reading().await?;
        let state = self.state.lock();
        let audience = |(id, seq): &(ConversationId, Seq)| {
            let log = state.logs.get(id);
            log.map_or_else(Audience::default, |log| Audience {
                readers: log.readers(*seq, limit),
                delivered: log.furthest_delivered(),
            })
        };
        Ok(of.iter().map(audience).collect())
    }

    async fn contacts(&self, users: &[UserId], limit: usize) -> StoreResult<Vec<Vec<UserId>>> {
        self.reading().await?;
        let state = self.state.lock();
        let of = |&user: &UserId| {
            let mine = state.logs_of(user).map(|log| &log.conversation);
            let mut contacts: Vec<UserId> = mine
                .filter(|conversation| conversation.has_member(user))
                .flat_map(|conversation| conversation.participants.iter().copied())
                .filter(|other| *other != user)
                .collect();
            contacts.sort_unstable();
            contacts.dedup();
            contacts.truncate(limit);
            contacts
        };
        Ok(users.iter().map(of).collect())
    }
}

impl NodeStore for MemoryStore {}

#[async_trait]
impl HistoryStore for MemoryStore {
    async fn lineage(&self) -> StoreResult<Lineage> {
        self.reading().await?;
        Ok(Lineage::new(self.state.lock().epochs.clone()))
    }

    async fn add_epoch(&self, epoch: EpochId) -> StoreResult<Lineage> {
        self.writing(move |state| {
            state.epochs.insert(0, epoch);
            state.epochs.truncate(EPOCHS_KEPT_MAX);
            Lineage::new(state.epochs.clone())
        })
        .await
    }

    async fn replace_lineage(&self, epoch: EpochId) -> StoreResult<()> {
        self.writing(move |state| state.epochs = vec![epoch]).await
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn migrate(&self) -> StoreResult<Vec<String>> {
        Ok(Vec::new())
    }

    async fn check(&self) -> StoreResult<String> {
        self.reading().await?;
        Ok("in memory".into())
    }

    async fn time(&self) -> StoreResult<Timestamp> {
        self.reading().await?;
        Ok(self.time.lock().unwrap_or_else(Timestamp::now))
    }

    async fn check_deep(&self, _repair: bool) -> StoreResult<Vec<DeepFinding>> {
        Ok(Vec::new())
    }

    fn kind(&self) -> &'static str {
        "memory"
    }
}
