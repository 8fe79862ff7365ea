//! Older messages get their numbers, in the order `(createdAt, _id)`.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use mongodb::Collection;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, DateTime, Document, doc};
use serde::Deserialize;
use syncchat_core::model::MessageKind;
use syncchat_core::ports::store::{StoreError, StoreResult};

use super::super::MongoStore;
use super::super::errors::store_error;
use super::{Report, bulk, has_any};
use crate::limits::{MIGRATION_BATCH, MIGRATION_STEP_TIMEOUT};

/// Gives every message a `createdAt` that is a date: without one it has no place in the log. What
/// cannot be read as a time becomes the second in which its id was made.
pub(super) async fn complete_dates(
    messages: &Collection<Document>,
    report: &mut Report,
) -> StoreResult<()> {
    let from_id = doc! { "$convert": {
        "input": "$_id", "to": "date", "onError": "$$NOW", "onNull": "$$NOW",
    } };
    let read = doc! { "$convert": {
        "input": "$createdAt", "to": "date", "onError": &from_id, "onNull": &from_id,
    } };
    let completed = messages
        .update_many(
            doc! { "createdAt": { "$not": { "$type": "date" } } },
            vec![doc! { "$set": { "createdAt": read } }],
        )
        .await
        .map_err(|error| store_error(&error))?;
    if completed.modified_count > 0 {
        let count = completed.modified_count;
        report.did(format!("{count} messages given a date"));
    }
    Ok(())
}

/// A message as an older deployment wrote it. Nothing but the id is sure to be there.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Older {
    #[serde(rename = "_id")]
    id: Bson,
    sender: Option<Bson>,
    content: Option<Bson>,
    #[serde(rename = "type")]
    kind: Option<Bson>,
    status: Option<Bson>,
    read_by: Option<Bson>,
    edited: Option<Bson>,
    deleted: Option<Bson>,
    created_at: Option<DateTime>,
    updated_at: Option<Bson>,
    seq: Option<Bson>,
    ordinal: Option<Bson>,
}

/// The fields of [`Older`].
fn older_fields() -> Document {
    doc! {
        "sender": 1, "content": 1, "type": 1, "status": 1, "readBy": 1,
        "edited": 1, "deleted": 1, "createdAt": 1, "updatedAt": 1, "seq": 1, "ordinal": 1,
    }
}

/// How far a log has been numbered, and what that showed.
#[derive(Default)]
pub(super) struct Log {
    pub(super) last_seq: i64,
    pub(super) last_ordinal: i64,
    pub(super) last_message: Option<Bson>,
    pub(super) last_created_at: Option<DateTime>,
    /// Messages that had to be changed.
    pub(super) changed: u64,
    /// Read up to: `seq` and ordinal.
    pub(super) read: BTreeMap<ObjectId, (i64, i64)>,
    /// Of each sender, the furthest message that somebody else has got.
    pub(super) delivered: BTreeMap<ObjectId, i64>,
    /// Of each sender, the furthest message that somebody else has read, whoever that was.
    pub(super) read_by_anybody: BTreeMap<ObjectId, (i64, i64)>,
}

impl Log {
    /// Gives the next message its numbers, and what the reading code needs and it lacks; `None`
    /// if it has all that.
    fn number(&mut self, message: &Older) -> Option<Document> {
        let kind = message.kind.as_ref().and_then(Bson::as_str);
        let is_system = kind == Some(MessageKind::System.as_str());
        self.last_seq += 1;
        self.last_ordinal += i64::from(!is_system);
        self.last_message = Some(message.id.clone());
        self.last_created_at = message.created_at;
        self.note_readers(message);

        let mut set = Document::new();
        let numbers = [
            ("seq", &message.seq, self.last_seq),
            ("ordinal", &message.ordinal, self.last_ordinal),
        ];
        for (field, known, number) in numbers {
            if known.as_ref().and_then(Bson::as_i64) != Some(number) {
                set.insert(field, number);
            }
        }
        let texts = [
            ("content", &message.content, ""),
            ("type", &message.kind, MessageKind::Text.as_str()),
            ("status", &message.status, "sent"),
        ];
        for (field, known, value) in texts {
            if is_absent(known) {
                set.insert(field, value);
            }
        }
        for (field, known) in [("edited", &message.edited), ("deleted", &message.deleted)] {
            if is_absent(known) {
                set.insert(field, false);
            }
        }
        if is_absent(&message.read_by) {
            set.insert("readBy", Vec::<ObjectId>::new());
        }
        let updated_at = message.updated_at.as_ref().and_then(Bson::as_datetime);
        if let (None, Some(created_at)) = (updated_at, message.created_at) {
            set.insert("updatedAt", created_at);
        }
        if is_absent(&message.sender) {
            set.insert("sender", ObjectId::from_bytes([0; 12]));
        }
        if set.is_empty() {
            return None;
        }
        self.changed += 1;
        Some(doc! { "q": { "_id": &message.id }, "u": { "$set": set } })
    }

    fn note_readers(&mut self, message: &Older) {
        let place = (self.last_seq, self.last_ordinal);
        let readers = message.read_by.as_ref().and_then(Bson::as_array);
        for reader in readers.into_iter().flatten().filter_map(Bson::as_object_id) {
            self.read.insert(reader, place);
        }
        let Some(sender) = message.sender.as_ref().and_then(Bson::as_object_id) else {
            return;
        };
        match message.status.as_ref().and_then(Bson::as_str) {
            Some("delivered") => {
                self.delivered.insert(sender, self.last_seq);
            }
            Some("read") => {
                self.delivered.insert(sender, self.last_seq);
                self.read_by_anybody.insert(sender, place);
            }
            _ => {}
        }
    }
}

fn is_absent(value: &Option<Bson>) -> bool {
    matches!(value, None | Some(Bson::Null))
}

/// Numbers the messages that match, which are of one conversation, on from `log`.
///
/// If each has a number already, only holes are closed, and the order stays. That order also comes
/// out when an earlier run was killed between the last message and the conversation's head.
pub(super) async fn number_all(
    store: &MongoStore,
    filter: Document,
    mut log: Log,
) -> StoreResult<Log> {
    let mut unnumbered = filter.clone();
    unnumbered.insert("$nor", vec![doc! { "seq": { "$gte": 1 } }]);
    let order = match has_any(&store.messages.clone_with_type(), unnumbered).await? {
        true => doc! { "conversationId": 1, "createdAt": 1, "_id": 1 },
        false => doc! { "seq": 1, "createdAt": 1, "_id": 1 },
    };
    let mut cursor = store
        .messages
        .clone_with_type::<Older>()
        .find(filter)
        .projection(older_fields())
        .sort(order)
        .allow_disk_use(true)
        .max_time(MIGRATION_STEP_TIMEOUT)
        .await
        .map_err(|error| store_error(&error))?;
    let mut updates = Vec::new();
    while let Some(message) = cursor
        .try_next()
        .await
        .map_err(|error| store_error(&error))?
    {
        updates.extend(log.number(&message));
        if updates.len() >= MIGRATION_BATCH {
            write(store, &updates).await?;
            updates.clear();
        }
    }
    write(store, &updates).await?;
    Ok(log)
}

async fn write(store: &MongoStore, updates: &[Document]) -> StoreResult<()> {
    let refused = bulk::update(store, "messages", updates).await?;
    match refused.first().and_then(|place| updates.get(*place)) {
        None => Ok(()),
        Some(update) => Err(StoreError::Damaged(format!(
            "an index does not let this message be numbered: {update}"
        ))),
    }
}
