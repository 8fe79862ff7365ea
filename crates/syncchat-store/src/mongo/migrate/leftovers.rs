//! Messages that no taken-over conversation claims: their conversation is missing, or an older
//! gateway wrote them after it was taken over. They are numbered on from the last that is, and
//! kept.

use futures_util::TryStreamExt;
use mongodb::bson::{Bson, Document, doc};
use serde::Deserialize;
use syncchat_core::ports::store::StoreResult;

use super::super::MongoStore;
use super::super::errors::store_error;
use super::Report;
use super::messages::{Log, number_all};
use crate::limits::MIGRATION_STEP_TIMEOUT;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Leftover {
    conversation_id: Option<Bson>,
}

#[derive(Deserialize)]
struct Numbers {
    seq: i64,
    #[serde(default)]
    ordinal: i64,
}

pub(super) async fn take_over(store: &MongoStore, report: &mut Report) -> StoreResult<()> {
    while let Some(leftover) = next(store).await? {
        let id = leftover.conversation_id.unwrap_or(Bson::Null);
        let log = number_all(
            store,
            doc! { "conversationId": &id, "seq": null },
            numbered_so_far(store, &id).await?,
        )
        .await?;
        raise_head(store, &id, &log).await?;
        let name = id
            .as_object_id()
            .map_or_else(|| id.to_string(), |id| id.to_hex());
        report.note(format!(
            "{} messages of conversation {name} numbered after the others",
            log.changed
        ));
    }
    Ok(())
}

async fn next(store: &MongoStore) -> StoreResult<Option<Leftover>> {
    store
        .messages
        .clone_with_type::<Leftover>()
        .find_one(doc! { "seq": null })
        .projection(doc! { "conversationId": 1 })
        .max_time(MIGRATION_STEP_TIMEOUT)
        .await
        .map_err(|error| store_error(&error))
}

async fn numbered_so_far(store: &MongoStore, id: &Bson) -> StoreResult<Log> {
    let mut cursor = store
        .messages
        .clone_with_type::<Numbers>()
        .find(doc! { "conversationId": id, "seq": { "$gte": 1 } })
        .projection(doc! { "seq": 1, "ordinal": 1 })
        .sort(doc! { "seq": -1 })
        .limit(1)
        .max_time(MIGRATION_STEP_TIMEOUT)
        .await
        .map_err(|error| store_error(&error))?;
    let last = cursor
        .try_next()
        .await
        .map_err(|error| store_error(&error))?;
    Ok(last.map_or_else(Log::default, |last| Log {
        last_seq: last.seq,
        last_ordinal: last.ordinal,
        ..Log::default()
    }))
}

/// Of a conversation that is there after all.
async fn raise_head(store: &MongoStore, id: &Bson, log: &Log) -> StoreResult<()> {
    let mut max: Document = doc! { "lastSeq": log.last_seq, "lastOrdinal": log.last_ordinal };
    if let Some(at) = log.last_created_at {
        max.insert("updatedAt", at);
    }
    let mut update = doc! { "$max": max };
    if let Some(message) = &log.last_message {
        update.insert("$set", doc! { "lastMessage": message.clone() });
    }
    let filter = doc! { "_id": id, "lastSeq": { "$exists": true } };
    store
        .conversations
        .update_one(filter, update)
        .await
        .map(drop)
        .map_err(|error| store_error(&error))
}
