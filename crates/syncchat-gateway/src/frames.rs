//! What goes to sockets, encoded once for all who get it.

use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use syncchat_contract::conversation::{Conversation, SharedConversation};
use syncchat_contract::events::server;
use syncchat_contract::message::Message;
use syncchat_contract::payload::{
    Authenticated, ClosingReason, ConversationCreated, ConversationUpdated, ErrorMsg, MemberChange,
    MsgSent, MsgStatus, Presence, Refused, ServerClosing, TokenExpiring, Typing,
};
use syncchat_contract::user::User;
use syncchat_core::Error;
use syncchat_core::command::CursorKind;
use syncchat_core::model::{
    self, ConversationId, EpochId, PresenceStatus, Rev, Seq, SystemEvent, Timestamp, UserId,
};
use syncchat_core::ports::fleet::Change;
use syncchat_protocol::Frame;

use crate::limits::RECENT_QUIET;
use crate::recovery::{Step, Turn};

/// The JSON of one message as it was committed. Whoever needs it first writes it: what goes to the
/// others, `msg_sent` and the ack hold the same.
#[derive(Clone, Default)]
pub(crate) struct Json(Arc<OnceLock<Box<RawValue>>>);

/// The same, as long as somebody else keeps it: an entry stays for long, and its JSON is needed once.
pub(crate) struct KeptJson(Weak<OnceLock<Box<RawValue>>>);

impl Json {
    /// Of this message; always asked with the same one.
    pub(crate) fn of(&self, message: &model::Message) -> &RawValue {
        self.0.get_or_init(|| {
            to_raw_value(&Message::fresh(message)).unwrap_or_else(|error| {
                tracing::error!(%error, "message cannot be encoded");
                RawValue::NULL.to_owned()
            })
        })
    }
}

impl KeptJson {
    pub(crate) fn of(json: &Json) -> KeptJson {
        KeptJson(Arc::downgrade(&json.0))
    }

    /// To be written anew.
    pub(crate) fn none() -> KeptJson {
        KeptJson(Weak::new())
    }

    fn get(&self) -> Json {
        self.0.upgrade().map(Json).unwrap_or_default()
    }
}

/// The socket of this node from which a message was sent.
pub(crate) struct Origin {
    /// Its [`Session::number`](crate::session::Session::number).
    pub(crate) number: u64,
    /// The message's.
    pub(crate) json: KeptJson,
}

/// A message on its way down: one entry of a conversation's log, as frames.
pub(crate) struct Entry {
    pub(crate) message: Arc<model::Message>,
    /// `receive_msg`.
    pub(crate) received: Frame,
    /// What is said besides, right after it: `member_added`, `member_removed`.
    pub(crate) aside: Option<Frame>,
    /// Where it was sent from, if that is on this node: it gets `msg_sent` in its place.
    pub(crate) origin: Option<Origin>,
    /// How old it was when it came here, and when that was.
    age: Duration,
    came: Instant,
}

/// An entry, as the delivery machine keeps it.
#[derive(Clone)]
pub(crate) struct Shared(pub(crate) Arc<Entry>);

impl syncchat_delivery::Frame for Shared {
    fn bytes(&self) -> usize {
        // The message's own text lives beside its frame.
        self.0.received.size() + self.0.message.content.len() + size_of::<Entry>()
    }

    fn rev(&self) -> Rev {
        self.0.message.rev
    }
}

impl Entry {
    /// For a message that came at this moment, `now` by the store's time.
    pub(crate) fn new(
        message: &Arc<model::Message>,
        origin: Option<Origin>,
        came: Instant,
        now: Timestamp,
    ) -> Entry {
        let received = match &origin {
            Some(origin) => event(server::RECEIVE_MSG, origin.json.get().of(message)),
            None => event(server::RECEIVE_MSG, &Message::fresh(message)),
        };
        Entry {
            received,
            aside: aside(message),
            origin,
            age: now.since(message.created_at),
            came,
            message: Arc::clone(message),
        }
    }

    /// `msg_sent`, if this is the socket that it was sent from.
    pub(crate) fn sent_by(&self, socket: u64) -> Option<Frame> {
        let origin = self.origin.as_ref()?;
        (origin.number == socket).then(|| msg_sent(&self.message, &origin.json.get()))
    }

    /// From accepted to now.
    pub(crate) fn age(&self) -> Duration {
        self.age + self.came.elapsed()
    }

    /// Whether it came here soon after it was written.
    pub(crate) fn is_fresh(&self) -> bool {
        self.age < RECENT_QUIET / 2
    }

    /// What it is for the place of somebody who gets it.
    pub(crate) fn step(&self, reader: Option<UserId>) -> Step {
        let turn = match reader {
            Some(_) if reader == self.added() => Turn::Added,
            Some(_) if reader == self.removed() => Turn::Removed,
            _ => Turn::Said,
        };
        Step {
            room: self.message.conversation,
            seq: self.message.seq,
            at: self.message.created_at,
            turn,
        }
    }

    /// Who is added by it.
    pub(crate) fn added(&self) -> Option<UserId> {
        match self.message.event {
            Some(SystemEvent::Added { user, .. }) => Some(user),
            _ => None,
        }
    }

    /// Whether it gives the conversation another title.
    pub(crate) fn renames(&self) -> bool {
        matches!(self.message.event, Some(SystemEvent::Renamed { .. }))
    }

    /// Who may see nothing after it.
    pub(crate) fn removed(&self) -> Option<UserId> {
        match self.message.event {
            Some(SystemEvent::Removed { user, .. } | SystemEvent::Left { user }) => Some(user),
            _ => None,
        }
    }
}

fn aside(message: &model::Message) -> Option<Frame> {
    let (name, by, user) = match *message.event.as_ref()? {
        SystemEvent::Added { by, user } => (server::MEMBER_ADDED, by, user),
        SystemEvent::Removed { by, user } => (server::MEMBER_REMOVED, by, user),
        SystemEvent::Left { user } => (server::MEMBER_REMOVED, user, user),
        SystemEvent::Renamed { .. } => return None,
    };
    let change = MemberChange {
        conversation_id: message.conversation.into(),
        user_id: user.into(),
        by: by.into(),
        seq: Some(message.seq),
        rev: Some(message.seq + 1),
    };
    Some(event(name, &change))
}

pub(crate) fn msg_sent(message: &model::Message, json: &Json) -> Frame {
    let payload = MsgSent {
        client_msg_id: message.shown_client_msg_id(),
        message: json.of(message),
    };
    event(server::MSG_SENT, &payload)
}

/// The name of the event that tells of this change.
pub(crate) fn change_name(change: Change) -> &'static str {
    match change {
        Change::Edited => server::MSG_EDITED,
        Change::Deleted => server::MSG_DELETED,
    }
}

pub(crate) fn msg_changed(message: &model::Message, change: Change) -> Frame {
    event(change_name(change), &Message::fresh(message))
}

pub(crate) fn msg_status(
    conversation: ConversationId,
    user: UserId,
    kind: CursorKind,
    seq: Seq,
) -> Frame {
    event(
        server::MSG_STATUS,
        &MsgStatus::new(conversation, user, kind, seq),
    )
}

pub(crate) fn typing(conversation: ConversationId, user: UserId, typing: bool) -> Frame {
    let payload = Typing {
        conversation_id: conversation.into(),
        user_id: user.into(),
        typing,
    };
    event(server::TYPING, &payload)
}

pub(crate) fn presence(user: UserId, status: PresenceStatus, last_seen: Timestamp) -> Frame {
    event(
        server::PRESENCE,
        &Presence::new(user, status, Some(last_seen)),
    )
}

pub(crate) fn conversation_created(conversation: &model::Conversation, seq: Seq) -> Frame {
    let payload = ConversationCreated {
        conversation: Conversation::joined(conversation, seq),
    };
    event(server::CONVERSATION_CREATED, &payload)
}

pub(crate) fn conversation_updated(conversation: &model::Conversation) -> Frame {
    let payload = ConversationUpdated {
        conversation: SharedConversation::new(conversation),
    };
    event(server::CONVERSATION_UPDATED, &payload)
}

pub(crate) fn authenticated(
    user: &model::User,
    (node, epoch): (&str, EpochId),
    expires_at: Timestamp,
) -> Frame {
    let payload = Authenticated {
        user: User::here(user),
        node,
        epoch: epoch.to_string(),
        expires_at: expires_at.into(),
    };
    event(server::AUTHENTICATED, &payload)
}

pub(crate) fn token_expiring(expires_at: Timestamp) -> Frame {
    let payload = TokenExpiring {
        expires_at: expires_at.into(),
    };
    event(server::TOKEN_EXPIRING, &payload)
}

pub(crate) fn server_closing(reason: ClosingReason, reconnect_in: Duration) -> Frame {
    let payload = ServerClosing {
        reason,
        reconnect_in_ms: u64::try_from(reconnect_in.as_millis()).unwrap_or(u64::MAX),
    };
    event(server::SERVER_CLOSING, &payload)
}

pub(crate) fn error_msg(error: &Error, name: &str, client_msg_id: Option<&str>) -> Frame {
    let payload = ErrorMsg {
        error: Refused::new(error).error,
        event: name,
        client_msg_id,
    };
    event(server::ERROR_MSG, &payload)
}

fn event<T: Serialize + ?Sized>(name: &str, payload: &T) -> Frame {
    // Our own names and shapes can always be written; should one not be, the client gets nothing
    // it could mistake for something.
    Frame::event(name, payload).unwrap_or_else(|error| {
        tracing::error!(%error, name, "event cannot be encoded");
        Frame::noop()
    })
}

#[cfg(test)]
mod tests {
    use syncchat_core::testing;

    use super::*;

    fn message(content: &str) -> model::Message {
        testing::message(
            ConversationId::from_bytes([2; 12]),
            UserId::from_bytes([3; 12]),
            content,
        )
    }

    #[test]
    fn json_is_written_once_while_somebody_keeps_it() {
        let json = Json::default();
        let kept = KeptJson::of(&json);
        let written = json.of(&message("said")).get().to_owned();
        assert!(written.contains(r#""content":"said""#));
        assert_eq!(kept.get().of(&message("not asked")).get(), written);
        drop(json);
        let anew = kept.get();
        assert!(anew.of(&message("changed")).get().contains("changed"));
    }
}
