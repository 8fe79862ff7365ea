//! A fleet of one process: what is said is heard at once, by the one listener there is.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::metrics::Counter;
use async_trait::async_trait;
use parking_lot::Mutex;
use syncchat_core::model::UserId;
use syncchat_core::ports::fleet::{Fleet, FleetEvent, FleetListener, Presence, Topic};
use syncchat_core::ports::limiter::{LimitKind, Limiter, LimiterRates};
use syncchat_core::ports::registry::Registry;

use crate::buckets::Buckets;
use crate::metrics;

/// The fleet, its presence and its limits, all in this process.
pub struct LocalFleet {
    listener: OnceLock<Arc<dyn FleetListener>>,
    /// Who is here, with how many devices; bounded by the connections of this node.
    devices: Mutex<HashMap<UserId, usize>>,
    buckets: Buckets,
    /// What was said and heard, looked up once: there is one of each for each contact of who comes.
    said: Counter,
    heard: Counter,
}

impl LocalFleet {
    /// Nobody listens, nobody is online, and every bucket is full.
    pub fn new(rates: LimiterRates) -> LocalFleet {
        ::metrics::gauge!(metrics::CONNECTED).set(1.0);
        let count = |direction| ::metrics::counter!(metrics::MESSAGES, "direction" => direction);
        LocalFleet {
            said: count("out"),
            heard: count("in"),
            listener: OnceLock::new(),
            devices: Mutex::default(),
            buckets: Buckets::new(rates),
        }
    }
}

#[async_trait]
impl Fleet for LocalFleet {
    fn listen(&self, listener: Arc<dyn FleetListener>) {
        if self.listener.set(listener).is_err() {
            tracing::error!("a second listener was set and is ignored");
        }
    }

    fn publish(&self, event: FleetEvent) {
        self.said.increment(1);
        // Before anybody listens nobody is connected, so there is nobody to miss it.
        if let Some(listener) = self.listener.get() {
            self.heard.increment(1);
            listener.on_event(&event);
        }
    }

    /// The listener hears everything anyway.
    async fn subscribe(&self, _topics: Vec<Topic>) {}

    fn unsubscribe(&self, _topics: Vec<Topic>) {}

    fn connected(&self) -> bool {
        true
    }

    async fn close(&self) {}

    async fn check(&self) -> Result<String, String> {
        Ok("one process".into())
    }

    fn kind(&self) -> &'static str {
        "local"
    }
}

#[async_trait]
impl Presence for LocalFleet {
    async fn arrive(&self, user: UserId) -> bool {
        let mut devices = self.devices.lock();
        let count = devices.entry(user).or_default();
        *count += 1;
        *count == 1
    }

    async fn leave(&self, user: UserId) -> bool {
        let mut devices = self.devices.lock();
        let Entry::Occupied(mut entry) = devices.entry(user) else {
            return false;
        };
        *entry.get_mut() -= 1;
        let last = *entry.get() == 0;
        if last {
            entry.remove();
        }
        last
    }

    async fn online(&self, users: &[UserId]) -> Vec<Option<bool>> {
        let devices = self.devices.lock();
        users
            .iter()
            .map(|user| Some(devices.contains_key(user)))
            .collect()
    }
}

#[async_trait]
impl Limiter for LocalFleet {
    async fn take(&self, kind: LimitKind, key: &str) -> Result<(), Duration> {
        self.buckets.take(kind, key).inspect_err(|_| refused(kind))
    }

    async fn peek(&self, kind: LimitKind, key: &str) -> Result<(), Duration> {
        self.buckets.peek(kind, key).inspect_err(|_| refused(kind))
    }
}

/// There is nobody to be found, and nobody who looks.
#[async_trait]
impl Registry for LocalFleet {
    async fn announce(&self, _name: &str, _address: SocketAddr) {}

    async fn find(&self, _name: &str) -> Option<SocketAddr> {
        None
    }

    async fn all(&self) -> Result<Vec<(String, SocketAddr)>, String> {
        Ok(Vec::new())
    }

    async fn withdraw(&self) {}
}

fn refused(kind: LimitKind) {
    ::metrics::counter!(metrics::RATE_LIMITED, "kind" => kind.as_str()).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncchat_core::model::ConversationId;

    #[derive(Default)]
    struct Heard(Mutex<Vec<u64>>);

    impl FleetListener for Heard {
        fn on_event(&self, event: &FleetEvent) {
            if let FleetEvent::Head { head, .. } = event {
                self.0.lock().push(*head);
            }
        }

        fn on_doubt(&self) {}
    }

    #[test]
    fn what_is_said_is_heard_in_order_before_publish_returns() {
        let fleet = LocalFleet::new(LimiterRates::OFF);
        let say = |head| {
            fleet.publish(FleetEvent::Head {
                conversation: ConversationId::generate(),
                head,
            });
        };
        say(0); // nobody listens yet
        let heard = Arc::new(Heard::default());
        fleet.listen(Arc::clone(&heard) as Arc<dyn FleetListener>);
        for head in 1..=3 {
            say(head);
            assert_eq!(heard.0.lock().last(), Some(&head));
        }
        assert_eq!(*heard.0.lock(), [1, 2, 3]);
    }

    #[tokio::test]
    async fn a_person_is_online_while_any_device_is() {
        let fleet = LocalFleet::new(LimiterRates::OFF);
        let (a, b) = (UserId::generate(), UserId::generate());
        assert!(fleet.arrive(a).await);
        assert!(!fleet.arrive(a).await);
        assert_eq!(fleet.online(&[b, a]).await, [Some(false), Some(true)]);
        assert!(!fleet.leave(a).await);
        assert!(fleet.leave(a).await);
        assert!(!fleet.leave(a).await, "once too often is harmless");
        assert_eq!(fleet.online(&[b, a]).await, [Some(false), Some(false)]);
        assert!(fleet.devices.lock().is_empty());
    }

    #[tokio::test]
    async fn limits_by_kind() {
        let fleet = LocalFleet::new(LimiterRates::default());
        for _ in 0..10 {
            assert_eq!(fleet.take(LimitKind::Logins, "a").await, Ok(()));
        }
        assert!(fleet.take(LimitKind::Logins, "a").await.is_err());
        assert!(fleet.peek(LimitKind::Logins, "a").await.is_err());
        assert_eq!(fleet.peek(LimitKind::Messages, "a").await, Ok(()));
    }
}
