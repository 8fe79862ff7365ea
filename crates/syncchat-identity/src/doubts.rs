//! Log-outs and refreshes whose outcome is unknown, because the store did not answer or because the
//! caller went away in between.
//!
//! A revocation that landed all the same has been announced by nobody, and the log-in's sockets stay
//! open. So what is in doubt is watched until the outcome is known: a log-out is done again, which
//! settles it, and of a refresh the store is asked whether the family is revoked. Either is then
//! announced. Announcing twice is harmless, as revoking is: a revoked family never comes back.
//!
//! What is watched lives in memory. If the node dies, the gateways find the revocation by their own
//! comparison of families.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use syncchat_core::model::UserId;
use syncchat_core::ports::fleet::{Fleet, FleetEvent};
use syncchat_core::ports::store::{AccountStore, StoreError, StoreResult};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::limits::{DOUBT_INTERVAL, DOUBT_SPAN, DOUBTS_MAX, FAMILIES_READ_MAX};
use crate::metrics;
use crate::tokens::Family;

/// The hash of a refresh token.
type Hash = [u8; 32];

/// What was asked of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// To revoke the token's family.
    LogOut,
    /// To rotate the token, which revokes the family if it was used before.
    Refresh,
}

/// Watches what is in doubt, and announces revocations.
pub(crate) struct Doubts {
    accounts: Arc<dyn AccountStore>,
    fleet: Arc<dyn Fleet>,
    open: Mutex<HashMap<Hash, Doubt>>,
    opened: Notify,
}

#[derive(Clone, Copy)]
struct Doubt {
    change: Change,
    since: Instant,
}

/// A change under way. Dropped before [`Attempt::settle`], it is in doubt.
pub(crate) struct Attempt<'a> {
    doubts: &'a Doubts,
    hash: Hash,
    change: Change,
    settled: bool,
}

impl Attempt<'_> {
    /// The outcome is known.
    pub(crate) fn settle(mut self) {
        self.settled = true;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.doubts.watch(self.hash, self.change);
        }
    }
}

impl Doubts {
    pub(crate) fn new(accounts: Arc<dyn AccountStore>, fleet: Arc<dyn Fleet>) -> Doubts {
        Doubts {
            accounts,
            fleet,
            open: Mutex::default(),
            opened: Notify::new(),
        }
    }

    /// Begins a change of the token with this hash.
    pub(crate) fn attempt(&self, hash: Hash, change: Change) -> Attempt<'_> {
        Attempt {
            doubts: self,
            hash,
            change,
            settled: false,
        }
    }

    /// Tells the fleet that a family is revoked.
    pub(crate) fn announce(&self, user: UserId, family: Family) {
        self.fleet.publish(FleetEvent::Revoked {
            user,
            family: Some(family),
        });
    }

    /// Settles what is in doubt, again and again. Runs until it is dropped.
    pub(crate) async fn settle(&self) {
        loop {
            let mut wait = DOUBT_INTERVAL.0;
            while !self.open.lock().is_empty() {
                sleep(wait).await;
                wait = (wait * 2).min(DOUBT_INTERVAL.1);
                if let Err(error) = self.look().await {
                    tracing::debug!(%error, "log-ins stay in doubt");
                }
            }
            self.opened.notified().await;
        }
    }

    /// A log-out stays one, whatever else is tried with its token.
    fn watch(&self, hash: Hash, change: Change) {
        {
            let mut open = self.open.lock();
            if open.len() >= DOUBTS_MAX && !open.contains_key(&hash) {
                ::metrics::counter!(metrics::DOUBTS_DROPPED).increment(1);
                return;
            }
            let since = Instant::now();
            let doubt = open.entry(hash).or_insert(Doubt { change, since });
            doubt.since = since;
            if change == Change::LogOut {
                doubt.change = change;
            }
        }
        ::metrics::counter!(metrics::DOUBTS).increment(1);
        self.opened.notify_one();
    }

    /// One look at everything that is in doubt; it ends at the first call that fails.
    async fn look(&self) -> StoreResult<()> {
        let begun = Instant::now();
        let all: Vec<(Hash, Change)> = {
            let open = self.open.lock();
            open.iter().map(|(hash, d)| (*hash, d.change)).collect()
        };
        let of = |change: Change| {
            let all = all.iter().filter(move |(_, other)| *other == change);
            all.map(|(hash, _)| *hash)
        };
        for hash in of(Change::LogOut) {
            self.log_out_again(hash).await?;
        }
        let refreshes: Vec<Hash> = of(Change::Refresh).collect();
        for hashes in refreshes.chunks(FAMILIES_READ_MAX) {
            self.look_for_revoked(hashes, begun).await?;
        }
        Ok(())
    }

    async fn log_out_again(&self, hash: Hash) -> StoreResult<()> {
        match self.accounts.revoke_refresh_token(hash).await {
            Ok(revoked) => {
                if let Some((user, family)) = revoked {
                    self.announce(user, family);
                }
            }
            Err(error @ StoreError::Unavailable(_)) => return Err(error),
            // It will be no better the next time.
            Err(error) => tracing::error!(%error, "a log-out cannot be done"),
        }
        self.open.lock().remove(&hash);
        Ok(())
    }

    async fn look_for_revoked(&self, hashes: &[Hash], begun: Instant) -> StoreResult<()> {
        let families = self.accounts.families_of_tokens(hashes).await?;
        let ids: Vec<Family> = families.iter().map(|(_, family)| *family).collect();
        let revoked = self.accounts.revoked_families(&ids).await?;
        for (user, family) in &revoked {
            self.announce(*user, *family);
        }
        let family_of: HashMap<Hash, Family> = families.into_iter().collect();
        let is_revoked = |hash: &Hash| {
            let family = family_of.get(hash);
            family.is_some_and(|family| revoked.iter().any(|(_, other)| other == family))
        };
        let mut open = self.open.lock();
        for hash in hashes {
            let is_over = |doubt: &Doubt| {
                doubt.change == Change::Refresh
                    && (is_revoked(hash) || doubt.since + DOUBT_SPAN <= begun)
            };
            if open.get(hash).is_some_and(is_over) {
                open.remove(hash);
            }
        }
        Ok(())
    }
}
