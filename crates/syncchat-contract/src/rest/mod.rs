//! Bodies, queries and answers of REST. What sockets have too is in [`crate::payload`].

mod answer;
mod body;
mod query;

pub use answer::{
    ConversationAnswer, ConversationsAnswer, FileAnswer, Link, LinkAnswer, MessageAnswer,
    MessagesAnswer, SessionAnswer, Upload, UserAnswer, UsersAnswer,
};
pub use body::{
    AddParticipant, Login, NewFile, PatchConversation, PatchMessage, PatchProfile, PostMessage,
    Refresh, Register,
};
pub use query::{HistoryQuery, ListQuery, SearchQuery};
