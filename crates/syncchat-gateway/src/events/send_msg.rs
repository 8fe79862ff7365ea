//! `send_msg`.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use serde_json::value::RawValue;
use syncchat_contract::payload::SendMsg;
use syncchat_core::command::SendMessage;
use syncchat_core::model::{ConversationId, Message};
use syncchat_core::ports::limiter::LimitKind;
use syncchat_core::{Result, metrics as core_metrics};
use syncchat_engine::Class;

use crate::dispatch::{Caller, Reply};
use crate::frames::{self, Json};
use crate::mailbox::Command;

pub(crate) async fn handle(caller: &Caller<'_>, argument: Option<&RawValue>) -> Result<Reply> {
    let (conversation, command) =
        read(caller, argument).inspect_err(|error| core_metrics::message_rejected(error.code))?;
    let id = command.id();
    let shard = caller.gateway.feed.shard(conversation);
    let json = Json::default();
    let result = send(caller, conversation, command, &json).await;
    // The socket is told in the message's own place, or now if that has gone by: the shard knows.
    shard.post(match &result {
        Ok(message) if message.id == id => Command::Sent(caller.reader(), Arc::clone(message)),
        _ => Command::Unsent(id),
    });
    let message = result?;
    if message.id != id {
        // A resend: the first one may have been sent from another socket, long ago.
        let frame = frames::msg_sent(&message, &json);
        let _ = caller.socket.emit(&frame, Class::Essential);
    }
    Ok(Reply::Message(message, json))
}

fn read(caller: &Caller<'_>, argument: Option<&RawValue>) -> Result<(ConversationId, SendMessage)> {
    let request = SendMsg::read(argument)?;
    let conversation = request.conversation;
    Ok((conversation, request.command(caller.user)?))
}

/// Sends in the order of the client's events: the next one waits until this one has its place in
/// the core's queue, not until it is written.
async fn send(
    caller: &Caller<'_>,
    conversation: ConversationId,
    command: SendMessage,
    json: &Json,
) -> Result<Arc<Message>> {
    let gateway = caller.gateway;
    let turn = caller.socket.data().order.lock().await;
    let taken = caller.take(LimitKind::Messages).await;
    taken.inspect_err(|error| core_metrics::message_rejected(error.code))?;
    let sending = Command::Sending(caller.reader(), command.id(), json.clone());
    gateway.feed.shard(conversation).post(sending);
    let mut sent = pin!(gateway.parts.chat.send(command));
    let first = poll_fn(|cx| Poll::Ready(sent.as_mut().poll(cx))).await;
    drop(turn);
    match first {
        Poll::Ready(result) => result,
        Poll::Pending => sent.await,
    }
}
