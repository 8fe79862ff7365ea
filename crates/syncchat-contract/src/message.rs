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
    /// Which version this is: 1 as it was committed, higher after each change. Ignore a lower one than is
    /// known, and any after one that is `deleted`.
    #[schema(minimum = 1)]
    pub rev: u64,
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
#[schema(as = SystemEvent)]
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
            content: message.shown_content(),
            kind: message.kind.as_str(),
            status: status.as_str(),
            read_by: read_by.iter().map(|&user| user.into()).collect(),
            edited: message.edited,
            deleted: message.deleted,
            attachments: message
                .shown_attachments()
                .iter()
                .map(Attachment::from)
                .collect(),
            reply_to: message.reply_to.map(Id::from),
            client_msg_id: message.shown_client_msg_id(),
            event: message.event.as_ref().map(Happening::from),
            created_at: message.created_at.into(),
            updated_at: message.updated_at.into(),
            rev: message.rev,
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

/// What a message carries.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "a schema only")]
pub(crate) enum MessageType {
    Text,
    Image,
    File,
    System,
}

/// What a client may send; `system` is the server's.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "a schema only")]
pub(crate) enum SendableType {
    Text,
    Image,
    File,
}

/// How far a message has come: the furthest of the others' cursors.
#[derive(ToSchema)]
#[schema(as = MessageStatus, rename_all = "lowercase")]
#[allow(dead_code, reason = "a schema only")]
pub(crate) enum Status {
    Sent,
    Delivered,
    Read,
}

/// What happened to the conversation.
#[derive(ToSchema)]
#[schema(as = SystemEventKind, rename_all = "lowercase")]
#[allow(dead_code, reason = "a schema only")]
pub(crate) enum HappeningKind {
    Added,
    Removed,
    Left,
    Renamed,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use syncchat_core::model::{
        ConversationId, FileId, MessageId, MessageKind, Timestamp, UserId as Uid,
    };

    use super::*;

    fn id(last: u8) -> [u8; 12] {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
    }

    fn message(kind: MessageKind) -> model::Message {
        model::Message {
            id: MessageId::from_bytes(id(1)),
            conversation: ConversationId::from_bytes(id(2)),
            seq: 7,
            ordinal: 6,
            sender: Uid::from_bytes(id(3)),
            content: "<b>\"hi\"</b>\n".into(),
            kind,
            event: None,
            attachments: Vec::new(),
            reply_to: None,
            client_msg_id: None,
            edited: false,
            deleted: false,
            created_at: Timestamp::from_millis(1_769_847_330_123),
            updated_at: Timestamp::from_millis(1_769_847_330_124),
            rev: 2,
        }
    }

    #[test]
    fn a_message_has_every_field_of_the_contract() {
        let view = MessageView {
            message: Arc::new(message(MessageKind::Text)),
            status: MessageStatus::Read,
            read_by: vec![Uid::from_bytes(id(4))],
        };
        assert_eq!(
            serde_json::to_value(Message::view(&view)).unwrap(),
            json!({
                "id": "000000000000000000000001",
                "conversationId": "000000000000000000000002",
                "seq": 7,
                "sender": "000000000000000000000003",
                "content": "<b>\"hi\"</b>\n",
                "type": "text",
                "status": "read",
                "readBy": ["000000000000000000000004"],
                "edited": false,
                "deleted": false,
                "attachments": [],
                "replyTo": null,
                "clientMsgId": null,
                "createdAt": "2026-01-31T08:15:30.123Z",
                "updatedAt": "2026-01-31T08:15:30.124Z",
                "rev": 2,
            })
        );
    }

    #[test]
    fn what_is_there_is_shown() {
        let mut model = message(MessageKind::File);
        model.reply_to = Some(MessageId::from_bytes(id(5)));
        model.client_msg_id = Some("c1".into());
        model.attachments.push(model::Attachment {
            file: FileId::from_bytes(id(6)),
            name: "a.txt".into(),
            size: 3,
            content_type: "text/plain".into(),
        });
        let json = serde_json::to_value(Message::fresh(&model)).unwrap();
        assert_eq!(json["type"], "file");
        assert_eq!(json["status"], "sent");
        assert_eq!(json["replyTo"], "000000000000000000000005");
        assert_eq!(json["clientMsgId"], "c1");
        assert_eq!(
            json["attachments"],
            json!([{"fileId": "000000000000000000000006", "name": "a.txt", "size": 3,
                "contentType": "text/plain"}])
        );
    }

    #[test]
    fn system_messages_say_what_happened() {
        let (by, user) = (Uid::from_bytes(id(3)), Uid::from_bytes(id(4)));
        let title = "new".to_owned();
        let (by_text, user_text) = (by.to_string(), user.to_string());
        let cases = [
            (
                SystemEvent::Added { by, user },
                json!({"kind": "added", "by": by_text, "userId": user_text}),
            ),
            (
                SystemEvent::Removed { by, user },
                json!({"kind": "removed", "by": by_text, "userId": user_text}),
            ),
            (
                SystemEvent::Left { user },
                json!({"kind": "left", "by": user_text, "userId": user_text}),
            ),
            (
                SystemEvent::Renamed { by, title },
                json!({"kind": "renamed", "by": by_text, "title": "new"}),
            ),
        ];
        for (event, expected) in cases {
            let model = model::Message {
                event: Some(event),
                ..message(MessageKind::System)
            };
            let json = serde_json::to_value(Message::fresh(&model)).unwrap();
            assert_eq!(
                (&json["type"], &json["event"]),
                (&json!("system"), &expected)
            );
        }
    }
}
