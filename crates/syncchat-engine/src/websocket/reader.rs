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
