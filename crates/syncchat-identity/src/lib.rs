//! Who is calling: accounts, passwords, access tokens and refresh families.
//!
//! Knows neither HTTP nor sockets, and no driver: accounts are read and written through
//! [`AccountStore`](syncchat_core::ports::store::AccountStore). Every refusal is a core
//! [`Error`](syncchat_core::Error), so both edges answer alike.
//!
//! An access token is stateless: it is good until it expires, on every node, without a question to
//! the store. A used refresh token can be presented again until its successor is used, and gets the
//! same answer: whoever lost it, and two tabs at once, go on. A log-out, or a refresh token used
//! after its successor, revokes the whole family of refresh tokens and tells the fleet
//! ([`FleetEvent::Revoked`](syncchat_core::ports::fleet::FleetEvent)), which ends the family's live
//! sockets at once; REST calls with an access token already handed out go on until it expires (15
//! minutes by default).
//!
//! Read in this order: [`identity`], [`passwords`], [`tokens`], [`refresh`], `doubts`, [`recovery`],
//! [`limits`].

mod doubts;
mod hs256;
pub mod identity;
pub mod limits;
pub mod metrics;
pub mod passwords;
pub mod recovery;
pub mod refresh;
pub mod tokens;

pub use identity::{Identity, IdentityConfig, RegisterRequest, Session};
pub use recovery::Seal;
pub use tokens::{Claims, Secret};
