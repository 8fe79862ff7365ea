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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &[u8]) -> Vec<Result<Packet<'_>, DecodeError>> {
        Payload::new(body).collect()
    }

    #[test]
    fn packets_before_a_bad_one_count() {
        let one = Ok(Packet::Message("one"));
        let bad = |kind: DecodeErrorKind, at| Err(kind.at(at));
        assert_eq!(read(b"4one"), std::slice::from_ref(&one));
        assert_eq!(
            read(b"4one\x1e2\x1ebAQ"),
            [
                one.clone(),
                Ok(Packet::Ping("")),
                Ok(Packet::Binary(Bytes::from_static(&[1])))
            ]
        );
        assert_eq!(
            read(b"4one\x1exx\x1e4two"),
            [one.clone(), bad(DecodeErrorKind::UnknownType, 5)]
        );
        assert_eq!(
            read(b"4one\x1e"),
            [one.clone(), bad(DecodeErrorKind::EmptyPacket, 5)]
        );
        assert_eq!(read(b""), [bad(DecodeErrorKind::EmptyPacket, 0)]);
        assert_eq!(
            read(b"4one\x1e4a\xffb"),
            [one.clone(), bad(DecodeErrorKind::NotUtf8, 7)]
        );
        assert_eq!(
            read(b"4one\x1ebA!==\x1e6"),
            [one, bad(DecodeErrorKind::BadBase64, 7)]
        );
    }

    #[test]
    fn frames_are_joined_without_a_last_separator() {
        assert_eq!(encode_payload(&[]), "");
        assert_eq!(encode_payload(&[Frame::noop()]), "6");
        assert_eq!(
            encode_payload(&[Frame::message("a"), Frame::binary(&[1]), Frame::close()]),
            "4a\u{1e}bAQ==\u{1e}1"
        );
    }
}
