//! The little of RFC 6455 that a server writes: unmasked, unfragmented frames.

use bytes::{BufMut, Bytes, BytesMut};

/// What a message is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// UTF-8.
    Text,
    /// Anything.
    Binary,
}

impl Opcode {
    /// The first byte of a frame that is a whole message: FIN and the opcode.
    pub(crate) const fn first_byte(self) -> u8 {
        match self {
            Opcode::Text => 0x81,
            Opcode::Binary => 0x82,
        }
    }
}

/// Bytes that a frame's header takes, at most: no mask, 64-bit length.
pub(crate) const HEADER_BYTES_MAX: usize = 10;

/// The payload of a control frame, at most (RFC 6455, 5.5).
const CONTROL_PAYLOAD_BYTES_MAX: usize = 125;

/// Bytes of the header before a payload of this many bytes.
pub(crate) const fn header_size(payload: usize) -> usize {
    match payload {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    }
}

/// The header of a frame, in the last [`header_size`] bytes of the array.
pub(crate) fn header(opcode: Opcode, payload: usize) -> [u8; HEADER_BYTES_MAX] {
    let mut header = [0; HEADER_BYTES_MAX];
    let start = HEADER_BYTES_MAX - header_size(payload);
    header[start] = opcode.first_byte();
    let length = (payload as u64).to_be_bytes();
    match payload {
        0..=125 => header[start + 1] = length[7],
        126..=0xffff => {
            header[start + 1] = 126;
            header[start + 2..].copy_from_slice(&length[6..]);
        }
        _ => {
            header[start + 1] = 127;
            header[start + 2..].copy_from_slice(&length);
        }
    }
    header
}

/// A close frame with an empty body: how official servers end a session.
pub const CLOSE: Bytes = Bytes::from_static(&[0x88, 0]);

/// A close frame with a code and words for operators. What goes beyond the 125 bytes of a control
/// frame is cut off at a character.
pub fn close(code: u16, reason: &str) -> Bytes {
    let mut end = reason.len().min(CONTROL_PAYLOAD_BYTES_MAX - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = [0; CONTROL_PAYLOAD_BYTES_MAX];
    payload[..2].copy_from_slice(&code.to_be_bytes());
    payload[2..2 + end].copy_from_slice(&reason.as_bytes()[..end]);
    control(0x88, &payload[..2 + end])
}

/// The answer to a ping that carried this payload; no valid ping carries more than 125 bytes,
/// and more is cut off.
pub fn pong(payload: &[u8]) -> Bytes {
    control(
        0x8a,
        &payload[..payload.len().min(CONTROL_PAYLOAD_BYTES_MAX)],
    )
}

/// `payload` is at most [`CONTROL_PAYLOAD_BYTES_MAX`] long.
fn control(first_byte: u8, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(2 + payload.len());
    frame.put_u8(first_byte);
    frame.put_u8(payload.len() as u8);
    frame.put_slice(payload);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_frames_stay_within_their_bound() {
        assert_eq!(close(1001, "bye")[..], *b"\x88\x05\x03\xe9bye");
        assert_eq!(close(1000, "")[..], [0x88, 2, 0x03, 0xe8]);
        // A three-byte character stands across the bound: it is left out.
        let long = close(1008, &format!("{}€", "x".repeat(121)));
        assert_eq!(long[..2], [0x88, 123]);
        assert_eq!(long.len(), 125);
        assert_eq!(pong(b"x")[..], [0x8a, 1, b'x']);
        assert_eq!(pong(&[0; 200]).len(), 127);
    }
}
