//! One packet.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use crate::error::{DecodeError, DecodeErrorKind};

/// What a ping and its pong carry while a session upgrades to WebSocket.
pub const PROBE: &str = "probe";

/// Standard alphabet; padding is written, and read whether it is there or not.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A packet from a client. What a session does with each type is not decided here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// `0`. Only servers open: to be ignored.
    Open,
    /// `1`. The client ends the session.
    Close,
    /// `2`, with what follows it: [`PROBE`] on an upgrading WebSocket, anything else is against
    /// the protocol.
    Ping(&'a str),
    /// `3`. The answer to a heartbeat, whatever follows.
    Pong,
    /// `4`. One Socket.IO text; may be empty.
    Message(&'a str),
    /// `5`. From here on the WebSocket is the transport.
    Upgrade,
    /// `6`. Nothing.
    Noop,
    /// One Socket.IO attachment: a binary WebSocket message, or `b` and base64; may be empty.
    Binary(Bytes),
}

impl<'a> Packet<'a> {
    /// Reads a WebSocket text message, or one piece of a [`Payload`](super::Payload).
    pub fn from_text(text: &'a str) -> Result<Packet<'a>, DecodeError> {
        let Some(kind) = text.bytes().next() else {
            return Err(DecodeErrorKind::EmptyPacket.at(0));
        };
        match kind {
            b'0' => Ok(Packet::Open),
            b'1' => Ok(Packet::Close),
            b'2' => Ok(Packet::Ping(&text[1..])),
            b'3' => Ok(Packet::Pong),
            b'4' => Ok(Packet::Message(&text[1..])),
            b'5' => Ok(Packet::Upgrade),
            b'6' => Ok(Packet::Noop),
            b'b' => match BASE64.decode(&text[1..]) {
                Ok(data) => Ok(Packet::Binary(Bytes::from(data))),
                Err(error) => Err(DecodeErrorKind::BadBase64.at(1 + base64_error_offset(&error))),
            },
            _ => Err(DecodeErrorKind::UnknownType.at(0)),
        }
    }

    /// A WebSocket binary message: all of it is data, there is no type byte.
    pub fn from_binary(data: Bytes) -> Packet<'static> {
        Packet::Binary(data)
    }

    /// The name of the type, for logs and metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Packet::Open => "open",
            Packet::Close => "close",
            Packet::Ping(_) => "ping",
            Packet::Pong => "pong",
            Packet::Message(_) => "message",
            Packet::Upgrade => "upgrade",
            Packet::Noop => "noop",
            Packet::Binary(_) => "binary",
        }
    }
}

fn base64_error_offset(error: &base64::DecodeError) -> usize {
    match error {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => {
            *at
        }
        base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_read() {
        let cases = [
            ("0{}", Packet::Open),
            ("1", Packet::Close),
            ("2", Packet::Ping("")),
            ("2probe", Packet::Ping(PROBE)),
            ("3whatever", Packet::Pong),
            ("4", Packet::Message("")),
            ("4hällo", Packet::Message("hällo")),
            ("5", Packet::Upgrade),
            ("6", Packet::Noop),
            ("b", Packet::Binary(Bytes::new())),
            (
                "bAQIDBA==",
                Packet::Binary(Bytes::from_static(&[1, 2, 3, 4])),
            ),
            ("bAQIDBA", Packet::Binary(Bytes::from_static(&[1, 2, 3, 4]))),
        ];
        for (text, expected) in cases {
            assert_eq!(Packet::from_text(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_packet_is_refused_at_its_byte() {
        let cases = [
            ("", DecodeErrorKind::EmptyPacket, 0),
            ("7", DecodeErrorKind::UnknownType, 0),
            ("x4", DecodeErrorKind::UnknownType, 0),
            ("ä", DecodeErrorKind::UnknownType, 0),
            ("bAQ*=", DecodeErrorKind::BadBase64, 3),
            ("bAQI DBA==", DecodeErrorKind::BadBase64, 4),
            ("bA", DecodeErrorKind::BadBase64, 1),
        ];
        for (text, kind, at) in cases {
            assert_eq!(Packet::from_text(text), Err(kind.at(at)), "{text}");
        }
    }
}
