//! What is said between the nodes of a fleet. Everything here is a hint: it may be lost, doubled
//! or late, and the promise still holds, because the store has the truth. Only typing and presence
//! have no other home.

use std::sync::Arc;

use async_trait::async_trait;

use crate::command::CursorKind;
use crate::model::{Conversation, ConversationId, Message, PresenceStatus, Seq, Timestamp, UserId};
use crate::ports::store::{NodeStore, PresenceChange};

/// Whom an event concerns; what a node subscribes to while it has somebody there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// The members of a conversation.
    Conversation(ConversationId),
    /// All devices of a person.
    User(UserId),
}

/// How a message was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// New content.
    Edited,
    /// Content taken away.
    Deleted,
}

/// What happened.
///
/// One node announces an append in the order of its log: [`FleetEvent::Joined`] before the
/// `Committed` whose first message says so; [`FleetEvent::Parted`] after the `Committed` whose last
/// message says so, and before any later message; [`FleetEvent::Updated`] after all of them. Between
/// topics, and between nodes, nothing keeps that order on the way: who may see what is told by the
/// system messages in the log itself.
#[derive(Debug, Clone)]
pub enum FleetEvent {
    /// Messages were committed, consecutive in `seq`. To the conversation.
    Committed {
        /// In rising `seq`, at least one.
        messages: Arc<[Arc<Message>]>,
    },
    /// The log has grown to `head`, by whom and with what is not known here. To the conversation.
    Head {
        /// Which log.
        conversation: ConversationId,
        /// Its newest `seq` as far as is known.
        head: Seq,
    },
    /// A message was changed. To the conversation.
    Changed {
        /// As it is now.
        message: Arc<Message>,
        /// How.
        change: Change,
    },
    /// A member's cursor rose. To the conversation.
    Cursor {
        /// Where.
        conversation: ConversationId,
        /// Whose.
        user: UserId,
        /// Which.
        kind: CursorKind,
        /// To where.
        seq: Seq,
    },
    /// A member types, or stopped. To the conversation. Best effort.
    Typing {
        /// Where.
        conversation: ConversationId,
        /// Who.
        user: UserId,
        /// Begun or ended.
        typing: bool,
    },
    /// `user` is a member of a new conversation, or was added to one by message `seq`
    /// (0: it is new). To the user.
    Joined {
        /// Who.
        user: UserId,
        /// The conversation, as it is now.
        conversation: Arc<Conversation>,
        /// The system message that says so; 0 for a new conversation.
        seq: Seq,
        /// Who did it.
        by: UserId,
    },
    /// `user` is no longer a member as of message `seq`. To the user.
    Parted {
        /// Who.
        user: UserId,
        /// Where.
        conversation: ConversationId,
        /// The last message they may see.
        seq: Seq,
        /// Who did it.
        by: UserId,
    },
    /// The lasting part of a conversation (its title) changed. To the conversation.
    Updated {
        /// As it is now.
        conversation: Arc<Conversation>,
    },
    /// A person came or went. To the user topic of each person who is to know. Best effort.
    Presence {
        /// Who is to know.
        watcher: UserId,
        /// Who came or went.
        user: UserId,
        /// Which.
        status: PresenceStatus,
        /// When last seen.
        last_seen: Timestamp,
    },
    /// Log-ins of this person were revoked: one family, or all. To the user.
    Revoked {
        /// Whose.
        user: UserId,
        /// Which; all if none.
        family: Option<[u8; 16]>,
    },
}

impl FleetEvent {
    /// Whom it concerns.
    pub fn topic(&self) -> Topic {
        match self {
            // A batch is never empty; an id of zeros is nobody's conversation.
            FleetEvent::Committed { messages } => Topic::Conversation(
                messages
                    .first()
                    .map_or(ConversationId::from_bytes([0; 12]), |m| m.conversation),
            ),
            FleetEvent::Head { conversation, .. }
            | FleetEvent::Cursor { conversation, .. }
            | FleetEvent::Typing { conversation, .. } => Topic::Conversation(*conversation),
            FleetEvent::Changed { message, .. } => Topic::Conversation(message.conversation),
            FleetEvent::Updated { conversation } => Topic::Conversation(conversation.id),
            FleetEvent::Joined { user, .. }
            | FleetEvent::Parted { user, .. }
            | FleetEvent::Revoked { user, .. } => Topic::User(*user),
            FleetEvent::Presence { watcher, .. } => Topic::User(*watcher),
        }
    }
}

/// Takes what was said, on the node that has somebody who wants to know.
pub trait FleetListener: Send + Sync + 'static {
    /// Something was said on a topic this node has subscribed to, or by this node itself on any
    /// topic. Must not block; events of one publisher about one topic come in the order published.
    fn on_event(&self, event: &FleetEvent);

    /// Something may have been lost (a reconnect, an overflow, a silence): compare heads and log-ins,
    /// and look for memberships. Must not block.
    fn on_doubt(&self);
}

/// The nodes of a fleet, as one of them sees it.
///
/// This node's own events reach its listener directly, before and without any network. Others'
/// come while they and we are connected.
#[async_trait]
pub trait Fleet: Send + Sync + 'static {
    /// Sets who listens on this node. Called once, before any event.
    fn listen(&self, listener: Arc<dyn FleetListener>);

    /// Says something. Never blocks and never fails: what cannot be passed on is counted, and the
    /// comparison of heads finds it.
    fn publish(&self, event: FleetEvent);

    /// This node has somebody interested in these topics, until [`Self::unsubscribe`]. Returns once
    /// everything published after this moment will be heard, or the network is away.
    async fn subscribe(&self, topics: Vec<Topic>);

    /// Nobody here is interested any more.
    fn unsubscribe(&self, topics: Vec<Topic>);

    /// Whether everybody can be heard: the network carries what is said, and no node that may be
    /// alive is silent. Always true for a fleet of one. While it is false, logs have to be compared.
    fn connected(&self) -> bool;

    /// This node ends: what it published is passed on first, and nobody waits for it any more.
    /// Returns within a second or so. There is no default: a fleet that wraps another one and forgot to
    /// pass this on would end without a goodbye.
    async fn close(&self);

    /// Waits until a task has ended that the fleet needs as long as it lives, and names it. Nothing is
    /// heard, or nothing is said, from then on. A fleet that needs none waits for ever.
    async fn failed(&self) -> &'static str {
        std::future::pending().await
    }

    /// Whether it answers; for `syncchat check`.
    async fn check(&self) -> Result<String, String>;

    /// A short name for tables and logs: `local` or `redis`.
    fn kind(&self) -> &'static str;
}

/// A device of a person came to, or went from, this node; who is online in the whole fleet.
#[async_trait]
pub trait Presence: Send + Sync + 'static {
    /// Where nodes note that they live, and who is there, while the fleet cannot hear them. To be
    /// called once, at the start; without it silence is death.
    fn note_in(&self, _store: Arc<dyn NodeStore>) {}

    /// These changes are told to the fleet now; those that cannot hear it shall find them noted. Never
    /// blocks.
    fn note_changes(&self, _changes: &[PresenceChange]) {}

    /// Changes that other nodes noted and could not tell this one, since somebody last asked. Some may
    /// have been heard all the same. Ask every second; an empty answer is the rule.
    async fn noted(&self) -> Vec<PresenceChange> {
        Vec::new()
    }

    /// One more device of this person is here. True if they were offline in the fleet.
    async fn arrive(&self, user: UserId) -> bool;

    /// One device less. True if none is left in the fleet; if that cannot be known now, the person
    /// will be among [`Self::departed`].
    async fn leave(&self, user: UserId) -> bool;

    /// Which of these are online, in the order asked; `None` where that cannot be known now.
    async fn online(&self, users: &[UserId]) -> Vec<Option<bool>>;

    /// People who went offline because their node died, or of whom this could not be known when
    /// they left, since somebody last asked. Each is told to one of the nodes that ask. Ask every
    /// second, after [`Self::noted`]; an empty answer is the rule.
    async fn departed(&self) -> Vec<UserId> {
        Vec::new()
    }

    /// People who are here although the fleet was told that they went offline, since somebody last
    /// asked: this node was taken for dead.
    async fn mistaken(&self) -> Vec<UserId> {
        Vec::new()
    }
}
