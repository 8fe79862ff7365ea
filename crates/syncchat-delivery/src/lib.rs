//! The promise, as one state machine: each reader gets every `seq` of its rooms once, rising,
//! without holes, whatever was lost, doubled or reordered on the way here.
//!
//! A room is a log that grows somewhere else. What comes in are facts about it, from any source and
//! in any order: frames that were committed, a head somebody knows of, a page somebody read. What
//! goes out are deliveries in order, and requests for what is missing. There is no I/O here, no
//! clock, no async and no word of chat: time is a number the caller passes, rooms and readers are
//! keys, frames are opaque. So the whole of it can be explored exhaustively (`tests/model.rs`) and
//! simulated by seed (`tests/sim.rs`).
//!
//! Read [`machine`] first: [`Input`] in, [`Outlet`] out. Then what it does with them: `seating`
//! (readers come and go), `logs` (frames are passed on), `upkeep` (rooms come and go). Then what it
//! holds: `room` (where a log stands here and what is missing), `reader` (one reader's place in each
//! room), `replay` (recent frames), `heads` (which rooms to compare with the log next).
//!
//! **Why there are no holes and no doubles.** A seat (one reader in one room) holds the next `seq`
//! it is owed, and a frame is offered to it only if it is exactly that one. Whether the frame is
//! new, repeated, out of the ring or from a page makes no difference, so there is no seam between
//! history and live traffic. A reader that cannot take more keeps its place and loses nothing but
//! time.
//!
//! **Why nobody sees what they may not.** Rights change by frames of the log itself. The
//! [`Outlet`] is asked at each delivery, and answers [`Verdict::Last`] to the frame that ends the
//! reader's right: a seat cannot come to a later frame but through that one.

#![forbid(unsafe_code)]

pub mod machine;

mod logs;
mod seating;
mod upkeep;

mod changes;
mod heads;
mod reader;
mod replay;
mod room;

mod limits;

pub use limits::Config;
pub use machine::{Frame, Input, Key, Machine, Millis, Outlet, Reason, Rev, Seq, Verdict};
