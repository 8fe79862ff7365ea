//! Packets with attachments: a text that announces them, then one binary message each.

use bytes::Bytes;

use super::decode::{Decoded, decode};
use super::packet::Packet;
use crate::error::{DecodeError, DecodeErrorKind};
use crate::limits::Limits;

/// Puts packets together from the messages of one session, in the order in which they came.
/// It belongs to the session, not to a namespace or a request, and takes one word while nothing
/// is due. After an error the session is to be closed; the assembler then waits for nothing.
#[derive(Debug, Default)]
pub struct Assembler {
    partial: Option<Box<Partial>>,
}

#[derive(Debug)]
struct Partial {
    packet: Packet,
    attachments: Vec<Bytes>,
    due: usize,
    bytes: usize,
}

impl Assembler {
    /// Waits for nothing.
    pub fn new() -> Assembler {
        Assembler::default()
    }

    /// Takes a text message; `None` if attachments are due now.
    pub fn text(&mut self, text: &str, limits: &Limits) -> Result<Option<Packet>, DecodeError> {
        if self.partial.take().is_some() {
            return Err(DecodeErrorKind::TextInsideBinary.at(0));
        }
        let Decoded {
            packet,
            attachments_due,
        } = decode(text, limits)?;
        if attachments_due == 0 {
            return Ok(Some(packet));
        }
        self.partial = Some(Box::new(Partial {
            packet,
            attachments: Vec::with_capacity(attachments_due),
            due: attachments_due,
            bytes: text.len(),
        }));
        Ok(None)
    }

    /// Takes a binary message; `None` if more are due.
    pub fn binary(&mut self, data: Bytes, limits: &Limits) -> Result<Option<Packet>, DecodeError> {
        let Some(mut partial) = self.partial.take() else {
            return Err(DecodeErrorKind::UnexpectedAttachment.at(0));
        };
        if data.len() > limits.message_bytes_max {
            return Err(DecodeErrorKind::MessageTooLong.at(limits.message_bytes_max));
        }
        partial.bytes += data.len();
        if partial.bytes > limits.partial_bytes_max {
            return Err(DecodeErrorKind::PartialTooLong.at(0));
        }
        partial.attachments.push(data);
        if partial.attachments.len() < partial.due {
            self.partial = Some(partial);
            return Ok(None);
        }
        let Partial {
            mut packet,
            attachments,
            ..
        } = *partial;
        if let Some(place) = packet.body.attachments_mut() {
            *place = attachments;
        }
        Ok(Some(packet))
    }

    /// Bytes that an unfinished packet holds; 0 if none is. An unfinished packet deserves a
    /// deadline, which is the session's to keep.
    pub fn partial_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.bytes)
    }
}
