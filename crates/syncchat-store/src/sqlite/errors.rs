//! SQLite's errors in the core's words.

use rusqlite::{Error, ErrorCode};
use syncchat_core::ports::store::StoreError;

/// A full disk, a failed read or a held lock may pass: `Unavailable`. What is stored and cannot be
/// read does not: `Damaged`.
pub(super) fn store_error(error: &Error) -> StoreError {
    match error {
        Error::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
                StoreError::Damaged(error.to_string())
            }
            _ => StoreError::Unavailable(error.to_string()),
        },
        Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::InvalidColumnType(..) => StoreError::Damaged(error.to_string()),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// A stored value that cannot be.
pub(super) fn damaged(column: &'static str) -> Error {
    Error::FromSqlConversionFailure(
        0,
        rusqlite::types::Type::Text,
        format!("{column} cannot be read").into(),
    )
}
