//! Rate limits for the whole fleet: one atomic script for each token.
//!
//! While Redis is away, or slow, this node limits on its own, at the full rate: a fleet of three then
//! lets through three times as much at most, and nobody is locked out. That is the documented
//! choice: these limits guard against floods, not against fraud.

use std::sync::Arc;
use std::time::Duration;

use fred::types::scripts::Script;
use syncchat_core::ports::limiter::{LimitKind, LimiterRates};

use super::link::Link;
use crate::buckets::Buckets;
use crate::limits::LIMIT_TIMEOUT;
use crate::metrics;

/// Token buckets in Redis, and this node's own for when it is away.
pub(crate) struct SharedBuckets {
    link: Arc<Link>,
    rates: LimiterRates,
    own: Buckets,
    script: Script,
}

impl SharedBuckets {
    /// All buckets full.
    pub(crate) fn new(link: Arc<Link>, rates: LimiterRates) -> SharedBuckets {
        let script = Script::from_lua(include_str!("lua/take_token.lua"));
        SharedBuckets {
            link,
            rates,
            own: Buckets::new(rates),
            script,
        }
    }

    /// Takes `take` tokens, 1 or 0 (just to see).
    pub(crate) async fn ask(&self, kind: LimitKind, key: &str, take: u8) -> Result<(), Duration> {
        let Some(rate) = self.rates.of(kind) else {
            return Ok(());
        };
        if self.link.is_up() {
            let bucket = format!("syncchat:limit:{}:{key}", kind.as_str());
            let args = vec![
                rate.per_second.to_string(),
                rate.burst.to_string(),
                take.to_string(),
            ];
            let asked = self
                .script
                .evalsha_with_reload(&self.link.commands, bucket, args);
            match tokio::time::timeout(LIMIT_TIMEOUT, asked).await {
                Ok(Ok(0_i64)) => return Ok(()),
                Ok(Ok(millis)) => return Err(Duration::from_millis(millis.max(1) as u64)),
                Ok(Err(error)) => tracing::debug!(%error, "redis did not answer about a limit"),
                Err(_) => {}
            }
        }
        ::metrics::counter!(metrics::LIMITED_ALONE).increment(1);
        if take == 0 {
            self.own.peek(kind, key)
        } else {
            self.own.take(kind, key)
        }
    }
}
