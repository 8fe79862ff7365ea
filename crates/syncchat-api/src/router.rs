//! Every call, and what surrounds it.

use std::sync::Arc;

use axum::Router;
use axum::extract::Extension;
use axum::middleware::from_fn;
use syncchat_core::model::UserId;
use syncchat_core::ports::limiter::{LimitKind, Limiter};
use syncchat_core::{Chat, Error, People};
use syncchat_identity::Identity;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{Refusal, panicked};
use crate::middleware::{self, CorsOrigins};
use crate::openapi::{self, Document};
use crate::{auth, conversations, messages, users};

/// What the handlers ask.
#[derive(Clone)]
pub struct Api {
    /// Conversations and messages.
    pub chat: Arc<Chat>,
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
    let (router, document) = calls();
    let router = router
        .fallback(async || Refusal::from(Error::not_found("resource")))
        .method_not_allowed_fallback(async || Refusal::wrong_method())
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(middleware::deadline))
        .layer(middleware::compression())
        .layer(from_fn(middleware::harden));
    let router = match middleware::cors(origins) {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router
        .layer(from_fn(middleware::observe))
        .layer(Extension(Document::new(&document)))
        .with_state(api)
}

/// Each route with its description: one cannot be added without the other.
fn calls() -> (Router<Api>, OpenApi) {
    OpenApiRouter::with_openapi(openapi::frame())
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
        .routes(routes!(conversations::remove_participant))
        .routes(routes!(messages::list_messages, messages::post_message))
        .routes(routes!(messages::patch_message, messages::delete_message))
        .routes(routes!(openapi::get_document))
        .split_for_parts()
}
