//! Many updates in one write, for what has no order among itself.

use mongodb::bson::{Document, doc};
use syncchat_core::ports::store::StoreResult;

use super::MongoStore;
use super::errors::{matched, store_error};
use crate::limits::CALL_TIMEOUT;

/// Makes these updates, statements of MongoDB's `update` command, durably; an error if one failed.
/// Those that find no document are left out.
pub(super) async fn apply(
    store: &MongoStore,
    collection: &str,
    updates: Vec<Document>,
) -> StoreResult<()> {
    if updates.is_empty() {
        return Ok(());
    }
    let wait = CALL_TIMEOUT.as_millis() as i64;
    let reply = store
        .database
        .run_command(doc! {
            "update": collection,
            "updates": updates,
            "ordered": false,
            "maxTimeMS": wait,
            "writeConcern": { "w": "majority", "j": true, "wtimeout": wait },
        })
        .await
        .map_err(|error| store_error(&error))?;
    matched(&reply).map(drop)
}
