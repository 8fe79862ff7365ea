//! Chat on sockets: events up, deliveries down.
//!
//! The path of one message, by function names:
//!
//! ```text
//! up     Gateway::event → dispatch::run → events::send_msg::handle → Chat::send
//!        (comes back: the ack, nothing else)
//! down   Feed::on_event → Mailbox::post_event → Shard::obey → Machine::handle
//!        → Desk::deliver → Socket::emit
//! gap    Desk::fetch → Shard::ask → Chat::backfill → Command::Fetched → Machine::handle, and on as above
//! ```
//!
//! Nothing goes from one socket to another: a message sent here comes back down through the fleet,
//! as one from another node does. Typing and presence go gateway → fleet → gateway and may be lost.
//!
//! A node's conversations are spread over a few shards, each a task that owns one delivery machine:
//! one hot conversation keeps a single shard busy. A socket is in every shard; when it is full, each
//! shard finds out by itself, and all are told when it has drained.
//!
//! Read in this order: [`gateway`], `connect`, `arrivals`, `comeback`, `recovery`, `session`, `dispatch`, `events`, then the way down:
//! `feed`, `mailbox`, `shard`, `desk`, `questions`, `frames`, `rights`, `hub`; and what is compared with the
//! store in case it was not heard: `additions`, `revocations`.

#![forbid(unsafe_code)]

mod additions;
mod admission;
mod arrivals;
mod comeback;
mod connect;
pub mod gateway;
mod recovery;
mod revocations;
mod session;
mod timers;
mod titles;

mod dispatch;
mod events;

mod desk;
mod feed;
mod frames;
mod hub;
mod mailbox;
mod questions;
mod rights;
mod shard;
pub mod traces;

mod drain;
mod presence;
mod typing;
mod untold;

mod limits;
pub mod metrics;

pub use gateway::{Config, Gateway, Parts};
pub use session::Session;
pub use traces::{TracedFleet, Traces};
