//! Bodies, queries and answers of REST. What sockets have too is in [`crate::payload`].

use serde::Serialize;
use serde_json::Value;
use syncchat_core::Result;
use syncchat_core::chat::Page;
use syncchat_core::command::{EditMessage, MessageDraft, PageFrom, PageRequest, SendMessage};
use syncchat_core::limits::ATTACHMENTS_MAX;
use syncchat_core::model::{ConversationId, FileId, MessageId, Timestamp, UserId};
use syncchat_core::people::ProfileChange;
use syncchat_core::ports::store::ConversationCursor;
use utoipa::{IntoParams, ToSchema};

use crate::conversation::Conversation;
use crate::message::{Message, SendableType};
use crate::reader::{Field, FromReader, Reader, Why};
use crate::scalar::{Id, Time};
use crate::user::User;

// === bodies ===

/// `POST /api/auth/register`.
#[derive(ToSchema)]
pub struct Register {
    /// 3 to 32 of `[A-Za-z0-9_.-]`, unique without regard to case.
    #[schema(min_length = 3, max_length = 32, pattern = "^[A-Za-z0-9_.-]+$")]
    pub username: String,
    /// Unique without regard to case.
    #[schema(max_length = 254, format = Email)]
    pub email: String,
    /// 8 to 72 bytes of UTF-8.
    #[schema(min_length = 2, max_length = 72, format = Password)]
    pub password: String,
}

/// `POST /api/auth/login`.
#[derive(ToSchema)]
pub struct Login {
    /// A username or an e-mail address.
    pub login: String,
    /// The password.
    #[schema(format = Password)]
    pub password: String,
}

/// `POST /api/auth/refresh` and `POST /api/auth/logout`.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Refresh {
    /// The newest of its family.
    pub refresh_token: String,
}

/// `PATCH /api/users/me`: what is left out stays.
#[derive(Debug, ToSchema)]
pub struct PatchProfile {
    /// 3 to 32 of `[A-Za-z0-9_.-]`, unique without regard to case.
    #[schema(
        min_length = 3,
        max_length = 32,
        pattern = "^[A-Za-z0-9_.-]+$",
        nullable = false
    )]
    pub username: Option<String>,
    /// An http(s) address or a path of this server; null or empty takes it away.
    #[schema(max_length = 2048)]
    pub avatar: Option<String>,
}

/// `PATCH /api/conversations/{id}`.
#[derive(Debug, ToSchema)]
pub struct PatchConversation {
    /// The group's new title.
    #[schema(min_length = 1, max_length = 100)]
    pub title: String,
}

/// `POST /api/conversations/{id}/participants`.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct AddParticipant {
    /// Who is to be added.
    #[schema(value_type = Id)]
    pub user_id: UserId,
}

/// `POST /api/conversations/{id}/messages`, and the fields of `send_msg`.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct PostMessage {
    /// 1 to 4,000 characters after trimming; may be left out where there is an attachment.
    #[schema(required = false, max_length = 4000)]
    pub content: String,
    /// `text` if left out.
    #[schema(rename = "type", value_type = SendableType, required = false)]
    pub kind: Option<String>,
    /// The sender's own name for it; sent again, it makes no second message.
    #[schema(min_length = 1, max_length = 64)]
    pub client_msg_id: Option<String>,
    /// Ids of uploaded files.
    #[schema(value_type = Vec<Id>, required = false, max_items = 10)]
    pub attachments: Vec<FileId>,
    /// The message it answers.
    #[schema(value_type = Option<Id>)]
    pub reply_to: Option<MessageId>,
}

/// `PATCH /api/messages/{id}`.
#[derive(Debug, ToSchema)]
pub struct PatchMessage {
    /// The new content: 1 to 4,000 characters after trimming.
    #[schema(min_length = 1, max_length = 4000)]
    pub content: String,
}

impl FromReader for Register {
    fn from_reader(mut reader: Reader) -> Result<Register> {
        let username = reader.required("username");
        let email = reader.required("email");
        let password = reader.required("password");
        reader.finish(|| {
            Some(Register {
                username: username?,
                email: email?,
                password: password?,
            })
        })
    }
}

impl FromReader for Login {
    fn from_reader(mut reader: Reader) -> Result<Login> {
        let (login, password) = (reader.required("login"), reader.required("password"));
        reader.finish(|| {
            Some(Login {
                login: login?,
                password: password?,
            })
        })
    }
}

impl FromReader for Refresh {
    fn from_reader(mut reader: Reader) -> Result<Refresh> {
        let token = reader.required("refreshToken");
        reader.finish(|| {
            Some(Refresh {
                refresh_token: token?,
            })
        })
    }
}

impl FromReader for PatchProfile {
    fn from_reader(mut reader: Reader) -> Result<PatchProfile> {
        let username = reader.optional("username");
        let avatar = match reader.is_null("avatar") {
            true => Some(String::new()),
            false => reader.optional("avatar"),
        };
        reader.finish(|| Some(PatchProfile { username, avatar }))
    }
}

impl PatchProfile {
    /// The command.
    ///
    /// # Errors
    /// `invalid`, naming the fields.
    pub fn command(self) -> Result<ProfileChange> {
        ProfileChange::new(self.username.as_deref(), self.avatar.as_deref())
    }
}

impl FromReader for PatchConversation {
    fn from_reader(mut reader: Reader) -> Result<PatchConversation> {
        let title = reader.required("title");
        reader.finish(|| Some(PatchConversation { title: title? }))
    }
}

impl FromReader for AddParticipant {
    fn from_reader(mut reader: Reader) -> Result<AddParticipant> {
        let user_id = reader.required("userId");
        reader.finish(|| Some(AddParticipant { user_id: user_id? }))
    }
}

impl FromReader for PostMessage {
    fn from_reader(mut reader: Reader) -> Result<PostMessage> {
        let message = PostMessage::fields(&mut reader);
        reader.finish(|| Some(message))
    }
}

impl PostMessage {
    /// Takes the fields out of a reader, which remembers what is wrong.
    pub(crate) fn fields(reader: &mut Reader) -> PostMessage {
        let shows_files = reader.has("attachments");
        let content = match shows_files {
            true => reader.optional("content"),
            false => reader.required("content"),
        };
        PostMessage {
            content: content.unwrap_or_default(),
            kind: reader.optional("type"),
            client_msg_id: reader.optional("clientMsgId"),
            attachments: reader.list("attachments", ATTACHMENTS_MAX),
            reply_to: reader.optional("replyTo"),
        }
    }

    /// The command.
    ///
    /// # Errors
    /// `invalid`, naming the field.
    pub fn command(self, sender: UserId, conversation: ConversationId) -> Result<SendMessage> {
        SendMessage::new(sender, conversation, self.into())
    }
}

impl From<PostMessage> for MessageDraft {
    fn from(message: PostMessage) -> MessageDraft {
        MessageDraft {
            content: message.content,
            kind: message.kind,
            client_msg_id: message.client_msg_id,
            attachments: message.attachments,
            reply_to: message.reply_to,
        }
    }
}

impl FromReader for PatchMessage {
    fn from_reader(mut reader: Reader) -> Result<PatchMessage> {
        let content = reader.required("content");
        reader.finish(|| Some(PatchMessage { content: content? }))
    }
}

impl PatchMessage {
    /// The command.
    ///
    /// # Errors
    /// `invalid`, naming the field.
    pub fn command(self, editor: UserId, message: MessageId) -> Result<EditMessage> {
        EditMessage::new(editor, message, self.content)
    }
}

// === queries ===

/// `GET /api/users`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SearchQuery {
    /// The beginning of a username, without regard to case.
    #[param(min_length = 1, max_length = 32)]
    pub q: String,
}

/// `GET /api/conversations`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// `next` of the page before; left out for the first page.
    #[param(value_type = Option<String>)]
    pub cursor: Option<ConversationCursor>,
    /// Conversations on the page.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u64>,
}

/// `GET /api/conversations/{id}/messages`: at most one of `before`, `after` and `since`; without
/// any of them the newest messages.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// Messages on the page; 50 if left out.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u64>,
    /// The messages just before this `seq`.
    pub before: Option<u64>,
    /// The messages just after this `seq`.
    pub after: Option<u64>,
    /// The messages written at or after this time.
    #[param(value_type = Option<Time>)]
    pub since: Option<Timestamp>,
}

impl FromReader for SearchQuery {
    fn from_reader(mut reader: Reader) -> Result<SearchQuery> {
        let q = reader.required("q");
        reader.finish(|| Some(SearchQuery { q: q? }))
    }
}

impl FromReader for ListQuery {
    fn from_reader(mut reader: Reader) -> Result<ListQuery> {
        let cursor = reader.optional("cursor");
        let limit = reader.optional("limit");
        reader.finish(|| Some(ListQuery { cursor, limit }))
    }
}

impl ListQuery {
    /// How many conversations are wanted on the page; the core says how many there may be.
    pub fn limit(&self) -> Option<usize> {
        self.limit.map(to_usize)
    }
}

impl FromReader for HistoryQuery {
    fn from_reader(mut reader: Reader) -> Result<HistoryQuery> {
        let places = ["before", "after", "since"];
        let given: Vec<&str> = places.into_iter().filter(|name| reader.has(name)).collect();
        if given.len() > 1 {
            for name in given {
                reader.refuse(name, "excludes the others of before, after and since");
            }
        }
        let query = HistoryQuery {
            limit: reader.optional("limit"),
            before: reader.optional("before"),
            after: reader.optional("after"),
            since: reader.optional("since"),
        };
        reader.finish(|| Some(query))
    }
}

impl HistoryQuery {
    /// The request.
    ///
    /// # Errors
    /// `invalid`, naming `limit`.
    pub fn request(&self) -> Result<PageRequest> {
        let from = match (self.before, self.after, self.since) {
            (Some(before), _, _) => PageFrom::Before(before),
            (_, Some(after), _) => PageFrom::After(after),
            (_, _, Some(since)) => PageFrom::Since(since),
            (None, None, None) => PageFrom::Newest,
        };
        PageRequest::new(from, self.limit.map(to_usize))
    }
}

/// What does not fit is more than any limit allows.
fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A cursor is opaque to clients: `<milliseconds>-<id>` of the last conversation shown.
fn cursor_text(cursor: &ConversationCursor) -> String {
    format!("{}-{}", cursor.updated_at.millis(), cursor.id)
}

impl Field for ConversationCursor {
    fn read(value: Value) -> Result<ConversationCursor, Why> {
        let parse = |text: &str| {
            let (millis, id) = text.rsplit_once('-')?;
            Some(ConversationCursor {
                updated_at: Timestamp::from_millis(millis.parse().ok()?),
                id: id.parse().ok()?,
            })
        };
        value
            .as_str()
            .and_then(parse)
            .ok_or("must be the next of an earlier page".into())
    }
}

// === answers ===

/// Logged in.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionAnswer<'a> {
    /// Who.
    pub user: User<'a>,
    /// For the `Authorization` header and for sockets.
    pub access_token: &'a str,
    /// For one new pair.
    pub refresh_token: &'a str,
    /// When the access token ends.
    pub expires_at: Time,
}

/// One person.
#[derive(Serialize, ToSchema)]
pub struct UserAnswer<'a> {
    /// The person.
    pub user: User<'a>,
}

/// People.
#[derive(Serialize, ToSchema)]
pub struct UsersAnswer<'a> {
    /// In order of username.
    pub users: Vec<User<'a>>,
}

/// One conversation.
#[derive(Serialize, ToSchema)]
pub struct ConversationAnswer<'a> {
    /// As the caller sees it.
    pub conversation: Conversation<'a>,
}

/// A page of conversations.
#[derive(Serialize, ToSchema)]
pub struct ConversationsAnswer<'a> {
    /// Newest first.
    pub conversations: Vec<Conversation<'a>>,
    /// The `cursor` of the page after; null at the end.
    #[schema(required = true)]
    pub next: Option<String>,
}

/// One message.
#[derive(Serialize, ToSchema)]
pub struct MessageAnswer<'a> {
    /// As it is now.
    pub message: Message<'a>,
}

/// A page of messages.
#[derive(Serialize, ToSchema)]
pub struct MessagesAnswer<'a> {
    /// Rising in `seq`.
    pub messages: Vec<Message<'a>>,
    /// Whether there are more in the direction asked.
    pub more: bool,
}

impl<'a> ConversationsAnswer<'a> {
    /// A page, and where the next one begins.
    pub fn new(
        conversations: Vec<Conversation<'a>>,
        next: Option<&ConversationCursor>,
    ) -> ConversationsAnswer<'a> {
        ConversationsAnswer {
            conversations,
            next: next.map(cursor_text),
        }
    }
}

impl<'a> MessagesAnswer<'a> {
    /// From the core's page.
    pub fn new(page: &'a Page) -> MessagesAnswer<'a> {
        MessagesAnswer {
            messages: page.messages.iter().map(Message::view).collect(),
            more: page.more,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query<T: FromReader>(pairs: &[(&str, &str)]) -> Result<T> {
        let pairs = pairs
            .iter()
            .map(|&(name, value)| (name.into(), value.into()));
        T::from_reader(Reader::query(pairs))
    }

    fn fields<T>(result: Result<T>) -> Vec<String> {
        let fields = result.err().into_iter().flat_map(|error| error.fields);
        fields.map(|(name, _)| name.into_owned()).collect()
    }

    #[test]
    fn a_page_lies_in_one_place() {
        let page = |pairs: &[(&str, &str)]| query(pairs).and_then(|q: HistoryQuery| q.request());
        let request = |from, limit| PageRequest::new(from, limit);
        assert_eq!(page(&[]), request(PageFrom::Newest, None));
        let before = page(&[("before", "9"), ("limit", "2")]);
        assert_eq!(before, request(PageFrom::Before(9), Some(2)));
        assert_eq!(page(&[("after", "0")]), request(PageFrom::After(0), None));
        let since = page(&[("since", "1970-01-01T00:00:01Z")]);
        let second = Timestamp::from_millis(1_000);
        assert_eq!(since, request(PageFrom::Since(second), None));

        assert_eq!(
            fields(page(&[("before", "9"), ("after", "1")])),
            ["before", "after"]
        );
        assert_eq!(fields(page(&[("since", "yesterday")])), ["since"]);
        for bad in ["0", "201", "-1", "x", "", "99999999999999999999"] {
            assert_eq!(fields(page(&[("limit", bad)])), ["limit"], "{bad}");
        }
    }

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        let cursor = ConversationCursor {
            updated_at: Timestamp::from_millis(-5),
            id: ConversationId::generate(),
        };
        let text = cursor_text(&cursor);
        let read: ListQuery = query(&[("cursor", &text)]).unwrap();
        assert_eq!(read.cursor, Some(cursor));
        for bad in [
            "",
            "-",
            "5",
            "x-000000000000000000000001",
            "5-0",
            "5-{\"$ne\":1}",
        ] {
            assert_eq!(
                fields(query::<ListQuery>(&[("cursor", bad)])),
                ["cursor"],
                "{bad}"
            );
        }
    }

    #[test]
    fn null_takes_the_avatar_away_and_absence_leaves_it() {
        let patch = |json: &str| {
            let reader = Reader::body(json.as_bytes()).unwrap();
            PatchProfile::from_reader(reader).and_then(PatchProfile::command)
        };
        assert_eq!(patch("{}"), ProfileChange::new(None, None));
        assert_eq!(
            patch(r#"{"avatar":null}"#),
            ProfileChange::new(None, Some(""))
        );
        assert_eq!(
            patch(r#"{"avatar":"/a"}"#),
            ProfileChange::new(None, Some("/a"))
        );
        assert_eq!(
            fields(patch(r#"{"username":{"$ne":1},"avatar":[]}"#)),
            ["username", "avatar"]
        );
    }
}
