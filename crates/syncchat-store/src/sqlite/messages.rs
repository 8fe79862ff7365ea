//! Reading the log, and changing what was said.

use rusqlite::{Connection, OptionalExtension, Row, params};
use syncchat_core::model::{
    ConversationId, Digest, FIRST_REV, Message, MessageId, Rev, Seq, Timestamp, UserId,
};
use syncchat_core::ports::store::{LogRange, NamedMessage};

use super::rows::{MESSAGE_COLUMNS, int, message};

pub(super) fn by_id(connection: &Connection, id: MessageId) -> rusqlite::Result<Option<Message>> {
    connection
        .prepare_cached(&format!(
            "SELECT {MESSAGE_COLUMNS} FROM messages WHERE id = ?1"
        ))?
        .query_row([id.bytes()], message)
        .optional()
}

pub(super) fn by_ids(connection: &Connection, ids: &[MessageId]) -> rusqlite::Result<Vec<Message>> {
    ids.iter()
        .filter_map(|id| by_id(connection, *id).transpose())
        .collect()
}

pub(super) fn by_client_ids(
    connection: &Connection,
    keys: &[(ConversationId, UserId, String)],
) -> rusqlite::Result<Vec<NamedMessage>> {
    let mut find = connection.prepare_cached(&format!(
        "SELECT {MESSAGE_COLUMNS}, sent FROM messages
         WHERE conversation = ?1 AND sender = ?2 AND client_msg_id = ?3"
    ))?;
    let mut found = Vec::new();
    for (conversation, sender, client_msg_id) in keys {
        let key = params![conversation.bytes(), sender.bytes(), client_msg_id];
        let named = |row: &Row<'_>| {
            Ok(NamedMessage {
                message: message(row)?,
                sent: row.get::<_, Option<_>>("sent")?.map(Digest::from_bytes),
            })
        };
        found.extend(find.query_row(key, named).optional()?);
    }
    Ok(found)
}

pub(super) fn log(
    connection: &Connection,
    ranges: &[(ConversationId, LogRange)],
    limit: usize,
) -> rusqlite::Result<Vec<Vec<Message>>> {
    ranges
        .iter()
        .map(|&(conversation, range)| match range {
            LogRange::Before(seq) => before(connection, conversation, seq, limit),
            LogRange::After(seq) => after(connection, conversation, seq, limit),
            LogRange::Since(time) => {
                let first = first_since(connection, conversation, time)?;
                after(connection, conversation, first.saturating_sub(1), limit)
            }
        })
        .collect()
}

fn before(
    connection: &Connection,
    conversation: ConversationId,
    seq: Seq,
    limit: usize,
) -> rusqlite::Result<Vec<Message>> {
    let mut page = connection
        .prepare_cached(&format!(
            "SELECT {MESSAGE_COLUMNS} FROM messages WHERE conversation = ?1 AND seq < ?2
             ORDER BY seq DESC LIMIT ?3"
        ))?
        .query_map(
            params![conversation.bytes(), int(seq), int(limit as u64)],
            message,
        )?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    page.reverse();
    Ok(page)
}

fn after(
    connection: &Connection,
    conversation: ConversationId,
    seq: Seq,
    limit: usize,
) -> rusqlite::Result<Vec<Message>> {
    connection
        .prepare_cached(&format!(
            "SELECT {MESSAGE_COLUMNS} FROM messages WHERE conversation = ?1 AND seq > ?2
             ORDER BY seq LIMIT ?3"
        ))?
        .query_map(
            params![conversation.bytes(), int(seq), int(limit as u64)],
            message,
        )?
        .collect()
}

/// The first `seq` written at or after `time`; one beyond the last if there is none. Times do not
/// fall along a log, so that halving finds it and no index has to be kept for it.
fn first_since(
    connection: &Connection,
    conversation: ConversationId,
    time: Timestamp,
) -> rusqlite::Result<Seq> {
    let last: Seq = connection
        .prepare_cached("SELECT last_seq FROM conversations WHERE id = ?1")?
        .query_row([conversation.bytes()], |row| row.get(0))
        .optional()?
        .unwrap_or(0);
    let mut created_at = connection
        .prepare_cached("SELECT created_at FROM messages WHERE conversation = ?1 AND seq = ?2")?;
    let (mut low, mut high) = (1, last + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let at: i64 =
            created_at.query_row(params![conversation.bytes(), int(middle)], |row| row.get(0))?;
        if at < time.millis() {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

pub(super) fn edit(
    connection: &Connection,
    id: MessageId,
    content: &str,
    at: Timestamp,
) -> rusqlite::Result<Option<Message>> {
    let Some(rev) = next_change(connection, id)? else {
        return Ok(None);
    };
    let sent = sent_as(connection, id)?;
    connection
        .prepare_cached(
            "UPDATE messages SET content = ?2, edited = 1, updated_at = ?3, rev = ?4,
                 sent = coalesce(sent, ?5)
             WHERE id = ?1",
        )?
        .execute(params![
            id.bytes(),
            content,
            at.millis(),
            int(rev),
            sent.as_ref().map(Digest::bytes),
        ])?;
    by_id(connection, id)
}

/// The digest of a message's content, if it still is what its sender sent under a name.
fn sent_as(connection: &Connection, id: MessageId) -> rusqlite::Result<Option<Digest>> {
    connection
        .prepare_cached(
            "SELECT content FROM messages
             WHERE id = ?1 AND edited = 0 AND client_msg_id IS NOT NULL",
        )?
        .query_row([id.bytes()], |row| {
            Ok(Digest::of_sent(id, row.get_ref(0)?.as_str()?))
        })
        .optional()
}

pub(super) fn delete(
    connection: &Connection,
    id: MessageId,
    at: Timestamp,
) -> rusqlite::Result<Option<Message>> {
    if let Some(rev) = next_change(connection, id)? {
        connection
            .prepare_cached(
                "UPDATE messages SET content = '', attachments = NULL, deleted = 1, updated_at = ?2,
                     rev = ?3, sent = NULL
                 WHERE id = ?1",
            )?
            .execute(params![id.bytes(), at.millis(), int(rev)])?;
    }
    by_id(connection, id)
}

/// Takes the next number of a change in the conversation of this message; `None` if there is no such
/// message or it is deleted.
fn next_change(connection: &Connection, id: MessageId) -> rusqlite::Result<Option<Rev>> {
    connection
        .prepare_cached(
            "UPDATE conversations SET change_seq = change_seq + 1
             WHERE id = (SELECT conversation FROM messages WHERE id = ?1 AND deleted = 0)
             RETURNING change_seq",
        )?
        .query_row([id.bytes()], |row| row.get(0))
        .optional()
}

/// Told apart from most messages by the index, which holds only what was changed.
pub(super) fn changes(
    connection: &Connection,
    after: &[(ConversationId, Rev)],
    limit: usize,
) -> rusqlite::Result<Vec<Vec<Message>>> {
    let mut page = connection.prepare_cached(&format!(
        "SELECT {MESSAGE_COLUMNS} FROM messages
         WHERE conversation = ?1 AND rev > 1 AND rev > ?2 ORDER BY rev LIMIT ?3"
    ))?;
    after
        .iter()
        .map(|&(conversation, rev)| {
            let key = params![
                conversation.bytes(),
                int(rev.max(FIRST_REV)),
                int(limit as u64)
            ];
            page.query_map(key, message)?.collect()
        })
        .collect()
}
