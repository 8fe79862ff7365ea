//! A fleet of one that remembers what was said.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::ports::fleet::{Fleet, FleetEvent, FleetListener, Topic};

/// Keeps every event, and passes it on.
#[derive(Default)]
pub struct RecordingFleet {
    events: Mutex<Vec<FleetEvent>>,
    listener: OnceLock<Arc<dyn FleetListener>>,
}

impl RecordingFleet {
    /// Nothing was said yet.
    pub fn new() -> Arc<RecordingFleet> {
        Arc::default()
    }

    /// Everything said so far.
    pub fn events(&self) -> Vec<FleetEvent> {
        self.events.lock().clone()
    }

    /// Everything said since the last call.
    pub fn take(&self) -> Vec<FleetEvent> {
        std::mem::take(&mut *self.events.lock())
    }
}

#[async_trait]
impl Fleet for RecordingFleet {
    fn listen(&self, listener: Arc<dyn FleetListener>) {
        let _ = self.listener.set(listener);
    }

    fn publish(&self, event: FleetEvent) {
        if let Some(listener) = self.listener.get() {
            listener.on_event(&event);
        }
        self.events.lock().push(event);
    }

    async fn subscribe(&self, _topics: Vec<Topic>) {}

    fn unsubscribe(&self, _topics: Vec<Topic>) {}

    fn connected(&self) -> bool {
        true
    }

    async fn close(&self) {}

    async fn check(&self) -> Result<String, String> {
        Ok("recording".into())
    }

    fn kind(&self) -> &'static str {
        "recording"
    }
}
