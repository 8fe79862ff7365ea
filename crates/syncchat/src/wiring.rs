//! The whole program, put together in one function that reads top to bottom. Nothing else makes
//! its own dependencies.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use http::HeaderValue;
use syncchat_api::{Api, CorsOrigins};
use syncchat_backplane::{Backplane, ConnectError};
use syncchat_core::ports::fleet;
use syncchat_core::ports::registry::Registry;
use syncchat_core::ports::store::Store;
use syncchat_core::{Chat, Clock, Files, People};
use syncchat_engine::{Engine, Fleet, NodeTag, Origins, Peers, Tickets};
use syncchat_files::{LinkKeys, OpenFiles};
use syncchat_gateway::{Gateway, TracedFleet, Traces};
use syncchat_identity::{Identity, IdentityConfig, Secret};
use syncchat_store::OpenError;

use crate::config::sources::ConfigError;
use crate::config::{AllowedOrigins, Config};
use crate::connections::Room;
use crate::fate::Fates;

/// A node, wired, not yet listening.
pub struct Node {
    /// The truth.
    pub store: Arc<dyn Store>,
    /// The store's time.
    pub clock: Arc<Clock>,
    /// The other nodes.
    pub fleet: Arc<dyn fleet::Fleet>,
    /// Who is calling.
    pub identity: Arc<Identity>,
    /// The rules.
    pub chat: Arc<Chat>,
    /// Chat on sockets.
    pub gateway: Arc<Gateway>,
    /// Sockets.
    pub engine: Engine<Gateway>,
    /// REST.
    pub api: axum::Router,
    /// What messages show.
    pub files: Arc<Files>,
    /// Their links, where this node serves them.
    pub file_links: Option<axum::Router>,
    /// Where links lead otherwise.
    pub file_origin: Option<String>,
    /// What became of messages here.
    pub fates: Arc<Fates>,
    /// Where the other nodes are.
    pub registry: Arc<dyn Registry>,
    /// Under which name they find this one.
    pub tag: NodeTag,
}

impl Node {
    /// Waits until a task has ended that the node needs as long as it lives, and names it.
    pub async fn failed(&self) -> &'static str {
        tokio::select! {
            task = self.gateway.failed() => task,
            task = self.engine.failed() => task,
            task = self.fleet.failed() => task,
            task = self.store.failed() => task,
        }
    }
}

/// Why there is no node.
#[derive(Debug, thiserror::Error)]
pub enum WiringError {
    /// A setting that cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store.
    #[error("--store: {0}")]
    Store(#[from] OpenError),
    /// The file storage.
    #[error("--files: {0}")]
    Files(#[from] syncchat_files::OpenError),
    /// The fleet.
    #[error("--backplane: {0}")]
    Backplane(#[from] ConnectError),
    /// Ids cannot be made.
    #[error("no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}

/// What the keys are for by which nodes know one another.
const NODE_KEYS: &str = "syncchat: requests passed from node to node";
/// What the keys of links to files are for.
const FILE_LINKS: &str = "syncchat: links to files";

/// The fleet's registry, as the engine asks it.
struct KnownNodes(Arc<dyn Registry>);

impl Peers for KnownNodes {
    fn find(&self, node: NodeTag) -> Pin<Box<dyn Future<Output = Option<SocketAddr>> + Send + '_>> {
        Box::pin(async move { self.0.find(node.as_str()).await })
    }
}

/// URLs become drivers, drivers become crates.
///
/// # Errors
/// What cannot be opened, or made sense of.
pub async fn build(config: &Config, room: Room) -> Result<Node, WiringError> {
    // First, so that a folder made for the secret is closed to others before anything lies in it.
    let secrets = config.signing.load()?;
    let keys = node_keys(&secrets);
    let identity = identity_config(config, secrets.clone())?;
    let store = syncchat_store::open(config.store.expose()).await?;
    let Backplane {
        fleet,
        presence,
        limiter,
        registry,
    } = syncchat_backplane::connect(config.backplane.expose(), config.rates, &config.node_id)
        .await?;

    presence.note_in(Arc::clone(&store) as _);
    let clock = Clock::system();

    let traces = Traces::new();
    let fleet: Arc<dyn fleet::Fleet> = TracedFleet::new(fleet, Arc::clone(&traces));

    let identity = Identity::new(
        Arc::clone(&store) as _,
        Arc::clone(&limiter),
        Arc::clone(&fleet),
        &identity,
    );
    let identity = Arc::new(identity.with_clock(Arc::clone(&clock)));
    let OpenFiles {
        storage,
        router: file_links,
        origin: file_origin,
    } = open_files(config, &secrets).await?;
    let files = Files::new(Arc::clone(&store), storage, config.files.rules.clone());
    let files = Arc::new(files.with_clock(Arc::clone(&clock)));
    let chat = Chat::with_clock(
        Arc::clone(&store),
        Arc::clone(&fleet),
        Some(Arc::clone(&files)),
        Arc::clone(&clock),
    );
    let people = Arc::new(People::new(Arc::clone(&store) as _, Arc::clone(&presence)));

    let origins = api_origins(config)?;
    let api = syncchat_api::router(
        Api {
            chat: Arc::clone(&chat),
            files: Arc::clone(&files),
            identity: Arc::clone(&identity),
            people: Arc::clone(&people),
            limiter: Arc::clone(&limiter),
        },
        &origins,
    );
    let file_links = file_links.map(|links| match syncchat_api::cors(&origins) {
        Some(cors) => links.layer(cors),
        None => links,
    });
    let gateway = Gateway::start(
        syncchat_gateway::Parts {
            chat: Arc::clone(&chat),
            people: Arc::clone(&people),
            identity: Arc::clone(&identity),
            accounts: Arc::clone(&store) as _,
            fleet: Arc::clone(&fleet),
            presence,
            limiter,
            traces: Arc::clone(&traces),
        },
        syncchat_gateway::Config {
            node_id: config.node_id.clone(),
            delivery: Default::default(),
        },
    );
    let tag = NodeTag::random()?;
    let fates = Fates {
        node_id: config.node_id.clone(),
        traces,
        tickets: Tickets::new(tag, &keys),
    };
    let engine = Engine::in_fleet(
        engine_config(config, room.sessions),
        Arc::clone(&gateway),
        Fleet {
            node: tag,
            keys,
            peers: Arc::new(KnownNodes(Arc::clone(&registry))),
            forwards_max: room.forwards,
        },
    );
    Ok(Node {
        store,
        clock,
        fleet,
        identity,
        chat,
        gateway,
        engine,
        api,
        files,
        file_links,
        file_origin,
        fates: Arc::new(fates),
        registry,
        tag,
    })
}

/// What nodes know one another by. All share the signing secrets, in the same order.
pub fn node_keys(secrets: &[Secret]) -> Vec<[u8; 32]> {
    let keys = secrets.iter().map(|secret| secret.derive(NODE_KEYS));
    keys.collect()
}

/// The file storage, its links signed with keys of its own.
///
/// # Errors
/// A folder that cannot be used, or settings that contradict one another.
pub async fn open_files(
    config: &Config,
    secrets: &[Secret],
) -> Result<OpenFiles, syncchat_files::OpenError> {
    let keys = secrets.iter().map(|secret| secret.derive(FILE_LINKS));
    let keys = LinkKeys::new(keys.collect())
        .ok_or_else(|| syncchat_files::OpenError::BadAddress("no key to sign links with".into()))?;
    let files = &config.files;
    syncchat_files::open(&files.address, keys, files.s3_keys.clone()).await
}

fn identity_config(config: &Config, secrets: Vec<Secret>) -> Result<IdentityConfig, ConfigError> {
    let mut secrets = secrets.into_iter();
    let secret = secrets
        .next()
        .ok_or_else(|| ConfigError::new("--jwt-secret", "there is none"))?;
    Ok(IdentityConfig {
        secret,
        former_secrets: secrets.collect(),
        access_ttl: config.access_ttl,
        refresh_ttl: config.refresh_ttl,
        bcrypt_cost: config.bcrypt_cost,
    })
}

fn engine_config(config: &Config, sessions_max: usize) -> syncchat_engine::Config {
    syncchat_engine::Config {
        ping_interval: config.ping_interval,
        ping_timeout: config.ping_timeout,
        max_payload: config.max_payload,
        origins: match &config.cors_origins {
            AllowedOrigins::Same => Origins::Same,
            AllowedOrigins::Any => Origins::Any,
            AllowedOrigins::List(list) => Origins::List(list.clone()),
        },
        max_sessions: sessions_max,
        outbound_limit: config.outbound_limit,
        slow_timeout: config.slow_timeout,
        ..syncchat_engine::Config::default()
    }
}

fn api_origins(config: &Config) -> Result<CorsOrigins, ConfigError> {
    Ok(match &config.cors_origins {
        AllowedOrigins::Same => CorsOrigins::SameOrigin,
        AllowedOrigins::Any => CorsOrigins::Any,
        AllowedOrigins::List(list) => {
            let list: Result<Vec<HeaderValue>, _> =
                list.iter().map(|origin| origin.parse()).collect();
            CorsOrigins::List(list.map_err(|error| ConfigError::new("--cors-origins", error))?)
        }
    })
}
