//! The payloads of socket events: requests, acks, and what the server emits.

mod ack;
mod emit;
mod request;

pub use ack::{
    Done, Refused, Synced, WithConversation, WithMessage, WithPresence, WithSynced, WithUnread,
    WithUser,
};
pub use emit::{
    Authenticated, ClosingReason, ConversationCreated, ConversationUpdated, ErrorMsg, MemberChange,
    MsgSent, MsgStatus, Presence, ServerClosing, TokenExpiring, Typing,
};
pub use request::{
    AskPresence, Authenticate, Comeback, DeleteMsg, EditMsg, Mark, NewConversation, SendMsg,
    SetTyping, Sync, client_msg_id,
};
