//! Who is online in the fleet: each node keeps a lease and a set of its people; a node whose lease
//! has ended takes them all with it.
//!
//! Keys, all with an end of their own so that nothing stays for ever: `syncchat:nodes`, a sorted set
//! of live processes by the millisecond their lease ends; `syncchat:people:<process>`, the people of
//! one process. This node's own people are known here anyway, so an emptied Redis is filled again
//! with the next beat.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use fred::error::Error;
use fred::interfaces::{KeysInterface, SetsInterface, SortedSetsInterface};
use fred::types::scripts::Script;
use parking_lot::Mutex;
use syncchat_core::model::UserId;
use tokio::time::{MissedTickBehavior, interval};

use super::link::Link;
use crate::limits::{HEARTBEAT, LEASE, LEASE_KEYS_KEPT, PEOPLE_BATCH_MAX};

const NODES: &str = "syncchat:nodes";

/// This node's people, and the fleet's.
pub(crate) struct Leases {
    link: Arc<Link>,
    /// Name of this process in the sorted set: the node's id and what no other process has.
    me: String,
    /// People with a device on this node, and how many.
    here: Mutex<HashMap<UserId, usize>>,
    renewal: Script,
    list: Script,
}

impl Leases {
    /// Starts the heartbeat.
    pub(crate) fn start(link: Arc<Link>, node_id: &str) -> Arc<Leases> {
        let me = format!("{node_id}:{:016x}", link.process);
        let leases = Arc::new(Leases {
            link,
            me,
            here: Mutex::default(),
            renewal: Script::from_lua(include_str!("lua/renew_lease.lua")),
            list: Script::from_lua(include_str!("lua/list_processes.lua")),
        });
        tokio::spawn(leases.clone().beat());
        leases
    }

    /// One more device here. True if the person was offline in the fleet.
    pub(crate) async fn arrive(&self, user: UserId) -> bool {
        let first = {
            let mut here = self.here.lock();
            let devices = here.entry(user).or_default();
            *devices += 1;
            *devices == 1
        };
        if !first {
            return false;
        }
        let elsewhere = self.elsewhere(&[user]).await;
        let key = people_of(&self.me);
        if self.link.is_up() {
            self.log(self.link.commands.sadd::<i64, _, _>(key, id(user)).await);
        }
        !elsewhere.first().copied().unwrap_or(false)
    }

    /// One device less. True if none is left in the fleet.
    pub(crate) async fn leave(&self, user: UserId) -> bool {
        let last = {
            let mut here = self.here.lock();
            let Entry::Occupied(mut devices) = here.entry(user) else {
                return false;
            };
            *devices.get_mut() -= 1;
            let last = *devices.get() == 0;
            if last {
                devices.remove();
            }
            last
        };
        if !last {
            return false;
        }
        if self.link.is_up() {
            let gone = self
                .link
                .commands
                .srem::<i64, _, _>(people_of(&self.me), id(user))
                .await;
            self.log(gone);
        }
        let elsewhere = self.elsewhere(&[user]).await;
        !elsewhere.first().copied().unwrap_or(false)
    }

    /// Which of these have a device anywhere. While Redis is away: which have one here.
    pub(crate) async fn online(&self, users: &[UserId]) -> Vec<bool> {
        let mut online: Vec<bool> = {
            let here = self.here.lock();
            users.iter().map(|user| here.contains_key(user)).collect()
        };
        let away: Vec<UserId> = users
            .iter()
            .zip(&online)
            .filter(|(_, here)| !**here)
            .map(|(user, _)| *user)
            .collect();
        let mut elsewhere = self.elsewhere(&away).await.into_iter();
        for known in online.iter_mut().filter(|known| !**known) {
            *known = elsewhere.next().unwrap_or(false);
        }
        online
    }

    /// People whose node died, each told to one of the asking nodes only.
    pub(crate) async fn departed(&self) -> Vec<UserId> {
        match self.bury().await {
            Ok(people) => people,
            Err(error) => {
                self.log::<()>(Err(error));
                Vec::new()
            }
        }
    }

    async fn bury(&self) -> Result<Vec<UserId>, Error> {
        if !self.link.is_up() {
            return Ok(Vec::new());
        }
        let redis = &self.link.commands;
        let dead: Vec<String> = self
            .list
            .evalsha_with_reload(redis, NODES, vec!["dead"])
            .await?;
        let mut gone = Vec::new();
        for process in dead.into_iter().filter(|process| *process != self.me) {
            // Whoever takes it out of the set is the one who tells.
            if redis.zrem::<i64, _, _>(NODES, process.as_str()).await? == 1 {
                let people: Vec<String> = redis.smembers(people_of(&process)).await?;
                redis.del::<i64, _>(people_of(&process)).await?;
                tracing::warn!(
                    process,
                    people = people.len(),
                    "a node of the fleet is gone"
                );
                gone.extend(people.iter().filter_map(|user| user.parse::<UserId>().ok()));
            }
        }
        let online = self.online(&gone).await;
        Ok(gone
            .into_iter()
            .zip(online)
            .filter(|(_, online)| !online)
            .map(|(user, _)| user)
            .collect())
    }

    /// Which of these have a device on another live node.
    async fn elsewhere(&self, users: &[UserId]) -> Vec<bool> {
        match self.ask(users).await {
            Ok(online) => online,
            Err(error) => {
                self.log::<()>(Err(error));
                vec![false; users.len()]
            }
        }
    }

    async fn ask(&self, users: &[UserId]) -> Result<Vec<bool>, Error> {
        let mut online = vec![false; users.len()];
        if users.is_empty() || !self.link.is_up() {
            return Ok(online);
        }
        let redis = &self.link.commands;
        let live: Vec<String> = self
            .list
            .evalsha_with_reload(redis, NODES, vec!["live"])
            .await?;
        for process in live.iter().filter(|process| **process != self.me) {
            let mut known = online.chunks_mut(PEOPLE_BATCH_MAX);
            for people in users.chunks(PEOPLE_BATCH_MAX) {
                let ids: Vec<String> = people.iter().map(|user| id(*user)).collect();
                let there: Vec<i64> = redis.smismember(people_of(process), ids).await?;
                for (known, there) in known.next().into_iter().flatten().zip(there) {
                    *known |= there == 1;
                }
            }
        }
        Ok(online)
    }

    /// Renews the lease, and what an emptied Redis has forgotten, for ever.
    async fn beat(self: Arc<Self>) {
        let mut beats = interval(HEARTBEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            if self.link.is_up() {
                self.log(self.renew().await);
            }
        }
    }

    async fn renew(&self) -> Result<(), Error> {
        let redis = &self.link.commands;
        let lease = vec![self.me.clone(), LEASE.as_millis().to_string()];
        self.renewal
            .evalsha_with_reload::<i64, _, _>(redis, NODES, lease)
            .await?;
        let key = people_of(&self.me);
        let known: i64 = redis.scard(key.as_str()).await?;
        let people: Vec<String> = self.here.lock().keys().map(|user| id(*user)).collect();
        if known < people.len() as i64 {
            for batch in people.chunks(PEOPLE_BATCH_MAX) {
                redis
                    .sadd::<i64, _, _>(key.as_str(), batch.to_vec())
                    .await?;
            }
        }
        redis
            .expire::<i64, _>(key, LEASE_KEYS_KEPT.as_secs() as i64, None)
            .await?;
        Ok(())
    }

    fn log<T>(&self, result: Result<T, Error>) {
        if let Err(error) = result {
            tracing::debug!(%error, "redis did not answer about presence");
        }
    }
}

fn people_of(process: &str) -> String {
    format!("syncchat:people:{process}")
}

fn id(user: UserId) -> String {
    user.to_string()
}
