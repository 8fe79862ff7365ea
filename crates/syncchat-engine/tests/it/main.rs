//! Sessions from the outside: raw HTTP and WebSocket bytes against an engine on loopback.

mod client;
mod server;

mod polling;
mod refusals;
mod slow;
mod socketio;
mod upgrade;
mod websocket;
