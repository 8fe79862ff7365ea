//! What this node did with recent messages: one short record a message, none a delivery.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use syncchat_core::model::{MessageId, Timestamp};
use syncchat_core::ports::fleet::{Fleet, FleetEvent, FleetListener, Topic};

use crate::limits::{TRACE_PARTS, TRACES_PER_PART_MAX};

/// Records of the newest messages; the oldest are forgotten.
pub struct Traces {
    /// By the end of the id, which counts up: what one node sends fills them in turn. They are small enough
    /// to look through, which costs less than a table that is hashed.
    parts: Vec<Mutex<Part>>,
}

/// What became of one message on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trace {
    /// When this node committed it and told the fleet.
    pub published: Option<Timestamp>,
    /// When it first came to this node's readers, and from where.
    pub seen: Option<(Timestamp, Source)>,
    /// When it was first and last put before sockets.
    pub written: Option<(Timestamp, Timestamp)>,
    /// How many sockets have taken it.
    pub sockets: u64,
}

/// How a message came to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The fleet said so.
    Fleet,
    /// Read from the store, to fill a gap or for who was behind.
    Store,
}

/// The oldest first.
type Part = VecDeque<(MessageId, Trace)>;

impl Traces {
    /// None yet.
    pub fn new() -> Arc<Traces> {
        let parts = (0..TRACE_PARTS).map(|_| Mutex::default()).collect();
        Arc::new(Traces { parts })
    }

    /// What is known of a message; nothing if it never was here, or too long ago.
    pub fn of(&self, message: MessageId) -> Option<Trace> {
        let part = self.part(message).lock();
        let found = part.iter().find(|(id, _)| *id == message);
        found.map(|(_, trace)| *trace)
    }

    pub(crate) fn seen(&self, message: MessageId, source: Source) {
        self.note(message, |trace| {
            trace.seen.get_or_insert((Timestamp::now(), source));
        });
    }

    pub(crate) fn written(&self, message: MessageId, sockets: usize) {
        self.note(message, |trace| {
            let now = Timestamp::now();
            trace.written = Some((trace.written.map_or(now, |(first, _)| first), now));
            trace.sockets += sockets as u64;
        });
    }

    fn published(&self, message: MessageId) {
        self.note(message, |trace| {
            trace.published.get_or_insert(Timestamp::now());
        });
    }

    fn note(&self, message: MessageId, change: impl FnOnce(&mut Trace)) {
        let mut part = self.part(message).lock();
        let known = part.iter_mut().rev().find(|(id, _)| *id == message);
        if let Some((_, trace)) = known {
            return change(trace);
        }
        if part.len() >= TRACES_PER_PART_MAX {
            part.pop_front();
        }
        let mut trace = Trace::default();
        change(&mut trace);
        part.push_back((message, trace));
    }

    fn part(&self, message: MessageId) -> &Mutex<Part> {
        let bytes = message.bytes();
        let end = u16::from_be_bytes([bytes[10], bytes[11]]);
        &self.parts[usize::from(end) % self.parts.len()]
    }
}

/// A fleet that notes what this node tells it.
pub struct TracedFleet {
    fleet: Arc<dyn Fleet>,
    traces: Arc<Traces>,
}

impl TracedFleet {
    /// Notes it there.
    pub fn new(fleet: Arc<dyn Fleet>, traces: Arc<Traces>) -> Arc<TracedFleet> {
        Arc::new(TracedFleet { fleet, traces })
    }
}

#[async_trait]
impl Fleet for TracedFleet {
    fn listen(&self, listener: Arc<dyn FleetListener>) {
        self.fleet.listen(listener);
    }

    fn publish(&self, event: FleetEvent) {
        if let FleetEvent::Committed { messages } = &event {
            messages.iter().for_each(|m| self.traces.published(m.id));
        }
        self.fleet.publish(event);
    }

    async fn subscribe(&self, topics: Vec<Topic>) {
        self.fleet.subscribe(topics).await;
    }

    fn unsubscribe(&self, topics: Vec<Topic>) {
        self.fleet.unsubscribe(topics);
    }

    fn connected(&self) -> bool {
        self.fleet.connected()
    }

    async fn failed(&self) -> &'static str {
        self.fleet.failed().await
    }

    async fn close(&self) {
        self.fleet.close().await;
    }

    async fn check(&self) -> Result<String, String> {
        self.fleet.check().await
    }

    fn kind(&self) -> &'static str {
        self.fleet.kind()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_to_a_message_is_put_together() {
        let traces = Traces::new();
        let id = MessageId::generate();
        assert_eq!(traces.of(id), None);
        traces.published(id);
        traces.seen(id, Source::Fleet);
        traces.seen(id, Source::Store);
        traces.written(id, 2);
        traces.written(id, 3);
        let trace = traces.of(id).unwrap();
        assert!(trace.published.is_some());
        assert_eq!(trace.seen.unwrap().1, Source::Fleet);
        assert_eq!(trace.sockets, 5);
        assert!(trace.written.is_some_and(|(first, last)| first <= last));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let traces = Traces::new();
        let ids: Vec<_> = (0..2 * TRACE_PARTS * TRACES_PER_PART_MAX)
            .map(|_| MessageId::generate())
            .collect();
        ids.iter().for_each(|id| traces.written(*id, 1));
        assert_eq!(traces.of(ids[0]), None);
        assert!(traces.of(*ids.last().unwrap()).is_some());
        let kept = |part: &Mutex<Part>| part.lock().len();
        assert!(
            traces
                .parts
                .iter()
                .all(|part| kept(part) == TRACES_PER_PART_MAX)
        );
    }
}
