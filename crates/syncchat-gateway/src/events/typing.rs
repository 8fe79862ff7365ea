//! `typing`: best effort, to members only.

use serde_json::value::RawValue;
use syncchat_contract::payload::SetTyping;
use syncchat_core::Result;

use crate::dispatch::{Caller, Reply};

pub(crate) async fn handle(caller: &Caller<'_>, argument: Option<&RawValue>) -> Result<Reply> {
    let SetTyping {
        conversation,
        typing,
    } = SetTyping::read(argument)?;
    let gateway = caller.gateway;
    let chat = &gateway.parts.chat;
    chat.authorise(caller.user, conversation).await?;
    gateway.typing.set((conversation, caller.user), typing);
    Ok(Reply::Done)
}
