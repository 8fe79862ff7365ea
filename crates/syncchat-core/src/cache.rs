//! A bounded map that many tasks use at once: what was not used for longest goes first, nearly.
//!
//! Each shard keeps two generations. What is put or used is in the young one; when that holds half
//! of what the shard may hold, the old one is dropped and the young one takes its place. So what was
//! used since the last turn stays, and no list has to be kept in order.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::mem::swap;

use foldhash::fast::RandomState;
use parking_lot::Mutex;

const SHARDS: usize = 32;

/// A bounded map from `K` to `V`; values are handed out as clones.
pub(crate) struct Cache<K, V> {
    hasher: RandomState,
    shards: Vec<Mutex<Generations<K, V>>>,
    generation_max: usize,
    weigh: fn(&V) -> usize,
}

struct Generations<K, V> {
    young: HashMap<K, V, RandomState>,
    /// May still hold what was put anew since: the young one counts.
    old: HashMap<K, V, RandomState>,
    /// Of the young ones.
    weight: usize,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// A cache for values that together weigh at most `weight_max`.
    pub(crate) fn new(weight_max: usize, weigh: fn(&V) -> usize) -> Cache<K, V> {
        Cache {
            hasher: RandomState::default(),
            shards: (0..SHARDS)
                .map(|_| {
                    Mutex::new(Generations {
                        young: HashMap::default(),
                        old: HashMap::default(),
                        weight: 0,
                    })
                })
                .collect(),
            generation_max: (weight_max / SHARDS / 2).max(1),
            weigh,
        }
    }

    /// The value under this key.
    pub(crate) fn get(&self, key: &K) -> Option<V> {
        let mut shard = self.shard(key).lock();
        if let Some(value) = shard.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = shard.old.remove_entry(key)?;
        self.place(&mut shard, key, value.clone());
        Some(value)
    }

    /// Puts a value.
    pub(crate) fn put(&self, key: K, value: V) {
        let mut shard = self.shard(&key).lock();
        self.place(&mut shard, key, value);
    }

    /// Puts a value, unless the one that is there shall stay.
    pub(crate) fn put_unless(&self, key: K, value: V, stays: impl FnOnce(&V) -> bool) {
        let mut shard = self.shard(&key).lock();
        let present = shard.young.get(&key).or_else(|| shard.old.get(&key));
        if present.is_some_and(stays) {
            return;
        }
        self.place(&mut shard, key, value);
    }

    /// Forgets what is under this key.
    pub(crate) fn remove(&self, key: &K) {
        let mut shard = self.shard(key).lock();
        shard.old.remove(key);
        if let Some(value) = shard.young.remove(key) {
            shard.weight -= (self.weigh)(&value);
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.young.clear();
            shard.old.clear();
            shard.weight = 0;
        }
    }

    fn shard(&self, key: &K) -> &Mutex<Generations<K, V>> {
        &self.shards[self.hasher.hash_one(key) as usize % self.shards.len()]
    }

    fn place(&self, shard: &mut Generations<K, V>, key: K, value: V) {
        let weight = (self.weigh)(&value);
        if shard.weight + weight > self.generation_max {
            // Its places are used again.
            swap(&mut shard.young, &mut shard.old);
            shard.young.clear();
            shard.weight = 0;
        }
        shard.weight += weight;
        if let Some(before) = shard.young.insert(key, value) {
            shard.weight -= (self.weigh)(&before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(cache: &Cache<u32, usize>) -> usize {
        let shards = cache.shards.iter().map(|shard| {
            let shard = shard.lock();
            shard
                .young
                .values()
                .chain(shard.old.values())
                .sum::<usize>()
        });
        shards.sum()
    }

    #[test]
    fn what_is_used_stays_and_the_weight_is_bounded() {
        let cache = Cache::new(6_400, |weight| *weight);
        cache.put(0, 7);
        for key in 1..100_000 {
            cache.put(key, 1 + key as usize % 3);
            assert_eq!(cache.get(&0), Some(7), "used all the time");
        }
        assert!(held(&cache) <= 6_400, "{}", held(&cache));
        assert!(held(&cache) > 3_200, "{}", held(&cache));
        assert_eq!(cache.get(&1), None, "not used for long");
        assert_eq!(cache.get(&99_999), Some(1));
    }

    #[test]
    fn puts_over_and_forgets() {
        let cache = Cache::new(1_000, |_| 1);
        cache.put(1, 10);
        cache.put(1, 20);
        cache.put_unless(1, 30, |present| *present > 15);
        assert_eq!(cache.get(&1), Some(20));
        cache.put_unless(1, 40, |present| *present > 25);
        assert_eq!(cache.get(&1), Some(40));
        cache.remove(&1);
        assert_eq!(cache.get(&1), None);
        cache.put(2, 10);
        cache.clear();
        assert_eq!(cache.get(&2), None);
        assert!(cache.shards.iter().all(|shard| shard.lock().weight == 0));
    }

    #[test]
    fn one_that_is_too_heavy_does_no_harm() {
        let cache = Cache::new(64, |weight| *weight);
        for key in 0..100 {
            cache.put(key, 1_000_000);
            assert_eq!(cache.get(&key), Some(1_000_000));
        }
    }
}
