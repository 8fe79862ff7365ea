//! The payloads of socket events: requests, acks, and what the server emits.
//!
//! A request is read from the event's first argument; what has a command in the core becomes one.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;
use syncchat_core::chat::SyncedConversation;
use syncchat_core::command::{
    CreateConversation, CursorKind, EditMessage, MessageDraft, SendMessage, SyncRequest,
};
use syncchat_core::limits::{PARTICIPANTS_PER_REQUEST_MAX, PRESENCE_USERS_MAX, SYNC_CURSORS_MAX};
use syncchat_core::model::{
    ConversationId, ConversationKind, MessageId, PresenceStatus, Seq, Timestamp, UserId,
};
use syncchat_core::{Error, Result};
use utoipa::ToSchema;

use crate::conversation::{Conversation, ConversationType, SharedConversation};
use crate::error::ErrorBody;
use crate::message::Message;
use crate::reader::{FromReader, Reader};
use crate::rest::PostMessage;
use crate::scalar::{Id, Time};
use crate::user::User;

// === requests ===

/// `authenticate`, and CONNECT's object.
#[derive(Clone)]
pub struct Authenticate {
    /// An access token, unchecked.
    pub token: String,
}

/// `send_msg`.
#[derive(Debug, Clone)]
pub struct SendMsg {
    /// Where.
    pub conversation: ConversationId,
    /// What.
    pub draft: MessageDraft,
}

/// `edit_msg`.
#[derive(Debug, Clone)]
pub struct EditMsg {
    /// Which.
    pub message: MessageId,
    /// The new content.
    pub content: String,
}

/// `delete_msg`.
#[derive(Debug, Clone, Copy)]
pub struct DeleteMsg {
    /// Which.
    pub message: MessageId,
}

/// `mark_delivered` and `mark_read`.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    /// Where.
    pub conversation: ConversationId,
    /// Up to where.
    pub seq: Seq,
}

/// `typing`, as a client sends it.
#[derive(Debug, Clone, Copy)]
pub struct SetTyping {
    /// Where.
    pub conversation: ConversationId,
    /// Begun or ended.
    pub typing: bool,
}

/// `sync`.
#[derive(Debug, Clone)]
pub struct Sync {
    /// Conversation → newest `seq` the client holds.
    pub cursors: BTreeMap<ConversationId, Seq>,
    /// Also every conversation that `cursors` does not name.
    pub all: bool,
}

/// `presence`, as a client sends it.
#[derive(Debug, Clone)]
pub struct AskPresence {
    /// About whom.
    pub users: Vec<UserId>,
}

/// `create_conversation`, and the body of `POST /api/conversations`.
#[derive(Debug, Clone, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct NewConversation {
    /// `private` or `group`.
    #[schema(rename = "type", value_type = ConversationType)]
    pub kind: ConversationKind,
    /// Ids of the others; the caller is added.
    #[schema(value_type = Vec<Id>)]
    pub participants: Vec<UserId>,
    /// Of a group.
    pub title: Option<String>,
}

impl Authenticate {
    /// Reads the argument.
    ///
    /// # Errors
    /// `invalid`, naming the fields.
    pub fn read(raw: Option<&RawValue>) -> Result<Authenticate> {
        let mut reader = Reader::argument(raw)?;
        let token = reader.required("token");
        reader.finish(|| Some(Authenticate { token: token? }))
    }

    /// Reads CONNECT's object: `None` if there is no token in it, which is no error there.
    ///
    /// # Errors
    /// `invalid`, if there is one and it is no string.
    pub fn read_connect(raw: Option<&RawValue>) -> Result<Option<Authenticate>> {
        let Some(raw) = raw else { return Ok(None) };
        let mut reader = Reader::argument(Some(raw))?;
        let token = reader.optional("token");
        reader.finish(|| Some(token.map(|token| Authenticate { token })))
    }
}

impl SendMsg {
    /// Reads the argument.
    ///
    /// # Errors
    /// `invalid`, naming the fields.
    pub fn read(raw: Option<&RawValue>) -> Result<SendMsg> {
        let mut reader = Reader::argument(raw)?;
        let conversation = reader.required("conversationId");
        let draft = PostMessage::fields(&mut reader).into();
        reader.finish(|| {
            Some(SendMsg {
                conversation: conversation?,
                draft,
            })
        })
    }

    /// The command.
    ///
    /// # Errors
    /// `invalid`, naming the field.
    pub fn command(self, sender: UserId) -> Result<SendMessage> {
        SendMessage::new(sender, self.conversation, self.draft)
    }
}

/// The `clientMsgId` of a request that may be wrong otherwise, for the refusal.
pub fn client_msg_id(raw: Option<&RawValue>) -> Option<String> {
    Reader::argument(raw).ok()?.optional("clientMsgId")
}

impl EditMsg {
    /// Reads the argument.
    ///
    /// # Errors
    /// `invalid`, naming the fields.
    pub fn read(raw: Option<&RawValue>) -> Result<EditMsg> {
        let mut reader = Reader::argument(raw)?;
        let (message, content) = (reader.required("messageId"), reader.required("content"));
        reader.finish(|| {
            Some(EditMsg {
                message: message?,
                content: content?,
            })
        })
    }

    /// The command.
    ///
    /// # Errors
    /// `invalid`, naming the field.
    pub fn command(self, editor: UserId) -> Result<EditMessage> {
        EditMessage::new(editor, self.message, self.content)
    }
}

impl DeleteMsg {
    /// Reads the argument.
    ///
    /// # Errors
    /// `invalid`, naming the field.
    pub fn read(raw: Option<&RawValue>) -> Result<DeleteMsg> {
        let mut reader = Reader::argument(raw)?;
        let message = reader.required("messageId");
        reader.finish(|| Some(DeleteMsg { message: message? }))
    }
}

impl Mark {
    /// Reads the argument.
    ///
    /// # Errors
    /// `invalid`, naming the fields.
    pub fn read(raw: Option<&RawValue>) -> Result<Mark> {
        let mut reader = Reader::argument(raw)?;
        let (conversation, seq) = (reader.required("conversationId"), reader.required("seq"));
        reader.finish(|| {
            Some(Mark {
                conversation: conversation?,
                seq: seq?,
            })
        })
    }
}

impl SetTyping {
    /// Reads the argument.
    ///
    /// # Errors
    /// `invalid`, naming the fields.
    pub fn read(raw: Option<&RawValue>) -> Result<SetTyping> {
        let mut reader = Reader::argument(raw)?;
        let (conversation, typing) = (reader.required("conversationId"), reader.required("typing"));
        reader.finish(|| {
            Some(SetTyping {
                conversation: conversation?,
                typing: typing?,
            })
        })
    }
}

impl Sync {
    /// Reads the argument. `cursors` may be left out where `all` is true.
    ///
    /// # Errors
    /// `invalid`, naming the fields.
    pub fn read(raw: Option<&RawValue>) -> Result<Sync> {
        let mut reader = Reader::argument(raw)?;
        let all = reader.optional("all").unwrap_or(false);
        if !all && !reader.has("cursors") {
            reader.refuse("cursors", "is required");
        }
        let cursors = reader.whole_numbers_by_id("cursors", SYNC_CURSORS_MAX);
        reader.finish(|| Some(Sync { cursors, all }))
    }

    /// The request.
    ///
    /// # Errors
    /// `invalid`, naming the field.
    pub fn request(self) -> Result<SyncRequest> {
        SyncRequest::new(self.cursors, self.all)
    }
}

impl AskPresence {
    /// Reads the argument.
    ///
    /// # Errors
    /// `invalid`, naming the field.
    pub fn read(raw: Option<&RawValue>) -> Result<AskPresence> {
        let mut reader = Reader::argument(raw)?;
        if !reader.has("userIds") {
            reader.refuse("userIds", "is required");
        }
        let users = reader.list("userIds", PRESENCE_USERS_MAX);
        reader.finish(|| Some(AskPresence { users }))
    }
}

impl FromReader for NewConversation {
    fn from_reader(mut reader: Reader) -> Result<NewConversation> {
        let kind = reader.required("type");
        if !reader.has("participants") {
            reader.refuse("participants", "is required");
        }
        // One more than the others may be: the caller may name themselves too.
        let participants = reader.list("participants", PARTICIPANTS_PER_REQUEST_MAX + 1);
        let title = reader.optional("title");
        reader.finish(|| {
            Some(NewConversation {
                kind: kind?,
                participants,
                title,
            })
        })
    }
}

impl NewConversation {
    /// Reads an event's argument.
    ///
    /// # Errors
    /// `invalid`, naming the fields.
    pub fn read(raw: Option<&RawValue>) -> Result<NewConversation> {
        NewConversation::from_reader(Reader::argument(raw)?)
    }

    /// The command.
    ///
    /// # Errors
    /// `invalid`, naming the field.
    pub fn command(self, creator: UserId) -> Result<CreateConversation> {
        CreateConversation::new(creator, self.kind, self.participants, self.title.as_deref())
    }
}

// === acks ===

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
    /// As it is now.
    pub message: Message<'a>,
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
    /// What was missed, by conversation.
    pub conversations: Vec<Synced<'a>>,
}

/// What one conversation has beyond the client's cursor.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Synced<'a> {
    /// Which.
    pub id: Id,
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
}

impl<'a> WithSynced<'a> {
    /// From the core's answer.
    pub fn new(synced: &'a [SyncedConversation]) -> WithSynced<'a> {
        let conversations = synced.iter().map(|one| Synced {
            id: one.id.into(),
            messages: one.messages.iter().map(Message::view).collect(),
            more: one.more,
            last_seq: one.last_seq,
            read_seq: one.read_seq,
            delivered_seq: one.delivered_seq,
            unread: one.unread,
        });
        WithSynced {
            conversations: conversations.collect(),
        }
    }
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

// === what the server emits ===

/// `authenticated`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Authenticated<'a> {
    /// Who the socket belongs to now.
    pub user: User<'a>,
    /// The node that holds it.
    pub node: &'a str,
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
    /// The durable message.
    pub message: Message<'a>,
}

impl<'a> MsgSent<'a> {
    /// For this message.
    pub fn new(message: Message<'a>) -> MsgSent<'a> {
        MsgSent {
            client_msg_id: message.client_msg_id,
            message,
        }
    }
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

fn closing_reason<S: serde::Serializer>(
    reason: &ClosingReason,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(reason.as_str())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    const C: &str = "000000000000000000000002";
    const M: &str = "000000000000000000000001";
    const U: &str = "000000000000000000000003";

    fn raw(json: &Value) -> Box<RawValue> {
        RawValue::from_string(json.to_string()).unwrap()
    }

    fn value(json: impl Serialize) -> Value {
        serde_json::to_value(json).unwrap()
    }

    /// The fields a reader refuses.
    fn refused<T>(read: fn(Option<&RawValue>) -> Result<T>, json: &Value) -> Vec<String> {
        let error = read(Some(&raw(json))).err();
        let fields = error.into_iter().flat_map(|error| error.fields);
        fields.map(|(name, _)| name.into_owned()).collect()
    }

    #[test]
    fn requests_name_what_is_missing_or_wrong() {
        let wrong = json!({"$ne": 1});
        let nothing = json!({});
        assert_eq!(refused(Authenticate::read, &nothing), ["token"]);
        assert_eq!(
            refused(Authenticate::read, &json!({"token": wrong})),
            ["token"]
        );
        assert_eq!(
            refused(SendMsg::read, &nothing),
            ["conversationId", "content"]
        );
        assert_eq!(
            refused(
                SendMsg::read,
                &json!({"conversationId": wrong, "content": wrong, "type": wrong,
                    "clientMsgId": wrong, "attachments": wrong, "replyTo": wrong})
            ),
            [
                "conversationId",
                "content",
                "type",
                "clientMsgId",
                "attachments",
                "replyTo"
            ]
        );
        assert_eq!(refused(EditMsg::read, &nothing), ["messageId", "content"]);
        assert_eq!(
            refused(DeleteMsg::read, &json!({"messageId": 1})),
            ["messageId"]
        );
        assert_eq!(refused(Mark::read, &nothing), ["conversationId", "seq"]);
        assert_eq!(
            refused(Mark::read, &json!({"conversationId": C, "seq": -1})),
            ["seq"]
        );
        assert_eq!(
            refused(SetTyping::read, &nothing),
            ["conversationId", "typing"]
        );
        assert_eq!(refused(Sync::read, &nothing), ["cursors"]);
        assert_eq!(
            refused(Sync::read, &json!({"cursors": {"x": 1}})),
            ["cursors"]
        );
        assert_eq!(
            refused(Sync::read, &json!({"cursors": {C: "1"}})),
            ["cursors"]
        );
        assert_eq!(refused(Sync::read, &json!({"cursors": [C]})), ["cursors"]);
        assert_eq!(refused(AskPresence::read, &nothing), ["userIds"]);
        assert_eq!(
            refused(AskPresence::read, &json!({"userIds": [U, wrong]})),
            ["userIds"]
        );
        assert_eq!(
            refused(NewConversation::read, &nothing),
            ["type", "participants"]
        );
        assert_eq!(
            refused(
                NewConversation::read,
                &json!({"type": "public", "participants": U})
            ),
            ["type", "participants"]
        );
    }

    #[test]
    fn good_requests_are_read() {
        let read = |json| SendMsg::read(Some(&raw(&json)));
        let send = read(
            json!({"conversationId": C, "content": " hi ", "clientMsgId": "1",
            "replyTo": M, "attachments": [], "type": null, "unknown": [{}]}),
        );
        let send = send.unwrap();
        assert_eq!(send.conversation.to_string(), C);
        assert_eq!(send.draft.content, " hi ");
        assert_eq!(send.draft.client_msg_id.as_deref(), Some("1"));
        // With a file, no words are needed.
        let shown = read(json!({"conversationId": C, "type": "file", "attachments": [M]}));
        assert!(shown.unwrap().command(UserId::generate()).is_ok());
        let bare = read(json!({"conversationId": C, "attachments": []}));
        assert_eq!(
            bare.unwrap()
                .command(UserId::generate())
                .unwrap_err()
                .fields[0]
                .0,
            "content"
        );

        let sync = Sync::read(Some(&raw(&json!({"cursors": {C: 5}})))).unwrap();
        assert_eq!(sync.cursors.into_values().collect::<Vec<_>>(), [5]);
        assert!(Sync::read(Some(&raw(&json!({"all": true})))).unwrap().all);
    }

    #[test]
    fn a_handshake_may_come_without_a_token() {
        let read = |json: Value| Authenticate::read_connect(Some(&raw(&json)));
        assert!(Authenticate::read_connect(None).unwrap().is_none());
        assert!(read(json!({})).unwrap().is_none());
        assert_eq!(read(json!({"token": "t"})).unwrap().unwrap().token, "t");
        assert!(read(json!({"token": {"$gt": ""}})).is_err());
    }

    #[test]
    fn a_wrong_request_still_tells_its_client_msg_id() {
        let request = raw(&json!({"conversationId": 1, "clientMsgId": "c1"}));
        assert_eq!(client_msg_id(Some(&request)).as_deref(), Some("c1"));
        assert_eq!(client_msg_id(Some(&raw(&json!({"clientMsgId": 1})))), None);
        assert_eq!(client_msg_id(Some(&raw(&json!([])))), None);
        assert_eq!(client_msg_id(None), None);
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
