//! What every call has in common: a bound in time, and two metrics.

use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use syncchat_core::model::{ConversationId, Seq, Timestamp};
use syncchat_core::ports::store::{StoreError, StoreResult};

/// A call under way. Boxed, so that what surrounds calls is compiled once for each type of result and
/// not once for each call.
pub(crate) type Work<'a, T> = Pin<Box<dyn Future<Output = StoreResult<T>> + Send + 'a>>;

/// Runs one call of a store: ends it after `bound`, measures it, counts its failure.
///
/// `syncchat_store_call_seconds{store,call}` and `syncchat_store_errors_total{store,kind}`, kind
/// being `unavailable`, `timeout` or `damaged`.
pub(crate) async fn observe<T>(
    store: &'static str,
    call: &'static str,
    bound: Duration,
    work: Work<'_, T>,
) -> StoreResult<T> {
    let begun = Instant::now();
    let (result, kind) = match tokio::time::timeout(bound, work).await {
        Ok(Err(error)) => {
            let kind = kind_of(&error);
            (Err(error), kind)
        }
        Ok(ok) => (ok, ""),
        Err(_) => {
            let text = format!("{call} took longer than {bound:?}");
            (Err(StoreError::Unavailable(text)), "timeout")
        }
    };
    record(store, call, begun.elapsed());
    if let Err(error) = &result {
        record_failure(store, call, kind, error);
    }
    result
}

fn kind_of(error: &StoreError) -> &'static str {
    match error {
        StoreError::Unavailable(_) => "unavailable",
        StoreError::Damaged(_) => "damaged",
    }
}

fn record(store: &'static str, call: &'static str, took: Duration) {
    metrics::histogram!("syncchat_store_call_seconds", "store" => store, "call" => call)
        .record(took);
}

fn record_failure(store: &'static str, call: &'static str, kind: &'static str, error: &StoreError) {
    metrics::counter!("syncchat_store_errors_total", "store" => store, "kind" => kind).increment(1);
    if may_log() {
        tracing::warn!(store, call, kind, %error, "store call failed");
    }
}

const HEADS_HEALED: &str = "syncchat_store_heads_healed_total";

/// Says that a head was behind its log, which no write of ours leaves, and has been raised to its end.
pub(crate) fn head_healed(store: &'static str, conversation: ConversationId, from: Seq, to: Seq) {
    metrics::counter!(HEADS_HEALED, "store" => store).increment(1);
    tracing::error!(
        %conversation, from, to,
        "the head of a conversation was behind its log and was raised: the data may be a copy that \
         was not made at one moment: run `syncchat check --deep`"
    );
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
    metrics::describe_counter!(
        HEADS_HEALED,
        "heads of conversations that were behind their logs, and were raised"
    );
    metrics::counter!(HEADS_HEALED, "store" => store).increment(0);
    for kind in ["unavailable", "timeout", "damaged"] {
        metrics::counter!("syncchat_store_errors_total", "store" => store, "kind" => kind)
            .increment(0);
    }
}
