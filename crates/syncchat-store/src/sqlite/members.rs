//! Members: what they may see, how far they have come, and what that leaves unread.

use rusqlite::{Connection, OptionalExtension, Row, params};
use syncchat_core::command::CursorKind;
use syncchat_core::limits::UNREAD_SCAN_MAX;
use syncchat_core::model::{
    ConversationId, Membership, MessageId, Seq, SystemEvent, Timestamp, UserId,
};
use syncchat_core::ports::store::{Addition, CursorAdvance, Cursors};

use super::rows::{MESSAGE_COLUMNS, int, message, spans};

const MEMBERSHIP: &str =
    "SELECT m.conversation, m.user, m.spans, m.read_seq, m.read_ordinal, m.delivered_seq,
         c.last_seq, c.last_ordinal, c.updated_at, c.change_seq
     FROM members m JOIN conversations c ON c.id = m.conversation";

fn membership(row: &Row<'_>) -> rusqlite::Result<Membership> {
    Ok(Membership {
        conversation: ConversationId::from_bytes(row.get(0)?),
        user: UserId::from_bytes(row.get(1)?),
        spans: spans(row, 2)?,
        read_seq: row.get(3)?,
        read_ordinal: row.get(4)?,
        delivered_seq: row.get(5)?,
        last_seq: row.get(6)?,
        last_ordinal: row.get(7)?,
        updated_at: Timestamp::from_millis(row.get(8)?),
        change_seq: row.get(9)?,
    })
}

pub(super) fn of_user(connection: &Connection, user: UserId) -> rusqlite::Result<Vec<Membership>> {
    connection
        .prepare_cached(&format!("{MEMBERSHIP} WHERE m.user = ?1 AND m.open = 1"))?
        .query_map([user.bytes()], membership)?
        .collect()
}

pub(super) fn of_user_in(
    connection: &Connection,
    user: UserId,
    ids: &[ConversationId],
) -> rusqlite::Result<Vec<Membership>> {
    let mut find = connection.prepare_cached(&format!(
        "{MEMBERSHIP} WHERE m.conversation = ?1 AND m.user = ?2"
    ))?;
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        found.extend(
            find.query_row([id.bytes(), user.bytes()], membership)
                .optional()?,
        );
    }
    Ok(found)
}

pub(super) fn additions_since(
    connection: &Connection,
    since: Timestamp,
    limit: usize,
) -> rusqlite::Result<Vec<Addition>> {
    let limit = int(limit as u64);
    let mut new = connection.prepare(
        "SELECT conversation, user FROM members WHERE conversation IN
             (SELECT id FROM conversations WHERE id >= ?1 ORDER BY id LIMIT ?2)",
    )?;
    let first = ConversationId::first_of(since).bytes();
    let new = new.query_map(params![first, limit], |row| {
        Ok(Addition {
            conversation: ConversationId::from_bytes(row.get(0)?),
            user: UserId::from_bytes(row.get(1)?),
            seq: 0,
        })
    })?;
    let mut additions = new.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut said = connection.prepare(&format!(
        "SELECT {MESSAGE_COLUMNS} FROM messages INDEXED BY messages_system
         WHERE kind = 'system' AND id >= ?1 ORDER BY id LIMIT ?2"
    ))?;
    let first = MessageId::first_of(since).bytes();
    for message in said.query_map(params![first, limit], message)? {
        let message = message?;
        if let Some(SystemEvent::Added { user, .. }) = message.event {
            additions.push(Addition {
                conversation: message.conversation,
                user,
                seq: message.seq,
            });
        }
    }
    Ok(additions)
}

// === Unread ===

/// Own messages between the cursor and the end.
pub(super) const OWN: &str = "SELECT count(*) FROM (SELECT 1 FROM messages
     WHERE conversation = ?1 AND sender = ?2 AND seq > ?3 AND seq <= ?4
         AND kind <> 'system' LIMIT ?5)";
/// Deleted ones of others there.
pub(super) const DELETED: &str = "SELECT count(*) FROM (SELECT 1 FROM messages
     WHERE conversation = ?1 AND sender <> ?2 AND seq > ?3 AND seq <= ?4
         AND deleted = 1 AND kind <> 'system' LIMIT ?5)";

pub(super) fn unread(connection: &Connection, places: &[Membership]) -> rusqlite::Result<Vec<u64>> {
    places
        .iter()
        .map(|place| unread_in(connection, place))
        .collect()
}

/// What came after the cursor, less the own and the deleted ones, both counted in an index.
fn unread_in(connection: &Connection, place: &Membership) -> rusqlite::Result<u64> {
    let after = place.unread_at_most();
    if after == 0 {
        return Ok(0);
    }
    let key = params![
        place.conversation.bytes(),
        place.user.bytes(),
        int(place.read_seq),
        int(place.last_seq),
        int(UNREAD_SCAN_MAX as u64)
    ];
    let own: u64 = connection
        .prepare_cached(OWN)?
        .query_row(key, |row| row.get(0))?;
    let deleted: u64 = connection
        .prepare_cached(DELETED)?
        .query_row(key, |row| row.get(0))?;
    Ok(after.saturating_sub(own).saturating_sub(deleted))
}

// === Cursors ===

pub(super) fn advance(
    connection: &Connection,
    advances: &[CursorAdvance],
) -> rusqlite::Result<Vec<Option<(Cursors, bool)>>> {
    advances
        .iter()
        .map(|advance| advance_one(connection, advance))
        .collect()
}

fn advance_one(
    connection: &Connection,
    advance: &CursorAdvance,
) -> rusqlite::Result<Option<(Cursors, bool)>> {
    let (conversation, user) = (advance.conversation.bytes(), advance.user.bytes());
    let place: Option<(Seq, Seq, Seq)> = connection
        .prepare_cached(
            "SELECT m.read_seq, m.delivered_seq, c.last_seq
             FROM members m JOIN conversations c ON c.id = m.conversation
             WHERE m.conversation = ?1 AND m.user = ?2 AND m.open = 1",
        )?
        .query_row([conversation, user], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let Some((read_seq, delivered_seq, last_seq)) = place else {
        return Ok(None);
    };
    let to = advance.seq.min(last_seq);
    let (rose, read_seq) = match advance.kind {
        CursorKind::Read => (to > read_seq, read_seq.max(to)),
        CursorKind::Delivered => (to > delivered_seq, read_seq),
    };
    let cursors = Cursors {
        user: advance.user,
        read_seq,
        delivered_seq: delivered_seq.max(to),
    };
    if rose {
        connection
            .prepare_cached(
                "UPDATE members SET read_seq = ?3, delivered_seq = ?4,
                     read_ordinal = coalesce((SELECT ordinal FROM messages
                         WHERE conversation = ?1 AND seq = ?3), read_ordinal)
                 WHERE conversation = ?1 AND user = ?2",
            )?
            .execute(params![
                conversation,
                user,
                int(cursors.read_seq),
                int(cursors.delivered_seq),
            ])?;
    }
    Ok(Some((cursors, rose)))
}

fn cursors(row: &Row<'_>) -> rusqlite::Result<Cursors> {
    Ok(Cursors {
        user: UserId::from_bytes(row.get(0)?),
        read_seq: row.get(1)?,
        delivered_seq: row.get(2)?,
    })
}

/// Who has gone since counts too: they did read it.
pub(super) fn readers(
    connection: &Connection,
    conversation: ConversationId,
    seq: Seq,
    limit: usize,
) -> rusqlite::Result<Vec<Cursors>> {
    connection
        .prepare_cached(
            "SELECT user, read_seq, delivered_seq FROM members
             WHERE conversation = ?1 AND read_seq >= ?2 ORDER BY read_seq DESC LIMIT ?3",
        )?
        .query_map(
            params![conversation.bytes(), int(seq), int(limit as u64)],
            cursors,
        )?
        .collect()
}

pub(super) fn furthest_delivered(
    connection: &Connection,
    conversation: ConversationId,
) -> rusqlite::Result<Vec<Cursors>> {
    connection
        .prepare_cached(
            "SELECT user, read_seq, delivered_seq FROM members
             WHERE conversation = ?1 ORDER BY delivered_seq DESC LIMIT 2",
        )?
        .query_map([conversation.bytes()], cursors)?
        .collect()
}
