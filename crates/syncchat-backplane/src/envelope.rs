//! What nodes say to each other, as bytes: one version byte, then MessagePack with named fields.
//!
//! **Two releases in one fleet.** A field that a release does not know is skipped, one that it
//! misses gets its default; an event that it does not know, or a version above its own, is counted
//! and dropped, and the comparison of heads finds what it told of. So fields are only ever added,
//! with a default, and a meaning never changes: that takes a new version.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syncchat_core::command::CursorKind;
use syncchat_core::model::{
    Attachment, Conversation, ConversationId, ConversationKind, FIRST_REV, FileId, Message,
    MessageId, MessageKind, PresenceStatus, SystemEvent, Timestamp, UserId,
};
use syncchat_core::ports::fleet::{Change, FleetEvent};

/// The version this release writes, and the highest it reads.
const VERSION: u8 = 1;

/// Why bytes were not understood.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnvelopeError {
    /// From a later release.
    #[error("version {0} is later than this release's")]
    Version(u8),
    /// Not MessagePack, or not an event this release knows.
    #[error("not an event of this release: {0}")]
    Unknown(#[from] rmp_serde::decode::Error),
    /// Known, but with a value that cannot be.
    #[error("not a {0}")]
    Value(&'static str),
}

/// An event and the process that says it.
pub(crate) fn encode(
    process: u64,
    event: &FleetEvent,
) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let mut bytes = Vec::with_capacity(512);
    bytes.push(VERSION);
    let envelope = Envelope {
        process,
        event: WireEvent::from(event),
    };
    envelope.serialize(&mut rmp_serde::Serializer::new(&mut bytes).with_struct_map())?;
    Ok(bytes)
}

/// Reads an event, unless `own` process said it: then `None`.
pub(crate) fn decode(own: u64, bytes: &[u8]) -> Result<Option<FleetEvent>, EnvelopeError> {
    let (version, body) = bytes.split_first().ok_or(EnvelopeError::Value("message"))?;
    if *version > VERSION {
        return Err(EnvelopeError::Version(*version));
    }
    let Sender { process } = rmp_serde::from_slice(body)?;
    if process == own {
        return Ok(None);
    }
    let Envelope { event, .. } = rmp_serde::from_slice(body)?;
    FleetEvent::try_from(event).map(Some)
}

/// Just enough of an envelope to leave one's own unread.
#[derive(Deserialize)]
struct Sender {
    #[serde(rename = "p")]
    process: u64,
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    #[serde(rename = "p")]
    process: u64,
    #[serde(rename = "e")]
    event: WireEvent,
}

/// Twelve bytes of an id, as one MessagePack binary.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Id(#[serde(with = "serde_bytes")] [u8; 12]);

#[derive(Serialize, Deserialize)]
enum WireEvent {
    #[serde(rename = "m")]
    Committed { messages: Vec<WireMessage> },
    #[serde(rename = "h")]
    Head { conversation: Id, head: u64 },
    #[serde(rename = "e")]
    Edited { message: WireMessage },
    #[serde(rename = "d")]
    Deleted { message: WireMessage },
    #[serde(rename = "c")]
    Cursor {
        conversation: Id,
        user: Id,
        read: bool,
        seq: u64,
    },
    #[serde(rename = "t")]
    Typing {
        conversation: Id,
        user: Id,
        typing: bool,
    },
    #[serde(rename = "j")]
    Joined {
        user: Id,
        conversation: WireConversation,
        seq: u64,
        by: Id,
    },
    #[serde(rename = "l")]
    Parted {
        user: Id,
        conversation: Id,
        seq: u64,
        by: Id,
    },
    #[serde(rename = "u")]
    Updated { conversation: WireConversation },
    #[serde(rename = "p")]
    Presence {
        watcher: Id,
        user: Id,
        online: bool,
        last_seen: i64,
    },
    #[serde(rename = "r")]
    Revoked {
        user: Id,
        #[serde(default)]
        family: Option<serde_bytes::ByteBuf>,
    },
}

#[derive(Serialize, Deserialize)]
struct WireMessage {
    id: Id,
    #[serde(rename = "c")]
    conversation: Id,
    #[serde(rename = "n")]
    seq: u64,
    #[serde(rename = "o", default)]
    ordinal: u64,
    #[serde(rename = "s")]
    sender: Id,
    #[serde(rename = "x")]
    content: String,
    #[serde(rename = "k")]
    kind: String,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    event: Option<WireSystemEvent>,
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<WireAttachment>,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    reply_to: Option<Id>,
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    client_msg_id: Option<String>,
    #[serde(rename = "ed", default)]
    edited: bool,
    #[serde(rename = "de", default)]
    deleted: bool,
    #[serde(rename = "t")]
    created_at: i64,
    #[serde(rename = "u")]
    updated_at: i64,
    #[serde(rename = "v", default = "first_rev", skip_serializing_if = "is_first")]
    rev: u64,
}

/// What an older release does not say, and this one need not.
fn first_rev() -> u64 {
    FIRST_REV
}

fn is_first(rev: &u64) -> bool {
    *rev == FIRST_REV
}

#[derive(Serialize, Deserialize)]
enum WireSystemEvent {
    #[serde(rename = "a")]
    Added { by: Id, user: Id },
    #[serde(rename = "r")]
    Removed { by: Id, user: Id },
    #[serde(rename = "l")]
    Left { user: Id },
    #[serde(rename = "t")]
    Renamed { by: Id, title: String },
}

#[derive(Serialize, Deserialize)]
struct WireAttachment {
    file: Id,
    name: String,
    size: u64,
    content_type: String,
}

#[derive(Serialize, Deserialize)]
struct WireConversation {
    id: Id,
    kind: String,
    #[serde(default)]
    title: Option<String>,
    participants: Vec<Id>,
    last_seq: u64,
    #[serde(default)]
    last_ordinal: u64,
    created_at: i64,
    updated_at: i64,
    #[serde(default = "first_rev", skip_serializing_if = "is_first")]
    rev: u64,
    /// 0: not known.
    #[serde(default)]
    change_seq: u64,
}

macro_rules! ids {
    ($($name:ident),*) => {$(
        impl From<$name> for Id {
            fn from(id: $name) -> Id {
                Id(id.bytes())
            }
        }
        impl From<Id> for $name {
            fn from(id: Id) -> $name {
                $name::from_bytes(id.0)
            }
        }
    )*};
}
ids!(UserId, ConversationId, MessageId, FileId);

impl From<&FleetEvent> for WireEvent {
    fn from(event: &FleetEvent) -> WireEvent {
        match event {
            FleetEvent::Committed { messages } => WireEvent::Committed {
                messages: messages.iter().map(|message| (&**message).into()).collect(),
            },
            FleetEvent::Head { conversation, head } => WireEvent::Head {
                conversation: (*conversation).into(),
                head: *head,
            },
            FleetEvent::Changed {
                message,
                change: Change::Edited,
            } => WireEvent::Edited {
                message: (&**message).into(),
            },
            FleetEvent::Changed {
                message,
                change: Change::Deleted,
            } => WireEvent::Deleted {
                message: (&**message).into(),
            },
            FleetEvent::Cursor {
                conversation,
                user,
                kind,
                seq,
            } => WireEvent::Cursor {
                conversation: (*conversation).into(),
                user: (*user).into(),
                read: *kind == CursorKind::Read,
                seq: *seq,
            },
            FleetEvent::Typing {
                conversation,
                user,
                typing,
            } => WireEvent::Typing {
                conversation: (*conversation).into(),
                user: (*user).into(),
                typing: *typing,
            },
            FleetEvent::Joined {
                user,
                conversation,
                seq,
                by,
            } => WireEvent::Joined {
                user: (*user).into(),
                conversation: (&**conversation).into(),
                seq: *seq,
                by: (*by).into(),
            },
            FleetEvent::Parted {
                user,
                conversation,
                seq,
                by,
            } => WireEvent::Parted {
                user: (*user).into(),
                conversation: (*conversation).into(),
                seq: *seq,
                by: (*by).into(),
            },
            FleetEvent::Updated { conversation } => WireEvent::Updated {
                conversation: (&**conversation).into(),
            },
            FleetEvent::Presence {
                watcher,
                user,
                status,
                last_seen,
            } => WireEvent::Presence {
                watcher: (*watcher).into(),
                user: (*user).into(),
                online: *status == PresenceStatus::Online,
                last_seen: last_seen.millis(),
            },
            FleetEvent::Revoked { user, family } => WireEvent::Revoked {
                user: (*user).into(),
                family: family.map(|family| serde_bytes::ByteBuf::from(family.to_vec())),
            },
        }
    }
}

impl TryFrom<WireEvent> for FleetEvent {
    type Error = EnvelopeError;

    fn try_from(event: WireEvent) -> Result<FleetEvent, EnvelopeError> {
        Ok(match event {
            WireEvent::Committed { messages } => {
                let messages: Arc<[Arc<Message>]> = messages
                    .into_iter()
                    .map(|message| Message::try_from(message).map(Arc::new))
                    .collect::<Result<_, _>>()?;
                if messages.is_empty() {
                    return Err(EnvelopeError::Value("batch of messages"));
                }
                FleetEvent::Committed { messages }
            }
            WireEvent::Head { conversation, head } => FleetEvent::Head {
                conversation: conversation.into(),
                head,
            },
            WireEvent::Edited { message } => FleetEvent::Changed {
                message: Arc::new(message.try_into()?),
                change: Change::Edited,
            },
            WireEvent::Deleted { message } => FleetEvent::Changed {
                message: Arc::new(message.try_into()?),
                change: Change::Deleted,
            },
            WireEvent::Cursor {
                conversation,
                user,
                read,
                seq,
            } => FleetEvent::Cursor {
                conversation: conversation.into(),
                user: user.into(),
                kind: if read {
                    CursorKind::Read
                } else {
                    CursorKind::Delivered
                },
                seq,
            },
            WireEvent::Typing {
                conversation,
                user,
                typing,
            } => FleetEvent::Typing {
                conversation: conversation.into(),
                user: user.into(),
                typing,
            },
            WireEvent::Joined {
                user,
                conversation,
                seq,
                by,
            } => FleetEvent::Joined {
                user: user.into(),
                conversation: Arc::new(conversation.try_into()?),
                seq,
                by: by.into(),
            },
            WireEvent::Parted {
                user,
                conversation,
                seq,
                by,
            } => FleetEvent::Parted {
                user: user.into(),
                conversation: conversation.into(),
                seq,
                by: by.into(),
            },
            WireEvent::Updated { conversation } => FleetEvent::Updated {
                conversation: Arc::new(conversation.try_into()?),
            },
            WireEvent::Presence {
                watcher,
                user,
                online,
                last_seen,
            } => FleetEvent::Presence {
                watcher: watcher.into(),
                user: user.into(),
                status: if online {
                    PresenceStatus::Online
                } else {
                    PresenceStatus::Offline
                },
                last_seen: Timestamp::from_millis(last_seen),
            },
            WireEvent::Revoked { user, family } => FleetEvent::Revoked {
                user: user.into(),
                family: family
                    .map(|family| <[u8; 16]>::try_from(family.as_slice()))
                    .transpose()
                    .map_err(|_| EnvelopeError::Value("family"))?,
            },
        })
    }
}

impl From<&Message> for WireMessage {
    fn from(message: &Message) -> WireMessage {
        WireMessage {
            id: message.id.into(),
            conversation: message.conversation.into(),
            seq: message.seq,
            ordinal: message.ordinal,
            sender: message.sender.into(),
            content: message.content.clone(),
            kind: message.kind.as_str().to_owned(),
            event: message.event.as_ref().map(WireSystemEvent::from),
            attachments: message
                .attachments
                .iter()
                .map(WireAttachment::from)
                .collect(),
            reply_to: message.reply_to.map(Id::from),
            client_msg_id: message.client_msg_id.clone(),
            edited: message.edited,
            deleted: message.deleted,
            created_at: message.created_at.millis(),
            updated_at: message.updated_at.millis(),
            rev: message.rev,
        }
    }
}

impl TryFrom<WireMessage> for Message {
    type Error = EnvelopeError;

    fn try_from(wire: WireMessage) -> Result<Message, EnvelopeError> {
        Ok(Message {
            id: wire.id.into(),
            conversation: wire.conversation.into(),
            seq: wire.seq,
            ordinal: wire.ordinal,
            sender: wire.sender.into(),
            content: wire.content,
            kind: MessageKind::parse(&wire.kind).ok_or(EnvelopeError::Value("message type"))?,
            event: wire.event.map(SystemEvent::from),
            attachments: wire.attachments.into_iter().map(Attachment::from).collect(),
            reply_to: wire.reply_to.map(MessageId::from),
            client_msg_id: wire.client_msg_id,
            edited: wire.edited,
            deleted: wire.deleted,
            created_at: Timestamp::from_millis(wire.created_at),
            updated_at: Timestamp::from_millis(wire.updated_at),
            rev: wire.rev,
        })
    }
}

impl From<&SystemEvent> for WireSystemEvent {
    fn from(event: &SystemEvent) -> WireSystemEvent {
        match event {
            SystemEvent::Added { by, user } => WireSystemEvent::Added {
                by: (*by).into(),
                user: (*user).into(),
            },
            SystemEvent::Removed { by, user } => WireSystemEvent::Removed {
                by: (*by).into(),
                user: (*user).into(),
            },
            SystemEvent::Left { user } => WireSystemEvent::Left {
                user: (*user).into(),
            },
            SystemEvent::Renamed { by, title } => WireSystemEvent::Renamed {
                by: (*by).into(),
                title: title.clone(),
            },
        }
    }
}

impl From<WireSystemEvent> for SystemEvent {
    fn from(event: WireSystemEvent) -> SystemEvent {
        match event {
            WireSystemEvent::Added { by, user } => SystemEvent::Added {
                by: by.into(),
                user: user.into(),
            },
            WireSystemEvent::Removed { by, user } => SystemEvent::Removed {
                by: by.into(),
                user: user.into(),
            },
            WireSystemEvent::Left { user } => SystemEvent::Left { user: user.into() },
            WireSystemEvent::Renamed { by, title } => SystemEvent::Renamed {
                by: by.into(),
                title,
            },
        }
    }
}

impl From<&Attachment> for WireAttachment {
    fn from(attachment: &Attachment) -> WireAttachment {
        WireAttachment {
            file: attachment.file.into(),
            name: attachment.name.clone(),
            size: attachment.size,
            content_type: attachment.content_type.clone(),
        }
    }
}

impl From<WireAttachment> for Attachment {
    fn from(wire: WireAttachment) -> Attachment {
        Attachment {
            file: wire.file.into(),
            name: wire.name,
            size: wire.size,
            content_type: wire.content_type,
        }
    }
}

impl From<&Conversation> for WireConversation {
    fn from(conversation: &Conversation) -> WireConversation {
        WireConversation {
            id: conversation.id.into(),
            kind: conversation.kind.as_str().to_owned(),
            title: conversation.title.clone(),
            participants: conversation
                .participants
                .iter()
                .map(|user| (*user).into())
                .collect(),
            last_seq: conversation.last_seq,
            last_ordinal: conversation.last_ordinal,
            created_at: conversation.created_at.millis(),
            updated_at: conversation.updated_at.millis(),
            rev: conversation.rev,
            change_seq: conversation.change_seq,
        }
    }
}

impl TryFrom<WireConversation> for Conversation {
    type Error = EnvelopeError;

    fn try_from(wire: WireConversation) -> Result<Conversation, EnvelopeError> {
        Ok(Conversation {
            id: wire.id.into(),
            kind: ConversationKind::parse(&wire.kind)
                .ok_or(EnvelopeError::Value("conversation type"))?,
            title: wire.title,
            participants: wire.participants.into_iter().map(UserId::from).collect(),
            last_seq: wire.last_seq,
            last_ordinal: wire.last_ordinal,
            created_at: Timestamp::from_millis(wire.created_at),
            updated_at: Timestamp::from_millis(wire.updated_at),
            rev: wire.rev,
            change_seq: wire.change_seq,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message {
            id: MessageId::generate(),
            conversation: ConversationId::generate(),
            seq: 41,
            ordinal: 40,
            sender: UserId::generate(),
            content: "héllo \u{1f980}".into(),
            kind: MessageKind::Text,
            event: None,
            attachments: vec![Attachment {
                file: FileId::generate(),
                name: "a.png".into(),
                size: 7,
                content_type: "image/png".into(),
            }],
            reply_to: Some(MessageId::generate()),
            client_msg_id: Some("c-1".into()),
            edited: true,
            deleted: false,
            created_at: Timestamp::from_millis(1),
            updated_at: Timestamp::from_millis(2),
            rev: 7,
        }
    }

    fn events() -> Vec<FleetEvent> {
        let (user, by) = (UserId::generate(), UserId::generate());
        let conversation = Arc::new(Conversation {
            id: ConversationId::generate(),
            kind: ConversationKind::Group,
            title: Some("team".into()),
            participants: vec![user, by],
            last_seq: 3,
            last_ordinal: 2,
            created_at: Timestamp::from_millis(1),
            updated_at: Timestamp::from_millis(2),
            rev: 4,
            change_seq: 7,
        });
        let (id, seq) = (conversation.id, 7);
        let system = |event| {
            Arc::new(Message {
                kind: MessageKind::System,
                event: Some(event),
                ..message()
            })
        };
        let message = Arc::new(message());
        vec![
            FleetEvent::Committed {
                messages: Arc::new([
                    message.clone(),
                    system(SystemEvent::Added { by, user }),
                    system(SystemEvent::Removed { by, user }),
                    system(SystemEvent::Left { user }),
                    system(SystemEvent::Renamed {
                        by,
                        title: "new".into(),
                    }),
                ]),
            },
            FleetEvent::Head {
                conversation: id,
                head: 9,
            },
            FleetEvent::Changed {
                message: message.clone(),
                change: Change::Edited,
            },
            FleetEvent::Changed {
                message,
                change: Change::Deleted,
            },
            FleetEvent::Cursor {
                conversation: id,
                user,
                kind: CursorKind::Read,
                seq,
            },
            FleetEvent::Cursor {
                conversation: id,
                user,
                kind: CursorKind::Delivered,
                seq,
            },
            FleetEvent::Typing {
                conversation: id,
                user,
                typing: true,
            },
            FleetEvent::Joined {
                user,
                conversation: conversation.clone(),
                seq,
                by,
            },
            FleetEvent::Parted {
                user,
                conversation: id,
                seq,
                by,
            },
            FleetEvent::Updated { conversation },
            FleetEvent::Presence {
                watcher: by,
                user,
                status: PresenceStatus::Offline,
                last_seen: Timestamp::from_millis(5),
            },
            FleetEvent::Revoked {
                user,
                family: Some([7; 16]),
            },
            FleetEvent::Revoked { user, family: None },
        ]
    }

    #[test]
    fn every_event_comes_back_as_it_went_and_ones_own_does_not() {
        for event in events() {
            let bytes = encode(1, &event).unwrap();
            let back = decode(2, &bytes).unwrap().unwrap();
            assert_eq!(format!("{back:?}"), format!("{event:?}"));
            assert!(decode(1, &bytes).unwrap().is_none());
        }
    }

    #[test]
    fn no_bytes_do_harm() {
        let whole: Vec<Vec<u8>> = events().iter().map(|e| encode(1, e).unwrap()).collect();
        for bytes in &whole {
            for end in 0..bytes.len() {
                assert!(decode(2, &bytes[..end]).is_err(), "cut at {end}");
            }
            for at in 0..bytes.len() {
                for flip in [1, 0x80, 0xff] {
                    let mut bytes = bytes.clone();
                    bytes[at] ^= flip;
                    let _ = decode(2, &bytes);
                }
            }
        }
        assert!(matches!(
            decode(2, &[9, 1, 2]),
            Err(EnvelopeError::Version(9))
        ));
    }

    #[test]
    fn versions_that_an_older_release_does_not_tell_are_the_first() {
        let bytes = |event: &FleetEvent| encode(1, event).unwrap();
        let message = Arc::new(Message {
            rev: FIRST_REV,
            ..message()
        });
        let change = Change::Edited;
        let unchanged = bytes(&FleetEvent::Changed { message, change });
        assert!(
            !unchanged.windows(2).any(|pair| pair == b"\xa1v"),
            "what was never changed is as long as it was"
        );
        let Ok(Some(FleetEvent::Changed { message, .. })) = decode(2, &unchanged) else {
            panic!("a change");
        };
        assert_eq!(message.rev, FIRST_REV);
    }

    #[test]
    fn a_later_release_may_add_fields_and_events() {
        #[derive(Serialize)]
        struct Later {
            p: u64,
            e: LaterEvent,
            hop: &'static str,
        }
        #[derive(Serialize)]
        enum LaterEvent {
            #[serde(rename = "h")]
            Head {
                conversation: Id,
                head: u64,
                why: &'static str,
            },
            Reaction {
                emoji: &'static str,
            },
        }
        let encode = |event| {
            let later = Later {
                p: 1,
                e: event,
                hop: "new",
            };
            let mut bytes = vec![VERSION];
            bytes.extend(rmp_serde::to_vec_named(&later).unwrap());
            bytes
        };
        let head = encode(LaterEvent::Head {
            conversation: Id([3; 12]),
            head: 4,
            why: "?",
        });
        assert!(matches!(
            decode(2, &head),
            Ok(Some(FleetEvent::Head { head: 4, .. }))
        ));
        assert!(decode(2, &encode(LaterEvent::Reaction { emoji: "+1" })).is_err());
    }
}
