//! Every call, and what surrounds it.

use std::sync::Arc;

use axum::Router;
use axum::extract::Extension;
use axum::middleware::from_fn;
use syncchat_core::model::UserId;
use syncchat_core::ports::limiter::{LimitKind, Limiter};
use syncchat_core::{Chat, Error, Files, People};
use syncchat_identity::Identity;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{Refusal, panicked};
use crate::middleware::{self, CorsOrigins};
use crate::openapi::{self, Document};
use crate::{auth, conversations, files, messages, users};

/// What the handlers ask.
#[derive(Clone)]
pub struct Api {
    /// Conversations and messages.
    pub chat: Arc<Chat>,
    /// Files that messages show.
    pub files: Arc<Files>,
    /// Log-ins and access tokens.
    pub identity: Arc<Identity>,
    /// Profiles.
    pub people: Arc<People>,
    /// Rates of calls and messages, by user; those by address are the identity crate's.
    pub limiter: Arc<dyn Limiter>,
}

impl Api {
    /// Takes a token of this person's.
    pub(crate) async fn limit(&self, kind: LimitKind, user: UserId) -> Result<(), Refusal> {
        self.limiter
            .take(kind, &user.to_string())
            .await
            .map_err(|retry_after| Error::rate_limited(retry_after).into())
    }
}

/// Everything under `/api`. Any other path answers 404 in the contract's words, so the program
/// routes by prefix.
pub fn router(api: Api, origins: &CorsOrigins) -> Router {
    let (calls, document) = calls();
    surround(calls, origins)
        .layer(Extension(Document::new(&document)))
        .with_state(api)
}

/// What happens around every call, and to calls that lead nowhere. The last layer is the outermost.
fn surround<S: Clone + Send + Sync + 'static>(
    calls: Router<S>,
    origins: &CorsOrigins,
) -> Router<S> {
    let router = calls
        .fallback(async || Refusal::from(Error::not_found("resource")))
        .method_not_allowed_fallback(async || Refusal::wrong_method())
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(middleware::idempotency))
        .layer(from_fn(middleware::deadline))
        .layer(middleware::compression())
        .layer(from_fn(middleware::harden));
    let router = match middleware::cors(origins) {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router.layer(from_fn(middleware::observe))
}

/// Each route with its description: one cannot be added without the other.
fn calls() -> (Router<Api>, OpenApi) {
    let (calls, mut document) = OpenApiRouter::with_openapi(openapi::frame())
        .routes(routes!(auth::register))
        .routes(routes!(auth::login))
        .routes(routes!(auth::refresh))
        .routes(routes!(auth::logout))
        .routes(routes!(users::get_me, users::patch_me))
        .routes(routes!(users::search_users))
        .routes(routes!(users::get_user))
        .routes(routes!(
            conversations::list_conversations,
            conversations::create_conversation
        ))
        .routes(routes!(
            conversations::get_conversation,
            conversations::patch_conversation
        ))
        .routes(routes!(
            conversations::add_participant,
            conversations::leave_conversation
        ))
        .routes(routes!(
            conversations::add_participant_by_path,
            conversations::remove_participant,
        ))
        .routes(routes!(messages::list_messages, messages::post_message))
        .routes(routes!(messages::patch_message, messages::delete_message))
        .routes(routes!(files::post_file))
        .routes(routes!(files::get_file))
        .routes(routes!(files::get_file_link))
        .routes(routes!(openapi::get_document))
        .split_for_parts();
    openapi::take_idempotency_keys(&mut document);
    (calls, document)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use axum::response::Response;
    use axum::routing::get;
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;
    use crate::limits::REQUEST_TIMEOUT;

    async fn call(calls: Router<()>, path: &str) -> (Response<()>, Value) {
        let router = surround(calls, &CorsOrigins::SameOrigin);
        let request = Request::get(path).body(Body::empty()).unwrap();
        let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        (Response::from_parts(parts, ()), body)
    }

    #[tokio::test]
    async fn a_panic_is_an_internal_error_that_tells_nothing() {
        let calls = Router::new().route("/", get(async || -> &'static str { panic!("secret") }));
        let (response, body) = call(calls, "/").await;
        assert_eq!(response.status(), 500);
        assert_eq!(body["error"]["code"], "internal");
        assert!(!body.to_string().contains("secret"));
        assert!(response.headers().contains_key("x-request-id"));
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_takes_too_long_is_unavailable() {
        let calls = Router::new().route("/", get(std::future::pending::<&'static str>));
        let begun = (Instant::now(), tokio::time::Instant::now());
        let (response, body) = call(calls, "/").await;
        assert_eq!(response.status(), 503);
        assert_eq!(body["error"]["code"], "unavailable");
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(begun.1.elapsed().as_secs(), REQUEST_TIMEOUT.as_secs());
        assert!(
            begun.0.elapsed() < REQUEST_TIMEOUT,
            "the clock was not paused"
        );
    }
}
