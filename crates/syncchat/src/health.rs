//! Whether this node is ready, asked by load balancers and answered from memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use syncchat_core::ports::store::Store;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

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
}

impl Health {
    /// A node that is starting.
    pub fn new() -> Arc<Health> {
        Arc::new(Health {
            phase: watch::Sender::new(Phase::Starting),
            store_answers: AtomicBool::new(true),
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

    /// Whether it is ready.
    ///
    /// # Errors
    /// Why it is not.
    pub fn ready(&self) -> Result<(), &'static str> {
        match self.phase() {
            Phase::Starting => Err("starting"),
            Phase::Draining => Err("draining"),
            Phase::Serving if !self.store_answers.load(Ordering::Relaxed) => {
                Err("the store does not answer")
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
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
