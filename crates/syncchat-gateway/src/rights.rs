//! What those here may see of the past: for edits of old messages, which are told to all who are in
//! a conversation now, but must not tell somebody what was said while they were away.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use syncchat_core::model::{ConversationId, Message, MessageId, Seq, SeqSpans, UserId};

use crate::limits::CHANGES_KEPT_MAX;

/// Spans of those who do not see all of a conversation, or may not.
#[derive(Default)]
pub(crate) struct Rights {
    partial: HashMap<UserId, HashMap<ConversationId, SeqSpans>>,
}

impl Rights {
    /// As the store says.
    pub(crate) fn set(&mut self, user: UserId, conversation: ConversationId, spans: &SeqSpans) {
        if *spans != SeqSpans::all() {
            let of_user = self.partial.entry(user).or_default();
            of_user.insert(conversation, spans.clone());
        } else if let Some(of_user) = self.partial.get_mut(&user) {
            of_user.remove(&conversation);
            if of_user.is_empty() {
                self.partial.remove(&user);
            }
        }
    }

    /// The person was added by message `seq`. Whether they may see what was said before is not
    /// known here: until the store says so, they may not.
    pub(crate) fn added(&mut self, user: UserId, conversation: ConversationId, seq: Seq) {
        let spans = SeqSpans::from_parts(vec![(seq, None)]);
        self.set(user, conversation, &spans);
    }

    pub(crate) fn forget(&mut self, user: UserId) {
        self.partial.remove(&user);
    }

    pub(crate) fn may_see(&self, user: UserId, conversation: ConversationId, seq: Seq) -> bool {
        self.partial
            .get(&user)
            .and_then(|of_user| of_user.get(&conversation))
            .is_none_or(|spans| spans.contains(seq))
    }
}

/// Messages that were changed a moment ago: what is on its way down may still be the old one.
#[derive(Default)]
pub(crate) struct Changes {
    latest: HashMap<MessageId, Arc<Message>>,
    /// In the order in which they were first changed.
    order: VecDeque<MessageId>,
}

impl Changes {
    /// Remembers a changed message. Beyond [`CHANGES_KEPT_MAX`] the oldest is forgotten.
    pub(crate) fn remember(&mut self, message: &Arc<Message>) {
        if self
            .latest
            .insert(message.id, Arc::clone(message))
            .is_none()
        {
            self.order.push_back(message.id);
        }
        if self.order.len() > CHANGES_KEPT_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.latest.remove(&oldest);
        }
    }

    /// The message as it is now, as far as is known.
    pub(crate) fn latest<'a>(&'a self, message: &'a Arc<Message>) -> &'a Arc<Message> {
        match self.latest.get(&message.id) {
            Some(changed) if changed.updated_at >= message.updated_at => changed,
            _ => message,
        }
    }
}

#[cfg(test)]
mod tests {
    use syncchat_core::model::Timestamp;
    use syncchat_core::testing;

    use super::*;

    #[test]
    fn who_was_away_does_not_hear_of_what_was_said_meanwhile() {
        let (user, here) = (UserId::generate(), ConversationId::generate());
        let mut rights = Rights::default();
        assert!(rights.may_see(user, here, 45));
        rights.added(user, here, 50);
        assert!(!rights.may_see(user, here, 30) && rights.may_see(user, here, 50));
        let spans = SeqSpans::from_parts(vec![(1, Some(41)), (50, None)]);
        rights.set(user, here, &spans);
        assert!(rights.may_see(user, here, 30) && !rights.may_see(user, here, 45));
        rights.set(user, here, &SeqSpans::all());
        assert!(rights.may_see(user, here, 45) && rights.partial.is_empty());
    }

    fn message(id: MessageId, content: &str, updated_at: i64) -> Arc<Message> {
        let conversation = ConversationId::from_bytes([0; 12]);
        Arc::new(Message {
            id,
            updated_at: Timestamp::from_millis(updated_at),
            ..testing::message(conversation, UserId::from_bytes([0; 12]), content)
        })
    }

    #[test]
    fn the_newest_version_counts_and_the_oldest_changes_are_forgotten() {
        let id = MessageId::generate();
        let mut changes = Changes::default();
        let first = message(id, "helo", 1);
        changes.remember(&message(id, "hello", 2));
        assert_eq!(changes.latest(&first).content, "hello");
        let newer = message(id, "hello!", 3);
        assert_eq!(changes.latest(&newer).content, "hello!");
        for _ in 0..CHANGES_KEPT_MAX {
            changes.remember(&message(MessageId::generate(), "", 1));
        }
        assert_eq!(changes.latest(&first).content, "helo");
        assert_eq!(changes.latest.len(), changes.order.len());
    }
}
