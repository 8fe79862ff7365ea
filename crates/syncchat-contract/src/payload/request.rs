//! What clients emit. A request is read from the event's first argument; what has a command in the
//! core becomes one.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use syncchat_core::Result;
use syncchat_core::command::{
    CreateConversation, EditMessage, MessageDraft, SendMessage, SyncRequest,
};
use syncchat_core::limits::{PARTICIPANTS_PER_REQUEST_MAX, PRESENCE_USERS_MAX, SYNC_CURSORS_MAX};
use syncchat_core::model::{ConversationId, ConversationKind, MessageId, Rev, Seq, UserId};
use utoipa::ToSchema;

use crate::conversation::ConversationType;
use crate::reader::{FromReader, Reader};
use crate::rest::PostMessage;
use crate::scalar::Id;

/// `authenticate`, and CONNECT's object.
#[derive(Clone)]
pub struct Authenticate {
    /// An access token, unchecked.
    pub token: String,
}

/// What CONNECT's object says of connection state recovery. Nothing in it is ever wrong: what is not
/// of the right type was not said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comeback {
    /// The `pid` of an earlier connection, unchecked.
    pub pid: Option<String>,
    /// The offset of the last event of that connection, unchecked.
    pub offset: Option<String>,
    /// Whether events are to carry offsets. Without it the server judges by what client it is.
    pub recovery: Option<bool>,
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
    /// Conversation → newest change that the client knows, as an earlier answer's `changeSeq` said.
    pub changes: BTreeMap<ConversationId, Rev>,
    /// The `epoch` that the client was told with what it holds.
    pub epoch: Option<String>,
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
    /// The creator's own name for it; sent again, it makes no second conversation.
    #[schema(min_length = 1, max_length = 64)]
    pub client_conversation_id: Option<String>,
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

impl Comeback {
    /// Reads CONNECT's object.
    pub fn read_connect(raw: Option<&RawValue>) -> Comeback {
        let Some(raw) = raw else {
            return Comeback::default();
        };
        let fields: BTreeMap<String, &RawValue> =
            serde_json::from_str(raw.get()).unwrap_or_default();
        let text = |name| serde_json::from_str(fields.get(name).map(|raw| raw.get())?).ok();
        Comeback {
            pid: text("pid"),
            offset: text("offset"),
            recovery: fields
                .get("recovery")
                .and_then(|raw| serde_json::from_str(raw.get()).ok()),
        }
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
        let changes = reader.whole_numbers_by_id("changes", SYNC_CURSORS_MAX);
        let epoch = reader.optional("epoch");
        reader.finish(|| {
            Some(Sync {
                cursors,
                all,
                changes,
                epoch,
            })
        })
    }

    /// The request.
    ///
    /// # Errors
    /// `invalid`, naming the field.
    pub fn request(self) -> Result<SyncRequest> {
        let request = SyncRequest::new(self.cursors, self.all)?.knowing(self.changes)?;
        Ok(request.in_epoch(self.epoch))
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
        let client_conversation_id = reader.optional("clientConversationId");
        reader.finish(|| {
            Some(NewConversation {
                kind: kind?,
                participants,
                title,
                client_conversation_id,
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
        CreateConversation::new(creator, self.kind, self.participants, self.title.as_deref())?
            .named(self.client_conversation_id)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const C: &str = "000000000000000000000002";
    const M: &str = "000000000000000000000001";
    const U: &str = "000000000000000000000003";

    fn raw(json: &Value) -> Box<RawValue> {
        RawValue::from_string(json.to_string()).unwrap()
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
        let changes = json!({"cursors": {C: 1}, "changes": {C: -1}});
        assert_eq!(refused(Sync::read, &changes), ["changes"]);
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
        assert!(sync.changes.is_empty());
        assert!(Sync::read(Some(&raw(&json!({"all": true})))).unwrap().all);
        let known = json!({"all": true, "changes": {C: 3}});
        let sync = Sync::read(Some(&raw(&known))).unwrap();
        assert_eq!(sync.changes.into_values().collect::<Vec<_>>(), [3]);
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
    fn who_comes_back_says_so_or_does_not() {
        let read = |json: Value| Comeback::read_connect(Some(&raw(&json)));
        let full = json!({"pid": "p", "offset": "o", "token": "t", "recovery": false});
        let comeback = read(full);
        assert_eq!(
            (comeback.pid.as_deref(), comeback.offset.as_deref()),
            (Some("p"), Some("o"))
        );
        assert_eq!(comeback.recovery, Some(false));
        let nothing = [
            json!({}),
            json!([]),
            json!("p"),
            json!({"pid": 1, "offset": null}),
        ];
        for nothing in nothing {
            assert_eq!(read(nothing), Comeback::default());
        }
        assert_eq!(Comeback::read_connect(None), Comeback::default());
    }

    #[test]
    fn a_wrong_request_still_tells_its_client_msg_id() {
        let request = raw(&json!({"conversationId": 1, "clientMsgId": "c1"}));
        assert_eq!(client_msg_id(Some(&request)).as_deref(), Some("c1"));
        assert_eq!(client_msg_id(Some(&raw(&json!({"clientMsgId": 1})))), None);
        assert_eq!(client_msg_id(Some(&raw(&json!([])))), None);
        assert_eq!(client_msg_id(None), None);
    }
}
