//! `authenticate`: the first token of a socket that came without one, or a newer one.

use serde_json::value::RawValue;
use syncchat_contract::payload::Authenticate;
use syncchat_core::model::UserId;
use syncchat_core::{Error, ErrorCode, Result};
use syncchat_identity::Claims;

use crate::dispatch::Reply;
use crate::gateway::Gateway;
use crate::hub::Client;

pub(crate) async fn handle(
    gateway: &Gateway,
    socket: &Client,
    argument: Option<&RawValue>,
) -> Result<Reply> {
    let Authenticate { token } = Authenticate::read(argument)?;
    let claims = gateway.parts.identity.verify(&token)?;
    // One after the other: two at once must not let the socket in twice.
    let _turn = socket.data().order.lock().await;
    match socket.data().user() {
        Some(user) => renew(gateway, socket, user, claims).await,
        None if socket.data().awaited().is_some() => Err(Error::unavailable("still being let in")),
        None => {
            let user = gateway.enter(socket, claims).await?;
            Ok(Reply::Authenticated(user, claims.expires_at))
        }
    }
}

async fn renew(gateway: &Gateway, socket: &Client, user: UserId, claims: Claims) -> Result<Reply> {
    if claims.user != user {
        return Err(Error::new(
            ErrorCode::Forbidden,
            "the socket belongs to somebody else",
        ));
    }
    let profile = gateway.parts.people.profile(user).await?;
    gateway.begin_lease(socket, user, &claims);
    gateway.greet(socket, &profile, &claims);
    Ok(Reply::Authenticated(profile, claims.expires_at))
}
