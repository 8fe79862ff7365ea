//! Who is online in the fleet: each node keeps a lease and a set of its people; a node whose lease
//! has ended takes them all with it.
//!
//! Keys, all with an end of their own so that nothing stays for ever: `syncchat:nodes`, a sorted set
//! of processes by the millisecond their lease ends; `syncchat:people:{<process>}`, the people of
//! one process. This node's own people are known here anyway, so an emptied Redis is filled again
//! with the next beat.
//!
//! A process whose lease has ended is dead unless it noted in the store, a moment ago, that it lives:
//! then only its way to Redis is cut, and its people stay as they were. Each process notes that every
//! second while it does not reach Redis.
//!
//! That somebody is gone is believed only while it can be known: not while Redis is away, nor before
//! the others had the time to come back to it ([`RETURN_GRACE`]), nor while a node that is heard has
//! not renewed its lease yet. Until then whoever left is unsettled, and nobody is told.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use fred::error::Error;
use fred::interfaces::{KeysInterface, SetsInterface, SortedSetsInterface};
use fred::types::scripts::Script;
use parking_lot::Mutex;
use syncchat_core::model::UserId;
use syncchat_core::ports::store::NodeStore;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::link::Link;
use super::pulse::Pulse;
use crate::limits::{
    HEARTBEAT, LEASE, LEASE_KEYS_KEPT, NOTE_FRESH, PEOPLE_BATCH_MAX, PRESENCE_TIMEOUT,
    RETURN_GRACE, SILENT_PROCESSES_MAX, UNSETTLED_MAX,
};
use crate::metrics;

const NODES: &str = "syncchat:nodes";

/// This node's people, and the fleet's.
pub(crate) struct Leases {
    link: Arc<Link>,
    pulse: Arc<Pulse>,
    /// Name of this process in the sorted set: the node's id and what no other process has.
    me: String,
    here: Mutex<Here>,
    /// Where processes note that they live while Redis is away from them.
    store: OnceLock<Arc<dyn NodeStore>>,
    renewal: Script,
    list: Script,
    burial: Script,
}

#[derive(Default)]
struct Here {
    /// People with a device on this node, and how many.
    devices: HashMap<UserId, usize>,
    /// People who may be gone.
    unsettled: HashSet<UserId>,
    /// Others were told that everybody here is gone.
    mistaken: bool,
}

impl Here {
    /// One device more. True if it is the first.
    fn arrive(&mut self, user: UserId) -> bool {
        let devices = self.devices.entry(user).or_default();
        *devices += 1;
        *devices == 1
    }

    /// One device less. True if it was the last.
    fn leave(&mut self, user: UserId) -> bool {
        let Some(devices) = self.devices.get_mut(&user) else {
            return false;
        };
        *devices -= 1;
        let last = *devices == 0;
        if last {
            self.devices.remove(&user);
        }
        last
    }

    /// To be asked about later. False beyond [`UNSETTLED_MAX`].
    fn put_off(&mut self, user: UserId) -> bool {
        let room = self.unsettled.len() < UNSETTLED_MAX;
        if room {
            self.unsettled.insert(user);
        }
        room
    }
}

impl Leases {
    /// Starts the heartbeat.
    pub(crate) fn start(link: Arc<Link>, pulse: Arc<Pulse>, node_id: &str) -> Arc<Leases> {
        let me = format!("{node_id}:{:016x}", link.process);
        let leases = Arc::new(Leases {
            link,
            pulse,
            me,
            here: Mutex::default(),
            store: OnceLock::new(),
            renewal: Script::from_lua(include_str!("lua/renew_lease.lua")),
            list: Script::from_lua(include_str!("lua/list_processes.lua")),
            burial: Script::from_lua(include_str!("lua/bury_process.lua")),
        });
        tokio::spawn(leases.clone().beat());
        leases
    }

    /// Notes in this store that this process lives, while Redis is away, for ever.
    pub(crate) fn note_in(self: &Arc<Self>, store: Arc<dyn NodeStore>) {
        if self.store.set(Arc::clone(&store)).is_err() {
            tracing::error!("a second store for notes was set and is ignored");
            return;
        }
        let leases = Arc::clone(self);
        tokio::spawn(async move {
            let mut beats = interval(HEARTBEAT);
            beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                beats.tick().await;
                if !leases.link.is_up()
                    && let Err(error) = store.note_alive(&leases.me).await
                {
                    tracing::debug!(%error, "not noted that this node lives");
                }
            }
        });
    }

    /// One more device here. True if the person was offline in the fleet, as far as is known.
    pub(crate) async fn arrive(&self, user: UserId) -> bool {
        let (first, unsettled) = {
            let mut here = self.here.lock();
            (here.arrive(user), here.unsettled.remove(&user))
        };
        if !first {
            return false;
        }
        let elsewhere = self.elsewhere(&[user]).await;
        if self.link.is_up() {
            let key = people_of(&self.me);
            self.log(self.link.commands.sadd::<i64, _, _>(key, id(user)).await);
        }
        // Of whom it was unsettled whether they had gone, nobody was told that they had.
        !unsettled && elsewhere != [Some(true)]
    }

    /// One device less. True if none is left in the fleet; if that cannot be known now, they will be
    /// among the departed.
    pub(crate) async fn leave(&self, user: UserId) -> bool {
        if !self.here.lock().leave(user) {
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
        match self.elsewhere(&[user]).await[..] {
            [Some(elsewhere)] => !elsewhere,
            _ => !self.here.lock().put_off(user),
        }
    }

    /// Which of these have a device anywhere; `None` where that cannot be known now.
    pub(crate) async fn online(&self, users: &[UserId]) -> Vec<Option<bool>> {
        let mut online: Vec<Option<bool>> = {
            let here = self.here.lock();
            let here = |user| here.devices.contains_key(user).then_some(true);
            users.iter().map(here).collect()
        };
        let not_here = users.iter().zip(&online).filter(|(_, here)| here.is_none());
        let away: Vec<UserId> = not_here.map(|(user, _)| *user).collect();
        let mut elsewhere = self.elsewhere(&away).await.into_iter();
        for known in online.iter_mut().filter(|known| known.is_none()) {
            *known = elsewhere.next().flatten();
        }
        online
    }

    /// People whose node died, and who left while it was unsettled whether they are elsewhere; each
    /// told to one of the asking nodes only.
    pub(crate) async fn departed(&self) -> Vec<UserId> {
        if self.link.up_for().is_none_or(|span| span < RETURN_GRACE) {
            return Vec::new();
        }
        let mut gone: Vec<UserId> = self.here.lock().unsettled.drain().collect();
        match self.bury().await {
            Ok(people) => gone.extend(people),
            Err(error) => self.log::<()>(Err(error)),
        }
        let online = self.online(&gone).await;
        let mut departed = Vec::new();
        for (user, online) in gone.into_iter().zip(online) {
            match online {
                Some(true) => {}
                Some(false) => departed.push(user),
                None => {
                    if !self.here.lock().put_off(user) {
                        departed.push(user);
                    }
                }
            }
        }
        departed
    }

    /// People who are here although others were told that they had gone, since last asked.
    pub(crate) fn mistaken(&self) -> Vec<UserId> {
        let mut here = self.here.lock();
        if std::mem::take(&mut here.mistaken) {
            here.devices.keys().copied().collect()
        } else {
            Vec::new()
        }
    }

    /// This node ends, and nobody is here any more.
    pub(crate) async fn end(&self) {
        if self.link.is_up() {
            let redis = &self.link.commands;
            self.log(redis.zrem::<i64, _, _>(NODES, self.me.as_str()).await);
            self.log(redis.del::<i64, _>(people_of(&self.me)).await);
        }
    }

    /// Takes the people of nodes whose lease has ended.
    async fn bury(&self) -> Result<Vec<UserId>, Error> {
        let redis = &self.link.commands;
        let dead: Vec<String> = self
            .list
            .evalsha_with_reload(redis, NODES, vec!["dead"])
            .await?;
        let silent = dead.into_iter().filter(|process| *process != self.me);
        let mut gone = Vec::new();
        for process in self.without_living(silent.collect()).await {
            let forgotten = LEASE_KEYS_KEPT.as_millis().to_string();
            let buried: i64 = self
                .burial
                .evalsha_with_reload(redis, NODES, vec![process.clone(), forgotten])
                .await?;
            if buried == 1 {
                let people: Vec<String> = redis.smembers(people_of(&process)).await?;
                redis.del::<i64, _>(people_of(&process)).await?;
                let people_count = people.len();
                tracing::warn!(
                    process,
                    people = people_count,
                    "a node of the fleet is gone"
                );
                gone.extend(people.iter().filter_map(|user| user.parse::<UserId>().ok()));
            }
        }
        Ok(gone)
    }

    /// Those of these silent processes that did not note that they live. If the store does not say,
    /// none is buried for now.
    async fn without_living(&self, mut silent: Vec<String>) -> Vec<String> {
        let Some(store) = self.store.get().filter(|_| !silent.is_empty()) else {
            return silent;
        };
        // The others have their turn when these are buried.
        silent.truncate(SILENT_PROCESSES_MAX);
        match store.noted_alive(&silent, NOTE_FRESH).await {
            Ok(living) => {
                ::metrics::counter!(metrics::NODES_SPARED).increment(living.len() as u64);
                silent.retain(|process| !living.contains(process));
                silent
            }
            Err(error) => {
                tracing::debug!(%error, "the store does not say who lives");
                Vec::new()
            }
        }
    }

    /// Which of these have a device on another node that is not buried; `None` where that cannot be known now.
    async fn elsewhere(&self, users: &[UserId]) -> Vec<Option<bool>> {
        if users.is_empty() || !self.link.is_up() {
            return vec![None; users.len()];
        }
        match timeout(PRESENCE_TIMEOUT, self.ask(users)).await {
            Ok(Ok(online)) => return online,
            Ok(Err(error)) => self.log::<()>(Err(error)),
            Err(_) => tracing::debug!("redis did not answer about presence in time"),
        }
        vec![None; users.len()]
    }

    async fn ask(&self, users: &[UserId]) -> Result<Vec<Option<bool>>, Error> {
        let redis = &self.link.commands;
        let live: Vec<String> = self
            .list
            .evalsha_with_reload(redis, NODES, vec!["unburied"])
            .await?;
        let mut online = vec![self.knows_all(&live).then_some(false); users.len()];
        for process in live.iter().filter(|process| **process != self.me) {
            let mut known = online.chunks_mut(PEOPLE_BATCH_MAX);
            for people in users.chunks(PEOPLE_BATCH_MAX) {
                let ids: Vec<String> = people.iter().map(|user| id(*user)).collect();
                let there: Vec<i64> = redis.smismember(people_of(process), ids).await?;
                for (known, there) in known.next().into_iter().flatten().zip(there) {
                    if there == 1 {
                        *known = Some(true);
                    }
                }
            }
        }
        Ok(online)
    }

    /// Whether all who may have people are among these.
    fn knows_all(&self, live: &[String]) -> bool {
        let has_lease = |process| {
            let process = format!(":{process:016x}");
            live.iter().any(|live| live.ends_with(&process))
        };
        let long_up = self.link.up_for().is_some_and(|span| span >= RETURN_GRACE);
        long_up && self.pulse.others().into_iter().all(has_lease)
    }

    /// Renews the lease, and what an emptied Redis has forgotten, for ever.
    async fn beat(self: Arc<Self>) {
        let mut beats = interval(HEARTBEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut up = self.link.follow();
        let mut differed = true;
        loop {
            tokio::select! {
                _ = beats.tick() => {}
                // At once, so that nobody takes this node for dead.
                _ = up.changed() => differed = true,
            }
            if self.link.is_up() {
                match self.renew(differed).await {
                    Ok(differs) => differed = differs,
                    Err(error) => self.log::<()>(Err(error)),
                }
            }
        }
    }

    /// Renews the lease; tells whether Redis knows another number of people than are here. If it did
    /// the last time too, so that this is nobody on the way, all of them are written anew.
    async fn renew(&self, differed: bool) -> Result<bool, Error> {
        let redis = &self.link.commands;
        let lease = vec![self.me.clone(), LEASE.as_millis().to_string()];
        let buried: i64 = self
            .renewal
            .evalsha_with_reload(redis, NODES, lease)
            .await?;
        let key = people_of(&self.me);
        let known: i64 = redis.scard(key.as_str()).await?;
        let people: Vec<UserId> = self.here.lock().devices.keys().copied().collect();
        let differs = known != people.len() as i64;
        if buried == 1 || (differs && differed) {
            self.write(&key, &people).await?;
        }
        if buried == 1 {
            tracing::warn!("others took this node for dead: its people are announced again");
            self.here.lock().mistaken = true;
        }
        redis
            .expire::<i64, _>(key, LEASE_KEYS_KEPT.as_secs() as i64, None)
            .await?;
        Ok(differs)
    }

    /// Writes all people who are here. Whoever comes or goes meanwhile is set right the next time.
    async fn write(&self, key: &str, people: &[UserId]) -> Result<(), Error> {
        let redis = &self.link.commands;
        let new = format!("{key}:new");
        redis.del::<i64, _>(new.as_str()).await?;
        for batch in people.chunks(PEOPLE_BATCH_MAX) {
            let ids: Vec<String> = batch.iter().map(|user| id(*user)).collect();
            redis.sadd::<i64, _, _>(new.as_str(), ids).await?;
        }
        if people.is_empty() {
            redis.del::<i64, _>(key).await?;
        } else {
            redis.rename::<(), _, _>(new, key).await?;
        }
        Ok(())
    }

    fn log<T>(&self, result: Result<T, Error>) {
        if let Err(error) = result {
            tracing::debug!(%error, "redis did not answer about presence");
        }
    }
}

fn people_of(process: &str) -> String {
    format!("syncchat:people:{{{process}}}")
}

fn id(user: UserId) -> String {
    user.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_counted_and_the_unsettled_are_bounded() {
        let mut here = Here::default();
        let user = UserId::from_bytes([1; 12]);
        assert!(here.arrive(user) && !here.arrive(user));
        assert!(!here.leave(user) && here.leave(user) && !here.leave(user));
        for i in 0..UNSETTLED_MAX as u64 {
            let mut bytes = [0; 12];
            bytes[..8].copy_from_slice(&i.to_be_bytes());
            assert!(here.put_off(UserId::from_bytes(bytes)));
        }
        assert!(!here.put_off(UserId::from_bytes([9; 12])));
    }
}
