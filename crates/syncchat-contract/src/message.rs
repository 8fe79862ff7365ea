//! The one JSON of a message, in events, acks, pages and answers alike.

use serde::Serialize;
use syncchat_core::model::{self, MessageStatus, MessageView, SystemEvent, UserId};
use utoipa::ToSchema;

use crate::scalar::{Id, Time};

/// A message as clients see it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Message<'a> {
    /// Which.
    pub id: Id,
    /// Where.
    pub conversation_id: Id,
    /// Its place there: 1, 2, 3 … without holes.
    #[schema(minimum = 1)]
    pub seq: u64,
    /// Who said it; of a system message, who did it.
    pub sender: Id,
    /// As written, not escaped; empty once deleted.
    pub content: &'a str,
    /// `text`, `image`, `file` or `system`.
    #[serde(rename = "type")]
    #[schema(value_type = MessageType)]
    pub kind: &'static str,
    /// How far it has come: `sent`, `delivered` or `read`.
    #[schema(value_type = Status)]
    pub status: &'static str,
    /// Others who have read it; a bounded number of them.
    pub read_by: Vec<Id>,
    /// Whether the content was changed.
    pub edited: bool,
    /// Whether the content was taken away.
    pub deleted: bool,
    /// Files it shows.
    pub attachments: Vec<Attachment<'a>>,
    /// The message it answers.
    #[schema(required = true)]
    pub reply_to: Option<Id>,
    /// The sender's own name for it.
    #[schema(required = true)]
    pub client_msg_id: Option<&'a str>,
    /// What happened; with system messages only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub event: Option<Happening<'a>>,
    /// When it was accepted.
    pub created_at: Time,
    /// When it was last changed.
    pub updated_at: Time,
}

/// A file shown by a message.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attachment<'a> {
    /// Which file.
    pub file_id: Id,
    /// The name it was uploaded under.
    pub name: &'a str,
    /// Bytes.
    pub size: u64,
    /// MIME type as declared by who uploaded it.
    pub content_type: &'a str,
}

/// What a system message tells.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Happening<'a> {
    /// `added`, `removed`, `left` or `renamed`.
    #[schema(value_type = HappeningKind)]
    pub kind: &'static str,
    /// Who did it.
    pub by: Id,
    /// Who came or went.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub user_id: Option<Id>,
    /// The new title.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub title: Option<&'a str>,
}

impl<'a> Message<'a> {
    /// A message with what the cursors of the others say of it.
    pub fn view(view: &'a MessageView) -> Message<'a> {
        Message::build(&view.message, view.status, &view.read_by)
    }

    /// A message as it is just after its commit, before anybody else has seen it.
    pub fn fresh(message: &'a model::Message) -> Message<'a> {
        Message::build(message, MessageStatus::Sent, &[])
    }

    fn build(
        message: &'a model::Message,
        status: MessageStatus,
        read_by: &[UserId],
    ) -> Message<'a> {
        Message {
            id: message.id.into(),
            conversation_id: message.conversation.into(),
            seq: message.seq,
            sender: message.sender.into(),
            content: &message.content,
            kind: message.kind.as_str(),
            status: status.as_str(),
            read_by: read_by.iter().map(|&user| user.into()).collect(),
            edited: message.edited,
            deleted: message.deleted,
            attachments: message.attachments.iter().map(Attachment::from).collect(),
            reply_to: message.reply_to.map(Id::from),
            client_msg_id: message.client_msg_id.as_deref(),
            event: message.event.as_ref().map(Happening::from),
            created_at: message.created_at.into(),
            updated_at: message.updated_at.into(),
        }
    }
}

impl<'a> From<&'a model::Attachment> for Attachment<'a> {
    fn from(attachment: &'a model::Attachment) -> Attachment<'a> {
        Attachment {
            file_id: attachment.file.into(),
            name: &attachment.name,
            size: attachment.size,
            content_type: &attachment.content_type,
        }
    }
}

impl<'a> From<&'a SystemEvent> for Happening<'a> {
    fn from(event: &'a SystemEvent) -> Happening<'a> {
        let (kind, by, user, title) = match event {
            SystemEvent::Added { by, user } => ("added", by, Some(user), None),
            SystemEvent::Removed { by, user } => ("removed", by, Some(user), None),
            SystemEvent::Left { user } => ("left", user, Some(user), None),
            SystemEvent::Renamed { by, title } => ("renamed", by, None, Some(title.as_str())),
        };
        Happening {
            kind,
            by: (*by).into(),
            user_id: user.map(|&user| user.into()),
            title,
        }
    }
}

/// The names of [`model::MessageKind`], for the OpenAPI document.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "a schema only")]
pub(crate) enum MessageType {
    Text,
    Image,
    File,
    System,
}

/// The types a client may send, for the OpenAPI document.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "a schema only")]
pub(crate) enum SendableType {
    Text,
    Image,
    File,
}

/// The names of [`MessageStatus`], for the OpenAPI document.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "a schema only")]
pub(crate) enum Status {
    Sent,
    Delivered,
    Read,
}

/// The kinds of [`SystemEvent`], for the OpenAPI document.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "a schema only")]
pub(crate) enum HappeningKind {
    Added,
    Removed,
    Left,
    Renamed,
}
