//! A fleet on Redis: pub/sub for what is said, leases for who is there, scripts for limits.
//!
//! Redis is asked for nothing that the promise rests on. While it is away every call here ends at
//! once or within [`crate::limits::COMMAND_TIMEOUT`]: this node's own listeners are served before
//! and without it, and the gateway compares heads with the store instead.
//!
//! **Cost per message**: one PUBLISH (SPUBLISH in a cluster) by the node that committed it, and one
//! delivery by Redis to each node that has a member of the conversation connected; nothing to the
//! others.
//!
//! Read in this order: [`RedisFleet::connect`], `publish`, `subscribe`, `pulse`, `peers`, `notices`,
//! `presence`, `notes`, `buckets`, `registry`.

mod buckets;
mod channels;
mod link;
mod notes;
mod notices;
mod peers;
mod presence;
mod publish;
mod pulse;
mod registry;
mod signal;
mod subscribe;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use syncchat_core::Supervisor;
use syncchat_core::model::UserId;
use syncchat_core::ports::fleet::{Fleet, FleetEvent, FleetListener, Presence, Topic};
use syncchat_core::ports::limiter::{LimitKind, Limiter, LimiterRates};
use syncchat_core::ports::registry::Registry;
use syncchat_core::ports::store::{NodeStore, PresenceChange};

use self::buckets::SharedBuckets;
use self::link::Link;
use self::notices::Notices;
use self::presence::Leases;
use self::publish::Publisher;
use self::pulse::Pulse;
use self::registry::Gateways;
use self::subscribe::Subscriptions;
use crate::limits::GOODBYE_TIMEOUT;
use crate::metrics;

/// One node's face to a fleet on Redis.
pub struct RedisFleet {
    listener: Arc<OnceLock<Arc<dyn FleetListener>>>,
    link: Arc<Link>,
    publisher: Publisher,
    pulse: Arc<Pulse>,
    subscriptions: Arc<Subscriptions>,
    leases: Arc<Leases>,
    buckets: SharedBuckets,
    gateways: Arc<Gateways>,
    supervisor: Supervisor,
}

impl RedisFleet {
    /// Begins to connect, and returns at once: a fleet without Redis is slower, not broken.
    ///
    /// # Errors
    /// The address cannot be read. The text holds no credentials.
    pub fn connect(url: &str, rates: LimiterRates, node_id: &str) -> Result<RedisFleet, String> {
        let supervisor = Supervisor::new();
        let link = Link::open(url, supervisor.clone())?;
        let listener = Arc::new(OnceLock::new());
        let notices = Arc::new(Notices::default());
        let pulse = Pulse::start(link.clone(), node_id, notices.clone(), listener.clone());
        let subscriptions = Subscriptions::start(link.clone(), pulse.clone(), listener.clone());
        let leases = Leases::start(link.clone(), pulse.clone(), node_id);
        Ok(RedisFleet {
            supervisor,
            publisher: Publisher::start(link.clone(), notices),
            pulse,
            buckets: SharedBuckets::new(link.clone(), rates),
            gateways: Gateways::new(link.clone()),
            listener,
            link,
            subscriptions,
            leases,
        })
    }
}

#[async_trait]
impl Fleet for RedisFleet {
    fn listen(&self, listener: Arc<dyn FleetListener>) {
        if self.listener.set(listener).is_err() {
            tracing::error!("a second listener was set and is ignored");
        }
    }

    fn publish(&self, event: FleetEvent) {
        // This node first: its people do not wait for Redis, and need it not.
        if let Some(listener) = self.listener.get() {
            listener.on_event(&event);
        }
        self.publisher.publish(event);
    }

    async fn subscribe(&self, topics: Vec<Topic>) {
        self.subscriptions.subscribe(topics).await;
    }

    fn unsubscribe(&self, topics: Vec<Topic>) {
        self.subscriptions.unsubscribe(topics);
    }

    fn connected(&self) -> bool {
        self.pulse.is_whole()
    }

    async fn close(&self) {
        let closing = async {
            self.publisher.flush().await;
            self.leases.end().await;
            self.pulse.say_goodbye().await;
        };
        if tokio::time::timeout(GOODBYE_TIMEOUT, closing)
            .await
            .is_err()
        {
            tracing::debug!("redis did not take the last words in time");
        }
    }

    async fn failed(&self) -> &'static str {
        self.supervisor.failed().await
    }

    async fn check(&self) -> Result<String, String> {
        self.link.check().await
    }

    fn kind(&self) -> &'static str {
        "redis"
    }
}

#[async_trait]
impl Presence for RedisFleet {
    fn note_in(&self, store: Arc<dyn NodeStore>) {
        self.leases.note_in(store);
    }

    fn note_changes(&self, changes: &[PresenceChange]) {
        self.leases.note_changes(changes);
    }

    async fn noted(&self) -> Vec<PresenceChange> {
        self.leases.noted().await
    }

    async fn arrive(&self, user: UserId) -> bool {
        self.leases.arrive(user).await
    }

    async fn leave(&self, user: UserId) -> bool {
        self.leases.leave(user).await
    }

    async fn online(&self, users: &[UserId]) -> Vec<Option<bool>> {
        self.leases.online(users).await
    }

    async fn departed(&self) -> Vec<UserId> {
        self.leases.departed().await
    }

    async fn mistaken(&self) -> Vec<UserId> {
        self.leases.mistaken()
    }
}

#[async_trait]
impl Limiter for RedisFleet {
    async fn take(&self, kind: LimitKind, key: &str) -> Result<(), Duration> {
        let taken = self.buckets.ask(kind, key, 1).await;
        taken.inspect_err(|_| {
            ::metrics::counter!(metrics::RATE_LIMITED, "kind" => kind.as_str()).increment(1);
        })
    }

    async fn peek(&self, kind: LimitKind, key: &str) -> Result<(), Duration> {
        let there = self.buckets.ask(kind, key, 0).await;
        there.inspect_err(|_| {
            ::metrics::counter!(metrics::RATE_LIMITED, "kind" => kind.as_str()).increment(1);
        })
    }
}

#[async_trait]
impl Registry for RedisFleet {
    async fn announce(&self, name: &str, address: SocketAddr) {
        self.gateways.announce(name, address).await;
    }

    async fn find(&self, name: &str) -> Option<SocketAddr> {
        self.gateways.find(name).await
    }

    async fn all(&self) -> Result<Vec<(String, SocketAddr)>, String> {
        self.gateways.all().await
    }

    async fn withdraw(&self) {
        self.gateways.withdraw().await;
    }
}
