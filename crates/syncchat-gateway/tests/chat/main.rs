//! Chat over real sockets, in one process: what clients see, whatever happens behind it.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod client;
mod node;

mod defects;
mod delivery;
mod membership;
mod sessions;
mod talk;
