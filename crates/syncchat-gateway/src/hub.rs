//! Who is on this node: people, and the sockets of each.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Weak};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use syncchat_core::model::{Conversation, Seq, UserId};
use syncchat_core::ports::fleet::{Fleet, Topic};
use syncchat_engine::Socket;

use crate::gateway::Gateway;

/// A client's socket.
pub(crate) type Client = Socket<Gateway>;

/// A socket as the delivery machine knows it.
#[derive(Clone)]
pub(crate) struct Reader(pub(crate) Client);

impl Reader {
    pub(crate) fn number(&self) -> u64 {
        self.0.data().number()
    }

    /// Whose it is. Everybody who reads belongs to somebody.
    pub(crate) fn user(&self) -> Option<UserId> {
        self.0.data().user()
    }
}

impl PartialEq for Reader {
    fn eq(&self, other: &Reader) -> bool {
        self.number() == other.number()
    }
}

impl Eq for Reader {}

impl Hash for Reader {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number().hash(state);
    }
}

/// A person was added to a conversation by message `seq`.
#[derive(Clone)]
pub(crate) struct Joined {
    pub(crate) conversation: Arc<Conversation>,
    pub(crate) seq: Seq,
}

/// People on this node. Bounded by the engine's sessions.
pub(crate) struct Hub {
    people: DashMap<UserId, Devices, RandomState>,
    fleet: Arc<dyn Fleet>,
}

/// What a person has here. There is an entry exactly while there is something in it, and exactly
/// then the node wants to hear what concerns the person.
#[derive(Default)]
pub(crate) struct Devices {
    pub(crate) sockets: Vec<Client>,
    arrivals: Vec<Arc<Arrival>>,
}

/// A socket that is about to be let in: what its person is added to meanwhile.
#[derive(Default)]
struct Arrival(Mutex<Vec<Joined>>);

/// Hears what concerns a person for a socket that is not there yet. Dropped: no longer.
pub(crate) struct Arriving {
    user: UserId,
    arrival: Arc<Arrival>,
    hub: Weak<Hub>,
}

impl Hub {
    pub(crate) fn new(fleet: Arc<dyn Fleet>) -> Hub {
        Hub {
            people: DashMap::default(),
            fleet,
        }
    }

    /// From now on this node hears what concerns the person, once [`Self::listen_for`] has
    /// returned.
    pub(crate) fn arrive(self: &Arc<Hub>, user: UserId) -> Arriving {
        let arrival = Arc::new(Arrival::default());
        let mut devices = self.people.entry(user).or_default();
        devices.arrivals.push(Arc::clone(&arrival));
        Arriving {
            user,
            arrival,
            hub: Arc::downgrade(self),
        }
    }

    /// Returns once what is said to the person is heard here. Somebody of theirs is here already.
    pub(crate) async fn listen_for(&self, user: UserId) {
        self.fleet.subscribe(vec![Topic::User(user)]).await;
    }

    /// A socket is there. `then` is told what the person was added to while it was arriving, and
    /// runs before anything else that concerns the person. False if the socket has left already.
    pub(crate) fn enter(
        &self,
        user: UserId,
        socket: &Client,
        arriving: Option<&Arriving>,
        then: impl FnOnce(Vec<Joined>),
    ) -> bool {
        let mut devices = self.people.entry(user).or_default();
        if !socket.data().register(user) {
            drop(devices);
            self.forget_if_gone(user);
            return false;
        }
        let heard = match arriving {
            Some(arriving) => std::mem::take(&mut *arriving.arrival.0.lock()),
            None => Vec::new(),
        };
        devices.sockets.push(socket.clone());
        then(heard);
        true
    }

    /// Does something for a socket unless it has left; nothing else that concerns the person
    /// happens meanwhile. Whether it was done.
    pub(crate) fn if_here(&self, user: UserId, socket: &Client, then: impl FnOnce()) -> bool {
        let Some(devices) = self.people.get_mut(&user) else {
            return false;
        };
        let number = socket.data().number();
        let here = devices.sockets.iter().any(|s| s.data().number() == number);
        if here {
            then();
        }
        here
    }

    /// A socket has left. `then` runs before anything else that concerns the person; it is told
    /// whether that was the last one. False if the socket was not there.
    pub(crate) fn leave(&self, user: UserId, socket: &Client, then: impl FnOnce(bool)) -> bool {
        let Some(mut devices) = self.people.get_mut(&user) else {
            return false;
        };
        let number = socket.data().number();
        let sockets = &mut devices.sockets;
        let Some(index) = sockets.iter().position(|s| s.data().number() == number) else {
            return false;
        };
        sockets.swap_remove(index);
        then(sockets.is_empty());
        drop(devices);
        self.forget_if_gone(user);
        true
    }

    /// A person was added somewhere: `then` is given their sockets here, and runs before anything
    /// else that concerns the person. Those that are arriving will be told.
    pub(crate) fn joined(&self, user: UserId, joined: &Joined, then: impl FnOnce(&[Client])) {
        if let Some(devices) = self.people.get(&user) {
            for arrival in &devices.arrivals {
                arrival.0.lock().push(joined.clone());
            }
            then(&devices.sockets);
        }
    }

    /// A person's sockets here.
    pub(crate) fn sockets_of(&self, user: UserId) -> Vec<Client> {
        self.people
            .get(&user)
            .map_or_else(Vec::new, |devices| devices.sockets.clone())
    }

    /// Does something with a person's sockets here, if there are any; nobody of theirs comes or goes
    /// meanwhile.
    pub(crate) fn with_sockets(&self, user: UserId, then: impl FnOnce(&[Client])) {
        if let Some(devices) = self.people.get(&user)
            && !devices.sockets.is_empty()
        {
            then(&devices.sockets);
        }
    }

    /// Whether the person has a socket here.
    pub(crate) fn has(&self, user: UserId) -> bool {
        self.people
            .get(&user)
            .is_some_and(|devices| !devices.sockets.is_empty())
    }

    /// One socket of a person.
    pub(crate) fn find(&self, user: UserId, number: u64) -> Option<Client> {
        let devices = self.people.get(&user)?;
        let found = devices.sockets.iter().find(|s| s.data().number() == number);
        found.cloned()
    }

    /// All sockets of all people.
    pub(crate) fn all(&self) -> Vec<Client> {
        self.people
            .iter()
            .flat_map(|devices| devices.sockets.clone())
            .collect()
    }

    /// The log-ins of all sockets here that come from one, each once.
    pub(crate) fn families(&self) -> Vec<[u8; 16]> {
        let mut families: HashSet<[u8; 16], RandomState> = HashSet::default();
        for devices in &self.people {
            let sockets = devices.sockets.iter();
            families.extend(sockets.filter_map(|socket| socket.data().family()));
        }
        families.into_iter().collect()
    }

    fn forget_if_gone(&self, user: UserId) {
        if let Entry::Occupied(entry) = self.people.entry(user)
            && entry.get().sockets.is_empty()
            && entry.get().arrivals.is_empty()
        {
            // While the entry is held, so that it cannot come after the next one's subscription.
            self.fleet.unsubscribe(vec![Topic::User(user)]);
            entry.remove();
        }
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if let Some(hub) = self.hub.upgrade() {
            if let Some(mut devices) = hub.people.get_mut(&self.user) {
                devices.arrivals.retain(|a| !Arc::ptr_eq(a, &self.arrival));
            }
            hub.forget_if_gone(self.user);
        }
    }
}
