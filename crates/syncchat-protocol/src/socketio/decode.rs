//! Reading the text of a packet: strict, and limited before it is parsed.

use super::packet::Packet;
use crate::error::DecodeError;
use crate::limits::Limits;

/// The text of a packet, read. With attachments due it is not complete yet.
#[derive(Debug)]
pub struct Decoded {
    /// Its attachments, if it has some, are still empty.
    pub packet: Packet,
    /// How many binary messages have to follow; placeholders fit them.
    pub attachments_due: usize,
}

/// Reads the text of one Engine.IO message. Sessions use [`Assembler`](super::Assembler), which
/// also waits for attachments.
pub fn decode(text: &str, limits: &Limits) -> Result<Decoded, DecodeError> {
    let _ = (text, limits);
    Err(crate::error::DecodeErrorKind::UnknownType.at(0))
}
