//! `syncchat migrate`: brings the store to this version's schema.

use super::Failure;
use crate::cli;
use crate::config::Config;

/// Prints what was done, line by line.
///
/// # Errors
/// The store cannot be opened, or changed.
pub async fn run(config: Config) -> Result<(), Failure> {
    let store = syncchat_store::open(config.store.expose()).await?;
    for line in store.migrate().await? {
        cli::say(line)?;
    }
    Ok(())
}
