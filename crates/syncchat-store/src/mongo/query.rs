//! Reading whole results, bounded in time on the server too.

use futures_util::TryStreamExt;
use mongodb::Collection;
use mongodb::bson::{Document, doc};
use serde::de::DeserializeOwned;
use syncchat_core::ports::store::StoreResult;

use super::errors::store_error;
use crate::limits::CALL_TIMEOUT;

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
    collection
        .find(filter)
        .sort(order)
        .limit(limit)
        .max_time(CALL_TIMEOUT)
        .await
        .map_err(|error| store_error(&error))?
        .try_collect()
        .await
        .map_err(|error| store_error(&error))
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
    collection
        .clone_with_type::<T>()
        .find(filter)
        .projection(fields)
        .max_time(CALL_TIMEOUT)
        .await
        .map_err(|error| store_error(&error))?
        .try_collect()
        .await
        .map_err(|error| store_error(&error))
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
