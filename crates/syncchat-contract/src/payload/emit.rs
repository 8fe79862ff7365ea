//! What the server emits by itself.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use syncchat_core::command::CursorKind;
use syncchat_core::model::{ConversationId, PresenceStatus, Rev, Seq, Timestamp, UserId};

use crate::conversation::{Conversation, SharedConversation};
use crate::error::ErrorBody;
use crate::scalar::{Id, Time};
use crate::user::User;

/// `authenticated`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Authenticated<'a> {
    /// Who the socket belongs to now.
    pub user: User<'a>,
    /// The node that holds it.
    pub node: &'a str,
    /// Which history the store holds: to be brought with `sync`.
    pub epoch: String,
    /// Until when.
    pub expires_at: Time,
}

/// `token_expiring`.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenExpiring {
    /// When.
    pub expires_at: Time,
}

/// `error_msg`: the refusal of a request that had no ack.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorMsg<'a> {
    /// Why.
    pub error: ErrorBody<'a>,
    /// The event that was refused.
    pub event: &'a str,
    /// Its `clientMsgId`, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_msg_id: Option<&'a str>,
}

/// `msg_sent`: to the sender's socket.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MsgSent<'a> {
    /// The sender's own name for it, if it gave one.
    pub client_msg_id: Option<&'a str>,
    /// The durable message: the JSON of a [`Message`](crate::message::Message).
    pub message: &'a RawValue,
}

/// `msg_status`: a member's cursor rose.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MsgStatus {
    /// Where.
    pub conversation_id: Id,
    /// Whose.
    pub user_id: Id,
    /// `delivered` or `read`.
    pub status: &'static str,
    /// Up to where.
    pub seq: Seq,
}

impl MsgStatus {
    /// For this cursor.
    pub fn new(
        conversation: ConversationId,
        user: UserId,
        kind: CursorKind,
        seq: Seq,
    ) -> MsgStatus {
        MsgStatus {
            conversation_id: conversation.into(),
            user_id: user.into(),
            status: kind.as_str(),
            seq,
        }
    }
}

/// `typing`, as the others get it.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Typing {
    /// Where.
    pub conversation_id: Id,
    /// Who.
    pub user_id: Id,
    /// Begun or ended.
    pub typing: bool,
}

/// `presence`, as others get it.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Presence {
    /// Who.
    pub user_id: Id,
    /// `online` or `offline`.
    pub status: &'static str,
    /// When the last device went away, if that is known.
    pub last_seen: Option<Time>,
}

impl Presence {
    /// Of this person.
    pub fn new(user: UserId, status: PresenceStatus, last_seen: Option<Timestamp>) -> Presence {
        Presence {
            user_id: user.into(),
            status: status.as_str(),
            last_seen: last_seen.map(Time),
        }
    }
}

/// `conversation_created`: to a person who is in it from now on.
#[derive(Debug, Clone, Serialize)]
pub struct ConversationCreated<'a> {
    /// As that person sees it.
    pub conversation: Conversation<'a>,
}

/// `conversation_updated`: to all members, so without anybody's cursors.
#[derive(Debug, Clone, Serialize)]
pub struct ConversationUpdated<'a> {
    /// As it is now.
    pub conversation: SharedConversation<'a>,
}

/// `member_added` and `member_removed`.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberChange {
    /// Where.
    pub conversation_id: Id,
    /// Who came or went.
    pub user_id: Id,
    /// Who did it.
    pub by: Id,
    /// The system message that says so, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<Seq>,
    /// The conversation's `rev` with this change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rev: Option<Rev>,
}

/// `server_closing`.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerClosing {
    /// Why.
    #[serde(serialize_with = "closing_reason")]
    pub reason: ClosingReason,
    /// When to come back, in milliseconds from now.
    pub reconnect_in_ms: u64,
}

/// Why the server closes a socket on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClosingReason {
    /// The node is being stopped.
    Draining,
    /// The socket took nothing for too long.
    SlowConsumer,
    /// The access token has ended.
    TokenExpired,
    /// Another connection took its place.
    Replaced,
    /// The log-in was revoked.
    Kicked,
}

impl ClosingReason {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            ClosingReason::Draining => "draining",
            ClosingReason::SlowConsumer => "slow_consumer",
            ClosingReason::TokenExpired => "token_expired",
            ClosingReason::Replaced => "replaced",
            ClosingReason::Kicked => "kicked",
        }
    }
}

fn closing_reason<S: Serializer>(reason: &ClosingReason, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(reason.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use syncchat_core::Error;

    use super::*;

    const C: &str = "000000000000000000000002";
    const U: &str = "000000000000000000000003";

    fn value(json: impl Serialize) -> Value {
        serde_json::to_value(json).unwrap()
    }

    #[test]
    fn refusals_without_an_ack_say_of_what() {
        let error = Error::invalid("content", "must not be empty");
        let refusal = ErrorMsg {
            error: (&error).into(),
            event: "send_msg",
            client_msg_id: Some("c1"),
        };
        assert_eq!(
            value(refusal),
            json!({"event": "send_msg", "clientMsgId": "c1", "error": {"code": "invalid",
                "message": "content: must not be empty",
                "fields": {"content": "must not be empty"}}})
        );
    }

    #[test]
    fn events_have_the_contract_s_fields() {
        let (conversation, user): (ConversationId, UserId) =
            (C.parse().unwrap(), U.parse().unwrap());
        let status = MsgStatus::new(conversation, user, CursorKind::Read, 4);
        assert_eq!(
            value(status),
            json!({"conversationId": C, "userId": U, "status": "read", "seq": 4})
        );
        let presence = Presence::new(user, PresenceStatus::Offline, None);
        assert_eq!(
            value(presence),
            json!({"userId": U, "status": "offline", "lastSeen": null})
        );
        let closing = ServerClosing {
            reason: ClosingReason::SlowConsumer,
            reconnect_in_ms: 250,
        };
        assert_eq!(
            value(closing),
            json!({"reason": "slow_consumer", "reconnectInMs": 250})
        );
    }
}
