//! Many small queries in few round trips.

use std::future::Future;

use futures_util::{StreamExt, TryStreamExt, stream};
use mongodb::Collection;
use mongodb::bson::{Document, doc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use syncchat_core::ports::store::StoreResult;

use super::errors::store_error;
use crate::limits::{CALL_TIMEOUT, MONGO_UNION_MAX, MONGO_UNIONS_IN_FLIGHT_MAX};

/// A document with the number of the query that found it.
#[derive(Deserialize)]
struct Numbered<T> {
    query: i64,
    document: T,
}

/// Runs each pipeline on the collection, [`MONGO_UNION_MAX`] of them in one command, and gives
/// what each found, in its order.
pub(super) async fn run<T>(
    collection: &Collection<Document>,
    pipelines: Vec<Vec<Document>>,
) -> StoreResult<Vec<Vec<T>>>
where
    T: DeserializeOwned + Send + Sync + Unpin,
{
    let chunks: Vec<_> = pipelines
        .chunks(MONGO_UNION_MAX)
        .map(|chunk| run_chunk(collection, chunk.to_vec()))
        .collect();
    in_flight(chunks).await
}

/// Waits for these with a bounded number at work, and joins their answers in their order.
async fn in_flight<T, F>(calls: Vec<F>) -> StoreResult<Vec<T>>
where
    F: Future<Output = StoreResult<Vec<T>>>,
{
    let answers: Vec<Vec<T>> = stream::iter(calls)
        .buffered(MONGO_UNIONS_IN_FLIGHT_MAX)
        .try_collect()
        .await?;
    Ok(answers.into_iter().flatten().collect())
}

async fn run_chunk<T>(
    collection: &Collection<Document>,
    pipelines: Vec<Vec<Document>>,
) -> StoreResult<Vec<Vec<T>>>
where
    T: DeserializeOwned + Send + Sync + Unpin,
{
    let mut found: Vec<Vec<T>> = pipelines.iter().map(|_| Vec::new()).collect();
    let numbered = pipelines
        .into_iter()
        .enumerate()
        .map(|(number, mut stages)| {
            let number = number as i64;
            stages.push(doc! { "$replaceWith": { "query": number, "document": "$$ROOT" } });
            stages
        });
    let mut command: Vec<Document> = Vec::new();
    for stages in numbered {
        if command.is_empty() {
            command = stages;
        } else {
            command.push(doc! { "$unionWith": { "coll": collection.name(), "pipeline": stages } });
        }
    }
    if command.is_empty() {
        return Ok(found);
    }
    let mut cursor = collection
        .aggregate(command)
        .max_time(CALL_TIMEOUT)
        .with_type::<Numbered<T>>()
        .await
        .map_err(|error| store_error(&error))?;
    while let Some(next) = cursor
        .try_next()
        .await
        .map_err(|error| store_error(&error))?
    {
        if let Some(list) = usize::try_from(next.query)
            .ok()
            .and_then(|n| found.get_mut(n))
        {
            list.push(next.document);
        }
    }
    Ok(found)
}
