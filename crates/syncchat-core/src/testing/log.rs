//! Logs in memory, and what a store does with them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::command::CursorKind;
use crate::limits::{CLOCK_OFFSET_MAX, UNREAD_SCAN_MAX};
use crate::model::{
    Account, Conversation, ConversationId, ConversationKind, Digest, EpochId, FIRST_REV, FileId,
    Membership, Message, MessageId, MessageKind, Rev, Seq, SeqSpans, StoredFile, SystemEvent,
    Timestamp, UserId,
};
use crate::ports::store::{
    Addition, Append, Appended, ConversationChange, CreatedConversation, CursorAdvance, Cursors,
    LogEnd, LogRange, Mark, NamedMessage, NewConversation, RefreshToken,
};

#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) logs: BTreeMap<ConversationId, Log>,
    /// Where each person is, or was.
    rooms: HashMap<UserId, BTreeSet<ConversationId>>,
    pub(super) accounts: BTreeMap<UserId, Account>,
    /// Token, and whether it is still good.
    pub(super) tokens: HashMap<[u8; 32], (RefreshToken, bool)>,
    pub(super) revoked: Vec<[u8; 16]>,
    /// By family: the token that was used last, and its salt.
    pub(super) repeatable: HashMap<[u8; 16], ([u8; 32], [u8; 16])>,
    pub(super) files: BTreeMap<FileId, StoredFile>,
    pub(super) file_keys: HashMap<(UserId, String), FileId>,
    /// What was made under which key of whose, and what was asked for.
    requests: HashMap<(UserId, String), (ConversationId, Digest)>,
    /// Of messages with a name that were edited: as what they were sent.
    sent: HashMap<MessageId, Digest>,
    /// The newest first.
    pub(super) epochs: Vec<EpochId>,
    /// What the core broke.
    pub(super) broken: Vec<&'static str>,
}

#[derive(Clone)]
pub(super) struct Log {
    pub(super) conversation: Conversation,
    places: BTreeMap<UserId, Place>,
    /// Their places follow one another from 1 on.
    pub(super) messages: Vec<Arc<Message>>,
    ids: HashSet<MessageId, RandomState>,
    names: HashSet<Named, RandomState>,
}

/// A message under the name by which its sender will know it again.
#[derive(Clone)]
struct Named(Arc<Message>);

#[derive(Clone, Default)]
struct Place {
    spans: SeqSpans,
    read_seq: Seq,
    delivered_seq: Seq,
}

impl State {
    pub(super) fn append(&mut self, append: &Append) -> Appended {
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
        if append.messages.iter().any(|m| log.ids.contains(&m.id)) {
            return Appended::Duplicate;
        }
        let mut names = HashSet::with_hasher(RandomState::default());
        for name in append.messages.iter().filter_map(Named::of) {
            if log.names.contains(&name) || !names.insert(name) {
                return Appended::Duplicate;
            }
        }
        let dense = append.messages.iter().all(|message| log.push(message));
        for change in &append.changes {
            log.apply(change);
            if let ConversationChange::Add { user, .. } = change {
                let rooms = self.rooms.entry(*user).or_default();
                rooms.insert(append.conversation);
            }
        }
        if let Some(rev) = append.conversation_rev() {
            log.conversation.rev = rev;
        }
        self.must(dense, "messages follow one another, and times do not fall");
        Appended::Committed
    }

    /// As a store of many nodes does it where they meet.
    pub(super) fn append_behind(&mut self, mut append: Append) -> Appended {
        let Some(log) = self.logs.get(&append.conversation) else {
            return Appended::Moved;
        };
        let end = LogEnd {
            last_seq: log.conversation.last_seq,
            last_ordinal: log.conversation.last_ordinal,
            updated_at: log.conversation.updated_at,
        };
        let seen = log
            .messages
            .partition_point(|m| m.seq <= append.expected_seq);
        let mut meanwhile = log.messages[seen..].iter();
        if meanwhile.any(|m| m.kind == MessageKind::System) {
            return Appended::Moved;
        }
        let expected = append.expected_seq;
        append.put_behind(end);
        match self.append(&append) {
            Appended::Committed if end.last_seq != expected => Appended::Behind(end),
            other => other,
        }
    }

    pub(super) fn additions_since(&self, since: Timestamp, limit: usize) -> Vec<Addition> {
        let first = ConversationId::first_of(since);
        let new = self.logs.range(first..).take(limit).flat_map(|(&id, log)| {
            let addition = move |&user: &UserId| Addition {
                conversation: id,
                user,
                seq: 0,
            };
            log.conversation.participants.iter().map(addition)
        });
        let messages = self.logs.values().flat_map(|log| &log.messages);
        let recent = messages.filter(|message| message.id >= MessageId::first_of(since));
        let added = recent.filter_map(|message| match message.event {
            Some(SystemEvent::Added { user, .. }) => Some(Addition {
                conversation: message.conversation,
                user,
                seq: message.seq,
            }),
            _ => None,
        });
        new.chain(added.take(limit)).collect()
    }

    /// The logs in which this person is a member, or was.
    pub(super) fn logs_of(&self, user: UserId) -> impl Iterator<Item = &Log> {
        let rooms = self.rooms.get(&user).into_iter().flatten();
        rooms.filter_map(|id| self.logs.get(id))
    }

    pub(super) fn any_member(&self, id: ConversationId) -> Option<UserId> {
        self.logs
            .get(&id)?
            .conversation
            .participants
            .first()
            .copied()
    }

    pub(super) fn must(&mut self, kept: bool, duty: &'static str) {
        if !kept {
            self.broken.push(duty);
        }
    }

    pub(super) fn find(&self, id: MessageId) -> Option<&Message> {
        let mut messages = self.logs.values().flat_map(|log| &log.messages);
        messages.find(|message| message.id == id).map(|m| &**m)
    }

    pub(super) fn named(&self, message: &Message) -> NamedMessage {
        NamedMessage {
            message: message.clone(),
            sent: self.sent.get(&message.id).copied(),
        }
    }

    /// Changes a message, as the next change of its conversation.
    pub(super) fn change(
        &mut self,
        id: MessageId,
        change: impl FnOnce(&mut Message),
    ) -> Option<Message> {
        let of = |log: &Log| log.messages.iter().position(|message| message.id == id);
        let mut logs = self.logs.values_mut();
        let (place, log) = logs.find_map(|log| Some((of(log)?, log)))?;
        log.conversation.change_seq += 1;
        let message = Arc::make_mut(&mut log.messages[place]);
        let before = (!message.edited && message.client_msg_id.is_some())
            .then(|| Digest::of_sent(id, &message.content));
        message.rev = log.conversation.change_seq;
        change(message);
        let message = message.clone();
        match before {
            _ if message.deleted => drop(self.sent.remove(&id)),
            Some(sent) => drop(self.sent.insert(id, sent)),
            None => {}
        }
        Some(message)
    }

    pub(super) fn create(&mut self, new: &NewConversation) -> CreatedConversation {
        let participants: Vec<UserId> = new.participants.iter().copied().collect();
        let request = new.request.as_ref();
        let request = request.map(|r| ((r.caller, r.key.as_str().to_owned()), r.asked));
        if let Some((key, _)) = &request
            && let Some((id, asked)) = self.requests.get(key)
            && let Some(log) = self.logs.get(id)
        {
            return CreatedConversation::Repeated(log.conversation.clone(), *asked);
        }
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
            rev: FIRST_REV,
            change_seq: FIRST_REV,
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
            ids: HashSet::default(),
            names: HashSet::default(),
        };
        for user in &new.participants {
            self.rooms.entry(*user).or_default().insert(new.id);
        }
        self.logs.insert(new.id, log);
        let request = request.map(|(key, asked)| (key, (new.id, asked)));
        self.requests.extend(request);
        CreatedConversation::New(conversation)
    }

    pub(super) fn advance(&mut self, advance: &CursorAdvance) -> Option<(Cursors, bool)> {
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

impl Named {
    fn of(message: &Arc<Message>) -> Option<Named> {
        let named = message.client_msg_id.is_some();
        named.then(|| Named(Arc::clone(message)))
    }

    fn name(&self) -> (UserId, &Option<String>) {
        (self.0.sender, &self.0.client_msg_id)
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Named) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Named {}

impl Hash for Named {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl Log {
    /// Appends; says whether the message was as it must be.
    pub(super) fn push(&mut self, message: &Arc<Message>) -> bool {
        let conversation = &mut self.conversation;
        let counts = u64::from(message.kind != MessageKind::System);
        let kept = message.conversation == conversation.id
            && message.seq == conversation.last_seq + 1
            && message.ordinal == conversation.last_ordinal + counts
            && (message.created_at >= conversation.updated_at
                || message.created_at.plus(CLOCK_OFFSET_MAX) < conversation.updated_at);
        conversation.last_seq = message.seq;
        conversation.last_ordinal = message.ordinal;
        conversation.updated_at = message.created_at;
        self.ids.insert(message.id);
        self.names.extend(Named::of(message));
        self.messages.push(Arc::clone(message));
        kept
    }

    pub(super) fn apply(&mut self, change: &ConversationChange) {
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

    pub(super) fn membership(&self, user: UserId) -> Option<Membership> {
        let place = self.places.get(&user)?;
        Some(Membership {
            conversation: self.conversation.id,
            user,
            spans: place.spans.clone(),
            read_seq: place.read_seq,
            read_ordinal: self.ordinal_at(place.read_seq),
            delivered_seq: place.delivered_seq,
            last_seq: self.conversation.last_seq,
            last_ordinal: self.conversation.last_ordinal,
            updated_at: self.conversation.updated_at,
            change_seq: self.conversation.change_seq,
        })
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            conversation: self.conversation.id,
            last_seq: self.conversation.last_seq,
            change_seq: self.conversation.change_seq,
        }
    }

    pub(super) fn changes(&self, after: Rev, limit: usize) -> Vec<Message> {
        let changed = |message: &&Arc<Message>| message.rev > after.max(FIRST_REV);
        let mut changed: Vec<&Arc<Message>> = self.messages.iter().filter(changed).collect();
        changed.sort_unstable_by_key(|message| message.rev);
        let changed = changed.into_iter().take(limit);
        changed.map(|message| (**message).clone()).collect()
    }

    pub(super) fn range(&self, range: LogRange, limit: usize) -> Vec<Message> {
        let all = self.messages.iter().map(|message| &**message);
        match range {
            LogRange::After(seq) => {
                let after = self.messages.partition_point(|m| m.seq <= seq);
                all.skip(after).take(limit).cloned().collect()
            }
            LogRange::Since(at) => {
                let since = all.filter(|m| m.created_at >= at);
                since.take(limit).cloned().collect()
            }
            LogRange::Before(seq) => {
                let before = self.messages.partition_point(|m| m.seq < seq);
                let newest = before.saturating_sub(limit);
                let newest = all.skip(newest).take(before - newest);
                newest.cloned().collect()
            }
        }
    }

    fn ordinal_at(&self, seq: Seq) -> u64 {
        let index = usize::try_from(seq).ok().and_then(|seq| seq.checked_sub(1));
        let message = index.and_then(|index| self.messages.get(index));
        message.map_or(0, |message| message.ordinal)
    }

    pub(super) fn unread(&self, place: &Membership) -> u64 {
        if !place.spans.is_open() {
            return 0;
        }
        let counts = |m: &&Arc<Message>| {
            m.seq > place.read_seq
                && m.seq <= place.last_seq
                && m.sender != place.user
                && !m.deleted
                && m.kind != MessageKind::System
        };
        self.messages
            .iter()
            .filter(counts)
            .take(UNREAD_SCAN_MAX)
            .count() as u64
    }

    pub(super) fn cursors(&self) -> Vec<Cursors> {
        let here = self
            .places
            .iter()
            .filter(|(_, place)| place.spans.is_open());
        here.map(|(user, place)| place.cursors(*user)).collect()
    }

    pub(super) fn readers(&self, seq: Seq, limit: usize) -> Vec<Cursors> {
        let mut readers = self.cursors();
        readers.retain(|cursors| cursors.read_seq >= seq);
        readers.sort_by_key(|cursors| std::cmp::Reverse(cursors.read_seq));
        readers.truncate(limit);
        readers
    }

    pub(super) fn furthest_delivered(&self) -> Vec<Cursors> {
        let mut members = self.cursors();
        members.sort_by_key(|cursors| std::cmp::Reverse(cursors.delivered_seq));
        members.truncate(2);
        members
    }
}

impl Place {
    pub(super) fn cursors(&self, user: UserId) -> Cursors {
        Cursors {
            user,
            read_seq: self.read_seq,
            delivered_seq: self.delivered_seq,
        }
    }
}
