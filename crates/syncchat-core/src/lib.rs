//! The rules of the chat: what may happen, in which order it becomes durable, and what a person
//! may see.
//!
//! The core owns the way up (accept → validate → authorise → commit → announce) and the reads.
//! It touches no driver, no socket and no wire format: stores and the fleet are traits in
//! [`ports`], and the model derives no `Serialize`, so that the inside stays free to change.
//!
//! Read in this order: [`model`], [`command`], [`ports::store`], [`pipeline`], [`query`], [`chat`].

pub mod chat;
pub mod clock;
pub mod command;
pub mod epoch;
pub mod error;
pub mod files;
pub mod limits;
pub mod metrics;
pub mod model;
pub mod people;
pub mod pipeline;
pub mod ports;
pub mod query;
pub mod supervisor;
pub mod text;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

mod cache;
mod deadline;
mod tasks;
#[cfg(test)]
mod tests;
mod together;

pub use chat::Chat;
pub use clock::Clock;
pub use epoch::Epochs;
pub use error::{Error, ErrorCode, Result};
pub use files::Files;
pub use people::People;
pub use supervisor::Supervisor;
pub use together::{Together, TogetherLimits};
