//! Members: what they may see, how far they have come, and what that leaves unread.

use std::cmp::Reverse;
use std::collections::HashMap;

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};
use serde::Deserialize;
use syncchat_core::command::CursorKind;
use syncchat_core::limits::UNREAD_SCAN_MAX;
use syncchat_core::model::{
    ConversationId, Membership, Message, MessageId, MessageKind, Seq, SystemEvent, Timestamp,
    UserId,
};
use syncchat_core::ports::store::{Addition, Audience, CursorAdvance, Cursors, StoreResult};

use super::documents::{
    CursorRecord, HeadRecord, Id, MemberRecord, MessageRecord, count, int, timestamp,
};
use super::{MongoStore, conversations, indexes, query, union, updates};
use crate::limits::{MONGO_AUDIENCE_FOUND_MAX, MONGO_UNREAD_FOUND_MAX};

// === Memberships ===

/// Of many people with two questions, so that a crowd that comes at once costs what its conversations
/// do. The second one goes by the index of people: each of them costs their own rows.
pub(super) async fn of_users(
    store: &MongoStore,
    users: &[UserId],
) -> StoreResult<Vec<Vec<Membership>>> {
    let ids: Vec<ObjectId> = users.iter().map(|user| user.oid()).collect();
    let heads: Vec<HeadRecord> = query::fields(
        &store.conversations.clone_with_type(),
        doc! { "participants": { "$in": &ids }, "lastSeq": { "$exists": true } },
        HeadRecord::fields(),
    )
    .await?;
    let rooms: Vec<ObjectId> = heads.iter().map(|head| head.id).collect();
    let filter = doc! { "userId": { "$in": ids }, "conversationId": { "$in": rooms } };
    let rows = query::all(&store.members, filter).await?;
    let mut of: HashMap<UserId, Vec<Membership>> = HashMap::with_capacity(users.len());
    for place in with_heads(heads, rows) {
        if place.spans.is_open() && !is_ahead(&place) {
            of.entry(place.user).or_default().push(place);
        }
    }
    Ok(users
        .iter()
        .map(|user| of.remove(user).unwrap_or_default())
        .collect())
}

/// Whether somebody came back by a message that the head does not know yet: they may not see what lies
/// between the two, and hear of their return apart from this.
fn is_ahead(place: &Membership) -> bool {
    let last = place.spans.parts().last();
    last.is_some_and(|&(first, _)| first > place.last_seq + 1)
}

pub(super) async fn of_user_in(
    store: &MongoStore,
    user: UserId,
    ids: &[ConversationId],
) -> StoreResult<Vec<Membership>> {
    let heads = conversations::head_records(store, ids).await?;
    let rooms: Vec<ObjectId> = heads.iter().map(|head| head.id).collect();
    let rows = of_ids(store, user, &rooms).await?;
    Ok(with_heads(heads, rows))
}

/// The heads were read first: a change of membership that the member's row does not show yet is
/// beyond the head that goes with it, and whoever follows the log from there learns of it.
fn with_heads(heads: Vec<HeadRecord>, rows: Vec<MemberRecord>) -> Vec<Membership> {
    let heads: HashMap<ObjectId, HeadRecord> =
        heads.into_iter().map(|head| (head.id, head)).collect();
    let membership = |row: MemberRecord| {
        let head = heads.get(&row.conversation_id)?;
        Some(Membership {
            conversation: ConversationId::from_bytes(row.conversation_id.bytes()),
            user: UserId::from_bytes(row.user_id.bytes()),
            spans: row.seq_spans(),
            read_seq: count(row.read_seq),
            read_ordinal: count(row.read_ordinal),
            delivered_seq: count(row.delivered_seq),
            last_seq: count(head.last_seq),
            last_ordinal: count(head.last_ordinal),
            updated_at: timestamp(head.updated_at),
            change_seq: head.change_seq(),
        })
    };
    rows.into_iter().filter_map(membership).collect()
}

async fn of_ids(
    store: &MongoStore,
    user: UserId,
    ids: &[ObjectId],
) -> StoreResult<Vec<MemberRecord>> {
    let filter = doc! { "conversationId": { "$in": ids }, "userId": user.oid() };
    query::all(&store.members, filter).await
}

#[derive(Deserialize)]
struct NewConversation {
    #[serde(rename = "_id")]
    id: ObjectId,
    participants: Vec<ObjectId>,
}

/// New conversations by their ids, and messages that add somebody by theirs: both have the second
/// in front. The latter have an index of their own, `type__id`.
pub(super) async fn additions_since(
    store: &MongoStore,
    since: Timestamp,
    limit: usize,
) -> StoreResult<Vec<Addition>> {
    let limit = int(limit as u64);
    let conversations = store.conversations.clone_with_type();
    let new = query::sorted::<NewConversation>(
        &conversations,
        doc! { "_id": { "$gte": ConversationId::first_of(since).oid() } },
        doc! { "_id": 1 },
        limit,
    );
    let system = MessageKind::System.as_str();
    let said = query::sorted::<MessageRecord>(
        &store.messages,
        doc! { "type": system, "_id": { "$gte": MessageId::first_of(since).oid() } },
        doc! { "type": 1, "_id": 1 },
        limit,
    );
    let (new, said) = futures_util::try_join!(new, said)?;
    let mut additions = Vec::new();
    for conversation in new {
        let addition = |user: ObjectId| Addition {
            conversation: ConversationId::from_bytes(conversation.id.bytes()),
            user: UserId::from_bytes(user.bytes()),
            seq: 0,
        };
        additions.extend(conversation.participants.into_iter().map(addition));
    }
    for record in said {
        let message = Message::try_from(record)?;
        if let Some(SystemEvent::Added { user, .. }) = message.event {
            additions.push(Addition {
                conversation: message.conversation,
                user,
                seq: message.seq,
            });
        }
    }
    Ok(additions)
}

// === Unread ===

/// Where a message that does not count was found.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    conversation_id: ObjectId,
}

/// What came after the cursor, less the own and the deleted ones, each found in an index.
pub(super) async fn unread(store: &MongoStore, places: &[Membership]) -> StoreResult<Vec<u64>> {
    let behind: Vec<&Membership> = places
        .iter()
        .filter(|place| place.unread_at_most() > 0)
        .collect();
    let own = behind.iter().map(|place| own_after(place)).collect();
    let deleted = behind.iter().map(|place| deleted_after(place)).collect();
    let (own, deleted) = futures_util::try_join!(
        counts(store, own, indexes::messages_by_sender()),
        counts(store, deleted, indexes::messages_deleted()),
    )?;
    let unread = |place: &Membership| {
        let id = place.conversation.oid();
        let less = [&own, &deleted].map(|found| found.get(&id).copied().unwrap_or(0));
        place.unread_at_most().saturating_sub(less[0] + less[1])
    };
    Ok(places.iter().map(unread).collect())
}

/// The own messages between the cursor and the end.
fn own_after(place: &Membership) -> Document {
    doc! {
        "conversationId": place.conversation.oid(),
        "sender": place.user.oid(),
        "type": { "$in": talk() },
        "seq": { "$gt": int(place.read_seq), "$lte": int(place.last_seq) },
    }
}

/// The deleted ones of others there.
fn deleted_after(place: &Membership) -> Document {
    doc! {
        "conversationId": place.conversation.oid(),
        "deleted": true,
        "seq": { "$gt": int(place.read_seq), "$lte": int(place.last_seq) },
        "sender": { "$ne": place.user.oid() },
        "type": { "$in": talk() },
    }
}

/// All kinds but `system`.
fn talk() -> [&'static str; 3] {
    [MessageKind::Text, MessageKind::Image, MessageKind::File].map(MessageKind::as_str)
}

/// How many messages match each of these filters, by conversation. Mostly there are few, and they are
/// counted here: of more the server counts at most [`UNREAD_SCAN_MAX`] for each.
async fn counts(
    store: &MongoStore,
    filters: Vec<Document>,
    index: Document,
) -> StoreResult<HashMap<ObjectId, u64>> {
    let messages = store.messages.clone_with_type();
    let by = query::By {
        index,
        fields: doc! { "_id": 0, "conversationId": 1 },
        each_max: MONGO_UNREAD_FOUND_MAX,
    };
    let mut counts: HashMap<ObjectId, u64> = HashMap::new();
    if let Some(found) = query::any::<Found>(&messages, filters.clone(), by).await? {
        for Found { conversation_id } in found {
            *counts.entry(conversation_id).or_default() += 1;
        }
        return Ok(counts);
    }
    #[derive(Deserialize)]
    struct Count {
        #[serde(rename = "_id")]
        conversation: ObjectId,
        n: i64,
    }
    let pipeline = |filter| {
        vec![
            doc! { "$match": filter },
            doc! { "$limit": UNREAD_SCAN_MAX as i64 },
            doc! { "$group": { "_id": "$conversationId", "n": { "$sum": 1_i64 } } },
        ]
    };
    let pipelines = filters.into_iter().map(pipeline).collect();
    let found: Vec<Vec<Count>> = union::run(&messages, pipelines).await?;
    let found = found.into_iter().flatten();
    Ok(found
        .map(|found| (found.conversation, count(found.n)))
        .collect())
}

// === Cursors ===

/// What is read before it is written may be old by then: each write raises by maximum, and two
/// who raise the same cursor at the same moment may both be told that it rose.
pub(super) async fn advance(
    store: &MongoStore,
    advances: &[CursorAdvance],
) -> StoreResult<Vec<Option<(Cursors, bool)>>> {
    if advances.is_empty() {
        return Ok(Vec::new());
    }
    let keys: Vec<Document> = advances
        .iter()
        .map(|to| {
            doc! { "conversationId": to.conversation.oid(), "userId": to.user.oid(), "open": true }
        })
        .collect();
    let (rows, ordinals) = futures_util::try_join!(
        query::all(&store.members, doc! { "$or": keys }),
        ordinals(store, advances)
    )?;
    let mut rows: HashMap<(ObjectId, ObjectId), MemberRecord> = rows
        .into_iter()
        .map(|row| ((row.conversation_id, row.user_id), row))
        .collect();
    let mut answers = Vec::with_capacity(advances.len());
    let mut updates = Vec::new();
    for to in advances {
        let place = ordinals.get(&(to.conversation, to.seq)).copied();
        let row = rows.get_mut(&(to.conversation.oid(), to.user.oid()));
        let Some((row, place)) = row.zip(place) else {
            answers.push(None);
            continue;
        };
        let rose = raise(row, to.kind, place);
        if rose {
            updates.push(doc! {
                "q": { "conversationId": row.conversation_id, "userId": row.user_id },
                "u": { "$max": {
                    "readSeq": row.read_seq,
                    "readOrdinal": row.read_ordinal,
                    "deliveredSeq": row.delivered_seq,
                } },
            });
        }
        answers.push(Some((row.cursors(), rose)));
    }
    updates::apply(store, "members", updates).await?;
    Ok(answers)
}

/// A place in a log: its `seq`, and how many messages that count there are up to it.
#[derive(Clone, Copy)]
struct Place {
    seq: i64,
    ordinal: i64,
}

fn raise(row: &mut MemberRecord, kind: CursorKind, to: Place) -> bool {
    let rose = match kind {
        CursorKind::Read => to.seq > row.read_seq,
        CursorKind::Delivered => to.seq > row.delivered_seq,
    };
    row.delivered_seq = row.delivered_seq.max(to.seq);
    if kind == CursorKind::Read && rose {
        (row.read_seq, row.read_ordinal) = (to.seq, to.ordinal);
    }
    rose
}

/// Where each advance leads, no further than the log goes. Conversations that do not exist are
/// left out.
async fn ordinals(
    store: &MongoStore,
    advances: &[CursorAdvance],
) -> StoreResult<HashMap<(ConversationId, Seq), Place>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Found {
        conversation_id: ObjectId,
        seq: i64,
        #[serde(default)]
        ordinal: i64,
    }
    let keys: Vec<Document> = advances
        .iter()
        .map(|to| doc! { "conversationId": to.conversation.oid(), "seq": int(to.seq) })
        .collect();
    let found: Vec<Found> = query::fields(
        &store.messages.clone_with_type(),
        doc! { "$or": keys },
        doc! { "_id": 0, "conversationId": 1, "seq": 1, "ordinal": 1 },
    )
    .await?;
    let mut places: HashMap<_, _> = found
        .into_iter()
        .map(|found| {
            let conversation = ConversationId::from_bytes(found.conversation_id.bytes());
            let place = Place {
                seq: found.seq,
                ordinal: found.ordinal,
            };
            ((conversation, count(found.seq)), place)
        })
        .collect();
    // What is no message lies beyond the last one, or is 0, before the first.
    let beyond: Vec<ConversationId> = advances
        .iter()
        .filter(|to| !places.contains_key(&(to.conversation, to.seq)))
        .map(|to| to.conversation)
        .collect();
    if beyond.is_empty() {
        return Ok(places);
    }
    let heads = conversations::head_records(store, &beyond).await?;
    for to in advances {
        let head = heads.iter().find(|head| head.id == to.conversation.oid());
        if let Some(head) = head {
            let end = match to.seq {
                0 => Place { seq: 0, ordinal: 0 },
                _ => Place {
                    seq: head.last_seq,
                    ordinal: head.last_ordinal,
                },
            };
            places.entry((to.conversation, to.seq)).or_insert(end);
        }
    }
    Ok(places)
}

// === Who has come how far ===

/// Who has gone since counts too: they did read it.
fn readers_pipeline(conversation: ConversationId, seq: Seq, limit: usize) -> Vec<Document> {
    vec![
        doc! { "$match": {
            "conversationId": conversation.oid(), "readSeq": { "$gte": int(seq) },
        } },
        doc! { "$sort": { "readSeq": -1 } },
        doc! { "$limit": int(limit as u64) },
    ]
}

fn delivered_pipeline(conversation: ConversationId) -> Vec<Document> {
    vec![
        doc! { "$match": { "conversationId": conversation.oid() } },
        doc! { "$sort": { "deliveredSeq": -1 } },
        doc! { "$limit": 2 },
    ]
}

pub(super) async fn readers(
    store: &MongoStore,
    conversation: ConversationId,
    seq: Seq,
    limit: usize,
) -> StoreResult<Vec<Cursors>> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let found = cursors(store, vec![readers_pipeline(conversation, seq, limit)]).await?;
    Ok(found.into_iter().flatten().collect())
}

pub(super) async fn furthest_delivered(
    store: &MongoStore,
    conversation: ConversationId,
) -> StoreResult<Vec<Cursors>> {
    let found = cursors(store, vec![delivered_pipeline(conversation)]).await?;
    Ok(found.into_iter().flatten().collect())
}

/// In one question, if all who got these messages are not too many; else in two for each conversation.
pub(super) async fn audiences(
    store: &MongoStore,
    of: &[(ConversationId, Seq)],
    limit: usize,
) -> StoreResult<Vec<Audience>> {
    // Who has read a message has got it.
    let got = |&(conversation, seq): &(ConversationId, Seq)| {
        doc! { "conversationId": conversation.oid(), "deliveredSeq": { "$gte": int(seq) } }
    };
    let by = query::By {
        index: indexes::members_by_delivered(),
        fields: CursorRecord::fields(),
        each_max: MONGO_AUDIENCE_FOUND_MAX,
    };
    let filters = of.iter().map(got).collect();
    let Some(rows) = query::any(&store.members.clone_with_type(), filters, by).await? else {
        return audiences_apart(store, of, limit).await;
    };
    let mut members: HashMap<ObjectId, Vec<Cursors>> = HashMap::new();
    for row in rows {
        let CursorRecord {
            conversation_id, ..
        } = row;
        members.entry(conversation_id).or_default().push(row.into());
    }
    let audience = |&(conversation, seq): &(ConversationId, Seq)| {
        let members = members
            .get(&conversation.oid())
            .map_or(&[][..], Vec::as_slice);
        let mut readers: Vec<Cursors> = members.to_vec();
        readers.retain(|member| member.read_seq >= seq);
        readers.sort_by_key(|member| Reverse(member.read_seq));
        readers.truncate(limit);
        let mut delivered: Vec<Cursors> = members.to_vec();
        delivered.sort_by_key(|member| Reverse(member.delivered_seq));
        delivered.truncate(2);
        Audience { readers, delivered }
    };
    Ok(of.iter().map(audience).collect())
}

async fn audiences_apart(
    store: &MongoStore,
    of: &[(ConversationId, Seq)],
    limit: usize,
) -> StoreResult<Vec<Audience>> {
    let pipelines = of
        .iter()
        .flat_map(|&(conversation, seq)| {
            [
                readers_pipeline(conversation, seq, limit.max(1)),
                delivered_pipeline(conversation),
            ]
        })
        .collect();
    let mut found = cursors(store, pipelines).await?.into_iter();
    let mut audiences = Vec::with_capacity(of.len());
    while let (Some(mut readers), Some(delivered)) = (found.next(), found.next()) {
        readers.truncate(limit);
        audiences.push(Audience { readers, delivered });
    }
    Ok(audiences)
}

async fn cursors(
    store: &MongoStore,
    pipelines: Vec<Vec<Document>>,
) -> StoreResult<Vec<Vec<Cursors>>> {
    let found: Vec<Vec<CursorRecord>> =
        union::run(&store.members.clone_with_type(), pipelines).await?;
    Ok(found
        .into_iter()
        .map(|rows| rows.into_iter().map(Cursors::from).collect())
        .collect())
}
