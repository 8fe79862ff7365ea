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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socketio::Body;

    const TWO: &str = r#"52-["e",{"_placeholder":true,"num":1}]"#;

    fn announced(text: &str, limits: &Limits) -> Assembler {
        let mut assembler = Assembler::new();
        assert!(assembler.text(text, limits).unwrap().is_none(), "{text}");
        assembler
    }

    #[test]
    fn attachments_complete_a_packet_in_their_order() {
        let limits = Limits::default();
        let mut assembler = announced(TWO, &limits);
        assert_eq!(assembler.partial_bytes(), TWO.len());
        assert!(
            assembler
                .binary(Bytes::from_static(b"abc"), &limits)
                .unwrap()
                .is_none()
        );
        assert_eq!(assembler.partial_bytes(), TWO.len() + 3);
        let packet = assembler.binary(Bytes::new(), &limits).unwrap().unwrap();
        assert_eq!(assembler.partial_bytes(), 0);
        let Body::Event { attachments, .. } = packet.body else {
            panic!("{packet:?}")
        };
        assert_eq!(attachments, [Bytes::from_static(b"abc"), Bytes::new()]);
        assert!(assembler.text("2[\"next\"]", &limits).unwrap().is_some());
    }

    #[test]
    fn nothing_comes_between_a_packet_and_its_attachments() {
        let limits = Limits::default();
        let mut assembler = announced(TWO, &limits);
        let error = assembler.text("2[\"e\"]", &limits).unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::TextInsideBinary);
        let error = assembler.binary(Bytes::new(), &limits).unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::UnexpectedAttachment);
    }

    #[test]
    fn an_unfinished_packet_is_bounded() {
        let limits = Limits {
            partial_bytes_max: TWO.len() + 4,
            ..Limits::for_messages_of(50)
        };
        let mut assembler = announced(TWO, &limits);
        assert!(
            assembler
                .binary(Bytes::from_static(b"1234"), &limits)
                .unwrap()
                .is_none()
        );
        let error = assembler
            .binary(Bytes::from_static(b"5"), &limits)
            .unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::PartialTooLong);
        assert_eq!(assembler.partial_bytes(), 0);

        let limits = Limits::for_messages_of(50);
        let mut assembler = announced(TWO, &limits);
        let error = assembler
            .binary(Bytes::from(vec![0; 51]), &limits)
            .unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::MessageTooLong);
    }
}
