//! `presence`: who is online.

use std::collections::HashMap;

use serde_json::value::RawValue;
use syncchat_contract::payload::{AskPresence, Presence};
use syncchat_core::Result;
use syncchat_core::model::PresenceStatus;
use syncchat_core::ports::limiter::LimitKind;

use crate::dispatch::{Caller, Reply};

pub(crate) async fn handle(caller: &Caller<'_>, argument: Option<&RawValue>) -> Result<Reply> {
    let AskPresence { users } = AskPresence::read(argument)?;
    caller.take(LimitKind::Requests).await?;
    let found = caller.gateway.parts.people.find(&users).await?;
    let known: HashMap<_, _> = found.iter().map(|user| (user.id, user)).collect();
    let presence = users.into_iter().map(|id| match known.get(&id) {
        Some(user) => Presence::new(id, user.status, user.last_seen),
        None => Presence::new(id, PresenceStatus::Offline, None),
    });
    Ok(Reply::Presence(presence.collect()))
}
