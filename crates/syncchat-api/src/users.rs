//! `/api/users`: profiles and presence.

use axum::extract::State;
use axum::http::StatusCode;
use syncchat_contract::rest::{PatchProfile, SearchQuery, UserAnswer, UsersAnswer};
use syncchat_contract::scalar::Id;
use syncchat_contract::user::User;
use syncchat_core::model::UserId;
use syncchat_core::{Error, ErrorCode};

use crate::error::{Answer, Refusal};
use crate::extract::{Body, Caller, PathId, Query, json_response};
use crate::openapi::{AnyCall, BodyNeeded, CallerNeeded, Contradiction, QueryTaken, ThingNeeded};
use crate::router::Api;

/// The caller's own profile.
#[utoipa::path(
    get,
    path = "/api/users/me",
    tag = "users",
    security(("bearer" = [])),
    responses(
        (status = 200, description = "the caller", body = UserAnswer<'static>),
        CallerNeeded, AnyCall
    )
)]
pub(crate) async fn get_me(State(api): State<Api>, Caller(me): Caller) -> Answer {
    let user = api.people.profile(me).await.map_err(no_longer_known)?;
    let user = User::own(&user);
    json_response(StatusCode::OK, &UserAnswer { user })
}

/// Changes the caller's own profile.
#[utoipa::path(
    patch,
    path = "/api/users/me",
    tag = "users",
    security(("bearer" = [])),
    request_body = PatchProfile,
    responses(
        (status = 200, description = "the caller, changed", body = UserAnswer<'static>),
        BodyNeeded, Contradiction, CallerNeeded, AnyCall
    )
)]
pub(crate) async fn patch_me(
    State(api): State<Api>,
    Caller(me): Caller,
    Body(patch): Body<PatchProfile>,
) -> Answer {
    let change = patch.command()?;
    let user = api.people.change(me, change).await;
    let user = user.map_err(no_longer_known)?;
    let user = User::own(&user);
    json_response(StatusCode::OK, &UserAnswer { user })
}

/// Finds people by the beginning of their username.
#[utoipa::path(
    get,
    path = "/api/users",
    tag = "users",
    security(("bearer" = [])),
    params(SearchQuery),
    responses(
        (status = 200, description = "at most 50 people", body = UsersAnswer<'static>),
        QueryTaken, CallerNeeded, AnyCall
    )
)]
pub(crate) async fn search_users(
    State(api): State<Api>,
    _: Caller,
    Query(query): Query<SearchQuery>,
) -> Answer {
    let found = api.people.search(&query.q).await?;
    let users = found.iter().map(User::public).collect();
    json_response(StatusCode::OK, &UsersAnswer { users })
}

/// A profile, with presence.
#[utoipa::path(
    get,
    path = "/api/users/{id}",
    tag = "users",
    security(("bearer" = [])),
    params(("id" = Id, Path, description = "the person")),
    responses(
        (status = 200, description = "the person", body = UserAnswer<'static>),
        ThingNeeded, CallerNeeded, AnyCall
    )
)]
pub(crate) async fn get_user(
    State(api): State<Api>,
    Caller(me): Caller,
    PathId(id): PathId<UserId>,
) -> Answer {
    let user = api.people.profile(id).await?;
    let user = match id == me {
        true => User::own(&user),
        false => User::public(&user),
    };
    json_response(StatusCode::OK, &UserAnswer { user })
}

/// A token may outlive its account: whoever asks about themselves is then nobody.
fn no_longer_known(error: Error) -> Refusal {
    match error.code {
        ErrorCode::NotFound => {
            Error::new(ErrorCode::Unauthorized, "this account does not exist").into()
        }
        _ => error.into(),
    }
}
