//! Accounts and profiles.

use mongodb::bson::{Bson, Document, doc};
use syncchat_core::model::{Account, PresenceStatus, User, UserId};
use syncchat_core::ports::store::{AccountWrite, PresenceChange, StoreError, StoreResult};

use super::documents::{Id, UserRecord, date, int, oids};
use super::errors::{is_duplicate, store_error};
use super::{MongoStore, query, updates};

pub(super) async fn create(store: &MongoStore, account: &Account) -> StoreResult<AccountWrite> {
    match store.users.insert_one(UserRecord::from(account)).await {
        Ok(_) => Ok(AccountWrite::Done),
        Err(error) if is_duplicate(&error) => what_is_taken(store, account).await,
        Err(error) => Err(store_error(&error)),
    }
}

async fn what_is_taken(store: &MongoStore, account: &Account) -> StoreResult<AccountWrite> {
    let user = &account.user;
    let id_of = |record: UserRecord| Account::from(record).user.id;
    let key = doc! { "usernameKey": user.username.to_lowercase() };
    match query::one(&store.users, key).await?.map(id_of) {
        // The same account again: the answer to the first try was lost.
        Some(id) if id == user.id => return Ok(AccountWrite::Done),
        Some(_) => return Ok(AccountWrite::UsernameTaken),
        None => {}
    }
    let key = doc! { "emailKey": user.email.to_lowercase() };
    match query::one(&store.users, key).await? {
        Some(_) => Ok(AccountWrite::EmailTaken),
        None => Err(StoreError::Unavailable(
            "the account changed meanwhile".into(),
        )),
    }
}

/// Two accounts of an older deployment may differ in case only: then the exact spelling decides,
/// and any other spelling means the older account.
pub(super) async fn by_login(store: &MongoStore, login: &str) -> StoreResult<Option<Account>> {
    let key = login.to_lowercase();
    let filter = doc! { "$or": [
        { "usernameKey": &key }, { "username": login }, { "emailKey": &key }, { "email": login },
    ] };
    let found = query::all(&store.users, filter).await?;
    let accounts = found.into_iter().map(Account::from);
    Ok(accounts.min_by_key(|account| {
        let user = &account.user;
        match () {
            () if user.username == login => 0,
            () if user.username.to_lowercase() == key => 1,
            () if user.email == login => 2,
            () => 3,
        }
    }))
}

pub(super) async fn by_ids(store: &MongoStore, ids: &[UserId]) -> StoreResult<Vec<User>> {
    let found = query::all(&store.users, doc! { "_id": { "$in": oids(ids) } }).await?;
    Ok(found
        .into_iter()
        .map(|record| Account::from(record).user)
        .collect())
}

/// A range of the key and no pattern: there is nothing in it to escape.
pub(super) async fn search(
    store: &MongoStore,
    prefix: &str,
    limit: usize,
) -> StoreResult<Vec<User>> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let first = prefix.to_lowercase();
    // Above everything that begins with the prefix.
    let end = format!("{first}{}", char::MAX);
    let filter = doc! { "usernameKey": { "$gte": first, "$lt": end } };
    let order = doc! { "usernameKey": 1 };
    let found = query::sorted(&store.users, filter, order, int(limit as u64)).await?;
    Ok(found
        .into_iter()
        .map(|record| Account::from(record).user)
        .collect())
}

pub(super) async fn update_profile(
    store: &MongoStore,
    id: UserId,
    username: Option<&str>,
    avatar: Option<&str>,
) -> StoreResult<AccountWrite> {
    // Sets at least the id, to what it is: an update must set something.
    let mut set = doc! { "_id": id.oid() };
    if let Some(username) = username {
        set.insert("username", username);
        set.insert("usernameKey", username.to_lowercase());
    }
    match avatar {
        Some("") => set.insert("avatar", Bson::Null),
        Some(avatar) => set.insert("avatar", avatar),
        None => None,
    };
    let filter = doc! { "_id": id.oid() };
    match store.users.update_one(filter, doc! { "$set": set }).await {
        Ok(result) if result.matched_count == 0 => Ok(AccountWrite::Missing),
        Ok(_) => Ok(AccountWrite::Done),
        Err(error) if is_duplicate(&error) => Ok(AccountWrite::UsernameTaken),
        Err(error) => Err(store_error(&error)),
    }
}

pub(super) async fn set_presence(
    store: &MongoStore,
    changes: &[PresenceChange],
) -> StoreResult<()> {
    let update = |change: &PresenceChange| {
        let set = doc! { "status": change.status.as_str(), "lastSeen": date(change.at) };
        doc! { "q": { "_id": change.user.oid() }, "u": { "$set": set } }
    };
    updates::apply(store, "users", changes.iter().map(update).collect()).await
}

/// Without an index: presence changes all the time, and this is asked for when a node died together
/// with Redis.
pub(super) async fn shown_online(store: &MongoStore, limit: usize) -> StoreResult<Vec<UserId>> {
    let online = doc! { "status": PresenceStatus::Online.as_str() };
    let users = store.users.clone_with_type::<Document>();
    let find = users
        .find(online)
        .projection(doc! { "_id": 1 })
        .limit(limit as i64);
    let found = query::found(find).await?;
    let id = |user: &Document| Some(UserId::from_bytes(user.get_object_id("_id").ok()?.bytes()));
    Ok(found.iter().filter_map(id).collect())
}
