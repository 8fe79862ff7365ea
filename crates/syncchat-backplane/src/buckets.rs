//! Token buckets in memory, bounded in number.
//!
//! A bucket is one number, the moment at which it will be full again (the generic cell rate
//! algorithm): taking a token moves that moment one interval on, and there is a token as long as
//! the moment lies less than a whole bucket away. A full bucket is as good as none, so it can be
//! forgotten.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use syncchat_core::ports::limiter::{LimitKind, LimiterRates, Rate};

use crate::limits::{
    BUCKET_KEY_BYTES_MAX, BUCKET_SHARDS, BUCKETS_EVICTED_AT_ONCE, BUCKETS_PER_SHARD_MAX,
    BUCKETS_SWEPT_FROM,
};
use crate::metrics;

/// Buckets by kind and key.
pub(crate) struct Buckets {
    rates: LimiterRates,
    start: Instant,
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
}

/// A part of the buckets.
struct Shard {
    /// Kind and key → nanoseconds after the start at which the bucket is full again.
    buckets: HashMap<(LimitKind, Box<str>), u64>,
    /// So many buckets there may be until full ones are looked for.
    room: usize,
}

impl Buckets {
    /// Full buckets for everybody.
    pub(crate) fn new(rates: LimiterRates) -> Buckets {
        Buckets {
            rates,
            start: Instant::now(),
            hasher: RandomState::new(),
            shards: (0..BUCKET_SHARDS)
                .map(|_| Mutex::new(Shard::new()))
                .collect(),
        }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// How long until there is one.
    pub(crate) fn take(&self, kind: LimitKind, key: &str) -> Result<(), Duration> {
        self.ask(kind, key, self.start.elapsed(), true)
    }

    /// Whether there is a token.
    ///
    /// # Errors
    /// How long until there is one.
    pub(crate) fn peek(&self, kind: LimitKind, key: &str) -> Result<(), Duration> {
        self.ask(kind, key, self.start.elapsed(), false)
    }

    fn ask(&self, kind: LimitKind, key: &str, now: Duration, take: bool) -> Result<(), Duration> {
        let Some(rate) = self.rates.of(kind) else {
            return Ok(());
        };
        let now = nanos(now);
        let key = cut(key);
        let at = (self.hasher.hash_one((kind, key)) as usize) % self.shards.len();
        let mut shard = self.shards[at].lock();
        let bucket = (kind, Box::from(key));
        let full_at = shard.buckets.get(&bucket).copied().unwrap_or(0);
        let after = spend(rate, full_at, now)?;
        if take {
            if shard.buckets.len() >= shard.room && !shard.buckets.contains_key(&bucket) {
                shard.make_room(now);
            }
            shard.buckets.insert(bucket, after);
        }
        Ok(())
    }
}

impl Shard {
    fn new() -> Shard {
        Shard {
            buckets: HashMap::new(),
            room: BUCKETS_SWEPT_FROM,
        }
    }

    /// Forgets the buckets that are full, and if that is too little at the bound, those that will be
    /// full first: theirs is the least to lose. The next look comes when there are twice as many as
    /// are left, so that each bucket pays for a few, and who has gone is not remembered for long.
    fn make_room(&mut self, now: u64) {
        self.buckets.retain(|_, full_at| *full_at > now);
        let left = self.buckets.len();
        let excess = (left + BUCKETS_EVICTED_AT_ONCE).saturating_sub(BUCKETS_PER_SHARD_MAX);
        if excess > 0 {
            self.evict(excess);
        }
        self.room = (2 * self.buckets.len()).clamp(BUCKETS_SWEPT_FROM, BUCKETS_PER_SHARD_MAX);
        self.buckets.shrink_to(self.room);
    }

    fn evict(&mut self, excess: usize) {
        let mut moments: Vec<u64> = self.buckets.values().copied().collect();
        let (_, &mut last, _) = moments.select_nth_unstable(excess - 1);
        let before = self.buckets.len();
        self.buckets.retain(|_, full_at| *full_at > last);
        ::metrics::counter!(metrics::BUCKETS_EVICTED)
            .increment((before - self.buckets.len()) as u64);
    }
}

/// When the bucket will be full again after one token more was taken from it.
fn spend(rate: Rate, full_at: u64, now: u64) -> Result<u64, Duration> {
    // A rate of nothing is not an endless wait: a year is as good, and cannot overflow.
    const INTERVAL_MAX: f64 = 365.0 * 24.0 * 3_600.0 * 1e9;
    let interval = (1e9 / rate.per_second.max(0.0)).clamp(1.0, INTERVAL_MAX) as u64;
    let capacity = interval.saturating_mul(u64::from(rate.burst.max(1)));
    let after = full_at.max(now).saturating_add(interval);
    let away = after - now;
    if away > capacity {
        return Err(Duration::from_nanos(away - capacity));
    }
    Ok(after)
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// The part of a key that counts, cut at a character's end.
fn cut(key: &str) -> &str {
    let mut end = key.len().min(BUCKET_KEY_BYTES_MAX);
    while !key.is_char_boundary(end) {
        end -= 1;
    }
    &key[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: LimitKind = LimitKind::Messages;

    fn buckets(per_second: f64, burst: u32) -> Buckets {
        Buckets::new(LimiterRates {
            messages: Some(Rate { per_second, burst }),
            ..LimiterRates::OFF
        })
    }

    fn seconds(s: f64) -> Duration {
        Duration::from_secs_f64(s)
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let buckets = buckets(2.0, 3);
        let take = |at| buckets.ask(KIND, "u", seconds(at), true);
        for _ in 0..3 {
            assert_eq!(take(10.0), Ok(()));
        }
        assert_eq!(
            take(10.0),
            Err(seconds(0.5)),
            "a token comes every half second"
        );
        assert_eq!(take(10.4), Err(seconds(0.1)));
        assert_eq!(take(10.5), Ok(()));
        assert!(
            take(10.5).is_err(),
            "refusals take nothing and give nothing"
        );
        for _ in 0..3 {
            assert_eq!(
                take(1_000.0),
                Ok(()),
                "never more than the burst is saved up"
            );
        }
        assert!(take(1_000.0).is_err());
    }

    #[test]
    fn peeking_takes_nothing_and_keys_are_apart() {
        let buckets = buckets(1.0, 1);
        for _ in 0..5 {
            assert_eq!(buckets.ask(KIND, "u", seconds(1.0), false), Ok(()));
        }
        assert_eq!(buckets.ask(KIND, "u", seconds(1.0), true), Ok(()));
        assert!(buckets.ask(KIND, "u", seconds(1.0), false).is_err());
        assert_eq!(buckets.ask(KIND, "v", seconds(1.0), true), Ok(()));
        for _ in 0..100 {
            assert_eq!(buckets.take(LimitKind::Logins, "u"), Ok(()), "off");
        }
    }

    #[test]
    fn the_number_of_buckets_is_bounded_and_the_emptiest_are_kept() {
        let buckets = buckets(1.0, 100);
        // An offender with an empty bucket, then a flood of strangers with one request each.
        for _ in 0..100 {
            assert_eq!(buckets.ask(KIND, "offender", seconds(1.0), true), Ok(()));
        }
        let strangers = BUCKET_SHARDS * BUCKETS_PER_SHARD_MAX * 2;
        for i in 0..strangers {
            let key = format!("stranger {i}");
            assert_eq!(buckets.ask(KIND, &key, seconds(1.0), true), Ok(()));
        }
        for shard in &buckets.shards {
            assert!(shard.lock().buckets.len() <= BUCKETS_PER_SHARD_MAX);
        }
        assert!(buckets.ask(KIND, "offender", seconds(1.0), true).is_err());
    }

    #[test]
    fn full_buckets_go_first() {
        let mut shard = Shard::new();
        for i in 0..BUCKETS_PER_SHARD_MAX {
            let bucket = (KIND, i.to_string().into());
            shard.buckets.insert(bucket, i as u64);
        }
        shard.make_room(BUCKETS_EVICTED_AT_ONCE as u64 * 2);
        assert_eq!(
            shard.buckets.len(),
            BUCKETS_PER_SHARD_MAX - 2 * BUCKETS_EVICTED_AT_ONCE - 1
        );
    }

    #[test]
    fn who_has_gone_is_not_remembered_for_long() {
        let buckets = buckets(1.0, 1);
        let sizes = |of: fn(&Shard) -> usize| -> usize {
            let shards = buckets.shards.iter();
            shards.map(|shard| of(&shard.lock())).sum()
        };
        // A crowd at once, then some hundred people a second, each of whom comes once.
        for i in 0..100_000 {
            let key = format!("of the crowd {i}");
            assert_eq!(buckets.ask(KIND, &key, seconds(1.0), true), Ok(()));
        }
        assert_eq!(sizes(|shard| shard.buckets.len()), 100_000);
        for i in 0..100_000 {
            let at = seconds(3.0 + f64::from(i) / 100.0);
            let key = format!("passing {i}");
            assert_eq!(buckets.ask(KIND, &key, at, true), Ok(()));
        }
        assert!(sizes(|shard| shard.buckets.len()) <= BUCKET_SHARDS * BUCKETS_SWEPT_FROM);
        assert!(sizes(|shard| shard.buckets.capacity()) <= BUCKET_SHARDS * 2 * BUCKETS_SWEPT_FROM);
    }

    #[test]
    fn odd_rates_and_keys_do_no_harm() {
        for per_second in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE] {
            let rate = Rate {
                per_second,
                burst: u32::MAX,
            };
            assert!(spend(rate, 0, 1).is_ok(), "{per_second}");
            assert!(spend(rate, 0, u64::MAX).is_ok(), "{per_second}");
        }
        let long = "é".repeat(BUCKET_KEY_BYTES_MAX);
        assert!(cut(&long).len() <= BUCKET_KEY_BYTES_MAX);
    }
}
