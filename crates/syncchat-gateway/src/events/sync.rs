//! `sync`: what was missed, in one round trip.

use serde_json::value::RawValue;
use syncchat_contract::payload::Sync;
use syncchat_core::Result;
use syncchat_core::ports::limiter::LimitKind;

use crate::dispatch::{Caller, Reply};
use crate::metrics;

pub(crate) async fn handle(caller: &Caller<'_>, argument: Option<&RawValue>) -> Result<Reply> {
    let request = Sync::read(argument)?.request()?;
    caller.take(LimitKind::Requests).await?;
    let synced = caller.gateway.parts.chat.sync(caller.user, request).await?;
    metrics::recovery("sync");
    Ok(Reply::Synced(synced))
}
