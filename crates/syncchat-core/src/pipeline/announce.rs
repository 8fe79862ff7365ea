//! What the fleet is told of an append, in the order of the log.

use std::sync::Arc;

use super::heads::Head;
use crate::model::{ConversationId, Message, SystemEvent};
use crate::ports::fleet::{Fleet, FleetEvent};

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
                fleet.publish(FleetEvent::Joined {
                    user: *user,
                    conversation: Arc::new(head.conversation(conversation)),
                    seq: message.seq,
                    by: *by,
                });
            }
            Some(SystemEvent::Removed { user, .. } | SystemEvent::Left { user }) => {
                publish(fleet, &messages[begin..=place]);
                begin = place + 1;
                fleet.publish(FleetEvent::Parted {
                    user: *user,
                    conversation,
                    seq: message.seq,
                    by: message.sender,
                });
            }
            Some(SystemEvent::Renamed { .. }) => renamed = true,
        }
    }
    publish(fleet, &messages[begin..]);
    if renamed {
        fleet.publish(FleetEvent::Updated {
            conversation: Arc::new(head.conversation(conversation)),
        });
    }
}

fn publish(fleet: &dyn Fleet, messages: &[Arc<Message>]) {
    if !messages.is_empty() {
        fleet.publish(FleetEvent::Committed {
            messages: messages.into(),
        });
    }
}
