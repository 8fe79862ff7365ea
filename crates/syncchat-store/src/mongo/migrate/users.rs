//! Older accounts get their keys: username and e-mail address in lower case.
//!
//! Two that differ in case only cannot both have the key. The older account gets it; the other
//! one's key gets its id behind a `#`, which no username and no address has. It keeps its spelling
//! and can still log in with it.

use mongodb::Collection;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};
use mongodb::error::Error;
use serde::Deserialize;
use syncchat_core::ports::store::StoreResult;

use super::super::MongoStore;
use super::super::errors::{is_duplicate, store_error};
use super::{Report, bulk};
use crate::limits::{MIGRATION_BATCH, MIGRATION_STEP_TIMEOUT};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Names {
    #[serde(rename = "_id")]
    id: ObjectId,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    email: Option<String>,
    username_key: Option<String>,
    email_key: Option<String>,
}

pub(super) async fn take_over(store: &MongoStore, report: &mut Report) -> StoreResult<()> {
    let users: Collection<Names> = store.users.clone_with_type();
    let mut taken_over = 0;
    let mut last: Option<ObjectId> = None;
    loop {
        let batch = next_batch(&users, last).await?;
        let Some(end) = batch.last() else {
            break;
        };
        last = Some(end.id);
        let keys: Vec<Document> = batch.iter().map(with_keys).collect();
        for place in bulk::update(store, "users", &keys).await? {
            give_keys(&users, &batch[place], report).await?;
        }
        taken_over += batch.len();
        tracing::info!(taken_over, "accounts taken over");
    }
    if taken_over > 0 {
        report.did(format!("{taken_over} accounts taken over"));
    }
    Ok(())
}

/// The oldest ones without a key, after `last`.
async fn next_batch(users: &Collection<Names>, last: Option<ObjectId>) -> StoreResult<Vec<Names>> {
    use futures_util::TryStreamExt;
    let mut filter = doc! { "$or": [
        { "usernameKey": { "$exists": false } },
        { "emailKey": { "$exists": false } },
    ] };
    if let Some(last) = last {
        filter.insert("_id", doc! { "$gt": last });
    }
    users
        .find(filter)
        .projection(doc! { "username": 1, "email": 1, "usernameKey": 1, "emailKey": 1 })
        .sort(doc! { "_id": 1 })
        .limit(MIGRATION_BATCH as i64)
        .max_time(MIGRATION_STEP_TIMEOUT)
        .await
        .map_err(|error| store_error(&error))?
        .try_collect()
        .await
        .map_err(|error| store_error(&error))
}

/// Sets both keys, where they are missing.
fn with_keys(names: &Names) -> Document {
    let set: Document = missing_keys(names)
        .map(|(field, key)| (field.to_owned(), key.into()))
        .collect();
    doc! { "q": { "_id": names.id }, "u": { "$set": set } }
}

fn missing_keys(names: &Names) -> impl Iterator<Item = (&'static str, String)> {
    let fields = [
        ("usernameKey", &names.username, &names.username_key),
        ("emailKey", &names.email, &names.email_key),
    ];
    fields
        .into_iter()
        .filter(|(_, _, known)| known.is_none())
        .map(|(field, value, _)| {
            let key = value.as_deref().unwrap_or_default().to_lowercase();
            // An account without a name or address has no key to share with others like it.
            match key.is_empty() {
                true => (field, unshared(&key, names.id)),
                false => (field, key),
            }
        })
}

fn unshared(key: &str, id: ObjectId) -> String {
    format!("{key}#{id}")
}

/// One key after the other, for an account of which another one has at least one.
async fn give_keys(
    users: &Collection<Names>,
    names: &Names,
    report: &mut Report,
) -> StoreResult<()> {
    for (field, key) in missing_keys(names) {
        match set(users, names.id, field, &key).await {
            Ok(()) => continue,
            Err(error) if is_duplicate(&error) => report.note(format!(
                "account {}: another one has its {} but for the case; it is kept, and found by \
                 its exact spelling only",
                names.id,
                field.trim_end_matches("Key"),
            )),
            Err(error) => return Err(store_error(&error)),
        }
        set(users, names.id, field, &unshared(&key, names.id))
            .await
            .map_err(|error| store_error(&error))?;
    }
    Ok(())
}

async fn set(users: &Collection<Names>, id: ObjectId, field: &str, key: &str) -> Result<(), Error> {
    let filter: Document = doc! { "_id": id, field: { "$exists": false } };
    users
        .update_one(filter, doc! { "$set": { field: key } })
        .await
        .map(drop)
}
