//! Names, units and help of what this crate counts.

use metrics::{Unit, describe_counter, describe_histogram};

/// bcrypt's own time for one password.
pub const PASSWORD_SECONDS: &str = "syncchat_password_seconds";
/// How long a password waited for a core.
pub const PASSWORD_WAIT_SECONDS: &str = "syncchat_password_wait_seconds";
/// Passwords refused because too many waited.
pub const PASSWORDS_REFUSED: &str = "syncchat_passwords_refused_total";
/// Log-ins with a wrong name or password.
pub const LOGINS_FAILED: &str = "syncchat_logins_failed_total";
/// Refresh tokens that were presented again before their successor was used, and answered as before.
pub const REFRESH_REPEATED: &str = "syncchat_refresh_repeated_total";
/// Refresh tokens that were used again after their successor.
pub const REFRESH_REUSED: &str = "syncchat_refresh_reused_total";
/// Registrations that logged in to the account which the same registration had made before.
pub const REGISTRATIONS_REPEATED: &str = "syncchat_registrations_repeated_total";
/// Log-outs and refreshes whose outcome was unknown at first.
pub const DOUBTS: &str = "syncchat_logins_in_doubt_total";
/// Those of them that were too many to be watched.
pub const DOUBTS_DROPPED: &str = "syncchat_logins_in_doubt_dropped_total";

/// Tells the recorder what the names mean. Call once, after it was installed.
pub fn describe() {
    describe_histogram!(
        PASSWORD_SECONDS,
        Unit::Seconds,
        "time to hash or check one password"
    );
    describe_histogram!(
        PASSWORD_WAIT_SECONDS,
        Unit::Seconds,
        "time a password waited for a core"
    );
    describe_counter!(
        PASSWORDS_REFUSED,
        Unit::Count,
        "passwords refused because too many waited"
    );
    describe_counter!(
        LOGINS_FAILED,
        Unit::Count,
        "log-ins with a wrong name or password"
    );
    describe_counter!(
        REFRESH_REPEATED,
        Unit::Count,
        "refresh tokens presented again and answered as before"
    );
    describe_counter!(
        REFRESH_REUSED,
        Unit::Count,
        "refresh tokens used after their successor, families revoked"
    );
    describe_counter!(
        REGISTRATIONS_REPEATED,
        Unit::Count,
        "registrations that logged in to the account they had made"
    );
    describe_counter!(
        DOUBTS,
        Unit::Count,
        "log-outs and refreshes of unknown outcome"
    );
    describe_counter!(
        DOUBTS_DROPPED,
        Unit::Count,
        "log-outs and refreshes of unknown outcome that were not watched"
    );
}
