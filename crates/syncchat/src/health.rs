//! Whether this node is ready, asked by load balancers and answered from memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use syncchat_core::Clock;
use syncchat_core::clock::Comparison;
use syncchat_core::limits::{CLOCK_COMPARE_INTERVAL, CLOCK_COMPARE_PAUSE};
use syncchat_core::ports::store::Store;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::limits::{STORE_CHECK_INTERVAL, STORE_CHECK_TIMEOUT};
use crate::metrics;

/// The stages of a node's life, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It brings its store to this version's schema.
    Starting,
    /// It serves.
    Serving,
    /// It says its goodbyes.
    Draining,
}

/// What is known about this node's readiness.
pub struct Health {
    phase: watch::Sender<Phase>,
    store_answers: AtomicBool,
    /// The machine's date is off by more than times may be written with.
    clock_is_wrong: AtomicBool,
    /// The task that has ended and should not have.
    failed: OnceLock<&'static str>,
}

impl Health {
    /// A node that is starting.
    pub fn new() -> Arc<Health> {
        Arc::new(Health {
            phase: watch::Sender::new(Phase::Starting),
            store_answers: AtomicBool::new(true),
            clock_is_wrong: AtomicBool::new(false),
            failed: OnceLock::new(),
        })
    }

    /// The node has come to this stage; it never goes back.
    pub fn enter(&self, phase: Phase) {
        self.phase.send_if_modified(|current| {
            let later = phase > *current;
            *current = phase.max(*current);
            later
        });
    }

    /// Which stage it is in.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// A task that the node cannot live without has ended: the node is about to end.
    pub fn fail(&self, task: &'static str) {
        self.failed.get_or_init(|| task);
    }

    /// Whether it is alive.
    ///
    /// # Errors
    /// Names the task that has ended.
    pub fn alive(&self) -> Result<(), &'static str> {
        self.failed.get().map_or(Ok(()), |task| Err(task))
    }

    /// Whether it is ready.
    ///
    /// # Errors
    /// Why it is not.
    pub fn ready(&self) -> Result<(), &'static str> {
        match self.phase() {
            _ if self.alive().is_err() => Err("a task has ended"),
            Phase::Starting => Err("starting"),
            Phase::Draining => Err("draining"),
            Phase::Serving if !self.store_answers.load(Ordering::Relaxed) => {
                Err("the store does not answer")
            }
            Phase::Serving if self.clock_is_wrong.load(Ordering::Relaxed) => {
                Err("the clock differs from the store's by more than 60 s")
            }
            Phase::Serving => Ok(()),
        }
    }

    /// Asks the store again and again, and remembers. Runs until it is dropped.
    pub async fn watch_store(self: Arc<Health>, store: Arc<dyn Store>) {
        let mut ticks = interval(STORE_CHECK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let problem = match timeout(STORE_CHECK_TIMEOUT, store.check()).await {
                Ok(Ok(_)) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some("no answer in time".to_owned()),
            };
            let answers = problem.is_none();
            let answered = self.store_answers.swap(answers, Ordering::Relaxed);
            metrics::store_up(answers);
            match problem {
                Some(error) if answered => tracing::error!(%error, "store does not answer"),
                None if !answered => tracing::info!("store answers again"),
                _ => {}
            }
        }
    }

    /// Compares this machine's date with the store's again and again: every minute, and at once when
    /// the clock is in doubt. Runs until it is dropped.
    pub async fn watch_clock(self: Arc<Health>, clock: Arc<Clock>, store: Arc<dyn Store>) {
        let mut wait = CLOCK_COMPARE_INTERVAL;
        loop {
            tokio::select! {
                () = sleep(wait) => {}
                () = clock.doubted() => {}
            }
            wait = match clock.compare(&*store).await {
                Ok(found) => {
                    self.judge_clock(&found);
                    CLOCK_COMPARE_INTERVAL
                }
                Err(error) => {
                    tracing::debug!(%error, "the clock cannot be compared");
                    CLOCK_COMPARE_PAUSE
                }
            };
            sleep(CLOCK_COMPARE_PAUSE).await;
        }
    }

    /// Notes what a comparison of the clocks showed, and tells the operator.
    pub fn judge_clock(&self, found: &Comparison) {
        let ahead = found.offset as f64 / 1_000.0;
        let is_wrong = found.is_wrong();
        let was_wrong = self.clock_is_wrong.swap(is_wrong, Ordering::Relaxed);
        if found.has_jumped() {
            let by = found.jump as f64 / 1_000.0;
            tracing::warn!(seconds = by, "the store's time has jumped");
        }
        match (is_wrong, found.is_off()) {
            (true, _) => tracing::error!(
                seconds_ahead = ahead,
                "the clock differs from the store's by too much: nothing that bears a time is written"
            ),
            (false, true) => {
                tracing::warn!(seconds_ahead = ahead, "the clock differs from the store's");
            }
            (false, false) if was_wrong => {
                tracing::info!("the clock agrees with the store's again")
            }
            (false, false) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_whose_clock_is_wrong_is_not_ready() {
        let health = Health::new();
        health.enter(Phase::Serving);
        for (offset, ready) in [
            (60_000, true),
            (60_001, false),
            (-86_400_000, false),
            (0, true),
        ] {
            health.judge_clock(&Comparison { offset, jump: 0 });
            assert_eq!(health.ready().is_ok(), ready, "{offset}");
        }
        assert_eq!(health.alive(), Ok(()));
    }

    #[test]
    fn phases_only_go_on() {
        let health = Health::new();
        assert_eq!(health.ready(), Err("starting"));
        health.enter(Phase::Serving);
        assert_eq!(health.ready(), Ok(()));
        health.store_answers.store(false, Ordering::Relaxed);
        assert_eq!(health.ready(), Err("the store does not answer"));
        health.enter(Phase::Draining);
        health.enter(Phase::Serving);
        assert_eq!(health.ready(), Err("draining"));
        assert_eq!(health.alive(), Ok(()));
        health.fail("shard");
        assert_eq!(health.alive(), Err("shard"));
        assert_eq!(health.ready(), Err("a task has ended"));
    }
}
