//! Many packets in one body: what long polling carries, both ways.

use bytes::Bytes;

use super::packet::Packet;
use crate::error::{DecodeError, DecodeErrorKind};
use crate::frame::Frame;

/// Stands between two packets, never after the last.
pub const SEPARATOR: u8 = 0x1e;

/// Reads the body of a POST, one packet at a time, so that the packets before a bad one count.
/// After an error it is at its end. An empty body is one invalid packet.
#[derive(Debug, Clone)]
pub struct Payload<'a> {
    body: &'a [u8],
    /// Where the next packet begins; `None` after the last.
    next: Option<usize>,
}

impl<'a> Payload<'a> {
    /// Looks at nothing yet.
    pub fn new(body: &'a [u8]) -> Payload<'a> {
        Payload {
            body,
            next: Some(0),
        }
    }

    fn packet_at(&mut self, start: usize) -> Result<Packet<'a>, DecodeError> {
        let rest = &self.body[start..];
        let packet = match rest.iter().position(|&byte| byte == SEPARATOR) {
            Some(end) => {
                self.next = Some(start + end + 1);
                &rest[..end]
            }
            None => rest,
        };
        let text = std::str::from_utf8(packet)
            .map_err(|error| DecodeErrorKind::NotUtf8.at(start + error.valid_up_to()))?;
        Packet::from_text(text).map_err(|error| error.kind.at(start + error.at))
    }
}

impl<'a> Iterator for Payload<'a> {
    type Item = Result<Packet<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.next.take()?;
        let packet = self.packet_at(start);
        if packet.is_err() {
            self.next = None;
        }
        Some(packet)
    }
}

impl std::iter::FusedIterator for Payload<'_> {}

/// The body of a poll's answer: all these frames, in order. One frame without attachments is
/// given out as it is, without a copy. No frames make an empty body, which is no valid payload.
pub fn encode_payload(frames: &[Frame]) -> Bytes {
    if let [frame] = frames {
        return frame.polling();
    }
    let size = frames.iter().map(|frame| frame.polling_size() + 1).sum();
    let mut body = Vec::with_capacity(size);
    for frame in frames {
        if !body.is_empty() {
            body.push(SEPARATOR);
        }
        frame.write_polling(&mut body);
    }
    Bytes::from(body)
}
