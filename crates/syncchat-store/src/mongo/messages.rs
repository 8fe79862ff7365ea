//! Reading the log, and changing what was said.

use mongodb::bson::{DateTime, Document, doc};
use mongodb::options::ReturnDocument;
use serde::Deserialize;
use syncchat_core::model::{ConversationId, Message, MessageId, Seq, Timestamp, UserId};
use syncchat_core::ports::store::{LogRange, StoreResult};

use super::MongoStore;
use super::documents::{Id, MessageRecord, count, date, int, oids};
use super::errors::store_error;
use super::{query, union};
use crate::limits::CALL_TIMEOUT;

/// Places looked at in one round trip when a time is searched for. The log's length is divided by
/// as many with each.
const PROBES: u64 = 16;

fn to_messages(records: Vec<MessageRecord>) -> StoreResult<Vec<Message>> {
    records.into_iter().map(Message::try_from).collect()
}

pub(super) async fn by_ids(store: &MongoStore, ids: &[MessageId]) -> StoreResult<Vec<Message>> {
    let filter = doc! { "_id": { "$in": oids(ids) } };
    to_messages(query::all(&store.messages, filter).await?)
}

pub(super) async fn by_client_ids(
    store: &MongoStore,
    keys: &[(ConversationId, UserId, String)],
) -> StoreResult<Vec<Message>> {
    let keys: Vec<Document> = keys
        .iter()
        .map(|(conversation, sender, id)| {
            doc! { "conversationId": conversation.oid(), "sender": sender.oid(), "clientMsgId": id }
        })
        .collect();
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    to_messages(query::all(&store.messages, doc! { "$or": keys }).await?)
}

pub(super) async fn log(
    store: &MongoStore,
    ranges: &[(ConversationId, LogRange)],
    limit: usize,
) -> StoreResult<Vec<Vec<Message>>> {
    if limit == 0 {
        return Ok(vec![Vec::new(); ranges.len()]);
    }
    let mut pipelines = Vec::with_capacity(ranges.len());
    for &(conversation, range) in ranges {
        let (places, order) = match range {
            LogRange::Before(seq) => (doc! { "$lt": int(seq) }, -1),
            LogRange::After(seq) => (doc! { "$gt": int(seq) }, 1),
            LogRange::Since(time) => {
                let first = first_since(store, conversation, time).await?;
                (doc! { "$gte": int(first) }, 1)
            }
        };
        pipelines.push(vec![
            doc! { "$match": { "conversationId": conversation.oid(), "seq": places } },
            doc! { "$sort": { "seq": order } },
            doc! { "$limit": int(limit as u64) },
        ]);
    }
    let pages: Vec<Vec<MessageRecord>> =
        union::run(&store.messages.clone_with_type(), pipelines).await?;
    pages
        .into_iter()
        .map(|mut page| {
            page.sort_unstable_by_key(|record| record.seq);
            to_messages(page)
        })
        .collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    seq: i64,
    created_at: DateTime,
}

/// The first `seq` written at or after `time`; one beyond the last if there is none. Times do not
/// fall along a log, so that dividing finds it and no index has to be kept for it.
async fn first_since(
    store: &MongoStore,
    conversation: ConversationId,
    time: Timestamp,
) -> StoreResult<Seq> {
    let heads = super::conversations::heads(store, &[conversation]).await?;
    let last = heads.first().map_or(0, |(_, last)| *last);
    // Everything below `low` is earlier; `high` is not, or is one beyond the last.
    let (mut low, mut high) = (1, last + 1);
    while low < high {
        let step = (high - low).div_ceil(PROBES).max(1);
        let places: Vec<i64> = (low..high).step_by(step as usize).map(int).collect();
        let found: Vec<Probe> = query::fields(
            &store.messages.clone_with_type(),
            doc! { "conversationId": conversation.oid(), "seq": { "$in": &places } },
            doc! { "_id": 0, "seq": 1, "createdAt": 1 },
        )
        .await?;
        if found.is_empty() {
            return Ok(high);
        }
        for probe in found {
            if probe.created_at < date(time) {
                low = low.max(count(probe.seq) + 1);
            } else {
                high = high.min(count(probe.seq));
            }
        }
    }
    Ok(high)
}

pub(super) async fn edit(
    store: &MongoStore,
    id: MessageId,
    content: &str,
    at: Timestamp,
) -> StoreResult<Option<Message>> {
    let change = doc! { "content": content, "edited": true, "updatedAt": date(at) };
    change_undeleted(store, id, change).await
}

pub(super) async fn delete(
    store: &MongoStore,
    id: MessageId,
    at: Timestamp,
) -> StoreResult<Option<Message>> {
    let change = doc! { "content": "", "attachments": [], "deleted": true, "updatedAt": date(at) };
    match change_undeleted(store, id, change).await? {
        Some(message) => Ok(Some(message)),
        // There is none, or it was deleted before.
        None => Ok(by_ids(store, &[id]).await?.pop()),
    }
}

async fn change_undeleted(
    store: &MongoStore,
    id: MessageId,
    change: Document,
) -> StoreResult<Option<Message>> {
    let filter = doc! { "_id": id.oid(), "deleted": { "$ne": true } };
    store
        .messages
        .find_one_and_update(filter, doc! { "$set": change })
        .return_document(ReturnDocument::After)
        .max_time(CALL_TIMEOUT)
        .await
        .map_err(|error| store_error(&error))?
        .map(Message::try_from)
        .transpose()
}
