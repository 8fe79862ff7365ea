//! Every bound of this crate, with its unit, its reason and what happens at it.

use std::time::Duration;

/// Bytes of a signing secret at least: as many as HS256's hash has (RFC 7518, 3.2).
/// Shorter: the program does not start.
pub const SECRET_BYTES_MIN: usize = 32;
/// Secrets at once. Each is one more hash for a token that none of them signed.
/// More: the program does not start.
pub const SECRETS_MAX: usize = 8;
/// Bytes of an access token. Ours have about 250. Longer: `unauthorized`, without looking.
pub const ACCESS_TOKEN_BYTES_MAX: usize = 4_096;
/// Bytes of a `pid`. Ours have 20. Longer: it is none of ours.
pub const PID_BYTES_MAX: usize = 64;
/// Bytes of randomness in a refresh token.
pub const REFRESH_TOKEN_BYTES: usize = 32;

/// Bytes of a password at least. Shorter: `invalid`.
pub const PASSWORD_BYTES_MIN: usize = 8;
/// Bytes of a password at most: all that bcrypt reads. Longer: `invalid`, never cut.
pub const PASSWORD_BYTES_MAX: usize = 72;
/// Bytes of a name or address given to log in: RFC 5321's longest address.
/// Longer: a wrong name like any other.
pub const LOGIN_BYTES_MAX: usize = 254;
/// The cheapest bcrypt there is.
pub const BCRYPT_COST_MIN: u32 = 4;
/// About 2 s a password; dearer ones would let a few log-ins stop all others.
pub const BCRYPT_COST_MAX: u32 = 15;

/// Passwords that wait for a core, for each core that hashes. At cost 12 (about 0.2 s) the last
/// of them waits about 6 s. More: `unavailable`, counted in `syncchat_passwords_refused_total`.
pub const PASSWORDS_WAITING_PER_SLOT: usize = 32;
/// When somebody who found the queue full may come back.
pub const PASSWORDS_RETRY_AFTER: Duration = Duration::from_secs(5);

/// Expired refresh tokens deleted in one step of [`crate::Identity::sweep`].
pub const EXPIRED_TOKENS_BATCH: usize = 1_000;
