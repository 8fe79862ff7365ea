//! Time that processes of one host agree on, and that never goes back.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Microseconds since 1970, counted from one look at the wall clock.
#[derive(Clone, Copy)]
pub(crate) struct Clock {
    anchor: u64,
    since: Instant,
}

impl Clock {
    /// Looks at the wall clock.
    pub(crate) fn new() -> Clock {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        Clock {
            anchor: wall.map_or(0, |wall| wall.as_micros() as u64),
            since: Instant::now(),
        }
    }

    /// Now.
    pub(crate) fn now(&self) -> u64 {
        self.anchor + self.since.elapsed().as_micros() as u64
    }
}

/// Microseconds of CPU that this process has used.
pub(crate) fn own_cpu() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

/// Seconds as microseconds.
pub(crate) fn micros(seconds: f64) -> u64 {
    (seconds * 1e6).max(0.0) as u64
}
