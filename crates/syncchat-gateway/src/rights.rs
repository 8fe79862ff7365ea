//! What those here may see of the past: for edits of old messages, which are told to all who are in
//! a conversation now, but must not tell somebody what was said while they were away.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use syncchat_core::model::{ConversationId, Message, MessageId, Rev, Seq, SeqSpans, UserId};

use crate::limits::{CHANGES_AWAITING_MAX, CHANGES_KEPT_MAX};
use crate::metrics;

/// Spans of those who do not see all of a conversation, or may not.
#[derive(Default)]
pub(crate) struct Rights {
    partial: HashMap<UserId, HashMap<ConversationId, SeqSpans>>,
    /// People who were added, until the store has said what they may see of what was said before.
    unknown: HashMap<ConversationId, HashMap<UserId, Unknown>>,
    /// Of whom the store is being asked.
    asked: HashSet<UserId>,
}

/// What is not known yet of one person in one conversation.
struct Unknown {
    /// The message that added them.
    since: Seq,
    /// Messages from before it that were changed since: the person is told of those they may see.
    changed: Vec<Arc<Message>>,
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
    /// known here: until the store says so, they may not, and changes of it are kept for them.
    pub(crate) fn added(&mut self, user: UserId, conversation: ConversationId, seq: Seq) {
        let spans = SeqSpans::from_parts(vec![(seq, None)]);
        self.set(user, conversation, &spans);
        let in_it = self.unknown.entry(conversation).or_default();
        let unknown = in_it.entry(user).or_insert_with(|| Unknown {
            since: seq,
            changed: Vec::new(),
        });
        unknown.since = unknown.since.max(seq);
    }

    /// A message was changed. Kept for those of whom it is not known whether they may see it; beyond
    /// [`CHANGES_AWAITING_MAX`] the oldest of one person in one conversation is lost, and counted.
    pub(crate) fn keep_change(&mut self, message: &Arc<Message>) {
        let Some(in_it) = self.unknown.get_mut(&message.conversation) else {
            return;
        };
        for unknown in in_it.values_mut() {
            if message.seq >= unknown.since {
                continue;
            }
            unknown.changed.retain(|other| other.id != message.id);
            if unknown.changed.len() >= CHANGES_AWAITING_MAX {
                unknown.changed.remove(0);
                metrics::notice_lost("change");
            }
            unknown.changed.push(Arc::clone(message));
        }
    }

    /// The store is to be asked what this person may see. False if it is being asked.
    pub(crate) fn ask(&mut self, user: UserId) -> bool {
        self.asked.insert(user)
    }

    /// The store has answered, or could not.
    pub(crate) fn answered(&mut self, user: UserId) {
        self.asked.remove(&user);
    }

    /// Some of those of whom the store did not say yet what they may see, and is not being asked.
    pub(crate) fn to_ask(&self, limit: usize) -> Vec<UserId> {
        let people = self.unknown.values().flat_map(HashMap::keys);
        let mut people: Vec<UserId> = people
            .filter(|user| !self.asked.contains(user))
            .take(limit)
            .copied()
            .collect();
        people.sort_unstable();
        people.dedup();
        people
    }

    /// What the store says of all conversations of a person. Gives the messages that were kept for them; those
    /// that they may see, they are to be told of. An answer from before they were added says nothing.
    pub(crate) fn know(
        &mut self,
        user: UserId,
        answer: &[(ConversationId, SeqSpans)],
    ) -> Vec<Arc<Message>> {
        let mut kept = Vec::new();
        for (conversation, spans) in answer {
            let in_it = self.unknown.get_mut(conversation);
            if let Some(in_it) = in_it
                && let Entry::Occupied(unknown) = in_it.entry(user)
            {
                if !spans.contains(unknown.get().since) {
                    continue;
                }
                kept.extend(unknown.remove().changed);
            }
            self.set(user, *conversation, spans);
        }
        // Where the person is not any more, nothing is to be known.
        self.unknown.retain(|conversation, in_it| {
            if !answer.iter().any(|(id, _)| id == conversation) {
                in_it.remove(&user);
            }
            !in_it.is_empty()
        });
        kept
    }

    pub(crate) fn forget(&mut self, user: UserId) {
        self.partial.remove(&user);
        self.unknown.retain(|_, in_it| {
            in_it.remove(&user);
            !in_it.is_empty()
        });
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

    #[test]
    fn changes_are_kept_for_who_was_added_until_the_store_says_what_they_may_see() {
        let (user, other) = (UserId::generate(), UserId::generate());
        let changed = |seq, rev| {
            let id = MessageId::from_bytes([seq as u8; 12]);
            let message = (*message(id, "changed", rev)).clone();
            Arc::new(Message { seq, ..message })
        };
        let here = changed(1, 2).conversation;
        let mut rights = Rights::default();
        rights.keep_change(&changed(9, 2));
        rights.added(user, here, 50);
        for (seq, rev) in [(9, 3), (40, 4), (9, 5), (60, 6)] {
            rights.keep_change(&changed(seq, rev));
        }
        assert_eq!(rights.to_ask(10), [user]);
        assert!(rights.ask(user) && !rights.ask(user) && rights.to_ask(10).is_empty());
        rights.answered(user);
        // Read before the person was added.
        let old = SeqSpans::from_parts(vec![(1, Some(30))]);
        assert!(rights.know(user, &[(here, old)]).is_empty());
        assert!(!rights.may_see(user, here, 9) && rights.to_ask(10) == [user]);
        let spans = SeqSpans::from_parts(vec![(1, Some(30)), (50, None)]);
        let kept = rights.know(user, &[(here, spans)]);
        let kept: Vec<_> = kept.iter().map(|m| (m.seq, m.rev)).collect();
        assert_eq!(kept, [(40, 4), (9, 5)]);
        assert!(rights.may_see(user, here, 9) && !rights.may_see(user, here, 40));
        assert!(rights.unknown.is_empty());
        // Who has gone, from the conversation or from here.
        rights.added(user, here, 70);
        assert!(rights.know(user, &[]).is_empty() && rights.unknown.is_empty());
        rights.added(other, here, 80);
        rights.forget(other);
        assert!(rights.unknown.is_empty());
        rights.added(user, here, 90);
        for n in 0..CHANGES_AWAITING_MAX as u64 + 5 {
            let id = MessageId::generate();
            let message = (*message(id, "", n + 2)).clone();
            rights.keep_change(&Arc::new(Message { seq: 1, ..message }));
        }
        assert_eq!(
            rights.know(user, &[(here, SeqSpans::all())]).len(),
            CHANGES_AWAITING_MAX
        );
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
