//! What was wrong, and at which byte.

use std::fmt;

/// A message that is no packet. Whoever sent it gets no answer: its session is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {at}")]
pub struct DecodeError {
    /// What was wrong.
    pub kind: DecodeErrorKind,
    /// Where: bytes from the beginning of what was given to the decoder. For broken JSON, where its
    /// parser noticed, give or take a byte.
    pub at: usize,
}

/// The ways in which a message can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DecodeErrorKind {
    /// An Engine.IO packet without even a type.
    EmptyPacket,
    /// The first byte names no packet type.
    UnknownType,
    /// Text that is not UTF-8.
    NotUtf8,
    /// Binary in a text packet that is not standard base64.
    BadBase64,
    /// A binary packet whose count of attachments is not digits and `-`, or is 0.
    BadAttachmentCount,
    /// A namespace with control characters: one of them would end the packet on long polling.
    BadNamespace,
    /// An ack id that a `u64` cannot hold.
    BadAckId,
    /// Not JSON.
    BadJson,
    /// JSON, but not of the shape that this packet type needs.
    WrongShape,
    /// DISCONNECT does not carry anything.
    UnexpectedData,
    /// An event name that belongs to the library.
    ReservedName,
    /// A placeholder whose number is no number, or of no announced attachment.
    BadPlaceholder,
    /// A text packet while attachments are due.
    TextInsideBinary,
    /// An attachment that nobody announced.
    UnexpectedAttachment,
    /// More than [`Limits::message_bytes_max`](crate::Limits::message_bytes_max).
    MessageTooLong,
    /// More than [`Limits::json_depth_max`](crate::Limits::json_depth_max).
    JsonTooDeep,
    /// More than [`Limits::args_max`](crate::Limits::args_max).
    TooManyArgs,
    /// More than [`Limits::attachments_max`](crate::Limits::attachments_max).
    TooManyAttachments,
    /// More than [`Limits::partial_bytes_max`](crate::Limits::partial_bytes_max).
    PartialTooLong,
    /// More than [`Limits::namespace_bytes_max`](crate::Limits::namespace_bytes_max).
    NamespaceTooLong,
    /// More than [`Limits::event_name_bytes_max`](crate::Limits::event_name_bytes_max).
    EventNameTooLong,
}

impl DecodeErrorKind {
    /// A short name for metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            DecodeErrorKind::EmptyPacket => "empty_packet",
            DecodeErrorKind::UnknownType => "unknown_type",
            DecodeErrorKind::NotUtf8 => "not_utf8",
            DecodeErrorKind::BadBase64 => "bad_base64",
            DecodeErrorKind::BadAttachmentCount => "bad_attachment_count",
            DecodeErrorKind::BadNamespace => "bad_namespace",
            DecodeErrorKind::BadAckId => "bad_ack_id",
            DecodeErrorKind::BadJson => "bad_json",
            DecodeErrorKind::WrongShape => "wrong_shape",
            DecodeErrorKind::UnexpectedData => "unexpected_data",
            DecodeErrorKind::ReservedName => "reserved_name",
            DecodeErrorKind::BadPlaceholder => "bad_placeholder",
            DecodeErrorKind::TextInsideBinary => "text_inside_binary",
            DecodeErrorKind::UnexpectedAttachment => "unexpected_attachment",
            DecodeErrorKind::MessageTooLong => "message_too_long",
            DecodeErrorKind::JsonTooDeep => "json_too_deep",
            DecodeErrorKind::TooManyArgs => "too_many_args",
            DecodeErrorKind::TooManyAttachments => "too_many_attachments",
            DecodeErrorKind::PartialTooLong => "partial_too_long",
            DecodeErrorKind::NamespaceTooLong => "namespace_too_long",
            DecodeErrorKind::EventNameTooLong => "event_name_too_long",
        }
    }

    /// Whether the packet went over one of our bounds, rather than against the protocol.
    pub const fn is_limit(self) -> bool {
        matches!(
            self,
            DecodeErrorKind::MessageTooLong
                | DecodeErrorKind::JsonTooDeep
                | DecodeErrorKind::TooManyArgs
                | DecodeErrorKind::TooManyAttachments
                | DecodeErrorKind::PartialTooLong
                | DecodeErrorKind::NamespaceTooLong
                | DecodeErrorKind::EventNameTooLong
        )
    }

    pub(crate) const fn at(self, at: usize) -> DecodeError {
        DecodeError { kind: self, at }
    }
}

impl fmt::Display for DecodeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, word) in self.as_str().split('_').enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            f.write_str(word)?;
        }
        Ok(())
    }
}

/// A packet that must not be written: a mistake of the application, not of a client.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The payload does not serialise to JSON.
    #[error("payload is not serialisable: {0}")]
    Json(#[from] serde_json::Error),
    /// Clients would take the event for one of their library.
    #[error("event name {0:?} is reserved")]
    ReservedName(String),
    /// Clients refuse more than [`ATTACHMENTS_MAX`](crate::limits::ATTACHMENTS_MAX).
    #[error("{0} attachments in one packet")]
    TooManyAttachments(usize),
    /// A namespace must begin with `/` and hold neither a comma nor a control character.
    #[error("namespace {0:?} cannot be written")]
    BadNamespace(String),
}
