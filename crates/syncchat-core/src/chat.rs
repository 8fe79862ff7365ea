//! The door to the core: everything a gateway or the API may ask, one method each.

use std::sync::Arc;

use crate::command::{
    CreateConversation, CursorKind, EditMessage, PageRequest, SendMessage, SyncRequest,
};
use crate::error::{Error, Result};
use crate::model::{
    Conversation, ConversationId, ConversationView, Membership, Message, MessageId, MessageView,
    Seq, UserId,
};
use crate::ports::fleet::Fleet;
use crate::ports::store::{ConversationCursor, Store};

/// The chat: rules over a store, told to a fleet.
pub struct Chat {
    store: Arc<dyn Store>,
    fleet: Arc<dyn Fleet>,
}

/// A page of history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Rising in `seq`.
    pub messages: Vec<MessageView>,
    /// Whether there is more in the direction asked.
    pub more: bool,
}

/// What one conversation has for a client that was away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncedConversation {
    /// Which.
    pub id: ConversationId,
    /// After the client's cursor, rising in `seq`.
    pub messages: Vec<MessageView>,
    /// Whether there are more after these.
    pub more: bool,
    /// The newest `seq`.
    pub last_seq: Seq,
    /// The member's read cursor.
    pub read_seq: Seq,
    /// The member's delivered cursor.
    pub delivered_seq: Seq,
    /// Unread messages.
    pub unread: u64,
}

/// A page of the list of conversations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversationPage {
    /// Newest first.
    pub conversations: Vec<ConversationView>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<ConversationCursor>,
}

/// Messages a gateway needs to close a gap: what follows `after` in one conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backfill {
    /// Which.
    pub conversation: ConversationId,
    /// Consecutive, rising, from `after + 1` on; empty if there is nothing yet.
    pub messages: Vec<Arc<Message>>,
}

impl Chat {
    /// A chat over this store and this fleet. Starts the tasks that commit.
    pub fn new(store: Arc<dyn Store>, fleet: Arc<dyn Fleet>) -> Arc<Chat> {
        Arc::new(Chat { store, fleet })
    }

    /// Commits a message; returns when it is durable. A resend gets the first result.
    pub async fn send(&self, _command: SendMessage) -> Result<Arc<Message>> {
        Err(unbuilt())
    }

    /// Changes a message of the editor's own.
    pub async fn edit(&self, _command: EditMessage) -> Result<Arc<Message>> {
        Err(unbuilt())
    }

    /// Empties a message of the user's own.
    pub async fn delete(&self, _user: UserId, _message: MessageId) -> Result<Arc<Message>> {
        Err(unbuilt())
    }

    /// Raises a cursor (clamped to the newest `seq`); returns the unread count after it.
    pub async fn mark(
        &self,
        _user: UserId,
        _conversation: ConversationId,
        _kind: CursorKind,
        _seq: Seq,
    ) -> Result<u64> {
        Err(unbuilt())
    }

    /// What the user's conversations have beyond the client's cursors.
    pub async fn sync(
        &self,
        _user: UserId,
        _request: SyncRequest,
    ) -> Result<Vec<SyncedConversation>> {
        Err(unbuilt())
    }

    /// A page of history.
    pub async fn history(
        &self,
        _user: UserId,
        _conversation: ConversationId,
        _page: PageRequest,
    ) -> Result<Page> {
        Err(unbuilt())
    }

    /// Makes a conversation, or finds the pair's; true if it is new. All participants must exist.
    pub async fn create_conversation(
        &self,
        _command: CreateConversation,
    ) -> Result<(ConversationView, bool)> {
        Err(unbuilt())
    }

    /// Gives a group a new title.
    pub async fn rename(
        &self,
        _user: UserId,
        _conversation: ConversationId,
        _title: &str,
    ) -> Result<ConversationView> {
        Err(unbuilt())
    }

    /// Adds somebody to a group; already there: no change.
    pub async fn add_participant(
        &self,
        _by: UserId,
        _conversation: ConversationId,
        _user: UserId,
    ) -> Result<ConversationView> {
        Err(unbuilt())
    }

    /// Removes somebody from a group, or oneself (leaves).
    pub async fn remove_participant(
        &self,
        _by: UserId,
        _conversation: ConversationId,
        _user: UserId,
    ) -> Result<()> {
        Err(unbuilt())
    }

    /// A page of the user's conversations, newest first.
    pub async fn conversations(
        &self,
        _user: UserId,
        _after: Option<ConversationCursor>,
        _limit: Option<usize>,
    ) -> Result<ConversationPage> {
        Err(unbuilt())
    }

    /// One conversation of the user's.
    pub async fn conversation(
        &self,
        _user: UserId,
        _conversation: ConversationId,
    ) -> Result<ConversationView> {
        Err(unbuilt())
    }

    /// Every place where the user is a member now; what a socket needs to join its rooms.
    pub async fn memberships(&self, _user: UserId) -> Result<Vec<Membership>> {
        Err(unbuilt())
    }

    /// Refuses who is not a member, for events that are not stored (typing). Answered from memory
    /// where the conversation is known.
    pub async fn authorise(&self, _user: UserId, _conversation: ConversationId) -> Result<()> {
        Err(unbuilt())
    }

    /// For a gateway that has seen a gap: what follows each of these places, at most `limit` a
    /// conversation.
    pub async fn backfill(
        &self,
        _after: &[(ConversationId, Seq)],
        _limit: usize,
    ) -> Result<Vec<Backfill>> {
        Err(unbuilt())
    }

    /// Newest `seq` of each conversation that exists.
    pub async fn heads(&self, _ids: &[ConversationId]) -> Result<Vec<(ConversationId, Seq)>> {
        Err(unbuilt())
    }

    /// The conversation as it is, for the gateway's own use.
    pub async fn inspect(&self, _id: ConversationId) -> Result<Option<Arc<Conversation>>> {
        Err(unbuilt())
    }

    /// People who share a conversation with the user, at most `limit`.
    pub async fn contacts(&self, _user: UserId, _limit: usize) -> Result<Vec<UserId>> {
        Err(unbuilt())
    }

    /// Waits until everything accepted is committed and announced, for a clean end.
    pub async fn drain(&self) {
        let _ = (&self.store, &self.fleet);
    }
}

fn unbuilt() -> Error {
    Error::unavailable("not built yet")
}
