//! How a store misbehaves.

use std::time::Duration;

/// Dials, each a probability for one call unless said otherwise. All 0: no faults.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// The longest delay of a call; each takes a random part of it.
    pub delay: Duration,
    /// A read answers `Unavailable`.
    pub fail_read: f64,
    /// A write does nothing and answers `Unavailable`.
    pub fail_before_write: f64,
    /// A write is done and answers `Unavailable`.
    pub lose_answer: f64,
    /// A write answers `Unavailable` and is done later, within [`Self::late`].
    pub land_late: f64,
    /// How late, at most.
    pub late: Duration,
    /// So many of the next appends find that another node was faster: a message of the same sender
    /// gets there first.
    pub overtaken: u32,
    /// What gets there first is a change of the conversation.
    pub overtaken_by_change: bool,
    /// Reads wait until this is taken back.
    pub hold_reads: bool,
    /// Writes wait until this is taken back.
    pub hold_writes: bool,
    /// All calls answer `Unavailable`, and nothing is done.
    pub down: bool,
}

impl Faults {
    /// None.
    pub const NONE: Faults = Faults {
        delay: Duration::ZERO,
        fail_read: 0.0,
        fail_before_write: 0.0,
        lose_answer: 0.0,
        land_late: 0.0,
        late: Duration::ZERO,
        overtaken: 0,
        overtaken_by_change: false,
        hold_reads: false,
        hold_writes: false,
        down: false,
    };
}
