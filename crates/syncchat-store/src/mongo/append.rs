//! The end of the log: one transaction for many conversations, and what happens when some of
//! them have moved meanwhile.
//!
//! A transaction is all or nothing, and appends are independent. So a batch that fails is sorted:
//! what moved, or was written before, is answered; the rest is tried again together, and after a
//! few tries alone. One conversation under contention costs its neighbours a few round trips at
//! most; where it goes on, the core calls for [`super::behind`].

use std::collections::HashSet;

use futures_util::{StreamExt, TryStreamExt, stream};
use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, doc, serialize_to_bson};
use syncchat_core::model::{ConversationId, Seq, SeqSpans, UserId};
use syncchat_core::ports::store::{Append, Appended, ConversationChange, StoreError, StoreResult};

use super::MongoStore;
use super::behind;
use super::documents::{Id, MemberRecord, MessageRecord, date, int, span_records};
use super::errors::matched;
use super::heal;
use super::transaction::{self, Failure};
use crate::limits::{
    APPEND_TIMEOUT, MONGO_ALONE_ATTEMPTS_MAX, MONGO_ALONE_MAX, MONGO_TOGETHER_ATTEMPTS_MAX,
};

/// Appends that have no answer yet, each with its place in the batch.
type Open<'a> = Vec<(usize, &'a Append)>;

pub(super) async fn append(store: &MongoStore, appends: &[Append]) -> StoreResult<Vec<Appended>> {
    let mut answers = vec![Appended::Committed; appends.len()];
    let mut open: Open<'_> = Vec::with_capacity(appends.len());
    for (place, append) in appends.iter().enumerate() {
        match () {
            () if append.messages.is_empty() => answers[place] = Appended::Moved,
            () if repeats_itself(append) => answers[place] = Appended::Duplicate,
            () => open.push((place, append)),
        }
    }
    for tried in 0..MONGO_TOGETHER_ATTEMPTS_MAX {
        if open.is_empty() || try_once(store, &open).await? {
            return Ok(answers);
        }
        open = sort_out(store, open, &mut answers).await?;
        if tried > 0 {
            transaction::pause(tried).await;
        }
    }
    let each: Vec<_> = open
        .into_iter()
        .map(|one| append_alone(store, one))
        .collect();
    let alone: Vec<(usize, Appended)> = stream::iter(each)
        .buffer_unordered(MONGO_ALONE_MAX)
        .try_collect()
        .await?;
    for (place, answer) in alone {
        answers[place] = answer;
    }
    Ok(answers)
}

async fn append_alone(store: &MongoStore, one: (usize, &Append)) -> StoreResult<(usize, Appended)> {
    for tried in 0..MONGO_ALONE_ATTEMPTS_MAX {
        if try_once(store, &[one]).await? {
            return Ok((one.0, Appended::Committed));
        }
        let mut answer = [Appended::Committed];
        if sort_out(store, vec![(0, one.1)], &mut answer)
            .await?
            .is_empty()
        {
            let [answer] = answer;
            return Ok((one.0, answer));
        }
        transaction::pause(tried).await;
    }
    // Somebody is writing to it: its head moves, or will have moved soon. Or it never will, for the
    // place behind it is taken.
    heal::raise_if_behind(store, one.1.conversation).await;
    Ok((one.0, Appended::Moved))
}

/// One append, behind what is there.
pub(super) async fn append_behind(store: &MongoStore, append: &Append) -> StoreResult<Appended> {
    match () {
        () if append.messages.is_empty() => Ok(Appended::Moved),
        () if repeats_itself(append) => Ok(Appended::Duplicate),
        () => behind::append(store, append).await,
    }
}

/// One transaction; `false` if it met somebody and wrote nothing.
async fn try_once(store: &MongoStore, appends: &[(usize, &Append)]) -> StoreResult<bool> {
    match commit(store, appends).await {
        Ok(()) => Ok(true),
        Err(Failure::Conflict | Failure::Duplicate) => {
            metrics::counter!("syncchat_mongodb_conflicts_total").increment(1);
            Ok(false)
        }
        Err(Failure::Store(error)) => Err(error),
    }
}

async fn commit(store: &MongoStore, appends: &[(usize, &Append)]) -> Result<(), Failure> {
    let mut session = transaction::begin(&store.client).await?;
    write(store, &mut session, appends).await?;
    transaction::commit(&mut session).await
}

async fn write(
    store: &MongoStore,
    session: &mut ClientSession,
    appends: &[(usize, &Append)],
) -> Result<(), Failure> {
    // The compare-and-sets first: whoever lost one learns it before the messages travel.
    let heads: Vec<Document> = appends
        .iter()
        .flat_map(|(_, append)| heads(append))
        .collect();
    let expected = heads.len() as u64;
    let reply = store
        .database
        .run_command(doc! {
            "update": "conversations",
            "updates": heads,
            "ordered": true,
            "maxTimeMS": APPEND_TIMEOUT.as_millis() as i64,
        })
        .session(&mut *session)
        .await?;
    if matched(&reply)? != expected {
        transaction::abort(session).await;
        return Err(Failure::Conflict);
    }
    insert(store, session, appends.iter().map(|(_, append)| *append)).await
}

/// Writes messages, and what changes with them, once their places are taken.
pub(super) async fn insert(
    store: &MongoStore,
    session: &mut ClientSession,
    appends: impl Iterator<Item = &Append> + Clone,
) -> Result<(), Failure> {
    let messages = appends.clone().flat_map(|append| &append.messages);
    store
        .messages
        .insert_many(messages.map(|message| MessageRecord::from(&**message)))
        .session(&mut *session)
        .await?;
    for append in appends {
        for change in &append.changes {
            change_member(store, session, append, change).await?;
        }
    }
    Ok(())
}

/// The statements that raise a conversation's head, if it is still where it is expected to be,
/// and change its title and participants. Each matches one document.
fn heads(append: &Append) -> Vec<Document> {
    let Some(last) = append.messages.last() else {
        return Vec::new();
    };
    let id = append.conversation.oid();
    let set = doc! {
        "lastSeq": int(last.seq),
        "lastOrdinal": int(last.ordinal),
        "lastMessage": last.id.oid(),
        "updatedAt": date(last.created_at),
    };
    let mut statements = vec![doc! {
        "q": { "_id": id, "lastSeq": int(append.expected_seq) },
        "u": { "$set": set },
    }];
    statements.extend(changes(append));
    statements
}

/// The statements that change a conversation's title and participants, and with them its version. Each
/// matches one document.
pub(super) fn changes(append: &Append) -> impl Iterator<Item = Document> {
    let id = append.conversation.oid();
    let rev = append.conversation_rev().map(int);
    append.changes.iter().map(move |change| {
        let mut set = Document::new();
        if let Some(rev) = rev {
            set.insert("rev", rev);
        }
        let mut update = match change {
            ConversationChange::Rename { title } => {
                set.insert("title", title);
                doc! {}
            }
            ConversationChange::Add { user, .. } => {
                doc! { "$addToSet": { "participants": user.oid() } }
            }
            ConversationChange::Remove { user, .. } => {
                doc! { "$pull": { "participants": user.oid() } }
            }
        };
        if !set.is_empty() {
            update.insert("$set", set);
        }
        doc! { "q": { "_id": id }, "u": update }
    })
}

pub(super) async fn change_member(
    store: &MongoStore,
    session: &mut ClientSession,
    append: &Append,
    change: &ConversationChange,
) -> Result<(), Failure> {
    let (user, seq, added) = match change {
        ConversationChange::Rename { .. } => return Ok(()),
        ConversationChange::Add { user, seq } => (*user, *seq, true),
        ConversationChange::Remove { user, seq } => (*user, *seq, false),
    };
    let key = doc! { "conversationId": append.conversation.oid(), "userId": user.oid() };
    let known = store
        .members
        .find_one(key.clone())
        .session(&mut *session)
        .await?;
    if known.is_none() && !added {
        return Ok(());
    }
    let mut spans = known.map_or_else(SeqSpans::default, |known: MemberRecord| known.seq_spans());
    let update = if added {
        spans.open_at(seq);
        let (seq, ordinal) = (int(seq), int(ordinal_at(append, seq)));
        doc! {
            "$set": { "spans": spans_to_bson(&spans)?, "open": true },
            "$max": { "readSeq": seq, "readOrdinal": ordinal, "deliveredSeq": seq },
        }
    } else {
        spans.close_at(seq);
        doc! { "$set": { "spans": spans_to_bson(&spans)?, "open": false } }
    };
    store
        .members
        .update_one(key, update)
        .upsert(added)
        .session(session)
        .await?;
    Ok(())
}

fn spans_to_bson(spans: &SeqSpans) -> Result<Bson, StoreError> {
    serialize_to_bson(&span_records(spans)).map_err(|error| StoreError::Damaged(error.to_string()))
}

/// The ordinal of one of the append's own messages.
fn ordinal_at(append: &Append, seq: Seq) -> u64 {
    append
        .messages
        .iter()
        .find(|message| message.seq == seq)
        .map_or(0, |message| message.ordinal)
}

fn repeats_itself(append: &Append) -> bool {
    let mut seen = HashSet::new();
    client_ids(append).any(|key| !seen.insert(key))
}

fn client_ids(append: &Append) -> impl Iterator<Item = (ConversationId, UserId, &str)> {
    append.messages.iter().filter_map(|message| {
        let client_msg_id = message.client_msg_id.as_deref()?;
        Some((append.conversation, message.sender, client_msg_id))
    })
}

/// Answers those that can never succeed as they are, and gives back the others.
async fn sort_out<'a>(
    store: &MongoStore,
    open: Open<'a>,
    answers: &mut [Appended],
) -> StoreResult<Open<'a>> {
    let ids: Vec<_> = open.iter().map(|(_, append)| append.conversation).collect();
    // In this order: a write of ours that lands in between moves a head that was read before it,
    // and is found by what is read after it.
    let heads = super::conversations::heads(store, &ids).await?;
    let written = written_before(store, open.iter().map(|(_, append)| *append)).await?;
    let unmoved: HashSet<(ConversationId, Seq)> = heads.into_iter().collect();
    let mut rest = Vec::with_capacity(open.len());
    for (place, append) in open {
        // Who repeats a write that did land wants to know that, not that the log went on.
        if written.contains(&append.conversation) {
            answers[place] = Appended::Duplicate;
        } else if !unmoved.contains(&(append.conversation, append.expected_seq)) {
            answers[place] = Appended::Moved;
        } else {
            rest.push((place, append));
        }
    }
    Ok(rest)
}

/// The conversations of those appends of which a message exists, under our name or the sender's.
pub(super) async fn written_before(
    store: &MongoStore,
    appends: impl Iterator<Item = &Append> + Clone,
) -> StoreResult<HashSet<ConversationId>> {
    let keys: Vec<_> = appends
        .clone()
        .flat_map(client_ids)
        .map(|(conversation, sender, id)| (conversation, sender, id.to_owned()))
        .collect();
    // An append is written as a whole, so one of its messages tells of all.
    let ids: Vec<_> = appends
        .filter_map(|append| Some(append.messages.first()?.id))
        .collect();
    let named = super::messages::by_client_ids(store, &keys).await?;
    let named = named.into_iter().map(|found| found.message);
    let found = super::messages::by_ids(store, &ids).await?;
    let found = named.chain(found);
    Ok(found.map(|message| message.conversation).collect())
}
