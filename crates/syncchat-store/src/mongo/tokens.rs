//! Refresh tokens and their families.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Binary, Document, doc};
use mongodb::options::ReadConcern;
use mongodb::{ClientSession, Collection};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use syncchat_core::model::{Timestamp, UserId};
use syncchat_core::ports::store::{RefreshToken, Rotation, StoreResult};

use super::documents::{FamilyRecord, Id, RepeatableToken, TokenRecord, binary, date, timestamp};
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
        repeatable: None,
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
    salt: [u8; 16],
    now: Timestamp,
) -> StoreResult<Rotation> {
    // Of two who present the same token at once, one meets the other and finds it used.
    transaction::until_free(async || {
        let mut session = transaction::begin(&store.client).await?;
        let rotation = rotate_once(store, &mut session, hash, next, salt, now).await?;
        match rotation {
            Rotation::Unknown => {
                transaction::abort(&mut session).await;
                prove_unknown(store, hash, now).await?;
            }
            _ => transaction::commit(&mut session).await?,
        }
        Ok(rotation)
    })
    .await
}

/// Makes sure that a token is unknown, expired or revoked by what most members hold now. A
/// transaction that writes nothing proves nothing: a primary that was deposed without noticing may
/// not know the token yet, and the refusal would sign its owner out for good.
///
/// # Errors
/// [`Failure::Conflict`] if the token is good after all.
async fn prove_unknown(store: &MongoStore, hash: [u8; 32], now: Timestamp) -> Result<(), Failure> {
    let token = latest(&store.tokens, doc! { "_id": binary(&hash) }).await?;
    let Some(token) = token.filter(|token| timestamp(token.expires_at) > now) else {
        return Ok(());
    };
    let family = latest(&store.families, doc! { "_id": token.family }).await?;
    match family.is_some_and(|family| !family.revoked) {
        true => Err(Failure::Conflict),
        false => Ok(()),
    }
}

/// The document with this key as most members hold it at this moment: the server confirms that it
/// still is the primary before it answers. Costs about as much as a small write.
async fn latest<T>(collection: &Collection<T>, key: Document) -> StoreResult<Option<T>>
where
    T: DeserializeOwned + Send + Sync + Unpin,
{
    collection
        .find_one(key)
        .read_concern(ReadConcern::linearizable())
        .max_time(CALL_TIMEOUT)
        .await
        .map_err(|error| store_error(&error))
}

async fn rotate_once(
    store: &MongoStore,
    session: &mut ClientSession,
    hash: [u8; 32],
    next: &RefreshToken,
    salt: [u8; 16],
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
        if let Some(salt) = salt_for(&known.repeatable, &hash)? {
            // A write, so that the commit waits for most members to have what the answer rests on,
            // and so that a revocation at the same moment is met.
            store
                .families
                .update_one(family_key, doc! { "$inc": { "repeats": 1 } })
                .session(session)
                .await?;
            return Ok(Rotation::Repeated { user, family, salt });
        }
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
        "$set": { "repeatable": { "hash": binary(&hash), "salt": binary(&salt) } },
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

/// The salt that was stored when the token with this hash was used, if it may be presented again.
fn salt_for(
    repeatable: &Option<RepeatableToken>,
    hash: &[u8; 32],
) -> StoreResult<Option<[u8; 16]>> {
    let repeatable = repeatable.as_ref().filter(|token| token.hash.bytes == hash);
    repeatable
        .map(|token| token.salt.bytes.as_slice().try_into())
        .transpose()
        .map_err(|_| damaged("refreshFamilies.repeatable.salt"))
}

/// That nothing was revoked is an answer too, which sends its owner away: it has to be true.
pub(super) async fn revoke(
    store: &MongoStore,
    hash: [u8; 32],
) -> StoreResult<Option<(UserId, [u8; 16])>> {
    let Some(token) = latest(&store.tokens, doc! { "_id": binary(&hash) }).await? else {
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

pub(super) async fn families_of(
    store: &MongoStore,
    hashes: &[[u8; 32]],
) -> StoreResult<Vec<([u8; 32], [u8; 16])>> {
    #[derive(Deserialize)]
    struct OfFamily {
        #[serde(rename = "_id")]
        hash: Binary,
        family: Binary,
    }
    let found: Vec<OfFamily> = query::fields(
        &store.tokens.clone_with_type(),
        any_of(hashes),
        doc! { "family": 1 },
    )
    .await?;
    let known = |token: &OfFamily| {
        let hash = token.hash.bytes.as_slice().try_into();
        let hash = hash.map_err(|_| damaged("refreshTokens._id"))?;
        Ok((hash, family_id(&token.family)?))
    };
    found.iter().map(known).collect()
}

pub(super) async fn revoked_among(
    store: &MongoStore,
    families: &[[u8; 16]],
) -> StoreResult<Vec<(UserId, [u8; 16])>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Revoked {
        #[serde(rename = "_id")]
        family: Binary,
        user_id: ObjectId,
    }
    let mut filter = any_of(families);
    filter.insert("revoked", true);
    let found: Vec<Revoked> = query::fields(
        &store.families.clone_with_type(),
        filter,
        doc! { "userId": 1 },
    )
    .await?;
    let known = |revoked: &Revoked| {
        let user = UserId::from_bytes(revoked.user_id.bytes());
        Ok((user, family_id(&revoked.family)?))
    };
    found.iter().map(known).collect()
}

/// Finds documents with these keys.
fn any_of<const N: usize>(keys: &[[u8; N]]) -> Document {
    let keys: Vec<Binary> = keys.iter().map(|key| binary(key)).collect();
    doc! { "_id": { "$in": keys } }
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
