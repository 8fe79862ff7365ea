//! The end of the log: compare-and-set, the messages, and what changes with them.

use rusqlite::{Connection, OptionalExtension, params};
use syncchat_core::model::{ConversationId, Message, Seq, SeqSpans, UserId};
use syncchat_core::ports::store::{Append, Appended, ConversationChange};

use super::heal;
use super::rows::{attachments_to_json, event_to_json, int, spans, spans_to_text};

/// All in one transaction; an append that is refused has written nothing.
pub(super) fn append(
    connection: &Connection,
    appends: &[Append],
) -> rusqlite::Result<Vec<Appended>> {
    appends
        .iter()
        .map(|append| append_one(connection, append))
        .collect()
}

/// What could refuse it is looked at before anything is written, and nobody else writes meanwhile:
/// the transaction holds the only right to.
fn append_one(connection: &Connection, append: &Append) -> rusqlite::Result<Appended> {
    // Who repeats a write that did land wants to know that, not that the log went on.
    if has_duplicate(connection, append)? {
        return Ok(Appended::Duplicate);
    }
    if !raise_head(connection, append)? {
        return Ok(Appended::Moved);
    }
    for message in &append.messages {
        match insert_message(connection, message) {
            Ok(()) => {}
            // Only a log that goes on beyond its head has this place already.
            Err(error) if is_taken(&error) && heal::raise_head(connection, append)? => {
                return Ok(Appended::Moved);
            }
            Err(error) => return Err(error),
        }
    }
    for change in &append.changes {
        apply_change(connection, append, change)?;
    }
    if let Some(rev) = append.conversation_rev() {
        connection
            .prepare_cached("UPDATE conversations SET rev = ?2 WHERE id = ?1")?
            .execute(params![append.conversation.bytes(), int(rev)])?;
    }
    Ok(Appended::Committed)
}

/// The compare-and-set.
fn raise_head(connection: &Connection, append: &Append) -> rusqlite::Result<bool> {
    let Some(last) = append.messages.last() else {
        return Ok(false);
    };
    let changed = connection
        .prepare_cached(
            "UPDATE conversations
             SET last_seq = ?3, last_ordinal = ?4, last_message = ?5, updated_at = ?6
             WHERE id = ?1 AND last_seq = ?2",
        )?
        .execute(params![
            append.conversation.bytes(),
            int(append.expected_seq),
            int(last.seq),
            int(last.ordinal),
            last.id.bytes(),
            last.created_at.millis(),
        ])?;
    Ok(changed == 1)
}

fn is_taken(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation)
}

fn insert_message(connection: &Connection, message: &Message) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO messages (id, conversation, seq, ordinal, sender, content, kind, event,
                 attachments, reply_to, client_msg_id, edited, deleted, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        )?
        .execute(params![
            message.id.bytes(),
            message.conversation.bytes(),
            int(message.seq),
            int(message.ordinal),
            message.sender.bytes(),
            message.content,
            message.kind.as_str(),
            message.event.as_ref().map(event_to_json).transpose()?,
            attachments_to_json(&message.attachments)?,
            message.reply_to.map(|id| id.bytes()),
            message.client_msg_id,
            message.edited,
            message.deleted,
            message.created_at.millis(),
            message.updated_at.millis(),
        ])
        .map(drop)
}

fn has_duplicate(connection: &Connection, append: &Append) -> rusqlite::Result<bool> {
    let mut stored = connection.prepare_cached(
        "SELECT 1 FROM messages WHERE conversation = ?1 AND sender = ?2 AND client_msg_id = ?3",
    )?;
    let mut known = connection.prepare_cached("SELECT 1 FROM messages WHERE id = ?1")?;
    let mut seen = Vec::new();
    for message in &append.messages {
        if known.exists([message.id.bytes()])? {
            return Ok(true);
        }
        let Some(client_msg_id) = &message.client_msg_id else {
            continue;
        };
        let key = (message.sender, client_msg_id);
        if seen.contains(&key)
            || stored.exists(params![
                append.conversation.bytes(),
                message.sender.bytes(),
                client_msg_id,
            ])?
        {
            return Ok(true);
        }
        seen.push(key);
    }
    Ok(false)
}

pub(super) fn apply_change(
    connection: &Connection,
    append: &Append,
    change: &ConversationChange,
) -> rusqlite::Result<()> {
    match change {
        ConversationChange::Rename { title } => connection
            .prepare_cached("UPDATE conversations SET title = ?2 WHERE id = ?1")?
            .execute(params![append.conversation.bytes(), title])
            .map(drop),
        ConversationChange::Add { user, seq } => {
            let mut spans = load_spans(connection, append.conversation, *user)?.unwrap_or_default();
            spans.open_at(*seq);
            let ordinal = ordinal_at(append, *seq);
            connection
                .prepare_cached(
                    "INSERT INTO members
                         (conversation, user, spans, open, read_seq, read_ordinal, delivered_seq)
                     VALUES (?1, ?2, ?3, 1, ?4, ?5, ?4)
                     ON CONFLICT (conversation, user) DO UPDATE SET
                         spans = ?3, open = 1, read_seq = max(read_seq, ?4),
                         read_ordinal = max(read_ordinal, ?5),
                         delivered_seq = max(delivered_seq, ?4)",
                )?
                .execute(params![
                    append.conversation.bytes(),
                    user.bytes(),
                    spans_to_text(&spans),
                    int(*seq),
                    int(ordinal),
                ])
                .map(drop)
        }
        ConversationChange::Remove { user, seq } => {
            let Some(mut spans) = load_spans(connection, append.conversation, *user)? else {
                return Ok(());
            };
            spans.close_at(*seq);
            connection
                .prepare_cached(
                    "UPDATE members SET spans = ?3, open = 0
                     WHERE conversation = ?1 AND user = ?2",
                )?
                .execute(params![
                    append.conversation.bytes(),
                    user.bytes(),
                    spans_to_text(&spans),
                ])
                .map(drop)
        }
    }
}

pub(super) fn load_spans(
    connection: &Connection,
    conversation: ConversationId,
    user: UserId,
) -> rusqlite::Result<Option<SeqSpans>> {
    connection
        .prepare_cached("SELECT spans FROM members WHERE conversation = ?1 AND user = ?2")?
        .query_row([conversation.bytes(), user.bytes()], |row| spans(row, 0))
        .optional()
}

/// The ordinal of one of the append's own messages.
fn ordinal_at(append: &Append, seq: Seq) -> u64 {
    append
        .messages
        .iter()
        .find(|message| message.seq == seq)
        .map_or(0, |message| message.ordinal)
}
