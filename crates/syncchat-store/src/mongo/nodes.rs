//! Processes that live although the fleet cannot hear them, by the time that the server gave their
//! last note. Such notes are few and soon old, so there is no index but that of their names.

use std::time::Duration;

use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc};
use syncchat_core::ports::store::StoreResult;

use super::MongoStore;
use super::errors::store_error;
use crate::limits::NODE_NOTES_KEPT;

pub(super) async fn note(store: &MongoStore, process: &str) -> StoreResult<()> {
    let now = vec![doc! { "$set": { "at": "$$NOW" } }];
    let noted = store.nodes.update_one(doc! { "_id": process }, now);
    noted
        .upsert(true)
        .await
        .map_err(|error| store_error(&error))?;
    // What those who have died since left behind.
    let old = doc! { "$expr": { "$lt": ["$at", ago(NODE_NOTES_KEPT)] } };
    let forgotten = store.nodes.delete_many(old).await;
    forgotten.map_err(|error| store_error(&error)).map(drop)
}

pub(super) async fn noted(
    store: &MongoStore,
    processes: &[String],
    within: Duration,
) -> StoreResult<Vec<String>> {
    let fresh = doc! {
        "_id": { "$in": processes },
        "$expr": { "$gte": ["$at", ago(within)] },
    };
    let found = async { store.nodes.find(fresh).await?.try_collect().await };
    let found: Vec<Document> = found.await.map_err(|error| store_error(&error))?;
    let names = found.iter().filter_map(|node| node.get_str("_id").ok());
    Ok(names.map(str::to_owned).collect())
}

/// So long before now, by the server's clock.
fn ago(span: Duration) -> Document {
    let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    doc! { "$subtract": ["$$NOW", millis] }
}
