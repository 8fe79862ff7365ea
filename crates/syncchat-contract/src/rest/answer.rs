//! What calls answer.

use std::collections::BTreeMap;

use serde::Serialize;
use syncchat_core::chat::Page;
use syncchat_core::model::FileId;
use syncchat_core::ports::files::FileLink;
use syncchat_core::ports::store::ConversationCursor;
use utoipa::ToSchema;

use super::query::cursor_text;
use crate::conversation::Conversation;
use crate::message::Message;
use crate::scalar::{Id, Time};
use crate::user::User;

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

/// A file that may be uploaded now.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileAnswer<'a> {
    /// For the `attachments` of a message.
    pub file_id: Id,
    /// Where its bytes go, as the body of one request.
    pub upload: Upload<'a>,
}

/// How to upload a file.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Upload<'a> {
    /// Always `PUT`.
    pub method: &'static str,
    /// Where to.
    #[schema(format = "uri")]
    pub url: &'a str,
    /// Headers that must be sent, as they are.
    pub headers: BTreeMap<&'a str, &'a str>,
    /// Until when the address is good.
    pub expires_at: Time,
}

/// Where a file can be got for a while.
#[derive(Serialize, ToSchema)]
pub struct LinkAnswer<'a> {
    /// The link.
    pub link: Link<'a>,
}

/// An address that needs no token.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Link<'a> {
    /// Where from.
    #[schema(format = "uri")]
    pub url: &'a str,
    /// Until when the address is good.
    pub expires_at: Time,
}

impl<'a> FileAnswer<'a> {
    /// An announced file, and its link with the address as the client reaches it.
    pub fn new(file: FileId, link: &'a FileLink, url: &'a str) -> FileAnswer<'a> {
        let headers = link.headers.iter();
        FileAnswer {
            file_id: file.into(),
            upload: Upload {
                method: "PUT",
                url,
                headers: headers.map(|(name, value)| (&**name, &**value)).collect(),
                expires_at: link.expires_at.into(),
            },
        }
    }
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
