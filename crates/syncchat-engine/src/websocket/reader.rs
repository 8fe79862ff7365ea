//! The reading half of RFC 6455: bytes become messages.
//!
//! tungstenite parses headers and knows the close codes; its own reader is not used because it
//! keeps a buffer for each connection, which grows to the longest message it ever saw. Here a
//! message that lies whole in the thread's read buffer is unmasked there and handed on without a
//! copy, and only what is incomplete is kept: between messages a connection holds one null
//! pointer.

use std::io::Cursor;
use std::ops::ControlFlow;

use bytes::Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    /// Checked UTF-8.
    Text(&'a str),
    /// Anything.
    Binary(Bytes),
    /// To be answered by a pong with the same payload, unless closing.
    Ping(&'a [u8]),
    /// Says nothing.
    Pong,
    /// The client closes; to be answered by a close frame with this code, if there is one.
    Close(Option<u16>),
}

/// Why a connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// Against RFC 6455.
    #[error("websocket protocol error: {0}")]
    Protocol(&'static str),
    /// A text that is not UTF-8.
    #[error("text message is not utf-8")]
    NotUtf8,
    /// A message over the limit.
    #[error("message is too long")]
    TooLong,
}

impl Fault {
    /// The code for the close frame.
    pub(crate) fn close_code(self) -> u16 {
        match self {
            Fault::Protocol(_) => 1002,
            Fault::NotUtf8 => 1007,
            Fault::TooLong => 1009,
        }
    }
}

/// What a connection remembers between two reads.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    partial: Option<Box<Partial>>,
}

/// What is not complete yet.
#[derive(Debug, Default)]
struct Partial {
    /// Bytes that were not looked at: a piece of a header, or what came behind a message at which
    /// the receiver stopped.
    raw: Vec<u8>,
    /// The frame whose payload is being read.
    frame: Option<OpenFrame>,
    /// The data message that is being put together.
    message: Option<OpenMessage>,
    /// The payload of a control frame, which may come between the frames of a message.
    control: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct OpenFrame {
    kind: Kind,
    is_final: bool,
    mask: [u8; 4],
    /// Bytes of the payload that have not come.
    left: usize,
}

#[derive(Debug)]
struct OpenMessage {
    is_text: bool,
    data: Vec<u8>,
    /// Bytes at the beginning of `data` that are known to be UTF-8.
    checked: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
    Continuation,
    Ping,
    Pong,
    Close,
}

impl Kind {
    fn is_control(self) -> bool {
        matches!(self, Kind::Ping | Kind::Pong | Kind::Close)
    }
}

/// Payload bytes of a control frame (RFC 6455, 5.5).
const CONTROL_BYTES_MAX: usize = 125;

/// Who gets the messages; [`ControlFlow::Break`] keeps the rest for later.
pub(crate) type Sink<'s> = dyn FnMut(Message<'_>) -> ControlFlow<()> + 's;

impl Reader {
    /// Begins with bytes that were read already, behind an HTTP request.
    pub(crate) fn with_rest(rest: &[u8]) -> Reader {
        let mut reader = Reader::default();
        if !rest.is_empty() {
            reader.partial_mut().raw = rest.to_vec();
        }
        reader
    }

    /// Whether bytes are kept that were not looked at. They have to be fed, by
    /// [`Reader::resume`], before anything else is read.
    pub(crate) fn has_rest(&self) -> bool {
        self.partial
            .as_ref()
            .is_some_and(|partial| !partial.raw.is_empty())
    }

    /// Goes on with the bytes kept.
    pub(crate) fn resume(
        &mut self,
        max: usize,
        sink: &mut Sink<'_>,
    ) -> Result<ControlFlow<()>, Fault> {
        let Some(partial) = &mut self.partial else {
            return Ok(ControlFlow::Continue(()));
        };
        let mut raw = std::mem::take(&mut partial.raw);
        self.feed(&mut raw, max, sink)
    }

    /// Moves the kept bytes to the front of a buffer and returns their number, so that one read
    /// completes them. They are a piece of a header, unless the receiver had stopped.
    pub(crate) fn unread(&mut self, buffer: &mut [u8]) -> usize {
        let Some(partial) = &mut self.partial else {
            return 0;
        };
        let raw = std::mem::take(&mut partial.raw);
        // A header has 14 bytes; more is only kept after a stop, and then resumed first.
        let kept = raw.len().min(buffer.len());
        buffer[..kept].copy_from_slice(&raw[..kept]);
        self.tidy();
        kept
    }

    /// Takes bytes as they came; unmasks in place. After an error nothing more may be fed.
    pub(crate) fn feed(
        &mut self,
        bytes: &mut [u8],
        max: usize,
        sink: &mut Sink<'_>,
    ) -> Result<ControlFlow<()>, Fault> {
        let mut at = 0;
        loop {
            let frame = match self.open_frame() {
                Some(frame) => frame,
                None => {
                    let mut cursor = Cursor::new(&bytes[at..]);
                    let Some(frame) = self.read_header(&mut cursor, max)? else {
                        self.keep(&bytes[at..]);
                        return Ok(ControlFlow::Continue(()));
                    };
                    at += usize::try_from(cursor.position()).unwrap_or(0);
                    frame
                }
            };
            let here = frame.left.min(bytes.len() - at);
            let payload = &mut bytes[at..at + here];
            at += here;
            unmask(payload, frame.mask);
            let flow = if here == frame.left && self.is_whole(frame) {
                deliver(frame.kind, payload, sink)?
            } else {
                self.gather(frame, payload, sink)?
            };
            if flow.is_break() {
                self.keep(&bytes[at..]);
                return Ok(flow);
            }
            if here < frame.left {
                return Ok(ControlFlow::Continue(()));
            }
        }
    }

    fn partial_mut(&mut self) -> &mut Partial {
        self.partial.get_or_insert_default()
    }

    fn open_frame(&self) -> Option<OpenFrame> {
        self.partial.as_ref().and_then(|partial| partial.frame)
    }

    fn message(&self) -> Option<&OpenMessage> {
        self.partial
            .as_ref()
            .and_then(|partial| partial.message.as_ref())
    }

    fn read_header(
        &self,
        cursor: &mut Cursor<&[u8]>,
        max: usize,
    ) -> Result<Option<OpenFrame>, Fault> {
        let Some((header, length)) =
            FrameHeader::parse(cursor).map_err(|_| Fault::Protocol("reserved opcode"))?
        else {
            return Ok(None);
        };
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(Fault::Protocol("reserved bits are set"));
        }
        let Some(mask) = header.mask else {
            return Err(Fault::Protocol("frame is not masked"));
        };
        let kind = match header.opcode {
            OpCode::Data(Data::Text) => Kind::Text,
            OpCode::Data(Data::Binary) => Kind::Binary,
            OpCode::Data(Data::Continue) => Kind::Continuation,
            OpCode::Control(Control::Ping) => Kind::Ping,
            OpCode::Control(Control::Pong) => Kind::Pong,
            OpCode::Control(Control::Close) => Kind::Close,
            OpCode::Data(Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)) => {
                return Err(Fault::Protocol("reserved opcode"));
            }
        };
        let left = usize::try_from(length).map_err(|_| Fault::TooLong)?;
        self.check_frame(kind, header.is_final, left, max)?;
        Ok(Some(OpenFrame {
            kind,
            is_final: header.is_final,
            mask,
            left,
        }))
    }

    /// Whether a frame fits what came before it.
    fn check_frame(
        &self,
        kind: Kind,
        is_final: bool,
        length: usize,
        max: usize,
    ) -> Result<(), Fault> {
        if kind.is_control() {
            if length > CONTROL_BYTES_MAX {
                return Err(Fault::Protocol("control frame is too long"));
            }
            if !is_final {
                return Err(Fault::Protocol("control frame is fragmented"));
            }
            return Ok(());
        }
        let before = match (kind, self.message()) {
            (Kind::Continuation, None) => {
                return Err(Fault::Protocol("continuation of nothing"));
            }
            (Kind::Continuation, Some(message)) => message.data.len(),
            (_, Some(_)) => return Err(Fault::Protocol("message inside a message")),
            (_, None) => 0,
        };
        if length > max.saturating_sub(before) {
            return Err(Fault::TooLong);
        }
        Ok(())
    }

    /// Whether a frame that lies in the buffer to its end needs nothing that was kept.
    fn is_whole(&self, frame: OpenFrame) -> bool {
        self.open_frame().is_none() && frame.is_final && frame.kind != Kind::Continuation
    }

    /// Keeps the payload, or the piece of it that came, and delivers what is complete by it.
    fn gather(
        &mut self,
        mut frame: OpenFrame,
        payload: &[u8],
        sink: &mut Sink<'_>,
    ) -> Result<ControlFlow<()>, Fault> {
        let partial = self.partial_mut();
        if frame.kind.is_control() {
            partial.control.extend_from_slice(payload);
        } else {
            let message = partial.message.get_or_insert_with(|| OpenMessage {
                is_text: frame.kind == Kind::Text,
                data: Vec::new(),
                checked: 0,
            });
            message.data.extend_from_slice(payload);
            message.check_utf8()?;
        }
        frame.left -= payload.len();
        frame.mask.rotate_left(payload.len() % 4);
        partial.frame = (frame.left > 0).then_some(frame);
        let flow = if frame.left > 0 || !frame.is_final {
            ControlFlow::Continue(())
        } else if frame.kind.is_control() {
            let control = std::mem::take(&mut partial.control);
            deliver(frame.kind, &control, sink)?
        } else if let Some(message) = partial.message.take() {
            message.deliver(sink)?
        } else {
            ControlFlow::Continue(())
        };
        self.tidy();
        Ok(flow)
    }

    /// Keeps bytes for later.
    pub(crate) fn keep(&mut self, rest: &[u8]) {
        if !rest.is_empty() {
            self.partial_mut().raw.extend_from_slice(rest);
        }
        self.tidy();
    }

    /// Gives the memory back when nothing is left to remember.
    fn tidy(&mut self) {
        let is_empty = |partial: &Partial| {
            partial.raw.is_empty() && partial.frame.is_none() && partial.message.is_none()
        };
        if self.partial.as_deref().is_some_and(is_empty) {
            self.partial = None;
        }
    }
}

impl OpenMessage {
    /// Checks what is new, so that a bad byte is found when it comes and none is checked twice.
    fn check_utf8(&mut self) -> Result<(), Fault> {
        if !self.is_text {
            return Ok(());
        }
        match std::str::from_utf8(&self.data[self.checked..]) {
            Ok(_) => self.checked = self.data.len(),
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(Fault::NotUtf8),
        }
        Ok(())
    }

    fn deliver(self, sink: &mut Sink<'_>) -> Result<ControlFlow<()>, Fault> {
        if !self.is_text {
            return Ok(sink(Message::Binary(Bytes::from(self.data))));
        }
        if self.checked < self.data.len() {
            return Err(Fault::NotUtf8);
        }
        let text = String::from_utf8(self.data).map_err(|_| Fault::NotUtf8)?;
        Ok(sink(Message::Text(&text)))
    }
}

fn deliver(kind: Kind, payload: &[u8], sink: &mut Sink<'_>) -> Result<ControlFlow<()>, Fault> {
    let message = match kind {
        Kind::Text => Message::Text(std::str::from_utf8(payload).map_err(|_| Fault::NotUtf8)?),
        Kind::Binary | Kind::Continuation => Message::Binary(Bytes::copy_from_slice(payload)),
        Kind::Ping => Message::Ping(payload),
        Kind::Pong => Message::Pong,
        Kind::Close => Message::Close(close_code(payload)?),
    };
    Ok(sink(message))
}

fn close_code(payload: &[u8]) -> Result<Option<u16>, Fault> {
    let (code, reason) = match payload {
        [] => return Ok(None),
        [_] => return Err(Fault::Protocol("close code is cut off")),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    if !CloseCode::from(code).is_allowed() {
        return Err(Fault::Protocol("close code is not allowed"));
    }
    std::str::from_utf8(reason).map_err(|_| Fault::NotUtf8)?;
    Ok(Some(code))
}

/// Applies a mask, eight bytes at a time.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut words = payload.chunks_exact_mut(8);
    for word in &mut words {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(word);
        word.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ wide).to_ne_bytes());
    }
    for (byte, mask) in words.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 300;

    /// What a receiver saw, owned.
    #[derive(Debug, Clone, PartialEq, Eq)]
    enum Seen {
        Text(String),
        Binary(Bytes),
        Ping(Vec<u8>),
        Pong,
        Close(Option<u16>),
    }

    impl From<Message<'_>> for Seen {
        fn from(message: Message<'_>) -> Seen {
            match message {
                Message::Text(text) => Seen::Text(text.to_owned()),
                Message::Binary(data) => Seen::Binary(data),
                Message::Ping(payload) => Seen::Ping(payload.to_vec()),
                Message::Pong => Seen::Pong,
                Message::Close(code) => Seen::Close(code),
            }
        }
    }

    /// A client's frame.
    fn frame(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload.len() {
            size @ 0..=125 => bytes.push(0x80 | size as u8),
            size => {
                bytes.push(0x80 | 126);
                bytes.extend_from_slice(&(size as u16).to_be_bytes());
            }
        }
        bytes.extend_from_slice(&mask);
        bytes.extend(
            payload
                .iter()
                .zip(mask.iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        bytes
    }

    /// Feeds bytes in pieces of these sizes; the receiver stops after every `stop`-th message.
    fn read(bytes: &[u8], sizes: &[usize], stop: usize) -> (Vec<Seen>, Option<Fault>) {
        let mut reader = Reader::default();
        let mut seen = Vec::new();
        let mut sink = |message: Message<'_>| {
            seen.push(Seen::from(message));
            match seen.len() % stop {
                0 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        };
        let mut sizes = sizes.iter().cycle();
        let mut at = 0;
        let mut fault = None;
        while at < bytes.len() && fault.is_none() {
            let size = sizes
                .next()
                .map_or(1, |&size| size.max(1))
                .min(bytes.len() - at);
            // As a stream does: what was kept is resumed, then moved before what is read.
            let result = (|| {
                while reader.resume(MAX, &mut sink)?.is_break() {}
                let mut buffer = vec![0; bytes.len() + 16];
                let kept = reader.unread(&mut buffer);
                buffer[kept..kept + size].copy_from_slice(&bytes[at..at + size]);
                reader.feed(&mut buffer[..kept + size], MAX, &mut sink)
            })();
            fault = result.err();
            at += size;
        }
        while fault.is_none() {
            match reader.resume(MAX, &mut sink) {
                Ok(ControlFlow::Break(())) => {}
                Ok(ControlFlow::Continue(())) => break,
                Err(error) => fault = Some(error),
            }
        }
        (seen, fault)
    }

    /// Frames that make sense, mostly.
    fn any_frame() -> impl Strategy<Value = Vec<u8>> {
        let first = prop_oneof![
            4 => Just(0x81_u8),
            2 => Just(0x82),
            2 => Just(0x01),
            1 => Just(0x02),
            2 => Just(0x80),
            1 => Just(0x00),
            1 => Just(0x89),
            1 => Just(0x8a),
            1 => Just(0x88),
        ];
        let payload = prop_oneof![
            4 => "[ -~ä€😀]{0,60}".prop_map(String::into_bytes),
            1 => vec(any::<u8>(), 0..150),
            1 => Just(vec![0x03, 0xe8]),
        ];
        (first, payload, any::<[u8; 4]>())
            .prop_map(|(first, payload, mask)| frame(first, &payload, mask))
    }

    proptest! {
        #[test]
        fn where_the_bytes_are_cut_and_who_stops_makes_no_difference(
            frames in vec(any_frame(), 1..12),
            sizes in vec(1_usize..40, 1..6),
            stop in 1_usize..5,
        ) {
            let bytes = frames.concat();
            let (whole, fault) = read(&bytes, &[bytes.len()], usize::MAX);
            let (cut, cut_fault) = read(&bytes, &sizes, stop);
            prop_assert_eq!(&whole, &cut);
            prop_assert_eq!(fault, cut_fault);
        }

        #[test]
        fn no_bytes_panic(bytes in vec(any::<u8>(), 0..400), size in 1_usize..50) {
            read(&bytes, &[size], 3);
        }
    }

    #[test]
    fn between_messages_nothing_is_kept() {
        let mut reader = Reader::default();
        let mut sink = |_: Message<'_>| ControlFlow::Continue(());
        let mut bytes = frame(0x01, b"a", [1, 2, 3, 4]);
        assert!(reader.feed(&mut bytes, MAX, &mut sink).is_ok());
        assert!(reader.partial.is_some());
        let mut bytes = frame(0x80, b"b", [1, 2, 3, 4]);
        assert!(reader.feed(&mut bytes, MAX, &mut sink).is_ok());
        assert!(reader.partial.is_none());
        assert_eq!(size_of::<Reader>(), size_of::<usize>());
    }

    #[test]
    fn a_bad_byte_is_found_before_its_message_ends() {
        let (seen, fault) = read(&frame(0x01, b"good \xff", [0; 4]), &[100], 9);
        assert_eq!((seen, fault), (vec![], Some(Fault::NotUtf8)));
        // Half a character may be completed by the next frame, or not at all.
        let half = frame(0x01, b"\xc3", [0; 4]);
        let (seen, fault) = read(
            &[half.clone(), frame(0x80, b"\xa4", [0; 4])].concat(),
            &[100],
            9,
        );
        assert_eq!((seen, fault), (vec![Seen::Text("ä".to_owned())], None));
        let (seen, fault) = read(&[half, frame(0x80, b"", [0; 4])].concat(), &[100], 9);
        assert_eq!((seen, fault), (vec![], Some(Fault::NotUtf8)));
    }

    #[test]
    fn close_frames_are_checked() {
        let close = |payload: &[u8]| read(&frame(0x88, payload, [7; 4]), &[100], 9);
        assert_eq!(close(b"").0, [Seen::Close(None)]);
        assert_eq!(close(b"\x03\xe8bye").0, [Seen::Close(Some(1000))]);
        for wrong in [&b"\x03"[..], b"\x03\xed", b"\x00\x00", b"\xff\xff"] {
            assert!(
                matches!(close(wrong).1, Some(Fault::Protocol(_))),
                "{wrong:?}"
            );
        }
        assert_eq!(close(b"\x03\xe8\xff").1, Some(Fault::NotUtf8));
    }
}
