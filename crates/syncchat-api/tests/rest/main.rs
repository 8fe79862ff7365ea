//! Every call of the API, good and bad, against the router over the embedded store.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests are no #[test] functions themselves"
)]

mod auth;
mod conversations;
mod edges;
mod files;
mod hostile;
mod idempotency;
mod messages;
mod node;
mod openapi;
mod tcp;
mod users;
