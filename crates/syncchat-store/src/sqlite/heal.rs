//! A head that is behind its log, as a copy of the tables leaves it that was not made at one moment.
//! Such a head would refuse every append: the next place is taken.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use syncchat_core::model::{ConversationId, Message, Seq};
use syncchat_core::ports::store::{Append, ConversationChange};

use super::KIND;
use super::append::{apply_change, load_spans};
use super::rows::{MESSAGE_COLUMNS, int, message};
use crate::observe::head_healed;

/// Puts a head right that an append has just raised in this transaction, and could not write behind.
/// False if the log does not go on beyond where the append expected its end.
pub(super) fn raise_head(connection: &Connection, append: &Append) -> rusqlite::Result<bool> {
    raise_from(connection, append.conversation, append.expected_seq)
}

/// Puts a head right; false if it is not behind its log.
pub(super) fn raise(connection: &Connection, id: ConversationId) -> rusqlite::Result<bool> {
    let known: Option<Seq> = connection
        .prepare_cached("SELECT last_seq FROM conversations WHERE id = ?1")?
        .query_row([id.bytes()], |row| row.get(0))
        .optional()?;
    known.map_or(Ok(false), |known| raise_from(connection, id, known))
}

fn raise_from(connection: &Connection, id: ConversationId, known: Seq) -> rusqlite::Result<bool> {
    let mut beyond = connection.prepare_cached(&format!(
        "SELECT {MESSAGE_COLUMNS} FROM messages WHERE conversation = ?1 AND seq > ?2 ORDER BY seq"
    ))?;
    let mut rows = beyond.query(params![id.bytes(), int(known)])?;
    let mut last: Option<Message> = None;
    while let Some(row) = rows.next()? {
        let found = message(row)?;
        make_up_for(connection, &found)?;
        last = Some(found);
    }
    let Some(last) = last else {
        return Ok(false);
    };
    connection
        .prepare_cached(
            "UPDATE conversations SET last_seq = ?2, last_ordinal = ?3, last_message = ?4,
                 updated_at = ?5
             WHERE id = ?1",
        )?
        .execute(params![
            id.bytes(),
            int(last.seq),
            int(last.ordinal),
            last.id.bytes(),
            last.created_at.millis(),
        ])?;
    head_healed(KIND, id, known, last.seq);
    Ok(true)
}

/// Applies what a system message changed, if it is not known yet.
fn make_up_for(connection: &Connection, message: &Message) -> rusqlite::Result<()> {
    let Some(event) = &message.event else {
        return Ok(());
    };
    let change = ConversationChange::of(event, message.seq);
    if let Some(user) = change.user() {
        let spans = load_spans(connection, message.conversation, user)?.unwrap_or_default();
        if !change.is_missing_in(&spans) {
            return Ok(());
        }
    }
    let append = Append {
        conversation: message.conversation,
        expected_seq: message.seq.saturating_sub(1),
        messages: vec![Arc::new(message.clone())],
        changes: Vec::new(),
    };
    apply_change(connection, &append, &change)
}
