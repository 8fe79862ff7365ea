//! What goes to clients: encoded once, shared by all who get it.

use std::fmt;

use base64::Engine as _;
use bytes::{Buf, Bytes};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::engineio::{self, SEPARATOR};
use crate::error::EncodeError;
use crate::socketio::{EventHead, MAIN_NAMESPACE, Packet, encode};
use crate::websocket::{self, HEADER_BYTES_MAX, Opcode};

/// One Engine.IO packet, with the attachments that belong to it, as the bytes that a server
/// writes to a WebSocket: unmasked frames, headers included. Long polling's form is made from
/// the same bytes. A clone shares them: it copies four words.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// One or more whole frames; made by [`FrameBuilder`] only, so their headers can be trusted.
    wire: Bytes,
}

impl Frame {
    /// An event of the main namespace with one argument, as `emit(name, payload)`.
    ///
    /// A payload that serialises to a bare string costs clients that use connection state recovery
    /// their offset; use [`EventHead`] for that, for other namespaces, acks and attachments.
    pub fn event<T>(name: &str, payload: &T) -> Result<Frame, EncodeError>
    where
        T: Serialize + ?Sized,
    {
        EventHead::new(name).payload(payload)
    }

    /// A copy of an event without attachments that carries this offset of connection state
    /// recovery, its last argument. `offset` is URL-safe base64, and written as it is.
    ///
    /// Costs a copy of the frame: the arguments are not encoded again.
    pub fn with_offset(&self, offset: &str) -> Frame {
        debug_assert!(
            offset
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        );
        let Some(open) = self.only_text().and_then(|text| text.strip_suffix(b"]")) else {
            return self.clone();
        };
        let size = open.len() + offset.len() + 4;
        let header = websocket::header(Opcode::Text, size);
        let header = &header[HEADER_BYTES_MAX - websocket::header_size(size)..];
        let mut wire = Vec::with_capacity(header.len() + size);
        for part in [header, open, b",\"", offset.as_bytes(), b"\"]"] {
            wire.extend_from_slice(part);
        }
        Frame {
            wire: Bytes::from(wire),
        }
    }

    /// The payload, if it is one text message and nothing else.
    fn only_text(&self) -> Option<&[u8]> {
        let start = match self.wire.get(1)? {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        let text = self.wire.get(start..)?;
        let header = websocket::header(Opcode::Text, text.len());
        let header = &header[HEADER_BYTES_MAX - websocket::header_size(text.len())..];
        (self.wire.get(..start) == Some(header)).then_some(text)
    }

    /// The answer to a client's event.
    pub fn ack(
        namespace: &str,
        ack_id: u64,
        args: &[Box<RawValue>],
        attachments: &[Bytes],
    ) -> Result<Frame, EncodeError> {
        encode::ack(namespace, Some(ack_id), args, attachments)
    }

    /// A namespace was joined. `pid` is set exactly when connection state recovery is on.
    pub fn connect(namespace: &str, sid: &str, pid: Option<&str>) -> Result<Frame, EncodeError> {
        encode::connect_accepted(namespace, sid, pid)
    }

    /// A namespace was not joined: the client will not try again by itself.
    pub fn connect_error(
        namespace: &str,
        message: &str,
        data: Option<&RawValue>,
    ) -> Result<Frame, EncodeError> {
        encode::connect_refused(namespace, message, data)
    }

    /// The server leaves a namespace: the client will not come back by itself.
    pub fn disconnect(namespace: &str) -> Result<Frame, EncodeError> {
        if namespace == MAIN_NAMESPACE {
            return Ok(Frame {
                wire: Bytes::from_static(b"\x81\x0241"),
            });
        }
        encode::disconnect(namespace)
    }

    /// Any Socket.IO packet.
    pub fn packet(packet: &Packet) -> Result<Frame, EncodeError> {
        encode::packet(packet)
    }

    /// The open packet of an Engine.IO session.
    pub fn open(open: &engineio::Open<'_>) -> Result<Frame, EncodeError> {
        let mut builder = FrameBuilder::text(b'0', 128);
        serde_json::to_writer(builder.text_mut(), &open.json())?;
        Ok(builder.finish(&[]))
    }

    /// The heartbeat, `2`.
    pub const fn ping() -> Frame {
        Frame {
            wire: Bytes::from_static(b"\x81\x012"),
        }
    }

    /// The answer to the probe of an upgrade, `3probe`.
    pub const fn probe_answer() -> Frame {
        Frame {
            wire: Bytes::from_static(b"\x81\x063probe"),
        }
    }

    /// Nothing, to end a poll: `6`.
    pub const fn noop() -> Frame {
        Frame {
            wire: Bytes::from_static(b"\x81\x016"),
        }
    }

    /// The end of the session, `1`; on polling only. A WebSocket is closed by
    /// [`websocket::CLOSE`].
    pub const fn close() -> Frame {
        Frame {
            wire: Bytes::from_static(b"\x81\x011"),
        }
    }

    /// An Engine.IO text message, whatever it means. Long polling cannot carry U+001E in it: it would
    /// be read as two packets.
    pub fn message(text: &str) -> Frame {
        let mut builder = FrameBuilder::text(b'4', text.len());
        builder.text_mut().extend_from_slice(text.as_bytes());
        builder.finish(&[])
    }

    /// An Engine.IO binary message, whatever it means.
    pub fn binary(data: &[u8]) -> Frame {
        let mut wire = Vec::with_capacity(HEADER_BYTES_MAX + data.len());
        push_frame(&mut wire, Opcode::Binary, data);
        Frame {
            wire: Bytes::from(wire),
        }
    }

    /// All there is to write to a WebSocket's TCP connection.
    pub fn wire(&self) -> &Bytes {
        &self.wire
    }

    /// Bytes of [`Frame::wire`], by which queues are to be bounded.
    pub fn size(&self) -> usize {
        self.wire.len()
    }

    /// The WebSocket messages in it: mostly one text; attachments follow as binary ones.
    pub fn messages(&self) -> Messages {
        Messages {
            wire: self.wire.clone(),
        }
    }

    /// Its form in the body of a poll: attachments as `b` and base64, each behind a separator.
    /// Not copied if there is only text.
    pub fn polling(&self) -> Bytes {
        let mut messages = self.messages();
        match (messages.next(), messages.next()) {
            (Some((Opcode::Text, text)), None) => text,
            _ => {
                let mut body = Vec::with_capacity(self.polling_size());
                self.write_polling(&mut body);
                Bytes::from(body)
            }
        }
    }

    /// Bytes of [`Frame::polling`].
    pub fn polling_size(&self) -> usize {
        self.messages()
            .enumerate()
            .map(|(i, (opcode, data))| usize::from(i > 0) + text_size(opcode, data.len()))
            .sum()
    }

    /// Appends [`Frame::polling`].
    pub fn write_polling(&self, body: &mut Vec<u8>) {
        for (i, (opcode, data)) in self.messages().enumerate() {
            if i > 0 {
                body.push(SEPARATOR);
            }
            push_as_text(body, opcode, &data);
        }
    }

    /// What to write to a WebSocket whose client asked for `b64=1`: text messages only. Shared if
    /// there are no attachments.
    pub fn wire_base64(&self) -> Bytes {
        if self.messages().all(|(opcode, _)| opcode == Opcode::Text) {
            return self.wire.clone();
        }
        let mut wire = Vec::new();
        for (opcode, data) in self.messages() {
            let size = text_size(opcode, data.len());
            push_header(&mut wire, Opcode::Text, size);
            push_as_text(&mut wire, opcode, &data);
        }
        Bytes::from(wire)
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}

/// Walks over the messages of a [`Frame`], sharing its bytes.
#[derive(Debug, Clone)]
pub struct Messages {
    wire: Bytes,
}

impl Iterator for Messages {
    type Item = (Opcode, Bytes);

    fn next(&mut self) -> Option<(Opcode, Bytes)> {
        let opcode = match self.wire.try_get_u8().ok()? {
            first if first == Opcode::Text.first_byte() => Opcode::Text,
            _ => Opcode::Binary,
        };
        let size = match self.wire.try_get_u8().ok()? {
            126 => u64::from(self.wire.try_get_u16().ok()?),
            127 => self.wire.try_get_u64().ok()?,
            size => u64::from(size),
        };
        let size = usize::try_from(size).ok()?;
        (size <= self.wire.len()).then(|| (opcode, self.wire.split_to(size)))
    }
}

/// Puts a frame together in one allocation, if the capacity was well guessed: the text is written
/// behind room for the longest header, and the header then right before it.
pub(crate) struct FrameBuilder {
    wire: Vec<u8>,
}

impl FrameBuilder {
    /// Begins with an Engine.IO type; `capacity` is for all that follows it.
    pub(crate) fn text(kind: u8, capacity: usize) -> FrameBuilder {
        let mut wire = Vec::with_capacity(HEADER_BYTES_MAX + 1 + capacity);
        wire.extend_from_slice(&[0; HEADER_BYTES_MAX]);
        wire.push(kind);
        FrameBuilder { wire }
    }

    /// To be appended to, with UTF-8 only.
    pub(crate) fn text_mut(&mut self) -> &mut Vec<u8> {
        &mut self.wire
    }

    pub(crate) fn finish(mut self, attachments: &[Bytes]) -> Frame {
        let size = self.wire.len() - HEADER_BYTES_MAX;
        let header = websocket::header(Opcode::Text, size);
        self.wire[..HEADER_BYTES_MAX].copy_from_slice(&header);
        for attachment in attachments {
            push_frame(&mut self.wire, Opcode::Binary, attachment);
        }
        let mut wire = Bytes::from(self.wire);
        wire.advance(HEADER_BYTES_MAX - websocket::header_size(size));
        Frame { wire }
    }
}

fn push_frame(wire: &mut Vec<u8>, opcode: Opcode, data: &[u8]) {
    push_header(wire, opcode, data.len());
    wire.extend_from_slice(data);
}

fn push_header(wire: &mut Vec<u8>, opcode: Opcode, size: usize) {
    let header = websocket::header(opcode, size);
    wire.extend_from_slice(&header[HEADER_BYTES_MAX - websocket::header_size(size)..]);
}

fn text_size(opcode: Opcode, size: usize) -> usize {
    match opcode {
        Opcode::Text => size,
        Opcode::Binary => 1 + size.div_ceil(3) * 4,
    }
}

fn push_as_text(out: &mut Vec<u8>, opcode: Opcode, data: &[u8]) {
    match opcode {
        Opcode::Text => out.extend_from_slice(data),
        Opcode::Binary => {
            out.push(b'b');
            let start = out.len();
            out.resize(start + data.len().div_ceil(3) * 4, 0);
            // The slice has exactly the size that padded base64 needs, so this cannot fail.
            let written = engineio::BASE64
                .encode_slice(data, &mut out[start..])
                .unwrap_or(0);
            out.truncate(start + written);
        }
    }
}

/// Bytes of an attachment on the wire.
pub(crate) const fn binary_wire_size(size: usize) -> usize {
    websocket::header_size(size) + size
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn fixed_frames_are_what_they_say() {
        let cases = [
            (Frame::ping(), "2"),
            (Frame::probe_answer(), "3probe"),
            (Frame::noop(), "6"),
            (Frame::close(), "1"),
            (Frame::disconnect("/").unwrap(), "41"),
        ];
        for (frame, text) in cases {
            assert_eq!(frame.wire()[..2], [0x81, text.len() as u8]);
            assert_eq!(frame.polling(), text);
            assert_eq!(frame.size(), text.len() + 2);
        }
    }

    #[test]
    fn the_open_packet_has_exactly_its_keys() {
        let mut open = engineio::Open {
            sid: "abc",
            upgrade: true,
            ping_interval: Duration::from_millis(25_000),
            ping_timeout: Duration::from_millis(20_000),
            max_payload: 100_000,
        };
        assert_eq!(
            Frame::open(&open).unwrap().polling(),
            r#"0{"sid":"abc","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":100000}"#
        );
        open.upgrade = false;
        assert_eq!(
            Frame::open(&open).unwrap().polling(),
            r#"0{"sid":"abc","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":100000}"#
        );
    }

    #[test]
    fn headers_change_their_form_at_the_right_lengths() {
        for (size, head) in [
            (0, &[0x81, 1][..]),
            (124, &[0x81, 125]),
            (125, &[0x81, 126, 0, 126]),
            (65_534, &[0x81, 126, 0xff, 0xff]),
            (65_535, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let frame = Frame::message(&"x".repeat(size));
            assert!(frame.wire().starts_with(head), "{size}");
            assert_eq!(frame.size(), head.len() + 1 + size);
            let messages: Vec<_> = frame.messages().collect();
            assert_eq!(messages.len(), 1);
            assert_eq!(messages[0].1.len(), 1 + size);
        }
    }

    #[test]
    fn an_offset_becomes_the_last_argument() {
        let head = EventHead::new("e");
        for size in [0, 90, 118, 119, 300, 65_500, 65_536] {
            let payload = "x".repeat(size);
            let frame = Frame::event("e", &payload).unwrap();
            let expected = head.offset("Ab-_9").payload(&payload).unwrap();
            assert_eq!(frame.with_offset("Ab-_9").wire(), expected.wire(), "{size}");
        }
    }

    #[test]
    fn attachments_follow_in_each_form() {
        let attachments = [Bytes::from_static(&[1, 2, 3, 4]), Bytes::new()];
        let frame = Frame::ack("/", 1, &[], &attachments).unwrap();
        assert_eq!(
            frame.wire()[..],
            *b"\x81\x07462-1[]\x82\x04\x01\x02\x03\x04\x82\x00"
        );
        assert_eq!(frame.polling(), "462-1[]\u{1e}bAQIDBA==\u{1e}b");
        assert_eq!(frame.polling_size(), frame.polling().len());
        assert_eq!(
            frame.wire_base64()[..],
            *b"\x81\x07462-1[]\x81\x09bAQIDBA==\x81\x01b"
        );

        let binary = Frame::binary(&[1, 2, 3]);
        assert_eq!(binary.wire()[..], [0x82, 3, 1, 2, 3]);
        assert_eq!(binary.polling(), "bAQID");
        assert_eq!(binary.wire_base64()[..], *b"\x81\x05bAQID");
    }

    #[test]
    fn text_is_shared_not_copied() {
        let frame = Frame::event("e", &0).unwrap();
        let wire = frame.wire().as_ptr_range();
        assert!(wire.contains(&frame.polling().as_ptr()));
        assert!(wire.contains(&engineio::encode_payload(std::slice::from_ref(&frame)).as_ptr()));
        assert_eq!(frame.wire_base64().as_ptr(), wire.start);
        assert_eq!(frame.clone().wire().as_ptr(), wire.start);
    }
}
