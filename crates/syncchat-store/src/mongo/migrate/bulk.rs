//! Many updates in few commands.

use std::collections::BTreeSet;

use mongodb::bson::{Bson, Document, doc};
use syncchat_core::ports::store::{StoreError, StoreResult};

use super::super::MongoStore;
use super::super::errors::{DUPLICATE_KEY, number, store_error};
use crate::limits::MIGRATION_BATCH;

/// Runs update statements one after the other, and gives the places of those that a unique index
/// refused.
pub(in super::super) async fn update(
    store: &MongoStore,
    collection: &str,
    updates: &[Document],
) -> StoreResult<BTreeSet<usize>> {
    let mut refused = BTreeSet::new();
    for (chunk, statements) in updates.chunks(MIGRATION_BATCH).enumerate() {
        let reply = store
            .database
            .run_command(doc! {
                "update": collection,
                "updates": statements.to_vec(),
                "ordered": false,
                "writeConcern": { "w": "majority", "j": true },
            })
            .await
            .map_err(|error| store_error(&error))?;
        for place in duplicates(&reply)? {
            refused.insert(chunk * MIGRATION_BATCH + place);
        }
    }
    Ok(refused)
}

fn duplicates(reply: &Document) -> StoreResult<Vec<usize>> {
    let failed = |what: &dyn std::fmt::Display| {
        StoreError::Unavailable(format!("write of the migration failed: {what}"))
    };
    if let Some(error) = reply.get("writeConcernError") {
        return Err(failed(error));
    }
    let errors = reply.get("writeErrors").and_then(Bson::as_array);
    errors
        .into_iter()
        .flatten()
        .map(|error| {
            let fields = error.as_document();
            let code = fields.and_then(|fields| number(fields, "code"));
            let place = fields.and_then(|fields| number(fields, "index"));
            match (code, place) {
                (Some(code), Some(place)) if code == DUPLICATE_KEY as u64 => Ok(place as usize),
                _ => Err(failed(error)),
            }
        })
        .collect()
}
