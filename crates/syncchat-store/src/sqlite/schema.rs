//! The tables, and how an older file becomes a current one. The version stands in SQLite's
//! `user_version`; an `application_id` says that the file is ours.

use rusqlite::{Connection, TransactionBehavior};
use syncchat_core::ports::store::StoreError;

use super::errors::store_error;
use crate::OpenError;

/// What this release reads and writes.
const VERSION: i64 = 7;
/// "Sync", in the file's header.
const APPLICATION_ID: i64 = 0x5379_6e63;

/// Steps from version n to n + 1, oldest first.
const STEPS: [&str; VERSION as usize] = [
    include_str!("schema_1.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
    include_str!("schema_6.sql"),
    include_str!("schema_7.sql"),
];

/// The indexes that the steps make, by name, with the statement that makes each.
pub(super) fn indexes() -> Vec<(String, String)> {
    let without_comments = |step: &str| -> String {
        let lines = step.lines().map(|line| line.split("--").next());
        lines.flatten().collect::<Vec<_>>().join(" ")
    };
    let statements = STEPS.map(without_comments).join(";");
    let index = |statement: &str| {
        let words: Vec<&str> = statement.split_whitespace().collect();
        let name = match words.as_slice() {
            ["CREATE", "INDEX", name, "ON", ..] | ["CREATE", "UNIQUE", "INDEX", name, "ON", ..] => {
                name
            }
            _ => return None,
        };
        Some(((*name).to_owned(), words.join(" ")))
    };
    statements.split(';').filter_map(index).collect()
}

/// Brings a file to [`VERSION`] in one transaction, and says what that took.
///
/// It writes even if there is nothing to do. A process that died may have left a commit in the log that is
/// not synced yet; who reads it takes it for stored, and this transaction syncs the log before anybody can.
pub(super) fn upgrade(connection: &mut Connection) -> Result<Vec<String>, OpenError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|error| OpenError::Store(store_error(&error)))?;
    let found = check_origin(&transaction)?;
    let mut done = Vec::new();
    for (version, step) in (1..).zip(STEPS).skip(found as usize) {
        transaction
            .execute_batch(step)
            .and_then(|()| transaction.pragma_update(None, "user_version", version))
            .map_err(|error| OpenError::Store(store_error(&error)))?;
        done.push(format!("tables brought to version {version}"));
    }
    transaction
        .pragma_update(None, "application_id", APPLICATION_ID)
        .and_then(|()| transaction.commit())
        .map_err(|error| OpenError::Store(store_error(&error)))?;
    Ok(done)
}

/// The file's version, 0 if it is empty; refuses what a newer release or somebody else wrote.
fn check_origin(connection: &Connection) -> Result<i64, OpenError> {
    let read = |pragma: &str| -> Result<i64, OpenError> {
        connection
            .query_row(pragma, [], |row| row.get(0))
            .map_err(|error| OpenError::Store(store_error(&error)))
    };
    let version = read("PRAGMA user_version")?;
    let application = read("PRAGMA application_id")?;
    let tables = read("SELECT count(*) FROM sqlite_master")?;
    if application != APPLICATION_ID && (tables > 0 || version != 0) {
        return Err(OpenError::Store(StoreError::Damaged(
            "the file is a database of another program".into(),
        )));
    }
    if !(0..=VERSION).contains(&version) {
        return Err(OpenError::Newer {
            found: version,
            known: VERSION,
        });
    }
    Ok(version)
}
