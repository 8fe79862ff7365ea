//! Bringing a database to this release's schema: indexes, and what an older deployment wrote.
//!
//! An older database holds users, conversations and messages with the fields of the outside
//! contract only. Taking it over adds to documents, and takes nothing out of them but what was deleted:
//!
//! 1. [`users`] get their keys in lower case;
//! 2. [`conversations`] get members with cursors, and each message its `seq` and ordinal, by
//!    `(createdAt, _id)`; a conversation is done when it has `lastSeq`, which is set last;
//! 3. [`leftovers`]: messages without a conversation are numbered all the same, so that `seq` can
//!    be unique;
//! 4. [`deleted`]: messages that were only marked as deleted lose their text.
//!
//! Each step writes what can be computed again from what is there: killed in the middle, it is
//! done again and changes only what is missing. Older gateways must not write meanwhile.

mod bulk;
mod conversations;
mod deleted;
mod leftovers;
mod messages;
mod report;
mod users;

pub(super) use self::bulk::update;
pub(super) use self::deleted::{count as count_deleted, empty as empty_deleted};
pub(super) use self::report::Report;

use mongodb::Collection;
use mongodb::bson::{Document, doc};
use mongodb::options::IndexOptions;
use syncchat_core::ports::store::{StoreError, StoreResult};

use super::errors::{has_code, number, store_error};
use super::{MongoStore, indexes, query};
use crate::limits::MIGRATION_STEP_TIMEOUT;

/// What this release reads and writes.
const VERSION: u64 = 1;
/// The index that puts messages into the order in which they get their `seq`; dropped at the end.
const ORDER_INDEX: &str = "takeover_order";

/// Makes what is missing; twice changes nothing.
pub(super) async fn migrate(store: &MongoStore) -> StoreResult<Vec<String>> {
    let mut report = Report::default();
    // Bounded, unlike the rest: a server that does not answer is seen here.
    store.call("migrate", refuse_newer(store)).await?;
    indexes::make(store, indexes::before_takeover(), &mut report).await?;
    users::take_over(store, &mut report).await?;
    let older = version(store).await?.is_none() || has_older_conversations(store).await?;
    if older {
        take_over_logs(store, &mut report).await?;
    }
    indexes::make(store, indexes::after_takeover(), &mut report).await?;
    deleted::take_over(store, older, &mut report).await?;
    if version(store).await? != Some(VERSION) {
        store
            .own
            .update_one(
                doc! { "_id": "schema" },
                doc! { "$set": { "version": VERSION as i64 } },
            )
            .upsert(true)
            .await
            .map_err(|error| store_error(&error))?;
        report.did(format!("database brought to version {VERSION}"));
    }
    Ok(report.into_lines())
}

async fn take_over_logs(store: &MongoStore, report: &mut Report) -> StoreResult<()> {
    let messages: Collection<Document> = store.messages.clone_with_type();
    let conversations: Collection<Document> = store.conversations.clone_with_type();
    if !has_any(&messages, doc! {}).await? && !has_any(&conversations, doc! {}).await? {
        return Ok(());
    }
    messages::complete_dates(&messages, report).await?;
    let order = mongodb::IndexModel::builder()
        .keys(doc! { "conversationId": 1, "createdAt": 1, "_id": 1 })
        .options(IndexOptions::builder().name(ORDER_INDEX.to_owned()).build())
        .build();
    messages
        .create_index(order)
        .await
        .map_err(|error| store_error(&error))?;
    conversations::take_over(store, report).await?;
    leftovers::take_over(store, report).await?;
    match messages.drop_index(ORDER_INDEX).await {
        // IndexNotFound: a second migration at the same time was faster.
        Err(error) if !has_code(&error, &[27]) => Err(store_error(&error)),
        _ => Ok(()),
    }
}

/// Conversations that somebody restored, or that an older gateway made, after the takeover.
async fn has_older_conversations(store: &MongoStore) -> StoreResult<bool> {
    let conversations = store.conversations.clone_with_type();
    has_any(&conversations, doc! { "lastSeq": { "$exists": false } }).await
}

async fn has_any(collection: &Collection<Document>, filter: Document) -> StoreResult<bool> {
    collection
        .find_one(filter)
        .projection(doc! { "_id": 1 })
        .max_time(MIGRATION_STEP_TIMEOUT)
        .await
        .map(|found| found.is_some())
        .map_err(|error| store_error(&error))
}

// === Versions ===

/// Whether this release can use the database as it is.
pub(super) async fn check(store: &MongoStore) -> StoreResult<()> {
    match version(store).await? {
        Some(VERSION) => Ok(()),
        None => Err(StoreError::Unavailable(
            "the database is not prepared: run `syncchat migrate`".into(),
        )),
        Some(_) => refuse_newer(store).await,
    }
}

async fn refuse_newer(store: &MongoStore) -> StoreResult<()> {
    match version(store).await? {
        Some(found) if found > VERSION => Err(StoreError::Damaged(format!(
            "the database has schema version {found}, this release knows {VERSION}: \
             use a newer release"
        ))),
        _ => Ok(()),
    }
}

async fn version(store: &MongoStore) -> StoreResult<Option<u64>> {
    let schema = query::one(&store.own, doc! { "_id": "schema" }).await?;
    Ok(schema.and_then(|schema| number(&schema, "version")))
}
