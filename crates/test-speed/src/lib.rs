//! Time limits of tests, as they are on this machine: a test fails for a fault and not for a slow day.
//!
//! `tests/run.mjs` measures the speed of the machine once for all tests and hands it to them in
//! `SYNCCHAT_TEST_SPEED`. For tests only: no crate of the product depends on this one.

#![forbid(unsafe_code)]

use std::sync::LazyLock;
use std::time::Duration;

/// The variable that holds the speed.
const VARIABLE: &str = "SYNCCHAT_TEST_SPEED";
/// However slow the machine seems, limits are at most ten times as long.
const SPEED_MIN: f64 = 0.1;

static SPEED: LazyLock<f64> = LazyLock::new(|| parse(std::env::var(VARIABLE).ok().as_deref()));

/// A limit of the machine that it was chosen on, as it is on this one: the same, or up to ten times as
/// long.
#[must_use]
pub fn scaled(limit: Duration) -> Duration {
    limit.div_f64(*SPEED)
}

/// The speed from 0.1 to 1, where 1 is the machine that the limits were chosen on; 1 too where nobody
/// has measured it.
fn parse(given: Option<&str>) -> f64 {
    let speed = given
        .and_then(|given| given.parse::<f64>().ok())
        .unwrap_or(1.0);
    if (0.0..1.0).contains(&speed) {
        speed.max(SPEED_MIN)
    } else {
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_grow_with_slowness_in_bounds_and_never_shrink() {
        let as_given = [
            (None, 1.0),
            (Some("0.5"), 0.5),
            (Some("3"), 1.0),
            (Some("0"), SPEED_MIN),
            (Some("-1"), 1.0),
            (Some("NaN"), 1.0),
            (Some("fast"), 1.0),
        ];
        for (given, speed) in as_given {
            assert!((parse(given) - speed).abs() < f64::EPSILON, "{given:?}");
        }
        assert!(scaled(Duration::from_secs(1)) >= Duration::from_secs(1));
    }
}
