//! Where each gateway takes requests of the others.
//!
//! One key: `syncchat:gateways`, a sorted set of `<name> <address>` by the millisecond the lease
//! ends. A node renews its entry with every heartbeat. It reads the others' when it is asked for one
//! that it has not read lately, whatever the number of those who ask: one read at a time, with a
//! pause between two. So names that nobody has cost Redis ten reads a second of each node at most.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use fred::interfaces::{ClientLike, SortedSetsInterface};
use fred::types::scripts::Script;
use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::link::Link;
use crate::limits::{
    COMMAND_TIMEOUT, GATEWAYS_FRESH, GATEWAYS_KEPT, GATEWAYS_MAX, GATEWAYS_READ_PAUSE,
    GATEWAYS_READ_TIMEOUT, HEARTBEAT, LEASE, LEASE_KEYS_KEPT,
};

const GATEWAYS: &str = "syncchat:gateways";

/// The fleet's gateways, as this node knows them.
pub(crate) struct Gateways {
    link: Arc<Link>,
    announcement: Script,
    list: Script,
    known: Mutex<HashMap<String, Known>>,
    /// The last try to read others' entries; held by the one who reads.
    read: tokio::sync::Mutex<Option<Read>>,
    /// This node's own entry, and what renews it.
    own: Mutex<Own>,
}

#[derive(Default)]
struct Own {
    entry: Option<String>,
    renewal: Option<AbortHandle>,
    withdrawn: bool,
}

/// A try to read the entries.
#[derive(Debug, Clone, Copy)]
struct Read {
    began: Instant,
    answered: bool,
}

/// Where a gateway was, and when Redis last said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    address: SocketAddr,
    seen: Instant,
}

impl Gateways {
    pub(crate) fn new(link: Arc<Link>) -> Arc<Gateways> {
        Arc::new(Gateways {
            link,
            announcement: Script::from_lua(include_str!("lua/announce_gateway.lua")),
            list: Script::from_lua(include_str!("lua/list_gateways.lua")),
            known: Mutex::default(),
            read: tokio::sync::Mutex::default(),
            own: Mutex::default(),
        })
    }

    /// Announces this node now, and with every heartbeat.
    pub(crate) async fn announce(self: &Arc<Self>, name: &str, address: SocketAddr) {
        let connected = timeout(COMMAND_TIMEOUT, self.link.commands.wait_for_connect());
        if connected.await.is_ok() {
            self.renew(name, address).await;
        }
        let (this, name) = (Arc::clone(self), name.to_owned());
        let renewal = async move {
            let mut beats = interval(HEARTBEAT);
            beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                beats.tick().await;
                if this.link.is_up() {
                    this.renew(&name, address).await;
                }
            }
        };
        let renewal = self.link.supervisor.spawn("redis registry", renewal);
        self.own.lock().renewal = Some(renewal);
    }

    /// This node is not to be found any more.
    pub(crate) async fn withdraw(&self) {
        let entry = {
            let mut own = self.own.lock();
            own.withdrawn = true;
            if let Some(renewal) = own.renewal.take() {
                renewal.abort();
            }
            own.entry.take()
        };
        let Some(entry) = entry.filter(|_| self.link.is_up()) else {
            return;
        };
        let gone = self.link.commands.zrem::<i64, _, _>(GATEWAYS, entry);
        if !matches!(timeout(GATEWAYS_READ_TIMEOUT, gone).await, Ok(Ok(_))) {
            tracing::debug!("gateway not withdrawn, its lease will end");
        }
    }

    /// Where this gateway is.
    pub(crate) async fn find(&self, name: &str) -> Option<SocketAddr> {
        let asked = Instant::now();
        if let Some(known) = self.known(name) {
            let is_fresh = asked.duration_since(known.seen) < GATEWAYS_FRESH;
            // While Redis is away, what was known has to do.
            if is_fresh || !self.link.is_up() {
                return Some(known.address);
            }
        }
        // What is not known is asked for in any case: a node that has just started is sent requests
        // of others' sessions before it knows that Redis hears it.
        let was_read = self.read_after(asked).await;
        let known = self.known(name)?;
        // A gateway that Redis did not name just now may have been forgotten with all the others, and
        // has the time of a lease to be named again. If nobody answers, what we knew has to do.
        let is_gone = was_read && known.seen.elapsed() > LEASE;
        (!is_gone).then_some(known.address)
    }

    /// All that are alive.
    pub(crate) async fn all(&self) -> Result<Vec<(String, SocketAddr)>, String> {
        let connected = timeout(COMMAND_TIMEOUT, self.link.commands.wait_for_connect());
        match connected.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(format!("redis: {error}")),
            Err(_) => return Err("redis did not answer in time".into()),
        }
        let entries = self.entries().await.map_err(|e| format!("redis: {e}"))?;
        Ok(entries.iter().filter_map(|entry| parse(entry)).collect())
    }

    fn known(&self, name: &str) -> Option<Known> {
        self.known.lock().get(name).copied()
    }

    /// Has the entries read at some moment after `asked`; false if Redis did not answer. All who wait
    /// share one try.
    async fn read_after(&self, asked: Instant) -> bool {
        let mut read = self.read.lock().await;
        if let Some(last) = *read {
            if last.began > asked {
                return last.answered;
            }
            sleep_until(last.began + GATEWAYS_READ_PAUSE).await;
        }
        let began = Instant::now();
        let answered = self.read(began).await;
        *read = Some(Read { began, answered });
        answered
    }

    async fn read(&self, began: Instant) -> bool {
        match timeout(GATEWAYS_READ_TIMEOUT, self.entries()).await {
            Ok(Ok(entries)) => {
                self.remember(&entries, began);
                true
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "redis did not answer about gateways");
                false
            }
            Err(_) => false,
        }
    }

    async fn entries(&self) -> Result<Vec<String>, fred::error::Error> {
        self.list
            .evalsha_with_reload(&self.link.commands, GATEWAYS, GATEWAYS_MAX.to_string())
            .await
    }

    fn remember(&self, entries: &[String], now: Instant) {
        let mut known = self.known.lock();
        known.retain(|_, known| now.duration_since(known.seen) < GATEWAYS_KEPT);
        for (name, address) in entries.iter().filter_map(|entry| parse(entry)) {
            known.insert(name, Known { address, seen: now });
        }
    }

    async fn renew(&self, name: &str, address: SocketAddr) {
        let Some(address) = self.own_address(address).await else {
            tracing::debug!("own address towards redis is not known yet");
            return;
        };
        let entry = format!("{name} {address}");
        {
            let mut own = self.own.lock();
            if own.withdrawn {
                return;
            }
            own.entry = Some(entry.clone());
        }
        let arguments = vec![
            entry,
            LEASE.as_millis().to_string(),
            LEASE_KEYS_KEPT.as_millis().to_string(),
        ];
        let renewed = self
            .announcement
            .evalsha_with_reload::<i64, _, _>(&self.link.commands, GATEWAYS, arguments)
            .await;
        if let Err(error) = renewed {
            tracing::debug!(%error, "gateway not announced");
        }
    }

    /// `address`, with the IP that this host has towards Redis in the place of an unspecified one.
    async fn own_address(&self, address: SocketAddr) -> Option<SocketAddr> {
        if !address.ip().is_unspecified() {
            return Some(address);
        }
        for server in self.link.commands.client_config().server.hosts() {
            let any: IpAddr = match address {
                SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            // Nothing is sent: the kernel only says which of our addresses it would take.
            let Ok(socket) = UdpSocket::bind((any, 0)).await else {
                continue;
            };
            if socket.connect((&*server.host, server.port)).await.is_ok()
                && let Ok(own) = socket.local_addr()
            {
                return Some(SocketAddr::new(own.ip(), address.port()));
            }
        }
        None
    }
}

/// An entry's name and address.
fn parse(entry: &str) -> Option<(String, SocketAddr)> {
    let (name, address) = entry.split_once(' ')?;
    Some((name.to_owned(), address.parse().ok()?))
}
