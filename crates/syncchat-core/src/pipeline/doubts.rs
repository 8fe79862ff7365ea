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
            let looking = Looking(Arc::clone(self));
            tokio::spawn(async move { looking.0.look_while_in_doubt().await });
        }
    }

    async fn look_while_in_doubt(&self) {
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

/// The one task that looks, while there is one.
struct Looking(Arc<Doubts>);

impl Drop for Looking {
    /// After a panic another one goes on with what is watched.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let next = Looking(Arc::clone(&self.0));
            tokio::spawn(async move { next.0.look_while_in_doubt().await });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::ports::fleet::FleetListener;
    use crate::testing::{self, RecordingFleet};

    /// Panics at the first event.
    struct Fragile(AtomicBool);

    impl FleetListener for Fragile {
        fn on_event(&self, _: &FleetEvent) {
            assert!(self.0.swap(true, Ordering::Relaxed), "planted");
        }

        fn on_doubt(&self) {}
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_does_not_end_the_watch() {
        let (store, people) = testing::store_with_people(2);
        let fleet = RecordingFleet::new();
        fleet.listen(Arc::new(Fragile(AtomicBool::new(false))));
        let ids = [ConversationId::generate(), ConversationId::generate()];
        for id in ids {
            let new = crate::ports::store::NewConversation {
                id,
                kind: crate::model::ConversationKind::Group,
                title: None,
                participants: people.iter().copied().collect(),
                created_at: crate::model::Timestamp::from_millis(0),
            };
            let store: &dyn Store = &*store;
            store.create_conversation(new).await.expect("made");
        }
        let doubts = Doubts::new(Arc::clone(&store) as _, Arc::clone(&fleet) as _);
        ids.iter().for_each(|id| doubts.watch(*id, 0));
        let land = |id| {
            let message = testing::message(id, people[0], "landed late");
            store.append_behind(id, vec![message], None, people[0]);
        };
        land(ids[0]);
        tokio::time::sleep(DOUBT_INTERVAL.0 * 2).await;
        land(ids[1]);
        tokio::time::sleep(DOUBT_SPAN).await;
        let told = fleet.events();
        let told: Vec<_> = told.iter().map(FleetEvent::topic).collect();
        assert_eq!(told, [crate::ports::fleet::Topic::Conversation(ids[1])]);
    }
}
