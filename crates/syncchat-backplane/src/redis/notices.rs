//! What this node said that has no place in a log and no other way to those who missed it: changed
//! messages, cursors, titles, presence, revocations. The newest are kept, one of a kind, for nodes
//! that ask for them again.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;
use syncchat_core::command::CursorKind;
use syncchat_core::model::{ConversationId, MessageId, UserId};
use syncchat_core::ports::fleet::FleetEvent;

use crate::limits::{NOTICES_BYTES_MAX, NOTICES_MAX};
use crate::metrics;

/// The notices that are kept.
#[derive(Default)]
pub(crate) struct Notices {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by_number: BTreeMap<u64, (Kind, FleetEvent)>,
    newest_of: HashMap<Kind, u64>,
    /// The number of the newest.
    said: u64,
    /// Numbers up to this one may be forgotten.
    forgotten: u64,
    bytes: usize,
}

/// A later notice of the same kind makes an earlier one worthless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Changed(MessageId),
    Cursor(ConversationId, UserId, CursorKind),
    Updated(ConversationId),
    Presence(UserId, UserId),
    Revoked(UserId, Option<[u8; 16]>),
}

/// Some of what a node asked for.
pub(crate) struct Again {
    pub(crate) events: Vec<FleetEvent>,
    /// The number of the last of them; what comes after it is still to be told.
    pub(crate) up_to: u64,
    /// Some of what was asked for is forgotten.
    pub(crate) forgotten: bool,
}

impl Notices {
    /// Keeps an event if it is a notice; says whether it is. An earlier version of what is kept is not,
    /// though it was said later. Beyond [`NOTICES_MAX`] of them, or
    /// [`NOTICES_BYTES_MAX`], the oldest is forgotten.
    pub(crate) fn keep(&self, event: &FleetEvent) -> bool {
        let Some(kind) = kind(event) else {
            return false;
        };
        let mut kept = self.kept.lock();
        if kept.has_later(kind, event) {
            return true;
        }
        kept.said += 1;
        let number = kept.said;
        if let Some(former) = kept.newest_of.insert(kind, number) {
            kept.remove(former);
        }
        kept.bytes += weight(event);
        kept.by_number.insert(number, (kind, event.clone()));
        while kept.by_number.len() > NOTICES_MAX || kept.bytes > NOTICES_BYTES_MAX {
            let Some((&oldest, &(kind, _))) = kept.by_number.first_key_value() else {
                break;
            };
            kept.newest_of.remove(&kind);
            kept.remove(oldest);
            kept.forgotten = oldest;
        }
        true
    }

    /// The number of the newest.
    pub(crate) fn said(&self) -> u64 {
        self.kept.lock().said
    }

    /// The oldest notices after this number, at most so many.
    pub(crate) fn after(&self, number: u64, limit: usize) -> Again {
        let kept = self.kept.lock();
        let found = kept.by_number.range(number.saturating_add(1)..).take(limit);
        let mut up_to = number;
        let events = found.map(|(&number, (_, event))| {
            up_to = number;
            event.clone()
        });
        Again {
            events: events.collect(),
            up_to,
            forgotten: kept.forgotten > number,
        }
    }
}

impl Kept {
    /// Whether a later version of what this event tells of is kept.
    fn has_later(&self, kind: Kind, event: &FleetEvent) -> bool {
        let kept = self.newest_of.get(&kind);
        let kept = kept.and_then(|number| self.by_number.get(number));
        match (kept.map(|(_, kept)| kept), event) {
            (
                Some(FleetEvent::Changed { message: kept, .. }),
                FleetEvent::Changed { message, .. },
            ) => kept.supersedes(message),
            (
                Some(FleetEvent::Updated { conversation: kept }),
                FleetEvent::Updated { conversation },
            ) => kept.rev > conversation.rev,
            (Some(FleetEvent::Cursor { seq: kept, .. }), FleetEvent::Cursor { seq, .. }) => {
                kept > seq
            }
            _ => false,
        }
    }

    fn remove(&mut self, number: u64) {
        if let Some((_, event)) = self.by_number.remove(&number) {
            self.bytes = self.bytes.saturating_sub(weight(&event));
        }
    }
}

impl Drop for Again {
    fn drop(&mut self) {
        ::metrics::counter!(metrics::NOTICES_REPEATED).increment(self.events.len() as u64);
    }
}

fn kind(event: &FleetEvent) -> Option<Kind> {
    Some(match event {
        FleetEvent::Changed { message, .. } => Kind::Changed(message.id),
        FleetEvent::Cursor {
            conversation,
            user,
            kind,
            ..
        } => Kind::Cursor(*conversation, *user, *kind),
        FleetEvent::Updated { conversation } => Kind::Updated(conversation.id),
        FleetEvent::Presence { watcher, user, .. } => Kind::Presence(*watcher, *user),
        FleetEvent::Revoked { user, family } => Kind::Revoked(*user, *family),
        // The log and the store have these; typing is over before it could be repeated.
        FleetEvent::Committed { .. }
        | FleetEvent::Head { .. }
        | FleetEvent::Joined { .. }
        | FleetEvent::Parted { .. }
        | FleetEvent::Typing { .. } => return None,
    })
}

/// About how many bytes it takes in memory.
fn weight(event: &FleetEvent) -> usize {
    256 + match event {
        FleetEvent::Changed { message, .. } => message.content.len(),
        FleetEvent::Updated { conversation } => {
            conversation.participants.len() * size_of::<UserId>()
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use syncchat_core::model::{Message, Seq};
    use syncchat_core::ports::fleet::Change;

    use super::*;

    fn cursor(user: u8, seq: Seq) -> FleetEvent {
        FleetEvent::Cursor {
            conversation: ConversationId::from_bytes([0; 12]),
            user: UserId::from_bytes([user; 12]),
            kind: CursorKind::Read,
            seq,
        }
    }

    fn seqs(again: &Again) -> Vec<Seq> {
        let seq = |event: &FleetEvent| match event {
            FleetEvent::Cursor { seq, .. } => *seq,
            _ => 0,
        };
        again.events.iter().map(seq).collect()
    }

    #[test]
    fn the_newest_of_each_kind_is_told_again_in_order_by_parts() {
        let notices = Notices::default();
        for (user, seq) in [(1, 10), (2, 20), (1, 11), (3, 30)] {
            assert!(notices.keep(&cursor(user, seq)));
        }
        let head = FleetEvent::Head {
            conversation: ConversationId::from_bytes([0; 12]),
            head: 1,
        };
        assert!(!notices.keep(&head), "the log has it");
        assert_eq!(notices.said(), 4);
        let first = notices.after(0, 2);
        assert_eq!((seqs(&first), first.forgotten), (vec![20, 11], false));
        let rest = notices.after(first.up_to, 2);
        assert_eq!(seqs(&rest), [30]);
        assert!(notices.after(rest.up_to, 2).events.is_empty());
    }

    #[test]
    fn an_earlier_version_does_not_take_the_place_of_a_later_one() {
        let nobody = UserId::from_bytes([0; 12]);
        let first =
            syncchat_core::testing::message(ConversationId::from_bytes([0; 12]), nobody, "text");
        let version = |rev, deleted| {
            let message = Message {
                rev,
                deleted,
                ..first.clone()
            };
            FleetEvent::Changed {
                message: Arc::new(message),
                change: Change::Edited,
            }
        };
        let notices = Notices::default();
        for (rev, deleted) in [(2, false), (4, true), (3, false)] {
            assert!(notices.keep(&version(rev, deleted)));
        }
        for seq in [20, 10] {
            notices.keep(&cursor(1, seq));
        }
        let again = notices.after(0, 9);
        let revs = again.events.iter().map(|event| match event {
            FleetEvent::Changed { message, .. } => message.rev,
            FleetEvent::Cursor { seq, .. } => *seq,
            _ => 0,
        });
        assert_eq!(revs.collect::<Vec<_>>(), [4, 20]);
        assert_eq!(notices.said(), 3);
    }

    #[test]
    fn the_oldest_are_forgotten_and_that_is_said() {
        let notices = Notices::default();
        for i in 0..NOTICES_MAX as u64 + 2 {
            let family = Some(u128::from(i).to_be_bytes());
            let user = UserId::from_bytes([1; 12]);
            notices.keep(&FleetEvent::Revoked { user, family });
        }
        let all = notices.after(0, usize::MAX);
        assert_eq!((all.events.len(), all.forgotten), (NOTICES_MAX, true));
        assert!(notices.after(1, 1).forgotten && !notices.after(2, 1).forgotten);
        assert_eq!(notices.kept.lock().bytes, 256 * NOTICES_MAX);
    }
}
