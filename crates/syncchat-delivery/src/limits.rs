//! Every bound of the machine, with its unit, its reason and what happens at it.

use crate::machine::{Millis, Seq};

/// Returns to a room that one seat remembers while it has not yet come to its removal. Each needs
/// a removal and an addition in the log. Beyond it the oldest is forgotten: the reader then comes
/// back at a later one.
pub(crate) const RETURNS_MAX: usize = 16;

/// Rooms that a reader was removed from and that are remembered, so that a late word of an earlier
/// addition does not bring it back. Beyond it the oldest is forgotten.
pub(crate) const DEPARTURES_MAX: usize = 64;

/// The dials of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Frames asked for in one fetch.
    pub page: usize,
    /// Frames that a fetch for a reader who is behind begins before what it is owed, where one page
    /// still reaches the recent frames: a crowd that comes back stands at about the same place.
    pub look_back: Seq,
    /// Changed frames asked for in one fetch of changes.
    pub changes_page: usize,
    /// Recent frames kept of one room. Readers further back are served by fetches.
    pub ring_frames: usize,
    /// Bytes of recent frames kept in all rooms together. Beyond it the oldest go.
    pub ring_bytes: usize,
    /// Frames of one room that wait for those before them. Beyond it the newest are dropped and
    /// fetched again once their turn has come. The same for changes.
    pub early_frames: usize,
    /// How long a gap may be open before it is fetched: what is only reordered closes by itself.
    pub patience: Millis,
    /// How long a change may be missing before it is fetched: they come from several nodes, and what a node
    /// says late comes by itself. What comes after it waits so long.
    pub changes_patience: Millis,
    /// Wait after a fetch or comparison that failed or brought nothing; doubled each time.
    pub retry_min: Millis,
    /// The longest such wait.
    pub retry_max: Millis,
    /// How long a room without readers is kept: who reconnects at once finds its recent frames.
    pub linger: Millis,
    /// Rooms without readers kept at most. Beyond it the longest empty goes.
    pub lingering_rooms: usize,
    /// Rooms in one comparison of heads.
    pub compare_batch: usize,
    /// Each room's head is compared once in so long even without doubt: a lost last message, with
    /// nothing after it that would show the gap, is found by then.
    pub review: Millis,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            page: 100,
            changes_page: 100,
            look_back: 16,
            ring_frames: 128,
            ring_bytes: 16 << 20,
            early_frames: 256,
            patience: 30,
            changes_patience: 250,
            retry_min: 50,
            retry_max: 2_000,
            linger: 10_000,
            lingering_rooms: 1_000,
            compare_batch: 500,
            review: 30_000,
        }
    }
}
