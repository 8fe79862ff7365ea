//! `/api/auth`: accounts and tokens. Rates by address are kept by the identity crate.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use syncchat_contract::rest::{Login, Refresh, Register, SessionAnswer};
use syncchat_contract::user::User;
use syncchat_identity::{RegisterRequest, Session};

use crate::error::Answer;
use crate::extract::{Body, ClientAddr, Key, json_response};
use crate::openapi::{AnyCall, BodyNeeded, CallerNeeded, Contradiction};
use crate::router::Api;

/// Makes an account and logs it in. The same registration again within ten minutes, or with any
/// `Idempotency-Key` within 24 hours, logs in to the account it made if the password is right, for its answer
/// may have been lost.
#[utoipa::path(
    post,
    path = "/api/auth/register",
    tag = "auth",
    request_body = Register,
    responses(
        (status = 201, description = "the account, logged in", body = SessionAnswer<'static>),
        BodyNeeded, Contradiction, AnyCall
    )
)]
pub(crate) async fn register(
    State(api): State<Api>,
    ClientAddr(address): ClientAddr,
    Key(key): Key,
    Body(body): Body<Register>,
) -> Answer {
    let request = RegisterRequest {
        username: body.username,
        email: body.email,
        password: body.password,
    };
    let session = match key {
        Some(_) => api.identity.register_keyed(request, address).await?,
        None => api.identity.register(request, address).await?,
    };
    session_answer(StatusCode::CREATED, &session)
}

/// Logs in. A wrong name and a wrong password get the same answer, in the same time.
#[utoipa::path(
    post,
    path = "/api/auth/login",
    tag = "auth",
    request_body = Login,
    responses(
        (status = 200, description = "logged in", body = SessionAnswer<'static>),
        BodyNeeded, CallerNeeded, AnyCall
    )
)]
pub(crate) async fn login(
    State(api): State<Api>,
    ClientAddr(address): ClientAddr,
    Body(body): Body<Login>,
) -> Answer {
    let session = api
        .identity
        .login(&body.login, body.password, address)
        .await?;
    session_answer(StatusCode::OK, &session)
}

/// Exchanges a refresh token for a new pair. The same token gives the same successor until that one is
/// used, so a call whose answer was lost can be repeated; used after its successor, it revokes every
/// token that descends from the same log-in.
#[utoipa::path(
    post,
    path = "/api/auth/refresh",
    tag = "auth",
    request_body = Refresh,
    responses(
        (status = 200, description = "a new pair", body = SessionAnswer<'static>),
        BodyNeeded, CallerNeeded, AnyCall
    )
)]
pub(crate) async fn refresh(State(api): State<Api>, Body(body): Body<Refresh>) -> Answer {
    let session = api.identity.refresh(&body.refresh_token).await?;
    session_answer(StatusCode::OK, &session)
}

/// Logs out: revokes every refresh token that descends from the same log-in, and ends its sockets. If the
/// store does not answer (503), that is done as soon as it does.
#[utoipa::path(
    post,
    path = "/api/auth/logout",
    tag = "auth",
    request_body = Refresh,
    responses(
        (status = 204, description = "logged out, whether or not the token was good"),
        BodyNeeded, AnyCall
    )
)]
pub(crate) async fn logout(State(api): State<Api>, Body(body): Body<Refresh>) -> Answer {
    api.identity.logout(&body.refresh_token).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn session_answer(status: StatusCode, session: &Session) -> Answer {
    let answer = SessionAnswer {
        user: User::own(&session.user),
        access_token: &session.access_token,
        refresh_token: &session.refresh_token,
        expires_at: session.expires_at.into(),
    };
    json_response(status, &answer)
}
