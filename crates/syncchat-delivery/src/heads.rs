//! Which rooms to compare with the log next: those in doubt at once, every other one in turn.

use std::collections::VecDeque;

use crate::limits::Config;
use crate::machine::Millis;

/// One comparison at a time.
#[derive(Debug, Clone)]
pub(crate) struct Heads<R> {
    /// Rooms in doubt, each once.
    doubtful: VecDeque<R>,
    /// What is being compared; empty if nothing is.
    asked: Vec<R>,
    failures: u32,
    /// Not before this moment, after a failure.
    retry_at: Millis,
    /// Where the review of rooms that are not in doubt goes on.
    pub(crate) cursor: u32,
    /// When the next batch of them is due; `None` before there was a room.
    review_at: Option<Millis>,
}

impl<R: Copy + Eq> Heads<R> {
    pub(crate) fn new() -> Heads<R> {
        Heads {
            doubtful: VecDeque::new(),
            asked: Vec::new(),
            failures: 0,
            retry_at: 0,
            cursor: 0,
            review_at: None,
        }
    }

    /// This room is in doubt; the caller sees to it that each is said once.
    pub(crate) fn doubt(&mut self, room: R) {
        self.doubtful.push_back(room);
    }

    /// When to come back, if there are `rooms` at all.
    pub(crate) fn wakes_at(&self, rooms: usize) -> Option<Millis> {
        if !self.asked.is_empty() || rooms == 0 {
            None
        } else if self.doubtful.is_empty() {
            Some(self.review_at?.max(self.retry_at))
        } else {
            Some(self.retry_at)
        }
    }

    /// Rooms in doubt to compare now; empty if there are none, or it is not the time.
    pub(crate) fn next_doubtful(&mut self, now: Millis, config: &Config) -> Vec<R> {
        if !self.may_ask(now) {
            return Vec::new();
        }
        let batch = self.doubtful.len().min(config.compare_batch);
        self.doubtful.drain(..batch).collect()
    }

    /// Whether a batch of rooms that are not in doubt is due, of so many; sets when the next is.
    pub(crate) fn review_due(&mut self, now: Millis, rooms: usize, config: &Config) -> bool {
        if !self.may_ask(now) || rooms == 0 {
            return false;
        }
        let batches = rooms.div_ceil(config.compare_batch.max(1)) as Millis;
        let due = self.review_at.is_some_and(|at| at <= now);
        if due || self.review_at.is_none() {
            self.review_at = Some(now + config.review / batches);
        }
        due
    }

    /// These are being compared.
    pub(crate) fn asked(&mut self, rooms: Vec<R>) {
        self.asked = rooms;
    }

    /// The comparison was answered.
    pub(crate) fn answered(&mut self) {
        self.asked.clear();
        self.failures = 0;
    }

    /// The comparison failed: gives the rooms back, to be put in doubt again.
    pub(crate) fn failed(&mut self, now: Millis, config: &Config) -> Vec<R> {
        self.retry_at = now + backoff(self.failures, config);
        self.failures = self.failures.saturating_add(1);
        std::mem::take(&mut self.asked)
    }

    fn may_ask(&self, now: Millis) -> bool {
        self.asked.is_empty() && now >= self.retry_at
    }
}

/// The wait after so many failures before this one.
pub(crate) fn backoff(failures: u32, config: &Config) -> Millis {
    config
        .retry_min
        .saturating_mul(1 << failures.min(20))
        .min(config.retry_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_batch_at_a_time_and_later_after_a_failure() {
        let config = Config {
            compare_batch: 2,
            ..Config::default()
        };
        let mut heads = Heads::new();
        (1..=3).for_each(|room| heads.doubt(room));
        let first = heads.next_doubtful(0, &config);
        assert_eq!(first, [1, 2]);
        heads.asked(first);
        assert!(heads.next_doubtful(0, &config).is_empty());
        for room in heads.failed(0, &config) {
            heads.doubt(room);
        }
        assert!(
            heads
                .next_doubtful(config.retry_min - 1, &config)
                .is_empty()
        );
        assert_eq!(heads.wakes_at(3), Some(config.retry_min));
        assert_eq!(heads.next_doubtful(config.retry_min, &config), [3, 1]);
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let config = Config::default();
        let waits: Vec<_> = [0, 1, 2, 30].map(|n| backoff(n, &config)).into();
        assert_eq!(waits, [50, 100, 200, 2_000]);
    }
}
