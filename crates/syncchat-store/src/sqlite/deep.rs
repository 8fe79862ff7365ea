//! The deep check: what no write of this release leaves, and a damaged or a badly copied file may hold.
//! Each step reads one consistent state and ends in a bounded time.

use std::collections::HashSet;

use rusqlite::{Connection, params};
use syncchat_core::model::{Attachment, ConversationId, Message};
use syncchat_core::ports::store::{DeepFinding, Flaw, StoreResult};

use super::rows::{MESSAGE_COLUMNS, int, message};
use super::{SqliteStore, heal, schema};
use crate::limits::{DEEP_BATCH, SQLITE_DEEP_ROWS};

const CALL: &str = "check_deep";

/// Indexes first: what follows is quick with them.
pub(super) async fn check(store: &SqliteStore, repair: bool) -> StoreResult<Vec<DeepFinding>> {
    let indexes = indexes(store, repair).await?;
    let [behind, beyond] = heads(store, repair).await?;
    let cursors = cursors(store, repair).await?;
    let [files, deleted] = messages(store, repair).await?;
    Ok(vec![behind, beyond, cursors, files, indexes, deleted])
}

async fn indexes(store: &SqliteStore, repair: bool) -> StoreResult<DeepFinding> {
    let wanted = schema::indexes();
    let mut finding = DeepFinding::new(Flaw::IndexMissing);
    finding.looked_at = wanted.len() as u64;
    let known = store.read(CALL, |c| {
        c.prepare("SELECT name FROM sqlite_master WHERE type = 'index'")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<HashSet<String>>>()
    });
    let known = known.await?;
    for (name, statement) in wanted {
        if known.contains(&name) {
            continue;
        }
        finding.found += 1;
        if repair {
            // One that cannot be made, for something is there twice, is not.
            let make = move |c: &Connection| Ok(c.execute_batch(&statement));
            match store.write_slowly(CALL, make).await? {
                Ok(()) => finding.repaired += 1,
                Err(error) => tracing::error!(%error, name, "the index cannot be made"),
            }
        }
    }
    Ok(finding)
}

/// A conversation, its head, and the newest place of its log.
type End = (ConversationId, u64, u64);

async fn heads(store: &SqliteStore, repair: bool) -> StoreResult<[DeepFinding; 2]> {
    let mut behind = DeepFinding::new(Flaw::HeadBehindLog);
    let mut beyond = DeepFinding::new(Flaw::HeadBeyondLog);
    let mut after = Vec::new();
    loop {
        let from = after;
        let ends = store.read(CALL, move |c| ends_after(c, &from)).await?;
        let Some((last, ..)) = ends.last() else {
            return Ok([behind, beyond]);
        };
        after = last.bytes().to_vec();
        behind.looked_at += ends.len() as u64;
        beyond.looked_at += ends.len() as u64;
        beyond.found += ends.iter().filter(|(_, head, end)| head > end).count() as u64;
        let flawed: Vec<ConversationId> = ends
            .iter()
            .filter(|(_, head, end)| head < end)
            .map(|(id, ..)| *id)
            .collect();
        behind.found += flawed.len() as u64;
        if repair {
            for id in flawed {
                let raised = store.write_slowly(CALL, move |c| heal::raise(c, id));
                // A node that runs may have been faster.
                raised.await?;
                behind.repaired += 1;
            }
        }
    }
}

fn ends_after(connection: &Connection, after: &[u8]) -> rusqlite::Result<Vec<End>> {
    connection
        .prepare_cached(
            "SELECT c.id, c.last_seq,
                 coalesce((SELECT max(seq) FROM messages WHERE conversation = c.id), 0)
             FROM conversations c WHERE c.id > ?1 ORDER BY c.id LIMIT ?2",
        )?
        .query_map(params![after, int(DEEP_BATCH as u64)], |row| {
            Ok((
                ConversationId::from_bytes(row.get(0)?),
                row.get(1)?,
                row.get(2)?,
            ))
        })?
        .collect()
}

/// Members of the file itself always have cursors; they may lie beyond the log.
async fn cursors(store: &SqliteStore, repair: bool) -> StoreResult<DeepFinding> {
    type Key = ([u8; 12], [u8; 12]);
    let mut finding = DeepFinding::new(Flaw::CursorsMissing);
    let mut after: Option<Key> = None;
    loop {
        let from = after;
        let members = store.read(CALL, move |c| {
            let (conversation, user) = from.unwrap_or_default();
            c.prepare_cached(
                "SELECT m.conversation, m.user, max(m.read_seq, m.delivered_seq) > max(c.last_seq,
                     coalesce((SELECT max(seq) FROM messages WHERE conversation = c.id), 0))
                 FROM members m JOIN conversations c ON c.id = m.conversation
                 WHERE (m.conversation, m.user) > (?1, ?2)
                 ORDER BY m.conversation, m.user LIMIT ?3",
            )?
            .query_map(params![conversation, user, int(DEEP_BATCH as u64)], |row| {
                Ok(((row.get(0)?, row.get(1)?), row.get(2)?))
            })?
            .collect::<rusqlite::Result<Vec<(Key, bool)>>>()
        });
        let members = members.await?;
        let Some((last, _)) = members.last() else {
            return Ok(finding);
        };
        after = Some(*last);
        finding.looked_at += members.len() as u64;
        let flawed = members.iter().filter(|(_, beyond)| *beyond);
        let flawed: Vec<Key> = flawed.map(|(key, _)| *key).collect();
        finding.found += flawed.len() as u64;
        if repair && !flawed.is_empty() {
            finding.repaired += flawed.len() as u64;
            let lower = move |c: &Connection| flawed.iter().try_for_each(|key| lower(c, key));
            store.write_slowly(CALL, lower).await?;
        }
    }
}

/// Takes a member's cursors back to the end of the log.
fn lower(connection: &Connection, key: &([u8; 12], [u8; 12])) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE members SET read_seq = min(read_seq, c.last_seq),
                 delivered_seq = min(delivered_seq, c.last_seq),
                 read_ordinal = min(read_ordinal, c.last_ordinal)
             FROM conversations c
             WHERE c.id = conversation AND conversation = ?1 AND user = ?2",
        )?
        .execute(params![key.0, key.1])
        .map(drop)
}

/// All messages, by their place in the table.
async fn messages(store: &SqliteStore, repair: bool) -> StoreResult<[DeepFinding; 2]> {
    let mut files = DeepFinding::new(Flaw::FileUnclaimed);
    let mut deleted = DeepFinding::new(Flaw::DeletedWithText);
    let end = store.read(CALL, |c| {
        c.query_row("SELECT coalesce(max(rowid), 0) FROM messages", [], |row| {
            row.get::<_, u64>(0)
        })
    });
    let end = end.await?;
    let mut from = 0;
    while from < end {
        let rows = (int(from), int(from + SQLITE_DEEP_ROWS));
        from += SQLITE_DEEP_ROWS;
        let (shown, unclaimed) = store.read(CALL, move |c| unclaimed(c, rows)).await?;
        files.looked_at += shown;
        files.found += unclaimed.len() as u64;
        let (marked, with_text) = store.read(CALL, move |c| deleted_in(c, rows)).await?;
        deleted.looked_at += marked;
        deleted.found += with_text;
        if repair && !unclaimed.is_empty() {
            let claim = move |c: &Connection| {
                let claim = |(message, attachment): &(Message, Attachment)| {
                    claim(c, message, attachment).map(u64::from)
                };
                unclaimed.iter().map(claim).sum::<rusqlite::Result<u64>>()
            };
            files.repaired += store.write_slowly(CALL, claim).await?;
        }
        if repair && with_text > 0 {
            let emptied = store.write_slowly(CALL, move |c| empty(c, rows)).await?;
            deleted.repaired += emptied as u64;
        }
    }
    Ok([files, deleted])
}

/// How many files messages show, and those of them whose records do not say so.
fn unclaimed(
    connection: &Connection,
    rows: (i64, i64),
) -> rusqlite::Result<(u64, Vec<(Message, Attachment)>)> {
    let mut claims =
        connection.prepare_cached("SELECT 1 FROM file_claims WHERE file = ?1 AND message = ?2")?;
    let mut with_files = connection.prepare_cached(&format!(
        "SELECT {MESSAGE_COLUMNS} FROM messages
         WHERE rowid > ?1 AND rowid <= ?2 AND attachments IS NOT NULL AND deleted = 0"
    ))?;
    let (mut shown, mut unclaimed) = (0, Vec::new());
    for found in with_files.query_map(params![rows.0, rows.1], message)? {
        let found = found?;
        for attachment in &found.attachments {
            shown += 1;
            if !claims.exists(params![attachment.file.bytes(), found.id.bytes()])? {
                unclaimed.push((found.clone(), attachment.clone()));
            }
        }
    }
    Ok((shown, unclaimed))
}

/// Says in the file's record that the message shows it; the record is made if it is gone. False if the
/// file is given up already, which is never taken back.
fn claim(
    connection: &Connection,
    message: &Message,
    attachment: &Attachment,
) -> rusqlite::Result<bool> {
    let file = attachment.file.bytes();
    connection
        .prepare_cached(
            "INSERT INTO files (id, owner, name, size, content_type, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            file,
            message.sender.bytes(),
            attachment.name,
            int(attachment.size),
            attachment.content_type,
            message.created_at.millis(),
        ])?;
    let alive = connection
        .prepare_cached("UPDATE files SET version = version + 1 WHERE id = ?1 AND doomed = 0")?
        .execute([file])?;
    if alive == 1 {
        connection
            .prepare_cached(
                "INSERT INTO file_claims (file, message, at) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO NOTHING",
            )?
            .execute(params![
                file,
                message.id.bytes(),
                message.created_at.millis()
            ])?;
    }
    Ok(alive == 1)
}

/// How many messages are marked deleted, and how many of those hold something.
fn deleted_in(connection: &Connection, rows: (i64, i64)) -> rusqlite::Result<(u64, u64)> {
    connection
        .prepare_cached(
            "SELECT count(*), count(CASE WHEN content <> '' OR attachments IS NOT NULL THEN 1 END)
             FROM messages WHERE rowid > ?1 AND rowid <= ?2 AND deleted = 1",
        )?
        .query_row(params![rows.0, rows.1], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
}

fn empty(connection: &Connection, rows: (i64, i64)) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "UPDATE messages SET content = '', attachments = NULL
             WHERE rowid > ?1 AND rowid <= ?2 AND deleted = 1
                 AND (content <> '' OR attachments IS NOT NULL)",
        )?
        .execute(params![rows.0, rows.1])
}
