//! One read for many who ask at once.
//!
//! Who asks while a read is under way is asked for together with all others in the next one, so that a
//! crowd costs as many reads as there are turns, not as many as there are people. Nobody is given what
//! was read before they asked: whoever began to listen before asking misses nothing.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::error::{Error, ErrorCode, Result};
use crate::metrics;

/// How much is read at once.
#[derive(Debug, Clone, Copy)]
pub struct TogetherLimits {
    /// What is asked for in one read; more wait for the next.
    pub batch_max: usize,
    /// Reads under way at once.
    pub in_flight_max: usize,
    /// What waits for a read. Beyond it: `unavailable`.
    pub waiting_max: usize,
}

/// Reads by key, made together. Made inside a tokio runtime, and used there.
pub struct Together<K, V> {
    inner: Arc<Inner<K, V>>,
}

type Reading<V> = Pin<Box<dyn Future<Output = Result<Vec<V>>> + Send>>;

struct Inner<K, V> {
    what: &'static str,
    limits: TogetherLimits,
    read: Box<dyn Fn(Vec<K>) -> Reading<V> + Send + Sync>,
    queue: Mutex<Queue<K, V>>,
}

struct Queue<K, V> {
    /// In the order in which they were asked for first.
    keys: VecDeque<K>,
    askers: HashMap<K, Vec<oneshot::Sender<Result<V>>>>,
    in_flight: usize,
}

/// A read that is under way, or about to be.
struct Flight<K, V>(Arc<Inner<K, V>>);

impl<K, V> Drop for Flight<K, V> {
    fn drop(&mut self) {
        let mut queue = self.0.queue.lock();
        queue.in_flight -= 1;
        if std::thread::panicking() && queue.in_flight == 0 {
            // No flight is left to read for the waiting callers: they are told that their read did not end.
            queue.keys.clear();
            queue.askers.clear();
        }
    }
}

impl<K, V> Together<K, V>
where
    K: Copy + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + 'static,
{
    /// Reads by `read`, which answers with one value for each key, in their order. `what` names it in
    /// metrics.
    pub fn new<R, F>(what: &'static str, limits: TogetherLimits, read: R) -> Together<K, V>
    where
        R: Fn(Vec<K>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Vec<V>>> + Send + 'static,
    {
        Together {
            inner: Arc::new(Inner {
                what,
                limits,
                read: Box::new(move |keys| Box::pin(read(keys))),
                queue: Mutex::new(Queue {
                    keys: VecDeque::new(),
                    askers: HashMap::new(),
                    in_flight: 0,
                }),
            }),
        }
    }

    /// What is read for this key, by a read that begins after this call.
    ///
    /// # Errors
    /// What the read failed with; `unavailable` if too many wait.
    pub async fn get(&self, key: K) -> Result<V> {
        let answer = self.ask(key)?;
        let gone = |_| Error::new(ErrorCode::Internal, "a read did not end");
        answer.await.map_err(gone)?
    }

    /// As [`Self::get`], for several keys, in their order.
    ///
    /// # Errors
    /// As [`Self::get`], the first.
    pub async fn get_all(&self, keys: &[K]) -> Result<Vec<V>> {
        let answers: Result<Vec<_>> = keys.iter().map(|key| self.ask(*key)).collect();
        let mut values = Vec::with_capacity(keys.len());
        for answer in answers? {
            let gone = |_| Error::new(ErrorCode::Internal, "a read did not end");
            values.push(answer.await.map_err(gone)??);
        }
        Ok(values)
    }

    fn ask(&self, key: K) -> Result<oneshot::Receiver<Result<V>>> {
        let Inner { what, limits, .. } = *self.inner;
        let (answer, answered) = oneshot::channel();
        let begins = {
            let mut queue = self.inner.queue.lock();
            let full = queue.keys.len() >= limits.waiting_max;
            match queue.askers.get_mut(&key) {
                Some(askers) => askers.push(answer),
                None if full => {
                    metrics::read_refused(what);
                    return Err(Error::unavailable("too many wait for the store"));
                }
                None => {
                    queue.askers.insert(key, vec![answer]);
                    queue.keys.push_back(key);
                }
            }
            let begins = queue.in_flight < limits.in_flight_max;
            queue.in_flight += usize::from(begins);
            begins
        };
        metrics::read_asked(what);
        if begins {
            let flight = Flight(Arc::clone(&self.inner));
            tokio::spawn(flight.run());
        }
        Ok(answered)
    }
}

impl<K, V> Flight<K, V>
where
    K: Copy + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + 'static,
{
    /// Reads until nobody waits.
    async fn run(self) {
        loop {
            // Those who are about to ask in this turn come along.
            tokio::task::yield_now().await;
            let (keys, askers) = self.0.take();
            if keys.is_empty() {
                return;
            }
            metrics::read_made(self.0.what, keys.len());
            match (self.0.read)(keys).await {
                Ok(values) => {
                    for (askers, value) in askers.into_iter().zip(values) {
                        answer(askers, Ok(value));
                    }
                }
                Err(error) => {
                    for askers in askers {
                        answer(askers, Err(error.clone()));
                    }
                }
            }
        }
    }
}

impl<K: Copy + Eq + Hash, V> Inner<K, V> {
    /// Those whose turn it is, without those who have gone meanwhile.
    #[allow(clippy::type_complexity)]
    fn take(&self) -> (Vec<K>, Vec<Vec<oneshot::Sender<Result<V>>>>) {
        let mut queue = self.queue.lock();
        let (mut keys, mut all) = (Vec::new(), Vec::new());
        while keys.len() < self.limits.batch_max
            && let Some(key) = queue.keys.pop_front()
        {
            let askers = queue.askers.remove(&key).unwrap_or_default();
            if askers.iter().any(|asker| !asker.is_closed()) {
                keys.push(key);
                all.push(askers);
            }
        }
        (keys, all)
    }
}

fn answer<V: Clone>(mut askers: Vec<oneshot::Sender<Result<V>>>, value: Result<V>) {
    // Whoever has gone does not miss it.
    let last = askers.pop();
    for asker in askers {
        let _ = asker.send(value.clone());
    }
    if let Some(last) = last {
        let _ = last.send(value);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    const LIMITS: TogetherLimits = TogetherLimits {
        batch_max: 10,
        in_flight_max: 2,
        waiting_max: 100,
    };

    type Reads = Arc<Mutex<Vec<Vec<u32>>>>;

    /// Doubles numbers, in ten milliseconds.
    fn doubler(limits: TogetherLimits) -> (Arc<Together<u32, u32>>, Reads) {
        let reads = Reads::default();
        let seen = Arc::clone(&reads);
        let read = move |keys: Vec<u32>| {
            seen.lock().push(keys.clone());
            async move {
                sleep(Duration::from_millis(10)).await;
                if keys.contains(&13) {
                    return Err(Error::unavailable("no luck"));
                }
                Ok(keys.iter().map(|key| 2 * key).collect())
            }
        };
        (Arc::new(Together::new("numbers", limits, read)), reads)
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_at_once_is_read_together_and_once() {
        let (together, reads) = doubler(LIMITS);
        let ask = |key: u32| {
            let together = Arc::clone(&together);
            tokio::spawn(async move { together.get(100 + key % 40).await })
        };
        let asked: Vec<_> = (0..80).map(ask).collect();
        for (key, asked) in (0..80).zip(asked) {
            assert_eq!(asked.await.unwrap(), Ok(2 * (100 + key % 40)));
        }
        let reads = reads.lock();
        assert_eq!(reads.len(), 4, "{reads:?}");
        assert!(reads.iter().all(|keys| keys.len() == 10));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_given_what_was_read_before_they_asked() {
        let (together, reads) = doubler(LIMITS);
        let first = {
            let together = Arc::clone(&together);
            tokio::spawn(async move { together.get(1).await })
        };
        sleep(Duration::from_millis(5)).await;
        assert_eq!(reads.lock().len(), 1, "under way");
        assert_eq!(together.get(1).await, Ok(2));
        assert_eq!(first.await.unwrap(), Ok(2));
        assert_eq!(*reads.lock(), [[1], [1]]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_is_everybodys_and_ends_nothing() {
        let (together, _) = doubler(LIMITS);
        let all = together.get_all(&[12, 13, 14]).await;
        assert_eq!(all.unwrap_err().code, ErrorCode::Unavailable);
        assert_eq!(together.get_all(&[12, 14, 12]).await, Ok(vec![24, 28, 24]));
        sleep(Duration::from_millis(1)).await;
        assert_eq!(together.inner.queue.lock().in_flight, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_that_panics_answers_every_caller() {
        let read = |keys: Vec<u32>| async move {
            assert!(!keys.contains(&13), "planted");
            Ok(keys)
        };
        let limits = TogetherLimits {
            batch_max: 1,
            in_flight_max: 1,
            ..LIMITS
        };
        let together = Together::new("numbers", limits, read);
        // The second waits for a turn of the read that panics.
        let answers = [together.ask(13).unwrap(), together.ask(14).unwrap()];
        for answer in answers {
            assert!(answer.await.is_err());
        }
        assert_eq!(together.get(14).await, Ok(14));
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_may_wait_are_refused_and_who_has_gone_is_not_read() {
        let (together, reads) = doubler(TogetherLimits {
            waiting_max: 2,
            ..LIMITS
        });
        let gone = together.ask(1).unwrap();
        let here = together.ask(2).unwrap();
        assert!(together.ask(2).is_ok(), "is waited for already");
        assert_eq!(
            together.get(3).await.unwrap_err().code,
            ErrorCode::Unavailable
        );
        drop(gone);
        assert_eq!(here.await.unwrap(), Ok(4));
        assert_eq!(*reads.lock(), [[2]]);
    }
}
