//! Drivers for the core's fleet traits: who else is there, who is online, who asks too often.
//!
//! There are two drivers. [`LocalFleet`] is a fleet of one process; it is a product, not a mock: a
//! single node runs on it. [`RedisFleet`] is a fleet of many. No rule of the chat lives here; events
//! are passed on as they are.
//!
//! Read in this order: [`connect`], `local`, `buckets`, `envelope`, `redis`.

mod buckets;
mod envelope;
pub mod limits;
mod local;
pub mod metrics;
mod redis;

use std::sync::Arc;

use syncchat_core::ports::fleet::{Fleet, Presence};
use syncchat_core::ports::limiter::Limiter;
use syncchat_core::ports::registry::Registry;

pub use local::LocalFleet;
pub use redis::RedisFleet;
pub use syncchat_core::ports::limiter::LimiterRates;

/// What a node needs of its fleet: four faces of one driver.
#[derive(Clone)]
pub struct Backplane {
    /// Says and hears what happens.
    pub fleet: Arc<dyn Fleet>,
    /// Knows who is online.
    pub presence: Arc<dyn Presence>,
    /// Knows who asks too often.
    pub limiter: Arc<dyn Limiter>,
    /// Knows where the other nodes are.
    pub registry: Arc<dyn Registry>,
}

/// Why there is no backplane. Names the scheme only: an address may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The address of a Redis that makes no sense.
    #[error("backplane {scheme}://: {why}")]
    Redis {
        /// As written.
        scheme: String,
        /// What is wrong with it; without credentials.
        why: String,
    },
    /// No scheme of the contract.
    #[error(
        "unknown backplane `{name}`: expected local, redis://, rediss://, redis-cluster:// or \
         redis-sentinel://"
    )]
    Unknown {
        /// The scheme, or the whole where there is none.
        name: String,
    },
}

/// Connects this node to the fleet at `url`: `local`, a fleet of one, or that of a Redis, which may
/// be away at the moment.
///
/// `node_id` is the name under which other nodes know this one.
///
/// # Errors
/// An address that cannot be read is refused, by name.
pub async fn connect(
    url: &str,
    rates: LimiterRates,
    node_id: &str,
) -> Result<Backplane, ConnectError> {
    if url == "local" {
        let local = Arc::new(LocalFleet::new(rates));
        tracing::debug!(node_id, "backplane is local");
        return Ok(Backplane {
            fleet: Arc::clone(&local) as Arc<dyn Fleet>,
            presence: Arc::clone(&local) as Arc<dyn Presence>,
            limiter: Arc::clone(&local) as Arc<dyn Limiter>,
            registry: local,
        });
    }
    Err(match url.split_once("://") {
        Some((scheme @ ("redis" | "rediss" | "redis-cluster" | "redis-sentinel"), _)) => {
            match RedisFleet::connect(url, rates, node_id) {
                Ok(fleet) => {
                    let fleet = Arc::new(fleet);
                    return Ok(Backplane {
                        fleet: Arc::clone(&fleet) as Arc<dyn Fleet>,
                        presence: Arc::clone(&fleet) as Arc<dyn Presence>,
                        limiter: Arc::clone(&fleet) as Arc<dyn Limiter>,
                        registry: fleet,
                    });
                }
                Err(why) => ConnectError::Redis {
                    scheme: scheme.to_owned(),
                    why,
                },
            }
        }
        Some((scheme, _)) => ConnectError::Unknown {
            name: format!("{scheme}://"),
        },
        // Without a scheme it may still be somebody's password: show no more than a word.
        None => ConnectError::Unknown {
            name: url.split([':', '@', '/']).next().unwrap_or_default().into(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refusal(url: &str) -> String {
        connect(url, LimiterRates::OFF, "n1")
            .await
            .map(|_| ())
            .expect_err(url)
            .to_string()
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_refused_and_secrets_stay_out_of_the_refusal() {
        assert!(connect("local", LimiterRates::OFF, "n1").await.is_ok());
        for url in [
            "redis://u:hunter2@host:port",
            "redis-sentinel://:hunter2@host:6379",
        ] {
            let text = refusal(url).await;
            assert!(text.starts_with("backplane redis"), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
        for url in ["", "nats://u:hunter2@host", "memory", "user:hunter2@host"] {
            let text = refusal(url).await;
            assert!(text.starts_with("unknown backplane"), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}
