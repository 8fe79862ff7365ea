//! What the core needs of the outside, as traits. Their documents are the contract that every
//! driver keeps and that the behaviour suites check.

pub mod clock;
pub mod files;
pub mod fleet;
pub mod limiter;
pub mod registry;
pub mod store;
