//! Messages that an older deployment marked as deleted, and kept the text of, lose it.

use mongodb::bson::{Document, doc};
use mongodb::options::Hint;
use syncchat_core::ports::store::StoreResult;

use super::super::errors::store_error;
use super::super::{MongoStore, indexes, query};
use super::Report;

/// Beside the schema's version: that this was done, which older releases need not know.
const DONE: &str = "deletedEmptied";

/// Deleted messages that hold something.
fn with_text() -> Document {
    doc! { "deleted": true, "$or": [
        { "content": { "$nin": ["", null] } },
        { "attachments.0": { "$exists": true } },
    ] }
}

/// Once for each database, and again when something `older` was taken over.
pub(super) async fn take_over(
    store: &MongoStore,
    older: bool,
    report: &mut Report,
) -> StoreResult<()> {
    let schema = query::one(&store.own, doc! { "_id": "schema" }).await?;
    let done = schema.is_some_and(|schema| schema.get_bool(DONE).unwrap_or(false));
    if done && !older {
        return Ok(());
    }
    let emptied = empty(store).await?;
    if emptied > 0 {
        report.did(format!("{emptied} deleted messages emptied"));
    }
    store
        .own
        .update_one(doc! { "_id": "schema" }, doc! { "$set": { DONE: true } })
        .upsert(true)
        .await
        .map(drop)
        .map_err(|error| store_error(&error))
}

/// How many messages are marked as deleted, and how many of those hold something.
pub(in super::super) async fn count(store: &MongoStore) -> StoreResult<(u64, u64)> {
    let count = |filter: Document| {
        let by = Hint::Keys(indexes::messages_deleted());
        store.messages.count_documents(filter).hint(by)
    };
    let marked = count(doc! { "deleted": true }).await;
    let with_text = count(with_text()).await;
    let both = marked.and_then(|marked| with_text.map(|with_text| (marked, with_text)));
    both.map_err(|error| store_error(&error))
}

/// Empties them; how many there were.
pub(in super::super) async fn empty(store: &MongoStore) -> StoreResult<u64> {
    let nothing = doc! { "$set": { "content": "", "attachments": [] } };
    store
        .messages
        .update_many(with_text(), nothing)
        .hint(Hint::Keys(indexes::messages_deleted()))
        .await
        .map(|emptied| emptied.modified_count)
        .map_err(|error| store_error(&error))
}
