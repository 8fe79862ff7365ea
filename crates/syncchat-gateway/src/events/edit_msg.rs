//! `edit_msg`.

use serde_json::value::RawValue;
use syncchat_contract::payload::EditMsg;
use syncchat_core::Result;
use syncchat_core::ports::fleet::Change;
use syncchat_core::ports::limiter::LimitKind;

use crate::dispatch::{Caller, Reply};
use crate::frames::Json;
use crate::mailbox::Act;

pub(crate) async fn handle(caller: &Caller<'_>, argument: Option<&RawValue>) -> Result<Reply> {
    let request = EditMsg::read(argument)?;
    let act = Act::Change(request.message, Change::Edited);
    let command = request.command(caller.user)?;
    caller.take(LimitKind::Requests).await?;
    let edited = caller.act(act, caller.gateway.parts.chat.edit(command));
    Ok(Reply::Message(edited.await?, Json::default()))
}
