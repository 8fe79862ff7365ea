//! Which history the store holds, and whether a client has seen another one.
//!
//! Restoring an older backup takes back what clients have seen: a `seq` is given a second time, to
//! another message, and neither a cursor nor a recovery offset can tell. So every client is told an
//! [`EpochId`] and brings it back. The store keeps the epochs of its own history, its [`Lineage`],
//! with the data itself: each start of a node adds one ([`Epochs::begin`]), and a backup holds those
//! up to its moment. An epoch that the store does not know belongs to a part of the history that was
//! lost, and the client that brings it begins anew.
//!
//! So a restored backup is noticed by itself if a node was started between the backup and the loss,
//! which a backup of a stopped node implies. Otherwise only the operator knows, and says so with
//! `syncchat restored`: it replaces the whole lineage ([`HistoryStore::replace_lineage`]).
//!
//! A node that runs meanwhile keeps much in memory that belongs to the lost history (heads, recent
//! frames, places of sockets). It compares lineages every [`EPOCH_POLL`], and ends when its own epoch
//! is gone ([`Epochs::until_replaced`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::RwLock;

use crate::deadline::{read, write};
use crate::error::Result;
use crate::limits::{EPOCH_POLL, LINEAGE_TOGETHER, REWOUND_WARNING_PAUSE};
use crate::metrics;
use crate::model::{ConversationId, EpochId, Lineage, Seq, Timestamp};
#[cfg(doc)]
use crate::ports::store::HistoryStore;
use crate::ports::store::Store;
use crate::together::Together;

/// What this node knows of the store's history.
pub struct Epochs {
    store: Arc<dyn Store>,
    known: RwLock<Arc<Lineage>>,
    /// Reads of the lineage, shared by all who meet an unknown epoch at the same time.
    reads: Together<(), Arc<Lineage>>,
    /// When the last warning of a log that has become shorter was logged, in milliseconds.
    warned_at: AtomicI64,
}

impl Epochs {
    pub(crate) fn new(store: Arc<dyn Store>) -> Arc<Epochs> {
        let of_reads = Arc::clone(&store);
        let reads = move |keys: Vec<()>| {
            let store = Arc::clone(&of_reads);
            async move {
                let lineage = Arc::new(read(store.lineage()).await?);
                Ok(keys.iter().map(|()| Arc::clone(&lineage)).collect())
            }
        };
        Arc::new(Epochs {
            store,
            known: RwLock::default(),
            reads: Together::new("lineage", LINEAGE_TOGETHER, reads),
            warned_at: AtomicI64::new(0),
        })
    }

    /// Adds an epoch to the store's history. To be called once, before the node serves anybody;
    /// until then all epochs are [`EpochId::NONE`].
    ///
    /// # Errors
    /// `unavailable`: it may be called again.
    pub async fn begin(&self) -> Result<()> {
        let lineage = write(self.store.add_epoch(EpochId::generate())).await?;
        *self.known.write() = Arc::new(lineage);
        Ok(())
    }

    /// The newest epoch this node knows of: the one to tell clients.
    pub fn current(&self) -> EpochId {
        self.known.read().current()
    }

    /// The store's history as this node knows it.
    pub fn lineage(&self) -> Arc<Lineage> {
        Arc::clone(&self.known.read())
    }

    /// Reads the store's history again: another node may have begun an epoch a moment ago.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn refresh(&self) -> Result<Arc<Lineage>> {
        let lineage = self.reads.get(()).await?;
        let mut known = self.known.write();
        // One of another history is not taken over: this node is about to end.
        if lineage.contains(known.current()) {
            *known = Arc::clone(&lineage);
        }
        Ok(lineage)
    }

    /// Whether an epoch that a client brings belongs to this store's history. Costs a read only if
    /// this node does not know it.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn knows(&self, epoch: &str) -> Result<bool> {
        // Whatever else a client brings was not made here.
        let Ok(epoch) = epoch.parse() else {
            return Ok(false);
        };
        if self.known.read().contains(epoch) {
            return Ok(true);
        }
        Ok(self.refresh().await?.contains(epoch))
    }

    /// Ends when the store holds another history than the one this node began in. Two looks in a row
    /// have to say so: just after a failover a new primary may not know of the newest epoch yet.
    pub async fn until_replaced(&self) {
        let mut is_suspected = false;
        loop {
            tokio::time::sleep(EPOCH_POLL).await;
            let Ok(lineage) = self.refresh().await else {
                continue;
            };
            let is_gone = !lineage.contains(self.current());
            if is_gone && is_suspected {
                return;
            }
            is_suspected = is_gone;
        }
    }

    /// A log ends before a message that this fleet has handed out. After a failover that may be so
    /// for a moment; otherwise an older backup was restored and nobody said so. Counted each time,
    /// logged once in [`REWOUND_WARNING_PAUSE`].
    pub fn found_rewound(&self, conversation: ConversationId, known: Seq, head: Seq) {
        metrics::log_rewound();
        let now = Timestamp::now().millis();
        let warned_at = self.warned_at.load(Ordering::Relaxed);
        let pause = REWOUND_WARNING_PAUSE.as_millis() as i64;
        let is_first = now - warned_at >= pause
            && self
                .warned_at
                .compare_exchange(warned_at, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if is_first {
            tracing::error!(
                %conversation, known, head,
                "the store has lost messages that were handed out: unless its primary changes just \
                 now, an older backup was restored: run `syncchat restored`"
            );
        }
    }
}
