//! Panics, and what they end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use syncchat_delivery::Config as DeliveryConfig;
use tokio::time::timeout;

use crate::node::{Node, Settings};

#[tokio::test]
async fn a_shard_that_panics_is_named() {
    let node = Node::with(Settings {
        delivery: DeliveryConfig {
            lingering_rooms: 0,
            ..DeliveryConfig::default()
        },
        ..Settings::default()
    })
    .await;
    let [ada, bob] = node.people(["ada", "bob"]).await;
    node.group(&ada, &[&bob]).await;
    let client = node.connect(&ada).await;
    let failed = timeout(Duration::from_millis(50), node.gateway.failed());
    assert!(failed.await.is_err(), "all is well");
    node.fleet.broken.store(true, Ordering::Relaxed);
    drop(client);
    let failed = timeout(Duration::from_secs(60), node.gateway.failed());
    assert_eq!(failed.await, Ok("shard"));
}
