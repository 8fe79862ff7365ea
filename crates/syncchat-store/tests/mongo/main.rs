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
mod faults;
mod support;
mod takeover;

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::oid::ObjectId;
use support::Mongod;
use syncchat_core::ports::store::Store;
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
async fn a_node_is_known_to_live_for_as_long_as_its_note_is_fresh() {
    let (store, ()) = open().await;
    let names = ["one", "other"].map(str::to_owned);
    let living = async |within| store.noted_alive(&names, within).await.unwrap();
    let minute = Duration::from_secs(60);
    assert!(living(minute).await.is_empty());
    store.note_alive("one").await.unwrap();
    assert_eq!(living(minute).await, ["one"]);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(living(Duration::from_millis(50)).await.is_empty());
    store.note_alive("one").await.unwrap();
    store.note_alive("other").await.unwrap();
    let mut both = living(minute).await;
    both.sort();
    assert_eq!(both, names);
}
