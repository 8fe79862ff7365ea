//! `syncchat serve`: runs a node, from the first check to the last goodbye.

use std::sync::Arc;
use std::time::Duration;

use syncchat_core::Files;
use syncchat_core::limits::FILE_SWEEP_BATCH;
use syncchat_core::ports::store::{Store, StoreError};
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
    COMMITS_END_TIMEOUT, CROSSING_REQUESTS_WAIT, FILE_SWEEP_INTERVAL, MIGRATE_RETRY,
    REQUESTS_END_TIMEOUT, SESSIONS_END_TIMEOUT, SWEEP_INTERVAL,
};
use crate::listeners::{Connections, bind};
use crate::public::Public;
use crate::shutdown::Signals;
use crate::wiring::{self, Node};
use crate::{cli, metrics, page};

/// Runs until it is told to stop, and then until everybody was told goodbye.
///
/// # Errors
/// The node cannot start.
pub async fn run(config: Config) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    let recorder = metrics::start(&config.node_id)?;
    let bound = bind("--listen", config.listen)?;
    let address = bound.address();
    let admin_listener = config
        .admin_listen
        .map(|address| bind("--admin-listen", address))
        .transpose()?;
    let room = room(&config);
    warn_of_lonely_settings(&config);
    let node = wiring::build(&config, room).await?;

    let health = Health::new();
    tokio::spawn(metrics::keep_up(recorder.clone()));
    let admin = Connections::new();
    if let Some(listener) = admin_listener {
        let health = Arc::clone(&health);
        let metrics = recorder;
        admin.serve(listener.listen()?, Arc::new(Admin { health, metrics }));
    }
    let public = Connections::new();
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
        migrated = migrate(node.store.as_ref()) => migrated?,
        signal = signals.next() => {
            tracing::info!(signal, "told to stop before the store was ready");
            return Ok(());
        }
    }
    tokio::spawn(Arc::clone(&health).watch_store(Arc::clone(&node.store)));
    tokio::spawn(sweep(Arc::clone(&node.identity)));
    tokio::spawn(settle_log_ins(Arc::clone(&node.identity)));
    let rest = file_sweep_interval(config.files.rules.unsent_span);
    tokio::spawn(sweep_files(Arc::clone(&node.files), rest));
    // Before there are sessions that other nodes may be asked for.
    let reached_at = config.advertise.unwrap_or(address);
    node.registry.announce(node.tag.as_str(), reached_at).await;
    public.serve(bound.listen()?, Arc::new(behind));
    health.enter(Phase::Serving);
    tracing::info!(%address, node = config.node_id, store = node.store.kind(), sessions = room.sessions, "ready");
    cli::say(format_args!("syncchat listening on http://{address}"))?;

    let signal = signals.next().await;
    tracing::info!(signal, "draining");
    signals.end_at_next();
    drain(&node, &health, &public, config.drain).await;
    tracing::info!("drained");
    Ok(())
}

/// Says what is allowed and seldom meant: nodes of a fleet have to share secrets and store.
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
