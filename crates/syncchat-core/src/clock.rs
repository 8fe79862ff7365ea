//! The time that durable facts bear: the store's.
//!
//! Nodes share a store, and not a clock. A node whose date is wrong would spoil what all share: dates
//! of messages, the order of lists, the life of tokens and files. So a node compares its date with the
//! store's again and again ([`Clock::compare`]), and from then on counts the store's time by its
//! monotonic clock, which cannot be set. The remaining cases are reported and bounded:
//!
//! - A node whose date differs by more than [`CLOCK_OFFSET_MAX`] writes nothing that bears a time.
//!   Its times would be right, but signatures, certificates and logs follow its date, and an operator
//!   has to mend it.
//! - A node whose two clocks have moved apart since the last comparison by more than
//!   [`CLOCK_JUMP_MAX`] (its date was set, or the machine slept) does not know the time until it has
//!   compared again, which it does at once.
//! - After a jump of the store's time ahead nothing is deleted on account of its age for
//!   [`CLOCK_SWEEP_HOLD`]: a date that is set wrong by mistake can be set right.
//!
//! An embedded store has the clock of its machine. There is nothing to compare that with, and only the
//! jumps matter.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::error::{Error, Result};
use crate::limits::{
    CLOCK_COMPARE_TIMEOUT, CLOCK_JUMP_MAX, CLOCK_OFFSET_MAX, CLOCK_OFFSET_WARN, CLOCK_SWEEP_HOLD,
};
use crate::metrics;
use crate::model::Timestamp;
use crate::ports::clock::{Reading, SystemClocks, TimeSource};
use crate::ports::store::{Store, StoreError, StoreResult};

/// Knows the store's time. Until the first comparison it takes the machine's date for it.
pub struct Clock {
    source: Box<dyn TimeSource>,
    state: Mutex<State>,
    doubted: Notify,
}

#[derive(Clone, Copy, Default)]
struct State {
    base: Option<Base>,
    /// From when on, by the monotonic clock, what is old may be deleted.
    sweeps_from: Duration,
}

/// The last comparison.
#[derive(Clone, Copy)]
struct Base {
    store: Timestamp,
    at: Reading,
    /// Milliseconds by which the machine's date was ahead of the store.
    offset: i64,
}

/// What a comparison with the store's clock showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comparison {
    /// Milliseconds by which the machine's date is ahead of the store's; negative: behind.
    pub offset: i64,
    /// Milliseconds by which the store's time went on further than this node's monotonic clock since
    /// the last comparison; negative: less far. 0 for the first one.
    pub jump: i64,
}

impl Comparison {
    /// Whether the date is off by more than [`CLOCK_OFFSET_WARN`].
    pub fn is_off(&self) -> bool {
        exceeds(self.offset, CLOCK_OFFSET_WARN)
    }

    /// Whether the date is off by more than [`CLOCK_OFFSET_MAX`]: nothing that bears a time is
    /// written.
    pub fn is_wrong(&self) -> bool {
        exceeds(self.offset, CLOCK_OFFSET_MAX)
    }

    /// Whether the time jumped by more than [`CLOCK_JUMP_MAX`].
    pub fn has_jumped(&self) -> bool {
        exceeds(self.jump, CLOCK_JUMP_MAX)
    }
}

impl Clock {
    /// A clock on those of the machine.
    pub fn system() -> Arc<Clock> {
        Clock::on(SystemClocks::new())
    }

    /// A clock on these clocks.
    pub fn on(source: impl TimeSource) -> Arc<Clock> {
        Arc::new(Clock {
            source: Box::new(source),
            state: Mutex::default(),
            doubted: Notify::new(),
        })
    }

    /// The time for a durable fact.
    ///
    /// # Errors
    /// `unavailable`, while this node does not know the time well enough to write it down.
    pub fn now(&self) -> Result<Timestamp> {
        let at = self.source.read();
        let Some(base) = self.state.lock().base else {
            return Ok(at.wall);
        };
        if exceeds(base.drift(at), CLOCK_JUMP_MAX) {
            self.doubted.notify_one();
            return Err(Error::unavailable("the clock of this node has jumped"));
        }
        if exceeds(base.offset, CLOCK_OFFSET_MAX) {
            return Err(Error::unavailable("the clock of this node is wrong"));
        }
        Ok(base.time(at))
    }

    /// The time as well as this node knows it, for what is compared with it or forgotten soon.
    pub fn estimate(&self) -> Timestamp {
        let at = self.source.read();
        let base = self.state.lock().base;
        base.map_or(at.wall, |base| base.time(at))
    }

    /// The time up to which what has expired may be deleted.
    ///
    /// # Errors
    /// As [`Self::now`], and for [`CLOCK_SWEEP_HOLD`] after the time jumped ahead.
    pub fn sweep_now(&self) -> Result<Timestamp> {
        let now = self.now()?;
        if self.source.read().elapsed < self.state.lock().sweeps_from {
            return Err(Error::unavailable("the time has jumped a moment ago"));
        }
        Ok(now)
    }

    /// Waits until the clocks of this node have moved apart, so that it has to compare again: since
    /// the last call returned.
    pub async fn doubted(&self) {
        self.doubted.notified().await;
    }

    /// Compares with the store's clock, and counts from there.
    ///
    /// # Errors
    /// `Unavailable`, if the store did not answer, or too late to tell anything.
    pub async fn compare(&self, store: &dyn Store) -> StoreResult<Comparison> {
        let asked = self.source.read();
        let time = store.time().await?;
        let answered = self.source.read();
        let round_trip = answered.elapsed.saturating_sub(asked.elapsed);
        if round_trip > CLOCK_COMPARE_TIMEOUT {
            let text = format!("the store's time came after {round_trip:?}");
            return Err(StoreError::Unavailable(text));
        }
        // It was read somewhere in between.
        let comparison = self.count(time.plus(round_trip / 2), answered);
        metrics::clock_offset(comparison.offset);
        Ok(comparison)
    }

    /// The store's time is this, at this moment: counts from there.
    pub fn count_from(&self, time: Timestamp) -> Comparison {
        self.count(time, self.source.read())
    }

    fn count(&self, store: Timestamp, at: Reading) -> Comparison {
        let mut state = self.state.lock();
        let expected = state.base.map_or(store, |base| base.time(at));
        let comparison = Comparison {
            offset: at.wall.millis().saturating_sub(store.millis()),
            jump: store.millis().saturating_sub(expected.millis()),
        };
        if comparison.jump > 0 && exceeds(comparison.jump, CLOCK_OFFSET_MAX) {
            state.sweeps_from = at.elapsed + CLOCK_SWEEP_HOLD;
        }
        state.base = Some(Base {
            store,
            at,
            offset: comparison.offset,
        });
        comparison
    }
}

impl Base {
    /// The store's time at this reading.
    fn time(&self, at: Reading) -> Timestamp {
        self.store.plus(at.elapsed.saturating_sub(self.at.elapsed))
    }

    /// Milliseconds by which the date went on further than the monotonic clock since.
    fn drift(&self, at: Reading) -> i64 {
        let passed = at.elapsed.saturating_sub(self.at.elapsed);
        let expected = self.at.wall.plus(passed);
        at.wall.millis().saturating_sub(expected.millis())
    }
}

/// Whether so many milliseconds, ahead or behind, are more than this.
fn exceeds(millis: i64, span: Duration) -> bool {
    u128::from(millis.unsigned_abs()) > span.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use crate::testing::{ManualClocks, MemoryStore};

    const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const SECOND: Duration = Duration::from_secs(1);

    /// A node whose date is so many seconds ahead of the store.
    fn node(ahead: i64) -> (Arc<Clock>, ManualClocks, MemoryStore) {
        let clocks = ManualClocks::at(Timestamp::from_millis(START.millis() + ahead * 1_000));
        let store = MemoryStore::new(0);
        store.set_time(START);
        (Clock::on(clocks.clone()), clocks, store)
    }

    fn unavailable(time: Result<Timestamp>) -> bool {
        time.is_err_and(|error| error.code == ErrorCode::Unavailable)
    }

    #[tokio::test]
    async fn until_it_is_compared_the_date_of_the_machine_is_believed() {
        let (clock, clocks, _) = node(1_000);
        clocks.pass(SECOND);
        assert_eq!(clock.now(), Ok(START.plus(1_001 * SECOND)));
        assert_eq!(clock.estimate(), START.plus(1_001 * SECOND));
    }

    #[tokio::test]
    async fn a_date_that_is_a_little_off_does_not_matter() {
        for ahead in [-60, -6, 0, 5, 60] {
            let (clock, clocks, store) = node(ahead);
            let found = clock.compare(&store).await.expect("it answers");
            assert_eq!((found.offset, found.jump), (ahead * 1_000, 0));
            assert_eq!(found.is_off(), ahead.abs() > 5);
            assert!(!found.is_wrong());
            clocks.pass(3 * SECOND);
            assert_eq!(clock.now(), Ok(START.plus(3 * SECOND)), "{ahead}");
        }
    }

    #[tokio::test]
    async fn with_a_date_that_is_wrong_no_time_is_written() {
        for ahead in [-86_400, -61, 61, 40 * 86_400] {
            let (clock, clocks, store) = node(ahead);
            assert!(clock.compare(&store).await.expect("it answers").is_wrong());
            assert!(unavailable(clock.now()) && unavailable(clock.sweep_now()));
            assert_eq!(clock.estimate(), START, "the store's is known");
            // Set right, it is believed after the next comparison.
            clocks.set(START);
            assert!(unavailable(clock.now()));
            clock.doubted().await;
            assert!(!clock.compare(&store).await.expect("it answers").is_off());
            assert_eq!(clock.now(), Ok(START));
        }
    }

    #[tokio::test]
    async fn a_date_that_is_set_while_the_node_runs_is_compared_at_once() {
        let (clock, clocks, store) = node(0);
        clock.compare(&store).await.expect("it answers");
        clocks.set(START.plus(5 * SECOND));
        assert_eq!(clock.now(), Ok(START), "little enough");
        clocks.set(START.plus(6 * SECOND));
        assert!(unavailable(clock.now()));
        clock.doubted().await;
        let found = clock.compare(&store).await.expect("it answers");
        assert_eq!((found.offset, found.jump), (6_000, 0));
        assert_eq!(clock.now(), Ok(START));
    }

    #[tokio::test]
    async fn a_machine_that_slept_asks_for_the_time_before_it_writes() {
        let (clock, clocks, store) = node(0);
        clock.compare(&store).await.expect("it answers");
        let awake = START.plus(3_600 * SECOND);
        // Its monotonic clock stood still.
        clocks.set(awake);
        store.set_time(awake);
        assert!(unavailable(clock.now()));
        let found = clock.compare(&store).await.expect("it answers");
        assert_eq!((found.offset, found.jump), (0, 3_600_000));
        assert!(found.has_jumped());
        assert_eq!(clock.now(), Ok(awake));
    }

    #[tokio::test]
    async fn nothing_is_deleted_soon_after_the_time_jumped_ahead() {
        let (clock, clocks, store) = node(0);
        clock.compare(&store).await.expect("it answers");
        assert_eq!(clock.sweep_now(), Ok(START));
        let later = START.plus(40 * 86_400 * SECOND);
        clocks.set(later);
        store.set_time(later);
        clock.compare(&store).await.expect("it answers");
        assert_eq!(
            clock.now(),
            Ok(later),
            "an embedded store has no other clock"
        );
        assert!(unavailable(clock.sweep_now()));
        clocks.pass(CLOCK_SWEEP_HOLD);
        assert!(clock.sweep_now().is_ok());
    }

    #[tokio::test]
    async fn a_store_that_does_not_answer_changes_nothing() {
        let (clock, clocks, store) = node(0);
        clock.compare(&store).await.expect("it answers");
        store.set_faults(crate::testing::Faults {
            down: true,
            ..crate::testing::Faults::NONE
        });
        assert!(clock.compare(&store).await.is_err());
        clocks.pass(600 * SECOND);
        assert_eq!(clock.now(), Ok(START.plus(600 * SECOND)));
    }
}
