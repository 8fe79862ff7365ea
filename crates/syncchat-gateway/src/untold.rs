//! People who were added to a conversation that others on this node read: its log seats them,
//! whether or not the word to themselves has come through. Who is still to be told is remembered.

use std::collections::{HashMap, VecDeque};

use syncchat_core::model::{ConversationId, Seq, UserId};

use crate::limits::ADDITIONS_KEPT_MAX;

/// Additions of late, told and untold.
#[derive(Default)]
pub(crate) struct Untold {
    /// By which message, and whether the person was told.
    latest: HashMap<(UserId, ConversationId), (Seq, bool)>,
    /// In the order in which they came. Beyond [`ADDITIONS_KEPT_MAX`] the oldest is forgotten: the
    /// person has the messages, and learns of the rest with the next `sync`.
    order: VecDeque<(UserId, ConversationId)>,
}

impl Untold {
    /// The person was told that message `seq` added them.
    pub(crate) fn told(&mut self, user: UserId, conversation: ConversationId, seq: Seq) {
        self.note(user, conversation, seq, true);
    }

    /// The log has come to message `seq`, which adds the person.
    pub(crate) fn seated(&mut self, user: UserId, conversation: ConversationId, seq: Seq) {
        self.note(user, conversation, seq, false);
    }

    /// A socket of the person begins before message `seq`, which adds them, and has read the list of its
    /// conversations: passing that message is no news to it. Another socket of theirs may still have
    /// to be told, so what is known already stays.
    pub(crate) fn listed(&mut self, user: UserId, conversation: ConversationId, seq: Seq) {
        if !self.latest.contains_key(&(user, conversation)) {
            self.note(user, conversation, seq, true);
        }
    }

    /// Whether the person is still to be told of this addition.
    pub(crate) fn is_untold(&self, user: UserId, conversation: ConversationId, seq: Seq) -> bool {
        let known = self.latest.get(&(user, conversation));
        known.is_some_and(|&(latest, told)| !told && latest == seq)
    }

    /// Whether the person was told that message `seq`, or a later one, added them.
    pub(crate) fn was_told(&self, user: UserId, conversation: ConversationId, seq: Seq) -> bool {
        let known = self.latest.get(&(user, conversation));
        known.is_some_and(|&(latest, told)| told && latest >= seq)
    }

    fn note(&mut self, user: UserId, conversation: ConversationId, seq: Seq, told: bool) {
        let key = (user, conversation);
        match self.latest.get_mut(&key) {
            Some((latest, _)) if *latest > seq => {}
            Some((latest, known)) => {
                *known = told || (*latest == seq && *known);
                *latest = seq;
            }
            None => {
                self.latest.insert(key, (seq, told));
                self.order.push_back(key);
            }
        }
        if self.order.len() > ADDITIONS_KEPT_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.latest.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_seated_without_a_word_is_told_once() {
        let (user, room) = (UserId::generate(), ConversationId::generate());
        let mut untold = Untold::default();
        assert!(!untold.is_untold(user, room, 5), "nothing is known of it");
        assert!(!untold.was_told(user, room, 0));
        untold.told(user, room, 5);
        assert!(untold.was_told(user, room, 5) && !untold.was_told(user, room, 6));
        untold.seated(user, room, 5);
        assert!(!untold.is_untold(user, room, 5), "the word came first");
        untold.seated(user, room, 9);
        assert!(untold.is_untold(user, room, 9));
        untold.told(user, room, 9);
        assert!(!untold.is_untold(user, room, 9));
        untold.seated(user, room, 12);
        untold.told(user, room, 12);
        assert!(!untold.is_untold(user, room, 12), "the word came late");
        untold.told(user, room, 7);
        untold.seated(user, room, 14);
        assert!(!untold.is_untold(user, room, 12) && untold.is_untold(user, room, 14));
        for _ in 0..ADDITIONS_KEPT_MAX {
            untold.seated(UserId::generate(), room, 1);
        }
        let (other, late) = (ConversationId::generate(), UserId::generate());
        untold.listed(user, other, 3);
        untold.seated(user, other, 3);
        assert!(!untold.is_untold(user, other, 3), "the list said so");
        untold.seated(late, other, 4);
        untold.listed(late, other, 4);
        assert!(untold.is_untold(late, other, 4), "another socket waits");
        assert_eq!(untold.latest.len(), ADDITIONS_KEPT_MAX);
        assert_eq!(untold.order.len(), ADDITIONS_KEPT_MAX);
    }
}
