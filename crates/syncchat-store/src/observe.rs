//! What every call has in common: a bound in time, and two metrics.

use std::future::Future;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use syncchat_core::model::Timestamp;
use syncchat_core::ports::store::{StoreError, StoreResult};

/// Runs one call of a store: ends it after `bound`, measures it, counts its failure.
///
/// `syncchat_store_call_seconds{store,call}` and `syncchat_store_errors_total{store,kind}`, kind
/// being `unavailable`, `timeout` or `damaged`.
pub(crate) async fn observe<T>(
    store: &'static str,
    call: &'static str,
    bound: Duration,
    work: impl Future<Output = StoreResult<T>>,
) -> StoreResult<T> {
    let begun = Instant::now();
    let (result, failure) = match tokio::time::timeout(bound, work).await {
        Ok(Ok(value)) => (Ok(value), None),
        Ok(Err(error)) => {
            let kind = match error {
                StoreError::Unavailable(_) => "unavailable",
                StoreError::Damaged(_) => "damaged",
            };
            (Err(error), Some(kind))
        }
        Err(_) => {
            let error = StoreError::Unavailable(format!("{call} took longer than {bound:?}"));
            (Err(error), Some("timeout"))
        }
    };
    metrics::histogram!("syncchat_store_call_seconds", "store" => store, "call" => call)
        .record(begun.elapsed());
    if let (Err(error), Some(kind)) = (&result, failure) {
        metrics::counter!("syncchat_store_errors_total", "store" => store, "kind" => kind)
            .increment(1);
        if may_log() {
            tracing::warn!(store, call, kind, %error, "store call failed");
        }
    }
    result
}

/// Once a second: while a store is away every call fails, and the first one says why. All are
/// counted.
fn may_log() -> bool {
    static LAST: AtomicI64 = AtomicI64::new(0);
    let now = Timestamp::now().millis() / 1_000;
    LAST.swap(now, Ordering::Relaxed) != now
}

/// Declares the metrics, so that a scrape shows them at zero before anything has failed.
pub(crate) fn describe(store: &'static str) {
    metrics::describe_histogram!(
        "syncchat_store_call_seconds",
        metrics::Unit::Seconds,
        "how long calls of the store took"
    );
    metrics::describe_counter!(
        "syncchat_store_errors_total",
        "calls of the store that failed"
    );
    for kind in ["unavailable", "timeout", "damaged"] {
        metrics::counter!("syncchat_store_errors_total", "store" => store, "kind" => kind)
            .increment(0);
    }
}
