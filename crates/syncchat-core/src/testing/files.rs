//! Records of files in the store in memory, and a storage that holds nothing but sizes.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::memory::MemoryStore;
use crate::limits::FILE_CLAIMS_MAX;
use crate::model::{FileClaim, FileId, IdempotencyKey, StoredFile, Timestamp, UserId};
use crate::ports::files::{FileLink, FileStorage, StorageError, StorageResult};
use crate::ports::store::{AddedFile, FileChange, FileStore, StoreResult};

#[async_trait]
impl FileStore for MemoryStore {
    async fn add_file(
        &self,
        file: &StoredFile,
        key: Option<&IdempotencyKey>,
    ) -> StoreResult<AddedFile> {
        let (file, key) = (file.clone(), key.cloned());
        self.writing(move |state| {
            if let Some(key) = key {
                let key = (file.owner, key.into_string());
                let first = state.file_keys.get(&key).and_then(|id| state.files.get(id));
                if let Some(first) = first.filter(|first| !first.doomed) {
                    return AddedFile::Repeated(first.clone());
                }
                state.file_keys.insert(key, file.id);
            }
            state.files.insert(file.id, file);
            AddedFile::New
        })
        .await
    }

    async fn files(&self, ids: &[FileId]) -> StoreResult<Vec<StoredFile>> {
        self.reading().await?;
        let state = self.state.lock();
        let found = ids.iter().filter_map(|id| state.files.get(id));
        Ok(found.cloned().collect())
    }

    async fn claim_files(
        &self,
        owner: UserId,
        ids: &[FileId],
        claim: FileClaim,
        due_at: Timestamp,
    ) -> StoreResult<bool> {
        let ids = ids.to_vec();
        self.writing(move |state| {
            let mut all = true;
            for id in ids {
                let file = state.files.get_mut(&id).filter(|file| {
                    file.owner == owner && !file.doomed && file.claims.len() < FILE_CLAIMS_MAX
                });
                let Some(file) = file else {
                    all = false;
                    continue;
                };
                file.claims.push(claim);
                file.due_at = Some(due_at);
                file.version += 1;
            }
            all
        })
        .await
    }

    async fn touch_files(&self, ids: &[FileId], due_at: Timestamp) -> StoreResult<()> {
        let ids = ids.to_vec();
        self.writing(move |state| {
            for id in ids {
                if let Some(file) = state.files.get_mut(&id) {
                    file.due_at = Some(due_at);
                    file.version += 1;
                }
            }
        })
        .await
    }

    async fn due_files(&self, now: Timestamp, limit: usize) -> StoreResult<Vec<StoredFile>> {
        self.reading().await?;
        let state = self.state.lock();
        let is_due = |file: &&StoredFile| file.due_at.is_some_and(|at| at <= now);
        let mut due: Vec<_> = state.files.values().filter(is_due).cloned().collect();
        due.sort_by_key(|file| file.due_at);
        due.truncate(limit);
        Ok(due)
    }

    async fn change_file(
        &self,
        id: FileId,
        version: u64,
        change: &FileChange,
    ) -> StoreResult<bool> {
        let change = change.clone();
        self.writing(move |state| {
            let file = state.files.get_mut(&id);
            let Some(file) = file.filter(|file| file.version == version) else {
                return false;
            };
            file.due_at = change.due_at;
            file.claims = change.claims;
            file.doomed |= change.doomed;
            file.version += 1;
            true
        })
        .await
    }

    async fn remove_file(&self, id: FileId) -> StoreResult<()> {
        self.writing(move |state| {
            state.files.remove(&id);
        })
        .await
    }
}

/// How many bytes of which files there are.
#[derive(Default)]
pub struct MemoryFiles {
    sizes: Mutex<BTreeMap<FileId, u64>>,
    down: Mutex<bool>,
}

impl MemoryFiles {
    /// Puts so many bytes there.
    pub fn put(&self, id: FileId, bytes: u64) {
        self.sizes.lock().insert(id, bytes);
    }

    /// Whether there are any.
    pub fn holds(&self, id: FileId) -> bool {
        self.sizes.lock().contains_key(&id)
    }

    /// Whether all calls fail from now on.
    pub fn set_down(&self, down: bool) {
        *self.down.lock() = down;
    }

    fn up(&self) -> StorageResult<()> {
        match *self.down.lock() {
            true => Err(StorageError("down".into())),
            false => Ok(()),
        }
    }

    fn link(&self, id: FileId, span: Duration) -> StorageResult<FileLink> {
        self.up()?;
        Ok(FileLink {
            url: format!("/files/{id}"),
            headers: Vec::new(),
            expires_at: Timestamp::now().plus(span),
        })
    }
}

#[async_trait]
impl FileStorage for MemoryFiles {
    async fn upload_link(&self, file: &StoredFile, span: Duration) -> StorageResult<FileLink> {
        self.link(file.id, span)
    }

    async fn download_link(&self, file: &StoredFile, span: Duration) -> StorageResult<FileLink> {
        self.link(file.id, span)
    }

    async fn size(&self, id: FileId) -> StorageResult<Option<u64>> {
        self.up()?;
        Ok(self.sizes.lock().get(&id).copied())
    }

    async fn delete(&self, id: FileId) -> StorageResult<()> {
        self.up()?;
        self.sizes.lock().remove(&id);
        Ok(())
    }

    async fn check(&self) -> StorageResult<String> {
        self.up()?;
        Ok("in memory".into())
    }
}
