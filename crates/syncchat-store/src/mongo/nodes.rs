//! What processes note of themselves while the fleet cannot hear them, dated by the server. Notes are
//! few and soon taken away, so there is no index but that of their names.

use std::time::Duration;

use futures_util::TryStreamExt;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, doc};
use syncchat_core::model::{PresenceStatus, UserId};
use syncchat_core::ports::store::{NodeNote, NotedNode, PresenceChange, StoreResult};

use super::MongoStore;
use super::documents::{Id, count, date, int, oids, timestamp};
use super::errors::store_error;
use crate::limits::{NODE_NOTES_KEPT, NODE_NOTES_READ_MAX};

/// True if there was none of this process.
pub(super) async fn note(store: &MongoStore, note: &NodeNote) -> StoreResult<bool> {
    let changes = note.changes.iter().map(change_document);
    let mut set = doc! { "changes": changes.collect::<Vec<_>>() };
    for (part, people) in &note.people {
        set.insert(format!("people.{}", field(*part)), oids(people));
    }
    let now = doc! { "$set": set, "$currentDate": { "at": true } };
    let noted = store
        .nodes
        .update_one(doc! { "_id": &note.process }, now)
        .upsert(true)
        .await
        .map_err(|error| store_error(&error))?;
    // What those who have died since left behind.
    let old = doc! { "$expr": { "$lt": ["$at", ago(NODE_NOTES_KEPT)] } };
    let forgotten = store.nodes.delete_many(old).await;
    forgotten.map_err(|error| store_error(&error))?;
    Ok(noted.upserted_id.is_some())
}

pub(super) async fn noted(store: &MongoStore, fresh: Duration) -> StoreResult<Vec<NotedNode>> {
    let is_fresh = doc! { "$gte": ["$at", ago(fresh)] };
    let stages = [
        doc! { "$limit": NODE_NOTES_READ_MAX },
        doc! { "$project": {
            "age": { "$subtract": ["$$NOW", "$at"] },
            "changes": { "$cond": [is_fresh, "$changes", []] },
        } },
    ];
    let found = async { store.nodes.aggregate(stages).await?.try_collect().await };
    let found: Vec<Document> = found.await.map_err(|error| store_error(&error))?;
    Ok(found.iter().filter_map(noted_node).collect())
}

pub(super) async fn people(
    store: &MongoStore,
    parts: &[u8],
    fresh: Duration,
) -> StoreResult<Vec<(String, Vec<UserId>)>> {
    let mut shown = doc! { "_id": 1 };
    for part in parts {
        shown.insert(format!("people.{}", field(*part)), 1);
    }
    let fresh = doc! { "$expr": { "$gte": ["$at", ago(fresh)] } };
    let find = store.nodes.find(fresh).projection(shown);
    let found = async { find.await?.try_collect().await };
    let found: Vec<Document> = found.await.map_err(|error| store_error(&error))?;
    let named = |note: &Document| Some((note.get_str("_id").ok()?.to_owned(), everybody(note)));
    Ok(found.iter().filter_map(named).collect())
}

pub(super) async fn take(
    store: &MongoStore,
    process: &str,
    age: Duration,
) -> StoreResult<Option<Vec<UserId>>> {
    let old = doc! { "_id": process, "$expr": { "$lte": ["$at", ago(age)] } };
    let taken = store.nodes.find_one_and_delete(old).await;
    let taken = taken.map_err(|error| store_error(&error))?;
    Ok(taken.as_ref().map(everybody))
}

fn field(part: u8) -> String {
    format!("p{part}")
}

fn change_document((number, change): &(u64, PresenceChange)) -> Document {
    doc! {
        "n": int(*number),
        "user": change.user.oid(),
        "status": change.status.as_str(),
        "at": date(change.at),
    }
}

/// A note that cannot be read is as good as none.
fn noted_node(note: &Document) -> Option<NotedNode> {
    let age = count(note.get_i64("age").ok()?);
    let changes = note.get_array("changes").into_iter().flatten();
    Some(NotedNode {
        process: note.get_str("_id").ok()?.to_owned(),
        age: Duration::from_millis(age),
        changes: changes.filter_map(noted_change).collect(),
    })
}

fn noted_change(change: &Bson) -> Option<(u64, PresenceChange)> {
    let change = change.as_document()?;
    let status = match change.get_str("status").ok()? {
        "online" => PresenceStatus::Online,
        _ => PresenceStatus::Offline,
    };
    let change_of = PresenceChange {
        user: user(change.get_object_id("user").ok()?),
        status,
        at: timestamp(*change.get_datetime("at").ok()?),
    };
    Some((count(change.get_i64("n").ok()?), change_of))
}

/// Everybody in the parts that are there.
fn everybody(note: &Document) -> Vec<UserId> {
    let parts = note.get_document("people").into_iter().flatten();
    let people = parts.filter_map(|(_, part)| part.as_array()).flatten();
    people.filter_map(Bson::as_object_id).map(user).collect()
}

fn user(id: ObjectId) -> UserId {
    UserId::from_bytes(id.bytes())
}

/// So long before now, by the server's clock.
fn ago(span: Duration) -> Document {
    let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    doc! { "$subtract": ["$$NOW", millis] }
}
