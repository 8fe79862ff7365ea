//! Multi-document transactions: how they begin, how they end, and when they are tried again.

use std::future::Future;
use std::time::{Duration, Instant};

use mongodb::error::{Error, UNKNOWN_TRANSACTION_COMMIT_RESULT};
use mongodb::options::{ReadConcern, TransactionOptions, WriteConcern};
use mongodb::{Client, ClientSession};
use syncchat_core::ports::store::{StoreError, StoreResult};

use super::MongoStore;
use super::errors::{is_duplicate, is_transient, store_error};
use crate::limits::{
    APPEND_TIMEOUT, MONGO_ATTEMPTS_MAX, MONGO_COMMIT_ATTEMPTS_MAX, MONGO_CROWD_PAUSE,
    MONGO_CROWDED_SPAN, MONGO_PAUSE_MAX, MONGO_TOGETHER_ATTEMPTS_MAX,
};

/// Why a transaction wrote nothing, or may have.
#[derive(Debug)]
pub(super) enum Failure {
    /// Others got in the way and nothing was written: what they did can be read now, or soon.
    Conflict,
    /// Something of it exists, and nothing was written.
    Duplicate,
    /// It may or may not have happened.
    Store(StoreError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        if is_duplicate(&error) {
            Failure::Duplicate
        } else if is_transient(&error) {
            Failure::Conflict
        } else {
            Failure::Store(store_error(&error))
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::Store(error)
    }
}

/// Every write in it is durable once [`commit`] says so. One that is dropped before is aborted by
/// the driver, which does not make the caller wait for a server that is gone.
pub(super) async fn begin(client: &Client) -> Result<ClientSession, Failure> {
    let mut session = client.start_session().await?;
    session
        .start_transaction()
        .with_options(
            TransactionOptions::builder()
                .read_concern(ReadConcern::snapshot())
                .write_concern(durable())
                .max_commit_time(APPEND_TIMEOUT)
                .build(),
        )
        .await?;
    Ok(session)
}

/// What "durable" means to MongoDB: on the disks of most members.
pub(super) fn durable() -> WriteConcern {
    let mut concern = WriteConcern::majority();
    concern.journal = Some(true);
    concern
}

/// Commits, again if it is not known whether that worked: a second commit of the same transaction
/// does nothing.
pub(super) async fn commit(session: &mut ClientSession) -> Result<(), Failure> {
    let mut attempts = 1;
    loop {
        match session.commit_transaction().await {
            Ok(()) => return Ok(()),
            Err(error)
                if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT)
                    && attempts < MONGO_COMMIT_ATTEMPTS_MAX =>
            {
                attempts += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Ends a transaction that did not fail, so that the next try does not run into it. That this
/// fails does not matter: the server aborts it then, or has already.
pub(super) async fn abort(session: &mut ClientSession) {
    if let Err(error) = session.abort_transaction().await {
        tracing::debug!(%error, "transaction not aborted");
    }
}

/// Tries until nobody gets in the way, a bounded number of times.
pub(super) async fn until_free<T, F>(mut attempt: impl FnMut() -> F) -> StoreResult<T>
where
    F: Future<Output = Result<T, Failure>>,
{
    for tried in 0..MONGO_ATTEMPTS_MAX {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(Failure::Store(error)) => return Err(error),
            Err(Failure::Conflict | Failure::Duplicate) => pause(tried).await,
        }
    }
    Err(StoreError::Unavailable(format!(
        "others got in the way {MONGO_ATTEMPTS_MAX} times"
    )))
}

/// Tries for [`MONGO_CROWDED_SPAN`], where others may be writing to the same document all the time. What
/// is in the way and does not go on is ended.
pub(super) async fn until_let_in<T, F>(
    store: &MongoStore,
    mut attempt: impl FnMut() -> F,
) -> StoreResult<T>
where
    F: Future<Output = Result<T, Failure>>,
{
    let begun = Instant::now();
    let mut tried = 0;
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(Failure::Store(error)) => return Err(error),
            Err(Failure::Conflict | Failure::Duplicate) => {
                metrics::counter!("syncchat_mongodb_conflicts_total").increment(1);
            }
        }
        if begun.elapsed() >= MONGO_CROWDED_SPAN {
            let text = "others got in the way all the time".into();
            return Err(StoreError::Unavailable(text));
        }
        if tried >= MONGO_TOGETHER_ATTEMPTS_MAX {
            super::orphans::end(store).await;
        }
        pause_in_crowd(tried).await;
        tried += 1;
    }
}

/// Waits a random time that grows with the number of tries, so that those who met do not meet
/// again.
pub(super) async fn pause(tried: u32) {
    pause_below(Duration::from_millis(4 << tried.min(8)).min(MONGO_PAUSE_MAX)).await;
}

/// The same where many are let in one after the other: who was refused more often is not to wait
/// much longer than who has just come.
pub(super) async fn pause_in_crowd(tried: u32) {
    pause_below(MONGO_CROWD_PAUSE * (1 + tried.min(7))).await;
}

async fn pause_below(longest: Duration) {
    let mut random = [0; 2];
    // Without a random source everybody waits equally long, which is still a pause.
    let _ = getrandom::fill(&mut random);
    let share = f64::from(u16::from_ne_bytes(random)) / f64::from(u16::MAX);
    tokio::time::sleep(longest.mul_f64(share)).await;
}
