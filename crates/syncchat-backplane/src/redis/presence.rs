//! Who is online in the fleet: each node keeps a lease and a set of its people; a node whose lease
//! has ended takes them all with it.
//!
//! Keys, all with an end of their own so that nothing stays for ever: `syncchat:nodes`, a sorted set
//! of processes by the millisecond their lease ends; `syncchat:people:{<process>}`, the people of
//! one process. This node's own people are known here anyway, so an emptied Redis is filled again
//! with the next beat.
//!
//! A process whose lease has ended is dead unless it noted in the store, a moment ago, that it lives:
//! then only its way to Redis is cut, and its note says who is there ([`super::notes`]). Of such a
//! process Redis is not believed. While Redis is away, the notes of all stand in for it.
//!
//! That somebody is gone is believed only while it can be known: not before the others had the time to
//! come back to Redis ([`RETURN_GRACE`]) or to write their notes, nor while a node that is heard has not
//! renewed its lease yet. Until then whoever left is unsettled, and nobody is told.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use fred::error::Error;
use fred::interfaces::{KeysInterface, SetsInterface, SortedSetsInterface};
use fred::types::scripts::Script;
use parking_lot::Mutex;
use syncchat_core::model::UserId;
use syncchat_core::ports::store::{NodeStore, PresenceChange};
use tokio::time::{MissedTickBehavior, interval, interval_at, timeout};

use super::link::Link;
use super::notes::{Notes, part_of};
use super::pulse::Pulse;
use crate::limits::{
    HEARTBEAT, LEASE, LEASE_KEYS_KEPT, PEOPLE_BATCH_MAX, PRESENCE_TIMEOUT, RETURN_GRACE,
    SHOWN_ONLINE_MAX, UNSETTLED, UNSETTLED_MAX,
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
    /// What processes note in the store while somebody cannot be heard.
    notes: OnceLock<Notes>,
    renewal: Script,
    list: Script,
    burial: Script,
}

#[derive(Default)]
struct Here {
    /// People with a device on this node, and how many.
    devices: HashMap<UserId, usize>,
    /// People who may be gone, and from when on that may be judged: once the notes of others, who may
    /// have lost them at the same time, say so too.
    unsettled: HashMap<UserId, Instant>,
    /// Parts of the people that are noted otherwise, as bits.
    unnoted: u64,
    /// Others were told that everybody here is gone.
    mistaken: bool,
}

impl Here {
    /// One device more. True if it is the first.
    fn arrive(&mut self, user: UserId) -> bool {
        let devices = self.devices.entry(user).or_default();
        *devices += 1;
        let first = *devices == 1;
        if first {
            self.unnoted |= 1 << part_of(user);
        }
        first
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
            self.unnoted |= 1 << part_of(user);
        }
        last
    }

    /// To be judged later, from then on. False beyond [`UNSETTLED_MAX`].
    fn put_off(&mut self, user: UserId, until: Instant) -> bool {
        let room = self.unsettled.len() < UNSETTLED_MAX;
        if room {
            self.unsettled.insert(user, until);
        }
        room
    }

    /// Takes those who may be judged now.
    fn due(&mut self, now: Instant) -> Vec<UserId> {
        let due = self.unsettled.extract_if(|_, until| *until <= now);
        due.map(|(user, _)| user).collect()
    }

    /// Takes the parts of the people that are noted otherwise.
    fn parts_to_note(&mut self) -> Vec<(u8, Vec<UserId>)> {
        let unnoted = std::mem::take(&mut self.unnoted);
        let parts = (0..u64::BITS as u8).filter(|part| unnoted & (1 << part) != 0);
        let mut parts: Vec<(u8, Vec<UserId>)> = parts.map(|part| (part, Vec::new())).collect();
        for user in self.devices.keys() {
            let place = parts.binary_search_by_key(&part_of(*user), |(part, _)| *part);
            if let Ok(place) = place {
                parts[place].1.push(*user);
            }
        }
        parts
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
            notes: OnceLock::new(),
            renewal: Script::from_lua(include_str!("lua/renew_lease.lua")),
            list: Script::from_lua(include_str!("lua/list_processes.lua")),
            burial: Script::from_lua(include_str!("lua/bury_process.lua")),
        });
        let supervisor = &leases.link.supervisor;
        supervisor.spawn("redis leases", leases.clone().beat());
        leases
    }

    /// Notes in this store what others cannot hear, for ever.
    pub(crate) fn note_in(self: &Arc<Self>, store: Arc<dyn NodeStore>) {
        let (link, pulse) = (Arc::clone(&self.link), Arc::clone(&self.pulse));
        let notes = Notes::new(store, link, pulse, self.me.clone());
        if self.notes.set(notes).is_err() {
            tracing::error!("a second store for notes was set and is ignored");
            return;
        }
        let noting = Arc::clone(self).note();
        self.link.supervisor.spawn("notes of nodes", noting);
    }

    async fn note(self: Arc<Self>) {
        // One that starts is not heard yet, which is no cause for others to doubt.
        let mut beats = interval_at(tokio::time::Instant::now() + RETURN_GRACE, HEARTBEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beats.tick().await;
        let mut up = self.link.follow();
        let mut noted = false;
        while let Some(notes) = self.notes.get() {
            tokio::select! {
                _ = beats.tick() => {}
                // At once, for those who notice it by now.
                _ = up.changed() => {}
            }
            if notes.is_due() {
                noted = self.write_note(notes, noted).await;
            } else if noted {
                notes.withdraw().await;
                noted = false;
            }
        }
    }

    /// True if there is a note of this process. If there `was` one before, and it was taken, others told
    /// that everybody here is gone.
    async fn write_note(&self, notes: &Notes, was: bool) -> bool {
        if !was {
            self.here.lock().unnoted = u64::MAX;
        }
        let people = self.here.lock().parts_to_note();
        let parts = people.iter().fold(0, |parts, (part, _)| parts | 1 << part);
        match notes.write(people).await {
            Some(true) if was => {
                let mut here = self.here.lock();
                (here.unnoted, here.mistaken) = (u64::MAX, true);
            }
            Some(_) => {}
            None => self.here.lock().unnoted |= parts,
        }
        true
    }

    /// See [`syncchat_core::ports::fleet::Presence::note_changes`].
    pub(crate) fn note_changes(&self, changes: &[PresenceChange]) {
        if let Some(notes) = self.notes.get() {
            notes.add(changes);
        }
    }

    /// See [`syncchat_core::ports::fleet::Presence::noted`].
    pub(crate) async fn noted(&self) -> Vec<PresenceChange> {
        match self.notes.get() {
            Some(notes) => notes.look().await,
            None => Vec::new(),
        }
    }

    /// One more device here. True if the person was offline in the fleet, as far as is known.
    pub(crate) async fn arrive(&self, user: UserId) -> bool {
        let (first, unsettled) = {
            let mut here = self.here.lock();
            let unsettled = here.unsettled.remove(&user).is_some();
            (here.arrive(user), unsettled)
        };
        if !first {
            return false;
        }
        let elsewhere = self.elsewhere(&[user]).await;
        let key = people_of(&self.me);
        let added = self.link.commands.sadd::<i64, _, _>(key, id(user));
        self.within_bounds(added).await;
        // Of whom it was unsettled whether they had gone, nobody was told that they had.
        !unsettled && elsewhere != [Some(true)]
    }

    /// One device less. True if none is left in the fleet; if that cannot be known now, they will be
    /// among the departed.
    pub(crate) async fn leave(&self, user: UserId) -> bool {
        if !self.here.lock().leave(user) {
            return false;
        }
        let key = people_of(&self.me);
        let removed = self.link.commands.srem::<i64, _, _>(key, id(user));
        self.within_bounds(removed).await;
        match self.elsewhere(&[user]).await[..] {
            [Some(elsewhere)] => !elsewhere,
            _ => !self.here.lock().put_off(user, Instant::now() + UNSETTLED),
        }
    }

    /// A word to Redis about somebody who came or went. Others are told after it, if it is taken or not:
    /// the next renewal of the lease sets right what was not.
    async fn within_bounds(&self, word: impl Future<Output = Result<i64, Error>>) {
        if self.link.is_up() {
            match timeout(PRESENCE_TIMEOUT, word).await {
                Ok(said) => self.log(said),
                Err(_) => tracing::debug!("redis did not take a word of presence in time"),
            }
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
        let mut gone = self.here.lock().due(Instant::now());
        match self.bury().await {
            Ok(people) => gone.extend(people),
            Err(error) => self.log::<()>(Err(error)),
        }
        if gone.is_empty() {
            return gone;
        }
        let online = self.online(&gone).await;
        let noted = match self.notes.get() {
            Some(notes) if online.contains(&None) => notes.elsewhere(&gone).await,
            _ => None,
        };
        let mut departed = Vec::new();
        for (user, online) in gone.into_iter().zip(online) {
            let noted = noted.as_ref().map(|noted| noted.contains(&user));
            match online.or(noted) {
                Some(true) => {}
                Some(false) => departed.push(user),
                None => {
                    if !self.here.lock().put_off(user, Instant::now()) {
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

    /// This node ends, and nobody is here any more. Of whom that is unsettled, another node judges:
    /// they are all that is left in its note, if it has one.
    pub(crate) async fn end(&self) {
        if self.link.is_up() {
            let redis = &self.link.commands;
            self.log(redis.zrem::<i64, _, _>(NODES, self.me.as_str()).await);
            self.log(redis.del::<i64, _>(people_of(&self.me)).await);
        }
        if let Some(notes) = self.notes.get().filter(|notes| notes.is_due()) {
            {
                let mut here = self.here.lock();
                let unsettled = std::mem::take(&mut here.unsettled).into_keys();
                here.devices.extend(unsettled.map(|user| (user, 1)));
            }
            self.write_note(notes, false).await;
        }
    }

    /// Takes the people of nodes that died: those whose lease has ended, and those that noted in the
    /// store until then and have none.
    async fn bury(&self) -> Result<Vec<UserId>, Error> {
        let mut gone = Vec::new();
        let up = self.link.is_up();
        if up && self.link.up_for().is_none_or(|span| span < RETURN_GRACE) {
            return Ok(gone);
        }
        if up {
            for process in self.processes("dead").await? {
                if process != self.me && !self.is_spared(&process) {
                    gone.extend(self.bury_lease(&process).await?);
                }
            }
        }
        let Some(notes) = self.notes.get() else {
            return Ok(gone);
        };
        let stale = notes.stale();
        if !stale.is_empty() {
            let leased = match up {
                true => self.processes("unburied").await?,
                false => Vec::new(),
            };
            for process in stale.iter().filter(|process| !leased.contains(process)) {
                gone.extend(self.bury_note(process).await);
            }
        }
        gone.extend(self.bury_vanished(notes, up).await?);
        Ok(gone)
    }

    /// Those who may be gone with a node that died together with Redis: who was there, only Redis knew.
    /// So it is everybody whom the store shows online, to be judged like those of any node. Each node
    /// does it; who comes second finds nobody any more, or tells the same.
    async fn bury_vanished(&self, notes: &Notes, up: bool) -> Result<Vec<UserId>, Error> {
        let mut vanished = notes.unsettled();
        if vanished.is_empty() {
            return Ok(Vec::new());
        }
        if up {
            let leased = self.processes("unburied").await?;
            let buried = self.processes("buried").await?;
            vanished.retain(|process| !has(&leased, *process));
            notes.settle(vanished.extract_if(.., |process| has(&buried, *process)));
        }
        if vanished.is_empty() {
            return Ok(Vec::new());
        }
        let Some(shown) = notes.shown_online().await else {
            return Ok(Vec::new());
        };
        tracing::warn!(
            processes = ?vanished,
            shown = shown.len(),
            "a node is gone, and nobody knows who was there: all who are shown online are looked at"
        );
        if shown.len() >= SHOWN_ONLINE_MAX {
            ::metrics::counter!(metrics::LOOKS_CUT).increment(1);
        }
        notes.settle(vanished);
        Ok(shown)
    }

    async fn bury_lease(&self, process: &str) -> Result<Vec<UserId>, Error> {
        let redis = &self.link.commands;
        let forgotten = LEASE_KEYS_KEPT.as_millis().to_string();
        let buried: i64 = self
            .burial
            .evalsha_with_reload(redis, NODES, vec![process.to_owned(), forgotten])
            .await?;
        if buried != 1 {
            return Ok(Vec::new());
        }
        let people: Vec<String> = redis.smembers(people_of(process)).await?;
        redis.del::<i64, _>(people_of(process)).await?;
        tracing::warn!(
            process,
            people = people.len(),
            "a node of the fleet is gone"
        );
        let mut gone: HashSet<UserId> =
            people.iter().filter_map(|user| user.parse().ok()).collect();
        gone.extend(self.bury_note(process).await);
        Ok(gone.into_iter().collect())
    }

    async fn bury_note(&self, process: &str) -> Vec<UserId> {
        let Some(notes) = self.notes.get() else {
            return Vec::new();
        };
        let Some(people) = notes.bury(process).await else {
            return Vec::new();
        };
        tracing::warn!(
            process,
            people = people.len(),
            "a node that could not be heard is gone"
        );
        people
    }

    /// Whether this process is left alone although its lease has ended: it noted that it lives, or the
    /// store does not say.
    fn is_spared(&self, process: &str) -> bool {
        let spared = self
            .notes
            .get()
            .is_some_and(|notes| notes.may_live(process));
        if spared {
            ::metrics::counter!(metrics::NODES_SPARED).increment(1);
        }
        spared
    }

    /// Processes that are `unburied`, or `dead` (those of them whose lease has ended), or `buried` (of
    /// late).
    async fn processes(&self, which: &str) -> Result<Vec<String>, Error> {
        let redis = &self.link.commands;
        self.list
            .evalsha_with_reload(redis, NODES, vec![which])
            .await
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
        let live = self.processes("unburied").await?;
        // What Redis has of those that do not reach it is old.
        let aside = self.notes.get().map(Notes::aside).unwrap_or_default();
        let all = aside.is_empty() && self.knows_all(&live);
        let mut online = vec![all.then_some(false); users.len()];
        let known = |process: &&String| **process != self.me && !aside.contains(*process);
        for process in live.iter().filter(known) {
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
        let has_lease = |process| has(live, process);
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

/// Whether the process of this number is among these.
fn has(processes: &[String], number: u64) -> bool {
    let number = format!(":{number:016x}");
    processes.iter().any(|process| process.ends_with(&number))
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
        let (mut here, now) = (Here::default(), Instant::now());
        let user = UserId::from_bytes([1; 12]);
        assert!(here.arrive(user) && !here.arrive(user));
        assert!(!here.leave(user) && here.leave(user) && !here.leave(user));
        for i in 0..UNSETTLED_MAX as u64 {
            let mut bytes = [0; 12];
            bytes[..8].copy_from_slice(&i.to_be_bytes());
            assert!(here.put_off(UserId::from_bytes(bytes), now));
        }
        assert!(!here.put_off(UserId::from_bytes([9; 12]), now));
        assert_eq!(here.due(now).len(), UNSETTLED_MAX);
    }
}
