//! `/api/conversations`: conversations and who is in them.

use std::collections::{BTreeSet, HashMap};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use syncchat_contract::conversation::Conversation;
use syncchat_contract::payload::NewConversation;
use syncchat_contract::rest::{
    AddParticipant, ConversationAnswer, ConversationsAnswer, ListQuery, PatchConversation,
};
use syncchat_contract::scalar::Id;
use syncchat_contract::user::User;
use syncchat_core::model::{self, ConversationId, ConversationView, UserId};
use syncchat_core::{People, Result};

use crate::error::Answer;
use crate::extract::{Body, Caller, Identifier, Key, Params, PathId, Query, json_response};
use crate::limits::{MEMBERS_SHOWN_MAX, PROFILES_PER_PAGE_MAX};
use crate::openapi::{
    AnyCall, BodyNeeded, CallerNeeded, Contradiction, PathNeeded, QueryTaken, RightNeeded,
    ThingNeeded,
};
use crate::router::Api;

/// The caller's conversations, newest first.
#[utoipa::path(
    get,
    path = "/api/conversations",
    tag = "conversations",
    security(("bearer" = [])),
    params(ListQuery),
    responses(
        (status = 200, description = "a page", body = ConversationsAnswer<'static>),
        QueryTaken, CallerNeeded, AnyCall
    )
)]
pub(crate) async fn list_conversations(
    State(api): State<Api>,
    Caller(me): Caller,
    Query(query): Query<ListQuery>,
) -> Answer {
    let page = api
        .chat
        .conversations(me, query.cursor, query.limit())
        .await?;
    let profiles = Profiles::of(&api.people, &page.conversations).await?;
    let shown = page.conversations.iter().map(|view| profiles.show(view));
    let answer = ConversationsAnswer::new(shown.collect(), page.next.as_ref());
    json_response(StatusCode::OK, &answer)
}

/// Begins a conversation; the caller is added. A private one exists once for each pair. Again under the same
/// `clientConversationId` or `Idempotency-Key`: the conversation that the first call made, as it is now.
#[utoipa::path(
    post,
    path = "/api/conversations",
    tag = "conversations",
    security(("bearer" = [])),
    request_body = NewConversation,
    responses(
        (status = 201, description = "the new one", body = ConversationAnswer<'static>),
        (status = 200, description = "the pair's, which was there", body = ConversationAnswer<'static>),
        BodyNeeded, RightNeeded, ThingNeeded, Contradiction, CallerNeeded, AnyCall
    )
)]
pub(crate) async fn create_conversation(
    State(api): State<Api>,
    Caller(me): Caller,
    Key(key): Key,
    Body(body): Body<NewConversation>,
) -> Answer {
    let command = body.command(me)?.keyed(key);
    let (view, new) = api.chat.create_conversation(command).await?;
    let status = match new {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    conversation_answer(&api, status, view).await
}

/// One conversation.
#[utoipa::path(
    get,
    path = "/api/conversations/{id}",
    tag = "conversations",
    security(("bearer" = [])),
    params(("id" = Id, Path, description = "the conversation")),
    responses(
        (status = 200, description = "as the caller sees it", body = ConversationAnswer<'static>),
        ThingNeeded, CallerNeeded, AnyCall
    )
)]
pub(crate) async fn get_conversation(
    State(api): State<Api>,
    Caller(me): Caller,
    PathId(id): PathId<ConversationId>,
) -> Answer {
    let view = api.chat.conversation(me, id).await?;
    conversation_answer(&api, StatusCode::OK, view).await
}

/// Gives a group a new title.
#[utoipa::path(
    patch,
    path = "/api/conversations/{id}",
    tag = "conversations",
    security(("bearer" = [])),
    params(("id" = Id, Path, description = "the group")),
    request_body = PatchConversation,
    responses(
        (status = 200, description = "renamed", body = ConversationAnswer<'static>),
        BodyNeeded, RightNeeded, ThingNeeded, Contradiction, CallerNeeded, AnyCall
    )
)]
pub(crate) async fn patch_conversation(
    State(api): State<Api>,
    Caller(me): Caller,
    PathId(id): PathId<ConversationId>,
    Body(patch): Body<PatchConversation>,
) -> Answer {
    let view = api.chat.rename(me, id, &patch.title).await?;
    conversation_answer(&api, StatusCode::OK, view).await
}

/// Adds somebody to a group. Already in it: nothing changes.
#[utoipa::path(
    post,
    path = "/api/conversations/{id}/participants",
    tag = "conversations",
    security(("bearer" = [])),
    params(("id" = Id, Path, description = "the group")),
    request_body = AddParticipant,
    responses(
        (status = 200, description = "the group, with them", body = ConversationAnswer<'static>),
        BodyNeeded, RightNeeded, ThingNeeded, Contradiction, CallerNeeded, AnyCall
    )
)]
pub(crate) async fn add_participant(
    State(api): State<Api>,
    Caller(me): Caller,
    PathId(id): PathId<ConversationId>,
    Body(body): Body<AddParticipant>,
) -> Answer {
    let view = api.chat.add_participant(me, id, body.user_id).await?;
    conversation_answer(&api, StatusCode::OK, view).await
}

/// Adds somebody to a group, by path. Already in it: nothing changes.
#[utoipa::path(
    post,
    path = "/api/conversations/{id}/participants/{userId}",
    tag = "conversations",
    security(("bearer" = [])),
    params(
        ("id" = Id, Path, description = "the group"),
        ("userId" = String, Path, description = "who, by id")
    ),
    responses(
        (status = 200, description = "the group, with them", body = ConversationAnswer<'static>),
        PathNeeded, RightNeeded, ThingNeeded, Contradiction, CallerNeeded, AnyCall
    )
)]
pub(crate) async fn add_participant_by_path(
    State(api): State<Api>,
    Caller(me): Caller,
    Params((id, user)): Params<(String, String)>,
) -> Answer {
    let id = ConversationId::from_path(&id)?;
    let user = UserId::from_path(&user)?;
    let view = api.chat.add_participant(me, id, user).await?;
    conversation_answer(&api, StatusCode::OK, view).await
}

/// Leaves a group.
#[utoipa::path(
    delete,
    path = "/api/conversations/{id}/participants",
    tag = "conversations",
    security(("bearer" = [])),
    params(("id" = Id, Path, description = "the group")),
    responses(
        (status = 204, description = "left"),
        RightNeeded, ThingNeeded, Contradiction, CallerNeeded, AnyCall
    )
)]
pub(crate) async fn leave_conversation(
    State(api): State<Api>,
    Caller(me): Caller,
    PathId(id): PathId<ConversationId>,
) -> Answer {
    api.chat.remove_participant(me, id, me).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Removes somebody from a group; oneself: leaves it.
#[utoipa::path(
    delete,
    path = "/api/conversations/{id}/participants/{userId}",
    tag = "conversations",
    security(("bearer" = [])),
    params(
        ("id" = Id, Path, description = "the group"),
        ("userId" = String, Path, description = "who, by id, or me")
    ),
    responses(
        (status = 204, description = "removed"),
        RightNeeded, ThingNeeded, Contradiction, CallerNeeded, AnyCall
    )
)]
pub(crate) async fn remove_participant(
    State(api): State<Api>,
    Caller(me): Caller,
    Params((id, user)): Params<(String, String)>,
) -> Answer {
    let id = ConversationId::from_path(&id)?;
    let user = match user.as_str() {
        "me" => me,
        user => UserId::from_path(user)?,
    };
    api.chat.remove_participant(me, id, user).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn conversation_answer(api: &Api, status: StatusCode, view: ConversationView) -> Answer {
    let views = [view];
    let profiles = Profiles::of(&api.people, &views).await?;
    let [view] = &views;
    let conversation = profiles.show(view);
    json_response(status, &ConversationAnswer { conversation })
}

/// The people behind the ids, so that a client can show names without asking for each.
struct Profiles(HashMap<UserId, model::User>);

impl Profiles {
    /// One look-up for all of these, from the first on, as far as the bounds go.
    async fn of(people: &People, views: &[ConversationView]) -> Result<Profiles> {
        let mut wanted = BTreeSet::new();
        for view in views {
            let participants = &view.conversation.participants;
            if participants.len() <= MEMBERS_SHOWN_MAX
                && wanted.len() + participants.len() <= PROFILES_PER_PAGE_MAX
            {
                wanted.extend(participants.iter().copied());
            }
        }
        let wanted: Vec<UserId> = wanted.into_iter().collect();
        let found = people.find(&wanted).await?;
        let by_id = found.into_iter().map(|user| (user.id, user));
        Ok(Profiles(by_id.collect()))
    }

    /// The conversation, with its members if all of them were looked up and found.
    fn show<'a>(&'a self, view: &'a ConversationView) -> Conversation<'a> {
        let participants = &view.conversation.participants;
        let members: Option<Vec<_>> = match participants.len() <= MEMBERS_SHOWN_MAX {
            true => participants
                .iter()
                .map(|id| self.0.get(id).map(User::public))
                .collect(),
            false => None,
        };
        match members {
            Some(members) => Conversation::view(view).with_members(members),
            None => Conversation::view(view),
        }
    }
}
