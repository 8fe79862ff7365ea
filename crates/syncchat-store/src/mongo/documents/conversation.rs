//! Conversations and their members.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Binary, DateTime, Document, doc};
use serde::{Deserialize, Serialize};
use syncchat_core::model::{
    Conversation, ConversationId, ConversationKind, Digest, FIRST_REV, Rev, Seq, SeqSpans, UserId,
};
use syncchat_core::ports::store::{Cursors, Mark, RequestKey, StoreError};

use super::{Id, binary, count, digest, int, timestamp};
use crate::mongo::errors::damaged;

/// `lastMessage` is written for others who read the database, and not read here.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::mongo) struct ConversationRecord {
    #[serde(rename = "_id")]
    pub(in crate::mongo) id: ObjectId,
    #[serde(rename = "type", default)]
    pub(in crate::mongo) kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::mongo) title: Option<String>,
    #[serde(default)]
    pub(in crate::mongo) participants: Vec<ObjectId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::mongo) pair_key: Option<Binary>,
    pub(in crate::mongo) last_seq: i64,
    #[serde(default)]
    pub(in crate::mongo) last_ordinal: i64,
    pub(in crate::mongo) created_at: DateTime,
    pub(in crate::mongo) updated_at: DateTime,
    /// Of title and members; absent while they are as they were made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::mongo) rev: Option<i64>,
    /// The number of the newest edit or deletion; absent while there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::mongo) change_seq: Option<i64>,
    /// By which a repetition of the request that made it finds it; absent where that had no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::mongo) request: Option<RequestRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::mongo) struct RequestRecord {
    by: ObjectId,
    key: String,
    /// The digest of what was asked for.
    asked: Binary,
}

impl From<&RequestKey> for RequestRecord {
    fn from(request: &RequestKey) -> RequestRecord {
        RequestRecord {
            by: request.caller.oid(),
            key: request.key.as_str().into(),
            asked: binary(request.asked.bytes()),
        }
    }
}

impl RequestRecord {
    /// What finds it.
    pub(in crate::mongo) fn filter(request: &RequestKey) -> Document {
        doc! { "request.by": request.caller.oid(), "request.key": request.key.as_str() }
    }

    pub(in crate::mongo) fn asked(&self) -> Result<Digest, StoreError> {
        digest(&self.asked).ok_or_else(|| damaged("conversations.request"))
    }
}

/// A version as stored; what was never changed has none.
pub(in crate::mongo) fn stored_rev(rev: Option<i64>) -> Rev {
    rev.map_or(FIRST_REV, count).max(FIRST_REV)
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
            rev: stored_rev(record.rev),
            change_seq: stored_rev(record.change_seq),
        })
    }
}

/// The part of a conversation that changes with each message, or with a change of one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::mongo) struct HeadRecord {
    #[serde(rename = "_id")]
    pub(in crate::mongo) id: ObjectId,
    pub(in crate::mongo) last_seq: i64,
    #[serde(default)]
    pub(in crate::mongo) last_ordinal: i64,
    pub(in crate::mongo) updated_at: DateTime,
    #[serde(default)]
    change_seq: Option<i64>,
}

impl HeadRecord {
    /// What is to be read for one.
    pub(in crate::mongo) fn fields() -> Document {
        doc! { "lastSeq": 1, "lastOrdinal": 1, "updatedAt": 1, "changeSeq": 1 }
    }

    pub(in crate::mongo) fn change_seq(&self) -> Rev {
        stored_rev(self.change_seq)
    }
}

impl From<HeadRecord> for Mark {
    fn from(record: HeadRecord) -> Mark {
        Mark {
            conversation: ConversationId::from_bytes(record.id.bytes()),
            last_seq: count(record.last_seq),
            change_seq: record.change_seq(),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::mongo) struct MemberRecord {
    pub(in crate::mongo) conversation_id: ObjectId,
    pub(in crate::mongo) user_id: ObjectId,
    pub(in crate::mongo) spans: Vec<SpanRecord>,
    /// Whether the last span is; kept beside it for queries.
    pub(in crate::mongo) open: bool,
    pub(in crate::mongo) read_seq: i64,
    /// The ordinal of message `readSeq`.
    pub(in crate::mongo) read_ordinal: i64,
    pub(in crate::mongo) delivered_seq: i64,
}

impl MemberRecord {
    /// Somebody who sees everything and has read nothing.
    pub(in crate::mongo) fn fresh(conversation: ConversationId, user: UserId) -> MemberRecord {
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

    pub(in crate::mongo) fn seq_spans(&self) -> SeqSpans {
        let part = |span: &SpanRecord| (count(span.first), span.last.map(count));
        SeqSpans::from_parts(self.spans.iter().map(part).collect())
    }

    pub(in crate::mongo) fn cursors(&self) -> Cursors {
        Cursors {
            user: UserId::from_bytes(self.user_id.bytes()),
            read_seq: count(self.read_seq),
            delivered_seq: count(self.delivered_seq),
        }
    }
}

/// The part of a member that says how far they have come.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::mongo) struct CursorRecord {
    pub(in crate::mongo) conversation_id: ObjectId,
    user_id: ObjectId,
    read_seq: i64,
    delivered_seq: i64,
}

impl CursorRecord {
    /// What is to be read for one.
    pub(in crate::mongo) fn fields() -> Document {
        doc! { "_id": 0, "conversationId": 1, "userId": 1, "readSeq": 1, "deliveredSeq": 1 }
    }
}

impl From<CursorRecord> for Cursors {
    fn from(record: CursorRecord) -> Cursors {
        Cursors {
            user: UserId::from_bytes(record.user_id.bytes()),
            read_seq: count(record.read_seq),
            delivered_seq: count(record.delivered_seq),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(in crate::mongo) struct SpanRecord {
    pub(in crate::mongo) first: i64,
    /// Absent while open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::mongo) last: Option<i64>,
}

pub(in crate::mongo) fn span_records(spans: &SeqSpans) -> Vec<SpanRecord> {
    let record = |&(first, last): &(Seq, Option<Seq>)| SpanRecord {
        first: int(first),
        last: last.map(int),
    };
    spans.parts().iter().map(record).collect()
}
