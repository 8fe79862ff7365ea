//! The deep check: what no write of this release leaves, and a damaged or badly copied database may
//! hold. Each step is bounded; nodes may write meanwhile, so what is compared is read in an order in
//! which a sound database cannot look flawed.

use std::collections::{HashMap, HashSet};

use futures_util::TryStreamExt;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};
use serde::Deserialize;
use syncchat_core::model::{
    Attachment, ConversationId, FileClaim, FileId, Message, MessageId, StoredFile,
};
use syncchat_core::ports::store::{DeepFinding, Flaw, StoreResult};

use super::documents::{FileRecord, HeadRecord, Id, MessageRecord, date};
use super::errors::{is_duplicate, store_error};
use super::{MongoStore, files, heal, indexes, migrate, query, union};
use crate::limits::{DEEP_BATCH, MIGRATION_STEP_TIMEOUT, MONGO_DEEP_CONVERSATIONS};

/// Indexes first: what follows is quick with them.
pub(super) async fn check(store: &MongoStore, repair: bool) -> StoreResult<Vec<DeepFinding>> {
    let indexes = indexes(store, repair).await?;
    let [behind, beyond, cursors] = conversations(store, repair).await?;
    let files = files(store, repair).await?;
    let deleted = deleted(store, repair).await?;
    Ok(vec![behind, beyond, cursors, files, indexes, deleted])
}

async fn indexes(store: &MongoStore, repair: bool) -> StoreResult<DeepFinding> {
    let mut finding = DeepFinding::new(Flaw::IndexMissing);
    let (missing, wanted) = indexes::missing(store).await?;
    finding.looked_at = wanted as u64;
    finding.found = missing.len() as u64;
    if repair && finding.found > 0 {
        let made = indexes::make(store, missing, &mut migrate::Report::default()).await;
        if let Err(error) = made {
            tracing::error!(%error, "an index cannot be made");
        }
        let (still_missing, _) = indexes::missing(store).await?;
        finding.repaired = finding.found.saturating_sub(still_missing.len() as u64);
    }
    Ok(finding)
}

#[derive(Deserialize)]
struct Members {
    #[serde(rename = "_id")]
    id: ObjectId,
    #[serde(default)]
    participants: Vec<ObjectId>,
}

/// A member's row, of which nothing is sure to be there.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    conversation_id: ObjectId,
    user_id: ObjectId,
    spans: Option<Vec<Document>>,
    open: Option<bool>,
    read_seq: Option<i64>,
    read_ordinal: Option<i64>,
    delivered_seq: Option<i64>,
}

impl Row {
    fn is_whole(&self) -> bool {
        self.spans.is_some()
            && self.open.is_some()
            && self.read_seq.is_some()
            && self.read_ordinal.is_some()
            && self.delivered_seq.is_some()
    }
}

/// Members first, then their rows, then the heads, the ends of the logs, and the heads again: what grows
/// meanwhile grows in what is read later, so a head is compared with an end that was read before it, or
/// after it.
async fn conversations(store: &MongoStore, repair: bool) -> StoreResult<[DeepFinding; 3]> {
    let mut behind = DeepFinding::new(Flaw::HeadBehindLog);
    let mut beyond = DeepFinding::new(Flaw::HeadBeyondLog);
    let mut cursors = DeepFinding::new(Flaw::CursorsMissing);
    let mut after: Option<ObjectId> = None;
    loop {
        let batch = batch_after(store, after).await?;
        let Some(last) = batch.last() else {
            return Ok([behind, beyond, cursors]);
        };
        after = Some(last.id);
        let ids: Vec<ObjectId> = batch.iter().map(|one| one.id).collect();
        let rows = rows(store, &ids).await?;
        let earlier = heads(store, &ids).await?;
        let ends = ends(store, &ids).await?;
        let heads = heads(store, &ids).await?;
        let end = |id: &ObjectId| ends.get(id).copied().unwrap_or(0);
        behind.looked_at += heads.len() as u64;
        beyond.looked_at += heads.len() as u64;
        let is_beyond = |(id, head): &(&ObjectId, &HeadRecord)| head.last_seq > end(id);
        beyond.found += earlier.iter().filter(is_beyond).count() as u64;
        for (id, head) in &heads {
            if head.last_seq < end(id) {
                behind.found += 1;
                if repair {
                    heal::raise(store, ConversationId::from_bytes(id.bytes())).await?;
                    behind.repaired += 1;
                }
            }
        }
        cursors.looked_at += rows.len() as u64;
        let updates = mend_cursors(&batch, &rows, |id| {
            let head = heads.get(&id)?;
            // The ordinal of an end beyond the head is not known here.
            let ordinal = (head.last_seq >= end(&id)).then_some(head.last_ordinal);
            Some((head.last_seq.max(end(&id)), ordinal))
        });
        cursors.found += updates.len() as u64;
        if repair && !updates.is_empty() {
            let refused = migrate::update(store, "members", &updates).await?;
            cursors.repaired += (updates.len() - refused.len()) as u64;
        }
    }
}

async fn batch_after(store: &MongoStore, after: Option<ObjectId>) -> StoreResult<Vec<Members>> {
    let mut filter = doc! { "lastSeq": { "$exists": true } };
    if let Some(after) = after {
        filter.insert("_id", doc! { "$gt": after });
    }
    let conversations = store.conversations.clone_with_type::<Members>();
    let find = conversations
        .find(filter)
        .projection(doc! { "participants": 1 })
        .sort(doc! { "_id": 1 })
        .limit(MONGO_DEEP_CONVERSATIONS as i64);
    query::found(find).await
}

async fn rows(store: &MongoStore, ids: &[ObjectId]) -> StoreResult<Vec<Row>> {
    let rows = store
        .members
        .clone_with_type::<Row>()
        .find(doc! { "conversationId": { "$in": ids } })
        .max_time(MIGRATION_STEP_TIMEOUT)
        .await
        .map_err(|error| store_error(&error))?;
    rows.try_collect()
        .await
        .map_err(|error| store_error(&error))
}

/// The newest `seq` of each of these logs that has messages.
async fn ends(store: &MongoStore, ids: &[ObjectId]) -> StoreResult<HashMap<ObjectId, i64>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct End {
        conversation_id: ObjectId,
        seq: i64,
    }
    let pipeline = |id: &ObjectId| {
        vec![
            doc! { "$match": { "conversationId": id } },
            doc! { "$sort": { "seq": -1 } },
            doc! { "$limit": 1 },
            doc! { "$project": { "_id": 0, "conversationId": 1, "seq": 1 } },
        ]
    };
    let pipelines = ids.iter().map(pipeline).collect();
    let found: Vec<Vec<End>> = union::run(&store.messages.clone_with_type(), pipelines).await?;
    let ends = found.into_iter().flatten();
    Ok(ends.map(|end| (end.conversation_id, end.seq)).collect())
}

async fn heads(store: &MongoStore, ids: &[ObjectId]) -> StoreResult<HashMap<ObjectId, HeadRecord>> {
    let heads: Vec<HeadRecord> = query::fields(
        &store.conversations.clone_with_type(),
        doc! { "_id": { "$in": ids }, "lastSeq": { "$exists": true } },
        doc! { "lastSeq": 1, "lastOrdinal": 1, "updatedAt": 1 },
    )
    .await?;
    Ok(heads.into_iter().map(|head| (head.id, head)).collect())
}

/// The updates that members need: a row, what is missing in it, or cursors that end where the log does.
fn mend_cursors(
    batch: &[Members],
    rows: &[Row],
    end: impl Fn(ObjectId) -> Option<(i64, Option<i64>)>,
) -> Vec<Document> {
    let whole: HashSet<(ObjectId, ObjectId)> = rows
        .iter()
        .filter(|row| row.is_whole())
        .map(|row| (row.conversation_id, row.user_id))
        .collect();
    let partial = rows.iter().filter(|row| !row.is_whole());
    let partial = partial.map(|row| (row.conversation_id, row.user_id));
    let members = |one: &Members| -> Vec<(ObjectId, ObjectId)> {
        let users = one.participants.iter();
        users.map(|user| (one.id, *user)).collect()
    };
    let open: HashSet<(ObjectId, ObjectId)> = batch.iter().flat_map(members).collect();
    let missing: HashSet<(ObjectId, ObjectId)> = open
        .iter()
        .copied()
        .chain(partial)
        .filter(|key| !whole.contains(key))
        .collect();
    let filled = |key: (ObjectId, ObjectId)| {
        let is_open = open.contains(&key);
        // Who is no member any more sees nothing.
        let spans = if is_open {
            vec![doc! { "first": 1_i64 }]
        } else {
            Vec::new()
        };
        doc! {
            "q": { "conversationId": key.0, "userId": key.1 },
            "u": [{ "$set": {
                "spans": { "$ifNull": ["$spans", spans] },
                "open": { "$ifNull": ["$open", is_open] },
                "readSeq": { "$ifNull": ["$readSeq", 0_i64] },
                "readOrdinal": { "$ifNull": ["$readOrdinal", 0_i64] },
                "deliveredSeq": { "$ifNull": ["$deliveredSeq", 0_i64] },
            } }],
            "upsert": true,
        }
    };
    let lowered = rows.iter().filter_map(|row| {
        let (end, ordinal) = end(row.conversation_id)?;
        let furthest = row.read_seq.max(row.delivered_seq)?;
        (row.is_whole() && furthest > end).then(|| {
            let mut min = doc! { "readSeq": end, "deliveredSeq": end };
            min.extend(ordinal.map(|ordinal| ("readOrdinal".to_owned(), ordinal.into())));
            doc! {
                "q": { "conversationId": row.conversation_id, "userId": row.user_id },
                "u": { "$min": min },
            }
        })
    });
    missing.into_iter().map(filled).chain(lowered).collect()
}

/// Messages that show files, in one pass.
async fn files(store: &MongoStore, repair: bool) -> StoreResult<DeepFinding> {
    let mut finding = DeepFinding::new(Flaw::FileUnclaimed);
    let mut found = store
        .messages
        .clone_with_type::<MessageRecord>()
        .find(doc! { "attachments.0": { "$exists": true }, "deleted": { "$ne": true } })
        .batch_size(DEEP_BATCH as u32)
        .max_time(MIGRATION_STEP_TIMEOUT)
        .await
        .map_err(|error| store_error(&error))?;
    let mut shown: Vec<(Message, Attachment)> = Vec::new();
    while let Some(record) = found
        .try_next()
        .await
        .map_err(|error| store_error(&error))?
    {
        let message = Message::try_from(record)?;
        let attachments = message.attachments.clone().into_iter();
        shown.extend(attachments.map(|attachment| (message.clone(), attachment)));
        if shown.len() >= DEEP_BATCH {
            claim_all(store, std::mem::take(&mut shown), repair, &mut finding).await?;
        }
    }
    claim_all(store, shown, repair, &mut finding).await?;
    Ok(finding)
}

async fn claim_all(
    store: &MongoStore,
    shown: Vec<(Message, Attachment)>,
    repair: bool,
    finding: &mut DeepFinding,
) -> StoreResult<()> {
    let ids: Vec<FileId> = shown
        .iter()
        .map(|(_, attachment)| attachment.file)
        .collect();
    let known: HashSet<(FileId, MessageId)> = files::by_ids(store, &ids)
        .await?
        .iter()
        .flat_map(|file| file.claims.iter().map(|claim| (file.id, claim.message)))
        .collect();
    finding.looked_at += shown.len() as u64;
    for (message, attachment) in shown {
        if !known.contains(&(attachment.file, message.id)) {
            finding.found += 1;
            finding.repaired += u64::from(repair && claim(store, &message, attachment).await?);
        }
    }
    Ok(())
}

/// Says in the file's record that the message shows it; the record is made if it is gone. False if the
/// file is given up already, which is never taken back.
async fn claim(store: &MongoStore, message: &Message, attachment: Attachment) -> StoreResult<bool> {
    let claim = FileClaim {
        message: message.id,
        at: message.created_at,
    };
    let file = StoredFile {
        id: attachment.file,
        owner: message.sender,
        name: attachment.name,
        size: attachment.size,
        content_type: attachment.content_type,
        created_at: message.created_at,
        due_at: None,
        claims: vec![claim],
        doomed: false,
        version: 0,
    };
    let made = store.files.insert_one(FileRecord::from(&file)).await;
    match made {
        Ok(_) => return Ok(true),
        Err(error) if is_duplicate(&error) => {}
        Err(error) => return Err(store_error(&error)),
    }
    let record = doc! { "message": claim.message.oid(), "at": date(claim.at) };
    store
        .files
        .update_one(
            doc! { "_id": file.id.oid(), "doomed": false },
            doc! { "$push": { "claims": record }, "$inc": { "version": 1_i64 } },
        )
        .await
        .map(|claimed| claimed.matched_count == 1)
        .map_err(|error| store_error(&error))
}

async fn deleted(store: &MongoStore, repair: bool) -> StoreResult<DeepFinding> {
    let mut finding = DeepFinding::new(Flaw::DeletedWithText);
    (finding.looked_at, finding.found) = migrate::count_deleted(store).await?;
    if repair && finding.found > 0 {
        finding.repaired = migrate::empty_deleted(store).await?;
    }
    Ok(finding)
}
