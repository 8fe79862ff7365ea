//! Engine.IO 4 and Socket.IO 5 on hyper and tokio: HTTP requests and WebSockets become sockets
//! and events.

pub mod config;
pub mod handler;
pub mod server;
pub mod socket;

pub use config::{Config, Origins};
pub use handler::{
    AckArgs, ConnectError, DisconnectReason, Event, EventName, Handler, Handshake, Refusal,
};
pub use server::{Body, Engine};
pub use socket::{AckError, Class, Pushed, Socket};
