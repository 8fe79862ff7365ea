//! Reading whole results, bounded in time on the server too.

use futures_util::{StreamExt, TryStreamExt, stream};
use mongodb::Collection;
use mongodb::action::Find;
use mongodb::bson::{Document, doc};
use mongodb::options::Hint;
use serde::de::DeserializeOwned;
use syncchat_core::ports::store::StoreResult;

use super::errors::store_error;
use crate::limits::{CALL_TIMEOUT, MONGO_UNION_MAX, MONGO_UNIONS_IN_FLIGHT_MAX};

/// Every document that matches.
pub(super) async fn all<T>(collection: &Collection<T>, filter: Document) -> StoreResult<Vec<T>>
where
    T: DeserializeOwned + Send + Sync + Unpin,
{
    sorted(collection, filter, doc! {}, 0).await
}

/// The first `limit` documents that match in this order; 0: all of them.
pub(super) async fn sorted<T>(
    collection: &Collection<T>,
    filter: Document,
    order: Document,
    limit: i64,
) -> StoreResult<Vec<T>>
where
    T: DeserializeOwned + Send + Sync + Unpin,
{
    found(collection.find(filter).sort(order).limit(limit)).await
}

/// Every document that matches, only these fields of it.
pub(super) async fn fields<T>(
    collection: &Collection<Document>,
    filter: Document,
    fields: Document,
) -> StoreResult<Vec<T>>
where
    T: DeserializeOwned + Send + Sync + Unpin,
{
    let collection = collection.clone_with_type::<T>();
    found(collection.find(filter).projection(fields)).await
}

/// All that is found, within [`CALL_TIMEOUT`] on the server.
pub(super) async fn found<T>(find: Find<'_, T>) -> StoreResult<Vec<T>>
where
    T: DeserializeOwned + Send + Sync + Unpin,
{
    find.max_time(CALL_TIMEOUT)
        .await
        .map_err(|error| store_error(&error))?
        .try_collect()
        .await
        .map_err(|error| store_error(&error))
}

/// How [`any`] finds: by the index with these keys, only these fields, so many documents at most for
/// each filter on average (0: all).
pub(super) struct By {
    pub(super) index: Document,
    pub(super) fields: Document,
    pub(super) each_max: usize,
}

/// Every document that matches any of these filters, [`MONGO_UNION_MAX`] of them in one command; `None`
/// if there are more than `by` allows. The index is named because the server would weigh all it has for
/// each filter anew, which costs more than finding.
pub(super) async fn any<T>(
    collection: &Collection<Document>,
    filters: Vec<Document>,
    by: By,
) -> StoreResult<Option<Vec<T>>>
where
    T: DeserializeOwned + Send + Sync + Unpin,
{
    let collection = collection.clone_with_type::<T>();
    let chunks: Vec<_> = filters
        .chunks(MONGO_UNION_MAX)
        .map(|filters| any_of_few(&collection, filters, &by))
        .collect();
    let found: Vec<Option<Vec<T>>> = stream::iter(chunks)
        .buffered(MONGO_UNIONS_IN_FLIGHT_MAX)
        .try_collect()
        .await?;
    let found: Option<Vec<Vec<T>>> = found.into_iter().collect();
    Ok(found.map(|found| found.into_iter().flatten().collect()))
}

async fn any_of_few<T>(
    collection: &Collection<T>,
    filters: &[Document],
    by: &By,
) -> StoreResult<Option<Vec<T>>>
where
    T: DeserializeOwned + Send + Sync + Unpin,
{
    let allowed = by.each_max * filters.len();
    // One more than allowed tells whether there are more.
    let limit = if allowed == 0 { 0 } else { allowed as i64 + 1 };
    let find = collection
        .find(doc! { "$or": filters })
        .projection(by.fields.clone())
        .hint(Hint::Keys(by.index.clone()))
        .limit(limit);
    let found = found(find).await?;
    Ok((limit == 0 || found.len() <= allowed).then_some(found))
}

/// A document that matches.
pub(super) async fn one<T>(collection: &Collection<T>, filter: Document) -> StoreResult<Option<T>>
where
    T: DeserializeOwned + Send + Sync + Unpin,
{
    collection
        .find_one(filter)
        .max_time(CALL_TIMEOUT)
        .await
        .map_err(|error| store_error(&error))
}
