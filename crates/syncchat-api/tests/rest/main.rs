//! Every call of the API, good and bad, against the router over the embedded store.

mod auth;
mod conversations;
mod edges;
mod hostile;
mod messages;
mod node;
mod openapi;
mod users;
