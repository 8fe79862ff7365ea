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
/// By how much a token's `nbf` may be ahead: the clock of whoever issued it is not ours. Ahead by more:
/// `unauthorized`. Its end is exact.
pub const NOT_BEFORE_LEEWAY: Duration = Duration::from_secs(60);
/// Bytes of a `pid`. Ours have 20. Longer: it is none of ours.
pub const PID_BYTES_MAX: usize = 64;
/// Bytes of a refresh token, none of which can be guessed.
pub const REFRESH_TOKEN_BYTES: usize = 32;
/// Bytes of randomness from which a refresh token's successor is made.
pub const REFRESH_SALT_BYTES: usize = 16;

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

/// How long after an account was made the same registration logs in to it, if its password fits: the
/// answer to the first may have been lost. Later: `conflict`, as for anybody else.
pub const REGISTRATION_REPEAT_SPAN: Duration = Duration::from_secs(600);
/// The same for a registration under an idempotency key, which says that a repetition is meant.
pub const REGISTRATION_KEYED_REPEAT_SPAN: Duration = Duration::from_secs(24 * 3_600);

/// Log-outs and refreshes of unknown outcome that are watched, about 1 MiB. More are not, which
/// `syncchat_logins_in_doubt_dropped_total` counts; the gateways' own comparison of families finds
/// what was revoked.
pub const DOUBTS_MAX: usize = 10_000;
/// For how long a refresh of unknown outcome is watched, once the store answers. Longer than any store
/// takes to give up a write.
pub const DOUBT_SPAN: Duration = Duration::from_secs(30);
/// The shortest and the longest wait between two looks at what is in doubt; it doubles.
pub const DOUBT_INTERVAL: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_secs(1));
/// Tokens, or families, in one read.
pub const FAMILIES_READ_MAX: usize = 1_000;

/// Expired refresh tokens deleted in one step of [`crate::Identity::sweep`].
pub const EXPIRED_TOKENS_BATCH: usize = 1_000;
