//! Documents as stored, and the model's values made of them and back.
//!
//! Reading is lenient where an older deployment may have left a field out or written another
//! type; what the log hangs on (`seq`, `lastSeq`) is made by `migrate`, and needed.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime};
use serde::{Deserialize, Deserializer, Serialize};
use syncchat_core::model::{
    Account, Attachment, Conversation, ConversationId, ConversationKind, FileId, Message,
    MessageId, MessageKind, PresenceStatus, Seq, SeqSpans, SystemEvent, Timestamp, User, UserId,
};
use syncchat_core::ports::store::{Cursors, StoreError};

use super::errors::damaged;

// === Small values ===

/// Numbers of the model never reach 2⁶³ but as [`Seq::MAX`], "the end".
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A stored number; a negative one, which nobody writes, counts as none.
pub(super) fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

pub(super) fn date(at: Timestamp) -> DateTime {
    DateTime::from_millis(at.millis())
}

pub(super) fn timestamp(at: DateTime) -> Timestamp {
    Timestamp::from_millis(at.timestamp_millis())
}

/// Something that is an ObjectId in the store.
pub(super) trait Id {
    fn oid(&self) -> ObjectId;
}

macro_rules! id {
    ($($name:ident)*) => {$(
        impl Id for $name {
            fn oid(&self) -> ObjectId {
                ObjectId::from_bytes(self.bytes())
            }
        }
    )*};
}
id! { UserId ConversationId MessageId FileId }

pub(super) fn oids<I: Id>(ids: &[I]) -> Vec<ObjectId> {
    ids.iter().map(Id::oid).collect()
}

pub(super) fn binary(bytes: &[u8]) -> Binary {
    Binary {
        subtype: BinarySubtype::Generic,
        bytes: bytes.to_vec(),
    }
}

/// Null, which older deployments wrote, is as good as absent.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Anything else than a date is as good as absent.
fn date_if_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime>, D::Error> {
    Bson::deserialize(deserializer).map(|value| value.as_datetime().copied())
}

// === Messages ===

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MessageRecord {
    #[serde(rename = "_id")]
    id: ObjectId,
    pub(super) conversation_id: ObjectId,
    pub(super) seq: i64,
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
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EventRecord {
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

// === Conversations and members ===

/// `lastMessage` is written for others who read the database, and not read here.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConversationRecord {
    #[serde(rename = "_id")]
    pub(super) id: ObjectId,
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) title: Option<String>,
    #[serde(default)]
    pub(super) participants: Vec<ObjectId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pair_key: Option<Binary>,
    pub(super) last_seq: i64,
    #[serde(default)]
    pub(super) last_ordinal: i64,
    pub(super) created_at: DateTime,
    pub(super) updated_at: DateTime,
}

impl TryFrom<ConversationRecord> for Conversation {
    type Error = StoreError;

    fn try_from(record: ConversationRecord) -> Result<Conversation, StoreError> {
        let mut participants: Vec<_> = record
            .participants
            .iter()
            .map(|id| UserId::from_bytes(id.bytes()))
            .collect();
        participants.sort_unstable();
        participants.dedup();
        Ok(Conversation {
            id: ConversationId::from_bytes(record.id.bytes()),
            kind: ConversationKind::parse(&record.kind)
                .ok_or_else(|| damaged("conversations.type"))?,
            title: record.title,
            participants,
            last_seq: count(record.last_seq),
            last_ordinal: count(record.last_ordinal),
            created_at: timestamp(record.created_at),
            updated_at: timestamp(record.updated_at),
        })
    }
}

/// The part of a conversation that changes with each message.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HeadRecord {
    #[serde(rename = "_id")]
    pub(super) id: ObjectId,
    pub(super) last_seq: i64,
    #[serde(default)]
    pub(super) last_ordinal: i64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MemberRecord {
    pub(super) conversation_id: ObjectId,
    pub(super) user_id: ObjectId,
    pub(super) spans: Vec<SpanRecord>,
    /// Whether the last span is; kept beside it for queries.
    pub(super) open: bool,
    pub(super) read_seq: i64,
    /// The ordinal of message `readSeq`.
    pub(super) read_ordinal: i64,
    pub(super) delivered_seq: i64,
}

impl MemberRecord {
    /// Somebody who sees everything and has read nothing.
    pub(super) fn fresh(conversation: ConversationId, user: UserId) -> MemberRecord {
        MemberRecord {
            conversation_id: conversation.oid(),
            user_id: user.oid(),
            spans: span_records(&SeqSpans::all()),
            open: true,
            read_seq: 0,
            read_ordinal: 0,
            delivered_seq: 0,
        }
    }

    pub(super) fn seq_spans(&self) -> SeqSpans {
        let part = |span: &SpanRecord| (count(span.first), span.last.map(count));
        SeqSpans::from_parts(self.spans.iter().map(part).collect())
    }

    pub(super) fn cursors(&self) -> Cursors {
        Cursors {
            user: UserId::from_bytes(self.user_id.bytes()),
            read_seq: count(self.read_seq),
            delivered_seq: count(self.delivered_seq),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SpanRecord {
    pub(super) first: i64,
    /// Absent while open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last: Option<i64>,
}

pub(super) fn span_records(spans: &SeqSpans) -> Vec<SpanRecord> {
    let record = |&(first, last): &(Seq, Option<Seq>)| SpanRecord {
        first: int(first),
        last: last.map(int),
    };
    spans.parts().iter().map(record).collect()
}

// === Users ===

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UserRecord {
    #[serde(rename = "_id")]
    id: ObjectId,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) username: String,
    /// In lower case.
    #[serde(default)]
    username_key: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) email: String,
    /// In lower case.
    #[serde(default)]
    email_key: String,
    #[serde(default, deserialize_with = "or_default")]
    password: String,
    #[serde(default)]
    avatar: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default, deserialize_with = "date_if_any")]
    last_seen: Option<DateTime>,
    #[serde(default, deserialize_with = "date_if_any")]
    created_at: Option<DateTime>,
}

impl From<&Account> for UserRecord {
    fn from(account: &Account) -> UserRecord {
        let user = &account.user;
        UserRecord {
            id: user.id.oid(),
            username: user.username.clone(),
            username_key: user.username.to_lowercase(),
            email: user.email.clone(),
            email_key: user.email.to_lowercase(),
            password: account.password_hash.clone(),
            avatar: user.avatar.clone(),
            status: Some(user.status.as_str().into()),
            last_seen: user.last_seen.map(date),
            created_at: Some(date(user.created_at)),
        }
    }
}

impl From<UserRecord> for Account {
    fn from(record: UserRecord) -> Account {
        let user = User {
            id: UserId::from_bytes(record.id.bytes()),
            username: record.username,
            email: record.email,
            avatar: record.avatar.filter(|avatar| !avatar.is_empty()),
            status: match record.status.as_deref() {
                Some("online") => PresenceStatus::Online,
                _ => PresenceStatus::Offline,
            },
            last_seen: record.last_seen.map(timestamp),
            created_at: timestamp(record.created_at.unwrap_or(record.id.timestamp())),
        };
        Account {
            user,
            password_hash: record.password,
        }
    }
}

// === Refresh tokens ===

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenRecord {
    /// SHA-256 of the token.
    #[serde(rename = "_id")]
    pub(super) hash: Binary,
    pub(super) family: Binary,
    pub(super) used: bool,
    pub(super) created_at: DateTime,
    pub(super) expires_at: DateTime,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FamilyRecord {
    #[serde(rename = "_id")]
    pub(super) family: Binary,
    pub(super) user_id: ObjectId,
    pub(super) revoked: bool,
    /// Of its youngest token.
    pub(super) expires_at: DateTime,
}
