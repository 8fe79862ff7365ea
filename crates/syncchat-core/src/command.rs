//! What can be asked of the core, valid by construction: a command that exists has passed every
//! rule that needs no store.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result};
use crate::limits::{
    ATTACHMENTS_MAX, PAGE_DEFAULT, PAGE_MAX, PARTICIPANTS_PER_REQUEST_MAX, SYNC_CURSORS_MAX,
};
use crate::model::{
    Attachment, ConversationId, ConversationKind, Digest, FileId, IdempotencyKey, Message,
    MessageId, MessageKind, Rev, Seq, Timestamp, UserId, idempotency,
};
use crate::ports::store::RequestKey;
use crate::text;

/// The field in which a message is named by its sender.
const CLIENT_MSG_ID: &str = "clientMsgId";
/// The field in which a conversation is named by its creator.
const CLIENT_CONVERSATION_ID: &str = "clientConversationId";

/// Say something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendMessage {
    pub(crate) id: MessageId,
    pub(crate) sender: UserId,
    pub(crate) conversation: ConversationId,
    pub(crate) content: String,
    pub(crate) kind: MessageKind,
    pub(crate) client_msg_id: Option<String>,
    pub(crate) attachments: Vec<FileId>,
    /// What they are; filled in once they were looked at.
    pub(crate) shows: Vec<Attachment>,
    pub(crate) reply_to: Option<MessageId>,
}

/// The fields of a message as they came in, before any rule was applied.
#[derive(Debug, Clone, Default)]
pub struct MessageDraft {
    /// As written.
    pub content: String,
    /// `text`, `image` or `file`; `text` when absent.
    pub kind: Option<String>,
    /// The sender's own name for it.
    pub client_msg_id: Option<String>,
    /// Files it shows.
    pub attachments: Vec<FileId>,
    /// The message it answers.
    pub reply_to: Option<MessageId>,
}

impl SendMessage {
    /// Checks a draft.
    ///
    /// # Errors
    /// `invalid`, naming the field.
    pub fn new(
        sender: UserId,
        conversation: ConversationId,
        draft: MessageDraft,
    ) -> Result<SendMessage> {
        let kind = match draft.kind.as_deref() {
            None | Some("text") => MessageKind::Text,
            Some("image") => MessageKind::Image,
            Some("file") => MessageKind::File,
            Some(_) => return Err(Error::invalid("type", "must be text, image or file")),
        };
        if draft.attachments.len() > ATTACHMENTS_MAX {
            return Err(Error::invalid(
                "attachments",
                format!("at most {ATTACHMENTS_MAX}"),
            ));
        }
        let distinct: BTreeSet<FileId> = draft.attachments.iter().copied().collect();
        if distinct.len() < draft.attachments.len() {
            return Err(Error::invalid("attachments", "must not repeat a file"));
        }
        if kind != MessageKind::Text && draft.attachments.is_empty() {
            return Err(Error::invalid(
                "attachments",
                "a message of this type needs one",
            ));
        }
        let named = |name| text::client_id(CLIENT_MSG_ID, name);
        let client_msg_id = draft.client_msg_id.map(named);
        Ok(SendMessage {
            id: MessageId::generate(),
            sender,
            conversation,
            content: text::content(draft.content, !draft.attachments.is_empty())?,
            kind,
            client_msg_id: client_msg_id.transpose()?,
            attachments: draft.attachments,
            shows: Vec::new(),
            reply_to: draft.reply_to,
        })
    }

    /// The same command under a key from outside its draft, unless the draft names it.
    pub fn keyed(mut self, key: Option<IdempotencyKey>) -> SendMessage {
        if self.client_msg_id.is_none() {
            self.client_msg_id = key.map(IdempotencyKey::into_string);
        }
        self
    }

    /// Refuses to take a message that was found under this command's name for its result, if the
    /// message was sent with other content. `sent`: [`NamedMessage::sent`](crate::ports::store::NamedMessage::sent).
    ///
    /// # Errors
    /// `conflict`, naming what held the name.
    pub(crate) fn must_repeat(&self, message: &Message, sent: Option<Digest>) -> Result<()> {
        let same_content = match (message.edited, sent) {
            (false, _) => message.content == self.content,
            (true, Some(sent)) => sent == Digest::of_sent(message.id, &self.content),
            // An older release edited it, and kept nothing of what it was.
            (true, None) => true,
        };
        let shown = message.attachments.iter().map(|attachment| attachment.file);
        let same = same_content
            && message.kind == self.kind
            && message.reply_to == self.reply_to
            && shown.eq(self.attachments.iter().copied());
        // Of what was deleted nothing is left to compare with.
        match (same || message.deleted, &self.client_msg_id) {
            (false, Some(name)) => Err(idempotency::used_otherwise(name, CLIENT_MSG_ID)),
            _ => Ok(()),
        }
    }

    /// The id the message will have, unless this is a resend: then the answer has the first one's.
    pub fn id(&self) -> MessageId {
        self.id
    }
}

/// Change what was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditMessage {
    pub(crate) editor: UserId,
    pub(crate) message: MessageId,
    pub(crate) content: String,
}

impl EditMessage {
    /// Checks the new content. Whether it may be empty depends on what else the message shows.
    ///
    /// # Errors
    /// `invalid`, naming `content`.
    pub fn new(editor: UserId, message: MessageId, content: String) -> Result<EditMessage> {
        Ok(EditMessage {
            editor,
            message,
            content: text::content(content, true)?,
        })
    }
}

/// Which of a member's two cursors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CursorKind {
    /// On a device.
    Delivered,
    /// Seen by the person; implies delivered.
    Read,
}

impl CursorKind {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            CursorKind::Delivered => "delivered",
            CursorKind::Read => "read",
        }
    }
}

/// Begin a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateConversation {
    pub(crate) creator: UserId,
    pub(crate) kind: ConversationKind,
    /// Everybody, the creator too.
    pub(crate) participants: BTreeSet<UserId>,
    pub(crate) title: Option<String>,
    pub(crate) key: Option<IdempotencyKey>,
}

impl CreateConversation {
    /// Checks the parts; the creator is added.
    ///
    /// # Errors
    /// `invalid`, naming the field.
    pub fn new(
        creator: UserId,
        kind: ConversationKind,
        others: impl IntoIterator<Item = UserId>,
        title: Option<&str>,
    ) -> Result<CreateConversation> {
        let mut participants: BTreeSet<UserId> = others.into_iter().collect();
        participants.remove(&creator);
        if participants.len() > PARTICIPANTS_PER_REQUEST_MAX {
            return Err(Error::invalid(
                "participants",
                format!("at most {PARTICIPANTS_PER_REQUEST_MAX} at once"),
            ));
        }
        let title = match (kind, title.map(str::trim).filter(|title| !title.is_empty())) {
            (ConversationKind::Private, Some(_)) => {
                return Err(Error::invalid("title", "a private conversation has none"));
            }
            (_, title) => title.map(text::title).transpose()?,
        };
        match (kind, participants.len()) {
            (ConversationKind::Private, 1) | (ConversationKind::Group, 1..) => {}
            (ConversationKind::Private, _) => {
                return Err(Error::invalid(
                    "participants",
                    "must name exactly one other person",
                ));
            }
            (ConversationKind::Group, _) => {
                return Err(Error::invalid(
                    "participants",
                    "must name at least one other person",
                ));
            }
        }
        participants.insert(creator);
        Ok(CreateConversation {
            creator,
            kind,
            participants,
            title,
            key: None,
        })
    }

    /// The same command under the creator's own name for the conversation: of the form of a `clientMsgId`.
    ///
    /// # Errors
    /// `invalid`, naming `clientConversationId`.
    pub fn named(mut self, name: Option<String>) -> Result<CreateConversation> {
        let named = |name| IdempotencyKey::from_body(CLIENT_CONVERSATION_ID, name);
        self.key = name.map(named).transpose()?;
        Ok(self)
    }

    /// The same command under a key from outside it, unless it is named.
    pub fn keyed(mut self, key: Option<IdempotencyKey>) -> CreateConversation {
        self.key = self.key.or(key);
        self
    }

    /// What the store keeps of the key, so that a repetition finds the conversation.
    pub(crate) fn request_key(&self) -> Option<RequestKey> {
        let key = self.key.clone()?;
        let mut parts: Vec<&[u8]> = vec![self.kind.as_str().as_bytes()];
        let title = self.title.as_deref().unwrap_or_default();
        parts.push(title.as_bytes());
        let participants: Vec<[u8; 12]> = self.participants.iter().map(|id| id.bytes()).collect();
        parts.extend(participants.iter().map(|id| id.as_slice()));
        Some(RequestKey {
            caller: self.creator,
            key,
            asked: Digest::of(parts),
        })
    }

    /// Why a conversation that was made under this command's key is not what it asks for.
    pub(crate) fn used_otherwise(&self) -> Error {
        let stored = self.key.as_ref().map_or("", IdempotencyKey::as_str);
        idempotency::used_otherwise(stored, CLIENT_CONVERSATION_ID)
    }
}

/// Where a page of history lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageFrom {
    /// The newest messages.
    Newest,
    /// The messages just before this `seq`.
    Before(Seq),
    /// The messages just after this `seq`.
    After(Seq),
    /// The messages written at or after this time.
    Since(Timestamp),
}

/// A page of history; its messages always rise in `seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    pub(crate) from: PageFrom,
    pub(crate) limit: usize,
}

impl PageRequest {
    /// Checks the limit; 50 when absent.
    ///
    /// # Errors
    /// `invalid`, naming `limit`.
    pub fn new(from: PageFrom, limit: Option<usize>) -> Result<PageRequest> {
        let limit = limit.unwrap_or(PAGE_DEFAULT);
        if !(1..=PAGE_MAX).contains(&limit) {
            return Err(Error::invalid("limit", format!("must be 1 to {PAGE_MAX}")));
        }
        Ok(PageRequest { from, limit })
    }
}

/// What a client has, so that it can be given the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncRequest {
    /// Conversation → newest `seq` the client holds.
    pub(crate) cursors: BTreeMap<ConversationId, Seq>,
    /// Also every conversation that `cursors` does not name.
    pub(crate) all: bool,
    /// Conversation → newest change that the client knows.
    pub(crate) changes: BTreeMap<ConversationId, Rev>,
    /// The epoch in which the client got what it holds, if it says so.
    pub(crate) epoch: Option<String>,
}

impl SyncRequest {
    /// Checks the number of cursors.
    ///
    /// # Errors
    /// `invalid`, naming `cursors`.
    pub fn new(cursors: BTreeMap<ConversationId, Seq>, all: bool) -> Result<SyncRequest> {
        if cursors.len() > SYNC_CURSORS_MAX {
            return Err(Error::invalid(
                "cursors",
                format!("at most {SYNC_CURSORS_MAX}"),
            ));
        }
        Ok(SyncRequest {
            cursors,
            all,
            changes: BTreeMap::new(),
            epoch: None,
        })
    }

    /// With the newest change that the client knows in each conversation, up to which it has the messages
    /// that it names a cursor for. Where none is named, it is not told of changes.
    ///
    /// # Errors
    /// `invalid`, naming `changes`.
    pub fn knowing(self, changes: BTreeMap<ConversationId, Rev>) -> Result<SyncRequest> {
        if changes.len() > SYNC_CURSORS_MAX {
            return Err(Error::invalid(
                "changes",
                format!("at most {SYNC_CURSORS_MAX}"),
            ));
        }
        Ok(SyncRequest { changes, ..self })
    }

    /// The same request of a client that got what it holds in this epoch.
    pub fn in_epoch(mut self, epoch: Option<String>) -> SyncRequest {
        self.epoch = epoch;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_is_between_two() {
        let (me, you, them) = (UserId::generate(), UserId::generate(), UserId::generate());
        let new = |kind, others: &[UserId], title| {
            CreateConversation::new(me, kind, others.iter().copied(), title)
        };
        assert!(new(ConversationKind::Private, &[you], None).is_ok());
        assert!(new(ConversationKind::Private, &[me, you], None).is_ok());
        assert!(new(ConversationKind::Private, &[me], None).is_err());
        assert!(new(ConversationKind::Private, &[you, them], None).is_err());
        assert!(new(ConversationKind::Private, &[you], Some("title")).is_err());
        assert!(new(ConversationKind::Group, &[], Some("title")).is_err());
        let group = new(ConversationKind::Group, &[you, them], Some(" title "));
        assert_eq!(
            group.map(|g| (g.participants.len(), g.title)),
            Ok((3, Some("title".into())))
        );
    }

    #[test]
    fn drafts_name_the_wrong_field() {
        let send = |draft| SendMessage::new(UserId::generate(), ConversationId::generate(), draft);
        let field = |draft| {
            send(draft)
                .map(|_| ())
                .map_err(|error| error.fields[0].0.to_string())
        };
        let draft = |content: &str| MessageDraft {
            content: content.into(),
            ..Default::default()
        };
        assert_eq!(field(draft("hi")), Ok(()));
        assert_eq!(field(draft("")), Err("content".into()));
        let system = MessageDraft {
            kind: Some("system".into()),
            ..draft("hi")
        };
        assert_eq!(field(system), Err("type".into()));
        let long_id = MessageDraft {
            client_msg_id: Some("x".repeat(65)),
            ..draft("hi")
        };
        assert_eq!(field(long_id), Err("clientMsgId".into()));
    }

    #[test]
    fn what_cannot_be_compared_is_taken_for_a_repetition() {
        let (sender, home) = (UserId::generate(), ConversationId::generate());
        let draft = |content: &str| MessageDraft {
            content: content.into(),
            client_msg_id: Some("x".into()),
            ..Default::default()
        };
        let command = SendMessage::new(sender, home, draft("sent")).expect("a good message");
        let stored = |edited, deleted, content| Message {
            edited,
            deleted,
            ..crate::testing::message(home, sender, content)
        };
        // An older release edited it and kept no digest, or nothing is left of it.
        for unknown in [stored(true, false, "other"), stored(true, true, "")] {
            assert_eq!(command.must_repeat(&unknown, None), Ok(()));
        }
        let edited = stored(true, false, "other");
        for (content, same) in [("sent", true), ("other", false)] {
            let sent = Some(Digest::of_sent(edited.id, content));
            assert_eq!(command.must_repeat(&edited, sent).is_ok(), same);
        }
        let other = stored(false, false, "other");
        assert!(command.must_repeat(&other, None).is_err());
    }
}
