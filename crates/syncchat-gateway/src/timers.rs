//! What is to happen at some moment: one ordered map and one task for all of it, instead of a timer
//! for each socket.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Names one entry, to cancel it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimerKey(Instant, u64);

impl TimerKey {
    /// When it is due.
    pub(crate) fn at(self) -> Instant {
        self.0
    }
}

/// Entries in the order in which they are due. Bounded by what they belong to: each owner cancels
/// what it no longer waits for.
pub(crate) struct Timers<T> {
    due: Mutex<BTreeMap<TimerKey, T>>,
    number: AtomicU64,
    sooner: Notify,
}

impl<T> Timers<T> {
    pub(crate) fn new() -> Timers<T> {
        Timers {
            due: Mutex::default(),
            number: AtomicU64::new(0),
            sooner: Notify::new(),
        }
    }

    /// Gives `what` to [`Self::next`] at this moment.
    pub(crate) fn set(&self, at: Instant, what: T) -> TimerKey {
        let key = TimerKey(at, self.number.fetch_add(1, Ordering::Relaxed));
        let mut due = self.due.lock();
        due.insert(key, what);
        if due
            .first_key_value()
            .is_some_and(|(&first, _)| first == key)
        {
            self.sooner.notify_one();
        }
        key
    }

    /// Takes an entry back that has not been given out yet.
    pub(crate) fn cancel(&self, key: TimerKey) -> Option<T> {
        self.due.lock().remove(&key)
    }

    /// What this finds in the entries that wait.
    pub(crate) fn find<R>(&self, find: impl Fn(&T) -> Option<R>) -> Vec<R> {
        self.due.lock().values().filter_map(find).collect()
    }

    /// Entries that wait.
    pub(crate) fn len(&self) -> usize {
        self.due.lock().len()
    }

    /// An entry that is due already.
    pub(crate) fn take_due(&self) -> Option<T> {
        let mut due = self.due.lock();
        let first = due.first_entry()?;
        (first.key().0 <= Instant::now()).then(|| first.remove())
    }

    /// Waits for the next entry to be due. For one task.
    pub(crate) async fn next(&self) -> T {
        loop {
            let first = {
                let mut due = self.due.lock();
                match due.first_entry() {
                    Some(first) if first.key().0 <= Instant::now() => return first.remove(),
                    Some(first) => Some(first.key().0),
                    None => None,
                }
            };
            match first {
                Some(at) => tokio::select! {
                    () = sleep_until(at) => {}
                    () = self.sooner.notified() => {}
                },
                None => self.sooner.notified().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn gives_out_in_order_and_not_what_was_cancelled() {
        let timers = Arc::new(Timers::new());
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        timers.set(at(3), "third");
        let cancelled = timers.set(at(2), "second");
        let other = Arc::clone(&timers);
        let sooner = async move {
            tokio::task::yield_now().await;
            other.set(at(1), "first");
            other.cancel(cancelled)
        };
        let (first, taken_back) = tokio::join!(timers.next(), sooner);
        assert_eq!((first, taken_back), ("first", Some("second")));
        assert_eq!(timers.take_due(), None);
        assert_eq!(timers.find(|what| what.strip_prefix("thi")), ["rd"]);
        assert_eq!(timers.next().await, "third");
        timers.set(Instant::now(), "fourth");
        assert_eq!(timers.take_due(), Some("fourth"));
        assert_eq!(Instant::now(), at(3));
        assert_eq!((timers.len(), timers.cancel(cancelled)), (0, None));
    }
}
