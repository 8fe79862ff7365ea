//! A head that is behind its log, as a copy of the collections leaves it that was not made at one
//! moment. Such a head would refuse every append: the next place is taken.

use std::sync::Arc;

use futures_util::TryStreamExt;
use mongodb::ClientSession;
use mongodb::bson::doc;
use syncchat_core::model::{ConversationId, Message, Seq};
use syncchat_core::ports::store::{Append, ConversationChange, StoreError, StoreResult};

use super::append::{change_member, changes};
use super::documents::{HeadRecord, Id, MemberRecord, MessageRecord, count, date, int};
use super::errors::matched;
use super::transaction::{self, Failure};
use super::{KIND, MongoStore};
use crate::limits::{MONGO_ATTEMPTS_MAX, MONGO_HEAL_MAX};
use crate::observe::head_healed;

/// Puts a head right, [`MONGO_HEAL_MAX`] messages at a time; false if it is not behind its log.
pub(super) async fn raise(store: &MongoStore, id: ConversationId) -> StoreResult<bool> {
    let (mut raised, mut tried) = (false, 0);
    loop {
        match raise_once(store, id).await {
            Ok(false) => return Ok(raised),
            Ok(true) => raised = true,
            Err(Failure::Conflict | Failure::Duplicate) if tried < MONGO_ATTEMPTS_MAX => {
                transaction::pause(tried).await;
                tried += 1;
            }
            Err(Failure::Conflict | Failure::Duplicate) => {
                let text = "others write where a head is to be raised";
                return Err(StoreError::Unavailable(text.into()));
            }
            Err(Failure::Store(error)) => return Err(error),
        }
    }
}

/// One transaction. It reads the head and the log at one moment, in which a sound log ends at its head.
async fn raise_once(store: &MongoStore, id: ConversationId) -> Result<bool, Failure> {
    let mut session = transaction::begin(&store.client).await?;
    let head: Option<HeadRecord> = store
        .conversations
        .clone_with_type()
        .find_one(doc! { "_id": id.oid(), "lastSeq": { "$exists": true } })
        .session(&mut session)
        .await?;
    let known = head.map(|head| count(head.last_seq));
    let beyond = match known {
        Some(known) => beyond(store, &mut session, id, known).await?,
        None => Vec::new(),
    };
    let (Some(known), Some(last)) = (known, beyond.last()) else {
        transaction::abort(&mut session).await;
        return Ok(false);
    };
    let reply = store
        .database
        .run_command(doc! {
            "update": "conversations",
            "updates": [{
                "q": { "_id": id.oid(), "lastSeq": int(known) },
                "u": { "$set": {
                    "lastSeq": int(last.seq),
                    "lastOrdinal": int(last.ordinal),
                    "lastMessage": last.id.oid(),
                    "updatedAt": date(last.created_at),
                } },
            }],
        })
        .session(&mut session)
        .await?;
    if matched(&reply)? != 1 {
        return Err(Failure::Conflict);
    }
    for message in &beyond {
        make_up_for(store, &mut session, message).await?;
    }
    transaction::commit(&mut session).await?;
    head_healed(KIND, id, known, last.seq);
    Ok(true)
}

/// The messages that follow the head, one after the other.
async fn beyond(
    store: &MongoStore,
    session: &mut ClientSession,
    id: ConversationId,
    known: Seq,
) -> Result<Vec<Message>, Failure> {
    let mut found = store
        .messages
        .clone_with_type::<MessageRecord>()
        .find(doc! { "conversationId": id.oid(), "seq": { "$gt": int(known) } })
        .sort(doc! { "seq": 1 })
        .limit(int(MONGO_HEAL_MAX as u64))
        .session(&mut *session)
        .await?;
    let records: Vec<MessageRecord> = found.stream(session).try_collect().await?;
    let messages: StoreResult<Vec<Message>> = records.into_iter().map(Message::try_from).collect();
    Ok(messages?)
}

/// Applies what a system message changed, if it is not known yet.
async fn make_up_for(
    store: &MongoStore,
    session: &mut ClientSession,
    message: &Message,
) -> Result<(), Failure> {
    let Some(event) = &message.event else {
        return Ok(());
    };
    let change = ConversationChange::of(event, message.seq);
    if let Some(user) = change.user() {
        let key = doc! { "conversationId": message.conversation.oid(), "userId": user.oid() };
        let row: Option<MemberRecord> = store.members.find_one(key).session(&mut *session).await?;
        let spans = row.map(|row| row.seq_spans()).unwrap_or_default();
        if !change.is_missing_in(&spans) {
            return Ok(());
        }
    }
    let append = Append {
        conversation: message.conversation,
        expected_seq: message.seq.saturating_sub(1),
        messages: vec![Arc::new(message.clone())],
        changes: vec![change],
    };
    let statements: Vec<_> = changes(&append).collect();
    let reply = store
        .database
        .run_command(doc! { "update": "conversations", "updates": statements })
        .session(&mut *session)
        .await?;
    matched(&reply)?;
    for change in &append.changes {
        change_member(store, session, &append, change).await?;
    }
    Ok(())
}

/// Puts a head right that refused an append again and again, if that is why. The append is to be
/// planned again in any case.
pub(super) async fn raise_if_behind(store: &MongoStore, id: ConversationId) {
    if let Err(error) = raise(store, id).await {
        tracing::debug!(%error, conversation = %id, "not known whether the head is behind its log");
    }
}
