//! SQLite: the behaviour suite, and a process that is killed again and again.

// Helpers of tests report as tests do, by panicking.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

mod crash;

use std::sync::Arc;

use syncchat_core::ports::store::Store;
use tempfile::TempDir;

async fn open() -> (Arc<dyn Store>, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/data/syncchat.db", dir.path().display());
    let store = syncchat_store::open(&url).await.unwrap();
    assert!(!store.migrate().await.unwrap().is_empty());
    (store, dir)
}

syncchat_store::behaviour_suite!(open);
