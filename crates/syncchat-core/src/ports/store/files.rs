//! Records of uploads.

use async_trait::async_trait;

use super::StoreResult;
use crate::model::{FileClaim, FileId, IdempotencyKey, StoredFile, Timestamp, UserId};

/// What a look at a file found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// When to look again; `None`: when something happens.
    pub due_at: Option<Timestamp>,
    /// The claims that still mean something.
    pub claims: Vec<FileClaim>,
    /// Whether it is given up; never taken back.
    pub doomed: bool,
}

/// Whether a file was added, or was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddedFile {
    /// It is new and durable.
    New,
    /// Its owner announced this one before, under the same key.
    Repeated(StoredFile),
}

/// What is known of uploaded files. Durable and bounded as [`ConversationStore`].
///
/// A claim, a touch and a change of one file exclude each other: each raises `version`, and a
/// change happens only on the version that was looked at. So a file that is given up has no claim
/// that came after the look, and gets none.
#[async_trait]
pub trait FileStore: Send + Sync + 'static {
    /// Keeps an announced file, or finds the one that its owner announced under the same key. A file that
    /// is given up gives up its key too. Of two at once under one key one is kept and the other finds it.
    async fn add_file(
        &self,
        file: &StoredFile,
        key: Option<&IdempotencyKey>,
    ) -> StoreResult<AddedFile>;

    /// The files that exist among these, in any order.
    async fn files(&self, ids: &[FileId]) -> StoreResult<Vec<StoredFile>>;

    /// Notes that a message is about to show these files, and that they are to be looked at from
    /// `due_at` on. True if all of them are this owner's, are not doomed, and had fewer than
    /// [`crate::limits::FILE_CLAIMS_MAX`] claims; otherwise some may be claimed all the same.
    async fn claim_files(
        &self,
        owner: UserId,
        ids: &[FileId],
        claim: FileClaim,
        due_at: Timestamp,
    ) -> StoreResult<bool>;

    /// Has these files looked at from `due_at` on.
    async fn touch_files(&self, ids: &[FileId], due_at: Timestamp) -> StoreResult<()>;

    /// Files to be looked at by `now`, those due for longest first, at most `limit`.
    async fn due_files(&self, now: Timestamp, limit: usize) -> StoreResult<Vec<StoredFile>>;

    /// Keeps what a look found; false if the file has another version by now, or is gone.
    async fn change_file(&self, id: FileId, version: u64, change: &FileChange)
    -> StoreResult<bool>;

    /// Forgets a file; unknown: nothing.
    async fn remove_file(&self, id: FileId) -> StoreResult<()>;
}
