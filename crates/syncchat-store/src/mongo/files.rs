//! What is known of uploaded files. Each is one document, so every step is one write.

use mongodb::bson::{Bson, doc, serialize_to_bson};
use syncchat_core::limits::FILE_CLAIMS_MAX;
use syncchat_core::model::{FileClaim, FileId, IdempotencyKey, StoredFile, Timestamp, UserId};
use syncchat_core::ports::store::{AddedFile, FileChange, StoreError, StoreResult};

use super::documents::{ClaimRecord, FileRecord, Id, date, int, oids};
use super::errors::store_error;
use super::indexes::EPOCH;
use super::transaction::{self, Failure};
use super::{MongoStore, query};

pub(super) async fn add(
    store: &MongoStore,
    file: &StoredFile,
    key: Option<&IdempotencyKey>,
) -> StoreResult<AddedFile> {
    let mut record = FileRecord::from(file);
    record.request_key = key.map(|key| key.as_str().to_owned());
    transaction::until_free(async || {
        let failure = match store.files.insert_one(&record).await {
            Ok(_) => return Ok(AddedFile::New),
            Err(error) => Failure::from(error),
        };
        match (failure, key) {
            (Failure::Duplicate, Some(key)) => {
                let first = by_request(store, file.owner, key).await?;
                // It was given up just now, or is not on the disks of most members yet.
                first.map(AddedFile::Repeated).ok_or(Failure::Duplicate)
            }
            (failure, _) => Err(failure),
        }
    })
    .await
}

async fn by_request(
    store: &MongoStore,
    owner: UserId,
    key: &IdempotencyKey,
) -> StoreResult<Option<StoredFile>> {
    let filter = doc! { "owner": owner.oid(), "requestKey": key.as_str() };
    let found = query::one(&store.files, filter).await?;
    Ok(found.map(StoredFile::from))
}

pub(super) async fn by_ids(store: &MongoStore, ids: &[FileId]) -> StoreResult<Vec<StoredFile>> {
    let found = query::all(&store.files, doc! { "_id": { "$in": oids(ids) } }).await?;
    Ok(found.into_iter().map(StoredFile::from).collect())
}

pub(super) async fn claim(
    store: &MongoStore,
    owner: UserId,
    ids: &[FileId],
    claim: FileClaim,
    due_at: Timestamp,
) -> StoreResult<bool> {
    // A list has room if there is nothing at the place of its last allowed entry.
    let last = format!("claims.{}", FILE_CLAIMS_MAX - 1);
    let filter = doc! {
        "_id": { "$in": oids(ids) },
        "owner": owner.oid(),
        "doomed": false,
        last: { "$exists": false },
    };
    let update = doc! {
        "$push": { "claims": claims_to_bson(&[claim])?.pop() },
        "$set": { "dueAt": date(due_at) },
        "$inc": { "version": 1_i64 },
    };
    let claimed = store
        .files
        .update_many(filter, update)
        .await
        .map_err(|error| store_error(&error))?;
    Ok(claimed.matched_count == ids.len() as u64)
}

pub(super) async fn touch(
    store: &MongoStore,
    ids: &[FileId],
    due_at: Timestamp,
) -> StoreResult<()> {
    let update = doc! { "$set": { "dueAt": date(due_at) }, "$inc": { "version": 1_i64 } };
    store
        .files
        .update_many(doc! { "_id": { "$in": oids(ids) } }, update)
        .await
        .map(drop)
        .map_err(|error| store_error(&error))
}

pub(super) async fn due(
    store: &MongoStore,
    now: Timestamp,
    limit: usize,
) -> StoreResult<Vec<StoredFile>> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    // The lower bound is what the index is limited to.
    let filter = doc! { "dueAt": { "$gt": EPOCH, "$lte": date(now) } };
    let order = doc! { "dueAt": 1 };
    let found = query::sorted(&store.files, filter, order, int(limit as u64)).await?;
    Ok(found.into_iter().map(StoredFile::from).collect())
}

pub(super) async fn change(
    store: &MongoStore,
    id: FileId,
    version: u64,
    change: &FileChange,
) -> StoreResult<bool> {
    let mut set = doc! {
        "dueAt": change.due_at.map(date),
        "claims": claims_to_bson(&change.claims)?,
    };
    if change.doomed {
        set.insert("doomed", true);
    }
    let mut update = doc! { "$set": set, "$inc": { "version": 1_i64 } };
    if change.doomed {
        update.insert("$unset", doc! { "requestKey": "" });
    }
    let changed = store
        .files
        .update_one(doc! { "_id": id.oid(), "version": int(version) }, update)
        .await
        .map_err(|error| store_error(&error))?;
    Ok(changed.matched_count == 1)
}

pub(super) async fn remove(store: &MongoStore, id: FileId) -> StoreResult<()> {
    store
        .files
        .delete_one(doc! { "_id": id.oid() })
        .await
        .map(drop)
        .map_err(|error| store_error(&error))
}

fn claims_to_bson(claims: &[FileClaim]) -> StoreResult<Vec<Bson>> {
    let records = claims.iter().map(ClaimRecord::from);
    records
        .map(|record| serialize_to_bson(&record))
        .collect::<Result<_, _>>()
        .map_err(|error| StoreError::Damaged(error.to_string()))
}
