//! The door to the core: everything a gateway or the API may ask, one method each.

use std::sync::Arc;

use crate::clock::Clock;
use crate::command::{
    CreateConversation, CursorKind, EditMessage, PageRequest, SendMessage, SyncRequest,
};
use crate::deadline::read;
use crate::epoch::Epochs;
use crate::error::{Error, ErrorCode, Result};
use crate::files::Files;
use crate::metrics;
use crate::model::{
    Conversation, ConversationId, ConversationView, EpochId, Membership, Message, MessageId,
    MessageView, Rev, Seq, Timestamp, UserId,
};
use crate::pipeline::commit::{Committer, Outcome};
use crate::pipeline::cursors::CursorLanes;
use crate::pipeline::edit::Edits;
use crate::pipeline::heads::Heads;
use crate::pipeline::membership::Created;
use crate::pipeline::plan::Action;
use crate::pipeline::recent::Recent;
use crate::ports::fleet::{Fleet, FleetEvent, FleetListener};
use crate::ports::store::{ConversationCursor, CursorAdvance, Mark, NamedMessage, Store};
use crate::query::Query;
use crate::tasks::Tasks;

/// The chat: rules over a store, told to a fleet.
///
/// Every method ends in bounded time, with `unavailable` if the store does not answer. Who is not a
/// member of a conversation gets `not_found` for everything in it. A future that is dropped stops
/// nothing that was accepted.
pub struct Chat {
    heads: Arc<Heads>,
    committer: Arc<Committer>,
    edits: Arc<Edits>,
    cursors: Arc<CursorLanes>,
    query: Query,
    epochs: Arc<Epochs>,
    tasks: Tasks,
    store: Arc<dyn Store>,
    files: Option<Arc<Files>>,
    clock: Arc<Clock>,
}

/// A page of history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Rising in `seq`.
    pub messages: Vec<MessageView>,
    /// Whether there is more in the direction asked.
    pub more: bool,
}

/// What a client that was away has missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synced {
    /// The newest epoch of the store, for the client to bring the next time.
    pub epoch: EpochId,
    /// The client got what it holds from another history than the store's: it has to forget that,
    /// and is given everything from the beginning.
    pub reset: bool,
    /// By conversation, in order of id.
    pub conversations: Vec<SyncedConversation>,
}

/// What one conversation has for a client that was away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncedConversation {
    /// Which.
    pub id: ConversationId,
    /// The client holds messages of it that the store does not have: it has to forget what it holds
    /// of this conversation, and is given it from the beginning.
    pub reset: bool,
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
    /// Messages up to the client's cursor that were edited or deleted after the change it named, as they
    /// are now, rising in `rev`.
    pub changes: Vec<MessageView>,
    /// The client knows all changes up to this number now.
    pub change_seq: Rev,
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
    /// A chat over this store and this fleet. Its methods are called within a tokio runtime.
    /// Its messages show no files.
    pub fn new(store: Arc<dyn Store>, fleet: Arc<dyn Fleet>) -> Arc<Chat> {
        Chat::with_clock(store, fleet, None, Clock::system())
    }

    /// A chat whose messages may show these files, which lie in the same store.
    pub fn with_files(
        store: Arc<dyn Store>,
        fleet: Arc<dyn Fleet>,
        files: Arc<Files>,
    ) -> Arc<Chat> {
        Chat::with_clock(store, fleet, Some(files), Clock::system())
    }

    /// A chat that knows the time from this clock, which is compared with the store's.
    pub fn with_clock(
        store: Arc<dyn Store>,
        fleet: Arc<dyn Fleet>,
        files: Option<Arc<Files>>,
        clock: Arc<Clock>,
    ) -> Arc<Chat> {
        let heads = Arc::new(Heads::new(Arc::clone(&store)));
        let epochs = Epochs::new(Arc::clone(&store));
        let committer = Committer::new(
            Arc::clone(&store),
            Arc::clone(&fleet),
            Arc::clone(&heads),
            Arc::clone(&clock),
            Arc::clone(&epochs),
        );
        let recent = Arc::clone(committer.recent());
        let in_doubt = Arc::clone(committer.in_doubt());
        Arc::new(Chat {
            edits: Edits::new(
                Arc::clone(&store),
                Arc::clone(&fleet),
                recent,
                Arc::clone(&in_doubt),
                files.clone(),
                Arc::clone(&clock),
            ),
            cursors: CursorLanes::new(Arc::clone(&store), fleet, Arc::clone(&heads), in_doubt),
            heads,
            committer,
            query: Query::new(Arc::clone(&store)),
            epochs,
            tasks: Tasks::new(),
            store,
            files,
            clock,
        })
    }

    /// The time of the store, as this node knows it.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Which history the store holds.
    pub fn epochs(&self) -> &Arc<Epochs> {
        &self.epochs
    }

    /// Commits a message; returns when it is durable and announced. Has its place in the order of
    /// the conversation from the first poll on; with attachments, once they were looked at. A
    /// resend, with the same `clientMsgId`, gets the first result.
    ///
    /// # Errors
    /// `not_found`; `invalid`, naming `replyTo`, `attachments` or `type`; `conflict`, naming `clientMsgId`, if
    /// the sender used it here for something else; `unavailable`: the outcome is unknown, a resend finds out.
    pub async fn send(&self, command: SendMessage) -> Result<Arc<Message>> {
        let sent = match command.attachments.is_empty() {
            true => self.commit(command).await,
            false => self.send_with_files(command).await,
        };
        sent.inspect_err(|error| metrics::message_rejected(error.code))
    }

    async fn commit(&self, command: SendMessage) -> Result<Arc<Message>> {
        let conversation = command.conversation;
        let sent = self.committer.commit(conversation, Action::Send(command));
        match sent.await? {
            Outcome::Written(message) => Ok(message),
            Outcome::Unchanged => Err(Error::new(ErrorCode::Internal, "nothing was written")),
        }
    }

    /// Looks at the files first: the pipeline, in which all conversations share writes, does not
    /// wait for a file storage.
    async fn send_with_files(&self, mut command: SendMessage) -> Result<Arc<Message>> {
        // Who is not in there learns nothing else, and claims nothing. A resend of what was committed
        // while the sender was a member is answered all the same.
        if let Err(error) = self.authorise(command.sender, command.conversation).await {
            return match error.code {
                ErrorCode::NotFound => self.committed_before(&command).await?.ok_or(error),
                _ => Err(error),
            };
        }
        let claimed = match &self.files {
            Some(files) => files.claim(&command).await,
            None => Err(Error::invalid("attachments", "no files are kept here")),
        };
        match claimed {
            Ok(claimed) if claimed.is_fresh() => {
                command.shows = claimed.attachments;
                self.commit(command).await
            }
            Ok(_) => Err(Error::unavailable("looking at the files took too long")),
            // A resend of what was committed before is answered, whatever became of its files.
            Err(error) => match self.committed_before(&command).await? {
                Some(message) => Ok(message),
                None => Err(error),
            },
        }
    }

    async fn committed_before(&self, command: &SendMessage) -> Result<Option<Arc<Message>>> {
        let Some(name) = command.client_msg_id.clone() else {
            return Ok(None);
        };
        let key = (command.conversation, command.sender, name);
        let found = read(self.store.messages_by_client_id(&[key])).await?.pop();
        let Some(NamedMessage { message, sent }) = found else {
            return Ok(None);
        };
        command.must_repeat(&message, sent)?;
        self.committer.tell_again(&message);
        Ok(Some(Arc::new(message)))
    }

    /// Changes a message of the editor's own. Edits of one message are made in the order of the
    /// first polls.
    ///
    /// # Errors
    /// `not_found`; `forbidden`, if it is somebody else's or a system message; `conflict`, if it
    /// was deleted; `unavailable`.
    pub async fn edit(&self, command: EditMessage) -> Result<Arc<Message>> {
        let lane = self.edits.enter(command.message).await?;
        let edits = Arc::clone(&self.edits);
        let edit = async move {
            let _lane = lane;
            edits.edit(command).await
        };
        self.tasks.run(edit).await
    }

    /// Empties a message of the user's own; again: the same answer.
    ///
    /// # Errors
    /// As [`Self::edit`], without `conflict`.
    pub async fn delete(&self, user: UserId, message: MessageId) -> Result<Arc<Message>> {
        let lane = self.edits.enter(message).await?;
        let edits = Arc::clone(&self.edits);
        let delete = async move {
            let _lane = lane;
            edits.delete(user, message).await
        };
        self.tasks.run(delete).await
    }

    /// Raises a cursor (clamped to the newest `seq`); returns the unread count after it. Of
    /// `Delivered`, which does not change that count, 0.
    ///
    /// # Errors
    /// `not_found`; `unavailable`.
    pub async fn mark(
        &self,
        user: UserId,
        conversation: ConversationId,
        kind: CursorKind,
        seq: Seq,
    ) -> Result<u64> {
        let advance = CursorAdvance {
            conversation,
            user,
            kind,
            seq,
        };
        self.cursors.raise(advance).await?;
        match kind {
            CursorKind::Delivered => Ok(0),
            CursorKind::Read => self.query.unread_in(user, conversation).await,
        }
    }

    /// What the user's conversations have beyond the client's cursors, in order of id: at most
    /// [`crate::limits::PAGE_DEFAULT`] messages each and [`crate::limits::SYNC_MESSAGES_MAX`] in
    /// all, and as many changes again, `more` where that is not all. Where the user is no member, nothing.
    /// A client that brings an epoch the store does not know, or a cursor beyond the end of a log, holds
    /// what is not in the store: its cursors, or that one, count as 0.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn sync(&self, user: UserId, request: SyncRequest) -> Result<Synced> {
        let reset = match &request.epoch {
            Some(epoch) => !self.epochs.knows(epoch).await?,
            None => false,
        };
        Ok(Synced {
            conversations: self.query.sync(user, request, reset).await?,
            epoch: self.epochs.current(),
            reset,
        })
    }

    /// A page of history, of what the user may see.
    ///
    /// # Errors
    /// `not_found`; `unavailable`.
    pub async fn history(
        &self,
        user: UserId,
        conversation: ConversationId,
        page: PageRequest,
    ) -> Result<Page> {
        self.query.history(user, conversation, page).await
    }

    /// Makes a conversation, or finds the pair's; true if this request made it, now or when it was first sent
    /// under its key. All participants must exist.
    ///
    /// # Errors
    /// `invalid`, naming `participants`; `conflict`, naming the key, if another request used it; `not_found`,
    /// if this one made a conversation that the creator is not in any more; `unavailable`: a repetition under
    /// the same key finds out.
    pub async fn create_conversation(
        &self,
        command: CreateConversation,
    ) -> Result<(ConversationView, bool)> {
        let creator = command.creator;
        let committer = Arc::clone(&self.committer);
        let create = async move { committer.create(command).await };
        let conversation = match self.tasks.run(create).await? {
            Created::New(conversation) => conversation,
            Created::Repeated(made) => {
                return Ok((self.conversation(creator, made.id).await?, true));
            }
            Created::Existing(found) => {
                return Ok((self.conversation(creator, found.id).await?, false));
            }
        };
        let view = ConversationView {
            conversation,
            last_message: None,
            unread: 0,
            read_seq: 0,
            delivered_seq: 0,
        };
        Ok((view, true))
    }

    /// Gives a group a new title; any member may.
    ///
    /// # Errors
    /// `not_found`; `forbidden`, if it is private; `invalid`, naming `title`; `unavailable`.
    pub async fn rename(
        &self,
        user: UserId,
        conversation: ConversationId,
        title: &str,
    ) -> Result<ConversationView> {
        self.committer.rename(user, conversation, title).await?;
        self.conversation(user, conversation).await
    }

    /// Adds somebody to a group; any member may. Already there: no change.
    ///
    /// # Errors
    /// `not_found`; `forbidden`, if it is private; `invalid`, naming `userId`, if there is no such
    /// user; `conflict`, if it is full; `unavailable`.
    pub async fn add_participant(
        &self,
        by: UserId,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<ConversationView> {
        self.committer.add(by, conversation, user).await?;
        self.conversation(by, conversation).await
    }

    /// Removes somebody from a group, or oneself (leaves); any member may.
    ///
    /// # Errors
    /// `not_found`, if either is not in it; `forbidden`, if it is private; `unavailable`.
    pub async fn remove_participant(
        &self,
        by: UserId,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<()> {
        self.committer.remove(by, conversation, user).await
    }

    /// A page of the user's conversations, newest first.
    ///
    /// # Errors
    /// `invalid`, naming `limit`; `unavailable`.
    pub async fn conversations(
        &self,
        user: UserId,
        after: Option<ConversationCursor>,
        limit: Option<usize>,
    ) -> Result<ConversationPage> {
        self.query.conversations(user, after, limit).await
    }

    /// One conversation of the user's.
    ///
    /// # Errors
    /// `not_found`; `unavailable`.
    pub async fn conversation(
        &self,
        user: UserId,
        conversation: ConversationId,
    ) -> Result<ConversationView> {
        self.query.conversation(user, conversation).await
    }

    /// Every place where the user is a member now.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn memberships(&self, user: UserId) -> Result<Vec<Membership>> {
        self.query.memberships(user).await
    }

    /// Every place where each of these is a member now, in the order asked, each person once; what
    /// their sockets need to join their rooms.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn memberships_of(&self, users: &[UserId]) -> Result<Vec<Vec<Membership>>> {
        self.query.memberships_of(users).await
    }

    /// For a gateway that may not have heard of it: who of those that `concern` it became a member
    /// since, with the conversation as it is now and the message that says so (0: a new one). Of
    /// more than [`crate::limits::ADDITIONS_MAX`], the oldest.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn additions_since(
        &self,
        since: Timestamp,
        concern: impl Fn(UserId) -> bool + Send,
    ) -> Result<Vec<(UserId, Arc<Conversation>, Seq)>> {
        self.query.additions_since(since, concern).await
    }

    /// Refuses who is not a member, for events that are not stored (typing). A member is believed
    /// from memory where the conversation is known.
    ///
    /// # Errors
    /// `not_found`; `unavailable`.
    pub async fn authorise(&self, user: UserId, conversation: ConversationId) -> Result<()> {
        self.heads.for_member(conversation, user).await.map(|_| ())
    }

    /// For a gateway that has seen a gap: what follows each of these places, at most `limit` a
    /// conversation, in the order asked.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn backfill(
        &self,
        after: &[(ConversationId, Seq)],
        limit: usize,
    ) -> Result<Vec<Backfill>> {
        let found = self.query.backfill(after, limit).await?;
        found
            .iter()
            .for_each(|page| self.heads.learn(&page.messages));
        Ok(found)
    }

    /// Newest `seq` of each conversation that exists.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn heads(&self, ids: &[ConversationId]) -> Result<Vec<(ConversationId, Seq)>> {
        self.query.heads(ids).await
    }

    /// How far each conversation that exists has come, for a gateway that compares.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn marks(&self, ids: &[ConversationId]) -> Result<Vec<Mark>> {
        self.query.marks(ids).await
    }

    /// For a gateway that may have missed some: what was edited or deleted after these changes, rising in
    /// `rev`, at most `limit` a conversation, in the order asked.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn changes(
        &self,
        after: &[(ConversationId, Rev)],
        limit: usize,
    ) -> Result<Vec<Vec<Arc<Message>>>> {
        self.query.changes(after, limit).await
    }

    /// The conversation as it is in the store, for the gateway's own use.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn inspect(&self, id: ConversationId) -> Result<Option<Arc<Conversation>>> {
        Ok(self.query.inspect(id).await?.map(Arc::new))
    }

    /// People who share a conversation with each of these, at most `limit`, in the order asked.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn contacts(&self, users: &[UserId], limit: usize) -> Result<Vec<Vec<UserId>>> {
        self.query.contacts(users, limit).await
    }

    /// For tests that plant a fault.
    #[cfg(test)]
    pub(crate) fn in_doubt(&self) -> &crate::pipeline::in_doubt::InDoubtWrites {
        self.committer.in_doubt()
    }

    /// A listener that passes on what it hears, and lets the core learn from it what other nodes
    /// have written: how far logs reach, who was removed, which messages were changed.
    pub fn listening(&self, listener: Arc<dyn FleetListener>) -> Arc<dyn FleetListener> {
        Arc::new(Listening {
            heads: Arc::clone(&self.heads),
            recent: Arc::clone(self.committer.recent()),
            listener,
        })
    }

    /// Waits until everything accepted is committed and announced, for a clean end. What comes
    /// meanwhile is refused as `unavailable`.
    pub async fn drain(&self) {
        tokio::join!(
            self.committer.drain(),
            self.cursors.drain(),
            self.tasks.drain()
        );
        self.committer.in_doubt().drain().await;
    }
}

/// Passes on what it hears, once what is kept in memory agrees with it.
struct Listening {
    heads: Arc<Heads>,
    recent: Arc<Recent>,
    listener: Arc<dyn FleetListener>,
}

impl FleetListener for Listening {
    fn on_event(&self, event: &FleetEvent) {
        match event {
            FleetEvent::Committed { messages } => self.heads.learn(messages),
            FleetEvent::Parted {
                conversation,
                user,
                seq,
                ..
            } => self.heads.parted(*conversation, *user, *seq),
            FleetEvent::Changed { message, .. } => self.recent.forget(message),
            _ => {}
        }
        self.listener.on_event(event);
    }

    fn on_doubt(&self) {
        self.recent.forget_all();
        self.listener.on_doubt();
    }
}
