//! The connections to Redis, and whether it can be reached.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::Builder;
use fred::types::config::{Config, ReconnectPolicy, ServerConfig, TcpConfig, UnresponsiveConfig};
use syncchat_core::model::Timestamp;

use crate::limits::{
    COMMAND_BUFFER_MAX, COMMAND_TIMEOUT, MESSAGE_BUFFER_MAX, RECONNECT_DELAY_MAX,
    UNRESPONSIVE_TIMEOUT,
};
use crate::metrics;

/// Two connections (or, in a cluster, two to each node): one for commands, one that listens.
pub(crate) struct Link {
    pub(crate) commands: Client,
    pub(crate) listening: Client,
    /// A cluster shards pub/sub by slot.
    pub(crate) sharded: bool,
    /// Names this process among others: what it says itself comes back to it.
    pub(crate) process: u64,
    up: AtomicBool,
}

impl Link {
    /// Begins to connect.
    pub(crate) fn open(url: &str) -> Result<Arc<Link>, String> {
        let mut config = Config::from_url(url)
            // The error may quote the address, and the address may hold a password.
            .map_err(|_| "cannot be read as an address of Redis".to_owned())?;
        // A Redis that is not there yet is tried again, as one that has gone.
        config.fail_fast = false;
        let sharded = matches!(config.server, ServerConfig::Clustered { .. });
        let mut process = [0; 8];
        getrandom::fill(&mut process).map_err(|error| format!("no random numbers: {error}"))?;
        let link = Arc::new(Link {
            commands: client(config.clone())?,
            listening: client(config)?,
            sharded,
            process: u64::from_be_bytes(process),
            up: AtomicBool::new(false),
        });
        ::metrics::gauge!(metrics::CONNECTED).set(0.0);
        // Connected in the background, for ever.
        drop(link.commands.connect());
        drop(link.listening.connect());
        Ok(link)
    }

    /// Whether Redis hears us and we hear it, as far as we know.
    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed) && self.commands.is_connected()
    }

    /// Notes that it can be reached, or not. True if that is news.
    pub(crate) fn set_up(&self, up: bool) -> bool {
        let news = self.up.swap(up, Ordering::Relaxed) != up;
        if news {
            ::metrics::gauge!(metrics::CONNECTED).set(f64::from(u8::from(up)));
            if up {
                tracing::info!("redis is reached");
            } else {
                tracing::warn!("redis is away: others hear of this node by way of the store");
            }
        }
        news
    }

    /// Asks Redis for a sign of life.
    pub(crate) async fn check(&self) -> Result<String, String> {
        let began = Timestamp::now();
        let connected = tokio::time::timeout(COMMAND_TIMEOUT, self.commands.wait_for_connect());
        match connected.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(format!("redis: {error}")),
            Err(_) => return Err("redis did not answer in time".into()),
        }
        let _: String = self
            .commands
            .ping(None)
            .await
            .map_err(|error| format!("redis: {error}"))?;
        let took = Timestamp::now().since(began);
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
}

fn client(config: Config) -> Result<Client, String> {
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
            performance.broadcast_channel_capacity = MESSAGE_BUFFER_MAX;
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
