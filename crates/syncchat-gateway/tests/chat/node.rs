//! A node of its own for each test: a real engine on a TCP port, over a SQLite file.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use syncchat_backplane::{LimiterRates, LocalFleet};
use syncchat_core::command::CreateConversation;
use syncchat_core::model::{Account, ConversationId, ConversationKind, Timestamp, User, UserId};
use syncchat_core::ports::fleet::{Fleet, FleetEvent, FleetListener, Presence, Topic};
use syncchat_core::ports::limiter::Limiter;
use syncchat_core::ports::store::{
    AccountStore, AccountWrite, PresenceChange, RefreshToken, Rotation, Store, StoreError,
    StoreResult,
};
use syncchat_core::testing::MemoryStore;
use syncchat_core::{Chat, People};
use syncchat_delivery::Config as DeliveryConfig;
use syncchat_engine::{Config as EngineConfig, Engine};
use syncchat_gateway::{Config, Gateway, Parts, Traces};
use syncchat_identity::{Identity, IdentityConfig, RegisterRequest, Secret};
use tempfile::TempDir;
use tokio::net::TcpSocket;

use crate::client::Client;

/// What a test may set.
pub(crate) struct Settings {
    pub(crate) access_ttl: Duration,
    pub(crate) rates: LimiterRates,
    pub(crate) outbound_limit: usize,
    pub(crate) delivery: DeliveryConfig,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            access_ttl: Duration::from_secs(900),
            rates: LimiterRates::OFF,
            outbound_limit: 1 << 20,
            delivery: DeliveryConfig::default(),
        }
    }
}

pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) chat: Arc<Chat>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) fleet: Arc<FaultyFleet>,
    pub(crate) accounts: Arc<FaultyAccounts>,
    pub(crate) store: Arc<dyn Store>,
    // Holds the file until the end.
    _folder: Option<TempDir>,
}

/// Somebody with an account.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) id: UserId,
    pub(crate) token: String,
}

impl Node {
    pub(crate) async fn new() -> Node {
        Node::with(Settings::default()).await
    }

    pub(crate) async fn with(settings: Settings) -> Node {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite:{}", folder.path().join("chat.db").display());
        let store = syncchat_store::open(&url).await.expect("a store");
        Node::over(store, settings, Some(folder)).await
    }

    /// A node over a store in memory, whose writes can be made to end unknown.
    pub(crate) async fn in_memory(settings: Settings) -> (Node, Arc<MemoryStore>) {
        let store = Arc::new(MemoryStore::new(0));
        let node = Node::over(Arc::clone(&store) as Arc<dyn Store>, settings, None).await;
        (node, store)
    }

    /// Another node over the same store.
    pub(crate) async fn beside(&self) -> Node {
        Node::over(Arc::clone(&self.store), Settings::default(), None).await
    }

    async fn over(store: Arc<dyn Store>, settings: Settings, folder: Option<TempDir>) -> Node {
        let local = Arc::new(LocalFleet::new(settings.rates));
        let fleet = Arc::new(FaultyFleet::new(Arc::clone(&local)));
        let accounts = Arc::new(FaultyAccounts {
            accounts: store.clone(),
            away: AtomicBool::new(false),
            answers_lost: AtomicBool::new(false),
        });
        let faulty_accounts = Arc::clone(&accounts);
        let accounts: Arc<dyn AccountStore> = accounts;
        let limiter: Arc<dyn Limiter> = local.clone();
        let presence: Arc<dyn Presence> = local;
        let shared: Arc<dyn Fleet> = fleet.clone();
        let identity = Arc::new(Identity::new(
            Arc::clone(&accounts),
            Arc::clone(&limiter),
            Arc::clone(&shared),
            &IdentityConfig {
                secret: Secret::new([7; 32]).expect("long enough"),
                former_secrets: Vec::new(),
                access_ttl: settings.access_ttl,
                refresh_ttl: Duration::from_secs(3_600),
                bcrypt_cost: 4,
            },
        ));
        let doubts = Arc::clone(&identity);
        tokio::spawn(async move { doubts.settle_doubts().await });
        let chat = Chat::new(Arc::clone(&store), Arc::clone(&shared));
        let parts = Parts {
            chat: Arc::clone(&chat),
            people: Arc::new(People::new(Arc::clone(&accounts), Arc::clone(&presence))),
            identity: Arc::clone(&identity),
            accounts,
            fleet: shared,
            presence,
            limiter,
            traces: Traces::new(),
        };
        let config = Config {
            node_id: "test-node".into(),
            delivery: settings.delivery,
        };
        let gateway = Gateway::start(parts, config);
        let engine = EngineConfig {
            outbound_limit: settings.outbound_limit,
            ..EngineConfig::default()
        };
        let address = serve(Engine::new(engine, Arc::clone(&gateway)));
        Node {
            address,
            chat,
            identity,
            gateway,
            fleet,
            accounts: faulty_accounts,
            store,
            _folder: folder,
        }
    }

    pub(crate) async fn person(&self, name: &str) -> Person {
        let request = RegisterRequest {
            username: name.into(),
            email: format!("{name}@example.org"),
            password: "correct horse".into(),
        };
        let address = self.address.ip();
        let session = self.identity.register(request, address).await;
        let session = session.expect("an account");
        Person {
            id: session.user.id,
            token: session.access_token,
        }
    }

    pub(crate) async fn people<const N: usize>(&self, names: [&str; N]) -> [Person; N] {
        let mut people = Vec::new();
        for name in names {
            people.push(self.person(name).await);
        }
        people.try_into().unwrap_or_else(|_| unreachable!())
    }

    pub(crate) async fn group(&self, creator: &Person, others: &[&Person]) -> ConversationId {
        let others = others.iter().map(|person| person.id);
        let command =
            CreateConversation::new(creator.id, ConversationKind::Group, others, Some("group"))
                .expect("a command");
        let (view, _) = self.chat.create_conversation(command).await.expect("made");
        view.conversation.id
    }

    /// A socket of this person that is let in.
    pub(crate) async fn connect(&self, person: &Person) -> Client {
        let mut client = Client::open(self.address).await;
        client.join(Some(&person.token)).await.expect("let in");
        client.next("authenticated").await;
        client
    }
}

/// Serves on a port of its own. The kernel buffers little, so that a client that does not read is
/// soon noticed.
fn serve(engine: Engine<Gateway>) -> SocketAddr {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_send_buffer_size(16 * 1024).expect("a size");
    socket
        .bind("127.0.0.1:0".parse().expect("an address"))
        .expect("a port");
    let listener = socket.listen(1024).expect("a listener");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        loop {
            let Ok((stream, peer)) = listener.accept().await else {
                return;
            };
            let engine = engine.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let engine = engine.clone();
                    async move { Ok::<_, Infallible>(engine.handle(request, peer.ip()).await) }
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades();
                let _ = connection.await;
            });
        }
    });
    address
}

/// A fleet of one that can be made to lose what is said.
pub(crate) struct FaultyFleet {
    local: Arc<LocalFleet>,
    /// Of a hundred announcements of messages, so many are lost.
    pub(crate) loss: AtomicU64,
    /// Every announcement of an addition is lost.
    pub(crate) loses_additions: AtomicBool,
    /// Other nodes cannot be heard.
    pub(crate) deaf: AtomicBool,
    /// Announcements of revoked log-ins are lost.
    pub(crate) hides_revocations: AtomicBool,
    /// A defect is met whenever a conversation is no longer listened to, which shards say.
    pub(crate) broken: AtomicBool,
    /// Nobody is told that they were removed.
    pub(crate) lose_partings: AtomicBool,
    count: AtomicU64,
}

impl FaultyFleet {
    fn new(local: Arc<LocalFleet>) -> FaultyFleet {
        FaultyFleet {
            local,
            loss: AtomicU64::new(0),
            loses_additions: AtomicBool::new(false),
            deaf: AtomicBool::new(false),
            hides_revocations: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            lose_partings: AtomicBool::new(false),
            count: AtomicU64::new(0),
        }
    }
}

#[async_trait]
impl Fleet for FaultyFleet {
    fn listen(&self, listener: Arc<dyn FleetListener>) {
        self.local.listen(listener);
    }

    fn publish(&self, event: FleetEvent) {
        let loss = self.loss.load(Ordering::Relaxed);
        // Spread by a step that shares no factor with a hundred.
        let dice = self.count.fetch_add(37, Ordering::Relaxed) % 100;
        let is_lost = match event {
            FleetEvent::Committed { .. } => dice < loss,
            FleetEvent::Joined { .. } => self.loses_additions.load(Ordering::Relaxed),
            FleetEvent::Revoked { .. } => self.hides_revocations.load(Ordering::Relaxed),
            FleetEvent::Parted { .. } => self.lose_partings.load(Ordering::Relaxed),
            _ => false,
        };
        if !is_lost {
            self.local.publish(event);
        }
    }

    async fn subscribe(&self, topics: Vec<Topic>) {
        self.local.subscribe(topics).await;
    }

    fn unsubscribe(&self, topics: Vec<Topic>) {
        let by_shard = matches!(topics[..], [Topic::Conversation(_), ..]);
        assert!(!by_shard || !self.broken.load(Ordering::Relaxed), "planted");
        self.local.unsubscribe(topics);
    }

    fn connected(&self) -> bool {
        !self.deaf.load(Ordering::Relaxed)
    }

    async fn failed(&self) -> &'static str {
        self.local.failed().await
    }

    async fn close(&self) {
        self.local.close().await;
    }

    async fn check(&self) -> Result<String, String> {
        self.local.check().await
    }

    fn kind(&self) -> &'static str {
        self.local.kind()
    }
}

/// Accounts that can be made not to be found for a while.
pub(crate) struct FaultyAccounts {
    accounts: Arc<dyn Store>,
    /// The store does not answer.
    pub(crate) away: AtomicBool,
    /// Refresh tokens are written, and the answers do not come.
    pub(crate) answers_lost: AtomicBool,
}

impl FaultyAccounts {
    fn answer<T>(&self, result: StoreResult<T>) -> StoreResult<T> {
        match self.answers_lost.load(Ordering::Relaxed) {
            true => Err(StoreError::Unavailable("the answer is lost".into())),
            false => result,
        }
    }
}

#[async_trait]
impl AccountStore for FaultyAccounts {
    async fn users(&self, ids: &[UserId]) -> StoreResult<Vec<User>> {
        match self.away.load(Ordering::Relaxed) {
            true => Err(StoreError::Unavailable("it is away".into())),
            false => self.accounts.users(ids).await,
        }
    }

    async fn create_account(&self, account: &Account) -> StoreResult<AccountWrite> {
        self.accounts.create_account(account).await
    }

    async fn account_by_login(&self, login: &str) -> StoreResult<Option<Account>> {
        self.accounts.account_by_login(login).await
    }

    async fn search_users(&self, prefix: &str, limit: usize) -> StoreResult<Vec<User>> {
        self.accounts.search_users(prefix, limit).await
    }

    async fn update_profile(
        &self,
        id: UserId,
        username: Option<&str>,
        avatar: Option<&str>,
    ) -> StoreResult<AccountWrite> {
        self.accounts.update_profile(id, username, avatar).await
    }

    async fn set_presence(&self, changes: &[PresenceChange]) -> StoreResult<()> {
        self.accounts.set_presence(changes).await
    }

    async fn add_refresh_token(&self, token: &RefreshToken) -> StoreResult<()> {
        self.accounts.add_refresh_token(token).await
    }

    async fn rotate_refresh_token(
        &self,
        hash: [u8; 32],
        next: &RefreshToken,
        salt: [u8; 16],
        now: Timestamp,
    ) -> StoreResult<Rotation> {
        let rotation = self.accounts.rotate_refresh_token(hash, next, salt, now);
        self.answer(rotation.await)
    }

    async fn revoke_refresh_token(
        &self,
        hash: [u8; 32],
    ) -> StoreResult<Option<(UserId, [u8; 16])>> {
        self.answer(self.accounts.revoke_refresh_token(hash).await)
    }

    async fn families_of_tokens(
        &self,
        hashes: &[[u8; 32]],
    ) -> StoreResult<Vec<([u8; 32], [u8; 16])>> {
        self.answer(self.accounts.families_of_tokens(hashes).await)
    }

    async fn revoked_families(
        &self,
        families: &[[u8; 16]],
    ) -> StoreResult<Vec<(UserId, [u8; 16])>> {
        self.answer(self.accounts.revoked_families(families).await)
    }

    async fn refresh_family_active(&self, family: [u8; 16]) -> StoreResult<bool> {
        self.accounts.refresh_family_active(family).await
    }

    async fn delete_expired_tokens(&self, now: Timestamp, limit: usize) -> StoreResult<usize> {
        self.accounts.delete_expired_tokens(now, limit).await
    }
}
