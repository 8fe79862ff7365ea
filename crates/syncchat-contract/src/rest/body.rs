//! What bodies say.

use syncchat_core::Result;
use syncchat_core::command::{EditMessage, MessageDraft, SendMessage};
use syncchat_core::files::AnnounceFile;
use syncchat_core::limits::ATTACHMENTS_MAX;
use syncchat_core::model::{ConversationId, FileId, MessageId, UserId};
use syncchat_core::people::ProfileChange;
use utoipa::ToSchema;

use crate::message::SendableType;
use crate::reader::{FromReader, Reader};
use crate::scalar::Id;

/// What is said of a file of which nothing is said.
const CONTENT_TYPE_DEFAULT: &str = "application/octet-stream";

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
    /// The new content: 1 to 4,000 characters after trimming; none are needed beside attachments.
    #[schema(max_length = 4000)]
    pub content: String,
}

/// `POST /api/files`.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct NewFile {
    /// 1 to 255 characters. Shown to people; never used as a path.
    #[schema(min_length = 1, max_length = 255)]
    pub name: String,
    /// Bytes, exactly.
    #[schema(minimum = 0)]
    pub size: u64,
    /// A MIME type; `application/octet-stream` if left out.
    #[schema(required = false, max_length = 127)]
    pub content_type: String,
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

impl FromReader for NewFile {
    fn from_reader(mut reader: Reader) -> Result<NewFile> {
        let (name, size) = (reader.required("name"), reader.required("size"));
        let content_type = reader.optional("contentType");
        reader.finish(|| {
            Some(NewFile {
                name: name?,
                size: size?,
                content_type: content_type.unwrap_or_else(|| CONTENT_TYPE_DEFAULT.into()),
            })
        })
    }
}

impl NewFile {
    /// The command.
    ///
    /// # Errors
    /// `invalid`, naming the fields.
    pub fn command(self) -> Result<AnnounceFile> {
        AnnounceFile::new(&self.name, self.size, &self.content_type)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn fields<T>(result: Result<T>) -> Vec<String> {
        let fields = result.err().into_iter().flat_map(|error| error.fields);
        fields.map(|(name, _)| name.into_owned()).collect()
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
