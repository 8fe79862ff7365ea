//! The OpenAPI 3.1 document: made from the handlers' and the contract's own descriptions.

use std::collections::BTreeMap;

use axum::extract::Extension;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use syncchat_contract::error::ErrorAnswer;
use syncchat_core::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use syncchat_core::model::idempotency::IDEMPOTENCY_KEY_HEADER;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    Content, Object, ObjectBuilder, RefOr, Required, Response as Described, ResponseBuilder, Type,
    schema,
};
use utoipa::{IntoResponses, OpenApi, ToSchema};

/// The document as it is sent.
#[derive(Clone)]
pub(crate) struct Document(Bytes);

impl Document {
    pub(crate) fn new(document: &utoipa::openapi::OpenApi) -> Document {
        // Plain data: there is nothing in it that JSON cannot say.
        Document(serde_json::to_vec(document).unwrap_or_default().into())
    }
}

/// This document.
#[utoipa::path(
    get,
    path = "/api/openapi.json",
    tag = "meta",
    responses((status = 200, description = "the OpenAPI document", body = Object,
        content_type = "application/json"))
)]
pub(crate) async fn get_document(Extension(document): Extension<Document>) -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, json)], document.0).into_response()
}

/// The document without its paths.
pub(crate) fn frame() -> utoipa::openapi::OpenApi {
    let mut document = Frame::openapi();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("an access token, from register, login or refresh"))
        .build();
    document
        .components
        .get_or_insert_default()
        .add_security_scheme("bearer", SecurityScheme::Http(bearer));
    document
}

/// Describes the header that every POST takes.
pub(crate) fn take_idempotency_keys(document: &mut utoipa::openapi::OpenApi) {
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(IDEMPOTENCY_KEY_BYTES_MAX))
        .pattern(Some("^[!-~]+$"));
    let header = ParameterBuilder::new()
        .name(IDEMPOTENCY_KEY_HEADER)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "the caller's own name for the call; the same call again under it makes no second thing",
        ))
        .schema(Some(schema))
        .build();
    for path in document.paths.paths.values_mut() {
        if let Some(post) = &mut path.post {
            let parameters = post.parameters.get_or_insert_default();
            parameters.push(RefOr::T(header.clone()));
        }
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "SyncChat",
        description = "The REST calls of a SyncChat server. Who is not a member of a conversation \
            gets 404 for everything in it.",
    ),
    servers((url = "/", description = "this server")),
    components(schemas(ErrorAnswer<'static>)),
    tags(
        (name = "auth", description = "accounts and tokens"),
        (name = "users", description = "people"),
        (name = "conversations", description = "conversations and who is in them"),
        (name = "messages", description = "what is said there"),
        (name = "files", description = "pictures and files that messages show"),
        (name = "meta", description = "about this API"),
    )
)]
struct Frame;

/// Refusals of every call.
pub(crate) struct AnyCall;
/// Refusals of calls that need an access token.
pub(crate) struct CallerNeeded;
/// Refusals of calls with a body.
pub(crate) struct BodyNeeded;
/// Refusals of calls with a query.
pub(crate) struct QueryTaken;
/// Refusals of calls that name somebody in their path.
pub(crate) struct PathNeeded;
/// Refusals of calls about one thing.
pub(crate) struct ThingNeeded;
/// Refusals of calls that not everybody may make.
pub(crate) struct RightNeeded;
/// Refusals of calls that may contradict what is stored.
pub(crate) struct Contradiction;

macro_rules! refusals {
    ($($of:ty: $($status:literal $why:literal),+;)*) => {$(
        impl IntoResponses for $of {
            fn responses() -> BTreeMap<String, RefOr<Described>> {
                [$(($status.to_owned(), refusal($status, $why).into())),+].into()
            }
        }
    )*};
}
refusals! {
    AnyCall:
        "429" "too many requests",
        "500" "a defect of the server's",
        "503" "a dependency did not answer in time; may be tried again";
    CallerNeeded:
        "401" "no access token, or none that is good";
    BodyNeeded:
        "400" "malformed, or a field breaks a rule: fields names it",
        "408" "the body did not arrive whole within 30 s",
        "413" "the body is over 1 MiB",
        "415" "the body is not declared as JSON";
    QueryTaken:
        "400" "a part of the query breaks a rule: fields names it";
    PathNeeded:
        "400" "there is nobody of this id: fields names it";
    ThingNeeded:
        "404" "there is no such thing, or the caller may not know of it";
    RightNeeded:
        "403" "the caller may not do this";
    Contradiction:
        "409" "it contradicts what is stored: fields names where";
}

fn refusal(status: &str, why: &str) -> Described {
    let body = Content::new(Some(schema::Ref::from_schema_name(ErrorAnswer::name())));
    let response = ResponseBuilder::new()
        .description(why)
        .content("application/json", body);
    let header = |type_: Type, why: &str| {
        HeaderBuilder::new()
            .schema(Some(Object::with_type(type_)))
            .description(Some(why))
            .build()
    };
    match status {
        "401" => response.header("WWW-Authenticate", header(Type::String, "always Bearer")),
        "429" | "503" => response.header(
            "Retry-After",
            header(Type::Integer, "seconds until a new try may succeed"),
        ),
        _ => response,
    }
    .build()
}
