//! Every bound of the codec, with its unit and its reason.
//!
//! What goes over a bound is a [`DecodeError`](crate::DecodeError) whose
//! [`is_limit`](crate::error::DecodeErrorKind::is_limit) is true; the session is to be closed.

/// Attachments in one Socket.IO packet, at most. The official parsers refuse an eleventh, so
/// neither [`Limits::attachments_max`] nor what we write may go beyond it.
pub const ATTACHMENTS_MAX: usize = 10;

/// Nesting that serde_json follows at most, and so the highest useful [`Limits::json_depth_max`].
pub const JSON_DEPTH_CEILING: usize = 127;

/// What a decoder lets a client spend. One value is shared by all sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one Engine.IO message, text or binary, without its type. Bounds all memory that
    /// one message can take.
    pub message_bytes_max: usize,
    /// `[` and `{` open at once, the argument array included. Deeper JSON could overflow the
    /// stack of whoever parses an argument. At most [`JSON_DEPTH_CEILING`] has an effect.
    pub json_depth_max: usize,
    /// Arguments of one event or ack, the event's name not counted. Each is an allocation of its
    /// own: `[1,1,1,…]` would otherwise cost ten times its bytes.
    pub args_max: usize,
    /// Binary attachments that one packet may announce; at most [`ATTACHMENTS_MAX`] has an effect.
    pub attachments_max: usize,
    /// Bytes of a binary packet, text and attachments together: what an unfinished one can hold.
    pub partial_bytes_max: usize,
    /// Bytes of a namespace's name, the leading `/` included.
    pub namespace_bytes_max: usize,
    /// Namespaces that one session may join. The codec only carries it: who counts sockets
    /// enforces it.
    pub namespaces_max: usize,
    /// Bytes of an event's name.
    pub event_name_bytes_max: usize,
}

impl Limits {
    /// The defaults for messages of at most this many bytes; an unfinished binary packet may
    /// hold four of them.
    pub const fn for_messages_of(message_bytes_max: usize) -> Limits {
        Limits {
            message_bytes_max,
            json_depth_max: 64,
            args_max: 64,
            attachments_max: ATTACHMENTS_MAX,
            partial_bytes_max: message_bytes_max.saturating_mul(4),
            namespace_bytes_max: 128,
            namespaces_max: 8,
            event_name_bytes_max: 128,
        }
    }
}

impl Default for Limits {
    /// Messages of 100,000 bytes.
    fn default() -> Limits {
        Limits::for_messages_of(100_000)
    }
}
