//! A database that was damaged, or copied at more than one moment, and one whose deleted messages still
//! hold their text.

use std::collections::BTreeSet;
use std::sync::Arc;

use mongodb::Database;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{DateTime, Document, doc};
use syncchat_core::model::{Attachment, ConversationId, FileId, SystemEvent, UserId};
use syncchat_core::ports::store::{Appended, DeepFinding, Flaw, LogRange};
use syncchat_store::suite::{World, one, people, text};

async fn fresh() -> (Database, World) {
    let mongod = crate::shared().await;
    let name = format!("deep_{}", ObjectId::new());
    let store = syncchat_store::open(&mongod.url(&name)).await.unwrap();
    store.migrate().await.unwrap();
    (mongod.database(&name).await, World::new(store))
}

fn oid(bytes: [u8; 12]) -> ObjectId {
    ObjectId::from_bytes(bytes)
}

fn counts(findings: Vec<DeepFinding>) -> Vec<(Flaw, u64, u64)> {
    let flawed = findings.into_iter().filter(|finding| finding.found > 0);
    flawed.map(|f| (f.flaw, f.found, f.repaired)).collect()
}

/// A log in which cleo comes and ben goes after the first message, and the database with a head, and
/// members, from before that.
async fn set_back(database: &Database, world: &World) -> (ConversationId, [UserId; 3]) {
    let [anna, ben, cleo] = people();
    let id = world.group(&[anna, ben]).await;
    world.say(id, anna, "first").await;
    let conversations = database.collection::<Document>("conversations");
    let members = database.collection::<Document>("members");
    let key = doc! { "_id": oid(id.bytes()) };
    let before = conversations.find_one(key.clone()).await.unwrap().unwrap();
    let of_ben = doc! { "conversationId": oid(id.bytes()), "userId": oid(ben.bytes()) };
    let ben_before = members.find_one(of_ben.clone()).await.unwrap().unwrap();
    let added = SystemEvent::Added {
        by: anna,
        user: cleo,
    };
    world.change(id, anna, added).await;
    let removed = SystemEvent::Removed {
        by: anna,
        user: ben,
    };
    world.change(id, anna, removed).await;
    world.say(id, cleo, "last").await;
    conversations.replace_one(key, before).await.unwrap();
    members.replace_one(of_ben, ben_before).await.unwrap();
    let of_cleo = doc! { "conversationId": oid(id.bytes()), "userId": oid(cleo.bytes()) };
    members.delete_one(of_cleo).await.unwrap();
    (id, [anna, ben, cleo])
}

async fn is_as_the_log_says(world: &World, id: ConversationId, people: [UserId; 3]) {
    let [anna, ben, cleo] = people;
    let conversation = world.conversation(id).await;
    let there: BTreeSet<UserId> = conversation.participants.iter().copied().collect();
    assert_eq!(there, BTreeSet::from([anna, cleo]));
    let gone = world.membership(ben, id).await.unwrap();
    assert_eq!(gone.spans.parts(), [(1, Some(3))]);
    assert!(
        world
            .membership(cleo, id)
            .await
            .unwrap()
            .visible()
            .is_some()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_to_a_head_behind_its_log_raises_it() {
    let (database, world) = fresh().await;
    for behind in [false, true] {
        let (id, people) = set_back(&database, &world).await;
        let head = world.conversation(id).await;
        assert_eq!(head.last_seq, 1);
        let append = one(text(&head, 1, people[0], "taken"));
        let answer = match behind {
            true => world.store.append_behind(append).await.unwrap(),
            false => world.store.append(vec![append]).await.unwrap().remove(0),
        };
        assert_eq!(answer, Appended::Moved);
        assert_eq!(world.conversation(id).await.last_seq, 4);
        is_as_the_log_says(&world, id, people).await;
        world.say(id, people[2], "on").await;
        assert_eq!(world.log(id, LogRange::After(0)).await.len(), 5);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deep_check_finds_and_mends() {
    let (database, world) = fresh().await;
    let sound = world.store.check_deep(false).await.unwrap();
    assert_eq!(counts(sound), []);
    let (id, people) = set_back(&database, &world).await;
    // In another conversation: a member without a row, one with half a row and one beyond the end; a
    // message with a file that nothing claims; one that is only marked as deleted.
    let [dora, emil, fritz] = syncchat_store::suite::people();
    let other = world.group(&[dora, emil, fritz]).await;
    let file = FileId::generate();
    let shown = Attachment {
        file,
        name: "a".into(),
        size: 1,
        content_type: "text/plain".into(),
    };
    let appended = world.append(other, |head| {
        let mut message = text(head, 1, dora, "look");
        message.attachments = vec![shown.clone()];
        one(message)
    });
    assert_eq!(appended.await, Appended::Committed);
    let gone = world.say(other, dora, "taken back").await;
    let messages = database.collection::<Document>("messages");
    let key = doc! { "_id": oid(gone.id.bytes()) };
    let marked = doc! { "$set": { "deleted": true } };
    messages.update_one(key, marked).await.unwrap();
    let members = database.collection::<Document>("members");
    let of =
        |user: UserId| doc! { "conversationId": oid(other.bytes()), "userId": oid(user.bytes()) };
    members.delete_one(of(dora)).await.unwrap();
    let half = doc! { "$unset": { "readSeq": "", "readOrdinal": "" } };
    members.update_one(of(emil), half).await.unwrap();
    let beyond = doc! { "$set": { "readSeq": 9_i64 } };
    members.update_one(of(fritz), beyond).await.unwrap();
    database
        .collection::<Document>("files")
        .drop_index("dueAt")
        .await
        .unwrap();
    // Nobody is shown it, mended or not.
    let log = world.log(other, LogRange::After(1)).await;
    assert!(log[0].deleted && log[0].content.is_empty());

    let flaws = [
        (Flaw::HeadBehindLog, 1),
        (Flaw::CursorsMissing, 3),
        (Flaw::FileUnclaimed, 1),
        (Flaw::IndexMissing, 1),
        (Flaw::DeletedWithText, 1),
    ];
    for repair in [false, true] {
        let found = counts(world.store.check_deep(repair).await.unwrap());
        let expected = flaws.map(|(flaw, found)| (flaw, found, u64::from(repair) * found));
        assert_eq!(found, expected);
    }
    assert_eq!(counts(world.store.check_deep(true).await.unwrap()), []);
    is_as_the_log_says(&world, id, people).await;
    for user in [dora, emil, fritz] {
        let place = world.membership(user, other).await.unwrap();
        assert!(
            place.visible().is_some() && place.read_seq <= 2,
            "{place:?}"
        );
    }
    let kept = world.store.files(&[file]).await.unwrap().remove(0);
    assert_eq!(kept.claims.len(), 1);

    // What is gone cannot be brought back.
    let last = doc! { "conversationId": oid(id.bytes()), "seq": 4_i64 };
    messages.delete_one(last).await.unwrap();
    let beyond = counts(world.store.check_deep(true).await.unwrap());
    assert_eq!(beyond, [(Flaw::HeadBeyondLog, 1, 0)]);
}

/// As an older deployment wrote it: marked, and all still there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_older_deployment_only_marked_as_deleted_loses_its_text() {
    let mongod = crate::shared().await;
    let name = format!("deleted_{}", ObjectId::new());
    let database = mongod.database(&name).await;
    let [room, ann, bob] = std::array::from_fn(|_| ObjectId::new());
    let at = DateTime::from_millis(1_600_000_000_000);
    let conversation = doc! { "_id": room, "participants": [ann, bob], "type": "group",
    "createdAt": at, "updatedAt": at };
    let conversations = database.collection::<Document>("conversations");
    conversations.insert_one(conversation).await.unwrap();
    let message = |nth: i64| {
        doc! { "_id": ObjectId::new(), "conversationId": room, "sender": ann, "type": "text",
        "content": format!("text {nth}"), "status": "sent", "readBy": [], "edited": false,
        "deleted": nth % 2 == 1, "createdAt": DateTime::from_millis(1_600_000_000_000 + nth),
        "updatedAt": at }
    };
    let messages = database.collection::<Document>("messages");
    messages.insert_many((0..24).map(message)).await.unwrap();
    let store = syncchat_store::open(&mongod.url(&name)).await.unwrap();
    let lines = store.migrate().await.unwrap();
    assert!(
        lines.contains(&"12 deleted messages emptied".to_owned()),
        "{lines:?}"
    );
    assert_eq!(store.migrate().await.unwrap(), Vec::<String>::new());
    let world = World::new(Arc::clone(&store));
    let id = ConversationId::from_bytes(room.bytes());
    for message in world.log(id, LogRange::After(0)).await {
        assert_eq!(message.deleted, message.content.is_empty(), "{message:?}");
    }
    let with_text = doc! { "deleted": true, "content": { "$ne": "" } };
    assert_eq!(messages.count_documents(with_text).await.unwrap(), 0);
}
