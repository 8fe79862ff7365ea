//! `create_conversation`: as over REST.

use serde_json::value::RawValue;
use syncchat_contract::payload::NewConversation;
use syncchat_core::Result;
use syncchat_core::ports::limiter::LimitKind;

use crate::dispatch::{Caller, Reply};

pub(crate) async fn handle(caller: &Caller<'_>, argument: Option<&RawValue>) -> Result<Reply> {
    let command = NewConversation::read(argument)?.command(caller.user)?;
    caller.take(LimitKind::Requests).await?;
    let chat = &caller.gateway.parts.chat;
    // Everybody in a new one, the caller too, is told through the fleet.
    let (conversation, _new) = chat.create_conversation(command).await?;
    Ok(Reply::Conversation(conversation))
}
