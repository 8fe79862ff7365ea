//! The clocks of the machine that a node runs on.

use std::time::{Duration, Instant};

use crate::model::Timestamp;

/// What both clocks of a machine show at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The date and time. It may be wrong, and may be set while the node runs.
    pub wall: Timestamp,
    /// How long ago some moment was that stays the same as long as the process lives. It is never
    /// set; it may stand still while the machine sleeps.
    pub elapsed: Duration,
}

/// Shows the time of the machine; a test sets it.
pub trait TimeSource: Send + Sync + 'static {
    /// Both clocks, now. Called for each message: cheap.
    fn read(&self) -> Reading;
}

/// The clocks of the operating system.
#[derive(Debug, Clone, Copy)]
pub struct SystemClocks {
    began: Instant,
}

impl SystemClocks {
    /// Counts from this moment.
    pub fn new() -> SystemClocks {
        SystemClocks {
            began: Instant::now(),
        }
    }
}

impl Default for SystemClocks {
    fn default() -> SystemClocks {
        SystemClocks::new()
    }
}

impl TimeSource for SystemClocks {
    fn read(&self) -> Reading {
        Reading {
            wall: Timestamp::now(),
            elapsed: self.began.elapsed(),
        }
    }
}
