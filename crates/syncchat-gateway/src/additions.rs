//! Memberships that this node may not have been told of: looked for in the store when something the
//! fleet said may be lost, and again and again while others cannot be heard.
//!
//! One look costs two reads by index, of what is new in the fleet, and one for each 500
//! conversations that people of this node were added to: not one for each person.

use std::sync::Arc;

use syncchat_core::Chat;
use syncchat_core::model::Timestamp;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::feed::Feed;
use crate::hub::{Hub, Joined};
use crate::limits::{ADDITIONS_AGAIN, ADDITIONS_PAUSE, ADDITIONS_SPAN};
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

    /// Looks whenever there is doubt, for ever.
    pub(crate) async fn run(self: Arc<Additions>, feed: Arc<Feed>) {
        let mut since = self.chat.clock().estimate();
        loop {
            self.doubted.notified().await;
            since = self.look_from(since, &feed).await;
            sleep(ADDITIONS_PAUSE).await;
            // Once more, for a person who was just entering, unless there is a new doubt anyway.
            tokio::select! {
                () = self.doubted.notified() => self.doubted.notify_one(),
                () = sleep(ADDITIONS_AGAIN) => since = self.look_from(since, &feed).await,
            }
        }
    }

    /// When the next look has to begin.
    async fn look_from(&self, since: Timestamp, feed: &Feed) -> Timestamp {
        let now = self.chat.clock().estimate();
        match self.look(since.before(ADDITIONS_SPAN), feed).await {
            Ok(()) => now,
            Err(error) => {
                tracing::debug!(%error, "memberships cannot be read");
                since
            }
        }
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
