//! `syncchat restored`: after a backup was restored, the store holds another history than clients have
//! seen, and says so from then on.

use std::path::Path;

use syncchat_core::model::EpochId;

use super::Failure;
use crate::cli;
use crate::config::Config;

/// Replaces the epochs of the store. Nodes that run on it end after two looks, each
/// [`syncchat_core::limits::EPOCH_POLL`] apart; clients begin anew when they come back.
///
/// # Errors
/// The store does not answer, or there is none.
pub async fn run(config: Config) -> Result<(), Failure> {
    let url = config.store.expose();
    // Opening an embedded store would make it, and nothing was restored there.
    if let Some(path) = url.strip_prefix("sqlite:")
        && !Path::new(path).exists()
    {
        return Err(Failure(format!("--store: there is no file {path}")));
    }
    let store = syncchat_store::open(url).await?;
    let epoch = EpochId::generate();
    store.replace_lineage(epoch).await?;
    cli::say(format_args!(
        "epoch {epoch}: clients begin anew; nodes that run on this store end within {} s",
        2 * syncchat_core::limits::EPOCH_POLL.as_secs()
    ))?;
    Ok(())
}
