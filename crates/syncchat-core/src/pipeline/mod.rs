//! The way up: validate → authorise → commit → announce.
//!
//! | step | where |
//! | --- | --- |
//! | validate | [`crate::command`]: a command that exists is valid |
//! | order, gather | `commit`, `queue`: what waits at the same moment shares one write |
//! | authorise, number | `plan`: the rules, on the head of the log as it is believed to be |
//! | make durable | `commit` → [`crate::ports::store::ConversationStore::append`], which proves that belief or refuses |
//! | among nodes | `rivals`: a conversation that several nodes write has writes of its own, one behind the other |
//! | announce, answer | `settle`, `announce`: the one place where a message becomes known |
//!
//! On failure: a broken rule → the refusal, once it is proven; another node changed the
//! conversation → the head is read again and all is decided again; a resend → the first result; the store does not say →
//! `unavailable`, and `in_doubt` watches for what landed after all.
//!
//! Changes of membership go the same way as messages, so they are in one order with them.
//! `edit` and `cursors` change what has its place already and need no number.

pub(crate) mod commit;
pub(crate) mod cursors;
pub(crate) mod edit;
pub(crate) mod heads;
pub(crate) mod in_doubt;
pub(crate) mod membership;
pub(crate) mod plan;
pub(crate) mod recent;

mod announce;
mod prepare;
mod queue;
mod rivals;
mod settle;
