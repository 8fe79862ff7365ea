//! MongoDB's errors in the core's words.

use mongodb::bson::Document;
use mongodb::error::{Error, ErrorKind, TRANSIENT_TRANSACTION_ERROR, WriteFailure};
use syncchat_core::ports::store::StoreError;

/// MongoDB's code for a value that a unique index holds already.
pub(super) const DUPLICATE_KEY: i32 = 11_000;

/// A document that cannot be read stays unreadable: `Damaged`. Everything else may pass.
pub(super) fn store_error(error: &Error) -> StoreError {
    match error.kind.as_ref() {
        // The kind alone: the rest is the server's whole answer, byte by byte.
        kind @ (ErrorKind::Bson(_) | ErrorKind::BsonDeserialization(_)) => {
            StoreError::Damaged(kind.to_string())
        }
        kind => StoreError::Unavailable(kind.to_string()),
    }
}

/// Whether a unique index refused the write.
pub(super) fn is_duplicate(error: &Error) -> bool {
    match error.kind.as_ref() {
        ErrorKind::Write(WriteFailure::WriteError(error)) => error.code == DUPLICATE_KEY,
        ErrorKind::InsertMany(error) => error
            .write_errors
            .iter()
            .flatten()
            .any(|error| error.code == DUPLICATE_KEY),
        ErrorKind::Command(error) => error.code == DUPLICATE_KEY,
        _ => false,
    }
}

/// Whether the transaction is undone and the same one may succeed now. If no server was found,
/// which the driver labels so too, it may not: that has been waited for already.
pub(super) fn is_transient(error: &Error) -> bool {
    error.contains_label(TRANSIENT_TRANSACTION_ERROR)
        && !matches!(error.kind.as_ref(), ErrorKind::ServerSelection { .. })
}

/// How many documents the answer to a write command says it found; an error if one of its
/// statements failed.
pub(super) fn matched(reply: &Document) -> Result<u64, StoreError> {
    if let Ok(errors) = reply.get_array("writeErrors")
        && let Some(error) = errors.first()
    {
        return Err(StoreError::Unavailable(format!("write failed: {error}")));
    }
    if let Ok(error) = reply.get_document("writeConcernError") {
        return Err(StoreError::Unavailable(format!("not durable: {error}")));
    }
    number(reply, "n").ok_or_else(|| StoreError::Damaged("answer without n".into()))
}

/// Whether the server refused with one of these codes.
pub(super) fn has_code(error: &Error, codes: &[i32]) -> bool {
    match error.kind.as_ref() {
        ErrorKind::Command(error) => codes.contains(&error.code),
        _ => false,
    }
}

/// A number that MongoDB gives in whichever type it likes.
pub(super) fn number(document: &Document, key: &str) -> Option<u64> {
    use mongodb::bson::Bson;
    match document.get(key)? {
        Bson::Int32(number) => u64::try_from(*number).ok(),
        Bson::Int64(number) => u64::try_from(*number).ok(),
        Bson::Double(number) if *number >= 0.0 => Some(*number as u64),
        _ => None,
    }
}

/// A stored document that cannot be.
pub(super) fn damaged(what: &'static str) -> StoreError {
    StoreError::Damaged(format!("{what} cannot be read"))
}
