//! Conversations in which this node's writes have met those of other nodes.
//!
//! Most conversations are written by one node at a time, and share a write to the store with others
//! that wait. One that several nodes write at once would take the whole of such a write with it
//! whenever it loses. So for a while it is written by itself, and the store lets the nodes in one
//! after the other.

use tokio::time::Instant;

use super::queue::Lane;
use crate::cache::Cache;
use crate::limits::{CROWDED_SPAN, RIVALS_MAX};
use crate::model::ConversationId;

/// Where others were met, and when.
pub(crate) struct Rivals {
    met: Cache<ConversationId, Instant>,
}

impl Rivals {
    pub(crate) fn new() -> Rivals {
        Rivals {
            met: Cache::new(RIVALS_MAX, |_| 1),
        }
    }

    /// Others have written there while this node did.
    pub(crate) fn met(&self, conversation: ConversationId) {
        self.met.put(conversation, Instant::now());
    }

    /// How that conversation is written.
    pub(crate) fn lane(&self, conversation: ConversationId) -> Lane {
        match self.met.get(&conversation) {
            Some(at) if at.elapsed() < CROWDED_SPAN => Lane::Alone,
            _ => Lane::Shared,
        }
    }
}
