//! Chat on HTTP: the calls under `/api`, and the OpenAPI document that describes them.
//!
//! Every call has the same three steps: read the request with the contract's readers, ask the
//! core or the identity crate, answer with the contract's shapes. No rule of the chat is here, and
//! nothing of sockets. The program puts the client's address into each request
//! ([`extract::ClientAddr`]) and serves the [`router()`] beside the engine and the page.
//!
//! A route exists by being registered together with its description, so the document at
//! `/api/openapi.json` cannot lag behind.
//!
//! Read in this order: [`mod@router`], [`extract`], one resource such as [`messages`], [`error`],
//! [`middleware`].

pub mod router;

pub mod auth;
pub mod conversations;
pub mod files;
pub mod messages;
pub mod users;

pub mod error;
pub mod extract;
pub mod limits;
pub mod metrics;
pub mod middleware;
pub mod openapi;

pub use extract::ClientAddr;
pub use middleware::{CorsOrigins, cors};
pub use router::{Api, router};
