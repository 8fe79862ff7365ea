//! What those here may see of the past: for edits of old messages, which are told to all who are in
//! a conversation now, but must not tell somebody what was said while they were away.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use syncchat_core::model::{ConversationId, Message, MessageId, Rev, Seq, SeqSpans, UserId};

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
    /// Versions, in the order in which they came; of a message that was changed again, several.
    order: VecDeque<(MessageId, Rev)>,
    /// How many were ever remembered.
    count: u64,
}

impl Changes {
    /// Remembers a changed message, unless a later version of it is known. Beyond [`CHANGES_KEPT_MAX`] the
    /// oldest is forgotten.
    pub(crate) fn remember(&mut self, message: &Arc<Message>) {
        match self.latest.entry(message.id) {
            Entry::Occupied(known) if !message.supersedes(known.get()) => return,
            entry => drop(entry.insert_entry(Arc::clone(message))),
        }
        self.count += 1;
        self.order.push_back((message.id, message.rev));
        if self.order.len() > CHANGES_KEPT_MAX
            && let Some((oldest, rev)) = self.order.pop_front()
            && let Entry::Occupied(known) = self.latest.entry(oldest)
            && known.get().rev == rev
        {
            known.remove();
        }
    }

    /// The message as it is now, as far as is known.
    pub(crate) fn latest<'a>(&'a self, message: &'a Arc<Message>) -> &'a Arc<Message> {
        match self.latest.get(&message.id) {
            Some(changed) if !message.supersedes(changed) => changed,
            _ => message,
        }
    }

    /// A moment, for [`Self::reach_back_to`].
    pub(crate) fn now(&self) -> u64 {
        self.count
    }

    /// Whether all changes are remembered that came after this moment.
    pub(crate) fn reach_back_to(&self, moment: u64) -> bool {
        self.count - moment <= CHANGES_KEPT_MAX as u64
    }
}

#[cfg(test)]
mod tests {
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

    fn message(id: MessageId, content: &str, rev: Rev) -> Arc<Message> {
        let conversation = ConversationId::from_bytes([0; 12]);
        Arc::new(Message {
            id,
            rev,
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
        let moment = changes.now();
        for _ in 0..CHANGES_KEPT_MAX {
            assert!(changes.reach_back_to(moment));
            changes.remember(&message(MessageId::generate(), "", 2));
        }
        assert!(changes.reach_back_to(moment) && !changes.reach_back_to(moment - 1));
        assert_eq!(changes.latest(&first).content, "helo");
        assert_eq!(changes.latest.len(), changes.order.len());
    }

    #[test]
    fn of_changes_that_overtake_each_other_the_later_one_counts() {
        let id = MessageId::generate();
        let mut changes = Changes::default();
        let first = message(id, "helo", 1);
        changes.remember(&message(id, "hello!", 3));
        changes.remember(&message(id, "hello", 2));
        assert_eq!(changes.latest(&first).content, "hello!");
        let deleted = Arc::new(Message {
            deleted: true,
            ..(*message(id, "", 4)).clone()
        });
        changes.remember(&deleted);
        changes.remember(&message(id, "hello!!", 5));
        assert!(changes.latest(&first).deleted);
        for _ in 3..CHANGES_KEPT_MAX {
            changes.remember(&message(MessageId::generate(), "", 2));
        }
        assert!(changes.latest(&first).deleted, "it was changed again since");
    }
}
