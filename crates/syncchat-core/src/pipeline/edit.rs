//! Editing and deleting: a message keeps its place and changes its content. Its sender only.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

use super::announce;
use super::in_doubt::{Fingerprint, InDoubt, InDoubtWrites, UnderWay};
use super::recent::Recent;
use crate::clock::Clock;
use crate::command::EditMessage;
use crate::deadline::{read, write};
use crate::error::{Error, ErrorCode, Result};
use crate::files::Files;
use crate::limits::{COMMIT_TIMEOUT, EDIT_LANES};
use crate::model::{Membership, Message, MessageId, MessageKind, UserId};
use crate::ports::fleet::Fleet;
use crate::ports::store::Store;

/// Changes messages, each of them one at a time.
pub(crate) struct Edits {
    store: Arc<dyn Store>,
    fleet: Arc<dyn Fleet>,
    recent: Arc<Recent>,
    in_doubt: Arc<InDoubtWrites>,
    files: Option<Arc<Files>>,
    clock: Arc<Clock>,
    lanes: Vec<Arc<Mutex<()>>>,
}

impl Edits {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        fleet: Arc<dyn Fleet>,
        recent: Arc<Recent>,
        in_doubt: Arc<InDoubtWrites>,
        files: Option<Arc<Files>>,
        clock: Arc<Clock>,
    ) -> Arc<Edits> {
        Arc::new(Edits {
            store,
            fleet,
            recent,
            in_doubt,
            files,
            clock,
            lanes: (0..EDIT_LANES).map(|_| Arc::default()).collect(),
        })
    }

    /// Waits until no other change of this message is under way; in the order of the first polls.
    pub(crate) async fn enter(&self, message: MessageId) -> Result<OwnedMutexGuard<()>> {
        let bytes = message.bytes();
        let number = u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        let lane = Arc::clone(&self.lanes[number as usize % self.lanes.len()]);
        tokio::time::timeout(COMMIT_TIMEOUT, lane.lock_owned())
            .await
            .map_err(|_| Error::unavailable("the write takes too long"))
    }

    pub(crate) async fn edit(&self, command: EditMessage) -> Result<Arc<Message>> {
        let message = self.own_message(command.editor, command.message).await?;
        let gone = || Error::new(ErrorCode::Conflict, "the message was deleted");
        if message.deleted {
            return Err(gone());
        }
        // The words beside a picture may go; a message of words only may not become nothing.
        if message.attachments.is_empty() && command.content.trim().is_empty() {
            return Err(Error::invalid("content", "must not be empty"));
        }
        let at = self.clock.now()?;
        let under_way = self.begin(&message);
        let edited = write(self.store.edit_message(message.id, command.content, at)).await?;
        let edited = edited.map(|message| self.announce(message));
        under_way.settle();
        edited.ok_or_else(gone)
    }

    /// A message that is deleted already is announced again: the node that deleted it may not have
    /// come to it.
    pub(crate) async fn delete(&self, user: UserId, message: MessageId) -> Result<Arc<Message>> {
        let message = self.own_message(user, message).await?;
        if message.deleted {
            return Ok(self.announce(message));
        }
        let at = self.clock.now()?;
        if let Some(files) = &self.files {
            files.release(&message).await?;
        }
        let under_way = self.begin(&message);
        let deleted = write(self.store.delete_message(message.id, at)).await?;
        let deleted = deleted.map(|message| self.announce(message));
        under_way.settle();
        deleted.ok_or_else(no_such_message)
    }

    /// A change of this message, as it was read, begins.
    fn begin(&self, message: &Message) -> UnderWay {
        self.in_doubt.begin(InDoubt::Message {
            message: message.id,
            fingerprint: Fingerprint::of(message),
        })
    }

    /// The message, if the user may see it and said it.
    async fn own_message(&self, user: UserId, id: MessageId) -> Result<Message> {
        let found = read(self.store.message(id)).await?;
        let message = found.ok_or_else(no_such_message)?;
        let ids = [message.conversation];
        let place = read(self.store.memberships(user, &ids)).await?.pop();
        // The message is durable, so a head that is read after it reaches to it.
        let visible = place.as_ref().and_then(Membership::visible);
        if !visible.is_some_and(|visible| visible.shows(message.seq)) {
            return Err(no_such_message());
        }
        if message.sender != user || message.kind == MessageKind::System {
            return Err(Error::new(
                ErrorCode::Forbidden,
                "only messages of one's own can be changed",
            ));
        }
        Ok(message)
    }

    fn announce(&self, message: Message) -> Arc<Message> {
        let message = Arc::new(message);
        self.recent.forget(&message);
        announce::changed(&*self.fleet, &message);
        message
    }
}

fn no_such_message() -> Error {
    Error::not_found("message")
}
