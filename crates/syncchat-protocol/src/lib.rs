//! Engine.IO 4 and Socket.IO 5 as values: bytes in, packets out, and back.
//!
//! No I/O, no async, no clock, no randomness and no word of chat: whatever is in here can be
//! fuzzed and tested with nothing but bytes.
//!
//! How data moves through it:
//!
//! ```text
//! WebSocket text ──→ engineio::Packet::from_text ───┐
//! WebSocket binary → engineio::Packet::from_binary ─┼─→ Message / Binary ─→ socketio::Assembler ─→ socketio::Packet
//! POST body ───────→ engineio::Payload (iterator) ──┘
//!
//! event, ack, CONNECT … ─→ Frame ─┬─→ Frame::wire              bytes for TCP, WebSocket framing done
//!                                 └─→ engineio::encode_payload  the body of a poll
//! ```
//!
//! Reading order: [`limits`], [`engineio`], [`socketio`], [`frame`], [`websocket`].
#![forbid(unsafe_code)]

pub mod limits;

pub mod engineio;
pub mod socketio;

pub mod frame;
pub mod websocket;

pub mod error;

pub use error::{DecodeError, EncodeError};
pub use frame::Frame;
pub use limits::Limits;
