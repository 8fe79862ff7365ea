//! What was committed lately, in memory, so that resends and answers to it cost no read.

use std::sync::Arc;

use crate::cache::Cache;
use crate::limits::{PLACES_CACHED_MAX, RESENDS_CACHED_MAX};
use crate::model::{ConversationId, Message, MessageId, Seq, UserId};

/// The sender's own name for a message: conversation, sender, `clientMsgId`.
pub(crate) type ResendKey = (ConversationId, UserId, String);

/// Recently committed messages, by both their names.
pub(crate) struct Recent {
    by_client_id: Cache<ResendKey, Arc<Message>>,
    places: Cache<MessageId, (ConversationId, Seq)>,
}

impl Recent {
    pub(crate) fn new() -> Recent {
        Recent {
            by_client_id: Cache::new(RESENDS_CACHED_MAX, |_| 1),
            places: Cache::new(PLACES_CACHED_MAX, |_| 1),
        }
    }

    pub(crate) fn remember(&self, message: &Arc<Message>) {
        self.places
            .put(message.id, (message.conversation, message.seq));
        if let Some(key) = resend_key(message) {
            self.by_client_id.put(key, Arc::clone(message));
        }
    }

    /// The message was changed: a resend's answer comes from the store from now on.
    pub(crate) fn forget(&self, message: &Message) {
        if let Some(key) = resend_key(message) {
            self.by_client_id.remove(&key);
        }
    }

    pub(crate) fn resent(&self, key: &ResendKey) -> Option<Arc<Message>> {
        self.by_client_id.get(key)
    }

    pub(crate) fn place(&self, id: MessageId) -> Option<(ConversationId, Seq)> {
        self.places.get(&id)
    }
}

pub(crate) fn resend_key(message: &Message) -> Option<ResendKey> {
    let client_msg_id = message.client_msg_id.clone()?;
    Some((message.conversation, message.sender, client_msg_id))
}
