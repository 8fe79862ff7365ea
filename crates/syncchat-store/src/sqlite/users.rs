//! Accounts and profiles.

use rusqlite::{Connection, OptionalExtension, params};
use syncchat_core::model::{Account, Timestamp, User, UserId};
use syncchat_core::ports::store::{AccountWrite, PresenceChange};

use super::rows::{ACCOUNT_COLUMNS, account, int, user};

pub(super) fn create(connection: &Connection, account: &Account) -> rusqlite::Result<AccountWrite> {
    let user = &account.user;
    let (username_key, email_key) = (user.username.to_lowercase(), user.email.to_lowercase());
    match holder(connection, "username_key", &username_key)? {
        // The same account again: the answer to the first try was lost.
        Some(id) if id == user.id => return Ok(AccountWrite::Done),
        Some(_) => return Ok(AccountWrite::UsernameTaken),
        None => {}
    }
    if holder(connection, "email_key", &email_key)?.is_some() {
        return Ok(AccountWrite::EmailTaken);
    }
    connection
        .prepare_cached(
            "INSERT INTO users (id, username, username_key, email, email_key, password, avatar,
                 status, last_seen, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            user.id.bytes(),
            user.username,
            username_key,
            user.email,
            email_key,
            account.password_hash,
            user.avatar,
            user.status.as_str(),
            user.last_seen.map(Timestamp::millis),
            user.created_at.millis(),
        ])?;
    Ok(AccountWrite::Done)
}

/// Who has this key. `column` is one of ours, never input.
fn holder(
    connection: &Connection,
    column: &'static str,
    key: &str,
) -> rusqlite::Result<Option<UserId>> {
    connection
        .prepare_cached(&format!("SELECT id FROM users WHERE {column} = ?1"))?
        .query_row([key], |row| row.get(0).map(UserId::from_bytes))
        .optional()
}

pub(super) fn by_login(connection: &Connection, login: &str) -> rusqlite::Result<Option<Account>> {
    connection
        .prepare_cached(&format!(
            "SELECT {ACCOUNT_COLUMNS} FROM users WHERE username_key = ?1 OR email_key = ?1
             ORDER BY username_key = ?1 DESC LIMIT 1"
        ))?
        .query_row([login.to_lowercase()], account)
        .optional()
}

pub(super) fn by_ids(connection: &Connection, ids: &[UserId]) -> rusqlite::Result<Vec<User>> {
    let mut find = connection.prepare_cached(&format!(
        "SELECT {ACCOUNT_COLUMNS} FROM users WHERE id = ?1"
    ))?;
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        found.extend(find.query_row([id.bytes()], user).optional()?);
    }
    Ok(found)
}

pub(super) fn search(
    connection: &Connection,
    prefix: &str,
    limit: usize,
) -> rusqlite::Result<Vec<User>> {
    let first = prefix.to_lowercase();
    // Above everything that begins with the prefix.
    let end = format!("{first}{}", char::MAX);
    connection
        .prepare_cached(&format!(
            "SELECT {ACCOUNT_COLUMNS} FROM users
             WHERE username_key >= ?1 AND username_key < ?2 ORDER BY username_key LIMIT ?3"
        ))?
        .query_map(params![first, end, int(limit as u64)], user)?
        .collect()
}

pub(super) fn update_profile(
    connection: &Connection,
    id: UserId,
    username: Option<&str>,
    avatar: Option<&str>,
) -> rusqlite::Result<AccountWrite> {
    let username_key = username.map(str::to_lowercase);
    if let Some(key) = &username_key
        && holder(connection, "username_key", key)?.is_some_and(|holder| holder != id)
    {
        return Ok(AccountWrite::UsernameTaken);
    }
    let changed = connection
        .prepare_cached(
            "UPDATE users SET username = coalesce(?2, username),
                 username_key = coalesce(?3, username_key),
                 avatar = CASE WHEN ?4 IS NULL THEN avatar ELSE nullif(?4, '') END
             WHERE id = ?1",
        )?
        .execute(params![id.bytes(), username, username_key, avatar])?;
    Ok(match changed {
        0 => AccountWrite::Missing,
        _ => AccountWrite::Done,
    })
}

pub(super) fn set_presence(
    connection: &Connection,
    changes: &[PresenceChange],
) -> rusqlite::Result<()> {
    let mut set =
        connection.prepare_cached("UPDATE users SET status = ?2, last_seen = ?3 WHERE id = ?1")?;
    for PresenceChange { user, status, at } in changes {
        set.execute(params![user.bytes(), status.as_str(), at.millis()])?;
    }
    Ok(())
}
