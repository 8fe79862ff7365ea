//! Refresh tokens and their families.

use mongodb::bson::{Binary, doc};
use mongodb::{ClientSession, Collection};
use syncchat_core::model::{Timestamp, UserId};
use syncchat_core::ports::store::{RefreshToken, Rotation, StoreResult};

use super::documents::{FamilyRecord, Id, TokenRecord, binary, date, timestamp};
use super::errors::{damaged, store_error};
use super::transaction::{self, Failure};
use super::{MongoStore, query};
use crate::limits::CALL_TIMEOUT;

fn token_record(token: &RefreshToken, family: Binary) -> TokenRecord {
    TokenRecord {
        hash: binary(&token.hash),
        family,
        used: false,
        created_at: date(token.created_at),
        expires_at: date(token.expires_at),
    }
}

fn family_id(family: &Binary) -> StoreResult<[u8; 16]> {
    let bytes = family.bytes.as_slice();
    bytes
        .try_into()
        .map_err(|_| damaged("refreshTokens.family"))
}

/// The family first: what is left if the second write fails is a family without a token, which
/// expires.
pub(super) async fn add(store: &MongoStore, token: &RefreshToken) -> StoreResult<()> {
    let family = FamilyRecord {
        family: binary(&token.family),
        user_id: token.user.oid(),
        revoked: false,
        expires_at: date(token.expires_at),
    };
    let token = token_record(token, binary(&token.family));
    let inserted = async {
        store.families.insert_one(family).await?;
        store.tokens.insert_one(token).await
    };
    inserted
        .await
        .map(drop)
        .map_err(|error| store_error(&error))
}

pub(super) async fn rotate(
    store: &MongoStore,
    hash: [u8; 32],
    next: &RefreshToken,
    now: Timestamp,
) -> StoreResult<Rotation> {
    // Of two who present the same token at once, one meets the other and finds it used.
    transaction::until_free(async || {
        let mut session = transaction::begin(&store.client).await?;
        let rotation = rotate_once(store, &mut session, hash, next, now).await?;
        match rotation {
            Rotation::Unknown => transaction::abort(&mut session).await,
            _ => transaction::commit(&mut session).await?,
        }
        Ok(rotation)
    })
    .await
}

async fn rotate_once(
    store: &MongoStore,
    session: &mut ClientSession,
    hash: [u8; 32],
    next: &RefreshToken,
    now: Timestamp,
) -> Result<Rotation, Failure> {
    let key = doc! { "_id": binary(&hash) };
    let token = store
        .tokens
        .find_one(key.clone())
        .session(&mut *session)
        .await?;
    let Some(token) = token.filter(|token| timestamp(token.expires_at) > now) else {
        return Ok(Rotation::Unknown);
    };
    let family_key = doc! { "_id": &token.family };
    let family = store
        .families
        .find_one(family_key.clone())
        .session(&mut *session)
        .await?;
    let Some(known) = family.filter(|family| !family.revoked) else {
        return Ok(Rotation::Unknown);
    };
    let (user, family) = (
        UserId::from_bytes(known.user_id.bytes()),
        family_id(&token.family)?,
    );
    if token.used {
        store
            .families
            .update_one(family_key, doc! { "$set": { "revoked": true } })
            .session(session)
            .await?;
        return Ok(Rotation::Reused { user, family });
    }
    store
        .tokens
        .update_one(key, doc! { "$set": { "used": true } })
        .session(&mut *session)
        .await?;
    // Written even if it expires no later, so that a revocation at the same moment is met.
    let touch = doc! {
        "$max": { "expiresAt": date(next.expires_at) },
        "$inc": { "rotations": 1 },
    };
    store
        .families
        .update_one(family_key, touch)
        .session(&mut *session)
        .await?;
    store
        .tokens
        .insert_one(token_record(next, token.family))
        .session(session)
        .await?;
    Ok(Rotation::Rotated { user, family })
}

pub(super) async fn revoke(
    store: &MongoStore,
    hash: [u8; 32],
) -> StoreResult<Option<(UserId, [u8; 16])>> {
    let Some(token) = query::one(&store.tokens, doc! { "_id": binary(&hash) }).await? else {
        return Ok(None);
    };
    let family = store
        .families
        .find_one_and_update(
            doc! { "_id": &token.family },
            doc! { "$set": { "revoked": true } },
        )
        .max_time(CALL_TIMEOUT)
        .await
        .map_err(|error| store_error(&error))?;
    match family {
        Some(known) => Ok(Some((
            UserId::from_bytes(known.user_id.bytes()),
            family_id(&token.family)?,
        ))),
        None => Ok(None),
    }
}

pub(super) async fn family_active(store: &MongoStore, family: [u8; 16]) -> StoreResult<bool> {
    let filter = doc! { "_id": binary(&family), "revoked": false };
    Ok(query::one(&store.families, filter).await?.is_some())
}

pub(super) async fn delete_expired(
    store: &MongoStore,
    now: Timestamp,
    limit: usize,
) -> StoreResult<usize> {
    let deleted = delete_some(&store.tokens, now, limit).await?;
    delete_some(&store.families, now, limit).await?;
    Ok(deleted)
}

/// Deletes up to `limit` documents that have expired.
async fn delete_some<T>(
    collection: &Collection<T>,
    now: Timestamp,
    limit: usize,
) -> StoreResult<usize>
where
    T: Send + Sync,
{
    #[derive(serde::Deserialize)]
    struct Expired {
        #[serde(rename = "_id")]
        id: Binary,
    }
    let expired = doc! { "expiresAt": { "$lte": date(now) } };
    let found = query::sorted(
        &collection.clone_with_type::<Expired>(),
        expired.clone(),
        doc! {},
        limit.max(1) as i64,
    )
    .await?;
    let ids: Vec<Binary> = found
        .into_iter()
        .take(limit)
        .map(|found| found.id)
        .collect();
    if ids.is_empty() {
        return Ok(0);
    }
    let mut filter = doc! { "_id": { "$in": ids } };
    // A family may have got a younger token meanwhile.
    filter.extend(expired);
    let deleted = collection
        .delete_many(filter)
        .await
        .map_err(|error| store_error(&error))?;
    Ok(deleted.deleted_count as usize)
}
