//! Every wait for the store is bounded here, and its errors become refusals here.

use std::time::Duration;

use crate::error::{Error, ErrorCode, Result};
use crate::limits::{COMMIT_TIMEOUT, READ_TIMEOUT};
use crate::ports::store::{StoreError, StoreResult};

/// Waits for a read.
pub(crate) async fn read<T>(call: impl Future<Output = StoreResult<T>>) -> Result<T> {
    within(READ_TIMEOUT, call).await.map_err(refusal)
}

/// Waits for a write. An error leaves its outcome unknown.
pub(crate) async fn write<T>(call: impl Future<Output = StoreResult<T>>) -> Result<T> {
    within(COMMIT_TIMEOUT, call).await.map_err(refusal)
}

/// A store answers in bounded time by itself; this is for the one that does not.
async fn within<T>(
    limit: Duration,
    call: impl Future<Output = StoreResult<T>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer,
        Err(_) => Err(StoreError::Unavailable(format!("no answer in {limit:?}"))),
    }
}

/// What a caller is told; the details are for the log.
fn refusal(error: StoreError) -> Error {
    match error {
        StoreError::Unavailable(why) => {
            tracing::warn!(why, "the store does not answer");
            Error::unavailable("the store does not answer")
        }
        StoreError::Damaged(what) => {
            tracing::error!(what, "the store holds what cannot be");
            Error::new(ErrorCode::Internal, "the store holds what cannot be")
        }
    }
}
