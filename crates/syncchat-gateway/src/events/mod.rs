//! One file for each event, named as clients name it, each with the same steps: read the argument,
//! ask the core, answer.

pub(crate) mod authenticate;
pub(crate) mod create_conversation;
pub(crate) mod delete_msg;
pub(crate) mod edit_msg;
pub(crate) mod mark_delivered;
pub(crate) mod mark_read;
pub(crate) mod presence;
pub(crate) mod send_msg;
pub(crate) mod sync;
pub(crate) mod typing;
