//! The connections to Redis, and whether it can be reached.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::{
    ClientLike, ClusterInterface, EventInterface, LuaInterface, PubsubInterface,
    SortedSetsInterface,
};
use fred::types::config::{
    Config, ReconnectPolicy, Server, ServerConfig, TcpConfig, UnresponsiveConfig,
};
use fred::types::{Builder, ConnectHandle};
use parking_lot::Mutex;
use syncchat_core::Supervisor;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;
use tokio::time::sleep;

use super::channels;
use crate::limits::{
    ANSWER_BUFFER_MAX, COMMAND_BUFFER_MAX, COMMAND_TIMEOUT, MESSAGE_BUFFER_MAX,
    RECONNECT_DELAY_MAX, TROUBLE_AGAIN, TROUBLE_NEWS, UNRESPONSIVE_TIMEOUT,
};
use crate::metrics;

type Errors = broadcast::Receiver<(Error, Option<Server>)>;

/// Two connections (or, in a cluster, two to each node): one for commands, one that listens.
pub(crate) struct Link {
    pub(crate) commands: Client,
    pub(crate) listening: Client,
    /// A cluster shards pub/sub by slot.
    pub(crate) sharded: bool,
    /// Names this process among others: what it says itself comes back to it.
    pub(crate) process: u64,
    /// Runs the tasks of everything that uses the link.
    pub(crate) supervisor: Supervisor,
    /// Whether Redis hears us and we hear it: proven a moment ago by a beat that came back.
    up: watch::Sender<bool>,
    /// Since when it is.
    up_since: Mutex<Option<Instant>>,
    /// Redis has taken all subscriptions on the present connection.
    joined: AtomicBool,
    /// Why Redis was not reached the last time.
    trouble: Mutex<Trouble>,
    /// Changes whenever others were not told something that they find in the store.
    losses: AtomicU64,
}

/// Why Redis is not reached, and when the log was told.
#[derive(Default)]
struct Trouble {
    cause: Option<String>,
    said_at: Option<Instant>,
}

/// Which server of a cluster owns which slots.
pub(crate) type Layout = Vec<(u16, u16, Server)>;

impl Link {
    /// Begins to connect.
    pub(crate) fn open(url: &str, supervisor: Supervisor) -> Result<Arc<Link>, String> {
        let mut config = Config::from_url(url)
            // The error may quote the address, and the address may hold a password.
            .map_err(|_| "cannot be read as an address of Redis".to_owned())?;
        // A Redis that is not there yet is tried again, as one that has gone.
        config.fail_fast = false;
        let sharded = matches!(config.server, ServerConfig::Clustered { .. });
        let mut process = [0; 8];
        getrandom::fill(&mut process).map_err(|error| format!("no random numbers: {error}"))?;
        let link = Arc::new(Link {
            commands: client(config.clone(), ANSWER_BUFFER_MAX)?,
            listening: client(config, MESSAGE_BUFFER_MAX)?,
            sharded,
            process: u64::from_be_bytes(process),
            supervisor,
            up: watch::Sender::new(false),
            up_since: Mutex::default(),
            joined: AtomicBool::new(false),
            trouble: Mutex::default(),
            losses: AtomicU64::new(0),
        });
        ::metrics::gauge!(metrics::CONNECTED).set(0.0);
        for client in [&link.commands, &link.listening] {
            // Before it connects, so that the first error is heard.
            let errors = client.error_rx();
            let watch = Arc::clone(&link).watch_errors(client.clone(), errors);
            link.supervisor.spawn("redis errors", watch);
            let connection = keep_connected(client.clone(), client.connect());
            link.supervisor.spawn("redis connection", connection);
        }
        Ok(link)
    }

    /// Whether Redis hears us and we hear it, as far as we know.
    pub(crate) fn is_up(&self) -> bool {
        *self.up.borrow() && self.commands.is_connected()
    }

    /// For how long it has been reached without a break.
    pub(crate) fn up_for(&self) -> Option<Duration> {
        self.up_since.lock().map(|since| since.elapsed())
    }

    /// Follows whether it can be reached.
    pub(crate) fn follow(&self) -> watch::Receiver<bool> {
        self.up.subscribe()
    }

    /// Notes that it can be reached, or not. True if that is news.
    pub(crate) fn set_up(&self, up: bool) -> bool {
        let news = self
            .up
            .send_if_modified(|was| std::mem::replace(was, up) != up);
        if news {
            *self.up_since.lock() = up.then(Instant::now);
            ::metrics::gauge!(metrics::CONNECTED).set(f64::from(u8::from(up)));
            if up {
                tracing::info!("redis is reached");
            } else {
                ::metrics::counter!(metrics::SILENCES, "who" => "redis").increment(1);
                tracing::warn!("redis is away: others hear of this node by way of the store");
            }
        }
        news
    }

    /// Says in the log why Redis is not reached, for ever.
    async fn watch_errors(self: Arc<Self>, client: Client, mut errors: Errors) {
        loop {
            match errors.recv().await {
                Ok((error, _)) => self.note_error(&error),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => {
                    sleep(TROUBLE_NEWS).await;
                    errors = client.error_rx();
                }
            }
        }
    }

    /// Another cause is news at once, the same one each minute. The driver's text holds no credentials.
    fn note_error(&self, error: &Error) {
        let cause = error.to_string();
        if self.is_up() {
            tracing::debug!(cause, "an error of the connection to redis");
            return;
        }
        let mut trouble = self.trouble.lock();
        let wait = match trouble.cause.as_ref() == Some(&cause) {
            true => TROUBLE_AGAIN,
            false => TROUBLE_NEWS,
        };
        if trouble.said_at.is_none_or(|at| at.elapsed() >= wait) {
            trouble.said_at = Some(Instant::now());
            tracing::warn!(cause, "redis cannot be reached");
        }
        trouble.cause = Some(cause);
    }

    /// Notes whether all subscriptions are taken.
    pub(crate) fn set_joined(&self, joined: bool) {
        self.joined.store(joined, Ordering::Relaxed);
    }

    pub(crate) fn has_joined(&self) -> bool {
        self.joined.load(Ordering::Relaxed)
    }

    /// Others were not told something: they are told to look.
    pub(crate) fn lose(&self) {
        self.losses.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Relaxed)
    }

    /// One hash tag for each server that messages go through.
    pub(crate) fn tags(&self) -> Vec<u32> {
        if !self.sharded {
            return vec![0];
        }
        let routing = self.commands.cached_cluster_state();
        channels::tag_of_each(|slot| routing.as_ref()?.get_server(slot).cloned())
    }

    /// The layout of the cluster as the connection for commands knows it: each command that goes
    /// astray brings it up to date.
    pub(crate) fn layout(&self) -> Layout {
        let routing = self.commands.cached_cluster_state();
        let slots = routing.iter().flat_map(|routing| routing.slots());
        slots
            .map(|range| (range.start, range.end, range.primary.clone()))
            .collect()
    }

    /// Publishes to one channel.
    pub(crate) async fn publish(&self, channel: String, bytes: &[u8]) -> Result<(), Error> {
        let heard_by: i64 = if self.sharded {
            self.commands.spublish(channel, bytes).await?
        } else {
            self.commands.publish(channel, bytes).await?
        };
        tracing::trace!(heard_by, "published");
        Ok(())
    }

    /// Asks Redis for a sign of life.
    pub(crate) async fn check(&self) -> Result<String, String> {
        let began = Instant::now();
        let connected = tokio::time::timeout(COMMAND_TIMEOUT, self.commands.wait_for_connect());
        match connected.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(format!("redis: {error}")),
            Err(_) => {
                return Err(match self.trouble.lock().cause.as_ref() {
                    Some(cause) => format!("redis: {cause}"),
                    None => "redis did not answer in time".into(),
                });
            }
        }
        let _: String = self
            .commands
            .ping(None)
            .await
            .map_err(|error| format!("redis: {error}"))?;
        let took = began.elapsed();
        self.try_rights().await?;
        let layout = if self.sharded {
            "cluster"
        } else {
            "one server"
        };
        Ok(format!(
            "redis ({layout}) answered in {} ms",
            took.as_millis()
        ))
    }

    /// Tries what a node does, on names that nobody listens to: a user of Redis may be allowed to connect and no more.
    async fn try_rights(&self) -> Result<(), String> {
        let refused =
            |what: &'static str| move |error: Error| format!("redis refuses {what}: {error}");
        let channel = channels::of_process(self.process);
        self.publish(channel.clone(), &[])
            .await
            .map_err(refused("to publish"))?;
        let subscribed = match self.sharded {
            true => self.listening.ssubscribe(channel).await,
            false => self.listening.subscribe(channel).await,
        };
        subscribed.map_err(refused("to subscribe"))?;
        let key = channels::of_check(self.process);
        let added = (0.0, "check");
        self.commands
            .zadd::<(), _, _>(&key, None, None, false, false, added)
            .await
            .map_err(refused("to write a sorted set"))?;
        let script = "return redis.call('DEL', KEYS[1])";
        self.commands
            .eval::<(), _, _, _>(script, vec![key], ())
            .await
            .map_err(refused("to run a script"))
    }
}

/// Keeps a client connected, for ever: the driver tries again by itself, but for a few errors with
/// which it gives up. Returns if the driver panicked, since it cannot be started again then.
async fn keep_connected(client: Client, first: ConnectHandle) {
    let mut driving = first;
    loop {
        match driving.await {
            Ok(Ok(())) => tracing::warn!("the connection to redis was ended, connecting anew"),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the connection to redis was given up, connecting anew")
            }
            Err(_) => return,
        }
        sleep(Duration::from_millis(RECONNECT_DELAY_MAX.into())).await;
        driving = client.connect();
    }
}

fn client(config: Config, messages_max: usize) -> Result<Client, String> {
    Builder::from_config(config)
        .with_connection_config(|connection| {
            connection.connection_timeout = COMMAND_TIMEOUT;
            connection.internal_command_timeout = COMMAND_TIMEOUT;
            connection.max_command_attempts = 1;
            connection.max_command_buffer_len = COMMAND_BUFFER_MAX;
            connection.reconnect_on_auth_error = true;
            connection.unresponsive = UnresponsiveConfig {
                max_timeout: Some(UNRESPONSIVE_TIMEOUT),
                interval: Duration::from_millis(500),
            };
            connection.tcp = TcpConfig {
                nodelay: Some(true),
                ..TcpConfig::default()
            };
        })
        .with_performance_config(|performance| {
            performance.default_command_timeout = COMMAND_TIMEOUT;
            performance.broadcast_channel_capacity = messages_max;
        })
        .set_policy(ReconnectPolicy::new_exponential(
            0,
            50,
            RECONNECT_DELAY_MAX,
            2,
        ))
        .build()
        .map_err(|error| format!("redis: {error}"))
}
