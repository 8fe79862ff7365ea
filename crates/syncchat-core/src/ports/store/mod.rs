//! What "durable" means: the traits a store implements, and what each call promises.
//!
//! A store knows no rules. The core decides what may happen; the store makes it durable in one
//! step, or says that somebody else was faster. A log is appended to in the same step that raises its
//! `last_seq`, so it has no holes; and only by who has seen every change of its members and its title
//! up to there, so no message is written by somebody whose removal came first.

mod accounts;
mod files;
mod history;
mod nodes;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;

pub use self::accounts::{AccountStore, AccountWrite, PresenceChange, RefreshToken, Rotation};
pub use self::files::{AddedFile, FileChange, FileStore};
pub use self::history::{DeepFinding, Flaw, HistoryStore};
pub use self::nodes::{NodeNote, NodeStore, NotedNode};
use crate::command::CursorKind;
use crate::model::{
    Conversation, ConversationId, ConversationKind, Digest, IdempotencyKey, Membership, Message,
    MessageId, MessageKind, Rev, Seq, SeqSpans, SystemEvent, Timestamp, UserId,
};

/// Why a store could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// It did not answer, or not in time. A write may or may not have happened, and may still
    /// happen: the unique ids of messages, ours and the sender's, make a repetition harmless.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// It answered something that cannot be, such as a document without a needed field.
    #[error("store damaged: {0}")]
    Damaged(String),
}

/// The result of a store's call.
pub type StoreResult<T> = Result<T, StoreError>;

/// What is to be written to the end of one conversation's log, all or nothing.
#[derive(Debug, Clone)]
pub struct Append {
    /// Which conversation.
    pub conversation: ConversationId,
    /// The conversation's `last_seq`, as far as is known.
    pub expected_seq: Seq,
    /// At least one, with `seq` from `expected_seq + 1` on and `ordinal` set. `created_at` does not
    /// fall along a log, so that stores find the place of a time by halving; but behind a message
    /// whose time is ahead of the store's by more than [`crate::limits::CLOCK_OFFSET_MAX`] it falls
    /// back. Halving may then find a place that is too early, and none that is too late.
    pub messages: Vec<Arc<Message>>,
    /// Changes that belong to the system messages among them.
    pub changes: Vec<ConversationChange>,
}

/// A change that takes effect together with the system message that tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConversationChange {
    /// `user` is a member from message `seq` on ([`crate::model::SeqSpans::open_at`]). Their read
    /// and delivered cursors rise to `seq`, so that what was said before does not count as unread.
    Add {
        /// Who.
        user: UserId,
        /// The system message's place.
        seq: Seq,
    },
    /// `user` is a member up to message `seq` ([`crate::model::SeqSpans::close_at`]).
    Remove {
        /// Who.
        user: UserId,
        /// The system message's place.
        seq: Seq,
    },
    /// The group has a new title.
    Rename {
        /// The title.
        title: String,
    },
}

impl ConversationChange {
    /// The change that goes with a system message of this event at this place.
    pub fn of(event: &SystemEvent, seq: Seq) -> ConversationChange {
        match event {
            SystemEvent::Added { user, .. } => ConversationChange::Add { user: *user, seq },
            SystemEvent::Removed { user, .. } | SystemEvent::Left { user } => {
                ConversationChange::Remove { user: *user, seq }
            }
            SystemEvent::Renamed { title, .. } => ConversationChange::Rename {
                title: title.clone(),
            },
        }
    }

    /// Whom it makes a member, or none any more.
    pub fn user(&self) -> Option<UserId> {
        match self {
            ConversationChange::Add { user, .. } | ConversationChange::Remove { user, .. } => {
                Some(*user)
            }
            ConversationChange::Rename { .. } => None,
        }
    }

    /// Whether that person's spans were written without this change, and it is to be made up for:
    /// for a head that is behind its log. Spans that know this change, or a later one, stay as they
    /// are.
    pub fn is_missing_in(&self, spans: &SeqSpans) -> bool {
        match self {
            ConversationChange::Add { seq, .. } => {
                let ends_before = |&(_, last): &(Seq, Option<Seq>)| last.is_some_and(|l| l < *seq);
                spans.parts().iter().all(ends_before)
            }
            ConversationChange::Remove { seq, .. } => {
                matches!(spans.parts().last(), Some(&(first, None)) if first <= *seq)
            }
            ConversationChange::Rename { .. } => true,
        }
    }
}

/// Where a log ends: what the next message follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEnd {
    /// The newest `seq`.
    pub last_seq: Seq,
    /// The newest `ordinal`.
    pub last_ordinal: u64,
    /// The next message is no older.
    pub updated_at: Timestamp,
}

impl LogEnd {
    /// Gives a message the next place. Its time does not fall behind [`Self::updated_at`], whichever
    /// node it is from, so that a page can begin at a time.
    pub fn place(&mut self, message: &mut Message) {
        self.last_seq += 1;
        self.last_ordinal += u64::from(message.kind != MessageKind::System);
        self.updated_at = self.updated_at.max(message.created_at);
        message.seq = self.last_seq;
        message.ordinal = self.last_ordinal;
        message.created_at = self.updated_at;
        message.updated_at = self.updated_at;
    }
}

impl Append {
    /// The conversation's [`Conversation::rev`] after it, if it changes the title or the members.
    pub fn conversation_rev(&self) -> Option<Rev> {
        let told = |message: &&Arc<Message>| message.kind == MessageKind::System;
        let last = self.messages.iter().rfind(told)?;
        (!self.changes.is_empty()).then_some(last.seq + 1)
    }

    /// The same append as it is when the log ends elsewhere than expected.
    pub fn put_behind(&mut self, mut end: LogEnd) {
        let shift = |seq: &mut Seq, from: Seq| *seq = (*seq + end.last_seq).saturating_sub(from);
        for change in &mut self.changes {
            match change {
                ConversationChange::Add { seq, .. } | ConversationChange::Remove { seq, .. } => {
                    shift(seq, self.expected_seq);
                }
                ConversationChange::Rename { .. } => {}
            }
        }
        self.expected_seq = end.last_seq;
        self.messages
            .iter_mut()
            .for_each(|message| end.place(Arc::make_mut(message)));
    }
}

/// What became of one [`Append`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// All of it is durable, where it was expected to be.
    Committed,
    /// All of it is durable, behind messages that others wrote meanwhile: what
    /// [`Append::put_behind`] makes of it was written. None of those messages is a system message,
    /// so whoever was a member still is, and the title is the same.
    Behind(LogEnd),
    /// Nothing was written: `last_seq` is not `expected_seq`, or there is no such conversation.
    Moved,
    /// Nothing was written: a message with this id, or with this conversation, sender and
    /// `client_msg_id`, exists.
    Duplicate,
}

/// Which of the cursors of a member is to rise, and to where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CursorAdvance {
    /// Where.
    pub conversation: ConversationId,
    /// Whose.
    pub user: UserId,
    /// Which cursor. `Read` raises both.
    pub kind: CursorKind,
    /// To where; never beyond the conversation's `last_seq` (the core sees to it).
    pub seq: Seq,
}

/// A member's cursors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursors {
    /// Whose.
    pub user: UserId,
    /// Read up to here.
    pub read_seq: Seq,
    /// Delivered up to here.
    pub delivered_seq: Seq,
}

/// How far the members of one conversation have come, as far as it matters for the messages from
/// some `seq` on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audience {
    /// As [`ConversationStore::readers`].
    pub readers: Vec<Cursors>,
    /// As [`ConversationStore::furthest_delivered`], of those who got that message.
    pub delivered: Vec<Cursors>,
}

/// How far a conversation has come: what nodes compare with what they know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Which.
    pub conversation: ConversationId,
    /// Its newest `seq`.
    pub last_seq: Seq,
    /// [`Conversation::change_seq`].
    pub change_seq: Rev,
}

/// Which part of a log to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogRange {
    /// The newest ones before this `seq` (`Seq::MAX`: the newest of all).
    Before(Seq),
    /// The oldest ones after this `seq`.
    After(Seq),
    /// The oldest ones written at or after this time.
    Since(Timestamp),
}

/// A conversation to be made.
#[derive(Debug, Clone)]
pub struct NewConversation {
    /// Its id.
    pub id: ConversationId,
    /// Private (then with two participants, once for each pair) or group.
    pub kind: ConversationKind,
    /// Of a group.
    pub title: Option<String>,
    /// Everybody.
    pub participants: BTreeSet<UserId>,
    /// When.
    pub created_at: Timestamp,
    /// By which a repetition of the request finds it.
    pub request: Option<RequestKey>,
}

/// By which a repeated request finds what it made, kept as long as that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    /// Whose request.
    pub caller: UserId,
    /// Its key: unique among what this caller made of the same kind.
    pub key: IdempotencyKey,
    /// Of what was asked for, to tell another request under the same key.
    pub asked: Digest,
}

/// Whether a conversation was made, or was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreatedConversation {
    /// It is new and durable.
    New(Conversation),
    /// The pair has one already.
    Existing(Conversation),
    /// The caller made it before, by a request with the same [`RequestKey::key`] and with this
    /// [`RequestKey::asked`].
    Repeated(Conversation, Digest),
}

/// A message that was found by its sender's own name for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedMessage {
    /// The message as it is now.
    pub message: Message,
    /// [`Digest::of_sent`] of its content before the first edit. None where it was not edited, was deleted, or
    /// was edited by a release that did not keep it.
    pub sent: Option<Digest>,
}

/// Somebody became a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Addition {
    /// Where.
    pub conversation: ConversationId,
    /// Who.
    pub user: UserId,
    /// The system message that says so; 0 for who was there from the beginning.
    pub seq: Seq,
}

/// Where a list of conversations goes on: after this one, in order of falling
/// `(updated_at, id)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConversationCursor {
    /// `updated_at` of the last one shown.
    pub updated_at: Timestamp,
    /// Its id.
    pub id: ConversationId,
}

/// The logs of all conversations, and who is where.
///
/// **Durable** means: it survives the death of the process and of the machine; with MongoDB,
/// majority-committed and journalled; embedded, synced to the disk. Reads give only what is
/// durable. Every call ends within a bounded time, with [`StoreError::Unavailable`] if need be.
#[async_trait]
pub trait ConversationStore: Send + Sync + 'static {
    /// Appends to several logs in one durable write, each all or nothing, independently of the
    /// others; by compare-and-set on `last_seq`. The answer has one entry per append, in order; a conversation occurs once.
    ///
    /// Also raises the conversation's `last_seq`, `last_ordinal`, `updated_at` (to the last
    /// message's `created_at`) and `lastMessage`, and applies `changes`, with `rev`
    /// ([`Append::conversation_rev`]).
    async fn append(&self, appends: Vec<Append>) -> StoreResult<Vec<Appended>>;

    /// One append to a log in which other nodes were just seen writing: behind whatever talk they
    /// wrote meanwhile ([`Appended::Behind`]). A store that many nodes share sees to it that they get
    /// in one after the other, and none of them never. Not behind a message whose time is ahead of the
    /// store's by more than [`crate::limits::CLOCK_OFFSET_MAX`]: [`Appended::Moved`]. For one that
    /// nobody shares, this is [`Self::append`].
    async fn append_behind(&self, append: Append) -> StoreResult<Appended> {
        let answers = self.append(vec![append]).await?;
        let answer = answers.into_iter().next();
        answer.ok_or_else(|| StoreError::Damaged("an append without an answer".into()))
    }

    /// The conversations that exist among these, in any order.
    async fn conversations(&self, ids: &[ConversationId]) -> StoreResult<Vec<Conversation>>;

    /// How far each that exists has come. Cheaper than [`Self::conversations`].
    async fn marks(&self, ids: &[ConversationId]) -> StoreResult<Vec<Mark>>;

    /// Newest `seq` of each that exists, at the same cost.
    async fn heads(&self, ids: &[ConversationId]) -> StoreResult<Vec<(ConversationId, Seq)>> {
        let marks = self.marks(ids).await?;
        Ok(marks
            .iter()
            .map(|mark| (mark.conversation, mark.last_seq))
            .collect())
    }

    /// Messages that were edited or deleted after the change with this number, in each of these
    /// conversations, in the order asked: rising in `rev`, each as it is now, at most `limit` each.
    ///
    /// A change is seen no later than its number ([`Mark::change_seq`]), and no earlier than those before
    /// it: a node that has read a number then reads all changes up to it. Cost: that of the answer.
    async fn changes(
        &self,
        after: &[(ConversationId, Rev)],
        limit: usize,
    ) -> StoreResult<Vec<Vec<Message>>>;

    /// Messages that exist among `(conversation, sender, client_msg_id)`.
    async fn messages_by_client_id(
        &self,
        keys: &[(ConversationId, UserId, String)],
    ) -> StoreResult<Vec<NamedMessage>>;

    /// One message.
    async fn message(&self, id: MessageId) -> StoreResult<Option<Message>>;

    /// The messages that exist among these, in any order. A driver does it in one round trip.
    async fn messages(&self, ids: &[MessageId]) -> StoreResult<Vec<Message>> {
        let mut found = Vec::new();
        for id in ids {
            found.extend(self.message(*id).await?);
        }
        Ok(found)
    }

    /// Up to `limit` messages of each range, each list rising in `seq`, in the order asked. One
    /// round trip, or a bounded few.
    async fn log(
        &self,
        ranges: &[(ConversationId, LogRange)],
        limit: usize,
    ) -> StoreResult<Vec<Vec<Message>>>;

    /// Gives a message that is not deleted a new content, and marks it edited; `None` if there is
    /// no such message or it is deleted. Raises the conversation's `change_seq` in the same step, and
    /// gives the message its number as `rev`. Of a message with a `client_msg_id` the first edit keeps
    /// [`NamedMessage::sent`].
    async fn edit_message(
        &self,
        id: MessageId,
        content: String,
        at: Timestamp,
    ) -> StoreResult<Option<Message>>;

    /// Empties a message, of [`NamedMessage::sent`] too, and marks it deleted, with `rev` as an edit does;
    /// again: the same answer, and no change. `None` if there is none.
    async fn delete_message(&self, id: MessageId, at: Timestamp) -> StoreResult<Option<Message>>;

    /// Makes a conversation with `last_seq` 0 and its memberships, or finds the one that was made by a
    /// request with the same caller and key, or else the pair's. Of two requests at once under one key one
    /// makes it and the other finds it.
    async fn create_conversation(&self, new: NewConversation) -> StoreResult<CreatedConversation>;

    /// Up to `limit` conversations this person is in now, newest first, after the cursor.
    async fn conversations_of(
        &self,
        user: UserId,
        after: Option<ConversationCursor>,
        limit: usize,
    ) -> StoreResult<Vec<Conversation>>;

    /// Every place where each of these people is a member now, with the conversation's `last_seq`
    /// from the same moment or before; in the order asked, each person once. What sockets need to join
    /// their rooms. One round trip, or a bounded few, however many people they are.
    async fn memberships_of(&self, users: &[UserId]) -> StoreResult<Vec<Vec<Membership>>>;

    /// This person's place in these conversations, current or past, in any order.
    async fn memberships(
        &self,
        user: UserId,
        ids: &[ConversationId],
    ) -> StoreResult<Vec<Membership>>;

    /// Memberships that began at or after this time (to the second, of the store as the node that wrote
    /// them knew it): by a new conversation, or by a message. In any order; some may have ended since.
    /// Of at most `limit` conversations and `limit` messages. Cost: that of the answer.
    async fn additions_since(&self, since: Timestamp, limit: usize) -> StoreResult<Vec<Addition>>;

    /// Unread messages in these places of one person, each conversation once, in the order asked: between
    /// the place's `read_seq` and `last_seq`, whatever has come since. Own, deleted and system messages do
    /// not count. Cost: independent of the log's length ([`Membership::unread_at_most`], less own and deleted
    /// ones counted by index, at most [`crate::limits::UNREAD_SCAN_MAX`] of each).
    async fn unread(&self, places: &[Membership]) -> StoreResult<Vec<u64>>;

    /// Raises cursors; they never fall. For each, in order: the cursors after it and whether it
    /// rose, or `None` for who is no member. The same member may occur twice.
    async fn advance_cursors(
        &self,
        advances: &[CursorAdvance],
    ) -> StoreResult<Vec<Option<(Cursors, bool)>>>;

    /// Members with `read_seq` at or beyond `seq`, the furthest first, at most `limit`.
    async fn readers(
        &self,
        conversation: ConversationId,
        seq: Seq,
        limit: usize,
    ) -> StoreResult<Vec<Cursors>>;

    /// The two members whose `delivered_seq` is furthest, the furthest first.
    async fn furthest_delivered(&self, conversation: ConversationId) -> StoreResult<Vec<Cursors>>;

    /// [`Self::readers`] (at most `limit`) and [`Self::furthest_delivered`] of many conversations,
    /// in the order asked; who has not come to `seq` may be missing. A driver does it in one round trip, or a bounded few.
    async fn audiences(
        &self,
        of: &[(ConversationId, Seq)],
        limit: usize,
    ) -> StoreResult<Vec<Audience>> {
        let mut audiences = Vec::with_capacity(of.len());
        for &(conversation, seq) in of {
            audiences.push(Audience {
                readers: self.readers(conversation, seq, limit).await?,
                delivered: self.furthest_delivered(conversation).await?,
            });
        }
        Ok(audiences)
    }

    /// People who share a conversation with each of these, at most `limit`, without the person; in the
    /// order asked.
    async fn contacts(&self, users: &[UserId], limit: usize) -> StoreResult<Vec<Vec<UserId>>>;
}

impl DeepFinding {
    /// Nothing was looked at yet.
    pub fn new(flaw: Flaw) -> DeepFinding {
        DeepFinding {
            flaw,
            looked_at: 0,
            found: 0,
            repaired: 0,
        }
    }
}

/// A whole store.
#[async_trait]
pub trait Store: ConversationStore + AccountStore + FileStore + NodeStore + HistoryStore {
    /// Makes or upgrades collections, tables and indexes; twice changes nothing. Takes over an
    /// older database that holds only the contract's fields. Says what it did, line by line.
    async fn migrate(&self) -> StoreResult<Vec<String>>;

    /// Whether it answers and could take a write now.
    async fn check(&self) -> StoreResult<String>;

    /// What the store's clock shows, with MongoDB the primary's. A store without one of its own has the
    /// machine's.
    async fn time(&self) -> StoreResult<Timestamp> {
        Ok(Timestamp::now())
    }

    /// Waits until a task or thread has ended that the store needs as long as it lives, and names it.
    /// The store is of no use from then on. One that needs none waits for ever.
    async fn failed(&self) -> &'static str {
        std::future::pending().await
    }

    /// Looks through all data for what [`Flaw`] names, in bounded steps, and mends it if `repair` says
    /// so. Takes as long as that takes; nodes may run meanwhile. An embedded store and a database
    /// give one finding for each flaw that they can have.
    async fn check_deep(&self, repair: bool) -> StoreResult<Vec<DeepFinding>>;

    /// A short name for tables and logs: `mongodb` or `sqlite`.
    fn kind(&self) -> &'static str;
}
