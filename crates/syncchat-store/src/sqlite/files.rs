//! What is known of uploaded files.

use rusqlite::{Connection, OptionalExtension, Row, params};
use syncchat_core::limits::FILE_CLAIMS_MAX;
use syncchat_core::model::{
    FileClaim, FileId, IdempotencyKey, MessageId, StoredFile, Timestamp, UserId,
};
use syncchat_core::ports::store::{AddedFile, FileChange};

use super::rows::int;

const COLUMNS: &str = "id, owner, name, size, content_type, created_at, due_at, doomed, version";

/// A row, without its claims.
fn file(row: &Row<'_>) -> rusqlite::Result<StoredFile> {
    Ok(StoredFile {
        id: FileId::from_bytes(row.get(0)?),
        owner: UserId::from_bytes(row.get(1)?),
        name: row.get(2)?,
        size: row.get(3)?,
        content_type: row.get(4)?,
        created_at: Timestamp::from_millis(row.get(5)?),
        due_at: row.get::<_, Option<_>>(6)?.map(Timestamp::from_millis),
        claims: Vec::new(),
        doomed: row.get(7)?,
        version: row.get(8)?,
    })
}

fn with_claims(connection: &Connection, file: StoredFile) -> rusqlite::Result<StoredFile> {
    let claims = connection
        .prepare_cached("SELECT message, at FROM file_claims WHERE file = ?1 ORDER BY at, message")?
        .query_map([file.id.bytes()], |row| {
            Ok(FileClaim {
                message: MessageId::from_bytes(row.get(0)?),
                at: Timestamp::from_millis(row.get(1)?),
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(StoredFile { claims, ..file })
}

pub(super) fn add(
    connection: &Connection,
    file: &StoredFile,
    key: Option<&IdempotencyKey>,
) -> rusqlite::Result<AddedFile> {
    if let Some(key) = key
        && let Some(first) = by_request(connection, file.owner, key)?
    {
        return Ok(AddedFile::Repeated(first));
    }
    connection
        .prepare_cached(
            "INSERT INTO files (id, owner, name, size, content_type, created_at, due_at, request_key)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            file.id.bytes(),
            file.owner.bytes(),
            file.name,
            int(file.size),
            file.content_type,
            file.created_at.millis(),
            file.due_at.map(Timestamp::millis),
            key.map(IdempotencyKey::as_str),
        ])?;
    Ok(AddedFile::New)
}

fn by_request(
    connection: &Connection,
    owner: UserId,
    key: &IdempotencyKey,
) -> rusqlite::Result<Option<StoredFile>> {
    let found = connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM files WHERE owner = ?1 AND request_key = ?2"
        ))?
        .query_row(params![owner.bytes(), key.as_str()], file)
        .optional()?;
    found.map(|file| with_claims(connection, file)).transpose()
}

pub(super) fn by_ids(connection: &Connection, ids: &[FileId]) -> rusqlite::Result<Vec<StoredFile>> {
    let mut find =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM files WHERE id = ?1"))?;
    let mut found = Vec::new();
    for id in ids {
        if let Some(file) = find.query_row([id.bytes()], file).optional()? {
            found.push(with_claims(connection, file)?);
        }
    }
    Ok(found)
}

pub(super) fn claim(
    connection: &Connection,
    owner: UserId,
    ids: &[FileId],
    claim: FileClaim,
    due_at: Timestamp,
) -> rusqlite::Result<bool> {
    let mut claimed = 0;
    for id in ids {
        let changed = connection
            .prepare_cached(
                "UPDATE files SET due_at = ?3, version = version + 1
                 WHERE id = ?1 AND owner = ?2 AND doomed = 0
                   AND (SELECT count(*) FROM file_claims WHERE file = ?1) < ?4",
            )?
            .execute(params![
                id.bytes(),
                owner.bytes(),
                due_at.millis(),
                int(FILE_CLAIMS_MAX as u64),
            ])?;
        if changed == 1 {
            insert_claim(connection, *id, &claim)?;
            claimed += 1;
        }
    }
    Ok(claimed == ids.len())
}

fn insert_claim(connection: &Connection, id: FileId, claim: &FileClaim) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO file_claims (file, message, at) VALUES (?1, ?2, ?3)",
        )?
        .execute(params![
            id.bytes(),
            claim.message.bytes(),
            claim.at.millis()
        ])
        .map(drop)
}

pub(super) fn touch(
    connection: &Connection,
    ids: &[FileId],
    due_at: Timestamp,
) -> rusqlite::Result<()> {
    let mut touch = connection
        .prepare_cached("UPDATE files SET due_at = ?2, version = version + 1 WHERE id = ?1")?;
    for id in ids {
        touch.execute(params![id.bytes(), due_at.millis()])?;
    }
    Ok(())
}

pub(super) fn due(
    connection: &Connection,
    now: Timestamp,
    limit: usize,
) -> rusqlite::Result<Vec<StoredFile>> {
    let rows: Vec<StoredFile> = connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM files WHERE due_at <= ?1 ORDER BY due_at LIMIT ?2"
        ))?
        .query_map(params![now.millis(), int(limit as u64)], file)?
        .collect::<rusqlite::Result<_>>()?;
    rows.into_iter()
        .map(|file| with_claims(connection, file))
        .collect()
}

pub(super) fn change(
    connection: &Connection,
    id: FileId,
    version: u64,
    change: &FileChange,
) -> rusqlite::Result<bool> {
    let changed = connection
        .prepare_cached(
            "UPDATE files SET due_at = ?3, doomed = max(doomed, ?4), version = version + 1,
                 request_key = iif(?4, NULL, request_key)
             WHERE id = ?1 AND version = ?2",
        )?
        .execute(params![
            id.bytes(),
            int(version),
            change.due_at.map(Timestamp::millis),
            change.doomed,
        ])?;
    if changed == 0 {
        return Ok(false);
    }
    forget_claims(connection, id)?;
    for claim in &change.claims {
        insert_claim(connection, id, claim)?;
    }
    Ok(true)
}

fn forget_claims(connection: &Connection, id: FileId) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM file_claims WHERE file = ?1")?
        .execute([id.bytes()])
        .map(drop)
}

pub(super) fn remove(connection: &Connection, id: FileId) -> rusqlite::Result<()> {
    forget_claims(connection, id)?;
    connection
        .prepare_cached("DELETE FROM files WHERE id = ?1")?
        .execute([id.bytes()])
        .map(drop)
}
