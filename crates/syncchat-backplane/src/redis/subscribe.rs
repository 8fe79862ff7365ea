//! What this node wants to hear. The wanted topics are the truth here; Redis is brought in line with
//! them in batches, and again from nothing after each reconnect.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use fred::error::Error;
use fred::interfaces::{ClientLike, ClusterInterface, EventInterface, PubsubInterface};
use fred::types::{Message, Value};
use parking_lot::Mutex;
use syncchat_core::ports::fleet::{FleetListener, Topic};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::channels::{self, Audience};
use super::link::{Layout, Link};
use super::pulse::Pulse;
use crate::envelope;
use crate::limits::{COMMAND_TIMEOUT, RESUBSCRIBE_DELAY, SILENCE_CHECK, SUBSCRIBE_BATCH_MAX};
use crate::metrics;

/// Wanted topics, and the tasks that bring Redis in line with them and hand on what comes.
pub(crate) struct Subscriptions {
    link: Arc<Link>,
    pulse: Arc<Pulse>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// Bounded by what the node's own connections are interested in.
    wanted: HashSet<Topic>,
    /// What Redis has confirmed on the present connection.
    held: HashSet<Topic>,
    /// Where the two may differ.
    dirty: HashSet<Topic>,
    /// Who waits for a confirmation.
    waiting: Vec<oneshot::Sender<()>>,
}

/// What Redis is to be told next.
struct Change {
    subscribe: Vec<Topic>,
    unsubscribe: Vec<Topic>,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Subscriptions {
    /// Starts the tasks.
    pub(crate) fn start(
        link: Arc<Link>,
        pulse: Arc<Pulse>,
        listener: Arc<OnceLock<Arc<dyn FleetListener>>>,
    ) -> Arc<Subscriptions> {
        let subscriptions = Arc::new(Subscriptions {
            link,
            pulse,
            state: Mutex::default(),
            changed: Notify::new(),
        });
        let messages = subscriptions.link.listening.message_rx();
        let supervisor = &subscriptions.link.supervisor;
        let hearing = hear(subscriptions.clone(), messages, listener);
        supervisor.spawn("redis listener", hearing);
        supervisor.spawn("redis subscriptions", subscriptions.clone().keep());
        subscriptions
    }

    /// Wants topics; returns when Redis has confirmed, or at once while it is away.
    pub(crate) async fn subscribe(&self, topics: Vec<Topic>) {
        let (confirmed, confirmation) = oneshot::channel();
        {
            let mut state = self.state.lock();
            for topic in topics {
                state.wanted.insert(topic);
                state.dirty.insert(topic);
            }
            if !self.link.is_up() {
                return;
            }
            state.waiting.push(confirmed);
        }
        self.changed.notify_one();
        // An error means that the connection went: a reconnect brings a doubt with it.
        let _ = confirmation.await;
    }

    /// Wants topics no more.
    pub(crate) fn unsubscribe(&self, topics: Vec<Topic>) {
        let mut state = self.state.lock();
        for topic in topics {
            state.wanted.remove(&topic);
            state.dirty.insert(topic);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Keeps Redis in line, for ever.
    async fn keep(self: Arc<Self>) {
        let mut reconnected = self.link.listening.reconnect_rx();
        let mut looks = interval(SILENCE_CHECK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if self.link.listening.wait_for_connect().await.is_err() {
                self.away();
                sleep(RESUBSCRIBE_DELAY).await;
                continue;
            }
            while reconnected.try_recv().is_ok() {}
            let layout = self.link.layout();
            self.state.lock().start_over();
            if let Err(error) = self.begin().await {
                tracing::warn!(%error, "redis did not take the subscriptions");
                self.away();
                sleep(RESUBSCRIBE_DELAY).await;
                continue;
            }
            // What was missed while away is found by comparing heads, once all is heard again.
            self.pulse.has_joined();
            loop {
                tokio::select! {
                    () = self.changed.notified() => {}
                    _ = reconnected.recv() => break,
                    _ = looks.tick() => {
                        if !self.link.listening.is_connected() || self.has_moved(&layout).await {
                            break;
                        }
                    }
                }
                if self.align().await.is_err() {
                    break;
                }
            }
            self.away();
        }
    }

    /// Subscribes to everything, on a connection that holds nothing.
    async fn begin(&self) -> Result<(), Error> {
        let tags = self.link.tags();
        let nodes = tags.into_iter().map(channels::of_nodes);
        for channel in nodes.chain([channels::of_process(self.link.process)]) {
            if self.link.sharded {
                self.link.listening.ssubscribe(channel).await?;
            } else {
                self.link.listening.subscribe(channel).await?;
            }
        }
        self.align().await
    }

    /// Slots of a cluster have moved: what was subscribed to may be on another server now.
    async fn has_moved(&self, layout: &Layout) -> bool {
        if !self.link.sharded || self.link.layout() == *layout {
            return false;
        }
        tracing::info!("the redis cluster has a new layout");
        let synced = timeout(COMMAND_TIMEOUT, self.link.listening.sync_cluster()).await;
        if !matches!(synced, Ok(Ok(()))) {
            tracing::debug!("the listening connection did not follow the layout");
        }
        true
    }

    /// Nobody is kept waiting for a Redis that is away.
    fn away(&self) {
        self.pulse.has_left();
        self.state.lock().waiting.clear();
    }

    /// Tells Redis what has changed, until nothing has.
    async fn align(&self) -> Result<(), Error> {
        loop {
            let Some(change) = self.state.lock().next() else {
                return Ok(());
            };
            for batch in batches(&change.subscribe) {
                self.tell(batch, true).await?;
            }
            for batch in batches(&change.unsubscribe) {
                self.tell(batch, false).await?;
            }
            if !self.link.sharded && !change.subscribe.is_empty() {
                // The client does not wait for the confirmation of a subscription. What is answered
                // after it was taken after it.
                self.link.listening.ping::<Value>(None).await?;
            }
            for waiting in change.waiting {
                // Whoever waited may have given up.
                let _ = waiting.send(());
            }
        }
    }

    async fn tell(&self, topics: Vec<Topic>, subscribe: bool) -> Result<(), Error> {
        let client = &self.link.listening;
        let channels: Vec<String> = topics
            .iter()
            .map(|topic| channels::channel(*topic))
            .collect();
        match (subscribe, self.link.sharded) {
            (true, true) => client.ssubscribe(channels).await?,
            (true, false) => client.subscribe(channels).await?,
            (false, true) => client.sunsubscribe(channels).await?,
            (false, false) => client.unsubscribe(channels).await?,
        }
        let mut state = self.state.lock();
        for topic in topics {
            if subscribe {
                state.held.insert(topic);
            } else {
                state.held.remove(&topic);
            }
        }
        Ok(())
    }
}

impl State {
    /// A new connection holds nothing yet.
    fn start_over(&mut self) {
        self.held.clear();
        self.dirty = self.wanted.clone();
    }

    fn next(&mut self) -> Option<Change> {
        if self.dirty.is_empty() && self.waiting.is_empty() {
            return None;
        }
        let dirty = std::mem::take(&mut self.dirty);
        let (wanted, unwanted): (Vec<Topic>, Vec<Topic>) = dirty
            .into_iter()
            .partition(|topic| self.wanted.contains(topic));
        Some(Change {
            subscribe: wanted
                .into_iter()
                .filter(|topic| !self.held.contains(topic))
                .collect(),
            unsubscribe: unwanted
                .into_iter()
                .filter(|topic| self.held.contains(topic))
                .collect(),
            waiting: std::mem::take(&mut self.waiting),
        })
    }
}

/// Topics of one hash tag each, a bounded number at a time.
fn batches(topics: &[Topic]) -> Vec<Vec<Topic>> {
    let mut by_tag: HashMap<u32, Vec<Topic>> = HashMap::new();
    for topic in topics {
        by_tag
            .entry(channels::tag(*topic))
            .or_default()
            .push(*topic);
    }
    by_tag
        .into_values()
        .flat_map(|topics| {
            topics
                .chunks(SUBSCRIBE_BATCH_MAX)
                .map(<[Topic]>::to_vec)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Hands on what comes, for ever.
async fn hear(
    subscriptions: Arc<Subscriptions>,
    mut messages: broadcast::Receiver<Message>,
    listener: Arc<OnceLock<Arc<dyn FleetListener>>>,
) {
    let (pulse, process) = (&subscriptions.pulse, subscriptions.link.process);
    loop {
        let message = match messages.recv().await {
            Ok(message) => message,
            Err(RecvError::Lagged(count)) => {
                ::metrics::counter!(metrics::HEARD_LOST, "cause" => "lagged").increment(count);
                pulse.has_missed();
                continue;
            }
            Err(RecvError::Closed) => return,
        };
        let Some(bytes) = message.value.as_bytes() else {
            continue;
        };
        match channels::audience(&message.channel) {
            Some(Audience::Topic) => hear_event(process, bytes, pulse, &listener),
            Some(audience) => pulse.hear(&audience, bytes),
            None => {}
        }
    }
}

fn hear_event(
    process: u64,
    bytes: &[u8],
    pulse: &Pulse,
    listener: &OnceLock<Arc<dyn FleetListener>>,
) {
    match envelope::decode(process, bytes) {
        Ok(Some(event)) => {
            ::metrics::counter!(metrics::MESSAGES, "direction" => "in").increment(1);
            if let Some(listener) = listener.get() {
                listener.on_event(&event);
            }
        }
        Ok(None) => {}
        Err(error) => {
            ::metrics::counter!(metrics::HEARD_LOST, "cause" => "undecodable").increment(1);
            pulse.heard_unknown();
            tracing::warn!(%error, "something else was said on a channel of ours");
        }
    }
}
