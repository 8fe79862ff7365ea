//! Bodies, queries and answers of REST. What sockets have too is in [`crate::payload`].

mod answer;
mod body;
mod query;

pub use answer::{
    ConversationAnswer, ConversationsAnswer, MessageAnswer, MessagesAnswer, SessionAnswer,
    UserAnswer, UsersAnswer,
};
pub use body::{
    AddParticipant, Login, PatchConversation, PatchMessage, PatchProfile, PostMessage, Refresh,
    Register,
};
pub use query::{HistoryQuery, ListQuery, SearchQuery};
