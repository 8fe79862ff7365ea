//! Who is online: told to those who share a conversation, once a person really came or went.
//!
//! What counts is whether a person has a socket on this node now, not how it came to that: each
//! change only says "look again", at once or after a grace, so a reconnect in between is seen by
//! nobody.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;
use parking_lot::Mutex;
use syncchat_core::Chat;
use syncchat_core::model::{PresenceStatus, Timestamp, UserId};
use syncchat_core::ports::fleet::{Fleet, FleetEvent, Presence};
use syncchat_core::ports::store::AccountStore;
use tokio::time::Instant;

use crate::gateway::Parts;
use crate::hub::Hub;
use crate::limits::{
    PRESENCE_DEPARTED_INTERVAL, PRESENCE_GRACE, PRESENCE_LANES, PRESENCE_TOLD_MAX,
    PRESENCE_WATCHERS_MAX,
};
use crate::metrics;
use crate::timers::Timers;

/// Keeps the fleet, the store and the people who care in line with who is here.
pub(crate) struct PresenceKeeper {
    lanes: Vec<Lane>,
    hub: Arc<Hub>,
    chat: Arc<Chat>,
    fleet: Arc<dyn Fleet>,
    presence: Arc<dyn Presence>,
    accounts: Arc<dyn AccountStore>,
}

/// A share of the people: changes of one person are made one after the other.
struct Lane {
    /// Whom to look at, and when. One entry for each coming and going.
    due: Timers<UserId>,
    /// Who is here, as the fleet was told.
    here: Mutex<HashSet<UserId>>,
    /// Who is here although the fleet was told otherwise since.
    mistaken: Mutex<HashSet<UserId>>,
}

impl PresenceKeeper {
    pub(crate) fn new(parts: &Parts, hub: Arc<Hub>) -> PresenceKeeper {
        let lane = |_| Lane {
            due: Timers::new(),
            here: Mutex::default(),
            mistaken: Mutex::default(),
        };
        PresenceKeeper {
            lanes: (0..PRESENCE_LANES).map(lane).collect(),
            hub,
            chat: Arc::clone(&parts.chat),
            fleet: Arc::clone(&parts.fleet),
            presence: Arc::clone(&parts.presence),
            accounts: Arc::clone(&parts.accounts),
        }
    }

    /// A socket of this person has come.
    pub(crate) fn has_come(&self, user: UserId) {
        self.lane(user).due.set(Instant::now(), user);
    }

    /// The last socket of this person has gone.
    pub(crate) fn has_gone(&self, user: UserId) {
        let at = Instant::now() + PRESENCE_GRACE;
        self.lane(user).due.set(at, user);
    }

    /// Sees to one lane, for ever.
    pub(crate) async fn run(self: Arc<PresenceKeeper>, lane: usize) {
        let lane = &self.lanes[lane];
        loop {
            let user = lane.due.next().await;
            let told = lane.due.len() <= PRESENCE_TOLD_MAX;
            self.look(lane, user, told).await;
        }
    }

    /// Tells of people whose node died, and of those who were wrongly said to be gone, for ever.
    pub(crate) async fn watch_departed(self: Arc<PresenceKeeper>) {
        let mut interval = tokio::time::interval(PRESENCE_DEPARTED_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            for user in self.presence.mistaken().await {
                let lane = self.lane(user);
                lane.mistaken.lock().insert(user);
                lane.due.set(Instant::now(), user);
            }
            for user in self.presence.departed().await {
                self.changed(user, PresenceStatus::Offline, true).await;
            }
        }
    }

    /// Nobody is here any more, whatever grace is left: the node ends.
    pub(crate) async fn all_gone(&self) {
        let here = self.lanes.iter().flat_map(|lane| {
            let here = std::mem::take(&mut *lane.here.lock());
            here.into_iter()
        });
        let leave = |user| async move {
            if self.presence.leave(user).await {
                self.changed(user, PresenceStatus::Offline, true).await;
            }
        };
        stream::iter(here)
            .for_each_concurrent(PRESENCE_LANES, leave)
            .await;
    }

    /// Brings what the fleet knows of a person in line.
    async fn look(&self, lane: &Lane, user: UserId, told: bool) {
        let mistaken = lane.mistaken.lock().remove(&user);
        if self.hub.has(user) {
            let first = lane.here.lock().insert(user);
            if (first && self.presence.arrive(user).await) || mistaken {
                self.changed(user, PresenceStatus::Online, told).await;
            }
        } else if lane.here.lock().remove(&user) && self.presence.leave(user).await {
            self.changed(user, PresenceStatus::Offline, told).await;
        }
    }

    async fn changed(&self, user: UserId, status: PresenceStatus, told: bool) {
        let now = Timestamp::now();
        if let Err(error) = self.accounts.set_presence(user, status, now).await {
            tracing::debug!(%error, "presence cannot be stored");
        }
        if !told {
            metrics::ephemeral_dropped("presence", 1);
            return;
        }
        match self.chat.contacts(user, PRESENCE_WATCHERS_MAX).await {
            Ok(contacts) => self.tell(&contacts, user, status, now).await,
            Err(error) => {
                metrics::ephemeral_dropped("presence", 1);
                tracing::debug!(%error, "contacts cannot be read");
            }
        }
    }

    /// Tells those contacts who are online, or may be.
    async fn tell(
        &self,
        contacts: &[UserId],
        user: UserId,
        status: PresenceStatus,
        last_seen: Timestamp,
    ) {
        let online = self.presence.online(contacts).await;
        for (&watcher, online) in contacts.iter().zip(online) {
            if online != Some(false) {
                self.fleet.publish(FleetEvent::Presence {
                    watcher,
                    user,
                    status,
                    last_seen,
                });
            }
        }
    }

    fn lane(&self, user: UserId) -> &Lane {
        let bytes = user.bytes();
        &self.lanes[usize::from(bytes[11]) % self.lanes.len()]
    }
}
