//! Who is online: told to those who share a conversation, once a person really came or went.
//!
//! What counts is whether a person has a socket on this node now, not how it came to that: each
//! change only says "look again", at once or after a grace, so a reconnect in between is seen by
//! nobody. The fleet hears at once who is here: others are told of a change only if they are here, so
//! two who come together must not miss each other. Telling goes in rounds: a crowd that comes at once
//! shares the questions to the store, and each of those who watch gets what a round has for them in one
//! write.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;
use parking_lot::Mutex;
use syncchat_core::Chat;
use syncchat_core::model::{PresenceStatus, UserId};
use syncchat_core::ports::fleet::{Fleet, FleetEvent, FleetListener, Presence};
use syncchat_core::ports::store::{AccountStore, PresenceChange};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::feed::Feed;
use crate::gateway::Parts;
use crate::hub::Hub;
use crate::limits::{
    PRESENCE_ASKED_AT_ONCE, PRESENCE_BATCH_MAX, PRESENCE_DEPARTED_INTERVAL, PRESENCE_FEW,
    PRESENCE_GRACE, PRESENCE_LOOKS_MAX, PRESENCE_NEWS_MAX, PRESENCE_ROUND, PRESENCE_TOLD_PER_TURN,
    PRESENCE_WAITING_MAX, PRESENCE_WATCHERS_MAX,
};
use crate::metrics;
use crate::timers::Timers;

/// Keeps the fleet, the store and the people who care in line with who is here.
pub(crate) struct PresenceKeeper {
    /// Whom to look at, and when. One entry for each coming and going.
    due: Timers<UserId>,
    /// Who is here, as the fleet was told.
    here: Mutex<HashSet<UserId>>,
    /// Who is here although the fleet was told otherwise since.
    mistaken: Mutex<HashSet<UserId>>,
    /// What the fleet knows and nobody was told yet: the last of each person.
    untold: Mutex<HashMap<UserId, PresenceChange>>,
    /// There is something to tell.
    news: Notify,
    /// What there was to tell is being told.
    room: Notify,
    hub: Arc<Hub>,
    chat: Arc<Chat>,
    fleet: Arc<dyn Fleet>,
    presence: Arc<dyn Presence>,
    accounts: Arc<dyn AccountStore>,
}

impl PresenceKeeper {
    pub(crate) fn new(parts: &Parts, hub: Arc<Hub>) -> PresenceKeeper {
        PresenceKeeper {
            due: Timers::new(),
            here: Mutex::default(),
            mistaken: Mutex::default(),
            untold: Mutex::default(),
            news: Notify::new(),
            room: Notify::new(),
            hub,
            chat: Arc::clone(&parts.chat),
            fleet: Arc::clone(&parts.fleet),
            presence: Arc::clone(&parts.presence),
            accounts: Arc::clone(&parts.accounts),
        }
    }

    /// A socket of this person has come.
    pub(crate) fn has_come(&self, user: UserId) {
        self.due.set(Instant::now(), user);
    }

    /// The last socket of this person has gone.
    pub(crate) fn has_gone(&self, user: UserId) {
        self.due.set(Instant::now() + PRESENCE_GRACE, user);
    }

    /// Looks at who came and went, and has the fleet know, for ever.
    pub(crate) async fn look_around(self: Arc<PresenceKeeper>) {
        loop {
            let first = self.due.next().await;
            // Each once: what counts is how it is when it is looked at.
            let mut users = HashSet::from([first]);
            while users.len() < PRESENCE_LOOKS_MAX
                && let Some(user) = self.due.take_due()
            {
                users.insert(user);
            }
            stream::iter(users)
                .map(|user| self.look(user))
                .buffer_unordered(PRESENCE_ASKED_AT_ONCE)
                .filter_map(std::future::ready)
                .for_each(|change| {
                    self.untold.lock().insert(change.user, change);
                    self.news.notify_one();
                    std::future::ready(())
                })
                .await;
            while self.untold.lock().len() >= PRESENCE_WAITING_MAX {
                self.room.notified().await;
            }
        }
    }

    /// Tells what was seen, round after round, for ever.
    pub(crate) async fn tell_in_rounds(self: Arc<PresenceKeeper>) {
        loop {
            self.news.notified().await;
            let next = Instant::now() + PRESENCE_ROUND;
            let changes = self.take_untold();
            self.room.notify_one();
            let told = self.due.len() <= PRESENCE_WAITING_MAX;
            self.changed(&changes, told).await;
            if changes.len() > PRESENCE_FEW {
                sleep_until(next).await;
            }
        }
    }

    fn take_untold(&self) -> Vec<PresenceChange> {
        let untold = std::mem::take(&mut *self.untold.lock());
        untold.into_values().collect()
    }

    /// Tells of people whose node died, of those who were wrongly said to be gone, and people here of
    /// what other nodes could not tell them, for ever.
    pub(crate) async fn watch_others(self: Arc<PresenceKeeper>, feed: Arc<Feed>) {
        let mut interval = tokio::time::interval(PRESENCE_DEPARTED_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let noted = self.presence.noted().await;
            self.tell_here(&noted, &feed).await;
            for user in self.presence.mistaken().await {
                self.contradict(user);
            }
            let departed = self.presence.departed().await;
            let changes: Vec<_> = departed.into_iter().map(|user| self.gone(user)).collect();
            self.changed(&changes, true).await;
        }
    }

    /// Somebody is here of whom the fleet was told otherwise.
    fn contradict(&self, user: UserId) {
        self.mistaken.lock().insert(user);
        self.due.set(Instant::now(), user);
    }

    /// Tells people here of changes that other nodes noted because they are not heard.
    async fn tell_here(&self, changes: &[PresenceChange], feed: &Feed) {
        for changes in changes.chunks(PRESENCE_BATCH_MAX) {
            for (change, contacts) in self.with_contacts(changes).await {
                if change.status == PresenceStatus::Offline && self.hub.has(change.user) {
                    self.contradict(change.user);
                    continue;
                }
                for watcher in contacts.into_iter().filter(|user| self.hub.has(*user)) {
                    feed.on_event(&change_for(watcher, change));
                }
            }
        }
    }

    /// Each change with those who care; none, and counted, if the store does not say who does.
    async fn with_contacts<'a>(
        &self,
        changes: &'a [PresenceChange],
    ) -> Vec<(&'a PresenceChange, Vec<UserId>)> {
        let users: Vec<UserId> = changes.iter().map(|change| change.user).collect();
        match self.chat.contacts(&users, PRESENCE_WATCHERS_MAX).await {
            Ok(contacts) => changes.iter().zip(contacts).collect(),
            Err(error) => {
                metrics::ephemeral_dropped("presence", changes.len());
                tracing::debug!(%error, "contacts cannot be read");
                Vec::new()
            }
        }
    }

    /// Nobody is here any more, whatever grace is left: the node ends.
    pub(crate) async fn all_gone(&self) {
        let here = std::mem::take(&mut *self.here.lock());
        let leave = |user| async move { self.presence.leave(user).await.then(|| self.gone(user)) };
        let changes = stream::iter(here)
            .map(leave)
            .buffer_unordered(PRESENCE_ASKED_AT_ONCE)
            .filter_map(std::future::ready);
        let changes: Vec<PresenceChange> = changes.collect().await;
        self.changed(&self.take_untold(), true).await;
        self.changed(&changes, true).await;
    }

    /// Brings what the fleet knows of a person in line. What is to be told, if anything.
    async fn look(&self, user: UserId) -> Option<PresenceChange> {
        let mistaken = self.mistaken.lock().remove(&user);
        if self.hub.has(user) {
            let first = self.here.lock().insert(user);
            let came = (first && self.presence.arrive(user).await) || mistaken;
            return came.then(|| PresenceChange {
                status: PresenceStatus::Online,
                ..self.gone(user)
            });
        }
        let left = self.here.lock().remove(&user);
        (left && self.presence.leave(user).await).then(|| self.gone(user))
    }

    /// A person has no device any more, as of now by the store's time: nodes compare these.
    fn gone(&self, user: UserId) -> PresenceChange {
        PresenceChange {
            user,
            status: PresenceStatus::Offline,
            at: self.chat.clock().estimate(),
        }
    }

    /// Keeps changes, and tells those who care if they are to be `told`. What there is for one of them is
    /// told at once, whoever it is of: so it shares a write.
    async fn changed(&self, changes: &[PresenceChange], told: bool) {
        self.presence.note_changes(changes);
        let mut news = Vec::new();
        for changes in changes.chunks(PRESENCE_BATCH_MAX) {
            if let Err(error) = self.accounts.set_presence(changes).await {
                tracing::debug!(%error, "presence cannot be stored");
            }
            if !told {
                metrics::ephemeral_dropped("presence", changes.len());
                continue;
            }
            for (change, contacts) in self.with_contacts(changes).await {
                news.extend(contacts.into_iter().map(|watcher| (watcher, change)));
            }
            if news.len() >= PRESENCE_NEWS_MAX {
                self.tell(&mut news).await;
            }
        }
        self.tell(&mut news).await;
    }

    /// Tells each who is online, or may be, all there is for them.
    async fn tell(&self, news: &mut Vec<(UserId, &PresenceChange)>) {
        news.sort_unstable_by_key(|(watcher, change)| (*watcher, change.at));
        let of_each = || news.chunk_by(|(one, _), (other, _)| one == other);
        let watchers: Vec<UserId> = of_each().map(|news| news[0].0).collect();
        let mut online = Vec::with_capacity(watchers.len());
        for watchers in watchers.chunks(PRESENCE_LOOKS_MAX) {
            online.extend(self.presence.online(watchers).await);
        }
        let mut told = 0;
        for (news, online) in of_each().zip(online) {
            if online == Some(false) {
                continue;
            }
            for &(watcher, change) in news {
                self.fleet.publish(change_for(watcher, change));
            }
            told += news.len();
            if told >= PRESENCE_TOLD_PER_TURN {
                told = 0;
                tokio::task::yield_now().await;
            }
        }
        news.clear();
    }
}

/// What is said of a change to one of those who care.
fn change_for(watcher: UserId, change: &PresenceChange) -> FleetEvent {
    FleetEvent::Presence {
        watcher,
        user: change.user,
        status: change.status,
        last_seen: change.at,
    }
}
