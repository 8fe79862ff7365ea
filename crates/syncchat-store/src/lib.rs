//! The stores: MongoDB for a fleet, SQLite inside one process, both behind the core's traits.
//!
//! A store translates and decides nothing: what may be written is the core's to say, and what
//! "durable" means stands in [`syncchat_core::ports::store`]. No driver's type leaves this crate.

mod limits;
mod mongo;
mod observe;
mod open;
mod sqlite;
#[cfg(feature = "test-suite")]
pub mod suite;

pub use open::{OpenError, open};

use std::collections::BTreeSet;

use syncchat_core::model::UserId;

/// What makes a private conversation unique: the ids of its two people, the lower one first.
/// `None` if they are not two.
fn pair_key(participants: &BTreeSet<UserId>) -> Option<[u8; 24]> {
    let mut people = participants.iter();
    let (Some(low), Some(high), None) = (people.next(), people.next(), people.next()) else {
        return None;
    };
    let mut key = [0; 24];
    key[..12].copy_from_slice(&low.bytes());
    key[12..].copy_from_slice(&high.bytes());
    Some(key)
}
