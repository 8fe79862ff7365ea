//! Messages: `/api/conversations/{id}/messages` and `/api/messages`.

use axum::extract::State;
use axum::http::StatusCode;
use syncchat_contract::message::Message;
use syncchat_contract::rest::{
    HistoryQuery, MessageAnswer, MessagesAnswer, PatchMessage, PostMessage,
};
use syncchat_contract::scalar::Id;
use syncchat_core::model::{ConversationId, MessageId};
use syncchat_core::ports::limiter::LimitKind;

use crate::error::Answer;
use crate::extract::{Body, Caller, PathId, Query, json_response};
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

/// Says something; the answer comes when it is durable.
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
    Body(body): Body<PostMessage>,
) -> Answer {
    let command = body.command(me, id)?;
    api.limit(LimitKind::Messages, me).await?;
    let message = api.chat.send(command).await?;
    let message = Message::fresh(&message);
    json_response(StatusCode::CREATED, &MessageAnswer { message })
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
    let message = Message::fresh(&message);
    json_response(StatusCode::OK, &MessageAnswer { message })
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
    let message = Message::fresh(&message);
    json_response(StatusCode::OK, &MessageAnswer { message })
}
