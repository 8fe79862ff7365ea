//! MongoDB, 4.4 or later, as a replica set.
//!
//! Writes are acknowledged when most members have them in their journals; reads are of what most
//! members hold, from the primary. What must happen together happens in one transaction
//! ([`append`], [`conversations`], [`tokens`]). `users`, `conversations` and `messages` hold the
//! fields of the outside contract and more; `members`, `files`, `nodes`,
//! `refreshTokens`, `refreshFamilies` and `syncchat` are this crate's own.
//!
//! Opening waits for nothing, so that a node can start before its database; indexes and older
//! data are `migrate`'s to see to, and [`Store::check`] says when that has not been done.

mod append;
mod behind;
mod connect;
mod conversations;
mod deep;
mod documents;
mod errors;
mod files;
mod heal;
mod history;
mod indexes;
mod members;
mod messages;
mod migrate;
mod nodes;
mod orphans;
mod primary;
mod query;
mod tokens;
mod transaction;
mod union;
mod updates;
mod users;

use std::time::Duration;

use async_trait::async_trait;
use mongodb::bson::{Document, doc};
use mongodb::{Client, Collection, Database};
use syncchat_core::model::{
    Account, Conversation, ConversationId, EpochId, FileClaim, FileId, IdempotencyKey, Lineage,
    Membership, Message, MessageId, Rev, Seq, StoredFile, Timestamp, User, UserId,
};
use syncchat_core::ports::store::{
    AccountStore, AccountWrite, AddedFile, Addition, Append, Appended, Audience,
    ConversationCursor, ConversationStore, CreatedConversation, CursorAdvance, Cursors,
    DeepFinding, FileChange, FileStore, HistoryStore, LogRange, Mark, NamedMessage,
    NewConversation, NodeNote, NodeStore, NotedNode, PresenceChange, RefreshToken, Rotation, Store,
    StoreError, StoreResult,
};

use self::documents::{
    ConversationRecord, FamilyRecord, FileRecord, MemberRecord, MessageRecord, TokenRecord,
    UserRecord,
};
use self::errors::{matched, store_error};
use self::primary::Primary;
use crate::OpenError;
use crate::limits::{APPEND_TIMEOUT, CALL_TIMEOUT};
use crate::observe::{describe, observe};

const KIND: &str = "mongodb";

/// A store in a replica set.
pub(crate) struct MongoStore {
    client: Client,
    database: Database,
    users: Collection<UserRecord>,
    conversations: Collection<ConversationRecord>,
    messages: Collection<MessageRecord>,
    members: Collection<MemberRecord>,
    tokens: Collection<TokenRecord>,
    families: Collection<FamilyRecord>,
    files: Collection<FileRecord>,
    nodes: Collection<Document>,
    /// What this crate keeps about the database itself.
    own: Collection<Document>,
    /// Under which name the server knows this program's connections.
    app_name: String,
    orphans_looked_for: orphans::LastLook,
    primary: Primary,
}

impl MongoStore {
    /// Reads the address. No server is asked yet.
    pub(crate) async fn open(url: &str) -> Result<MongoStore, OpenError> {
        describe(KIND);
        metrics::describe_counter!(
            "syncchat_mongodb_conflicts_total",
            "transactions that met another one and were tried again"
        );
        metrics::describe_counter!(
            "syncchat_mongodb_orphans_ended_total",
            "transactions of a gateway that is gone, ended so that others can write"
        );
        metrics::describe_counter!(
            "syncchat_mongodb_primary_moved_total",
            "calls that were given up because another member became primary"
        );
        let (client, database, app_name, primary) = connect::connect(url).await?;
        Ok(MongoStore {
            users: database.collection("users"),
            conversations: database.collection("conversations"),
            messages: database.collection("messages"),
            members: database.collection("members"),
            tokens: database.collection("refreshTokens"),
            families: database.collection("refreshFamilies"),
            files: database.collection("files"),
            nodes: database.collection("nodes"),
            own: database.collection("syncchat"),
            app_name,
            orphans_looked_for: orphans::LastLook::default(),
            primary,
            client,
            database,
        })
    }

    /// One call, bounded and measured.
    async fn call<T>(
        &self,
        name: &'static str,
        work: impl Future<Output = StoreResult<T>> + Send,
    ) -> StoreResult<T> {
        self.call_within(CALL_TIMEOUT, name, work).await
    }

    async fn call_within<T>(
        &self,
        bound: Duration,
        name: &'static str,
        work: impl Future<Output = StoreResult<T>> + Send,
    ) -> StoreResult<T> {
        let work = self.primary.unless_it_moves(Box::pin(work));
        observe(KIND, name, bound, Box::pin(work)).await
    }
}

#[async_trait]
impl ConversationStore for MongoStore {
    async fn append(&self, appends: Vec<Append>) -> StoreResult<Vec<Appended>> {
        let work = append::append(self, &appends);
        self.call_within(APPEND_TIMEOUT, "append", work).await
    }

    async fn append_behind(&self, append: Append) -> StoreResult<Appended> {
        let work = append::append_behind(self, &append);
        self.call_within(APPEND_TIMEOUT, "append_behind", work)
            .await
    }

    async fn conversations(&self, ids: &[ConversationId]) -> StoreResult<Vec<Conversation>> {
        self.call("conversations", conversations::by_ids(self, ids))
            .await
    }

    async fn marks(&self, ids: &[ConversationId]) -> StoreResult<Vec<Mark>> {
        self.call("marks", conversations::marks(self, ids)).await
    }

    async fn changes(
        &self,
        after: &[(ConversationId, Rev)],
        limit: usize,
    ) -> StoreResult<Vec<Vec<Message>>> {
        self.call("changes", messages::changes(self, after, limit))
            .await
    }

    async fn messages_by_client_id(
        &self,
        keys: &[(ConversationId, UserId, String)],
    ) -> StoreResult<Vec<NamedMessage>> {
        let work = messages::by_client_ids(self, keys);
        self.call("messages_by_client_id", work).await
    }

    async fn message(&self, id: MessageId) -> StoreResult<Option<Message>> {
        let ids = [id];
        let mut found = self.call("message", messages::by_ids(self, &ids)).await?;
        Ok(found.pop())
    }

    async fn messages(&self, ids: &[MessageId]) -> StoreResult<Vec<Message>> {
        self.call("messages", messages::by_ids(self, ids)).await
    }

    async fn log(
        &self,
        ranges: &[(ConversationId, LogRange)],
        limit: usize,
    ) -> StoreResult<Vec<Vec<Message>>> {
        self.call("log", messages::log(self, ranges, limit)).await
    }

    async fn edit_message(
        &self,
        id: MessageId,
        content: String,
        at: Timestamp,
    ) -> StoreResult<Option<Message>> {
        let work = messages::edit(self, id, &content, at);
        self.call("edit_message", work).await
    }

    async fn delete_message(&self, id: MessageId, at: Timestamp) -> StoreResult<Option<Message>> {
        self.call("delete_message", messages::delete(self, id, at))
            .await
    }

    async fn create_conversation(&self, new: NewConversation) -> StoreResult<CreatedConversation> {
        self.call("create_conversation", conversations::create(self, &new))
            .await
    }

    async fn conversations_of(
        &self,
        user: UserId,
        after: Option<ConversationCursor>,
        limit: usize,
    ) -> StoreResult<Vec<Conversation>> {
        let work = conversations::of_user(self, user, after, limit);
        self.call("conversations_of", work).await
    }

    async fn memberships_of(&self, users: &[UserId]) -> StoreResult<Vec<Vec<Membership>>> {
        self.call("memberships_of", members::of_users(self, users))
            .await
    }

    async fn additions_since(&self, since: Timestamp, limit: usize) -> StoreResult<Vec<Addition>> {
        self.call(
            "additions_since",
            members::additions_since(self, since, limit),
        )
        .await
    }

    async fn memberships(
        &self,
        user: UserId,
        ids: &[ConversationId],
    ) -> StoreResult<Vec<Membership>> {
        self.call("memberships", members::of_user_in(self, user, ids))
            .await
    }

    async fn unread(&self, places: &[Membership]) -> StoreResult<Vec<u64>> {
        self.call("unread", members::unread(self, places)).await
    }

    async fn advance_cursors(
        &self,
        advances: &[CursorAdvance],
    ) -> StoreResult<Vec<Option<(Cursors, bool)>>> {
        self.call("advance_cursors", members::advance(self, advances))
            .await
    }

    async fn readers(
        &self,
        conversation: ConversationId,
        seq: Seq,
        limit: usize,
    ) -> StoreResult<Vec<Cursors>> {
        let work = members::readers(self, conversation, seq, limit);
        self.call("readers", work).await
    }

    async fn furthest_delivered(&self, conversation: ConversationId) -> StoreResult<Vec<Cursors>> {
        let work = members::furthest_delivered(self, conversation);
        self.call("furthest_delivered", work).await
    }

    async fn audiences(
        &self,
        of: &[(ConversationId, Seq)],
        limit: usize,
    ) -> StoreResult<Vec<Audience>> {
        self.call("audiences", members::audiences(self, of, limit))
            .await
    }

    async fn contacts(&self, users: &[UserId], limit: usize) -> StoreResult<Vec<Vec<UserId>>> {
        self.call("contacts", conversations::contacts(self, users, limit))
            .await
    }
}

#[async_trait]
impl AccountStore for MongoStore {
    async fn create_account(&self, account: &Account) -> StoreResult<AccountWrite> {
        self.call("create_account", users::create(self, account))
            .await
    }

    async fn account_by_login(&self, login: &str) -> StoreResult<Option<Account>> {
        self.call("account_by_login", users::by_login(self, login))
            .await
    }

    async fn users(&self, ids: &[UserId]) -> StoreResult<Vec<User>> {
        self.call("users", users::by_ids(self, ids)).await
    }

    async fn search_users(&self, prefix: &str, limit: usize) -> StoreResult<Vec<User>> {
        self.call("search_users", users::search(self, prefix, limit))
            .await
    }

    async fn update_profile(
        &self,
        id: UserId,
        username: Option<&str>,
        avatar: Option<&str>,
    ) -> StoreResult<AccountWrite> {
        let work = users::update_profile(self, id, username, avatar);
        self.call("update_profile", work).await
    }

    async fn set_presence(&self, changes: &[PresenceChange]) -> StoreResult<()> {
        self.call("set_presence", users::set_presence(self, changes))
            .await
    }

    async fn add_refresh_token(&self, token: &RefreshToken) -> StoreResult<()> {
        self.call("add_refresh_token", tokens::add(self, token))
            .await
    }

    async fn rotate_refresh_token(
        &self,
        hash: [u8; 32],
        next: &RefreshToken,
        salt: [u8; 16],
        now: Timestamp,
    ) -> StoreResult<Rotation> {
        let work = tokens::rotate(self, hash, next, salt, now);
        self.call("rotate_refresh_token", work).await
    }

    async fn revoke_refresh_token(
        &self,
        hash: [u8; 32],
    ) -> StoreResult<Option<(UserId, [u8; 16])>> {
        self.call("revoke_refresh_token", tokens::revoke(self, hash))
            .await
    }

    async fn families_of_tokens(
        &self,
        hashes: &[[u8; 32]],
    ) -> StoreResult<Vec<([u8; 32], [u8; 16])>> {
        let work = tokens::families_of(self, hashes);
        self.call("families_of_tokens", work).await
    }

    async fn revoked_families(
        &self,
        families: &[[u8; 16]],
    ) -> StoreResult<Vec<(UserId, [u8; 16])>> {
        let work = tokens::revoked_among(self, families);
        self.call("revoked_families", work).await
    }

    async fn refresh_family_active(&self, family: [u8; 16]) -> StoreResult<bool> {
        let work = tokens::family_active(self, family);
        self.call("refresh_family_active", work).await
    }

    async fn delete_expired_tokens(&self, now: Timestamp, limit: usize) -> StoreResult<usize> {
        let work = tokens::delete_expired(self, now, limit);
        self.call("delete_expired_tokens", work).await
    }
}

#[async_trait]
impl FileStore for MongoStore {
    async fn add_file(
        &self,
        file: &StoredFile,
        key: Option<&IdempotencyKey>,
    ) -> StoreResult<AddedFile> {
        self.call("add_file", files::add(self, file, key)).await
    }

    async fn files(&self, ids: &[FileId]) -> StoreResult<Vec<StoredFile>> {
        self.call("files", files::by_ids(self, ids)).await
    }

    async fn claim_files(
        &self,
        owner: UserId,
        ids: &[FileId],
        claim: FileClaim,
        due_at: Timestamp,
    ) -> StoreResult<bool> {
        let work = files::claim(self, owner, ids, claim, due_at);
        self.call("claim_files", work).await
    }

    async fn touch_files(&self, ids: &[FileId], due_at: Timestamp) -> StoreResult<()> {
        self.call("touch_files", files::touch(self, ids, due_at))
            .await
    }

    async fn due_files(&self, now: Timestamp, limit: usize) -> StoreResult<Vec<StoredFile>> {
        self.call("due_files", files::due(self, now, limit)).await
    }

    async fn change_file(
        &self,
        id: FileId,
        version: u64,
        change: &FileChange,
    ) -> StoreResult<bool> {
        let work = files::change(self, id, version, change);
        self.call("change_file", work).await
    }

    async fn remove_file(&self, id: FileId) -> StoreResult<()> {
        self.call("remove_file", files::remove(self, id)).await
    }
}

#[async_trait]
impl NodeStore for MongoStore {
    async fn note_node(&self, note: &NodeNote) -> StoreResult<bool> {
        self.call("note_node", nodes::note(self, note)).await
    }

    async fn noted_nodes(&self, fresh: Duration) -> StoreResult<Vec<NotedNode>> {
        self.call("noted_nodes", nodes::noted(self, fresh)).await
    }

    async fn noted_people(
        &self,
        parts: &[u8],
        fresh: Duration,
    ) -> StoreResult<Vec<(String, Vec<UserId>)>> {
        let work = nodes::people(self, parts, fresh);
        self.call("noted_people", work).await
    }

    async fn take_note(&self, process: &str, age: Duration) -> StoreResult<Option<Vec<UserId>>> {
        self.call("take_note", nodes::take(self, process, age))
            .await
    }

    async fn shown_online(&self, limit: usize) -> StoreResult<Vec<UserId>> {
        self.call("shown_online", users::shown_online(self, limit))
            .await
    }
}

#[async_trait]
impl HistoryStore for MongoStore {
    async fn lineage(&self) -> StoreResult<Lineage> {
        self.call("lineage", history::lineage(self)).await
    }

    async fn add_epoch(&self, epoch: EpochId) -> StoreResult<Lineage> {
        self.call("add_epoch", history::add(self, epoch)).await
    }

    async fn replace_lineage(&self, epoch: EpochId) -> StoreResult<()> {
        self.call("replace_lineage", history::replace(self, epoch))
            .await
    }
}

#[async_trait]
impl Store for MongoStore {
    /// Not bounded as other calls are: an index over many messages takes its time. Killed in the
    /// middle, it goes on when it is called again.
    async fn migrate(&self) -> StoreResult<Vec<String>> {
        migrate::migrate(self).await
    }

    /// Not bounded as other calls are, only each of its steps.
    async fn check_deep(&self, repair: bool) -> StoreResult<Vec<DeepFinding>> {
        deep::check(self, repair).await
    }

    async fn check(&self) -> StoreResult<String> {
        self.call("check", check(self)).await
    }

    async fn time(&self) -> StoreResult<Timestamp> {
        self.call("time", time(self)).await
    }

    fn kind(&self) -> &'static str {
        KIND
    }
}

/// The primary's clock: by `$$NOW` it also judges by itself.
async fn time(store: &MongoStore) -> StoreResult<Timestamp> {
    let hello = store.database.run_command(doc! { "hello": 1 }).await;
    let hello = hello.map_err(|error| store_error(&error))?;
    let time = hello.get_datetime("localTime");
    time.map(|time| documents::timestamp(*time))
        .map_err(|_| StoreError::Damaged("mongod does not say what time it is".into()))
}

/// A write that most members take, since that is what an append needs.
async fn check(store: &MongoStore) -> StoreResult<String> {
    let unavailable = |error| store_error(&error);
    let hello = store
        .database
        .run_command(doc! { "hello": 1 })
        .await
        .map_err(unavailable)?;
    let Ok(set) = hello.get_str("setName") else {
        let text = "mongod is no member of a replica set, which transactions need".into();
        return Err(StoreError::Unavailable(text));
    };
    migrate::check(store).await?;
    let wait = CALL_TIMEOUT.as_millis() as i64;
    let probe = doc! {
        "q": { "_id": "probe" },
        "u": { "$set": { "checkedAt": mongodb::bson::DateTime::now() } },
        "upsert": true,
    };
    let reply = store
        .database
        .run_command(doc! {
            "update": store.own.name(),
            "updates": [probe],
            "maxTimeMS": wait,
            "writeConcern": { "w": "majority", "j": true, "wtimeout": wait },
        })
        .await
        .map_err(unavailable)?;
    matched(&reply)?;
    let build = store
        .database
        .run_command(doc! { "buildInfo": 1 })
        .await
        .map_err(unavailable)?;
    Ok(format!(
        "mongodb {}, replica set {set}, primary {}",
        build.get_str("version").unwrap_or("of unknown version"),
        hello.get_str("me").unwrap_or("unknown"),
    ))
}
