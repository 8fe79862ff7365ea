//! The scenario's limits, and whether the run kept them.

use serde::Serialize;

use crate::outcome::Outcome;

/// One limit.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Judged {
    /// As the scenario calls it.
    pub(crate) name: &'static str,
    /// What was found; `None` if there was nothing to measure.
    pub(crate) found: Option<f64>,
    /// What was allowed.
    pub(crate) limit: f64,
    /// Whether it is a lower bound.
    pub(crate) at_least: bool,
    /// Whether it was kept. What could not be measured was not.
    pub(crate) kept: bool,
}

/// The run in a few lines, for who reads no JSON.
pub(crate) fn in_words(outcome: &Outcome) -> String {
    let counts = &outcome.counts;
    let verdict = if outcome.passed { "passed" } else { "failed" };
    let ms = |value: Option<f64>| value.map_or("-".to_owned(), |ms| format!("{ms:.1} ms"));
    let mut out = format!(
        "{verdict}: {} messages on {} sockets, {} deliveries; {} lost, {} doubled, {} misplaced",
        counts.acked,
        outcome.sockets,
        counts.delivered + counts.replayed,
        outcome.lost,
        counts.doubled,
        counts.misplaced,
    );
    if outcome.delivery_ms.count > 0 {
        out += &format!(
            "\nhalf of them within {}, 99 of 100 within {}",
            ms(outcome.delivery_ms.p50),
            ms(outcome.delivery_ms.p99)
        );
    }
    for limit in outcome.limits.iter().filter(|limit| !limit.kept) {
        let sign = if limit.at_least {
            "at least"
        } else {
            "at most"
        };
        let found = limit
            .found
            .map_or("not measured".to_owned(), |found| format!("{found:.3}"));
        out += &format!("\n{}: {found}, {sign} {} allowed", limit.name, limit.limit);
    }
    for warning in &outcome.warnings {
        out += &format!("\nread with care: {warning}");
    }
    out
}

/// Judges all limits that are set, and those that always are: nothing lost, doubled, misplaced.
pub(crate) fn judge(outcome: &Outcome) -> Vec<Judged> {
    let (limits, figures) = (&outcome.scenario.limits, &outcome.figures);
    let counts = &outcome.counts;
    let count = |value: u64| Some(value as f64);
    let at_most = [
        (
            "lost",
            Some(limits.lost.unwrap_or(0.0)),
            count(outcome.lost),
        ),
        (
            "doubled",
            Some(limits.doubled.unwrap_or(0.0)),
            count(counts.doubled),
        ),
        (
            "misplaced",
            Some(limits.misplaced.unwrap_or(0.0)),
            count(counts.misplaced),
        ),
        ("refused", limits.refused, count(counts.refused)),
        (
            "closed_by_server",
            limits.closed_by_server,
            count(counts.closed_by_server),
        ),
        (
            "connects_failed",
            limits.connects_failed,
            count(counts.connects_failed),
        ),
        (
            "delivery_p50_ms",
            limits.delivery_p50_ms,
            outcome.delivery_ms.p50,
        ),
        (
            "delivery_p99_ms",
            limits.delivery_p99_ms,
            outcome.delivery_ms.p99,
        ),
        ("ack_p99_ms", limits.ack_p99_ms, outcome.ack_ms.p99),
        (
            "connect_p99_ms",
            limits.connect_p99_ms,
            outcome.connect_ms.p99,
        ),
        ("replay_p99_ms", limits.replay_p99_ms, outcome.replay_ms.p99),
        (
            "cpu_us_per_delivery",
            limits.cpu_us_per_delivery,
            figures.cpu_us_per_delivery,
        ),
        (
            "cpu_us_per_message",
            limits.cpu_us_per_message,
            figures.cpu_us_per_message,
        ),
        (
            "cpu_us_per_connect",
            limits.cpu_us_per_connect,
            figures.cpu_us_per_connect,
        ),
        (
            "cpu_us_per_socket_second",
            limits.cpu_us_per_socket_second,
            figures.cpu_us_per_socket_second,
        ),
        (
            "kib_per_socket",
            limits.kib_per_socket,
            figures.kib_per_socket,
        ),
        (
            "memory_slope",
            limits.memory_slope,
            // What is surely exceeded, not what the line of this one run happens to say.
            figures.memory_slope.map(|slope| slope.low),
        ),
    ];
    let at_least = [
        (
            "messages_per_second_min",
            limits.messages_per_second_min,
            Some(figures.messages_per_second),
        ),
        (
            "deliveries_per_second_min",
            limits.deliveries_per_second_min,
            Some(figures.deliveries_per_second),
        ),
    ];
    let upper = at_most.into_iter().map(|limit| (limit, false));
    let all = upper.chain(at_least.into_iter().map(|limit| (limit, true)));
    all.filter_map(|((name, limit, found), at_least)| {
        let limit = limit?;
        let kept = |found: f64| {
            if at_least {
                found >= limit
            } else {
                found <= limit
            }
        };
        Some(Judged {
            name,
            found,
            limit,
            at_least,
            kept: found.is_some_and(kept),
        })
    })
    .collect()
}
