//! Where the bytes of files lie: what a file storage promises.

use std::time::Duration;

use async_trait::async_trait;

use crate::model::{FileId, StoredFile, Timestamp};

/// The storage did not answer, not in time, or not with what was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[error("file storage unavailable: {0}")]
pub struct StorageError(pub String);

/// The result of a storage's call.
pub type StorageResult<T> = Result<T, StorageError>;

/// Where a client may put or get the bytes of one file, for a while, without saying who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLink {
    /// An absolute address, or a path of any node of this fleet, from the first slash.
    pub url: String,
    /// Headers that must be sent, as they are.
    pub headers: Vec<(String, String)>,
    /// From when on it is refused.
    pub expires_at: Timestamp,
}

/// Keeps bytes under the ids of files.
#[async_trait]
pub trait FileStorage: Send + Sync + 'static {
    /// A link to `PUT` the bytes of this file: once, exactly so many. What is not all of it is not
    /// kept.
    async fn upload_link(&self, file: &StoredFile, span: Duration) -> StorageResult<FileLink>;

    /// A link to `GET` them, under their name and type. A browser shows pictures, sounds and films
    /// and saves everything else.
    async fn download_link(&self, file: &StoredFile, span: Duration) -> StorageResult<FileLink>;

    /// How many bytes there are; `None` if there is no such file.
    async fn size(&self, id: FileId) -> StorageResult<Option<u64>>;

    /// Deletes the bytes, and what is left of uploads that did not end; nothing there: nothing.
    async fn delete(&self, id: FileId) -> StorageResult<()>;

    /// Whether it could take a file now, and what it is.
    async fn check(&self) -> StorageResult<String>;
}
