//! What calls answer.

use serde::Serialize;
use syncchat_core::chat::Page;
use syncchat_core::ports::store::ConversationCursor;
use utoipa::ToSchema;

use super::query::cursor_text;
use crate::conversation::Conversation;
use crate::message::Message;
use crate::scalar::Time;
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
