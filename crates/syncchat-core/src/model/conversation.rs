//! Conversations: their lasting part, and one person's view of them.

use super::{ConversationId, MessageView, Rev, Seq, Timestamp, UserId};

/// Two people, or many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConversationKind {
    /// Between two people; exists once for each pair, and its members never change.
    Private,
    /// Any number of people; has a title.
    Group,
}

impl ConversationKind {
    /// The name on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            ConversationKind::Private => "private",
            ConversationKind::Group => "group",
        }
    }

    /// Reads the name.
    pub fn parse(name: &str) -> Option<ConversationKind> {
        match name {
            "private" => Some(ConversationKind::Private),
            "group" => Some(ConversationKind::Group),
            _ => None,
        }
    }
}

/// A conversation and where its log ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// Which.
    pub id: ConversationId,
    /// Private or group.
    pub kind: ConversationKind,
    /// Of a group; empty for a private conversation.
    pub title: Option<String>,
    /// Who is in it now, in ascending order of id.
    pub participants: Vec<UserId>,
    /// `seq` of the newest message; 0 while there is none.
    pub last_seq: Seq,
    /// How many of the messages up to `last_seq` count as unread for somebody who has read
    /// nothing: all but the system messages.
    pub last_ordinal: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the newest message was written, or the conversation made.
    pub updated_at: Timestamp,
    /// Which version of the title and the members this is: [`FIRST_REV`](super::FIRST_REV) as it was made;
    /// after a change of them, one more than the `seq` of the message that tells of it.
    pub rev: Rev,
    /// The highest [`Message::rev`](super::Message::rev) in it, [`FIRST_REV`](super::FIRST_REV) while no
    /// message was edited or deleted: the number of the newest of these changes. May be lower than it
    /// is by now where the conversation was not just read from the store.
    pub change_seq: Rev,
}

impl Conversation {
    /// Whether this person is in it now.
    pub fn has_member(&self, user: UserId) -> bool {
        self.participants.binary_search(&user).is_ok()
    }
}

/// A conversation as one member sees it in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversationView {
    /// The conversation.
    pub conversation: Conversation,
    /// The newest message the member may see.
    pub last_message: Option<MessageView>,
    /// Messages after the member's read cursor that are neither their own, nor deleted, nor
    /// system messages.
    pub unread: u64,
    /// The member's read cursor.
    pub read_seq: Seq,
    /// The member's delivered cursor.
    pub delivered_seq: Seq,
}
