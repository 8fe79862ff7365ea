//! Refresh tokens and their families.

use rusqlite::{Connection, OptionalExtension, params};
use syncchat_core::model::{Timestamp, UserId};
use syncchat_core::ports::store::{RefreshToken, Rotation};

use super::rows::int;

pub(super) fn add(connection: &Connection, token: &RefreshToken) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO refresh_families (family, user, revoked, expires_at)
             VALUES (?1, ?2, 0, ?3)",
        )?
        .execute(params![
            token.family,
            token.user.bytes(),
            token.expires_at.millis()
        ])?;
    insert(connection, token, token.family)
}

fn insert(connection: &Connection, token: &RefreshToken, family: [u8; 16]) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO refresh_tokens (hash, family, used, created_at, expires_at)
             VALUES (?1, ?2, 0, ?3, ?4)",
        )?
        .execute(params![
            token.hash,
            family,
            token.created_at.millis(),
            token.expires_at.millis(),
        ])
        .map(drop)
}

/// A token with what is known of its family.
struct Known {
    family: [u8; 16],
    user: UserId,
    used: bool,
    revoked: bool,
    expires_at: Timestamp,
    /// Of the token that its family took out of use last.
    repeatable: Option<[u8; 32]>,
    salt: Option<[u8; 16]>,
}

fn find(connection: &Connection, hash: [u8; 32]) -> rusqlite::Result<Option<Known>> {
    connection
        .prepare_cached(
            "SELECT f.family, f.user, t.used, f.revoked, t.expires_at, f.repeatable, f.salt
             FROM refresh_tokens t JOIN refresh_families f ON f.family = t.family
             WHERE t.hash = ?1",
        )?
        .query_row([hash], |row| {
            Ok(Known {
                family: row.get(0)?,
                user: UserId::from_bytes(row.get(1)?),
                used: row.get(2)?,
                revoked: row.get(3)?,
                expires_at: Timestamp::from_millis(row.get(4)?),
                repeatable: row.get(5)?,
                salt: row.get(6)?,
            })
        })
        .optional()
}

fn revoke_family(connection: &Connection, family: [u8; 16]) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE refresh_families SET revoked = 1 WHERE family = ?1")?
        .execute([family])
        .map(drop)
}

pub(super) fn rotate(
    connection: &Connection,
    hash: [u8; 32],
    next: &RefreshToken,
    salt: [u8; 16],
    now: Timestamp,
) -> rusqlite::Result<Rotation> {
    let Some(known) = find(connection, hash)?.filter(|t| !t.revoked && t.expires_at > now) else {
        return Ok(Rotation::Unknown);
    };
    let (user, family) = (known.user, known.family);
    if known.used {
        if let Some(salt) = known.salt.filter(|_| known.repeatable == Some(hash)) {
            return Ok(Rotation::Repeated { user, family, salt });
        }
        revoke_family(connection, family)?;
        return Ok(Rotation::Reused { user, family });
    }
    connection
        .prepare_cached("UPDATE refresh_tokens SET used = 1 WHERE hash = ?1")?
        .execute([hash])?;
    connection
        .prepare_cached(
            "UPDATE refresh_families
             SET expires_at = max(expires_at, ?2), repeatable = ?3, salt = ?4
             WHERE family = ?1",
        )?
        .execute(params![family, next.expires_at.millis(), hash, salt])?;
    insert(connection, next, family)?;
    Ok(Rotation::Rotated { user, family })
}

pub(super) fn revoke(
    connection: &Connection,
    hash: [u8; 32],
) -> rusqlite::Result<Option<(UserId, [u8; 16])>> {
    let Some(known) = find(connection, hash)? else {
        return Ok(None);
    };
    revoke_family(connection, known.family)?;
    Ok(Some((known.user, known.family)))
}

pub(super) fn families_of(
    connection: &Connection,
    hashes: &[[u8; 32]],
) -> rusqlite::Result<Vec<([u8; 32], [u8; 16])>> {
    let mut find =
        connection.prepare_cached("SELECT family FROM refresh_tokens WHERE hash = ?1")?;
    let mut families = Vec::with_capacity(hashes.len());
    for hash in hashes {
        let family = find.query_row([hash], |row| row.get(0)).optional()?;
        families.extend(family.map(|family| (*hash, family)));
    }
    Ok(families)
}

pub(super) fn revoked_among(
    connection: &Connection,
    families: &[[u8; 16]],
) -> rusqlite::Result<Vec<(UserId, [u8; 16])>> {
    let mut find = connection
        .prepare_cached("SELECT user FROM refresh_families WHERE family = ?1 AND revoked = 1")?;
    let mut revoked = Vec::new();
    for family in families {
        let user = find.query_row([family], |row| row.get(0)).optional()?;
        revoked.extend(user.map(|user| (UserId::from_bytes(user), *family)));
    }
    Ok(revoked)
}

pub(super) fn family_active(connection: &Connection, family: [u8; 16]) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM refresh_families WHERE family = ?1 AND revoked = 0")?
        .exists([family])
}

pub(super) fn delete_expired(
    connection: &Connection,
    now: Timestamp,
    limit: usize,
) -> rusqlite::Result<usize> {
    let bounds = params![now.millis(), int(limit as u64)];
    let deleted = connection
        .prepare_cached(
            "DELETE FROM refresh_tokens WHERE hash IN
                 (SELECT hash FROM refresh_tokens WHERE expires_at <= ?1 LIMIT ?2)",
        )?
        .execute(bounds)?;
    connection
        .prepare_cached(
            "DELETE FROM refresh_families WHERE family IN
                 (SELECT family FROM refresh_families WHERE expires_at <= ?1 LIMIT ?2)",
        )?
        .execute(bounds)?;
    Ok(deleted)
}
