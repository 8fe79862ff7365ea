//! The names of all events, as they stand in Socket.IO packets.

/// What a client may emit.
pub mod client {
    /// Present an access token: the first, or a newer one. [`crate::payload::Authenticate`].
    pub const AUTHENTICATE: &str = "authenticate";
    /// Say something. [`crate::payload::SendMsg`].
    pub const SEND_MSG: &str = "send_msg";
    /// Change what was said. [`crate::payload::EditMsg`].
    pub const EDIT_MSG: &str = "edit_msg";
    /// Take it back. [`crate::payload::DeleteMsg`].
    pub const DELETE_MSG: &str = "delete_msg";
    /// It is on this device. [`crate::payload::Mark`].
    pub const MARK_DELIVERED: &str = "mark_delivered";
    /// The person has seen it. [`crate::payload::Mark`].
    pub const MARK_READ: &str = "mark_read";
    /// The person types, or stopped. [`crate::payload::SetTyping`].
    pub const TYPING: &str = "typing";
    /// What was missed. [`crate::payload::Sync`].
    pub const SYNC: &str = "sync";
    /// Who is online. [`crate::payload::AskPresence`].
    pub const PRESENCE: &str = "presence";
    /// Begin a conversation. [`crate::payload::NewConversation`].
    pub const CREATE_CONVERSATION: &str = "create_conversation";

    /// Every event a client may emit.
    pub const ALL: [&str; 10] = [
        AUTHENTICATE,
        SEND_MSG,
        EDIT_MSG,
        DELETE_MSG,
        MARK_DELIVERED,
        MARK_READ,
        TYPING,
        SYNC,
        PRESENCE,
        CREATE_CONVERSATION,
    ];
}

/// What the server emits.
pub mod server {
    /// The socket belongs to somebody now. [`crate::payload::Authenticated`].
    pub const AUTHENTICATED: &str = "authenticated";
    /// The access token ends soon. [`crate::payload::TokenExpiring`].
    pub const TOKEN_EXPIRING: &str = "token_expiring";
    /// A request without an ack was refused. [`crate::payload::ErrorMsg`].
    pub const ERROR_MSG: &str = "error_msg";
    /// A message, in its place. [`crate::message::Message`].
    pub const RECEIVE_MSG: &str = "receive_msg";
    /// To the sender's socket: it is durable. [`crate::payload::MsgSent`].
    pub const MSG_SENT: &str = "msg_sent";
    /// A message as it is after an edit. [`crate::message::Message`].
    pub const MSG_EDITED: &str = "msg_edited";
    /// A message emptied by its sender. [`crate::message::Message`].
    pub const MSG_DELETED: &str = "msg_deleted";
    /// A member's cursor rose. [`crate::payload::MsgStatus`].
    pub const MSG_STATUS: &str = "msg_status";
    /// A member types, or stopped. [`crate::payload::Typing`].
    pub const TYPING: &str = "typing";
    /// Somebody came or went. [`crate::payload::Presence`].
    pub const PRESENCE: &str = "presence";
    /// The user is in a new conversation. [`crate::payload::ConversationCreated`].
    pub const CONVERSATION_CREATED: &str = "conversation_created";
    /// A conversation has a new title. [`crate::payload::ConversationUpdated`].
    pub const CONVERSATION_UPDATED: &str = "conversation_updated";
    /// Somebody was added. [`crate::payload::MemberChange`].
    pub const MEMBER_ADDED: &str = "member_added";
    /// Somebody was removed, or left. [`crate::payload::MemberChange`].
    pub const MEMBER_REMOVED: &str = "member_removed";
    /// The server closes this socket on purpose. [`crate::payload::ServerClosing`].
    pub const SERVER_CLOSING: &str = "server_closing";

    /// Every event the server emits.
    pub const ALL: [&str; 15] = [
        AUTHENTICATED,
        TOKEN_EXPIRING,
        ERROR_MSG,
        RECEIVE_MSG,
        MSG_SENT,
        MSG_EDITED,
        MSG_DELETED,
        MSG_STATUS,
        TYPING,
        PRESENCE,
        CONVERSATION_CREATED,
        CONVERSATION_UPDATED,
        MEMBER_ADDED,
        MEMBER_REMOVED,
        SERVER_CLOSING,
    ];
}
