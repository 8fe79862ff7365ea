//! `syncchat serve`: runs a node, from the first check to the last goodbye.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use syncchat_core::limits::{CLOCK_COMPARE_PAUSE, FILE_SWEEP_BATCH};
use syncchat_core::ports::store::{Store, StoreError};
use syncchat_core::{Chat, Clock, Error, ErrorCode, Files, Supervisor};
use syncchat_engine::DisconnectReason;
use syncchat_files::Address;
use syncchat_identity::Identity;
use syncchat_identity::limits::EXPIRED_TOKENS_BATCH;
use tokio::time::{sleep, timeout};

use super::Failure;
use crate::admin::Admin;
use crate::config::Config;
use crate::config::secrets::SigningSecrets;
use crate::connections::{Room, raise_descriptor_limit};
use crate::health::{Health, Phase};
use crate::limits::{
    COMMITS_END_TIMEOUT, CROSSING_REQUESTS_WAIT, FAILED_DRAIN_MAX, FAILED_END_TIMEOUT,
    FILE_SWEEP_INTERVAL, MIGRATE_RETRY, REQUESTS_END_TIMEOUT, SESSIONS_END_TIMEOUT, SWEEP_INTERVAL,
};
use crate::listeners::{Connections, bind};
use crate::public::Public;
use crate::shutdown::Signals;
use crate::wiring::{self, Node};
use crate::{cli, metrics, page};

/// The exit code of a node that ended because one of its tasks had: `EX_SOFTWARE` of `sysexits.h`. A
/// service manager that restarts what failed starts a new one.
const EXIT_FAILED: u8 = 70;

/// Why a node ends.
enum End {
    /// This signal told it to.
    Told(&'static str),
    /// The store was restored, so that it holds another history than this node knows.
    Replaced,
    /// This task has ended, which the node cannot live without.
    Failed(&'static str),
}

/// Runs until it is told to stop or a task of its own has failed, and then until all sockets were
/// told goodbye.
///
/// # Errors
/// The node cannot start.
pub async fn run(config: Config) -> Result<ExitCode, Failure> {
    let signals = Signals::catch()?;
    serve(config, signals, Supervisor::new()).await
}

/// Runs a node, with the tasks of the program itself under this supervisor.
async fn serve(
    config: Config,
    mut signals: Signals,
    supervisor: Supervisor,
) -> Result<ExitCode, Failure> {
    let recorder = metrics::start(&config.node_id)?;
    let bound = bind("--listen", config.listen)?;
    let address = bound.address();
    let admin_listener = config
        .admin_listen
        .map(|address| bind("--admin-listen", address))
        .transpose()?;
    let room = room(&config);
    warn_of_lonely_settings(&config);
    for variable in &config.passed_over {
        tracing::debug!(variable, "passed over: Kubernetes tells of a Service by it");
    }
    let node = wiring::build(&config, room).await?;

    let health = Health::new();
    supervisor.spawn("upkeep of metrics", metrics::keep_up(recorder.clone()));
    let admin = Connections::new(&supervisor);
    if let Some(listener) = admin_listener {
        let health = Arc::clone(&health);
        let metrics = recorder;
        admin.serve(listener.listen()?, Arc::new(Admin { health, metrics }));
    }
    let public = Connections::new(&supervisor);
    let behind = Public {
        engine: node.engine.clone(),
        api: node.api.clone(),
        file_links: node.file_links.clone(),
        page: page::router(node.file_origin.as_deref()),
        fates: Arc::clone(&node.fates),
        health: Arc::clone(&health),
        trusted_proxies: config.trusted_proxies.clone(),
        room,
    };
    tokio::select! {
        prepared = prepare(&node, &health) => prepared?,
        signal = signals.next() => {
            tracing::info!(signal, "told to stop before the store was ready");
            return Ok(ExitCode::SUCCESS);
        }
    }
    tokio::select! {
        begun = begin_epoch(&node.chat) => begun?,
        signal = signals.next() => {
            tracing::info!(signal, "told to stop before the store was ready");
            return Ok(ExitCode::SUCCESS);
        }
    }
    let watch = Arc::clone(&health).watch_store(Arc::clone(&node.store));
    supervisor.spawn("watch of the store", watch);
    let (clock, store) = (Arc::clone(&node.clock), Arc::clone(&node.store));
    let comparison = Arc::clone(&health).watch_clock(clock, store);
    supervisor.spawn("comparison of clocks", comparison);
    let tokens = sweep(Arc::clone(&node.identity));
    supervisor.spawn("sweep of tokens", tokens);
    let log_ins = settle_log_ins(Arc::clone(&node.identity));
    supervisor.spawn("log-ins in doubt", log_ins);
    let rest = file_sweep_interval(config.files.rules.unsent_span);
    let files = sweep_files(Arc::clone(&node.files), rest);
    supervisor.spawn("sweep of files", files);
    // Before there are sessions that other nodes may be asked for.
    let reached_at = config.advertise.unwrap_or(address);
    node.registry.announce(node.tag.as_str(), reached_at).await;
    public.serve(bound.listen()?, Arc::new(behind));
    health.enter(Phase::Serving);
    tracing::info!(%address, node = config.node_id, store = node.store.kind(), sessions = room.sessions, "ready");
    announce(format!("syncchat listening on http://{address}"))?;

    let end = tokio::select! {
        signal = signals.next() => End::Told(signal),
        () = node.chat.epochs().until_replaced() => End::Replaced,
        task = node.failed() => End::Failed(task),
        task = supervisor.failed() => End::Failed(task),
    };
    signals.end_at_next();
    match end {
        End::Told(signal) => {
            tracing::info!(signal, "draining");
            drain(&node, &health, &public, config.drain).await;
            tracing::info!("drained");
            Ok(ExitCode::SUCCESS)
        }
        End::Replaced => {
            tracing::error!(
                "the store was restored, and this node knows another history: draining"
            );
            drain(&node, &health, &public, config.drain).await;
            Err(Failure::from(HistoryReplaced))
        }
        End::Failed(task) => {
            tracing::error!(task, "a task has ended, and the node ends with it");
            health.fail(task);
            let spread = config.drain.min(FAILED_DRAIN_MAX);
            let drained = drain(&node, &health, &public, spread);
            if timeout(FAILED_END_TIMEOUT, drained).await.is_err() {
                tracing::error!("the node ends without its last words");
            }
            Ok(ExitCode::from(EXIT_FAILED))
        }
    }
}

/// Why a node ended that nobody told to.
#[derive(Debug, thiserror::Error)]
#[error("the store was restored while this node ran: start it again")]
struct HistoryReplaced;

/// Notes in the store that this node begins; waits for a store that does not answer.
async fn begin_epoch(chat: &Chat) -> Result<(), Error> {
    loop {
        match chat.epochs().begin().await {
            Err(error) if error.code == ErrorCode::Unavailable => {
                tracing::warn!(%error, "waiting for the store");
                sleep(MIGRATE_RETRY).await;
            }
            begun => return begun,
        }
    }
}

/// Says what is allowed and seldom meant: nodes of a fleet have to share secrets and store.
/// Says on standard output that the node is ready. A standard output that is closed, or full and read by nobody, is no
/// reason not to serve.
fn announce(line: String) -> io::Result<()> {
    let say = move || {
        if let Err(error) = cli::say(line) {
            tracing::warn!(%error, "standard output does not take the line that says where the node listens");
        }
    };
    thread::Builder::new().name("announce".into()).spawn(say)?;
    Ok(())
}

fn warn_of_lonely_settings(config: &Config) {
    if !config.is_fleet() {
        return;
    }
    if matches!(config.signing, SigningSecrets::Generated(_)) {
        tracing::warn!("a fleet with a generated signing secret: other nodes refuse its tokens");
    }
    if matches!(config.files.address, Address::Folder(_)) {
        tracing::warn!("a fleet with files in a folder: all nodes have to share it");
    }
    if config.store.expose().starts_with("sqlite:") {
        tracing::warn!("a fleet with an embedded store: other nodes do not see its messages");
    }
}

fn room(config: &Config) -> Room {
    let descriptors = raise_descriptor_limit();
    let fit = Room::new(descriptors, None, config.is_fleet()).sessions;
    let room = Room::new(descriptors, config.max_connections, config.is_fleet());
    if room.sessions > fit {
        tracing::warn!(
            sessions = room.sessions,
            fit,
            descriptors,
            "more connections allowed than this process may have files open"
        );
    }
    room
}

/// What has to be before the node serves: the store has this version's schema, and its time is known.
async fn prepare(node: &Node, health: &Health) -> Result<(), StoreError> {
    migrate(node.store.as_ref()).await?;
    compare_clocks(&node.clock, node.store.as_ref(), health).await;
    Ok(())
}

/// Compares this machine's date with the store's; waits for a store that does not answer.
async fn compare_clocks(clock: &Clock, store: &dyn Store, health: &Health) {
    loop {
        match clock.compare(store).await {
            Ok(found) => return health.judge_clock(&found),
            Err(error) => {
                tracing::warn!(%error, "waiting for the store's time");
                sleep(CLOCK_COMPARE_PAUSE).await;
            }
        }
    }
}

/// Brings the store to this version's schema; waits for a store that does not answer yet.
async fn migrate(store: &dyn Store) -> Result<(), StoreError> {
    loop {
        match store.migrate().await {
            Ok(done) => {
                for line in done {
                    tracing::info!(%line, "store migrated");
                }
                return Ok(());
            }
            Err(error @ StoreError::Unavailable(_)) => {
                tracing::warn!(%error, "waiting for the store");
                sleep(MIGRATE_RETRY).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Deletes expired refresh tokens again and again. Runs until it is dropped.
async fn sweep(identity: Arc<Identity>) {
    loop {
        match identity.sweep().await {
            Ok(EXPIRED_TOKENS_BATCH) => continue,
            Ok(deleted) => tracing::debug!(deleted, "expired refresh tokens swept"),
            Err(error) => tracing::warn!(%error, "expired refresh tokens not swept"),
        }
        sleep(SWEEP_INTERVAL).await;
    }
}

/// Settles log-outs and refreshes whose outcome was unknown. Runs until it is dropped.
async fn settle_log_ins(identity: Arc<Identity>) {
    identity.settle_doubts().await;
}

/// Often enough that a file goes soon after its time.
fn file_sweep_interval(unsent_span: Duration) -> Duration {
    let (shortest, longest) = FILE_SWEEP_INTERVAL;
    (unsent_span / 4).clamp(shortest, longest)
}

/// Deletes files that nothing shows, again and again. Runs until it is dropped.
async fn sweep_files(files: Arc<Files>, rest: Duration) {
    loop {
        match files.sweep().await {
            Ok(FILE_SWEEP_BATCH) => continue,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "files not swept"),
        }
        sleep(rest).await;
    }
}

/// Sockets first, spread over `spread`; then requests under way; then what was accepted; then a word
/// to the other nodes.
async fn drain(node: &Node, health: &Health, public: &Connections, spread: Duration) {
    health.enter(Phase::Draining);
    let had_sessions = node.engine.sessions() > 0;
    node.engine.release_forwarded(spread);
    node.gateway.drain(spread).await;
    // Those that belonged to nobody yet.
    node.engine
        .close_some(usize::MAX, DisconnectReason::ServerClose);
    if timeout(SESSIONS_END_TIMEOUT, node.engine.closed())
        .await
        .is_err()
    {
        tracing::warn!(
            left = node.engine.sessions(),
            "sessions that did not end were cut off"
        );
    }
    if had_sessions {
        sleep(CROSSING_REQUESTS_WAIT).await;
    }
    node.registry.withdraw().await;
    if timeout(REQUESTS_END_TIMEOUT, public.close()).await.is_err() {
        tracing::warn!("requests still under way were cut off");
    }
    if timeout(COMMITS_END_TIMEOUT, node.chat.drain())
        .await
        .is_err()
    {
        tracing::error!("not everything accepted was committed in time");
    }
    node.fleet.close().await;
}

#[cfg(test)]
mod tests;
