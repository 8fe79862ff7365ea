//! The one thread that writes. Writes that wait at the same moment share a transaction and a sync
//! of the disk. If one fails, all are done again, each inside its own savepoint: the one that
//! fails then takes nothing with it. Savepoints from the start would cost every write a copy of
//! each page it touches.

use std::thread;

use rusqlite::Connection;
use syncchat_core::Supervisor;
use syncchat_core::ports::store::{StoreError, StoreResult};
use tokio::sync::{mpsc, oneshot};

use super::errors::store_error;
use crate::limits::{SQLITE_GROUP_MAX, SQLITE_QUEUE_MAX};

/// The way to the writing thread. The thread ends when the last one is gone.
pub(super) struct Writer {
    jobs: mpsc::Sender<Box<dyn Job>>,
    supervisor: Supervisor,
}

impl Writer {
    /// Starts the thread on this connection.
    pub(super) fn start(connection: Connection) -> std::io::Result<Writer> {
        let (jobs, queue) = mpsc::channel(SQLITE_QUEUE_MAX);
        let supervisor = Supervisor::new();
        let guard = supervisor.guard("sqlite writer");
        thread::Builder::new()
            .name("sqlite-writer".into())
            .spawn(move || {
                let _guard = guard;
                write_until_closed(&connection, queue);
            })?;
        Ok(Writer { jobs, supervisor })
    }

    /// Waits until the thread has ended by a panic, and names it.
    pub(super) async fn failed(&self) -> &'static str {
        self.supervisor.failed().await
    }

    /// Does `work` in a transaction and answers once that is on the disk. `work` may be done
    /// several times, each time on a connection where the earlier tries left nothing.
    pub(super) async fn run<T, F>(&self, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(TypedJob {
            work,
            result: None,
            reply,
        });
        let gone = || StoreError::Unavailable("the writer has ended".into());
        self.jobs.send(job).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// A write that waits, whatever its result is.
trait Job: Send {
    /// Whether nobody waits for the answer any more.
    fn is_abandoned(&self) -> bool;
    /// Does it and keeps the result. True if it failed and what it wrote is still there: only
    /// without a savepoint.
    fn run(&mut self, connection: &Connection, guard: Guard) -> rusqlite::Result<bool>;
    /// Gives the kept result, or this error.
    fn answer(self: Box<Self>, failure: Option<StoreError>);
}

/// What keeps a write that fails from leaving half of it in the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guard {
    /// The whole transaction is rolled back.
    Transaction,
    /// Its own savepoint.
    Savepoint,
}

struct TypedJob<T, F> {
    work: F,
    result: Option<rusqlite::Result<T>>,
    reply: oneshot::Sender<StoreResult<T>>,
}

impl<T, F> Job for TypedJob<T, F>
where
    T: Send,
    F: FnMut(&Connection) -> rusqlite::Result<T> + Send,
{
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn run(&mut self, connection: &Connection, guard: Guard) -> rusqlite::Result<bool> {
        let result = match guard {
            Guard::Transaction => (self.work)(connection),
            Guard::Savepoint => savepoint(connection, || (self.work)(connection)),
        };
        let failed = result.is_err();
        self.result = Some(result);
        // A full disk and its like make SQLite roll back everything, not only this.
        if failed && connection.is_autocommit() {
            return Err(lost_transaction());
        }
        Ok(failed && guard == Guard::Transaction)
    }

    fn answer(self: Box<Self>, failure: Option<StoreError>) {
        let result = match (failure, self.result) {
            (None, Some(result)) => result.map_err(|error| store_error(&error)),
            // Its own error says more than what happened to the transaction because of it.
            (Some(_), Some(Err(error))) => Err(store_error(&error)),
            (Some(failure), _) => Err(failure),
            (None, None) => Err(StoreError::Unavailable("the write was not done".into())),
        };
        // Nobody may be waiting any more: their time was up.
        let _ = self.reply.send(result);
    }
}

fn lost_transaction() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(
        rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT_ROLLBACK),
        Some("the transaction was rolled back".into()),
    )
}

/// Does `work`, all or nothing, inside the transaction that is open.
fn savepoint<T>(
    connection: &Connection,
    work: impl FnOnce() -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let execute = |sql| connection.prepare_cached(sql)?.execute([]);
    execute("SAVEPOINT step")?;
    let result = work();
    if result.is_err() && !connection.is_autocommit() {
        execute("ROLLBACK TO step")?;
    }
    if !connection.is_autocommit() {
        execute("RELEASE step")?;
    }
    result
}

fn write_until_closed(connection: &Connection, mut queue: mpsc::Receiver<Box<dyn Job>>) {
    let mut group: Vec<Box<dyn Job>> = Vec::with_capacity(SQLITE_GROUP_MAX);
    while queue.blocking_recv_many(&mut group, SQLITE_GROUP_MAX) > 0 {
        group.retain(|job| !job.is_abandoned());
        if group.is_empty() {
            continue;
        }
        metrics::histogram!("syncchat_sqlite_group_writes").record(group.len() as f64);
        match commit(connection, &mut group) {
            Ok(()) => group.drain(..).for_each(|job| job.answer(None)),
            Err(_) if group.len() > 1 => commit_one_by_one(connection, &mut group),
            Err(error) => group
                .drain(..)
                .for_each(|job| job.answer(Some(store_error(&error)))),
        }
    }
}

/// Does all jobs in one transaction. Jobs that fail by themselves keep their error.
fn commit(connection: &Connection, group: &mut [Box<dyn Job>]) -> rusqlite::Result<()> {
    match commit_guarded(connection, group, Guard::Transaction)? {
        true => Ok(()),
        false => commit_guarded(connection, group, Guard::Savepoint).map(drop),
    }
}

/// False if one failed and nothing is committed.
fn commit_guarded(
    connection: &Connection,
    group: &mut [Box<dyn Job>],
    guard: Guard,
) -> rusqlite::Result<bool> {
    let result = (|| {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        for job in group {
            if job.run(connection, guard)? {
                return Ok(false);
            }
        }
        connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(true)
    })();
    if !connection.is_autocommit() {
        // If this fails too, so does the next BEGIN, and this is tried again after it.
        if let Err(error) = connection.execute_batch("ROLLBACK") {
            tracing::error!(%error, "sqlite cannot roll back");
        }
    }
    result
}

/// What failed together may succeed alone: a write that frees room, or one beside one that is too
/// large.
fn commit_one_by_one(connection: &Connection, group: &mut Vec<Box<dyn Job>>) {
    for job in group.drain(..) {
        let mut alone = [job];
        let failure = commit(connection, &mut alone).err();
        let [job] = alone;
        job.answer(failure.as_ref().map(store_error));
    }
}
