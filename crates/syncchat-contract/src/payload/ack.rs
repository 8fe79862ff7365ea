//! What the server acknowledges: `{ok: true, …}` or `{ok: false, error}`.

use serde::Serialize;
use serde_json::value::RawValue;
use syncchat_core::Error;
use syncchat_core::chat;
use syncchat_core::model::{Rev, Seq};

use super::emit::Presence;
use crate::conversation::Conversation;
use crate::error::ErrorBody;
use crate::message::Message;
use crate::scalar::{Id, Time};
use crate::user::User;

/// `{ok: true, …}`.
#[derive(Debug, Clone, Serialize)]
pub struct Done<T> {
    ok: bool,
    /// What else the ack says; `()` where it says nothing.
    #[serde(flatten)]
    pub with: T,
}

impl<T: Serialize> Done<T> {
    /// It was done, and this came of it.
    pub fn new(with: T) -> Done<T> {
        Done { ok: true, with }
    }
}

/// `{ok: false, error}`.
#[derive(Debug, Clone, Serialize)]
pub struct Refused<'a> {
    ok: bool,
    /// Why.
    pub error: ErrorBody<'a>,
}

impl<'a> Refused<'a> {
    /// It was not done.
    pub fn new(error: &'a Error) -> Refused<'a> {
        Refused {
            ok: false,
            error: error.into(),
        }
    }
}

/// With the ack of `authenticate`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WithUser<'a> {
    /// Who the socket belongs to now.
    pub user: User<'a>,
    /// Until when.
    pub expires_at: Time,
}

/// With the acks of `send_msg`, `edit_msg` and `delete_msg`.
#[derive(Debug, Clone, Serialize)]
pub struct WithMessage<'a> {
    /// As it is now: the JSON of a [`Message`].
    pub message: &'a RawValue,
}

/// With the ack of `mark_read`.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct WithUnread {
    /// What is left.
    pub unread: u64,
}

/// With the ack of `sync`.
#[derive(Debug, Clone, Serialize)]
pub struct WithSynced<'a> {
    /// Which history the store holds: to be brought with the next `sync`.
    pub epoch: String,
    /// The client holds what is not in this history: it has to forget all of it. What follows is
    /// everything from the beginning.
    #[serde(skip_serializing_if = "is_false")]
    pub reset: bool,
    /// What was missed, by conversation.
    pub conversations: Vec<Synced<'a>>,
}

/// What one conversation has beyond the client's cursor.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Synced<'a> {
    /// Which.
    pub id: Id,
    /// The client's cursor was beyond the end of the log: it has to forget what it holds of this
    /// conversation. What follows is all of it from the beginning.
    #[serde(skip_serializing_if = "is_false")]
    pub reset: bool,
    /// After the client's cursor, rising in `seq`.
    pub messages: Vec<Message<'a>>,
    /// Whether there are more after these: ask again.
    pub more: bool,
    /// The newest `seq`.
    pub last_seq: Seq,
    /// Read up to here.
    pub read_seq: Seq,
    /// Delivered up to here.
    pub delivered_seq: Seq,
    /// Unread messages.
    pub unread: u64,
    /// Up to the client's cursor, edited or deleted after the change that the client named: as they are
    /// now, rising in `rev`.
    pub changes: Vec<Message<'a>>,
    /// What to name in `changes` the next time.
    pub change_seq: Rev,
}

impl<'a> WithSynced<'a> {
    /// From the core's answer.
    pub fn new(synced: &'a chat::Synced) -> WithSynced<'a> {
        let conversations = synced.conversations.iter().map(|one| Synced {
            id: one.id.into(),
            reset: one.reset,
            messages: one.messages.iter().map(Message::view).collect(),
            more: one.more,
            last_seq: one.last_seq,
            read_seq: one.read_seq,
            delivered_seq: one.delivered_seq,
            unread: one.unread,
            changes: one.changes.iter().map(Message::view).collect(),
            change_seq: one.change_seq,
        });
        WithSynced {
            epoch: synced.epoch.to_string(),
            reset: synced.reset,
            conversations: conversations.collect(),
        }
    }
}

/// Flags that are not set are left out.
fn is_false(flag: &bool) -> bool {
    !flag
}

/// With the ack of `presence`.
#[derive(Debug, Clone, Serialize)]
pub struct WithPresence {
    /// In the order asked; unknown people are offline.
    pub presence: Vec<Presence>,
}

/// With the ack of `create_conversation`.
#[derive(Debug, Clone, Serialize)]
pub struct WithConversation<'a> {
    /// The new one, or the pair's.
    pub conversation: Conversation<'a>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    fn value(json: impl Serialize) -> Value {
        serde_json::to_value(json).unwrap()
    }

    #[test]
    fn acks_say_ok_beside_what_they_carry() {
        assert_eq!(value(Done::new(())), json!({"ok": true}));
        assert_eq!(
            value(Done::new(WithUnread { unread: 3 })),
            json!({"ok": true, "unread": 3})
        );
        let error = Error::rate_limited(Duration::from_millis(1_500));
        assert_eq!(
            value(Refused::new(&error)),
            json!({"ok": false, "error": {"code": "rate_limited",
                "message": "too many requests", "retryAfterMs": 1500}})
        );
    }
}
