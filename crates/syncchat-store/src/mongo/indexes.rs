//! The indexes, each with the question it answers.

use futures_util::TryStreamExt;
use mongodb::IndexModel;
use mongodb::bson::{DateTime, Document, doc};
use mongodb::error::Error;
use mongodb::options::IndexOptions;
use syncchat_core::ports::store::StoreResult;

use super::MongoStore;
use super::errors::{has_code, is_duplicate, store_error};
use super::migrate::Report;

/// Before every time that is stored.
pub(super) const EPOCH: DateTime = DateTime::from_millis(0);

/// An index as this release wants it.
pub(super) struct Index {
    pub(super) collection: &'static str,
    name: &'static str,
    keys: Document,
    unique: bool,
    /// Only documents that match this are in it.
    only: Option<Document>,
}

fn index(collection: &'static str, name: &'static str, keys: Document) -> Index {
    Index {
        collection,
        name,
        keys,
        unique: false,
        only: None,
    }
}

impl Index {
    fn unique(mut self) -> Index {
        self.unique = true;
        self
    }

    fn only(mut self, filter: Document) -> Index {
        self.only = Some(filter);
        self
    }
}

// The keys of those that questions name.

pub(super) fn members_by_delivered() -> Document {
    doc! { "conversationId": 1, "deliveredSeq": -1 }
}

pub(super) fn messages_by_seq() -> Document {
    doc! { "conversationId": 1, "seq": 1 }
}

fn messages_by_rev() -> Document {
    doc! { "conversationId": 1, "rev": 1 }
}

pub(super) fn messages_by_sender() -> Document {
    doc! { "conversationId": 1, "sender": 1, "type": 1, "seq": 1 }
}

pub(super) fn messages_deleted() -> Document {
    doc! { "conversationId": 1, "deleted": 1, "seq": 1, "sender": 1, "type": 1 }
}

/// Those that an older database cannot violate, and that its takeover needs.
pub(super) fn before_takeover() -> Vec<Index> {
    let has = |field: &str| doc! { field: { "$exists": true } };
    vec![
        // Accounts, without regard to case. Partial, because older accounts get their key late.
        index("users", "usernameKey", doc! { "usernameKey": 1 })
            .unique()
            .only(has("usernameKey")),
        index("users", "emailKey", doc! { "emailKey": 1 })
            .unique()
            .only(has("emailKey")),
        // A person's conversations. Nothing that changes with each message may be in here.
        index(
            "conversations",
            "participants_1",
            doc! { "participants": 1 },
        ),
        // One private conversation for each pair.
        index("conversations", "pairKey", doc! { "pairKey": 1 })
            .unique()
            .only(has("pairKey")),
        // What a request made, found by its repetition. Only what was asked for under a key is in it.
        index(
            "conversations",
            "request_by_key",
            doc! { "request.by": 1, "request.key": 1 },
        )
        .unique()
        .only(has("request.key")),
        index(
            "files",
            "owner_requestKey",
            doc! { "owner": 1, "requestKey": 1 },
        )
        .unique()
        .only(has("requestKey")),
        index(
            "members",
            "conversationId_userId",
            doc! { "conversationId": 1, "userId": 1 },
        )
        .unique(),
        // Everything of many people at once.
        index(
            "members",
            "userId_conversationId",
            doc! { "userId": 1, "conversationId": 1 },
        ),
        // Who has read, or got, the most.
        index(
            "members",
            "conversationId_readSeq",
            doc! { "conversationId": 1, "readSeq": -1 },
        ),
        index(
            "members",
            "conversationId_deliveredSeq",
            members_by_delivered(),
        ),
        index("refreshTokens", "expiresAt", doc! { "expiresAt": 1 }),
        index("refreshFamilies", "expiresAt", doc! { "expiresAt": 1 }),
        // Files to be looked at; most never are again.
        index("files", "dueAt", doc! { "dueAt": 1 }).only(doc! { "dueAt": { "$gt": EPOCH } }),
    ]
}

/// Those over what the takeover writes.
pub(super) fn after_takeover() -> Vec<Index> {
    vec![
        // The exact spellings: unique too, unless an older database has them twice. Accounts
        // without any are not in it.
        index("users", "username_1", doc! { "username": 1 })
            .unique()
            .only(doc! { "username": { "$gt": "" } }),
        index("users", "email_1", doc! { "email": 1 })
            .unique()
            .only(doc! { "email": { "$gt": "" } }),
        // The log.
        index("messages", "conversationId_seq", messages_by_seq()).unique(),
        // A message is written once, however often it is sent.
        index(
            "messages",
            "conversationId_sender_clientMsgId",
            doc! { "conversationId": 1, "sender": 1, "clientMsgId": 1 },
        )
        .unique()
        .only(doc! { "clientMsgId": { "$exists": true } }),
        // Own and deleted messages after a cursor, counted without reading them.
        index(
            "messages",
            "conversationId_sender_type_seq",
            messages_by_sender(),
        ),
        index("messages", "conversationId_deleted_seq", messages_deleted())
            .only(doc! { "deleted": true }),
        // What was changed lately. Most messages are not in it.
        index("messages", "conversationId_rev", messages_by_rev())
            .only(doc! { "rev": { "$gt": 1 } }),
        // Who was added lately. Few messages are in it.
        index("messages", "type__id", doc! { "type": 1, "_id": 1 }).only(doc! { "type": "system" }),
    ]
}

/// Makes what is missing, and says what that was.
pub(super) async fn make(
    store: &MongoStore,
    indexes: Vec<Index>,
    report: &mut Report,
) -> StoreResult<()> {
    for index in indexes {
        let known = names(store, index.collection).await?;
        if known.iter().any(|name| name == index.name) {
            continue;
        }
        let name = format!("{}.{}", index.collection, index.name);
        match create(store, &index, index.unique).await {
            Ok(()) => report.did(format!("index {name} made")),
            // Somebody made the same one under another name, or as they liked it.
            Err(error) if exists_differently(&error) => {}
            // Only the exact spellings can be there twice; their keys are unique all the same.
            Err(error) if is_duplicate(&error) && index.collection == "users" => {
                create(store, &index, false)
                    .await
                    .map_err(|error| store_error(&error))?;
                report.did(format!(
                    "index {name} made without unique: some occur twice"
                ));
            }
            Err(error) => return Err(store_error(&error)),
        }
    }
    Ok(())
}

async fn create(store: &MongoStore, index: &Index, unique: bool) -> Result<(), Error> {
    let options = IndexOptions::builder()
        .name(index.name.to_owned())
        .unique(unique)
        .partial_filter_expression(index.only.clone())
        .build();
    let model = IndexModel::builder()
        .keys(index.keys.clone())
        .options(options)
        .build();
    store
        .database
        .collection::<Document>(index.collection)
        .create_index(model)
        .await
        .map(drop)
}

/// Those of this release's indexes that no index has the keys of, and how many were looked for.
pub(super) async fn missing(store: &MongoStore) -> StoreResult<(Vec<Index>, usize)> {
    let wanted: Vec<Index> = before_takeover()
        .into_iter()
        .chain(after_takeover())
        .collect();
    let count = wanted.len();
    let mut missing = Vec::new();
    for index in wanted {
        let known = keys(store, index.collection).await?;
        if !known.contains(&index.keys) {
            missing.push(index);
        }
    }
    Ok((missing, count))
}

/// The keys of a collection's indexes; none if there is no such collection.
async fn keys(store: &MongoStore, collection: &str) -> StoreResult<Vec<Document>> {
    let indexes = store
        .database
        .collection::<Document>(collection)
        .list_indexes()
        .await;
    match indexes {
        Ok(indexes) => indexes
            .map_ok(|index| index.keys)
            .try_collect()
            .await
            .map_err(|error| store_error(&error)),
        // NamespaceNotFound.
        Err(error) if has_code(&error, &[26]) => Ok(Vec::new()),
        Err(error) => Err(store_error(&error)),
    }
}

/// The names of a collection's indexes; none if there is no such collection.
pub(super) async fn names(store: &MongoStore, collection: &str) -> StoreResult<Vec<String>> {
    let names = store
        .database
        .collection::<Document>(collection)
        .list_index_names()
        .await;
    match names {
        Ok(names) => Ok(names),
        // NamespaceNotFound.
        Err(error) if has_code(&error, &[26]) => Ok(Vec::new()),
        Err(error) => Err(store_error(&error)),
    }
}

/// IndexOptionsConflict, IndexKeySpecsConflict.
fn exists_differently(error: &Error) -> bool {
    has_code(error, &[85, 86])
}
