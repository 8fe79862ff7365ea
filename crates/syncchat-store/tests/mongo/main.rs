//! MongoDB, on a real mongod: the behaviour suite, faults, and older databases.

// Helpers of tests report as tests do, by panicking.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

mod costs;
mod crowd;
mod deep;
mod faults;
mod support;
mod takeover;

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::oid::ObjectId;
use support::Mongod;
use syncchat_core::model::{PresenceStatus, Timestamp};
use syncchat_core::ports::store::{NodeNote, PresenceChange, Store};
use syncchat_store::suite::{World, people};
use tokio::sync::OnceCell;

/// One mongod for all cases that leave it alone, each in a database of its own.
static MONGOD: OnceCell<Mongod> = OnceCell::const_new();

async fn shared() -> &'static Mongod {
    MONGOD.get_or_init(Mongod::start).await
}

async fn open() -> (Arc<dyn Store>, ()) {
    let url = shared().await.url(&format!("suite_{}", ObjectId::new()));
    let store = syncchat_store::open(&url).await.unwrap();
    assert!(!store.migrate().await.unwrap().is_empty());
    (store, ())
}

syncchat_store::behaviour_suite!(open);

/// By the server's clock, which is that of all nodes.
#[tokio::test]
async fn a_node_is_known_by_its_note_for_as_long_as_that_is_fresh() {
    let (store, ()) = open().await;
    let minute = Duration::from_secs(60);
    let [ann, bob, eve] = people();
    let change = |user| PresenceChange {
        user,
        status: PresenceStatus::Online,
        at: Timestamp::from_millis(1_000),
    };
    let note = |process: &str, changes, people| NodeNote {
        process: process.into(),
        changes,
        people,
    };
    let noted = async |within| store.noted_nodes(within).await.unwrap();
    assert!(noted(minute).await.is_empty());
    let first = note(
        "one",
        vec![(7, change(ann))],
        vec![(0, vec![ann, bob]), (63, vec![eve])],
    );
    assert!(store.note_node(&first).await.unwrap(), "it is new");
    let found = noted(minute).await;
    assert_eq!((found.len(), found[0].process.as_str()), (1, "one"));
    assert_eq!(found[0].changes, [(7, change(ann))]);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let old = noted(Duration::from_millis(50)).await;
    assert!(old[0].changes.is_empty() && old[0].age >= Duration::from_millis(100));

    // A part that is not named stays.
    let later = note("one", Vec::new(), vec![(0, vec![bob])]);
    assert!(!store.note_node(&later).await.unwrap());
    assert!(
        store
            .note_node(&note("other", vec![], vec![]))
            .await
            .unwrap()
    );
    let there = async |parts: &[u8]| {
        let mut there = store.noted_people(parts, minute).await.unwrap();
        there.sort();
        there
    };
    let nobody = ("other".to_owned(), vec![]);
    assert_eq!(
        there(&[0]).await,
        [("one".into(), vec![bob]), nobody.clone()]
    );
    assert_eq!(there(&[5]).await, [("one".into(), vec![]), nobody]);

    assert_eq!(store.take_note("one", minute).await.unwrap(), None, "fresh");
    let taken = store.take_note("one", Duration::ZERO).await.unwrap();
    assert_eq!(taken, Some(vec![bob, eve]));
    assert_eq!(store.take_note("one", Duration::ZERO).await.unwrap(), None);
}

#[tokio::test]
async fn who_is_shown_online_can_be_asked() {
    let (store, ()) = open().await;
    let world = World::new(Arc::clone(&store));
    let mut users = Vec::new();
    for name in ["ann", "bob", "eve"] {
        let account = world.register(name, &format!("{name}@example.org")).await;
        users.push(account.user.id);
    }
    let [ann, _, eve] = users[..] else {
        unreachable!()
    };
    assert_eq!(store.shown_online(10).await.unwrap(), []);
    let change = |user, status| PresenceChange {
        user,
        status,
        at: Timestamp::from_millis(1_000),
    };
    let online = [ann, eve].map(|user| change(user, PresenceStatus::Online));
    store.set_presence(&online).await.unwrap();
    assert_eq!(store.shown_online(1).await.unwrap().len(), 1);
    let offline = change(ann, PresenceStatus::Offline);
    store.set_presence(&[offline]).await.unwrap();
    assert_eq!(store.shown_online(10).await.unwrap(), [eve]);
}
