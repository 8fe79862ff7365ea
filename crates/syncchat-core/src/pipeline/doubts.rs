//! Writes whose outcome is unknown may land after all. Nobody was told of them, so the heads of
//! their conversations are watched for a while, and the fleet is told where one has grown.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::deadline::read;
use crate::limits::{DOUBT_INTERVAL, DOUBT_SPAN, DOUBTS_MAX, DOUBTS_READ_MAX};
use crate::metrics;
use crate::model::{ConversationId, Seq};
use crate::ports::fleet::{Fleet, FleetEvent};
use crate::ports::store::Store;

/// Conversations that are watched.
pub(crate) struct Doubts {
    store: Arc<dyn Store>,
    fleet: Arc<dyn Fleet>,
    watched: Mutex<Watched>,
}

struct Watched {
    doubts: HashMap<ConversationId, Doubt>,
    /// Whether somebody looks.
    looking: bool,
    /// Before the next look but one.
    wait: Duration,
}

struct Doubt {
    /// The newest `seq` the fleet was told of.
    known: Seq,
    since: Instant,
}

impl Doubts {
    pub(crate) fn new(store: Arc<dyn Store>, fleet: Arc<dyn Fleet>) -> Arc<Doubts> {
        Arc::new(Doubts {
            store,
            fleet,
            watched: Mutex::new(Watched {
                doubts: HashMap::new(),
                looking: false,
                wait: DOUBT_INTERVAL.0,
            }),
        })
    }

    /// Watches a conversation in which something beyond `known` may land.
    pub(crate) fn watch(self: &Arc<Self>, conversation: ConversationId, known: Seq) {
        let mut watched = self.watched.lock();
        let Watched { doubts, .. } = &mut *watched;
        if doubts.len() >= DOUBTS_MAX && !doubts.contains_key(&conversation) {
            metrics::doubt_dropped();
            return;
        }
        let since = Instant::now();
        doubts
            .entry(conversation)
            .and_modify(|doubt| doubt.since = since)
            .or_insert(Doubt { known, since });
        watched.wait = DOUBT_INTERVAL.0;
        if !watched.looking {
            watched.looking = true;
            tokio::spawn(Arc::clone(self).look_while_in_doubt());
        }
    }

    async fn look_while_in_doubt(self: Arc<Self>) {
        loop {
            let wait = {
                let mut watched = self.watched.lock();
                if watched.doubts.is_empty() {
                    watched.looking = false;
                    return;
                }
                let wait = watched.wait;
                watched.wait = (wait * 2).min(DOUBT_INTERVAL.1);
                wait
            };
            tokio::time::sleep(wait).await;
            self.look().await;
        }
    }

    /// Compares all heads once. Who has been watched for long enough, and was seen now, is let go.
    async fn look(&self) {
        let begun = Instant::now();
        let ids: Vec<ConversationId> = self.watched.lock().doubts.keys().copied().collect();
        for ids in ids.chunks(DOUBTS_READ_MAX) {
            // Without an answer they stay in doubt, and are looked at again.
            let Ok(heads) = read(self.store.heads(ids)).await else {
                return;
            };
            for (conversation, head) in heads {
                self.compare(conversation, head);
            }
            let mut watched = self.watched.lock();
            for id in ids {
                let long_enough = |doubt: &Doubt| doubt.since + DOUBT_SPAN <= begun;
                if watched.doubts.get(id).is_some_and(long_enough) {
                    watched.doubts.remove(id);
                }
            }
        }
    }

    fn compare(&self, conversation: ConversationId, head: Seq) {
        {
            let mut watched = self.watched.lock();
            let Some(doubt) = watched.doubts.get_mut(&conversation) else {
                return;
            };
            if head <= doubt.known {
                return;
            }
            doubt.known = head;
        }
        self.fleet.publish(FleetEvent::Head { conversation, head });
    }
}
