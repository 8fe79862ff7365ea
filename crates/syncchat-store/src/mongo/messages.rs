//! Reading the log, and changing what was said.

use std::collections::HashMap;

use mongodb::ClientSession;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{DateTime, Document, doc};
use mongodb::options::ReturnDocument;
use serde::Deserialize;
use syncchat_core::model::{
    ConversationId, Digest, FIRST_REV, Message, MessageId, Rev, Seq, Timestamp, UserId,
};
use syncchat_core::ports::store::{LogRange, NamedMessage, StoreResult};

use super::MongoStore;
use super::documents::{Id, MessageRecord, binary, count, date, int, oids};
use super::transaction::{self, Failure};
use super::{indexes, query, union};
use crate::limits::CALL_TIMEOUT;

/// Places looked at in one round trip when a time is searched for. The log's length is divided by
/// as many with each.
const PROBES: u64 = 16;

fn to_messages(records: Vec<MessageRecord>) -> StoreResult<Vec<Message>> {
    records.into_iter().map(Message::try_from).collect()
}

pub(super) async fn by_ids(store: &MongoStore, ids: &[MessageId]) -> StoreResult<Vec<Message>> {
    let filter = doc! { "_id": { "$in": oids(ids) } };
    to_messages(query::all(&store.messages, filter).await?)
}

pub(super) async fn by_client_ids(
    store: &MongoStore,
    keys: &[(ConversationId, UserId, String)],
) -> StoreResult<Vec<NamedMessage>> {
    let keys: Vec<Document> = keys
        .iter()
        .map(|(conversation, sender, id)| {
            doc! { "conversationId": conversation.oid(), "sender": sender.oid(), "clientMsgId": id }
        })
        .collect();
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let found = query::all(&store.messages, doc! { "$or": keys }).await?;
    found.into_iter().map(NamedMessage::try_from).collect()
}

/// Logs have no holes, so that a page is a span of `seq`, and all of them are one question. What begins at
/// an end that is not known is asked for by itself.
pub(super) async fn log(
    store: &MongoStore,
    ranges: &[(ConversationId, LogRange)],
    limit: usize,
) -> StoreResult<Vec<Vec<Message>>> {
    if limit == 0 {
        return Ok(vec![Vec::new(); ranges.len()]);
    }
    let mut spans = Vec::with_capacity(ranges.len());
    for &(conversation, range) in ranges {
        spans.push((conversation, span(store, conversation, range, limit).await?));
    }
    let mut pages = pages(store, &spans).await?;
    let (mut places, mut before) = (Vec::new(), Vec::new());
    for (nth, &(conversation, range)) in ranges.iter().enumerate() {
        if let LogRange::Before(seq) = range
            && (pages[nth].len() as u64) < seq.saturating_sub(1).min(limit as u64)
        {
            places.push(nth);
            before.push((conversation, seq));
        }
    }
    for (nth, page) in places.into_iter().zip(newest(store, before, limit).await?) {
        pages[nth] = page;
    }
    Ok(pages)
}

/// The first and the last `seq` of a page, if the log goes so far.
async fn span(
    store: &MongoStore,
    conversation: ConversationId,
    range: LogRange,
    limit: usize,
) -> StoreResult<(Seq, Seq)> {
    let limit = limit as Seq;
    let from = |first: Seq| (first, first.saturating_add(limit - 1));
    Ok(match range {
        LogRange::Before(seq) => (seq.saturating_sub(limit).max(1), seq.saturating_sub(1)),
        LogRange::After(seq) => from(seq.saturating_add(1)),
        LogRange::Since(time) => from(first_since(store, conversation, time).await?),
    })
}

/// What there is in each of these spans, rising in `seq`.
async fn pages(
    store: &MongoStore,
    spans: &[(ConversationId, (Seq, Seq))],
) -> StoreResult<Vec<Vec<Message>>> {
    // Where `Seq::MAX` stands for the end, nothing can be named.
    let named = spans.iter().filter(|(_, (_, last))| *last < Seq::MAX - 1);
    let filter = |&(conversation, (first, last)): &(ConversationId, (Seq, Seq))| {
        let places = doc! { "$gte": int(first), "$lte": int(last) };
        doc! { "conversationId": conversation.oid(), "seq": places }
    };
    let filters = named.map(filter).collect();
    let by = query::By {
        index: indexes::messages_by_seq(),
        fields: doc! {},
        each_max: 0,
    };
    let found = query::any(&store.messages.clone_with_type(), filters, by).await?;
    let mut logs: HashMap<ConversationId, Vec<Message>> = HashMap::new();
    for message in to_messages(found.unwrap_or_default())? {
        logs.entry(message.conversation).or_default().push(message);
    }
    for log in logs.values_mut() {
        log.sort_unstable_by_key(|message| message.seq);
    }
    let page = |(conversation, (first, last)): &(ConversationId, (Seq, Seq))| {
        let log = logs.get(conversation).map_or(&[][..], Vec::as_slice);
        let log = &log[log.partition_point(|message| message.seq < *first)..];
        log[..log.partition_point(|message| message.seq <= *last)].to_vec()
    };
    Ok(spans.iter().map(page).collect())
}

/// The newest ones before a place that the log may not have come to.
async fn newest(
    store: &MongoStore,
    before: Vec<(ConversationId, Seq)>,
    limit: usize,
) -> StoreResult<Vec<Vec<Message>>> {
    let pipeline = |(conversation, seq): (ConversationId, Seq)| {
        vec![
            doc! { "$match": { "conversationId": conversation.oid(), "seq": { "$lt": int(seq) } } },
            doc! { "$sort": { "seq": -1 } },
            doc! { "$limit": int(limit as u64) },
        ]
    };
    let pipelines = before.into_iter().map(pipeline).collect();
    let found: Vec<Vec<MessageRecord>> =
        union::run(&store.messages.clone_with_type(), pipelines).await?;
    let rising = |mut page: Vec<MessageRecord>| {
        page.sort_unstable_by_key(|record| record.seq);
        to_messages(page)
    };
    found.into_iter().map(rising).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    seq: i64,
    created_at: DateTime,
}

/// The first `seq` written at or after `time`; one beyond the last if there is none. Times do not
/// fall along a log, so that dividing finds it and no index has to be kept for it.
async fn first_since(
    store: &MongoStore,
    conversation: ConversationId,
    time: Timestamp,
) -> StoreResult<Seq> {
    let heads = super::conversations::heads(store, &[conversation]).await?;
    let last = heads.first().map_or(0, |(_, last)| *last);
    // Everything below `low` is earlier; `high` is not, or is one beyond the last.
    let (mut low, mut high) = (1, last + 1);
    while low < high {
        let step = (high - low).div_ceil(PROBES).max(1);
        let places: Vec<i64> = (low..high).step_by(step as usize).map(int).collect();
        let found: Vec<Probe> = query::fields(
            &store.messages.clone_with_type(),
            doc! { "conversationId": conversation.oid(), "seq": { "$in": &places } },
            doc! { "_id": 0, "seq": 1, "createdAt": 1 },
        )
        .await?;
        if found.is_empty() {
            return Ok(high);
        }
        for probe in found {
            if probe.created_at < date(time) {
                low = low.max(count(probe.seq) + 1);
            } else {
                high = high.min(count(probe.seq));
            }
        }
    }
    Ok(high)
}

pub(super) async fn edit(
    store: &MongoStore,
    id: MessageId,
    content: &str,
    at: Timestamp,
) -> StoreResult<Option<Message>> {
    let set = doc! { "content": content, "edited": true, "updatedAt": date(at) };
    change_undeleted(store, id, Change::Edit(set)).await
}

pub(super) async fn delete(
    store: &MongoStore,
    id: MessageId,
    at: Timestamp,
) -> StoreResult<Option<Message>> {
    let set = doc! { "content": "", "attachments": [], "deleted": true, "updatedAt": date(at) };
    match change_undeleted(store, id, Change::Delete(set)).await? {
        Some(message) => Ok(Some(message)),
        // There is none, or it was deleted before.
        None => Ok(by_ids(store, &[id]).await?.pop()),
    }
}

/// What a change sets, without its number.
enum Change {
    /// Keeps the digest of what the message was sent as, if this is the first.
    Edit(Document),
    Delete(Document),
}

/// Changes a message that is not deleted, as the next change of its conversation.
///
/// In one transaction with the conversation, which therefore keeps other changes out from the moment in
/// which the number is taken until the change is there: changes become visible in the order of their
/// numbers. Messages that are written there meanwhile are kept out for those few round trips too.
async fn change_undeleted(
    store: &MongoStore,
    id: MessageId,
    change: Change,
) -> StoreResult<Option<Message>> {
    transaction::until_let_in(store, async || change_once(store, id, &change).await).await
}

async fn change_once(
    store: &MongoStore,
    id: MessageId,
    change: &Change,
) -> Result<Option<Message>, Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Before {
        conversation_id: ObjectId,
        client_msg_id: Option<String>,
        #[serde(default)]
        edited: bool,
        content: Option<String>,
    }
    // A deletion leaves nothing of what was said, so it needs no content.
    let mut fields = doc! { "_id": 0, "conversationId": 1 };
    if let Change::Edit(_) = change {
        fields.extend(doc! { "clientMsgId": 1, "edited": 1, "content": 1 });
    }
    let filter = doc! { "_id": id.oid(), "deleted": { "$ne": true } };
    let mut session = transaction::begin(&store.client).await?;
    let before = store
        .messages
        .clone_with_type::<Before>()
        .find_one(filter.clone())
        .projection(fields)
        .session(&mut session)
        .await?;
    let rev = match &before {
        Some(before) => next_change(store, &mut session, before.conversation_id).await?,
        None => None,
    };
    let (Some(before), Some(rev)) = (before, rev) else {
        transaction::abort(&mut session).await;
        return Ok(None);
    };
    let mut update = match change {
        Change::Edit(set) => doc! { "$set": set.clone() },
        Change::Delete(set) => doc! { "$set": set.clone(), "$unset": { "sent": "" } },
    };
    if let Ok(set) = update.get_document_mut("$set") {
        set.insert("rev", int(rev));
        if let (Change::Edit(_), Some(content), Some(_), false) = (
            change,
            &before.content,
            &before.client_msg_id,
            before.edited,
        ) {
            let sent = Digest::of_sent(id, content);
            set.insert("sent", binary(sent.bytes()));
        }
    }
    let changed = store
        .messages
        .find_one_and_update(filter, update)
        .return_document(ReturnDocument::After)
        .session(&mut session)
        .await?;
    transaction::commit(&mut session).await?;
    Ok(changed.map(Message::try_from).transpose()?)
}

/// Takes the next number of a change in a conversation; `None` if there is no such conversation.
async fn next_change(
    store: &MongoStore,
    session: &mut ClientSession,
    conversation: ObjectId,
) -> Result<Option<Rev>, Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Raised {
        change_seq: i64,
    }
    // Where there is none yet, no message was changed.
    let known = doc! { "$ifNull": ["$changeSeq", int(FIRST_REV)] };
    let raise = vec![doc! { "$set": { "changeSeq": { "$add": [known, 1_i64] } } }];
    let raised = store
        .conversations
        .clone_with_type::<Raised>()
        .find_one_and_update(doc! { "_id": conversation }, raise)
        .projection(doc! { "_id": 0, "changeSeq": 1 })
        .return_document(ReturnDocument::After)
        .max_time(CALL_TIMEOUT)
        .session(session)
        .await?;
    Ok(raised.map(|raised| count(raised.change_seq)))
}

/// Told apart from most messages by the index `conversationId_rev`, which holds only what was changed.
pub(super) async fn changes(
    store: &MongoStore,
    after: &[(ConversationId, Rev)],
    limit: usize,
) -> StoreResult<Vec<Vec<Message>>> {
    if limit == 0 {
        return Ok(vec![Vec::new(); after.len()]);
    }
    let pipeline = |&(conversation, rev): &(ConversationId, Rev)| {
        let later = doc! { "$gt": int(rev.max(FIRST_REV)) };
        vec![
            doc! { "$match": { "conversationId": conversation.oid(), "rev": later } },
            doc! { "$sort": { "rev": 1 } },
            doc! { "$limit": int(limit as u64) },
        ]
    };
    let pipelines = after.iter().map(pipeline).collect();
    let found: Vec<Vec<MessageRecord>> =
        union::run(&store.messages.clone_with_type(), pipelines).await?;
    found.into_iter().map(to_messages).collect()
}
