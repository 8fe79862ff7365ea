//! Engine.IO 4: the packets of one connection, over WebSocket or long polling.

mod handshake;
mod packet;
mod payload;
mod refusal;

pub use handshake::Open;
pub(crate) use packet::BASE64;
pub use packet::{PROBE, Packet};
pub use payload::{Payload, SEPARATOR, encode_payload};
pub use refusal::ErrorCode;
