//! What was said.

use std::sync::Arc;

use super::{ConversationId, FileId, MessageId, Rev, Seq, Timestamp, UserId, idempotency};

/// What a message carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// Words.
    Text,
    /// A picture among its attachments.
    Image,
    /// A file among its attachments.
    File,
    /// A change of membership or title; made by the server only, never unread.
    System,
}

impl MessageKind {
    /// The name on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            MessageKind::Text => "text",
            MessageKind::Image => "image",
            MessageKind::File => "file",
            MessageKind::System => "system",
        }
    }

    /// Reads the name.
    pub fn parse(name: &str) -> Option<MessageKind> {
        match name {
            "text" => Some(MessageKind::Text),
            "image" => Some(MessageKind::Image),
            "file" => Some(MessageKind::File),
            "system" => Some(MessageKind::System),
            _ => None,
        }
    }
}

/// What a system message tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SystemEvent {
    /// `by` added `user`.
    Added {
        /// Who did it.
        by: UserId,
        /// Who came.
        user: UserId,
    },
    /// `by` removed `user`.
    Removed {
        /// Who did it.
        by: UserId,
        /// Who went.
        user: UserId,
    },
    /// `user` left.
    Left {
        /// Who went.
        user: UserId,
    },
    /// `by` gave the group a new title.
    Renamed {
        /// Who did it.
        by: UserId,
        /// The new title.
        title: String,
    },
}

/// A file shown by a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Which file.
    pub file: FileId,
    /// The name it was uploaded under.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// MIME type as declared.
    pub content_type: String,
}

/// A committed message: one entry of a conversation's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Which.
    pub id: MessageId,
    /// Where.
    pub conversation: ConversationId,
    /// Its place there.
    pub seq: Seq,
    /// How many messages up to and including this one are not system messages.
    pub ordinal: u64,
    /// Who said it; of a system message, who did it.
    pub sender: UserId,
    /// As written; empty once deleted.
    pub content: String,
    /// What it carries.
    pub kind: MessageKind,
    /// What happened, for a system message.
    pub event: Option<SystemEvent>,
    /// Files; empty once deleted.
    pub attachments: Vec<Attachment>,
    /// The message it answers.
    pub reply_to: Option<MessageId>,
    /// The sender's own name for it: unique for a sender in a conversation, for ever.
    pub client_msg_id: Option<String>,
    /// Whether the content was changed.
    pub edited: bool,
    /// Whether the content was taken away.
    pub deleted: bool,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Which version this is: [`FIRST_REV`](super::FIRST_REV) as it was committed; after a change, the number
    /// of that change in its conversation ([`Conversation::change_seq`](super::Conversation::change_seq)).
    pub rev: Rev,
}

impl Message {
    /// Whether this is a later version of the same message than the other one. A deletion is the last
    /// change of a message. Of changes without a number, which an older release made, the later one by
    /// its time counts.
    pub fn supersedes(&self, other: &Message) -> bool {
        let version = |message: &Message| (message.deleted, message.rev, message.updated_at);
        version(self) > version(other)
    }
}

impl Message {
    /// The message, without what a deleted one must not show. Stores make every message by this that
    /// they read: what an older deployment only marked as deleted still lies there.
    pub fn redacted(mut self) -> Message {
        if self.deleted {
            self.content = String::new();
            self.attachments = Vec::new();
        }
        self
    }

    /// The sender's own name for it to show: none that came as a header, which is not its content.
    pub fn shown_client_msg_id(&self) -> Option<&str> {
        let name = self.client_msg_id.as_deref();
        name.filter(|name| !idempotency::is_from_header(name))
    }

    /// The text to show: none of a deleted message.
    pub fn shown_content(&self) -> &str {
        if self.deleted { "" } else { &self.content }
    }

    /// The files to show: none of a deleted message.
    pub fn shown_attachments(&self) -> &[Attachment] {
        if self.deleted { &[] } else { &self.attachments }
    }
}

/// How far a message has come, derived from the cursors of the others: the furthest of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MessageStatus {
    /// Durable.
    Sent,
    /// On a device of at least one other member.
    Delivered,
    /// Read by at least one other member.
    Read,
}

impl MessageStatus {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            MessageStatus::Sent => "sent",
            MessageStatus::Delivered => "delivered",
            MessageStatus::Read => "read",
        }
    }
}

/// A message as it is shown: with what the cursors of the others say of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageView {
    /// The message.
    pub message: Arc<Message>,
    /// How far it has come.
    pub status: MessageStatus,
    /// Other members who have read it, at most [`crate::limits::READ_BY_MAX`] of them.
    pub read_by: Vec<UserId>,
}

impl MessageView {
    /// A message nobody else has seen yet.
    pub fn fresh(message: Arc<Message>) -> MessageView {
        MessageView {
            message,
            status: MessageStatus::Sent,
            read_by: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_later_change_counts_and_a_deletion_always_does() {
        let nobody = UserId::from_bytes([0; 12]);
        let first = testing::message(ConversationId::from_bytes([0; 12]), nobody, "a");
        let version = |rev, deleted| Message {
            rev,
            deleted,
            ..first.clone()
        };
        let (second, third, gone) = (version(2, false), version(3, false), version(2, true));
        assert!(third.supersedes(&second) && second.supersedes(&first));
        assert!(!second.supersedes(&third) && !second.supersedes(&second));
        assert!(gone.supersedes(&third) && !third.supersedes(&gone));
        let later = Message {
            updated_at: Timestamp::from_millis(first.updated_at.millis() + 1),
            ..first.clone()
        };
        assert!(later.supersedes(&first) && !first.supersedes(&later));
    }
}
