//! Clocks that a test sets.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::model::Timestamp;
use crate::ports::clock::{Reading, TimeSource};

/// A machine's clocks, which stand still by themselves. Clones are the same clocks.
#[derive(Debug, Clone)]
pub struct ManualClocks(Arc<Mutex<Reading>>);

impl ManualClocks {
    /// Clocks that show this date.
    pub fn at(wall: Timestamp) -> ManualClocks {
        ManualClocks(Arc::new(Mutex::new(Reading {
            wall,
            elapsed: Duration::ZERO,
        })))
    }

    /// Time passes.
    pub fn pass(&self, span: Duration) {
        let mut reading = self.0.lock();
        reading.wall = reading.wall.plus(span);
        reading.elapsed += span;
    }

    /// The date is set.
    pub fn set(&self, wall: Timestamp) {
        self.0.lock().wall = wall;
    }
}

impl TimeSource for ManualClocks {
    fn read(&self) -> Reading {
        *self.0.lock()
    }
}
