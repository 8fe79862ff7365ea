//! The types of packets and what they carry.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

/// The namespace that is not written.
pub const MAIN_NAMESPACE: &str = "/";

/// The exact name of a namespace: begins with `/`, holds neither a comma nor a control character.
/// The main one costs nothing.
pub type Namespace = Cow<'static, str>;

/// A complete packet, its attachments at hand.
#[derive(Debug, Clone)]
pub struct Packet {
    /// Where it belongs.
    pub namespace: Namespace,
    /// What it is.
    pub body: Body,
}

/// The packet types. BINARY_EVENT and BINARY_ACK are events and acks with attachments.
#[derive(Debug, Clone)]
pub enum Body {
    /// `0`: the client asks to join; to clients, that it has.
    Connect {
        /// A JSON object.
        data: Option<Box<RawValue>>,
    },
    /// `1`: one side leaves the namespace.
    Disconnect,
    /// `2`, `5`.
    Event {
        /// Never a reserved one.
        name: EventName,
        /// The arguments behind the name, as they were written. With attachments,
        /// `{"_placeholder":true,"num":N}` anywhere in them stands for the N-th.
        args: Vec<Box<RawValue>>,
        /// Empty unless the packet is binary.
        attachments: Vec<Bytes>,
        /// Set if the sender waits for an ack.
        ack_id: Option<u64>,
    },
    /// `3`, `6`.
    Ack {
        /// Of the event that is answered. An ack without id answers nothing: to be ignored.
        ack_id: Option<u64>,
        /// As in an event.
        args: Vec<Box<RawValue>>,
        /// As in an event.
        attachments: Vec<Bytes>,
    },
    /// `4`: joining was refused. Servers send it; from a client it is against the protocol.
    ConnectError {
        /// A JSON object or string.
        data: Option<Box<RawValue>>,
    },
}

/// The name of an event: a number is legal too.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EventName {
    /// The usual.
    Text(String),
    /// As it was written.
    Number(String),
}

/// Whether an event of this name belongs to the library: neither side may send one.
pub fn is_reserved(name: &str) -> bool {
    matches!(
        name,
        "connect"
            | "connect_error"
            | "disconnect"
            | "disconnecting"
            | "newListener"
            | "removeListener"
    )
}

impl Body {
    /// The name of the type, for logs and metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Body::Connect { .. } => "connect",
            Body::Disconnect => "disconnect",
            Body::Event { .. } => "event",
            Body::Ack { .. } => "ack",
            Body::ConnectError { .. } => "connect_error",
        }
    }

    /// Where attachments go, for the types that can have some.
    pub(crate) fn attachments_mut(&mut self) -> Option<&mut Vec<Bytes>> {
        match self {
            Body::Event { attachments, .. } | Body::Ack { attachments, .. } => Some(attachments),
            Body::Connect { .. } | Body::Disconnect | Body::ConnectError { .. } => None,
        }
    }
}
