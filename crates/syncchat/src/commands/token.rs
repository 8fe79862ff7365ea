//! `syncchat token --user ID`: an access token for tests and operators.

use syncchat_core::model::UserId;
use syncchat_identity::tokens::Tokens;

use super::Failure;
use crate::cli;
use crate::config::Config;

/// Prints a token that lives for `--access-ttl`, and belongs to no log-in: logging out does not end
/// it.
///
/// # Errors
/// The store does not answer, there is no such user, or there is no secret.
pub async fn run(config: Config, user: UserId) -> Result<(), Failure> {
    let store = syncchat_store::open(config.store.expose()).await?;
    if store.users(&[user]).await?.is_empty() {
        return Err(Failure(format!("--user: there is no user {user}")));
    }
    let secrets = config.signing.load()?;
    let Some((first, others)) = secrets.split_first() else {
        return Err(Failure("there is no signing secret".into()));
    };
    let (token, _) = Tokens::new(first, others, config.access_ttl).issue(user, None)?;
    cli::say(token)?;
    Ok(())
}
