//! Engine.IO 4 and Socket.IO 5 on hyper and tokio: HTTP requests and WebSockets become sockets and
//! events.
//!
//! How data moves:
//!
//! ```text
//!            ┌─ polling  GET ───────────────┐ takes all that waits
//!  server ───┤           POST ─────────┐    │
//!  (checks)  ├─ opening ─→ websocket ─┐│    │
//!            └─ upgrade ──────────────┤│    │
//!                                     ▼▼    │
//!                  driver (one task a session) ─→ protocol: socketio ─→ Handler (the application)
//!                                     │     │                             │
//!                       acks, pings, pongs  │                      Socket::emit
//!                                     ▼     ▼                             │
//!     flush (writes for many) ◀── outbound (bounded queue) ◀──────────────┘
//! ```
//!
//! A session has one lock ([`session`]), under which are its queue and the poll that waits, and one
//! task (`driver`), to which everything with an order is left. Nothing is written to a client but
//! from the queue in `outbound`.
//!
//! Reading order: [`handler`] and [`socket`] (what an application sees), [`server`], [`session`],
//! `driver` with `inbound`, [`socketio`]; then `outbound`, `flush`, `polling`, `upgrade` and `websocket` for
//! the details of each.
//!
//! # Memory of an idle socket
//!
//! After the upgrade hyper's connection and its buffers are gone: the TCP stream is taken out of
//! it. There is no read buffer: the threads have one each, and only an incomplete message is kept.
//! The outbound queue keeps a few places. Headers are forgotten with the first joined namespace.
//! One tokio timer entry serves all deadlines of a session; it is about a hundred bytes, and moved
//! twice in a heartbeat. Measured with 5,000 joined WebSockets and an application that keeps 32 bytes
//! for each: 3.3 KiB of resident memory for a socket.
#![forbid(unsafe_code)]

pub mod config;
pub mod forward;
pub mod handler;
pub mod limits;
pub mod protocol;
pub mod server;
pub mod session;
pub mod socket;
pub mod socketio;

mod answer;
mod compression;
mod driver;
mod flush;
mod heartbeat;
mod id;
mod inbound;
pub mod metrics;
mod origin;
mod outbound;
mod polling;
mod request;
mod sessions;
mod upgrade;
mod websocket;

pub use answer::{Body, BodyError};
pub use config::{Config, Origins};
pub use forward::ticket::{TICKET, Ticket, Tickets};
pub use forward::{Fleet, Peers};
pub use handler::{
    AckArgs, ConnectError, DisconnectReason, Event, EventName, Handler, Handshake, Refusal,
};
pub use id::{BadNodeTag, NodeTag};
pub use server::{Engine, Server};
pub use session::Session;
pub use socket::{AckError, Class, Pushed, Socket};
