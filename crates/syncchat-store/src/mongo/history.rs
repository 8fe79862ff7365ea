//! Which history the database holds: one document, its newest epoch first.

use mongodb::bson::{Binary, Document, doc};
use mongodb::options::ReturnDocument;
use serde::Deserialize;
use syncchat_core::limits::EPOCHS_KEPT_MAX;
use syncchat_core::model::{EpochId, Lineage};
use syncchat_core::ports::store::StoreResult;

use super::documents::{binary, int};
use super::errors::{damaged, store_error};
use super::{MongoStore, query};
use crate::limits::CALL_TIMEOUT;

const ID: &str = "history";

#[derive(Deserialize)]
struct HistoryRecord {
    epochs: Vec<Binary>,
}

impl TryFrom<HistoryRecord> for Lineage {
    type Error = syncchat_core::ports::store::StoreError;

    fn try_from(record: HistoryRecord) -> StoreResult<Lineage> {
        let epoch = |epoch: Binary| {
            let bytes = epoch.bytes.try_into();
            let bytes = bytes.map_err(|_| damaged("syncchat.epochs"))?;
            Ok(EpochId::from_bytes(bytes))
        };
        let epochs: StoreResult<_> = record.epochs.into_iter().map(epoch).collect();
        epochs.map(Lineage::new)
    }
}

pub(super) async fn lineage(store: &MongoStore) -> StoreResult<Lineage> {
    let own = store.own.clone_with_type::<HistoryRecord>();
    query::one(&own, doc! { "_id": ID })
        .await?
        .map_or_else(|| Ok(Lineage::default()), Lineage::try_from)
}

pub(super) async fn add(store: &MongoStore, epoch: EpochId) -> StoreResult<Lineage> {
    let epochs = doc! { "epochs": {
        "$each": [binary(&epoch.bytes())],
        "$position": 0,
        "$slice": int(EPOCHS_KEPT_MAX as u64),
    } };
    change(store, doc! { "$push": epochs }).await
}

pub(super) async fn replace(store: &MongoStore, epoch: EpochId) -> StoreResult<()> {
    let epochs = doc! { "epochs": [binary(&epoch.bytes())] };
    change(store, doc! { "$set": epochs }).await.map(drop)
}

/// Changes the document, made if there is none; the epochs after it.
async fn change(store: &MongoStore, update: Document) -> StoreResult<Lineage> {
    let changed = store
        .own
        .clone_with_type::<HistoryRecord>()
        .find_one_and_update(doc! { "_id": ID }, update)
        .upsert(true)
        .return_document(ReturnDocument::After)
        .max_time(CALL_TIMEOUT)
        .await
        .map_err(|error| store_error(&error))?;
    changed
        .ok_or_else(|| damaged("syncchat.epochs"))?
        .try_into()
}
