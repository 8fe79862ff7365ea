//! Tasks that live as long as the node.
//!
//! A node in which such a task has ended is broken in a way that nothing else shows: its sockets stay
//! open, its health stays good, and a share of its work is never done again. So every owner of such
//! tasks runs them under a [`Supervisor`], and offers a `failed` that names the first one that ended.
//! The program waits for these, and ends the node in good order. A library never ends the process.
//!
//! Tasks of one connection or one request are not supervised: what they panic in ends with them, and
//! is counted.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Runs tasks that must not end, and tells when one has. Clones share what they know.
#[derive(Debug, Clone)]
pub struct Supervisor(Arc<watch::Sender<Option<&'static str>>>);

impl Supervisor {
    /// Supervises nothing yet.
    pub fn new() -> Supervisor {
        Supervisor(Arc::new(watch::Sender::new(None)))
    }

    /// Runs a task under this name until it is aborted by the handle. If it returns or panics before,
    /// [`Self::failed`] names it. To be called inside a tokio runtime.
    pub fn spawn(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> AbortHandle {
        let guard = self.guard(name);
        let task = async move {
            task.await;
            guard.has_ended();
        };
        tokio::spawn(task).abort_handle()
    }

    /// A guard for what runs elsewhere, such as a thread: kept by it, it tells of its panic. A guard
    /// that is dropped without one tells nothing, since its owner has ended on purpose.
    pub fn guard(&self, name: &'static str) -> Guard {
        Guard {
            name,
            supervisor: self.clone(),
        }
    }

    /// Waits until a task has ended that should not have, and names it: the first one, at once if
    /// that has happened before.
    pub async fn failed(&self) -> &'static str {
        let mut ended = self.0.subscribe();
        loop {
            if let Some(name) = *ended.borrow_and_update() {
                return name;
            }
            if ended.changed().await.is_err() {
                // The sender lives as long as `self`.
                std::future::pending::<()>().await;
            }
        }
    }

    fn report(&self, name: &'static str) {
        self.0.send_if_modified(|ended| {
            let is_first = ended.is_none();
            ended.get_or_insert(name);
            is_first
        });
    }
}

impl Default for Supervisor {
    fn default() -> Supervisor {
        Supervisor::new()
    }
}

/// Tells the supervisor of a panic, see [`Supervisor::guard`].
#[derive(Debug)]
pub struct Guard {
    name: &'static str,
    supervisor: Supervisor,
}

impl Guard {
    /// Tells the supervisor that the owner has ended, and should not have.
    pub fn has_ended(self) {
        self.supervisor.report(self.name);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.supervisor.report(self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    async fn has_failed(supervisor: &Supervisor) -> Option<&'static str> {
        let failed = timeout(Duration::from_millis(50), supervisor.failed());
        failed.await.ok()
    }

    #[tokio::test]
    async fn a_task_that_panics_or_returns_is_named_and_the_first_one_stays() {
        for planted in ["panics", "returns"] {
            let supervisor = Supervisor::new();
            supervisor.spawn("sound", pending());
            assert_eq!(has_failed(&supervisor).await, None);
            supervisor.spawn(planted, async move {
                tokio::task::yield_now().await;
                assert_ne!(planted, "panics", "planted");
            });
            assert_eq!(supervisor.failed().await, planted);
            supervisor.spawn("later", async {});
            tokio::task::yield_now().await;
            assert_eq!(has_failed(&supervisor.clone()).await, Some(planted));
        }
    }

    #[tokio::test]
    async fn what_is_ended_on_purpose_is_no_failure() {
        let supervisor = Supervisor::new();
        let task = supervisor.spawn("aborted", pending());
        task.abort();
        drop(supervisor.guard("let go"));
        assert_eq!(has_failed(&supervisor).await, None);
    }

    #[tokio::test]
    async fn a_thread_that_panics_is_named() {
        let supervisor = Supervisor::new();
        let guard = supervisor.guard("thread");
        let thread = std::thread::spawn(move || {
            let _guard = guard;
            panic!("planted");
        });
        assert!(thread.join().is_err());
        assert_eq!(supervisor.failed().await, "thread");
    }
}
