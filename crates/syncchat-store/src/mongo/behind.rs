//! One append to a log in which others write at the same time: not where it expected to be, but behind
//! whatever is there.
//!
//! The transaction first raises the head of the log, from whatever it is. From then on until its end
//! nobody else can write there: they are refused, and try again a little later. So it reads where the
//! log ended, makes sure that nothing was changed since the append was planned, and writes its
//! messages there. The others are kept out for these few round trips only, not until most members
//! have the write: meanwhile the next gateway goes behind it.

use std::time::Instant;

use mongodb::ClientSession;
use mongodb::bson::{DateTime, doc};
use mongodb::options::ReturnDocument;
use serde::Deserialize;
use syncchat_core::limits::CLOCK_OFFSET_MAX;
use syncchat_core::model::{MessageKind, Seq};
use syncchat_core::ports::store::{Append, Appended, LogEnd, StoreResult};

use super::MongoStore;
use super::append::{changes, insert, written_before};
use super::documents::{Id, count, date, int, timestamp};
use super::errors::matched;
use super::heal;
use super::transaction::{self, Failure};
use crate::limits::{
    APPEND_TIMEOUT, MONGO_BEHIND_MAX, MONGO_CROWDED_SPAN, MONGO_TOGETHER_ATTEMPTS_MAX,
};

/// Tries until it is in, for [`MONGO_CROWDED_SPAN`].
pub(super) async fn append(store: &MongoStore, append: &Append) -> StoreResult<Appended> {
    let begun = Instant::now();
    let mut tried = 0;
    while begun.elapsed() < MONGO_CROWDED_SPAN {
        match try_once(store, append).await {
            Ok(None) => return Ok(Appended::Moved),
            Ok(Some(end)) if end.last_seq == append.expected_seq => {
                return Ok(Appended::Committed);
            }
            Ok(Some(end)) => return Ok(Appended::Behind(end)),
            Err(Failure::Conflict) => {}
            Err(Failure::Duplicate) => {
                // It may not be durable yet, and so not be found.
                let one = std::iter::once(append);
                if !written_before(store, one).await?.is_empty() {
                    return Ok(Appended::Duplicate);
                }
            }
            Err(Failure::Store(error)) => return Err(error),
        }
        metrics::counter!("syncchat_mongodb_conflicts_total").increment(1);
        if tried >= MONGO_TOGETHER_ATTEMPTS_MAX {
            super::orphans::end(store).await;
        }
        transaction::pause_in_crowd(tried).await;
        tried += 1;
    }
    heal::raise_if_behind(store, append.conversation).await;
    // Whoever reads its head again finds out what is in the way.
    Ok(Appended::Moved)
}

/// One transaction; where the log ended before it, or `None` if it cannot go behind what is there.
async fn try_once(store: &MongoStore, append: &Append) -> Result<Option<LogEnd>, Failure> {
    let mut session = transaction::begin(&store.client).await?;
    let Some(end) = take_place(store, &mut session, append).await? else {
        transaction::abort(&mut session).await;
        return Ok(None);
    };
    let mut behind;
    let append = if end.last_seq == append.expected_seq {
        append
    } else {
        behind = append.clone();
        behind.put_behind(end);
        &behind
    };
    insert(store, &mut session, std::iter::once(append)).await?;
    transaction::commit(&mut session).await?;
    Ok(Some(end))
}

/// Where a log ends, as stored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EndRecord {
    last_seq: i64,
    #[serde(default)]
    last_ordinal: i64,
    updated_at: DateTime,
}

/// Raises the head, and keeps others out; where the log ended before. `None` if it has no end at or
/// beyond the expected one, or one that lies in the future, or somebody has changed the conversation
/// since.
async fn take_place(
    store: &MongoStore,
    session: &mut ClientSession,
    append: &Append,
) -> Result<Option<LogEnd>, Failure> {
    let Some(last) = append.messages.last() else {
        return Ok(None);
    };
    let ahead = CLOCK_OFFSET_MAX.as_millis() as i64;
    let counted = append.messages.iter();
    let counted = counted.filter(|message| message.kind != MessageKind::System);
    let record: Option<EndRecord> = store
        .conversations
        .clone_with_type::<EndRecord>()
        .find_one_and_update(
            doc! {
                "_id": append.conversation.oid(),
                "lastSeq": { "$gte": int(append.expected_seq) },
                // What follows a time that is ahead takes it back, which is to be planned.
                "$expr": { "$lte": ["$updatedAt", { "$add": ["$$NOW", ahead] }] },
            },
            doc! {
                "$inc": {
                    "lastSeq": int(append.messages.len() as Seq),
                    "lastOrdinal": int(counted.count() as u64),
                },
                "$max": { "updatedAt": date(last.created_at) },
                "$set": { "lastMessage": last.id.oid() },
            },
        )
        .projection(doc! { "lastSeq": 1, "lastOrdinal": 1, "updatedAt": 1 })
        .return_document(ReturnDocument::Before)
        .max_time(APPEND_TIMEOUT)
        .session(&mut *session)
        .await?;
    let Some(record) = record else {
        return Ok(None);
    };
    let end = LogEnd {
        last_seq: count(record.last_seq),
        last_ordinal: count(record.last_ordinal),
        updated_at: timestamp(record.updated_at),
    };
    if !is_unchanged(store, session, append, end.last_seq).await? {
        return Ok(None);
    }
    if !append.changes.is_empty() {
        let mut placed = append.clone();
        placed.put_behind(end);
        let people: Vec<_> = changes(&placed).collect();
        let expected = people.len() as u64;
        let update = doc! { "update": "conversations", "updates": people, "ordered": true };
        let reply = store
            .database
            .run_command(update)
            .session(&mut *session)
            .await?;
        if matched(&reply)? != expected {
            return Ok(None);
        }
    }
    Ok(Some(end))
}

/// Whether nothing but talk has come since the append was planned: whoever was a member then still
/// is, and what was decided is still right.
async fn is_unchanged(
    store: &MongoStore,
    session: &mut ClientSession,
    append: &Append,
    last_seq: Seq,
) -> Result<bool, Failure> {
    match last_seq.saturating_sub(append.expected_seq) {
        0 => return Ok(true),
        // To look through more costs more than to plan again.
        meanwhile if meanwhile > MONGO_BEHIND_MAX => return Ok(false),
        _ => {}
    }
    let change = store
        .messages
        .clone_with_type::<mongodb::bson::Document>()
        .find_one(doc! {
            "conversationId": append.conversation.oid(),
            "seq": { "$gt": int(append.expected_seq), "$lte": int(last_seq) },
            "type": MessageKind::System.as_str(),
        })
        .projection(doc! { "_id": 1 })
        .session(session)
        .await?;
    Ok(change.is_none())
}
