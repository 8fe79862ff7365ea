//! Conversations: making them, and finding a person's.

use std::collections::{BTreeSet, HashMap};

use futures_util::TryStreamExt;
use mongodb::Cursor;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, doc};
use serde::Deserialize;
use syncchat_core::model::{Conversation, ConversationId, ConversationKind, Seq, UserId};
use syncchat_core::ports::store::{
    ConversationCursor, CreatedConversation, Mark, NewConversation, RequestKey, StoreResult,
};

use super::documents::{
    ConversationRecord, HeadRecord, Id, MemberRecord, RequestRecord, binary, date, int, oids,
};
use super::errors::store_error;
use super::transaction::{self, Failure};
use super::{MongoStore, query};
use crate::limits::{
    CALL_TIMEOUT, CONTACTS_CONVERSATIONS_MAX, MONGO_CONTACTS_PEOPLE_MAX, MONGO_CONTACTS_PLACES_MAX,
};
use crate::pair_key;

pub(super) async fn by_ids(
    store: &MongoStore,
    ids: &[ConversationId],
) -> StoreResult<Vec<Conversation>> {
    let filter = doc! { "_id": { "$in": oids(ids) }, "lastSeq": { "$exists": true } };
    let found = query::all(&store.conversations, filter).await?;
    found.into_iter().map(Conversation::try_from).collect()
}

pub(super) async fn marks(store: &MongoStore, ids: &[ConversationId]) -> StoreResult<Vec<Mark>> {
    let found = head_records(store, ids).await?;
    Ok(found.into_iter().map(Mark::from).collect())
}

pub(super) async fn heads(
    store: &MongoStore,
    ids: &[ConversationId],
) -> StoreResult<Vec<(ConversationId, Seq)>> {
    let marks = marks(store, ids).await?;
    let head = |mark: &Mark| (mark.conversation, mark.last_seq);
    Ok(marks.iter().map(head).collect())
}

pub(super) async fn head_records(
    store: &MongoStore,
    ids: &[ConversationId],
) -> StoreResult<Vec<HeadRecord>> {
    query::fields(
        &store.conversations.clone_with_type(),
        doc! { "_id": { "$in": oids(ids) }, "lastSeq": { "$exists": true } },
        HeadRecord::fields(),
    )
    .await
}

// === Making ===

pub(super) async fn create(
    store: &MongoStore,
    new: &NewConversation,
) -> StoreResult<CreatedConversation> {
    let pair = match new.kind {
        ConversationKind::Private => pair_key(&new.participants),
        ConversationKind::Group => None,
    };
    // Whoever loses the race for a pair, or repeats a request that is under way, finds the winner's conversation in the next round.
    transaction::until_free(async || {
        if let Some(request) = &new.request
            && let Some(repeated) = by_request(store, request).await?
        {
            return Ok(repeated);
        }
        if let Some(pair) = pair
            && let Some(existing) = by_pair(store, pair).await?
        {
            return Ok(CreatedConversation::Existing(existing));
        }
        insert(store, new, pair).await
    })
    .await
}

/// What the caller made under this key before.
async fn by_request(
    store: &MongoStore,
    request: &RequestKey,
) -> StoreResult<Option<CreatedConversation>> {
    let filter = RequestRecord::filter(request);
    let Some(mut record) = query::one(&store.conversations, filter).await? else {
        return Ok(None);
    };
    let Some(known) = record.request.take() else {
        return Ok(None);
    };
    let asked = known.asked()?;
    let conversation = Conversation::try_from(record)?;
    Ok(Some(CreatedConversation::Repeated(conversation, asked)))
}

async fn by_pair(store: &MongoStore, pair: [u8; 24]) -> StoreResult<Option<Conversation>> {
    query::one(&store.conversations, doc! { "pairKey": binary(&pair) })
        .await?
        .map(Conversation::try_from)
        .transpose()
}

async fn insert(
    store: &MongoStore,
    new: &NewConversation,
    pair: Option<[u8; 24]>,
) -> Result<CreatedConversation, Failure> {
    let record = ConversationRecord {
        id: new.id.oid(),
        kind: new.kind.as_str().into(),
        title: new.title.clone(),
        participants: new.participants.iter().map(Id::oid).collect(),
        pair_key: pair.map(|pair| binary(&pair)),
        last_seq: 0,
        last_ordinal: 0,
        created_at: date(new.created_at),
        updated_at: date(new.created_at),
        rev: None,
        change_seq: None,
        request: new.request.as_ref().map(RequestRecord::from),
    };
    let members = new
        .participants
        .iter()
        .map(|user| MemberRecord::fresh(new.id, *user));
    let mut session = transaction::begin(&store.client).await?;
    store
        .conversations
        .insert_one(&record)
        .session(&mut session)
        .await?;
    store
        .members
        .insert_many(members)
        .session(&mut session)
        .await?;
    transaction::commit(&mut session).await?;
    Ok(CreatedConversation::New(Conversation::try_from(record)?))
}

// === A person's ===

#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "_id")]
    id: ObjectId,
}

/// Sorts by what is small: a conversation document holds all its participants. There is no index
/// over participants and time, since each message would have to change it for each of them.
pub(super) async fn of_user(
    store: &MongoStore,
    user: UserId,
    after: Option<ConversationCursor>,
    limit: usize,
) -> StoreResult<Vec<Conversation>> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let mut pipeline = vec![
        doc! { "$match": { "participants": user.oid(), "lastSeq": { "$exists": true } } },
        doc! { "$project": { "updatedAt": 1 } },
    ];
    if let Some(cursor) = after {
        let (updated_at, id) = (date(cursor.updated_at), cursor.id.oid());
        pipeline.push(doc! { "$match": { "$or": [
            { "updatedAt": { "$lt": updated_at } },
            { "updatedAt": updated_at, "_id": { "$lt": id } },
        ] } });
    }
    pipeline.push(doc! { "$sort": { "updatedAt": -1, "_id": -1 } });
    pipeline.push(doc! { "$limit": int(limit as u64) });
    pipeline.push(doc! { "$project": { "_id": 1 } });
    let listed: Vec<Listed> = store
        .conversations
        .aggregate(pipeline)
        .max_time(CALL_TIMEOUT)
        .with_type::<Listed>()
        .await
        .map_err(|error| store_error(&error))?
        .try_collect()
        .await
        .map_err(|error| store_error(&error))?;
    let ids: Vec<_> = listed
        .iter()
        .map(|listed| ConversationId::from_bytes(listed.id.bytes()))
        .collect();
    let mut found: HashMap<_, _> = by_ids(store, &ids)
        .await?
        .into_iter()
        .map(|conversation| (conversation.id, conversation))
        .collect();
    Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
}

/// Two questions for many people: where they are, and who is there, each room once for all of them, and none
/// that only those are in who have enough.
pub(super) async fn contacts(
    store: &MongoStore,
    users: &[UserId],
    limit: usize,
) -> StoreResult<Vec<Vec<UserId>>> {
    let rooms = rooms_of(store, users).await?;
    let mut contacts: HashMap<UserId, BTreeSet<UserId>> = HashMap::new();
    let ids: Vec<ObjectId> = rooms.keys().copied().collect();
    let mut looked_at = 0;
    for ids in ids.chunks(CONTACTS_CONVERSATIONS_MAX) {
        let wants = |user: &UserId| contacts.get(user).is_none_or(|found| found.len() <= limit);
        let wanted = |id: &&ObjectId| rooms.get(id).is_some_and(|users| users.iter().any(wants));
        let ids: Vec<&ObjectId> = ids.iter().filter(wanted).collect();
        let mut found = people_in(store, &ids, limit).await?;
        while let Some(room) = found
            .try_next()
            .await
            .map_err(|error| store_error(&error))?
        {
            looked_at += room.participants.len();
            for user in rooms.get(&room.id).into_iter().flatten() {
                let contacts = contacts.entry(*user).or_default();
                // The person is among them.
                if contacts.len() <= limit {
                    contacts.extend(room.people());
                }
            }
        }
        if looked_at >= MONGO_CONTACTS_PEOPLE_MAX {
            break;
        }
    }
    let of = |user: &UserId| {
        let found = contacts.get(user).into_iter().flatten().copied();
        found.filter(|other| other != user).take(limit).collect()
    };
    Ok(users.iter().map(of).collect())
}

/// Where these people are, each room with those of them who are in it.
async fn rooms_of(
    store: &MongoStore,
    users: &[UserId],
) -> StoreResult<HashMap<ObjectId, Vec<UserId>>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Place {
        user_id: ObjectId,
        conversation_id: ObjectId,
    }
    let mut rooms: HashMap<ObjectId, Vec<UserId>> = HashMap::new();
    let mut places = store
        .members
        .clone_with_type::<Place>()
        .find(doc! { "userId": { "$in": oids(users) }, "open": true })
        .projection(doc! { "_id": 0, "userId": 1, "conversationId": 1 })
        .limit(MONGO_CONTACTS_PLACES_MAX as i64)
        .max_time(CALL_TIMEOUT)
        .await
        .map_err(|error| store_error(&error))?;
    while let Some(place) = places
        .try_next()
        .await
        .map_err(|error| store_error(&error))?
    {
        let user = UserId::from_bytes(place.user_id.bytes());
        rooms.entry(place.conversation_id).or_default().push(user);
    }
    Ok(rooms)
}

#[derive(Deserialize)]
struct Room {
    #[serde(rename = "_id")]
    id: ObjectId,
    #[serde(default)]
    participants: Vec<Bson>,
}

impl Room {
    fn people(&self) -> impl Iterator<Item = UserId> {
        let ids = self.participants.iter().filter_map(Bson::as_object_id);
        ids.map(|id| UserId::from_bytes(id.bytes()))
    }
}

/// Who is in these rooms: of each up to `limit`, and one more, for the person who asks is among them.
async fn people_in(
    store: &MongoStore,
    ids: &[&ObjectId],
    limit: usize,
) -> StoreResult<Cursor<Room>> {
    store
        .conversations
        .clone_with_type::<Room>()
        .find(doc! { "_id": { "$in": ids } })
        .projection(doc! { "participants": { "$slice": int(limit as u64 + 1) } })
        .max_time(CALL_TIMEOUT)
        .await
        .map_err(|error| store_error(&error))
}
