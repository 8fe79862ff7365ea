//! Which history the store holds, and whether its data agree with themselves.

use async_trait::async_trait;

use super::StoreResult;
use crate::model::{EpochId, Lineage};

/// What a deep check looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// The conversation's `last_seq` is below the newest `seq` of its log. To be mended from the log.
    HeadBehindLog,
    /// The conversation's `last_seq` is beyond the newest `seq` of its log: messages are gone. It
    /// cannot be mended: a backup that was made at one moment is needed.
    HeadBeyondLog,
    /// A member has no cursors, or has some beyond the end of the log.
    CursorsMissing,
    /// A message shows a file whose record does not name the message, so that the file may be swept.
    FileUnclaimed,
    /// An index is missing.
    IndexMissing,
    /// A deleted message still holds its text or names its files.
    DeletedWithText,
}

impl Flaw {
    /// A few words, for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Flaw::HeadBehindLog => "heads behind their logs",
            Flaw::HeadBeyondLog => "heads beyond their logs",
            Flaw::CursorsMissing => "members without cursors",
            Flaw::FileUnclaimed => "files without claims",
            Flaw::IndexMissing => "indexes missing",
            Flaw::DeletedWithText => "deleted messages with text",
        }
    }
}

/// What a deep check found of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeepFinding {
    /// The kind.
    pub flaw: Flaw,
    /// Conversations, members, attachments, indexes or deleted messages that were looked at.
    pub looked_at: u64,
    /// Those of them that are flawed.
    pub found: u64,
    /// Those of the flawed ones that were mended.
    pub repaired: u64,
}

/// Which history the store holds: see [`crate::epoch`]. Durable and bounded as
/// [`ConversationStore`].
#[async_trait]
pub trait HistoryStore: Send + Sync + 'static {
    /// The epochs of the history, the newest first.
    async fn lineage(&self) -> StoreResult<Lineage>;

    /// Adds an epoch as the newest one, and gives what [`Self::lineage`] gives from then on. Of more
    /// than [`crate::limits::EPOCHS_KEPT_MAX`] the oldest are forgotten.
    async fn add_epoch(&self, epoch: EpochId) -> StoreResult<Lineage>;

    /// Forgets all epochs but this new one: the store was restored, and holds a history that no
    /// client has seen the end of.
    async fn replace_lineage(&self, epoch: EpochId) -> StoreResult<()>;
}
