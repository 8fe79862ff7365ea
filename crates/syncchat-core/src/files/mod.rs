//! Files: announced, uploaded to the storage by a link, shown by messages, downloaded by a link,
//! and swept when nothing shows them.
//!
//! # Why a file that is shown is never swept
//! The log alone says what shows a file; its record says which messages to look for there, and
//! when. Whoever sends a message [claims](Files::claim) its files first: the claim stands in the
//! record before the write of the message begins. The [sweep](Files::sweep) reads the record, then
//! the log, and gives a file up only
//! - on the version of the record that it read, so that no claim came since;
//! - if none of the claimed messages is in the log and shows it;
//! - if those that are not in the log were claimed so long ago that their write can land no more
//!   ([`crate::limits::FILE_CLAIM_SPAN`]).
//!
//! A file that is given up cannot be claimed, so what is deleted then is shown by nothing, and
//! nothing will come to show it. The other way round, whatever ends a file's use has it looked at:
//! a claim, a deleted message, and the time after which a file nobody sent is thrown away.

mod rules;
mod sweep;

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::Instant;

pub use self::rules::{AnnounceFile, ContentTypes, FileRules};

use crate::clock::Clock;
use crate::command::SendMessage;
use crate::deadline::{read, write};
use crate::error::{Error, ErrorCode, Result};
use crate::limits::{
    COMMIT_TIMEOUT, FILE_CLAIM_SPAN, FILE_CLAIM_USE_SPAN, FILE_STORAGE_TIMEOUT, UPLOAD_LINK_SPAN,
};
use crate::metrics;
use crate::model::idempotency::IDEMPOTENCY_KEY_HEADER;
use crate::model::{
    Attachment, ConversationId, FileClaim, FileId, IdempotencyKey, Membership, Message, MessageId,
    MessageKind, StoredFile, UserId, idempotency,
};
use crate::ports::files::{FileLink, FileStorage, StorageResult};
use crate::ports::store::{AddedFile, Store};

/// Records of files in the store, their bytes in the storage.
pub struct Files {
    store: Arc<dyn Store>,
    storage: Arc<dyn FileStorage>,
    rules: FileRules,
    clock: Arc<Clock>,
}

/// Files that are about to be shown by a message.
pub(crate) struct Claimed {
    pub(crate) attachments: Vec<Attachment>,
    until: Instant,
}

impl Claimed {
    /// Whether the write of the message may still begin: a node that stood still in between does
    /// not write on a claim that may have been given up meanwhile.
    pub(crate) fn is_fresh(&self) -> bool {
        Instant::now() < self.until
    }
}

impl Files {
    /// Over this store and this storage.
    pub fn new(store: Arc<dyn Store>, storage: Arc<dyn FileStorage>, rules: FileRules) -> Files {
        Files {
            store,
            storage,
            rules,
            clock: Clock::system(),
        }
    }

    /// The same, knowing the time from this clock.
    pub fn with_clock(self, clock: Arc<Clock>) -> Files {
        Files { clock, ..self }
    }

    /// Keeps the record of a file that is to come, and says where to put its bytes. Under a key that the
    /// owner used before: the file announced then, with a fresh link, which changes no bytes that are there.
    ///
    /// # Errors
    /// `too_large`; `invalid`, naming `contentType`; `conflict`, naming the key, if it was used for another
    /// file; `unavailable`: a repetition under the same key finds out.
    pub async fn announce(
        &self,
        owner: UserId,
        file: AnnounceFile,
    ) -> Result<(StoredFile, FileLink)> {
        self.rules.admit(&file)?;
        let now = self.clock.now()?;
        let key = file.key;
        let file = StoredFile {
            id: FileId::generate(),
            owner,
            name: file.name,
            size: file.size,
            content_type: file.content_type,
            created_at: now,
            due_at: Some(now.plus(self.rules.unsent_span)),
            claims: Vec::new(),
            doomed: false,
            version: 0,
        };
        let span = UPLOAD_LINK_SPAN.min(self.rules.unsent_span);
        let link = within(self.storage.upload_link(&file, span)).await?;
        match write(self.store.add_file(&file, key.as_ref())).await? {
            AddedFile::New => {
                metrics::file_announced();
                Ok((file, link))
            }
            AddedFile::Repeated(first) => {
                let same = first.name == file.name
                    && first.size == file.size
                    && first.content_type == file.content_type;
                if !same {
                    let key = key.as_ref().map_or("", IdempotencyKey::as_str);
                    return Err(idempotency::used_otherwise(key, IDEMPOTENCY_KEY_HEADER));
                }
                metrics::resend_answered();
                let link = within(self.storage.upload_link(&first, span)).await?;
                Ok((first, link))
            }
        }
    }

    /// A link to download a file: for who is in a conversation where a message shows it that they
    /// may see, and for its owner as long as it was not taken back.
    ///
    /// # Errors
    /// `not_found`; `unavailable`.
    pub async fn download(&self, user: UserId, id: FileId) -> Result<FileLink> {
        let no_such = || Error::not_found("file");
        let found = read(self.store.files(&[id])).await?.pop();
        let file = found.filter(|file| !file.doomed).ok_or_else(no_such)?;
        let messages = self.messages(&file).await?;
        let taken_back = !messages.is_empty() && !messages.iter().any(|m| file.is_shown_by(m));
        let owns = file.owner == user && !taken_back;
        if !owns && !self.sees(user, &file, &messages).await? {
            return Err(no_such());
        }
        within(self.storage.download_link(&file, self.rules.link_span)).await
    }

    /// Whether the storage could take a file now, and what it is.
    ///
    /// # Errors
    /// Why not.
    pub async fn check(&self) -> StorageResult<String> {
        self.storage.check().await
    }

    /// Looks at the files of a message that is about to be sent, and claims them for it.
    ///
    /// # Errors
    /// `invalid`, naming `attachments` or `type`; `unavailable`.
    pub(crate) async fn claim(&self, command: &SendMessage) -> Result<Claimed> {
        let until = Instant::now() + FILE_CLAIM_USE_SPAN;
        let ids = &command.attachments;
        let found = read(self.store.files(ids)).await?;
        let files = in_order(ids, &found, command.sender)?;
        if command.kind == MessageKind::Image && files.iter().any(|file| !is_image(file)) {
            return Err(Error::invalid("type", "an image message shows images only"));
        }
        for file in &files {
            self.must_be_whole(file).await?;
        }
        let now = self.clock.now()?;
        let claim = FileClaim {
            message: command.id,
            at: now,
        };
        let due_at = now.plus(FILE_CLAIM_SPAN);
        let claimed = self.store.claim_files(command.sender, ids, claim, due_at);
        if !write(claimed).await? {
            return Err(Error::invalid(
                "attachments",
                "a file is gone, or is shown by too many messages",
            ));
        }
        Ok(Claimed {
            attachments: files.iter().map(|file| file.attachment()).collect(),
            until,
        })
    }

    /// Has the files of a message looked at that is about to be deleted. Called before the
    /// deletion, so that no file is forgotten whatever happens in between; the look comes when the
    /// deletion is done or has failed.
    pub(crate) async fn release(&self, message: &Message) -> Result<()> {
        let ids: Vec<FileId> = message.attachments.iter().map(|a| a.file).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let due_at = self.clock.now()?.plus(2 * COMMIT_TIMEOUT);
        write(self.store.touch_files(&ids, due_at)).await
    }

    async fn must_be_whole(&self, file: &StoredFile) -> Result<()> {
        match within(self.storage.size(file.id)).await? {
            Some(size) if size == file.size => Ok(()),
            Some(size) => Err(Error::invalid(
                "attachments",
                format!("{} has {size} bytes instead of {}", file.name, file.size),
            )),
            None => Err(Error::invalid(
                "attachments",
                format!("{} was not uploaded", file.name),
            )),
        }
    }

    /// The messages that were to show it, as far as they are in the log.
    async fn messages(&self, file: &StoredFile) -> Result<Vec<Message>> {
        let ids: Vec<MessageId> = file.claims.iter().map(|claim| claim.message).collect();
        match ids.is_empty() {
            true => Ok(Vec::new()),
            false => read(self.store.messages(&ids)).await,
        }
    }

    /// Whether the user is in a conversation where one of these messages shows the file, and may
    /// see that message.
    async fn sees(&self, user: UserId, file: &StoredFile, messages: &[Message]) -> Result<bool> {
        let shown: Vec<&Message> = messages.iter().filter(|m| file.is_shown_by(m)).collect();
        let conversations: BTreeSet<ConversationId> =
            shown.iter().map(|message| message.conversation).collect();
        if conversations.is_empty() {
            return Ok(false);
        }
        let ids: Vec<ConversationId> = conversations.into_iter().collect();
        let places = read(self.store.memberships(user, &ids)).await?;
        // The messages were read before the places, so their heads reach to them.
        Ok(shown.iter().any(|message| {
            let here = |place: &&Membership| place.conversation == message.conversation;
            let visible = places.iter().find(here).and_then(Membership::visible);
            visible.is_some_and(|visible| visible.shows(message.seq))
        }))
    }
}

/// The files in the order asked, if all are there and this owner's.
fn in_order<'a>(
    ids: &[FileId],
    found: &'a [StoredFile],
    owner: UserId,
) -> Result<Vec<&'a StoredFile>> {
    let usable = |file: &&StoredFile| file.owner == owner && !file.doomed;
    ids.iter()
        .map(|id| {
            found
                .iter()
                .find(|file| file.id == *id)
                .filter(usable)
                .ok_or_else(|| Error::invalid("attachments", format!("no such file: {id}")))
        })
        .collect()
}

fn is_image(file: &StoredFile) -> bool {
    file.content_type.starts_with("image/")
}

/// Waits for the storage, for so long.
async fn within<T>(call: impl Future<Output = StorageResult<T>>) -> Result<T> {
    let failure = match tokio::time::timeout(FILE_STORAGE_TIMEOUT, call).await {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer in {FILE_STORAGE_TIMEOUT:?}"),
    };
    tracing::warn!(failure, "the file storage does not answer");
    metrics::file_storage_failed();
    Err(Error::new(
        ErrorCode::Unavailable,
        "the file storage does not answer",
    ))
}
