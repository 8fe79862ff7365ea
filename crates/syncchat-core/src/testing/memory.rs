//! A whole store in memory. It checks what the core must keep (places follow one another, times do
//! not fall, cursors stay within the log), and remembers where it did not.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::faults::Faults;
use super::rng::Rng;
use crate::command::CursorKind;
use crate::limits::UNREAD_SCAN_MAX;
use crate::model::{
    Account, Conversation, ConversationId, ConversationKind, Membership, Message, MessageId,
    MessageKind, Seq, SeqSpans, Timestamp, UserId,
};
use crate::ports::store::{
    Append, Appended, Audience, ConversationChange, ConversationCursor, ConversationStore,
    CreatedConversation, CursorAdvance, Cursors, LogRange, NewConversation, RefreshToken, Store,
    StoreError, StoreResult,
};

/// Logs, accounts and tokens in memory, with fault dials.
pub struct MemoryStore {
    pub(super) state: Arc<Mutex<State>>,
    faults: Mutex<Faults>,
    rng: Mutex<Rng>,
    calls: AtomicU64,
}

#[derive(Default)]
pub(super) struct State {
    logs: BTreeMap<ConversationId, Log>,
    pub(super) accounts: BTreeMap<UserId, Account>,
    /// Token, and whether it is still good.
    pub(super) tokens: HashMap<[u8; 32], (RefreshToken, bool)>,
    pub(super) revoked: Vec<[u8; 16]>,
    /// What the core broke.
    broken: Vec<&'static str>,
}

struct Log {
    conversation: Conversation,
    places: BTreeMap<UserId, Place>,
    messages: Vec<Message>,
}

#[derive(Default)]
struct Place {
    spans: SeqSpans,
    read_seq: Seq,
    delivered_seq: Seq,
}

impl MemoryStore {
    /// Empty, without faults; they will follow from this seed.
    pub fn new(seed: u64) -> MemoryStore {
        MemoryStore {
            state: Arc::default(),
            faults: Mutex::new(Faults::NONE),
            rng: Mutex::new(Rng::new(seed)),
            calls: AtomicU64::new(0),
        }
    }

    /// Turns the dials.
    pub fn set_faults(&self, faults: Faults) {
        *self.faults.lock() = faults;
    }

    /// How many calls there were so far.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Which of its duties towards a store the core has broken so far.
    pub fn broken(&self) -> Vec<&'static str> {
        self.state.lock().broken.clone()
    }

    /// The whole log, without a fault.
    pub fn log_of(&self, id: ConversationId) -> Vec<Message> {
        let state = self.state.lock();
        state
            .logs
            .get(&id)
            .map_or_else(Vec::new, |log| log.messages.clone())
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
                messages
            },
        };
        state.append(&append);
    }

    pub(super) async fn reading(&self) -> StoreResult<()> {
        let (faults, fails) = self.call(|faults| faults.fail_read).await;
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
        let (faults, fails) = self.call(|faults| faults.fail_before_write).await;
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
        tokio::time::sleep(pause).await;
        if lost {
            return Err(StoreError::Unavailable("an answer was lost".into()));
        }
        Ok(answer)
    }

    async fn call(&self, probability: fn(&Faults) -> f64) -> (Faults, bool) {
        self.calls.fetch_add(1, Ordering::Relaxed);
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
}

impl State {
    fn append(&mut self, append: &Append) -> Appended {
        let first = append.messages.first().map(|message| message.seq);
        self.must(
            first == Some(append.expected_seq + 1),
            "an append follows what it names",
        );
        let Some(log) = self.logs.get_mut(&append.conversation) else {
            return Appended::Moved;
        };
        if log.conversation.last_seq != append.expected_seq {
            return Appended::Moved;
        }
        let named = |m: &Message| m.client_msg_id.clone().map(|name| (m.sender, name));
        let mut names: Vec<_> = log.messages.iter().filter_map(named).collect();
        for name in append.messages.iter().filter_map(named) {
            if names.contains(&name) {
                return Appended::Duplicate;
            }
            names.push(name);
        }
        let dense = append.messages.iter().all(|message| log.push(message));
        for change in &append.changes {
            log.apply(change);
        }
        self.must(dense, "messages follow one another, and times do not fall");
        Appended::Committed
    }

    fn must(&mut self, kept: bool, duty: &'static str) {
        if !kept {
            self.broken.push(duty);
        }
    }

    fn find(&self, id: MessageId) -> Option<&Message> {
        let mut messages = self.logs.values().flat_map(|log| &log.messages);
        messages.find(|message| message.id == id)
    }

    fn change(&mut self, id: MessageId, change: impl FnOnce(&mut Message)) -> Option<Message> {
        let mut messages = self.logs.values_mut().flat_map(|log| &mut log.messages);
        let message = messages.find(|message| message.id == id)?;
        change(message);
        Some(message.clone())
    }

    fn create(&mut self, new: &NewConversation) -> CreatedConversation {
        let participants: Vec<UserId> = new.participants.iter().copied().collect();
        if new.kind == ConversationKind::Private {
            let same = |log: &&Log| {
                log.conversation.kind == ConversationKind::Private
                    && log.conversation.participants == participants
            };
            if let Some(log) = self.logs.values().find(same) {
                return CreatedConversation::Existing(log.conversation.clone());
            }
        }
        let conversation = Conversation {
            id: new.id,
            kind: new.kind,
            title: new.title.clone(),
            participants,
            last_seq: 0,
            last_ordinal: 0,
            created_at: new.created_at,
            updated_at: new.created_at,
        };
        let place = |user: &UserId| {
            let place = Place {
                spans: SeqSpans::all(),
                ..Place::default()
            };
            (*user, place)
        };
        let log = Log {
            places: conversation.participants.iter().map(place).collect(),
            conversation: conversation.clone(),
            messages: Vec::new(),
        };
        self.logs.insert(new.id, log);
        CreatedConversation::New(conversation)
    }

    fn advance(&mut self, advance: &CursorAdvance) -> Option<(Cursors, bool)> {
        let last_seq = self.logs.get(&advance.conversation)?.conversation.last_seq;
        self.must(advance.seq <= last_seq, "cursors stay within the log");
        let log = self.logs.get_mut(&advance.conversation)?;
        let place = log.places.get_mut(&advance.user)?;
        if !place.spans.is_open() {
            return None;
        }
        let before = (place.read_seq, place.delivered_seq);
        place.delivered_seq = place.delivered_seq.max(advance.seq);
        if advance.kind == CursorKind::Read {
            place.read_seq = place.read_seq.max(advance.seq);
        }
        let rose = match advance.kind {
            CursorKind::Read => place.read_seq > before.0,
            CursorKind::Delivered => place.delivered_seq > before.1,
        };
        Some((place.cursors(advance.user), rose))
    }
}

impl Log {
    /// Appends; says whether the message was as it must be.
    fn push(&mut self, message: &Message) -> bool {
        let conversation = &mut self.conversation;
        let counts = u64::from(message.kind != MessageKind::System);
        let kept = message.conversation == conversation.id
            && message.seq == conversation.last_seq + 1
            && message.ordinal == conversation.last_ordinal + counts
            && message.created_at >= conversation.updated_at;
        conversation.last_seq = message.seq;
        conversation.last_ordinal = message.ordinal;
        conversation.updated_at = message.created_at;
        self.messages.push(message.clone());
        kept
    }

    fn apply(&mut self, change: &ConversationChange) {
        match change {
            ConversationChange::Add { user, seq } => {
                let place = self.places.entry(*user).or_default();
                place.spans.open_at(*seq);
                place.read_seq = place.read_seq.max(*seq);
                place.delivered_seq = place.delivered_seq.max(*seq);
            }
            ConversationChange::Remove { user, seq } => {
                if let Some(place) = self.places.get_mut(user) {
                    place.spans.close_at(*seq);
                }
            }
            ConversationChange::Rename { title } => self.conversation.title = Some(title.clone()),
        }
        let here = self
            .places
            .iter()
            .filter(|(_, place)| place.spans.is_open());
        self.conversation.participants = here.map(|(user, _)| *user).collect();
    }

    fn membership(&self, user: UserId) -> Option<Membership> {
        let place = self.places.get(&user)?;
        Some(Membership {
            conversation: self.conversation.id,
            user,
            spans: place.spans.clone(),
            read_seq: place.read_seq,
            delivered_seq: place.delivered_seq,
            last_seq: self.conversation.last_seq,
        })
    }

    fn range(&self, range: LogRange, limit: usize) -> Vec<Message> {
        let all = self.messages.iter();
        match range {
            LogRange::After(seq) => all.filter(|m| m.seq > seq).take(limit).cloned().collect(),
            LogRange::Since(at) => {
                let since = all.filter(|m| m.created_at >= at);
                since.take(limit).cloned().collect()
            }
            LogRange::Before(seq) => {
                let before: Vec<_> = all.filter(|m| m.seq < seq).collect();
                let newest = before.len().saturating_sub(limit);
                before[newest..].iter().map(|m| (*m).clone()).collect()
            }
        }
    }

    fn unread(&self, user: UserId) -> u64 {
        let Some(place) = self.places.get(&user).filter(|place| place.spans.is_open()) else {
            return 0;
        };
        let counts = |m: &&Message| {
            m.seq > place.read_seq
                && m.sender != user
                && !m.deleted
                && m.kind != MessageKind::System
        };
        self.messages
            .iter()
            .filter(counts)
            .take(UNREAD_SCAN_MAX)
            .count() as u64
    }

    fn cursors(&self) -> Vec<Cursors> {
        let here = self
            .places
            .iter()
            .filter(|(_, place)| place.spans.is_open());
        here.map(|(user, place)| place.cursors(*user)).collect()
    }

    fn readers(&self, seq: Seq, limit: usize) -> Vec<Cursors> {
        let mut readers = self.cursors();
        readers.retain(|cursors| cursors.read_seq >= seq);
        readers.sort_by_key(|cursors| std::cmp::Reverse(cursors.read_seq));
        readers.truncate(limit);
        readers
    }

    fn furthest_delivered(&self) -> Vec<Cursors> {
        let mut members = self.cursors();
        members.sort_by_key(|cursors| std::cmp::Reverse(cursors.delivered_seq));
        members.truncate(2);
        members
    }
}

impl Place {
    fn cursors(&self, user: UserId) -> Cursors {
        Cursors {
            user,
            read_seq: self.read_seq,
            delivered_seq: self.delivered_seq,
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
        self.writing(move |state| appends.iter().map(|append| state.append(append)).collect())
            .await
    }

    async fn conversations(&self, ids: &[ConversationId]) -> StoreResult<Vec<Conversation>> {
        self.reading().await?;
        let state = self.state.lock();
        let logs = ids.iter().filter_map(|id| state.logs.get(id));
        Ok(logs.map(|log| log.conversation.clone()).collect())
    }

    async fn heads(&self, ids: &[ConversationId]) -> StoreResult<Vec<(ConversationId, Seq)>> {
        self.reading().await?;
        let state = self.state.lock();
        let logs = ids.iter().filter_map(|id| state.logs.get(id));
        Ok(logs
            .map(|log| (log.conversation.id, log.conversation.last_seq))
            .collect())
    }

    async fn messages_by_client_id(
        &self,
        keys: &[(ConversationId, UserId, String)],
    ) -> StoreResult<Vec<Message>> {
        self.reading().await?;
        let state = self.state.lock();
        let find = |(id, sender, name): &(ConversationId, UserId, String)| {
            let mut messages = state.logs.get(id)?.messages.iter();
            messages.find(|m| m.sender == *sender && m.client_msg_id.as_ref() == Some(name))
        };
        Ok(keys.iter().filter_map(find).cloned().collect())
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
        self.writing(move |state| {
            state.change(id, |message| {
                message.content.clear();
                message.attachments.clear();
                if !message.deleted {
                    message.updated_at = at;
                }
                message.deleted = true;
            })
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
            .logs
            .values()
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

    async fn memberships_of(&self, user: UserId) -> StoreResult<Vec<Membership>> {
        self.reading().await?;
        let state = self.state.lock();
        let places = state.logs.values().filter_map(|log| log.membership(user));
        Ok(places.filter(|place| place.spans.is_open()).collect())
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

    async fn unread(&self, user: UserId, ids: &[ConversationId]) -> StoreResult<Vec<u64>> {
        self.reading().await?;
        let state = self.state.lock();
        let unread = |id| state.logs.get(id).map_or(0, |log| log.unread(user));
        Ok(ids.iter().map(unread).collect())
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

    async fn contacts(&self, user: UserId, limit: usize) -> StoreResult<Vec<UserId>> {
        self.reading().await?;
        let state = self.state.lock();
        let mine = state.logs.values().map(|log| &log.conversation);
        let mut contacts: Vec<UserId> = mine
            .filter(|conversation| conversation.has_member(user))
            .flat_map(|conversation| conversation.participants.iter().copied())
            .filter(|other| *other != user)
            .collect();
        contacts.sort_unstable();
        contacts.dedup();
        contacts.truncate(limit);
        Ok(contacts)
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

    fn kind(&self) -> &'static str {
        "memory"
    }
}
