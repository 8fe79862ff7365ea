//! Bringing a database to this release's schema: indexes, and older data.

use mongodb::bson::doc;
use syncchat_core::ports::store::{StoreError, StoreResult};

use super::errors::{number, store_error};
use super::{MongoStore, indexes, query};

/// What this release reads and writes.
const VERSION: u64 = 1;

/// Makes what is missing; twice changes nothing.
pub(super) async fn migrate(store: &MongoStore) -> StoreResult<Vec<String>> {
    let mut done = Vec::new();
    refuse_newer(store).await?;
    indexes::make(store, indexes::before_takeover(), &mut done).await?;
    indexes::make(store, indexes::after_takeover(), &mut done).await?;
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
        done.push(format!("database brought to version {VERSION}"));
    }
    Ok(done)
}

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
