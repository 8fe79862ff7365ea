//! What handlers take: who calls, from where, and what they say. Each refuses in the contract's
//! words.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use axum::body::Body as HttpBody;
use axum::extract::{FromRequest, FromRequestParts, Path, Query as UriQuery, Request};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::IntoResponse;
use http_body_util::BodyExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use syncchat_contract::reader::{FromReader, Reader};
use syncchat_core::model::{ConversationId, FileId, IdempotencyKey, MessageId, UserId};
use syncchat_core::ports::limiter::LimitKind;
use syncchat_core::{Error, ErrorCode};
use tokio::time::timeout;

use crate::error::{Answer, Refusal};
use crate::limits::{BODY_BYTES_MAX, BODY_DROPPED_BYTES_MAX, BODY_TIMEOUT};
use crate::router::Api;

/// The client's address, after trusted proxies. The program puts it into each request's
/// extensions; without it all clients count as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddr(pub IpAddr);

/// Who calls: the access token is good, and the person is within their rate.
#[derive(Debug, Clone, Copy)]
pub struct Caller(pub UserId);

/// The call's `Idempotency-Key`, which [`crate::middleware::idempotency`] has read, if it has one.
#[derive(Debug)]
pub struct Key(pub Option<IdempotencyKey>);

/// A JSON body.
#[derive(Debug)]
pub struct Body<T>(pub T);

/// A query.
#[derive(Debug)]
pub struct Query<T>(pub T);

/// The parts of the path; what cannot be decoded does not exist.
#[derive(Debug)]
pub struct Params<T>(pub T);

/// An id that is the only part of the path; what is no id does not exist.
#[derive(Debug, Clone, Copy)]
pub struct PathId<T>(pub T);

/// An id that can stand in a path.
pub trait Identifier: FromStr + Send {
    /// What it names, for "no such …".
    const WHAT: &'static str;

    /// Reads it.
    ///
    /// # Errors
    /// `not_found`, if it is no id.
    fn from_path(text: &str) -> Result<Self, Refusal> {
        text.parse()
            .map_err(|_| Error::not_found(Self::WHAT).into())
    }
}

impl Identifier for UserId {
    const WHAT: &'static str = "user";
}
impl Identifier for ConversationId {
    const WHAT: &'static str = "conversation";
}
impl Identifier for MessageId {
    const WHAT: &'static str = "message";
}
impl Identifier for FileId {
    const WHAT: &'static str = "file";
}

impl<S: Send + Sync> FromRequestParts<S> for ClientAddr {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<ClientAddr, Refusal> {
        let known = parts.extensions.get().copied();
        Ok(known.unwrap_or(ClientAddr(IpAddr::V4(Ipv4Addr::UNSPECIFIED))))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Key, Infallible> {
        Ok(Key(parts.extensions.get().cloned()))
    }
}

impl FromRequestParts<Api> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Caller, Refusal> {
        let token = bearer(&parts.headers).ok_or_else(|| {
            Error::new(
                ErrorCode::Unauthorized,
                "an access token is needed: authorization: bearer …",
            )
        })?;
        let user = api.identity.verify(token)?.user;
        api.limit(LimitKind::Requests, user).await?;
        Ok(Caller(user))
    }
}

/// The token of `Authorization: Bearer …` (RFC 6750); the scheme's case does not matter.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

impl<T: FromReader> FromRequest<Api> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &Api) -> Result<Body<T>, Refusal> {
        let (parts, body) = request.into_parts();
        if !is_json(&parts.headers) {
            return Err(Refusal::not_json());
        }
        let bytes = timeout(BODY_TIMEOUT, read_body(&parts.headers, body))
            .await
            .map_err(|_| Refusal::slow_body())??;
        let read = T::from_reader(Reader::body(&bytes)?)?;
        Ok(Body(read))
    }
}

/// `application/json` or `application/…+json`, with any parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(CONTENT_TYPE).map(HeaderValue::to_str) else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence
        .strip_prefix("application/")
        .is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

async fn read_body(headers: &HeaderMap, mut body: HttpBody) -> Result<Vec<u8>, Refusal> {
    let too_large = || {
        let message = format!("the body must have at most {BODY_BYTES_MAX} bytes");
        Refusal::from(Error::new(ErrorCode::TooLarge, message))
    };
    let declared = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok())
        .unwrap_or(0);
    let waits_for_leave = headers.contains_key(EXPECT);
    if declared > BODY_BYTES_MAX
        && (waits_for_leave || declared > BODY_BYTES_MAX + BODY_DROPPED_BYTES_MAX)
    {
        return Err(too_large());
    }
    let (mut kept, mut seen) = (Vec::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let broken = |_| Error::new(ErrorCode::Invalid, "the body did not arrive whole");
        let Ok(data) = frame.map_err(broken)?.into_data() else {
            continue;
        };
        seen = seen.saturating_add(data.len());
        if seen <= BODY_BYTES_MAX {
            kept.extend_from_slice(&data);
        } else {
            kept = Vec::new();
        }
        if seen > BODY_BYTES_MAX + BODY_DROPPED_BYTES_MAX {
            break;
        }
    }
    match seen > BODY_BYTES_MAX {
        true => Err(too_large()),
        false => Ok(kept),
    }
}

impl<T: FromReader, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Query<T>, Refusal> {
        let UriQuery(pairs) = UriQuery::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|_| Error::new(ErrorCode::Invalid, "the query cannot be decoded"))?;
        Ok(Query(T::from_reader(Reader::query(pairs))?))
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Params<T>, Refusal> {
        let Path(params) = Path::from_request_parts(parts, state)
            .await
            .map_err(|_| Error::not_found("resource"))?;
        Ok(Params(params))
    }
}

impl<T: Identifier, S: Send + Sync> FromRequestParts<S> for PathId<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<PathId<T>, Refusal> {
        let Params(text) = Params::<String>::from_request_parts(parts, state).await?;
        Ok(PathId(T::from_path(&text)?))
    }
}

/// An answer with a JSON body.
pub(crate) fn json_response(status: StatusCode, body: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(body).map_err(|error| {
        tracing::error!(%error, "answer cannot be written");
        Error::new(ErrorCode::Internal, "internal error")
    })?;
    let json = HeaderValue::from_static("application/json");
    Ok((status, [(CONTENT_TYPE, json)], body).into_response())
}
