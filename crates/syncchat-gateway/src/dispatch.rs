//! From an event's name to what is done, and from what came of it to an ack or `error_msg`.

use std::sync::{Arc, LazyLock};

use ::metrics::Counter;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use syncchat_contract::conversation::Conversation;
use syncchat_contract::events::client;
use syncchat_contract::payload::{
    Done, Mark, Presence, Refused, WithConversation, WithMessage, WithPresence, WithSynced,
    WithUnread, WithUser, client_msg_id,
};
use syncchat_contract::user::User;
use syncchat_core::chat::Synced;
use syncchat_core::command::CursorKind;
use syncchat_core::model::{self, ConversationView, Timestamp, UserId};
use syncchat_core::ports::limiter::LimitKind;
use syncchat_core::{Error, Result};
use syncchat_engine::{AckArgs, Class, Event, EventName};

use crate::frames::Json;
use crate::gateway::Gateway;
use crate::hub::{Client, Reader};
use crate::mailbox::{Act, Command};
use crate::session::owner;
use crate::{events, frames, metrics};

/// Everything a client may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Authenticate,
    SendMsg,
    EditMsg,
    DeleteMsg,
    MarkDelivered,
    MarkRead,
    Typing,
    Sync,
    Presence,
    CreateConversation,
}

/// Counts what was done, by what it was. Each counter was looked up once: that costs more than to count.
static DONE: LazyLock<[Counter; Request::ALL.len()]> =
    LazyLock::new(|| Request::ALL.map(|request| metrics::events(request.name(), "ok")));

/// Who asks.
pub(crate) struct Caller<'a> {
    pub(crate) gateway: &'a Gateway,
    pub(crate) socket: &'a Client,
    pub(crate) user: UserId,
}

/// What came of a request.
pub(crate) enum Reply {
    Done,
    Authenticated(model::User, Timestamp),
    /// With its JSON.
    Message(Arc<model::Message>, Json),
    Unread(u64),
    Synced(Synced),
    Presence(Vec<Presence>),
    Conversation(ConversationView),
}

/// Does what an event asks for.
pub(crate) async fn run(gateway: &Gateway, socket: &Client, event: Event) -> Option<AckArgs> {
    let name = match &event.name {
        EventName::Text(name) | EventName::Number(name) => name.as_str(),
    };
    let request = match &event.name {
        EventName::Text(name) => Request::named(name),
        EventName::Number(_) => None,
    };
    let argument = event.args.first().map(|argument| &**argument);
    let result = answer(gateway, socket, request, argument).await;
    match result {
        Ok(reply) => {
            if let Some(request) = request {
                DONE[request as usize].increment(1);
            }
            event.wants_ack.then(|| reply.ack())
        }
        Err(error) => {
            let label = request.map_or("unknown", Request::name);
            metrics::events(label, error.code.as_str()).increment(1);
            if event.wants_ack {
                return Some(ack(&Refused::new(&error)));
            }
            let client_msg_id = client_msg_id(argument);
            let frame = frames::error_msg(&error, name, client_msg_id.as_deref());
            let _ = socket.emit(&frame, Class::Essential);
            None
        }
    }
}

async fn answer(
    gateway: &Gateway,
    socket: &Client,
    request: Option<Request>,
    argument: Option<&RawValue>,
) -> Result<Reply> {
    if request == Some(Request::Authenticate) {
        return events::authenticate::handle(gateway, socket, argument).await;
    }
    let user = owner(socket)?;
    let caller = &Caller {
        gateway,
        socket,
        user,
    };
    match request {
        Some(Request::SendMsg) => events::send_msg::handle(caller, argument).await,
        Some(Request::EditMsg) => events::edit_msg::handle(caller, argument).await,
        Some(Request::DeleteMsg) => events::delete_msg::handle(caller, argument).await,
        Some(Request::MarkDelivered) => events::mark_delivered::handle(caller, argument).await,
        Some(Request::MarkRead) => events::mark_read::handle(caller, argument).await,
        Some(Request::Typing) => events::typing::handle(caller, argument).await,
        Some(Request::Sync) => events::sync::handle(caller, argument).await,
        Some(Request::Presence) => events::presence::handle(caller, argument).await,
        Some(Request::CreateConversation) => {
            events::create_conversation::handle(caller, argument).await
        }
        Some(Request::Authenticate) | None => Err(Error::invalid("event", "is not known")),
    }
}

impl Request {
    /// In the order in which they are declared.
    const ALL: [Request; 10] = [
        Request::Authenticate,
        Request::SendMsg,
        Request::EditMsg,
        Request::DeleteMsg,
        Request::MarkDelivered,
        Request::MarkRead,
        Request::Typing,
        Request::Sync,
        Request::Presence,
        Request::CreateConversation,
    ];

    fn name(self) -> &'static str {
        match self {
            Request::Authenticate => client::AUTHENTICATE,
            Request::SendMsg => client::SEND_MSG,
            Request::EditMsg => client::EDIT_MSG,
            Request::DeleteMsg => client::DELETE_MSG,
            Request::MarkDelivered => client::MARK_DELIVERED,
            Request::MarkRead => client::MARK_READ,
            Request::Typing => client::TYPING,
            Request::Sync => client::SYNC,
            Request::Presence => client::PRESENCE,
            Request::CreateConversation => client::CREATE_CONVERSATION,
        }
    }

    fn named(name: &str) -> Option<Request> {
        Request::ALL
            .into_iter()
            .find(|request| request.name() == name)
    }
}

impl Caller<'_> {
    /// The socket, as the shards know it.
    pub(crate) fn reader(&self) -> Reader {
        Reader(self.socket.clone())
    }

    /// Does something that the others in a conversation hear of, and this socket does not.
    pub(crate) async fn act<T>(
        &self,
        act: Act,
        done: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let (feed, reader) = (&self.gateway.feed, self.reader());
        match act {
            // Which conversation the message is in only the core knows.
            Act::Change(..) => feed.post_all(|| Command::Acting(act, reader.clone())),
            Act::Cursor(conversation, ..) => {
                feed.shard(conversation).post(Command::Acting(act, reader));
            }
        }
        let result = done.await;
        match act {
            Act::Change(..) => feed.post_all(|| Command::Acted(act)),
            Act::Cursor(conversation, ..) => feed.shard(conversation).post(Command::Acted(act)),
        }
        result
    }

    /// Raises one of the person's cursors; the unread count after it.
    pub(crate) async fn mark(&self, mark: Mark, kind: CursorKind) -> Result<u64> {
        let Mark { conversation, seq } = mark;
        let act = Act::Cursor(conversation, self.user, kind);
        let chat = &self.gateway.parts.chat;
        self.act(act, chat.mark(self.user, conversation, kind, seq))
            .await
    }

    /// Takes one of the person's tokens of this kind.
    ///
    /// # Errors
    /// `rate_limited`.
    pub(crate) async fn take(&self, kind: LimitKind) -> Result<()> {
        let key = self.user.to_string();
        let taken = self.gateway.parts.limiter.take(kind, &key).await;
        taken.map_err(Error::rate_limited)
    }
}

impl Reply {
    fn ack(&self) -> AckArgs {
        match self {
            Reply::Done => ack(&Done::new(())),
            Reply::Authenticated(user, expires_at) => ack(&Done::new(WithUser {
                user: User::here(user),
                expires_at: (*expires_at).into(),
            })),
            Reply::Message(message, json) => ack(&Done::new(WithMessage {
                message: json.of(message),
            })),
            Reply::Unread(unread) => ack(&Done::new(WithUnread { unread: *unread })),
            Reply::Synced(synced) => ack(&Done::new(WithSynced::new(synced))),
            Reply::Presence(presence) => ack(&Done::new(WithPresence {
                presence: presence.clone(),
            })),
            Reply::Conversation(view) => ack(&Done::new(WithConversation {
                conversation: Conversation::view(view),
            })),
        }
    }
}

fn ack<T: Serialize>(payload: &T) -> AckArgs {
    let args = match to_raw_value(payload) {
        Ok(payload) => vec![payload],
        Err(error) => {
            tracing::error!(%error, "ack cannot be encoded");
            Vec::new()
        }
    };
    AckArgs {
        args,
        attachments: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_of_the_contract_is_known() {
        for name in client::ALL {
            assert_eq!(Request::named(name).map(Request::name), Some(name));
        }
        assert_eq!(Request::named("receive_msg"), None);
        assert_eq!(Request::ALL.len(), client::ALL.len());
        assert!(
            (0..)
                .zip(Request::ALL)
                .all(|(place, request)| request as usize == place)
        );
    }
}
