//! The JSON of a conversation: what is the same for every member, and one member's view of it.

use serde::Serialize;
use syncchat_core::model::{self, ConversationView, Seq};
use utoipa::ToSchema;

use crate::message::Message;
use crate::scalar::{Id, Time};
use crate::user::User;

/// What is the same for every member.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SharedConversation<'a> {
    /// Which.
    pub id: Id,
    /// `private` or `group`.
    #[serde(rename = "type")]
    #[schema(value_type = ConversationType)]
    pub kind: &'static str,
    /// Of a group, if it has one.
    #[schema(required = true)]
    pub title: Option<&'a str>,
    /// Ids of everybody in it now.
    pub participants: Vec<Id>,
    /// `seq` of the newest message; 0 while there is none.
    pub last_seq: u64,
    /// When it was made.
    pub created_at: Time,
    /// When the newest message was written, or the conversation made.
    pub updated_at: Time,
    /// Which version of `title` and `participants` this is: 1 as it was made, higher after each change of
    /// them. Ignore a lower one than is known.
    #[schema(minimum = 1)]
    pub rev: u64,
    /// The highest `rev` of its messages, for `changes` of `sync`: a client that knows it has seen all edits and
    /// deletions. 0 where that is not known.
    pub change_seq: u64,
}

/// A conversation as one member sees it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Conversation<'a> {
    /// What is the same for every member.
    #[serde(flatten)]
    pub shared: SharedConversation<'a>,
    /// The people behind `participants`; left out where there are many, or where nobody asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub members: Option<Vec<User<'a>>>,
    /// The newest message the member may see.
    #[schema(required = true)]
    pub last_message: Option<Message<'a>>,
    /// Messages after the member's read cursor that are neither their own, nor deleted, nor
    /// system messages.
    pub unread: u64,
    /// The member has read up to here.
    pub read_seq: u64,
    /// The member's devices have it up to here.
    pub delivered_seq: u64,
}

impl<'a> SharedConversation<'a> {
    /// What is the same for every member.
    pub fn new(conversation: &'a model::Conversation) -> SharedConversation<'a> {
        SharedConversation {
            id: conversation.id.into(),
            kind: conversation.kind.as_str(),
            title: conversation.title.as_deref(),
            participants: conversation
                .participants
                .iter()
                .map(|&user| user.into())
                .collect(),
            last_seq: conversation.last_seq,
            created_at: conversation.created_at.into(),
            updated_at: conversation.updated_at.into(),
            rev: conversation.rev,
            change_seq: conversation.change_seq,
        }
    }
}

impl<'a> Conversation<'a> {
    /// One member's view.
    pub fn view(view: &'a ConversationView) -> Conversation<'a> {
        Conversation {
            shared: SharedConversation::new(&view.conversation),
            members: None,
            last_message: view.last_message.as_ref().map(Message::view),
            unread: view.unread,
            read_seq: view.read_seq,
            delivered_seq: view.delivered_seq,
        }
    }

    /// For somebody who has just come in, by message `seq` (0: the conversation is new): nothing
    /// is unread, and the cursors stand at `seq`.
    pub fn joined(conversation: &'a model::Conversation, seq: Seq) -> Conversation<'a> {
        Conversation {
            shared: SharedConversation::new(conversation),
            members: None,
            last_message: None,
            unread: 0,
            read_seq: seq,
            delivered_seq: seq,
        }
    }

    /// With the people behind the ids.
    #[must_use]
    pub fn with_members(self, members: Vec<User<'a>>) -> Conversation<'a> {
        Conversation {
            members: Some(members),
            ..self
        }
    }
}

/// Two people, or many.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "a schema only")]
pub(crate) enum ConversationType {
    Private,
    Group,
}
