//! Requests of several steps, carried to their end even if whoever asked goes away in between.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::error::{Error, ErrorCode, Result};
use crate::limits::TASKS_MAX;

/// A bounded number of tasks.
pub(crate) struct Tasks {
    room: Arc<Semaphore>,
}

impl Tasks {
    pub(crate) fn new() -> Tasks {
        Tasks {
            room: Arc::new(Semaphore::new(TASKS_MAX)),
        }
    }

    /// Runs it to its end; dropping the caller's future does not stop it.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            return Err(Error::unavailable("too many changes are under way"));
        };
        let running = tokio::spawn(async move {
            let _room = room;
            task.await
        });
        running.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a task did not end");
            Err(Error::new(ErrorCode::Internal, "internal error"))
        })
    }

    /// Waits until all have ended. Meanwhile nothing new is accepted.
    pub(crate) async fn drain(&self) {
        let _all = self.room.acquire_many(TASKS_MAX as u32).await;
    }
}
