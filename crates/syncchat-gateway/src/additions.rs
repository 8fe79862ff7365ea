//! Memberships that this node may not have been told of: compared with the store when something the
//! fleet said may be lost, again and again while others cannot be heard, and at rest every so often,
//! for a node may die between a write and its announcement.
//!
//! One look costs two reads by index, of what is new in the fleet, and one for each 500
//! conversations that people of this node were added to: not one for each person, and nothing for
//! what has not changed. At rest that is two reads in [`MEMBERSHIP_REVIEW_SHARE`] of the time in which
//! all heads are compared once, 22.5 seconds. What the shards know already they ignore.

use std::sync::Arc;
use std::time::Duration;

use syncchat_core::Chat;
use syncchat_core::model::Timestamp;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::feed::Feed;
use crate::hub::{Hub, Joined};
use crate::limits::{
    ADDITIONS_AGAIN, ADDITIONS_PAUSE, ADDITIONS_SPAN, MEMBERSHIP_REVIEW_SHARE,
    MEMBERSHIP_REVIEW_SPAN,
};
use crate::mailbox::Command;
use crate::metrics;

/// Finds people of this node in conversations that it does not know.
pub(crate) struct Additions {
    chat: Arc<Chat>,
    hub: Arc<Hub>,
    doubted: Notify,
}

impl Additions {
    pub(crate) fn new(chat: Arc<Chat>, hub: Arc<Hub>) -> Additions {
        Additions {
            chat,
            hub,
            doubted: Notify::new(),
        }
    }

    /// Something may be lost: looks at once, or as soon as the present look is over.
    pub(crate) fn doubt(&self) {
        self.doubted.notify_one();
    }

    /// Looks whenever there is doubt, and at rest once in a while, for ever. `heads_review` is the time
    /// in which all heads are compared once.
    pub(crate) async fn run(self: Arc<Additions>, feed: Arc<Feed>, heads_review: Duration) {
        let review = heads_review.mul_f64(MEMBERSHIP_REVIEW_SHARE);
        let mut since = self.chat.clock().estimate();
        loop {
            let in_doubt = timeout(review, self.doubted.notified()).await.is_ok();
            let span = match in_doubt {
                true => ADDITIONS_SPAN,
                false => MEMBERSHIP_REVIEW_SPAN,
            };
            let looked = self.look_from(&mut since, span, &feed).await;
            if looked && !in_doubt {
                continue;
            }
            sleep(ADDITIONS_PAUSE).await;
            // Once more: for a person who was just entering, and if the store did not answer, unless
            // there is a new doubt anyway.
            tokio::select! {
                () = self.doubted.notified() => self.doubted.notify_one(),
                () = sleep(ADDITIONS_AGAIN) => {
                    if !self.look_from(&mut since, span, &feed).await {
                        self.doubted.notify_one();
                    }
                }
            }
        }
    }

    /// Looks for what came since, and sets from when on to look next. False if the store did not say.
    async fn look_from(&self, since: &mut Timestamp, span: Duration, feed: &Feed) -> bool {
        let now = self.chat.clock().estimate();
        match self.look(since.before(span), feed).await {
            Ok(()) => *since = now,
            Err(error) => {
                tracing::debug!(%error, "memberships cannot be read");
                return false;
            }
        }
        true
    }

    async fn look(&self, since: Timestamp, feed: &Feed) -> syncchat_core::Result<()> {
        let here = |user| self.hub.has(user);
        for (user, conversation, seq) in self.chat.additions_since(since, here).await? {
            let shard = feed.shard(conversation.id);
            shard.post(Command::Found(user, Joined { conversation, seq }));
        }
        metrics::additions_looked_for();
        Ok(())
    }
}
