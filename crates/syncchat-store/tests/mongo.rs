//! The behaviour suite on a real mongod.

mod support;

use std::sync::Arc;

use mongodb::bson::oid::ObjectId;
use support::Mongod;
use syncchat_core::ports::store::Store;
use tokio::sync::OnceCell;

/// One mongod for all cases, each in a database of its own.
static MONGOD: OnceCell<Mongod> = OnceCell::const_new();

async fn open() -> (Arc<dyn Store>, ()) {
    let mongod = MONGOD.get_or_init(Mongod::start).await;
    let url = mongod.url(&format!("suite_{}", ObjectId::new()));
    let store = syncchat_store::open(&url).await.unwrap();
    assert!(!store.migrate().await.unwrap().is_empty());
    (store, ())
}

syncchat_store::behaviour_suite!(open);
