//! The stores: MongoDB for a fleet, SQLite inside one process, both behind the core's traits.
//!
//! A store translates and decides nothing: what may be written is the core's to say, and what
//! "durable" means stands in [`syncchat_core::ports::store`]. No driver's type leaves this crate.

mod open;

pub use open::{OpenError, open};
