//! A database as an older deployment left it, with the contract's fields only.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt;
use mongodb::Database;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, DateTime, Document, doc};
use syncchat_core::model::{ConversationId, ConversationKind, Message, UserId};
use syncchat_core::ports::store::{AccountWrite, CreatedConversation, LogRange};
use syncchat_store::suite::{World, new_conversation};

/// More than one batch of the migration.
const LONG: i64 = 1_203;

struct Older {
    anna: ObjectId,
    ben: ObjectId,
    cleo: ObjectId,
    /// Not a participant any more of what they have read.
    gone: ObjectId,
    private: ObjectId,
    same_pair: ObjectId,
    group: ObjectId,
    empty: ObjectId,
    numbered: ObjectId,
    long: ObjectId,
    nowhere: ObjectId,
}

fn at(seconds: i64) -> DateTime {
    DateTime::from_millis(1_600_000_000_000 + seconds * 1_000)
}

/// An id made that many seconds after the epoch of these tests, greater than those before it.
fn id_at(seconds: i64) -> ObjectId {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let seconds = (at(seconds).timestamp_millis() / 1_000) as u32;
    let random = ObjectId::new().bytes();
    let count = COUNTER.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&seconds.to_be_bytes());
    bytes[4..8].copy_from_slice(&count);
    bytes[8..].copy_from_slice(&random[8..]);
    ObjectId::from_bytes(bytes)
}

fn ids<const N: usize>() -> [ObjectId; N] {
    std::array::from_fn(|_| id_at(0))
}

async fn write_older(database: &Database) -> Older {
    let [anna, ben, cleo, gone] = ids();
    let [private, same_pair, group, empty, numbered, long, nowhere] = ids();
    let older = Older {
        anna,
        ben,
        cleo,
        gone,
        private,
        same_pair,
        group,
        empty,
        numbered,
        long,
        nowhere,
    };
    write_users(database, &older).await;
    write_conversations(database, &older).await;
    write_messages(database, &older).await;
    older
}

async fn write_users(database: &Database, older: &Older) {
    let user = |id: ObjectId, username: &str, email: &str| {
        doc! {
            "_id": id, "username": username, "email": email, "password": "$2b$10$old",
            "avatar": Bson::Null, "status": "offline", "lastSeen": at(9), "createdAt": at(0),
        }
    };
    let mut bare = doc! { "_id": older.gone, "username": "Gone", "password": "$2b$10$old" };
    bare.insert("email", Bson::Null);
    let users = [
        user(older.anna, "Anna", "Anna@Example.org"),
        user(older.ben, "ben", "ben@example.org"),
        user(older.cleo, "ANNA", "anna@example.org"),
        bare,
        doc! { "_id": id_at(0), "username": "no-address", "password": "$2b$10$old" },
    ];
    database
        .collection("users")
        .insert_many(users)
        .await
        .unwrap();
}

async fn write_conversations(database: &Database, older: &Older) {
    let pair = [older.anna, older.ben];
    let conversations = [
        doc! {
            "_id": older.private, "participants": pair, "type": "private",
            "lastMessage": { "content": "read", "sender": older.anna },
            "updatedAt": at(4), "createdAt": at(0),
        },
        doc! { "_id": older.same_pair, "participants": pair, "type": "private" },
        doc! {
            "_id": older.group, "participants": [older.anna, older.ben, older.cleo],
            "type": "group", "updatedAt": at(1), "createdAt": at(0),
        },
        doc! {
            "_id": older.empty, "participants": [older.anna], "type": "group",
            "lastMessage": Bson::Null, "updatedAt": at(7), "createdAt": at(7),
        },
        doc! {
            "_id": older.numbered, "participants": [older.anna, older.cleo], "type": "group",
            "updatedAt": at(1), "createdAt": at(0),
        },
        doc! {
            "_id": older.long, "participants": [older.anna, older.ben], "type": "group",
            "lastMessage": older.nowhere, "updatedAt": at(1), "createdAt": at(0),
        },
    ];
    database
        .collection("conversations")
        .insert_many(conversations)
        .await
        .unwrap();
}

fn message(conversation: ObjectId, sender: ObjectId, content: &str, seconds: i64) -> Document {
    doc! {
        "_id": id_at(50), "conversationId": conversation, "sender": sender,
        "content": content, "type": "text", "status": "sent", "readBy": [], "edited": false,
        "deleted": false, "createdAt": at(seconds), "updatedAt": at(seconds),
    }
}

fn with(mut message: Document, fields: Document) -> Document {
    message.extend(fields);
    message
}

async fn write_messages(database: &Database, older: &Older) {
    let (anna, ben, cleo) = (older.anna, older.ben, older.cleo);
    let mut messages = vec![
        // Not in the order of their times.
        with(
            message(older.private, anna, "delivered", 4),
            doc! { "status": "delivered" },
        ),
        message(older.private, ben, "first", 1),
        with(
            message(older.private, anna, "read", 2),
            doc! { "status": "read" },
        ),
        with(
            message(older.private, ben, "answer", 3),
            doc! { "status": "read", "readBy": [anna] },
        ),
        message(older.private, anna, "sent", 5),
        message(older.same_pair, anna, "again", 1),
        // Times that are equal: the ids decide.
        with(
            message(older.group, anna, "1", 1),
            doc! { "readBy": [ben, older.gone, anna] },
        ),
        with(message(older.group, anna, "2", 1), doc! { "readBy": [ben] }),
        with(
            message(older.group, ben, "3", 1),
            doc! { "status": "delivered", "edited": true },
        ),
        with(
            message(older.group, cleo, "4", 1),
            doc! { "deleted": true, "content": "" },
        ),
        // As little as there can be, and a date that is none.
        doc! { "_id": id_at(50), "conversationId": older.group, "sender": cleo,
        "content": "5", "readBy": Bson::Null, "createdAt": "2020-09-13T12:27:00Z" },
        doc! { "_id": id_at(50), "conversationId": older.group, "sender": cleo,
        "type": "text" },
        // Numbers that are there already, with a hole, and not in the order of their times.
        with(message(older.numbered, anna, "c", 1), doc! { "seq": 9 }),
        with(message(older.numbered, cleo, "a", 3), doc! { "seq": 2_i64 }),
        with(message(older.numbered, cleo, "b", 2), doc! { "seq": 3.0 }),
        // A conversation that nobody knows.
        message(older.nowhere, anna, "lost", 1),
        message(older.nowhere, anna, "and found", 2),
    ];
    for nth in 0..LONG {
        let kind = if nth % 10 == 9 { "system" } else { "text" };
        let content = nth.to_string();
        messages.push(with(
            message(older.long, ben, &content, nth),
            doc! { "type": kind },
        ));
    }
    database
        .collection("messages")
        .insert_many(messages)
        .await
        .unwrap();
}

/// Everything in the database, but for ids that are drawn anew each time.
async fn dump(database: &Database) -> Vec<(String, Document)> {
    let mut all = Vec::new();
    for name in ["users", "conversations", "messages", "members"] {
        let found = database
            .collection::<Document>(name)
            .find(doc! {})
            .sort(doc! { "conversationId": 1, "userId": 1, "_id": 1 })
            .await
            .unwrap();
        for mut document in found.try_collect::<Vec<_>>().await.unwrap() {
            if name == "members" {
                document.remove("_id");
            }
            all.push((name.to_owned(), document));
        }
    }
    all
}

async fn fresh() -> (Database, World, Older) {
    let mongod = crate::shared().await;
    let name = format!("older_{}", ObjectId::new());
    let database = mongod.database(&name).await;
    let older = write_older(&database).await;
    let store = syncchat_store::open(&mongod.url(&name)).await.unwrap();
    (database, World::new(store), older)
}

fn conversation(id: ObjectId) -> ConversationId {
    ConversationId::from_bytes(id.bytes())
}

fn user(id: ObjectId) -> UserId {
    UserId::from_bytes(id.bytes())
}

async fn contents(world: &World, id: ObjectId) -> Vec<String> {
    let log = world.log(conversation(id), LogRange::After(0)).await;
    let seqs: Vec<u64> = log.iter().map(|message| message.seq).collect();
    assert_eq!(seqs, (1..=log.len() as u64).collect::<Vec<_>>());
    log.into_iter()
        .map(|message: Message| message.content)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_database_is_taken_over() {
    let (database, world, older) = fresh().await;
    let before = dump(&database).await;
    let lines = world.store.migrate().await.unwrap();
    println!("{lines:#?}");
    assert_nothing_lost(&before, &dump(&database).await);

    assert_eq!(
        contents(&world, older.private).await,
        ["first", "read", "answer", "delivered", "sent"]
    );
    assert_eq!(contents(&world, older.same_pair).await, ["again"]);
    assert_eq!(
        contents(&world, older.group).await,
        ["1", "2", "3", "", "5", ""]
    );
    assert_eq!(contents(&world, older.empty).await, [""; 0]);
    assert_eq!(contents(&world, older.numbered).await, ["a", "b", "c"]);
    assert_eq!(contents(&world, older.nowhere).await, ["lost", "and found"]);
    check_long(&world, older.long).await;
    check_cursors(&world, &older).await;
    check_heads(&database, &world, &older).await;
    check_pairs(&world, &older, &lines).await;
    check_accounts(&world, &older, &lines).await;
    // And life goes on.
    world
        .say(conversation(older.private), user(older.ben), "new")
        .await;
    assert_eq!(contents(&world, older.private).await.last().unwrap(), "new");
    world.store.check().await.unwrap();
}

/// Every field is as it was, but for those that had no value and the cache of the last message.
fn assert_nothing_lost(before: &[(String, Document)], after: &[(String, Document)]) {
    for (name, old) in before {
        let id = old.get("_id");
        let same = after
            .iter()
            .find(|(n, new)| n == name && new.get("_id") == id);
        let (_, new) = same.unwrap_or_else(|| panic!("{name} {id:?} is gone"));
        for (field, value) in old {
            let may_change = match field.as_str() {
                "lastMessage" | "seq" => true,
                "createdAt" => value.as_datetime().is_none(),
                // To the newest message's, where that is newer.
                "updatedAt" => new.get_datetime(field).ok() >= value.as_datetime(),
                _ => value == &Bson::Null,
            };
            assert!(
                may_change || new.get(field) == Some(value),
                "{name}: {old} became {new}"
            );
        }
    }
}

async fn check_long(world: &World, id: ObjectId) {
    let id = conversation(id);
    let head = world.conversation(id).await;
    let systems = LONG as u64 / 10;
    assert_eq!(head.last_seq, LONG as u64);
    assert_eq!(head.last_ordinal, LONG as u64 - systems);
    let end = world.log(id, LogRange::After(LONG as u64 - 10)).await;
    let ends: Vec<i64> = end
        .iter()
        .map(|message| message.content.parse().unwrap())
        .collect();
    assert_eq!(ends, (LONG - 10..LONG).collect::<Vec<_>>());
    assert_eq!(end.last().unwrap().ordinal, head.last_ordinal);
}

async fn check_cursors(world: &World, older: &Older) {
    let cursors = async |who: ObjectId, id: ObjectId| {
        let found = world.membership(user(who), conversation(id)).await.unwrap();
        (found.read_seq, found.delivered_seq, found.spans.is_open())
    };
    // What the other one sent and is read, ben must have read.
    assert_eq!(cursors(older.ben, older.private).await, (2, 4, true));
    assert_eq!(cursors(older.anna, older.private).await, (3, 3, true));
    assert_eq!(cursors(older.ben, older.group).await, (2, 2, true));
    assert_eq!(cursors(older.anna, older.group).await, (1, 3, true));
    assert_eq!(cursors(older.cleo, older.group).await, (0, 3, true));
    assert_eq!(cursors(older.gone, older.group).await, (1, 1, false));
    let ids = [older.private, older.group, older.long].map(conversation);
    let unread = async |who| world.unread(user(who), &ids).await;
    let long = world.conversation(ids[2]).await.last_ordinal;
    assert_eq!(unread(older.ben).await, [2, 2, 0]);
    assert_eq!(unread(older.anna).await, [0, 3, long]);
    let readers = world.store.readers(ids[1], 1, 10).await.unwrap();
    assert_eq!(readers.len(), 3);
    let places = world.places(user(older.anna)).await;
    assert_eq!(places.len(), 6);
    let places = world.places(user(older.gone)).await;
    assert!(places.is_empty());
}

async fn check_heads(database: &Database, world: &World, older: &Older) {
    let list = world
        .store
        .conversations_of(user(older.anna), None, 10)
        .await;
    let list: Vec<ConversationId> = list.unwrap().iter().map(|found| found.id).collect();
    let expected = [
        older.long,
        // A message without a date is as old as its id.
        older.group,
        older.empty,
        older.private,
        older.numbered,
        older.same_pair,
    ];
    assert_eq!(list, expected.map(conversation));
    let raw = database.collection::<Document>("conversations");
    let head = raw
        .find_one(doc! { "_id": older.private })
        .await
        .unwrap()
        .unwrap();
    let last = world
        .log(conversation(older.private), LogRange::After(4))
        .await;
    assert_eq!(
        head.get_object_id("lastMessage").unwrap().bytes(),
        last[0].id.bytes()
    );
    assert_eq!(head.get_datetime("updatedAt").unwrap(), &at(5));
}

async fn check_pairs(world: &World, older: &Older, lines: &[String]) {
    let pair = [user(older.anna), user(older.ben)];
    let new = new_conversation(ConversationKind::Private, &pair);
    let made = world.store.create_conversation(new).await.unwrap();
    let CreatedConversation::Existing(made) = made else {
        panic!("{made:?}");
    };
    assert_eq!(made.id, conversation(older.private));
    let reported = older.same_pair.to_string();
    assert!(
        lines.iter().any(|line| line.contains(&reported)),
        "{lines:?}"
    );
}

async fn check_accounts(world: &World, older: &Older, lines: &[String]) {
    let logins = [
        ("Anna", older.anna),
        ("anna", older.anna),
        ("ANNA", older.cleo),
        ("Anna@Example.org", older.anna),
        ("anna@example.org", older.cleo),
        ("ANNA@EXAMPLE.ORG", older.anna),
        ("BEN", older.ben),
        ("gone", older.gone),
    ];
    for (login, id) in logins {
        let found = world.store.account_by_login(login).await.unwrap().unwrap();
        assert_eq!(found.user.id, user(id), "{login}");
    }
    let found = world.store.search_users("anna", 10).await.unwrap();
    assert_eq!(found.len(), 2);
    let reported = older.cleo.to_string();
    assert!(
        lines.iter().any(|line| line.contains(&reported)),
        "{lines:?}"
    );
    let taken = syncchat_store::suite::accounts::account("aNNa", "new@example.org");
    let answer = world.store.create_account(&taken).await.unwrap();
    assert_eq!(answer, AccountWrite::UsernameTaken);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taking_over_twice_changes_nothing() {
    let (database, world, _) = fresh().await;
    world.store.migrate().await.unwrap();
    let once = dump(&database).await;
    assert_eq!(world.store.migrate().await.unwrap(), Vec::<String>::new());
    assert_eq!(dump(&database).await, once);
}

/// Each time stopped somewhere else, until one run comes through: as if it had never been stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_takeover_goes_on_where_it_was_stopped() {
    let mongod = crate::shared().await;
    let (database, whole, _) = fresh().await;
    let copy_name = format!("older_{}", ObjectId::new());
    let copy = mongod.database(&copy_name).await;
    for (collection, document) in dump(&database).await {
        copy.collection(&collection)
            .insert_one(document)
            .await
            .unwrap();
    }
    whole.store.migrate().await.unwrap();

    let (mut stopped, mut time) = (0, Duration::from_millis(1));
    loop {
        // A new one each time, as after a restart.
        let store = syncchat_store::open(&mongod.url(&copy_name)).await.unwrap();
        match tokio::time::timeout(time, store.migrate()).await {
            Ok(done) => break drop(done.unwrap()),
            Err(_) => stopped += 1,
        }
        time += time / 5 + Duration::from_millis(1);
    }
    println!("stopped {stopped} times");
    assert!(stopped > 5);
    assert_eq!(dump(&copy).await, dump(&database).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_takeovers_at_once_are_one() {
    let (database, world, _) = fresh().await;
    let mongod = crate::shared().await;
    let second = syncchat_store::open(&mongod.url(database.name()))
        .await
        .unwrap();
    // The first to end takes the other one's index away, which that one may not survive.
    let (first, second) = tokio::join!(world.store.migrate(), second.migrate());
    first.or(second).unwrap();
    let once = dump(&database).await;
    world.store.migrate().await.unwrap();
    assert_eq!(dump(&database).await, once);
}
