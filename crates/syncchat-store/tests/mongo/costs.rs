//! What calls read, as the server's profiler sees it: what they show, and not the whole log.

use futures_util::TryStreamExt;
use mongodb::Database;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, doc};
use syncchat_core::command::CursorKind;
use syncchat_core::model::{MessageId, Timestamp, UserId};
use syncchat_core::ports::store::{Append, Appended, LogRange};
use syncchat_store::suite::{World, named, one, people, text};

const LONG: u64 = 4_000;

/// The documents that this database's server has read since the last call of this.
async fn documents_read(database: &Database) -> u64 {
    let profile = database.collection::<Document>("system.profile");
    let entries: Vec<Document> = profile
        .find(doc! { "ns": { "$not": { "$regex": "system.profile" } } })
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let level = async |level: i32| {
        database
            .run_command(doc! { "profile": level })
            .await
            .unwrap();
    };
    level(0).await;
    profile.drop().await.unwrap();
    level(2).await;
    let read = |entry: &Document| match entry.get("docsExamined") {
        Some(Bson::Int32(read)) => *read as u64,
        Some(Bson::Int64(read)) => *read as u64,
        _ => 0,
    };
    entries.iter().map(read).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn costs_do_not_grow_with_the_log() {
    let mongod = crate::shared().await;
    let name = format!("costs_{}", ObjectId::new());
    let store = syncchat_store::open(&mongod.url(&name)).await.unwrap();
    store.migrate().await.unwrap();
    let database = mongod.database(&name).await;
    let world = World::new(store);
    let [anna, ben] = people();
    let id = world.group(&[anna, ben]).await;
    let head = world.conversation(id).await;
    let messages = (1..=LONG)
        .map(|nth| {
            let sender = if nth % 2 == 0 { anna } else { ben };
            named(text(&head, nth, sender, "x"), &nth.to_string()).into()
        })
        .collect();
    let append = Append {
        messages,
        ..one(text(&head, 1, anna, ""))
    };
    let appended = world.store.append(vec![append]).await.unwrap();
    assert_eq!(appended, [Appended::Committed]);
    for message in world.log(id, LogRange::After(LONG - 600)).await {
        if message.seq % 3 == 0 {
            let now = Timestamp::now();
            world.store.delete_message(message.id, now).await.unwrap();
        }
    }
    check(&world, &database, id, [anna, ben]).await;
}

async fn check(
    world: &World,
    database: &Database,
    id: syncchat_core::model::ConversationId,
    [anna, ben]: [UserId; 2],
) {
    let store = &world.store;
    let since = LogRange::Since(Timestamp::from_millis(1_000_000 + 1_000 * 3_000));
    let ranges = [LogRange::Before(u64::MAX), LogRange::After(2_000), since];
    documents_read(database).await;
    for range in ranges {
        let page = store.log(&[(id, range)], 50).await.unwrap();
        assert_eq!(page[0].len(), 50);
        let read = documents_read(database).await;
        assert!((50..=150).contains(&read), "{range:?} read {read}");
    }
    let places = store.memberships(anna, &[id]).await.unwrap();
    let read = documents_read(database).await;
    assert!((1..=4).contains(&read), "a place read {read}");
    let unread = store.unread(&places).await.unwrap();
    assert_eq!(unread, [LONG / 2 - 100]);
    let read = documents_read(database).await;
    assert_eq!(read, 0, "unread read {read}");

    world
        .advance(id, ben, CursorKind::Read, 3_999)
        .await
        .unwrap();
    let read = documents_read(database).await;
    assert!((1..=6).contains(&read), "advance read {read}");

    let mark = store.marks(&[id]).await.unwrap().remove(0);
    let read = documents_read(database).await;
    assert_eq!(read, 1, "a mark read {read}");
    let after = [(id, mark.change_seq - 10)];
    let changed = store.changes(&after, 50).await.unwrap();
    assert_eq!(changed[0].len(), 10);
    let read = documents_read(database).await;
    assert!((10..=20).contains(&read), "changes read {read}");
    let edited = store.edit_message(MessageId::generate(), String::new(), Timestamp::now());
    assert_eq!(edited.await.unwrap(), None);

    world.say(id, anna, "one more").await;
    documents_read(database).await;
    let head = world.conversation(id).await;
    documents_read(database).await;
    let append = one(named(text(&head, 1, anna, "and another"), "last"));
    store.append(vec![append]).await.unwrap();
    let read = documents_read(database).await;
    assert!((1..=2).contains(&read), "append read {read}");

    let key = (id, anna, "last".to_owned());
    assert_eq!(store.messages_by_client_id(&[key]).await.unwrap().len(), 1);
    let read = documents_read(database).await;
    assert_eq!(read, 1, "a resend read {read}");
}
