//! What was committed lately, in memory, so that resends and answers to it cost no read.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::cache::Cache;
use crate::limits::{PLACES_CACHED_MAX, RESENDS_CACHED_MAX};
use crate::model::{ConversationId, Message, MessageId, Seq, UserId};

/// The sender's own name for a message: conversation, sender, `clientMsgId`.
pub(crate) type ResendKey = (ConversationId, UserId, String);

/// Recently committed messages, by both their names.
pub(crate) struct Recent {
    /// By conversation, sender, and a hash of the name: what is found is looked at, and of two names with one
    /// hash the store knows the other.
    by_client_id: Cache<(ConversationId, UserId, u64), Arc<Message>>,
    names: RandomState,
    places: Cache<MessageId, (ConversationId, Seq)>,
}

impl Recent {
    pub(crate) fn new() -> Recent {
        Recent {
            by_client_id: Cache::new(RESENDS_CACHED_MAX, |_| 1),
            names: RandomState::default(),
            places: Cache::new(PLACES_CACHED_MAX, |_| 1),
        }
    }

    pub(crate) fn remember(&self, message: &Arc<Message>) {
        self.places
            .put(message.id, (message.conversation, message.seq));
        // Of one that was changed the store knows as what it was sent.
        if let Some(name) = &message.client_msg_id
            && !message.edited
            && !message.deleted
        {
            let key = self.key(message.conversation, message.sender, name);
            self.by_client_id.put(key, Arc::clone(message));
        }
    }

    /// The message was changed: a resend's answer comes from the store from now on.
    pub(crate) fn forget(&self, message: &Message) {
        if let Some(name) = &message.client_msg_id {
            let key = self.key(message.conversation, message.sender, name);
            self.by_client_id.remove(&key);
        }
    }

    /// Changes of messages may have been missed: every resend's answer comes from the store, until
    /// messages are committed anew.
    pub(crate) fn forget_all(&self) {
        self.by_client_id.clear();
    }

    /// What this sender called so before, with the content that it was sent with.
    pub(crate) fn resent(
        &self,
        conversation: ConversationId,
        sender: UserId,
        name: &str,
    ) -> Option<Arc<Message>> {
        let found = self.by_client_id.get(&self.key(conversation, sender, name));
        found.filter(|message| message.client_msg_id.as_deref() == Some(name))
    }

    fn key(
        &self,
        conversation: ConversationId,
        sender: UserId,
        name: &str,
    ) -> (ConversationId, UserId, u64) {
        (conversation, sender, self.names.hash_one(name))
    }

    pub(crate) fn place(&self, id: MessageId) -> Option<(ConversationId, Seq)> {
        self.places.get(&id)
    }
}

pub(crate) fn resend_key(message: &Message) -> Option<ResendKey> {
    let client_msg_id = message.client_msg_id.clone()?;
    Some((message.conversation, message.sender, client_msg_id))
}
