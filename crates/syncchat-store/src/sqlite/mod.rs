//! The embedded store: one SQLite file in write-ahead mode.
//!
//! One thread writes ([`writer`]); a few connections read ([`readers`]). Opening the file makes or
//! upgrades its tables ([`schema`]), since no other release can be using them: there is no state
//! in which an opened file still needs to be migrated.

mod append;
mod connection;
mod conversations;
mod deep;
mod errors;
mod files;
mod heal;
mod history;
mod members;
mod messages;
mod readers;
mod rows;
mod schema;
mod tokens;
mod users;
mod writer;

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use parking_lot::Mutex;
use rusqlite::Connection;
use syncchat_core::model::{
    Account, Conversation, ConversationId, EpochId, FileClaim, FileId, IdempotencyKey, Lineage,
    Membership, Message, MessageId, Rev, Seq, StoredFile, Timestamp, User, UserId,
};
use syncchat_core::ports::store::{
    AccountStore, AccountWrite, AddedFile, Addition, Append, Appended, Audience,
    ConversationCursor, ConversationStore, CreatedConversation, CursorAdvance, Cursors,
    DeepFinding, FileChange, FileStore, HistoryStore, LogRange, Mark, NamedMessage,
    NewConversation, NodeStore, PresenceChange, RefreshToken, Rotation, Store, StoreError,
    StoreResult,
};

use self::errors::store_error;
use self::readers::Readers;
use self::writer::Writer;
use crate::OpenError;
use crate::limits::{APPEND_TIMEOUT, CALL_TIMEOUT, MIGRATION_STEP_TIMEOUT};
use crate::observe::{describe, observe};

const KIND: &str = "sqlite";

/// A store in a file.
pub(crate) struct SqliteStore {
    path: PathBuf,
    writer: Writer,
    readers: Readers,
    /// What opening had to do to the tables, until `migrate` tells it.
    upgraded: Mutex<Vec<String>>,
}

impl SqliteStore {
    /// Opens or makes the file, and brings its tables to this release's version.
    pub(crate) async fn open(path: PathBuf) -> Result<SqliteStore, OpenError> {
        describe(KIND);
        metrics::describe_histogram!(
            "syncchat_sqlite_group_writes",
            "writes that shared one sync of the disk"
        );
        let opened = tokio::task::spawn_blocking(move || open_blocking(&path));
        opened.await.map_err(|_| {
            OpenError::Store(StoreError::Unavailable("opening was interrupted".into()))
        })?
    }

    async fn read<T, F>(&self, call: &'static str, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        observe(KIND, call, CALL_TIMEOUT, Box::pin(self.readers.run(work))).await
    }

    /// A write that may take long, such as making an index.
    async fn write_slowly<T, F>(&self, call: &'static str, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let work = Box::pin(self.writer.run(work));
        observe(KIND, call, MIGRATION_STEP_TIMEOUT, work).await
    }

    async fn write<T, F>(&self, call: &'static str, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        observe(KIND, call, CALL_TIMEOUT, Box::pin(self.writer.run(work))).await
    }
}

fn open_blocking(path: &Path) -> Result<SqliteStore, OpenError> {
    let unavailable = |error: std::io::Error| {
        let text = format!("{}: {error}", path.display());
        OpenError::Store(StoreError::Unavailable(text))
    };
    connection::prepare_file(path).map_err(unavailable)?;
    let mut connection =
        connection::open_writer(path).map_err(|error| OpenError::Store(store_error(&error)))?;
    let upgraded = schema::upgrade(&mut connection)?;
    Ok(SqliteStore {
        path: path.into(),
        writer: Writer::start(connection).map_err(unavailable)?,
        readers: Readers::new(path.into()),
        upgraded: Mutex::new(upgraded),
    })
}

#[async_trait]
impl ConversationStore for SqliteStore {
    async fn append(&self, appends: Vec<Append>) -> StoreResult<Vec<Appended>> {
        let write = self
            .writer
            .run(move |connection| append::append(connection, &appends));
        observe(KIND, "append", APPEND_TIMEOUT, Box::pin(write)).await
    }

    async fn conversations(&self, ids: &[ConversationId]) -> StoreResult<Vec<Conversation>> {
        let ids = ids.to_vec();
        self.read("conversations", move |c| conversations::by_ids(c, &ids))
            .await
    }

    async fn marks(&self, ids: &[ConversationId]) -> StoreResult<Vec<Mark>> {
        let ids = ids.to_vec();
        self.read("marks", move |c| conversations::marks(c, &ids))
            .await
    }

    async fn changes(
        &self,
        after: &[(ConversationId, Rev)],
        limit: usize,
    ) -> StoreResult<Vec<Vec<Message>>> {
        let after = after.to_vec();
        self.read("changes", move |c| messages::changes(c, &after, limit))
            .await
    }

    async fn messages_by_client_id(
        &self,
        keys: &[(ConversationId, UserId, String)],
    ) -> StoreResult<Vec<NamedMessage>> {
        let keys = keys.to_vec();
        self.read("messages_by_client_id", move |c| {
            messages::by_client_ids(c, &keys)
        })
        .await
    }

    async fn message(&self, id: MessageId) -> StoreResult<Option<Message>> {
        self.read("message", move |c| messages::by_id(c, id)).await
    }

    async fn messages(&self, ids: &[MessageId]) -> StoreResult<Vec<Message>> {
        let ids = ids.to_vec();
        self.read("messages", move |c| messages::by_ids(c, &ids))
            .await
    }

    async fn log(
        &self,
        ranges: &[(ConversationId, LogRange)],
        limit: usize,
    ) -> StoreResult<Vec<Vec<Message>>> {
        let ranges = ranges.to_vec();
        self.read("log", move |c| messages::log(c, &ranges, limit))
            .await
    }

    async fn edit_message(
        &self,
        id: MessageId,
        content: String,
        at: Timestamp,
    ) -> StoreResult<Option<Message>> {
        self.write("edit_message", move |c| messages::edit(c, id, &content, at))
            .await
    }

    async fn delete_message(&self, id: MessageId, at: Timestamp) -> StoreResult<Option<Message>> {
        self.write("delete_message", move |c| messages::delete(c, id, at))
            .await
    }

    async fn create_conversation(&self, new: NewConversation) -> StoreResult<CreatedConversation> {
        self.write("create_conversation", move |c| {
            conversations::create(c, &new)
        })
        .await
    }

    async fn conversations_of(
        &self,
        user: UserId,
        after: Option<ConversationCursor>,
        limit: usize,
    ) -> StoreResult<Vec<Conversation>> {
        self.read("conversations_of", move |c| {
            conversations::of_user(c, user, after, limit)
        })
        .await
    }

    async fn memberships_of(&self, users: &[UserId]) -> StoreResult<Vec<Vec<Membership>>> {
        let users = users.to_vec();
        self.read("memberships_of", move |c| {
            let of = |user: &UserId| members::of_user(c, *user);
            users.iter().map(of).collect()
        })
        .await
    }

    async fn additions_since(&self, since: Timestamp, limit: usize) -> StoreResult<Vec<Addition>> {
        self.read("additions_since", move |c| {
            members::additions_since(c, since, limit)
        })
        .await
    }

    async fn memberships(
        &self,
        user: UserId,
        ids: &[ConversationId],
    ) -> StoreResult<Vec<Membership>> {
        let ids = ids.to_vec();
        self.read("memberships", move |c| members::of_user_in(c, user, &ids))
            .await
    }

    async fn unread(&self, places: &[Membership]) -> StoreResult<Vec<u64>> {
        let places = places.to_vec();
        self.read("unread", move |c| members::unread(c, &places))
            .await
    }

    async fn advance_cursors(
        &self,
        advances: &[CursorAdvance],
    ) -> StoreResult<Vec<Option<(Cursors, bool)>>> {
        let advances = advances.to_vec();
        self.write("advance_cursors", move |c| members::advance(c, &advances))
            .await
    }

    async fn readers(
        &self,
        conversation: ConversationId,
        seq: Seq,
        limit: usize,
    ) -> StoreResult<Vec<Cursors>> {
        self.read("readers", move |c| {
            members::readers(c, conversation, seq, limit)
        })
        .await
    }

    async fn furthest_delivered(&self, conversation: ConversationId) -> StoreResult<Vec<Cursors>> {
        self.read("furthest_delivered", move |c| {
            members::furthest_delivered(c, conversation)
        })
        .await
    }

    async fn audiences(
        &self,
        of: &[(ConversationId, Seq)],
        limit: usize,
    ) -> StoreResult<Vec<Audience>> {
        let of = of.to_vec();
        self.read("audiences", move |c| {
            of.iter()
                .map(|&(conversation, seq)| {
                    Ok(Audience {
                        readers: members::readers(c, conversation, seq, limit)?,
                        delivered: members::furthest_delivered(c, conversation)?,
                    })
                })
                .collect()
        })
        .await
    }

    async fn contacts(&self, users: &[UserId], limit: usize) -> StoreResult<Vec<Vec<UserId>>> {
        let users = users.to_vec();
        self.read("contacts", move |c| {
            conversations::contacts(c, &users, limit)
        })
        .await
    }
}

#[async_trait]
impl AccountStore for SqliteStore {
    async fn create_account(&self, account: &Account) -> StoreResult<AccountWrite> {
        let account = account.clone();
        self.write("create_account", move |c| users::create(c, &account))
            .await
    }

    async fn account_by_login(&self, login: &str) -> StoreResult<Option<Account>> {
        let login = login.to_owned();
        self.read("account_by_login", move |c| users::by_login(c, &login))
            .await
    }

    async fn users(&self, ids: &[UserId]) -> StoreResult<Vec<User>> {
        let ids = ids.to_vec();
        self.read("users", move |c| users::by_ids(c, &ids)).await
    }

    async fn search_users(&self, prefix: &str, limit: usize) -> StoreResult<Vec<User>> {
        let prefix = prefix.to_owned();
        self.read("search_users", move |c| users::search(c, &prefix, limit))
            .await
    }

    async fn update_profile(
        &self,
        id: UserId,
        username: Option<&str>,
        avatar: Option<&str>,
    ) -> StoreResult<AccountWrite> {
        let (username, avatar) = (username.map(str::to_owned), avatar.map(str::to_owned));
        self.write("update_profile", move |c| {
            users::update_profile(c, id, username.as_deref(), avatar.as_deref())
        })
        .await
    }

    async fn set_presence(&self, changes: &[PresenceChange]) -> StoreResult<()> {
        let changes = changes.to_vec();
        self.write("set_presence", move |c| users::set_presence(c, &changes))
            .await
    }

    async fn add_refresh_token(&self, token: &RefreshToken) -> StoreResult<()> {
        let token = token.clone();
        self.write("add_refresh_token", move |c| tokens::add(c, &token))
            .await
    }

    async fn rotate_refresh_token(
        &self,
        hash: [u8; 32],
        next: &RefreshToken,
        salt: [u8; 16],
        now: Timestamp,
    ) -> StoreResult<Rotation> {
        let next = next.clone();
        self.write("rotate_refresh_token", move |c| {
            tokens::rotate(c, hash, &next, salt, now)
        })
        .await
    }

    async fn revoke_refresh_token(
        &self,
        hash: [u8; 32],
    ) -> StoreResult<Option<(UserId, [u8; 16])>> {
        self.write("revoke_refresh_token", move |c| tokens::revoke(c, hash))
            .await
    }

    async fn families_of_tokens(
        &self,
        hashes: &[[u8; 32]],
    ) -> StoreResult<Vec<([u8; 32], [u8; 16])>> {
        let hashes = hashes.to_vec();
        self.read("families_of_tokens", move |c| {
            tokens::families_of(c, &hashes)
        })
        .await
    }

    async fn revoked_families(
        &self,
        families: &[[u8; 16]],
    ) -> StoreResult<Vec<(UserId, [u8; 16])>> {
        let families = families.to_vec();
        self.read("revoked_families", move |c| {
            tokens::revoked_among(c, &families)
        })
        .await
    }

    async fn refresh_family_active(&self, family: [u8; 16]) -> StoreResult<bool> {
        self.read("refresh_family_active", move |c| {
            tokens::family_active(c, family)
        })
        .await
    }

    async fn delete_expired_tokens(&self, now: Timestamp, limit: usize) -> StoreResult<usize> {
        self.write("delete_expired_tokens", move |c| {
            tokens::delete_expired(c, now, limit)
        })
        .await
    }
}

#[async_trait]
impl FileStore for SqliteStore {
    async fn add_file(
        &self,
        file: &StoredFile,
        key: Option<&IdempotencyKey>,
    ) -> StoreResult<AddedFile> {
        let (file, key) = (file.clone(), key.cloned());
        self.write("add_file", move |c| files::add(c, &file, key.as_ref()))
            .await
    }

    async fn files(&self, ids: &[FileId]) -> StoreResult<Vec<StoredFile>> {
        let ids = ids.to_vec();
        self.read("files", move |c| files::by_ids(c, &ids)).await
    }

    async fn claim_files(
        &self,
        owner: UserId,
        ids: &[FileId],
        claim: FileClaim,
        due_at: Timestamp,
    ) -> StoreResult<bool> {
        let ids = ids.to_vec();
        self.write("claim_files", move |c| {
            files::claim(c, owner, &ids, claim, due_at)
        })
        .await
    }

    async fn touch_files(&self, ids: &[FileId], due_at: Timestamp) -> StoreResult<()> {
        let ids = ids.to_vec();
        self.write("touch_files", move |c| files::touch(c, &ids, due_at))
            .await
    }

    async fn due_files(&self, now: Timestamp, limit: usize) -> StoreResult<Vec<StoredFile>> {
        self.read("due_files", move |c| files::due(c, now, limit))
            .await
    }

    async fn change_file(
        &self,
        id: FileId,
        version: u64,
        change: &FileChange,
    ) -> StoreResult<bool> {
        let change = change.clone();
        self.write("change_file", move |c| {
            files::change(c, id, version, &change)
        })
        .await
    }

    async fn remove_file(&self, id: FileId) -> StoreResult<()> {
        self.write("remove_file", move |c| files::remove(c, id))
            .await
    }
}

// One process has it to itself.
impl NodeStore for SqliteStore {}

#[async_trait]
impl HistoryStore for SqliteStore {
    async fn lineage(&self) -> StoreResult<Lineage> {
        self.read("lineage", history::lineage).await
    }

    async fn add_epoch(&self, epoch: EpochId) -> StoreResult<Lineage> {
        self.write("add_epoch", move |c| history::add(c, epoch))
            .await
    }

    async fn replace_lineage(&self, epoch: EpochId) -> StoreResult<()> {
        self.write("replace_lineage", move |c| history::replace(c, epoch))
            .await
    }
}

#[async_trait]
impl Store for SqliteStore {
    /// Opening did it already; this tells what it was, once.
    async fn migrate(&self) -> StoreResult<Vec<String>> {
        Ok(std::mem::take(&mut *self.upgraded.lock()))
    }

    async fn check(&self) -> StoreResult<String> {
        let at = Timestamp::now().millis();
        self.write("check", move |c| {
            c.prepare_cached(
                "INSERT INTO probe (id, checked_at) VALUES (1, ?1)
                 ON CONFLICT (id) DO UPDATE SET checked_at = ?1",
            )?
            .execute([at])
        })
        .await?;
        Ok(format!(
            "sqlite {}, {}",
            rusqlite::version(),
            self.path.display()
        ))
    }

    async fn failed(&self) -> &'static str {
        self.writer.failed().await
    }

    async fn check_deep(&self, repair: bool) -> StoreResult<Vec<DeepFinding>> {
        deep::check(self, repair).await
    }

    fn kind(&self) -> &'static str {
        KIND
    }
}

#[cfg(test)]
mod tests;
