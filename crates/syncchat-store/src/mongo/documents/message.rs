//! Messages.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Binary, DateTime};
use serde::{Deserialize, Serialize};
use syncchat_core::model::{
    Attachment, ConversationId, FIRST_REV, FileId, Message, MessageId, MessageKind, SystemEvent,
    UserId,
};
use syncchat_core::ports::store::{NamedMessage, StoreError};

use super::{Id, count, date, digest, int, stored_rev, timestamp};
use crate::mongo::errors::damaged;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::mongo) struct MessageRecord {
    #[serde(rename = "_id")]
    id: ObjectId,
    pub(in crate::mongo) conversation_id: ObjectId,
    pub(in crate::mongo) seq: i64,
    #[serde(default)]
    ordinal: i64,
    sender: ObjectId,
    #[serde(default)]
    content: String,
    #[serde(rename = "type", default)]
    kind: String,
    /// As written, "sent"; what is shown is derived from the members' cursors.
    #[serde(default)]
    status: String,
    /// As written, empty.
    #[serde(default)]
    read_by: Vec<ObjectId>,
    #[serde(default)]
    edited: bool,
    #[serde(default)]
    deleted: bool,
    created_at: DateTime,
    updated_at: Option<DateTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<EventRecord>,
    #[serde(default)]
    attachments: Vec<AttachmentRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_to: Option<ObjectId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_msg_id: Option<String>,
    /// The number of its last change; absent while there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rev: Option<i64>,
    /// The digest of what it was sent as, if it has a `clientMsgId` and was edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sent: Option<Binary>,
}

impl TryFrom<MessageRecord> for NamedMessage {
    type Error = StoreError;

    fn try_from(record: MessageRecord) -> Result<NamedMessage, StoreError> {
        Ok(NamedMessage {
            sent: record.sent.as_ref().and_then(digest),
            message: Message::try_from(record)?,
        })
    }
}

impl From<&Message> for MessageRecord {
    fn from(message: &Message) -> MessageRecord {
        MessageRecord {
            id: message.id.oid(),
            conversation_id: message.conversation.oid(),
            seq: int(message.seq),
            ordinal: int(message.ordinal),
            sender: message.sender.oid(),
            content: message.content.clone(),
            kind: message.kind.as_str().into(),
            status: "sent".into(),
            read_by: Vec::new(),
            edited: message.edited,
            deleted: message.deleted,
            created_at: date(message.created_at),
            updated_at: Some(date(message.updated_at)),
            event: message.event.as_ref().map(EventRecord::from),
            attachments: message
                .attachments
                .iter()
                .map(AttachmentRecord::from)
                .collect(),
            reply_to: message.reply_to.map(|id| id.oid()),
            client_msg_id: message.client_msg_id.clone(),
            rev: (message.rev > FIRST_REV).then(|| int(message.rev)),
            sent: None,
        }
    }
}

impl TryFrom<MessageRecord> for Message {
    type Error = StoreError;

    fn try_from(record: MessageRecord) -> Result<Message, StoreError> {
        Ok(Message {
            id: MessageId::from_bytes(record.id.bytes()),
            conversation: ConversationId::from_bytes(record.conversation_id.bytes()),
            seq: count(record.seq),
            ordinal: count(record.ordinal),
            sender: UserId::from_bytes(record.sender.bytes()),
            content: record.content,
            // A kind that this release does not know still has a text to show.
            kind: MessageKind::parse(&record.kind).unwrap_or(MessageKind::Text),
            event: record.event.map(SystemEvent::try_from).transpose()?,
            attachments: record
                .attachments
                .into_iter()
                .map(Attachment::from)
                .collect(),
            reply_to: record.reply_to.map(|id| MessageId::from_bytes(id.bytes())),
            client_msg_id: record.client_msg_id,
            edited: record.edited,
            deleted: record.deleted,
            created_at: timestamp(record.created_at),
            updated_at: timestamp(record.updated_at.unwrap_or(record.created_at)),
            rev: stored_rev(record.rev),
        }
        .redacted())
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(in crate::mongo) struct EventRecord {
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<ObjectId>,
    #[serde(rename = "userId", default, skip_serializing_if = "Option::is_none")]
    user: Option<ObjectId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    title: Option<String>,
}

impl From<&SystemEvent> for EventRecord {
    fn from(event: &SystemEvent) -> EventRecord {
        let (kind, by, user, title) = match event {
            SystemEvent::Added { by, user } => ("added", Some(by), Some(user), None),
            SystemEvent::Removed { by, user } => ("removed", Some(by), Some(user), None),
            SystemEvent::Left { user } => ("left", None, Some(user), None),
            SystemEvent::Renamed { by, title } => ("renamed", Some(by), None, Some(title)),
        };
        EventRecord {
            kind: kind.into(),
            by: by.map(Id::oid),
            user: user.map(Id::oid),
            title: title.cloned(),
        }
    }
}

impl TryFrom<EventRecord> for SystemEvent {
    type Error = StoreError;

    fn try_from(record: EventRecord) -> Result<SystemEvent, StoreError> {
        let bad = || damaged("messages.event");
        let id = |id: Option<ObjectId>| id.map(|id| UserId::from_bytes(id.bytes())).ok_or_else(bad);
        Ok(match record.kind.as_str() {
            "added" => SystemEvent::Added {
                by: id(record.by)?,
                user: id(record.user)?,
            },
            "removed" => SystemEvent::Removed {
                by: id(record.by)?,
                user: id(record.user)?,
            },
            "left" => SystemEvent::Left {
                user: id(record.user)?,
            },
            "renamed" => SystemEvent::Renamed {
                by: id(record.by)?,
                title: record.title.ok_or_else(bad)?,
            },
            _ => return Err(bad()),
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AttachmentRecord {
    file_id: ObjectId,
    name: String,
    size: i64,
    content_type: String,
}

impl From<&Attachment> for AttachmentRecord {
    fn from(attachment: &Attachment) -> AttachmentRecord {
        AttachmentRecord {
            file_id: attachment.file.oid(),
            name: attachment.name.clone(),
            size: int(attachment.size),
            content_type: attachment.content_type.clone(),
        }
    }
}

impl From<AttachmentRecord> for Attachment {
    fn from(record: AttachmentRecord) -> Attachment {
        Attachment {
            file: FileId::from_bytes(record.file_id.bytes()),
            name: record.name,
            size: count(record.size),
            content_type: record.content_type,
        }
    }
}
