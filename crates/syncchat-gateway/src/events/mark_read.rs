//! `mark_read`.

use serde_json::value::RawValue;
use syncchat_contract::payload::Mark;
use syncchat_core::Result;
use syncchat_core::command::CursorKind;

use crate::dispatch::{Caller, Reply};

pub(crate) async fn handle(caller: &Caller<'_>, argument: Option<&RawValue>) -> Result<Reply> {
    let mark = Mark::read(argument)?;
    let unread = caller.mark(mark, CursorKind::Read).await?;
    Ok(Reply::Unread(unread))
}
