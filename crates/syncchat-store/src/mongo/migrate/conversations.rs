//! Older conversations get a numbered log, members, and a head.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt, stream};
use mongodb::Collection;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, DateTime, Document, doc};
use serde::Deserialize;
use syncchat_core::model::{ConversationKind, UserId};
use syncchat_core::ports::store::StoreResult;

use super::super::MongoStore;
use super::super::documents::binary;
use super::super::errors::store_error;
use super::messages::{Log, number_all};
use super::{Report, bulk};
use crate::limits::{MIGRATION_CONVERSATIONS_MAX, MIGRATION_STEP_TIMEOUT};
use crate::pair_key;

/// A conversation as an older deployment wrote it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Older {
    #[serde(rename = "_id")]
    id: ObjectId,
    participants: Option<Bson>,
    #[serde(rename = "type")]
    kind: Option<Bson>,
    created_at: Option<Bson>,
    updated_at: Option<Bson>,
}

pub(super) async fn take_over(store: &MongoStore, report: &mut Report) -> StoreResult<()> {
    let conversations: Collection<Older> = store.conversations.clone_with_type();
    let (mut taken_over, mut numbered) = (0, 0);
    let mut last: Option<ObjectId> = None;
    loop {
        let batch = next_batch(&conversations, last).await?;
        let Some(end) = batch.last() else {
            break;
        };
        last = Some(end.id);
        let logs: Vec<_> = batch.iter().map(|older| prepare(store, older)).collect();
        let logs: Vec<Log> = stream::iter(logs)
            .buffered(MIGRATION_CONVERSATIONS_MAX)
            .try_collect()
            .await?;
        finish(store, &batch, &logs, report).await?;
        taken_over += batch.len();
        numbered += logs.iter().map(|log| log.changed).sum::<u64>();
        tracing::info!(taken_over, numbered, "conversations taken over");
    }
    if taken_over > 0 {
        report.did(format!(
            "{taken_over} conversations taken over, {numbered} messages numbered"
        ));
    }
    Ok(())
}

/// The oldest ones without a head, after `last`.
async fn next_batch(
    conversations: &Collection<Older>,
    last: Option<ObjectId>,
) -> StoreResult<Vec<Older>> {
    let mut filter = doc! { "lastSeq": { "$exists": false } };
    if let Some(last) = last {
        filter.insert("_id", doc! { "$gt": last });
    }
    conversations
        .find(filter)
        .projection(doc! { "participants": 1, "type": 1, "createdAt": 1, "updatedAt": 1 })
        .sort(doc! { "_id": 1 })
        .limit((MIGRATION_CONVERSATIONS_MAX * 16) as i64)
        .max_time(MIGRATION_STEP_TIMEOUT)
        .await
        .map_err(|error| store_error(&error))?
        .try_collect()
        .await
        .map_err(|error| store_error(&error))
}

/// Everything but the head.
async fn prepare(store: &MongoStore, older: &Older) -> StoreResult<Log> {
    let filter = doc! { "conversationId": older.id };
    let log = number_all(store, filter, Log::default()).await?;
    let members: Vec<Document> = members(older, &log)
        .into_iter()
        .map(|(user, member)| {
            doc! {
                "q": { "conversationId": older.id, "userId": user },
                "u": { "$setOnInsert": member },
                "upsert": true,
            }
        })
        .collect();
    // Refused is what a second migration at the same time has written meanwhile.
    bulk::update(store, "members", &members).await?;
    Ok(log)
}

/// A row for each participant, and for each former one who is known to have read something: they
/// see nothing, and are still named among the readers.
fn members(older: &Older, log: &Log) -> BTreeMap<ObjectId, Document> {
    let participants = participants(older);
    let people: BTreeSet<ObjectId> = participants
        .iter()
        .chain(log.read.keys())
        .copied()
        .collect();
    people
        .into_iter()
        .map(|user| {
            let open = participants.contains(&user);
            let (read_seq, read_ordinal) = read_by(user, &participants, log);
            // Of a group it is not known who got a message, only that somebody did.
            let others = log.delivered.iter().filter(|(sender, _)| **sender != user);
            let delivered = others.map(|(_, seq)| *seq).max().filter(|_| open);
            let mut spans = Vec::new();
            if open {
                spans.push(doc! { "first": 1_i64 });
            }
            let member = doc! {
                "spans": spans,
                "open": open,
                "readSeq": read_seq,
                "readOrdinal": read_ordinal,
                "deliveredSeq": delivered.unwrap_or(0).max(read_seq),
            };
            (user, member)
        })
        .collect()
}

/// Up to where this person has read: as `readBy` says, and of two people also as `status` says,
/// since it can only be the other one who read.
fn read_by(user: ObjectId, participants: &BTreeSet<ObjectId>, log: &Log) -> (i64, i64) {
    let named = log.read.get(&user).copied().unwrap_or_default();
    if participants.len() != 2 || !participants.contains(&user) {
        return named;
    }
    let of_the_other = log
        .read_by_anybody
        .iter()
        .filter(|(sender, _)| **sender != user && participants.contains(*sender))
        .map(|(_, place)| *place);
    of_the_other.max().unwrap_or_default().max(named)
}

fn participants(older: &Older) -> BTreeSet<ObjectId> {
    let listed = older.participants.as_ref().and_then(Bson::as_array);
    listed
        .into_iter()
        .flatten()
        .filter_map(Bson::as_object_id)
        .collect()
}

/// Sets the heads, and with them marks the conversations as done. One after the other: of two
/// private ones of the same pair the older gets the key.
async fn finish(
    store: &MongoStore,
    batch: &[Older],
    logs: &[Log],
    report: &mut Report,
) -> StoreResult<()> {
    let statement = |older: &Older, set: Document| {
        doc! {
            "q": { "_id": older.id, "lastSeq": { "$exists": false } },
            "u": { "$set": set },
        }
    };
    let heads: Vec<Document> = batch
        .iter()
        .zip(logs)
        .map(|(older, log)| {
            let mut set = head(older, log);
            set.extend(pair_key_of(older));
            statement(older, set)
        })
        .collect();
    let mut without_key = Vec::new();
    for place in bulk::update(store, "conversations", &heads).await? {
        let (older, log) = (&batch[place], &logs[place]);
        report.note(format!(
            "conversation {}: its two people have another private one; both are kept",
            older.id
        ));
        without_key.push(statement(older, head(older, log)));
    }
    bulk::update(store, "conversations", &without_key)
        .await
        .map(drop)
}

fn head(older: &Older, log: &Log) -> Document {
    let as_date = |value: &Option<Bson>| value.as_ref().and_then(Bson::as_datetime).copied();
    let made = as_date(&older.created_at).unwrap_or_else(|| older.id.timestamp());
    let newest = [as_date(&older.updated_at), log.last_created_at, Some(made)];
    let mut set = doc! {
        "type": kind(older).as_str(),
        "lastSeq": log.last_seq,
        "lastOrdinal": log.last_ordinal,
        "createdAt": made,
        "updatedAt": newest.into_iter().flatten().max().unwrap_or(DateTime::MIN),
    };
    // Whatever was there, a message or an id: the newest one's id, and nothing where none is.
    if let Some(message) = &log.last_message {
        set.insert("lastMessage", message.clone());
    }
    if !matches!(older.participants, Some(Bson::Array(_))) {
        set.insert("participants", Vec::<ObjectId>::new());
    }
    set
}

fn kind(older: &Older) -> ConversationKind {
    let written = older.kind.as_ref().and_then(Bson::as_str);
    match written.and_then(ConversationKind::parse) {
        Some(kind) => kind,
        // Neither word: two people talk in private, others in a group.
        None if participants(older).len() == 2 => ConversationKind::Private,
        None => ConversationKind::Group,
    }
}

/// The field that makes a private conversation of two people unique.
fn pair_key_of(older: &Older) -> Document {
    let people = participants(older)
        .iter()
        .map(|id| UserId::from_bytes(id.bytes()))
        .collect();
    match (kind(older), pair_key(&people)) {
        (ConversationKind::Private, Some(pair)) => doc! { "pairKey": binary(&pair) },
        _ => Document::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn older(participants: &[ObjectId]) -> Older {
        Older {
            id: ObjectId::new(),
            participants: Some(Bson::from(participants.to_vec())),
            kind: None,
            created_at: None,
            updated_at: None,
        }
    }

    #[test]
    fn of_two_people_the_other_one_has_read() {
        let (anna, ben) = (ObjectId::new(), ObjectId::new());
        let log = Log {
            delivered: BTreeMap::from([(anna, 7)]),
            read_by_anybody: BTreeMap::from([(anna, (5, 4))]),
            ..Log::default()
        };
        let members = members(&older(&[anna, ben]), &log);
        let row = |user| {
            let row: &Document = &members[&user];
            ["readSeq", "readOrdinal", "deliveredSeq"].map(|field| row.get_i64(field).unwrap())
        };
        assert_eq!(row(ben), [5, 4, 7]);
        assert_eq!(row(anna), [0, 0, 0]);
    }

    #[test]
    fn in_a_group_only_who_is_named_has_read() {
        let [anna, ben, cleo, gone] = std::array::from_fn(|_| ObjectId::new());
        let log = Log {
            read: BTreeMap::from([(ben, (3, 3)), (gone, (2, 2))]),
            delivered: BTreeMap::from([(anna, 4)]),
            read_by_anybody: BTreeMap::from([(anna, (4, 4))]),
            ..Log::default()
        };
        let members = members(&older(&[anna, ben, cleo]), &log);
        let row = |user| {
            let row: &Document = &members[&user];
            let seqs = ["readSeq", "deliveredSeq"].map(|field| row.get_i64(field).unwrap());
            (seqs, row.get_bool("open").unwrap())
        };
        assert_eq!(row(anna), ([0, 0], true));
        assert_eq!(row(ben), ([3, 4], true));
        assert_eq!(row(cleo), ([0, 4], true));
        assert_eq!(row(gone), ([2, 2], false));
    }
}
