//! Conversations: making them, and finding a person's.

use std::collections::{BTreeSet, HashMap};

use futures_util::TryStreamExt;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, doc};
use serde::Deserialize;
use syncchat_core::model::{Conversation, ConversationId, ConversationKind, Seq, UserId};
use syncchat_core::ports::store::{
    ConversationCursor, CreatedConversation, NewConversation, StoreResult,
};

use super::documents::{
    ConversationRecord, HeadRecord, Id, MemberRecord, binary, count, date, int, oids,
};
use super::errors::store_error;
use super::transaction::{self, Failure};
use super::{MongoStore, query};
use crate::limits::{CALL_TIMEOUT, CONTACTS_CONVERSATIONS_MAX, CONTACTS_SCAN_MAX};
use crate::pair_key;

pub(super) async fn by_ids(
    store: &MongoStore,
    ids: &[ConversationId],
) -> StoreResult<Vec<Conversation>> {
    let filter = doc! { "_id": { "$in": oids(ids) }, "lastSeq": { "$exists": true } };
    let found = query::all(&store.conversations, filter).await?;
    found.into_iter().map(Conversation::try_from).collect()
}

pub(super) async fn heads(
    store: &MongoStore,
    ids: &[ConversationId],
) -> StoreResult<Vec<(ConversationId, Seq)>> {
    let found = head_records(store, ids).await?;
    let head = |head: HeadRecord| {
        (
            ConversationId::from_bytes(head.id.bytes()),
            count(head.last_seq),
        )
    };
    Ok(found.into_iter().map(head).collect())
}

pub(super) async fn head_records(
    store: &MongoStore,
    ids: &[ConversationId],
) -> StoreResult<Vec<HeadRecord>> {
    query::fields(
        &store.conversations.clone_with_type(),
        doc! { "_id": { "$in": oids(ids) }, "lastSeq": { "$exists": true } },
        doc! { "lastSeq": 1, "lastOrdinal": 1, "updatedAt": 1 },
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
    // Whoever loses the race for a pair finds the winner's conversation in the next round.
    transaction::until_free(async || {
        if let Some(pair) = pair
            && let Some(existing) = by_pair(store, pair).await?
        {
            return Ok(CreatedConversation::Existing(existing));
        }
        insert(store, new, pair).await
    })
    .await
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

/// Takes one conversation after the other and stops when it has enough.
pub(super) async fn contacts(
    store: &MongoStore,
    user: UserId,
    limit: usize,
) -> StoreResult<Vec<UserId>> {
    #[derive(Deserialize)]
    struct People {
        #[serde(default)]
        participants: Vec<Bson>,
    }
    let mut people = BTreeSet::new();
    let mut looked_at = 0;
    let mut cursor = store
        .conversations
        .clone_with_type::<People>()
        .find(doc! { "participants": user.oid() })
        // One more than wanted: the person is among them.
        .projection(doc! { "participants": { "$slice": int(limit as u64 + 1) }, "_id": 0 })
        .limit(CONTACTS_CONVERSATIONS_MAX as i64)
        .max_time(CALL_TIMEOUT)
        .await
        .map_err(|error| store_error(&error))?;
    while people.len() < limit && looked_at < CONTACTS_SCAN_MAX {
        let next = cursor.try_next().await;
        let Some(next) = next.map_err(|error| store_error(&error))? else {
            break;
        };
        looked_at += next.participants.len();
        people.extend(
            next.participants
                .iter()
                .filter_map(Bson::as_object_id)
                .map(|id| UserId::from_bytes(id.bytes()))
                .filter(|other| *other != user),
        );
    }
    Ok(people.into_iter().take(limit).collect())
}
