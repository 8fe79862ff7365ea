//! What this node wants to hear. The wanted topics are the truth here; Redis is brought in line with
//! them in batches, and again from nothing after each reconnect.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use fred::error::Error;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::Message;
use parking_lot::Mutex;
use syncchat_core::ports::fleet::{FleetListener, Topic};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast, oneshot};
use tokio::time::{interval, sleep};

use super::channels;
use super::link::Link;
use crate::envelope;
use crate::limits::{HEARTBEAT, RESUBSCRIBE_DELAY, SUBSCRIBE_BATCH_MAX};
use crate::metrics;

/// Wanted topics, and the tasks that bring Redis in line with them and hand on what comes.
pub(crate) struct Subscriptions {
    link: Arc<Link>,
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
        listener: Arc<OnceLock<Arc<dyn FleetListener>>>,
    ) -> Arc<Subscriptions> {
        let subscriptions = Arc::new(Subscriptions {
            link,
            state: Mutex::default(),
            changed: Notify::new(),
        });
        let messages = subscriptions.link.listening.message_rx();
        tokio::spawn(hear(subscriptions.link.process, messages, listener.clone()));
        tokio::spawn(subscriptions.clone().keep(listener));
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
    async fn keep(self: Arc<Self>, listener: Arc<OnceLock<Arc<dyn FleetListener>>>) {
        let mut reconnected = self.link.listening.reconnect_rx();
        let mut heartbeat = interval(HEARTBEAT);
        loop {
            if self.link.listening.wait_for_connect().await.is_err() {
                self.away();
                sleep(RESUBSCRIBE_DELAY).await;
                continue;
            }
            // What was missed while away is found by comparing heads, once all is heard again.
            while reconnected.try_recv().is_ok() {}
            self.state.lock().start_over();
            if let Err(error) = self.align().await {
                tracing::warn!(%error, "redis did not take the subscriptions");
                self.away();
                sleep(RESUBSCRIBE_DELAY).await;
                continue;
            }
            self.link.set_up(true);
            if let Some(listener) = listener.get() {
                listener.on_doubt();
            }
            loop {
                tokio::select! {
                    () = self.changed.notified() => {}
                    _ = reconnected.recv() => break,
                    _ = heartbeat.tick() => {
                        if !self.link.listening.is_connected() {
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

    /// Nobody is kept waiting for a Redis that is away.
    fn away(&self) {
        self.link.set_up(false);
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
    process: u64,
    mut messages: broadcast::Receiver<Message>,
    listener: Arc<OnceLock<Arc<dyn FleetListener>>>,
) {
    loop {
        let message = match messages.recv().await {
            Ok(message) => message,
            Err(RecvError::Lagged(count)) => {
                ::metrics::counter!(metrics::HEARD_LOST, "cause" => "lagged").increment(count);
                if let Some(listener) = listener.get() {
                    listener.on_doubt();
                }
                continue;
            }
            Err(RecvError::Closed) => return,
        };
        let Some(bytes) = message.value.as_bytes() else {
            continue;
        };
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
                tracing::warn!(%error, "something else was said on a channel of ours");
            }
        }
    }
}
