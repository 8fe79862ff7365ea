//! `delete_msg`.

use serde_json::value::RawValue;
use syncchat_contract::payload::DeleteMsg;
use syncchat_core::Result;
use syncchat_core::ports::fleet::Change;
use syncchat_core::ports::limiter::LimitKind;

use crate::dispatch::{Caller, Reply};
use crate::frames::Json;
use crate::mailbox::Act;

pub(crate) async fn handle(caller: &Caller<'_>, argument: Option<&RawValue>) -> Result<Reply> {
    let DeleteMsg { message } = DeleteMsg::read(argument)?;
    caller.take(LimitKind::Requests).await?;
    let chat = &caller.gateway.parts.chat;
    let act = Act::Change(message, Change::Deleted);
    let deleted = caller.act(act, chat.delete(caller.user, message));
    Ok(Reply::Message(deleted.await?, Json::default()))
}
