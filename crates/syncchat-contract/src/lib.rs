//! What clients see, spelt once for sockets and REST: event names, JSON shapes, error codes.
//!
//! Nothing is decided here. Requests are read from JSON into the core's types, field by field, so
//! that a refusal names the fields; answers are built from the core's model and borrow from it.
//! Sockets and REST answer with the same shapes, so a client needs one model of each thing.
//!
//! Read in this order: [`events`], [`message`], [`payload`], [`reader`], [`error`].

pub mod conversation;
pub mod error;
pub mod events;
pub mod message;
pub mod payload;
pub mod reader;
pub mod rest;
pub mod scalar;
pub mod user;
