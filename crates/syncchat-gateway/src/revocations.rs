//! Log-ins that were revoked without a word to this node: its sockets' families are compared with the
//! store.
//!
//! A revocation is announced once it is durable, and the announcement can be lost: with Redis, or with
//! the node that should have made it. So the node asks the store which of the families that have a
//! socket here are revoked: at once when something the fleet said may be lost, and every
//! [`FAMILIES_INTERVAL`] at rest. One comparison costs a read by key for each thousand log-ins that are
//! connected, and nothing where there are none.

use std::sync::{Arc, Weak};

use syncchat_identity::Identity;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::gateway::Gateway;
use crate::hub::Hub;
use crate::limits::{FAMILIES_INTERVAL, FAMILIES_PAUSE, FAMILIES_RETRY};
use crate::metrics;

/// Finds revoked log-ins that still have sockets here.
pub(crate) struct Revocations {
    identity: Arc<Identity>,
    hub: Arc<Hub>,
    doubted: Notify,
}

impl Revocations {
    pub(crate) fn new(identity: Arc<Identity>, hub: Arc<Hub>) -> Revocations {
        Revocations {
            identity,
            hub,
            doubted: Notify::new(),
        }
    }

    /// An announcement may be lost: compares at once, or as soon as the present comparison is over.
    pub(crate) fn doubt(&self) {
        self.doubted.notify_one();
    }

    /// Compares whenever there is doubt, and at intervals. Runs until it is dropped.
    pub(crate) async fn run(self: Arc<Revocations>, gateway: Weak<Gateway>) {
        loop {
            tokio::select! {
                () = self.doubted.notified() => {}
                () = sleep(FAMILIES_INTERVAL) => {}
            }
            match self.compare(&gateway).await {
                Ok(()) => sleep(FAMILIES_PAUSE).await,
                // What was not compared stays in doubt.
                Err(error) => {
                    tracing::debug!(%error, "revoked log-ins cannot be read");
                    sleep(FAMILIES_RETRY).await;
                    self.doubt();
                }
            }
        }
    }

    async fn compare(&self, gateway: &Weak<Gateway>) -> syncchat_core::Result<()> {
        let families = self.hub.families();
        let revoked = self.identity.revoked(&families).await?;
        metrics::families_compared();
        if let Some(gateway) = gateway.upgrade() {
            for (user, family) in revoked {
                let closed = gateway.revoke(user, Some(family));
                metrics::revocation_found(closed);
            }
        }
        Ok(())
    }
}
