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
