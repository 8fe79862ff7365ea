//! What the fleet is told of a write.
//!
//! Everything here may be said again: after a write whose outcome was unknown, and when a request is
//! repeated that has nothing left to do. Receivers are idempotent.

use std::sync::Arc;

use super::heads::Head;
use crate::command::CursorKind;
use crate::model::{Conversation, ConversationId, Message, Seq, SystemEvent, UserId};
use crate::ports::fleet::{Change, Fleet, FleetEvent};
use crate::ports::store::{CursorAdvance, Cursors};

/// Tells the members of committed messages, and those who came or went that they did.
///
/// An event never reaches past a change of membership: whoever was added is told before the
/// message that says so, and whoever was removed is told before any message after that one.
pub(crate) fn committed(
    fleet: &dyn Fleet,
    conversation: ConversationId,
    head: &Head,
    messages: &[Arc<Message>],
) {
    let mut begin = 0;
    let mut renamed = false;
    for (place, message) in messages.iter().enumerate() {
        match &message.event {
            None => {}
            Some(SystemEvent::Added { by, user }) => {
                publish(fleet, &messages[begin..place]);
                begin = place;
                let conversation = Arc::new(head.conversation(conversation));
                joined(fleet, *user, conversation, message.seq, *by);
            }
            Some(SystemEvent::Removed { user, .. } | SystemEvent::Left { user }) => {
                publish(fleet, &messages[begin..=place]);
                begin = place + 1;
                parted(fleet, *user, message);
            }
            Some(SystemEvent::Renamed { .. }) => renamed = true,
        }
    }
    publish(fleet, &messages[begin..]);
    if renamed {
        let conversation = Arc::new(head.conversation(conversation));
        fleet.publish(FleetEvent::Updated { conversation });
    }
}

/// Tells of messages that were found in the log after their outcome was unknown, in rising `seq`:
/// the same as [`committed`], but of the messages only how far the log reaches, for other nodes may
/// have written between them.
pub(crate) fn found(
    fleet: &dyn Fleet,
    conversation: &Arc<Conversation>,
    messages: &[Arc<Message>],
) {
    let mut renamed = false;
    for message in messages {
        if let Some(SystemEvent::Added { by, user }) = message.event {
            joined(fleet, user, Arc::clone(conversation), message.seq, by);
        }
        fleet.publish(FleetEvent::Head {
            conversation: conversation.id,
            head: message.seq,
        });
        match &message.event {
            Some(SystemEvent::Removed { user, .. } | SystemEvent::Left { user }) => {
                parted(fleet, *user, message);
            }
            Some(SystemEvent::Renamed { .. }) => renamed = true,
            Some(SystemEvent::Added { .. }) | None => {}
        }
    }
    if renamed {
        fleet.publish(FleetEvent::Updated {
            conversation: Arc::clone(conversation),
        });
    }
}

/// Tells everybody in a conversation that they have been in it from the beginning.
pub(crate) fn created(fleet: &dyn Fleet, conversation: &Arc<Conversation>, by: UserId) {
    for user in &conversation.participants {
        joined(fleet, *user, Arc::clone(conversation), 0, by);
    }
}

/// Tells of a message that was edited or deleted, as it is now.
pub(crate) fn changed(fleet: &dyn Fleet, message: &Arc<Message>) {
    fleet.publish(FleetEvent::Changed {
        message: Arc::clone(message),
        change: match message.deleted {
            true => Change::Deleted,
            false => Change::Edited,
        },
    });
}

/// Tells where a cursor stands after an advance.
pub(crate) fn cursor(fleet: &dyn Fleet, advance: &CursorAdvance, cursors: Cursors) {
    fleet.publish(FleetEvent::Cursor {
        conversation: advance.conversation,
        user: advance.user,
        kind: advance.kind,
        seq: match advance.kind {
            CursorKind::Delivered => cursors.delivered_seq,
            CursorKind::Read => cursors.read_seq,
        },
    });
}

/// Tells a person that message `seq` added them.
pub(crate) fn joined(
    fleet: &dyn Fleet,
    user: UserId,
    conversation: Arc<Conversation>,
    seq: Seq,
    by: UserId,
) {
    fleet.publish(FleetEvent::Joined {
        user,
        conversation,
        seq,
        by,
    });
}

fn parted(fleet: &dyn Fleet, user: UserId, message: &Message) {
    fleet.publish(FleetEvent::Parted {
        user,
        conversation: message.conversation,
        seq: message.seq,
        by: message.sender,
    });
}

fn publish(fleet: &dyn Fleet, messages: &[Arc<Message>]) {
    if !messages.is_empty() {
        fleet.publish(FleetEvent::Committed {
            messages: messages.into(),
        });
    }
}
