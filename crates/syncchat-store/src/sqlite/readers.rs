//! The connections that read: a few, each lent to one call at a time, on threads where blocking
//! hurts nobody.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use rusqlite::Connection;
use syncchat_core::ports::store::{StoreError, StoreResult};
use tokio::sync::Semaphore;

use super::connection::open_reader;
use super::errors::store_error;
use crate::limits::{CALL_TIMEOUT, SQLITE_READERS_MAX, SQLITE_STEPS_PER_CLOCK};

/// The pool.
pub(super) struct Readers {
    path: PathBuf,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    /// A pool for this file. Connections are made when they are first needed.
    pub(super) fn new(path: PathBuf) -> Readers {
        Readers {
            path,
            permits: Arc::new(Semaphore::new(SQLITE_READERS_MAX)),
            idle: Arc::new(Mutex::new(Vec::with_capacity(SQLITE_READERS_MAX))),
        }
    }

    /// Does `work` on one consistent state of the file.
    pub(super) async fn run<T, F>(&self, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let gone = || StoreError::Unavailable("the readers have ended".into());
        let permit = self
            .permits
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| gone())?;
        let (path, idle) = (self.path.clone(), self.idle.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let kept = idle.lock().pop();
            let result = match kept.map_or_else(|| open_reader(&path), Ok) {
                Ok(connection) => {
                    let result = read(&connection, work);
                    idle.lock().push(connection);
                    result
                }
                Err(error) => Err(error),
            };
            drop(permit);
            result
        });
        reading
            .await
            .map_err(|_| gone())?
            .map_err(|error| store_error(&error))
    }
}

fn read<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    // The caller stops waiting then; this makes the thread stop too.
    let deadline = Instant::now() + CALL_TIMEOUT;
    connection.progress_handler(
        SQLITE_STEPS_PER_CLOCK,
        Some(move || Instant::now() > deadline),
    )?;
    connection.prepare_cached("BEGIN")?.execute([])?;
    let result = work(connection);
    let ended = connection.execute_batch("ROLLBACK");
    result.and_then(|value| ended.map(|()| value))
}
