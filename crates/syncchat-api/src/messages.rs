//! Messages: `/api/conversations/{id}/messages` and `/api/messages`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use syncchat_contract::message::Message;
use syncchat_contract::rest::{
    HistoryQuery, MessageAnswer, MessagesAnswer, PatchMessage, PostMessage,
};
use syncchat_contract::scalar::Id;
use syncchat_core::command::{PageFrom, PageRequest, SendMessage};
use syncchat_core::metrics::message_rejected;
use syncchat_core::model::{self, ConversationId, MessageId, MessageView, UserId};
use syncchat_core::ports::limiter::LimitKind;

use crate::error::{Answer, Refusal};
use crate::extract::{Body, Caller, Key, PathId, Query, json_response};
use crate::openapi::{
    AnyCall, BodyNeeded, CallerNeeded, Contradiction, QueryTaken, RightNeeded, ThingNeeded,
};
use crate::router::Api;

/// A page of a conversation.
#[utoipa::path(
    get,
    path = "/api/conversations/{id}/messages",
    tag = "messages",
    security(("bearer" = [])),
    params(("id" = Id, Path, description = "the conversation"), HistoryQuery),
    responses(
        (status = 200, description = "a page, rising in seq", body = MessagesAnswer<'static>),
        QueryTaken, ThingNeeded, CallerNeeded, AnyCall
    )
)]
pub(crate) async fn list_messages(
    State(api): State<Api>,
    Caller(me): Caller,
    PathId(id): PathId<ConversationId>,
    Query(query): Query<HistoryQuery>,
) -> Answer {
    let page = api.chat.history(me, id, query.request()?).await?;
    json_response(StatusCode::OK, &MessagesAnswer::new(&page))
}

/// Says something; the answer comes when it is durable. Again under the same `clientMsgId` or
/// `Idempotency-Key`: the message that the first call wrote.
#[utoipa::path(
    post,
    path = "/api/conversations/{id}/messages",
    tag = "messages",
    security(("bearer" = [])),
    params(("id" = Id, Path, description = "the conversation")),
    request_body = PostMessage,
    responses(
        (status = 201, description = "the message, durable", body = MessageAnswer<'static>),
        BodyNeeded, ThingNeeded, Contradiction, CallerNeeded, AnyCall
    )
)]
pub(crate) async fn post_message(
    State(api): State<Api>,
    Caller(me): Caller,
    PathId(id): PathId<ConversationId>,
    Key(key): Key,
    body: Result<Body<PostMessage>, Refusal>,
) -> Answer {
    let command = sendable(&api, me, id, body).await;
    let command = command.map(|command| command.keyed(key));
    let command = command.inspect_err(|refusal| message_rejected(refusal.code()))?;
    // From here on the core counts.
    let message = api.chat.send(command).await?;
    let message = Message::fresh(&message);
    json_response(StatusCode::CREATED, &MessageAnswer { message })
}

/// A message that the core may be asked to send.
async fn sendable(
    api: &Api,
    me: UserId,
    conversation: ConversationId,
    body: Result<Body<PostMessage>, Refusal>,
) -> Result<SendMessage, Refusal> {
    let Body(body) = body?;
    let command = body.command(me, conversation)?;
    api.limit(LimitKind::Messages, me).await?;
    Ok(command)
}

/// Changes a message of the caller's own.
#[utoipa::path(
    patch,
    path = "/api/messages/{id}",
    tag = "messages",
    security(("bearer" = [])),
    params(("id" = Id, Path, description = "the message")),
    request_body = PatchMessage,
    responses(
        (status = 200, description = "as it is now", body = MessageAnswer<'static>),
        BodyNeeded, RightNeeded, ThingNeeded, Contradiction, CallerNeeded, AnyCall
    )
)]
pub(crate) async fn patch_message(
    State(api): State<Api>,
    Caller(me): Caller,
    PathId(id): PathId<MessageId>,
    Body(body): Body<PatchMessage>,
) -> Answer {
    let message = api.chat.edit(body.command(me, id)?).await?;
    changed_answer(&api, me, message).await
}

/// Takes back a message of the caller's own: its content goes, its place stays.
#[utoipa::path(
    delete,
    path = "/api/messages/{id}",
    tag = "messages",
    security(("bearer" = [])),
    params(("id" = Id, Path, description = "the message")),
    responses(
        (status = 200, description = "as it is now, empty", body = MessageAnswer<'static>),
        RightNeeded, ThingNeeded, CallerNeeded, AnyCall
    )
)]
pub(crate) async fn delete_message(
    State(api): State<Api>,
    Caller(me): Caller,
    PathId(id): PathId<MessageId>,
) -> Answer {
    let message = api.chat.delete(me, id).await?;
    changed_answer(&api, me, message).await
}

/// A changed message with what the cursors say of it: others may have read it before. The change
/// is durable, so a read that fails costs only that.
async fn changed_answer(api: &Api, me: UserId, message: Arc<model::Message>) -> Answer {
    let just_this = PageRequest::new(PageFrom::After(message.seq.saturating_sub(1)), Some(1))?;
    let page = api.chat.history(me, message.conversation, just_this).await;
    let seen = page.ok().and_then(|mut page| page.messages.pop());
    let view = seen
        .filter(|view| view.message.id == message.id)
        .unwrap_or_else(|| MessageView::fresh(message));
    let message = Message::view(&view);
    json_response(StatusCode::OK, &MessageAnswer { message })
}
