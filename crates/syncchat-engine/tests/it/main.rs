//! Sessions from the outside: raw HTTP and WebSocket bytes against an engine on loopback.

// A panic is the report of a test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;
mod server;

mod forward;
mod polling;
mod refusals;
mod slow;
mod socketio;
mod upgrade;
mod websocket;
