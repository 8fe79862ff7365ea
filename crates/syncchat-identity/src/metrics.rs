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
/// Refresh tokens that were used twice.
pub const REFRESH_REUSED: &str = "syncchat_refresh_reused_total";

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
        REFRESH_REUSED,
        Unit::Count,
        "refresh tokens used twice, families revoked"
    );
}
