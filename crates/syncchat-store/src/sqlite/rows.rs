//! Rows as the model's values and back.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};
use syncchat_core::model::{
    Account, Attachment, Conversation, ConversationId, ConversationKind, FileId, Message,
    MessageId, MessageKind, PresenceStatus, Seq, SeqSpans, SystemEvent, Timestamp, User, UserId,
};

use super::errors::damaged;

/// Numbers of the model never reach 2⁶³ but as [`Seq::MAX`], "the end".
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

// === Messages ===

/// The columns that [`message`] reads, in its order.
pub(super) const MESSAGE_COLUMNS: &str = "id, conversation, seq, ordinal, sender, content, kind, \
     event, attachments, reply_to, client_msg_id, edited, deleted, created_at, updated_at, rev";

pub(super) fn message(row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        id: MessageId::from_bytes(row.get(0)?),
        conversation: ConversationId::from_bytes(row.get(1)?),
        seq: row.get(2)?,
        ordinal: row.get(3)?,
        sender: UserId::from_bytes(row.get(4)?),
        content: row.get(5)?,
        kind: MessageKind::parse(text(row, 6)?).ok_or_else(|| damaged("messages.kind"))?,
        event: optional_text(row, 7)?.map(event_from_json).transpose()?,
        attachments: match optional_text(row, 8)? {
            Some(json) => attachments_from_json(json)?,
            None => Vec::new(),
        },
        reply_to: row.get::<_, Option<_>>(9)?.map(MessageId::from_bytes),
        client_msg_id: row.get(10)?,
        edited: row.get(11)?,
        deleted: row.get(12)?,
        created_at: Timestamp::from_millis(row.get(13)?),
        updated_at: Timestamp::from_millis(row.get(14)?),
        rev: row.get(15)?,
    }
    .redacted())
}

/// A system event as stored.
#[derive(Serialize, Deserialize)]
struct EventRecord {
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
}

pub(super) fn event_to_json(event: &SystemEvent) -> rusqlite::Result<String> {
    let (kind, by, user, title) = match event {
        SystemEvent::Added { by, user } => ("added", Some(by), Some(user), None),
        SystemEvent::Removed { by, user } => ("removed", Some(by), Some(user), None),
        SystemEvent::Left { user } => ("left", None, Some(user), None),
        SystemEvent::Renamed { by, title } => ("renamed", Some(by), None, Some(title.clone())),
    };
    let record = EventRecord {
        kind: kind.into(),
        by: by.map(UserId::to_string),
        user: user.map(UserId::to_string),
        title,
    };
    serde_json::to_string(&record).map_err(|_| damaged("messages.event"))
}

fn event_from_json(json: &str) -> rusqlite::Result<SystemEvent> {
    let bad = || damaged("messages.event");
    let record: EventRecord = serde_json::from_str(json).map_err(|_| bad())?;
    let id = |text: Option<String>| -> rusqlite::Result<UserId> {
        text.and_then(|text| text.parse().ok()).ok_or_else(bad)
    };
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

/// An attachment as stored.
#[derive(Serialize, Deserialize)]
struct AttachmentRecord {
    file: String,
    name: String,
    size: u64,
    content_type: String,
}

pub(super) fn attachments_to_json(attachments: &[Attachment]) -> rusqlite::Result<Option<String>> {
    if attachments.is_empty() {
        return Ok(None);
    }
    let records: Vec<_> = attachments
        .iter()
        .map(|attachment| AttachmentRecord {
            file: attachment.file.to_string(),
            name: attachment.name.clone(),
            size: attachment.size,
            content_type: attachment.content_type.clone(),
        })
        .collect();
    serde_json::to_string(&records)
        .map(Some)
        .map_err(|_| damaged("messages.attachments"))
}

fn attachments_from_json(json: &str) -> rusqlite::Result<Vec<Attachment>> {
    let bad = || damaged("messages.attachments");
    let records: Vec<AttachmentRecord> = serde_json::from_str(json).map_err(|_| bad())?;
    records
        .into_iter()
        .map(|record| {
            Ok(Attachment {
                file: record.file.parse::<FileId>().map_err(|_| bad())?,
                name: record.name,
                size: record.size,
                content_type: record.content_type,
            })
        })
        .collect()
}

// === Conversations and members ===

/// The columns that [`conversation`] reads, in its order.
pub(super) const CONVERSATION_COLUMNS: &str =
    "id, kind, title, last_seq, last_ordinal, created_at, updated_at, rev, change_seq";

/// A conversation without its participants.
pub(super) fn conversation(row: &Row<'_>) -> rusqlite::Result<Conversation> {
    Ok(Conversation {
        id: ConversationId::from_bytes(row.get(0)?),
        kind: ConversationKind::parse(text(row, 1)?)
            .ok_or_else(|| damaged("conversations.kind"))?,
        title: row.get(2)?,
        participants: Vec::new(),
        last_seq: row.get(3)?,
        last_ordinal: row.get(4)?,
        created_at: Timestamp::from_millis(row.get(5)?),
        updated_at: Timestamp::from_millis(row.get(6)?),
        rev: row.get(7)?,
        change_seq: row.get(8)?,
    })
}

/// One conversation, whole.
pub(super) fn load_conversation(
    connection: &Connection,
    id: ConversationId,
) -> rusqlite::Result<Option<Conversation>> {
    let sql = format!("SELECT {CONVERSATION_COLUMNS} FROM conversations WHERE id = ?1");
    let found = connection
        .prepare_cached(&sql)?
        .query_row([id.bytes()], conversation)
        .optional()?;
    found
        .map(|found| with_participants(connection, found))
        .transpose()
}

/// Adds the participants to what [`conversation`] read.
pub(super) fn with_participants(
    connection: &Connection,
    mut conversation: Conversation,
) -> rusqlite::Result<Conversation> {
    conversation.participants = connection
        .prepare_cached(
            "SELECT user FROM members WHERE conversation = ?1 AND open = 1 ORDER BY user",
        )?
        .query_map([conversation.id.bytes()], |row| {
            row.get(0).map(UserId::from_bytes)
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(conversation)
}

/// `1-41,50-`: saw up to 41, and sees everything from 50 on.
pub(super) fn spans_to_text(spans: &SeqSpans) -> String {
    let parts: Vec<String> = spans
        .parts()
        .iter()
        .map(|(first, last)| match last {
            Some(last) => format!("{first}-{last}"),
            None => format!("{first}-"),
        })
        .collect();
    parts.join(",")
}

pub(super) fn spans(row: &Row<'_>, column: usize) -> rusqlite::Result<SeqSpans> {
    spans_from_text(text(row, column)?).ok_or_else(|| damaged("members.spans"))
}

fn spans_from_text(text: &str) -> Option<SeqSpans> {
    let mut parts: Vec<(Seq, Option<Seq>)> = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-')?;
        let last = match last {
            "" => None,
            last => Some(last.parse().ok()?),
        };
        parts.push((first.parse().ok()?, last));
    }
    Some(SeqSpans::from_parts(parts))
}

// === Users ===

/// The columns that [`user`] and [`account`] read, in their order.
pub(super) const ACCOUNT_COLUMNS: &str =
    "id, username, email, avatar, status, last_seen, created_at, password";

pub(super) fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: UserId::from_bytes(row.get(0)?),
        username: row.get(1)?,
        email: row.get(2)?,
        avatar: row.get(3)?,
        status: match text(row, 4)? {
            "online" => PresenceStatus::Online,
            _ => PresenceStatus::Offline,
        },
        last_seen: row.get::<_, Option<_>>(5)?.map(Timestamp::from_millis),
        created_at: Timestamp::from_millis(row.get(6)?),
    })
}

pub(super) fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account {
        user: user(row)?,
        password_hash: row.get(7)?,
    })
}

// === Text without a copy ===

fn text<'row>(row: &'row Row<'_>, column: usize) -> rusqlite::Result<&'row str> {
    optional_text(row, column)?.ok_or_else(|| damaged("a needed column"))
}

fn optional_text<'row>(row: &'row Row<'_>, column: usize) -> rusqlite::Result<Option<&'row str>> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        value => Ok(Some(value.as_str()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_round_trip() {
        for parts in [
            vec![],
            vec![(1, None)],
            vec![(1, Some(41)), (50, None)],
            vec![(1, Some(41)), (50, Some(60))],
        ] {
            let spans = SeqSpans::from_parts(parts);
            assert_eq!(spans_from_text(&spans_to_text(&spans)), Some(spans));
        }
        assert_eq!(spans_from_text("1"), None);
        assert_eq!(spans_from_text("a-"), None);
    }

    #[test]
    fn events_round_trip() {
        let (by, user) = (UserId::generate(), UserId::generate());
        for event in [
            SystemEvent::Added { by, user },
            SystemEvent::Removed { by, user },
            SystemEvent::Left { user },
            SystemEvent::Renamed {
                by,
                title: "a \"title\"".into(),
            },
        ] {
            let json = event_to_json(&event).unwrap();
            assert_eq!(event_from_json(&json).unwrap(), event);
        }
        assert!(event_from_json(r#"{"kind":"renamed"}"#).is_err());
    }
}
