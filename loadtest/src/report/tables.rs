//! The report's tables.

use std::fmt::Write as _;

use super::plot::short;
use super::{escape, percent, thousands};
use crate::outcome::{Outcome, Percentiles};

/// The servers one by one, where there are several.
pub(super) fn nodes(outcome: &Outcome) -> String {
    if outcome.nodes.is_empty() {
        return String::new();
    }
    let mut out = String::from(
        "<section><h2>Each server, during the load</h2><table><tr><th></th><th>deliveries</th>\
         <th>CPU for each, µs</th><th>CPU for each message of the run, µs</th><th>of a core</th>\
         <th>memory, MiB</th></tr>",
    );
    let cell = |value: Option<f64>| value.map_or("–".to_owned(), short);
    for node in &outcome.nodes {
        let _ = write!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(&node.address),
            thousands(node.deliveries as f64),
            cell(node.cpu_us_per_delivery),
            cell(node.cpu_us_per_message),
            percent(node.cores),
            cell(node.mib),
        );
    }
    out.push_str("</table></section>");
    out
}

/// The limits, and what else was noticed.
pub(super) fn limits(outcome: &Outcome) -> String {
    let mut out = String::from(
        "<section><h2>Limits</h2><table><tr><th>limit</th><th>allowed</th><th>found</th><th></th></tr>",
    );
    for limit in &outcome.limits {
        let (sign, class, kept) = match (limit.at_least, limit.kept) {
            (true, true) => ("≥", "pass", "kept"),
            (false, true) => ("≤", "pass", "kept"),
            (true, false) => ("≥", "fail", "broken"),
            (false, false) => ("≤", "fail", "broken"),
        };
        let found = limit.found.map_or("not measured".to_owned(), short);
        let _ = write!(
            out,
            "<tr><td>{}</td><td>{sign} {}</td><td>{found}</td><td class=\"{class}\">{kept}</td></tr>",
            limit.name.replace('_', " "),
            short(limit.limit),
        );
    }
    out.push_str("</table>");
    if !outcome.examples.is_empty() {
        out.push_str("<h3>Noticed</h3><ul>");
        for example in &outcome.examples {
            let _ = write!(out, "<li>{}</li>", escape(example));
        }
        out.push_str("</ul>");
    }
    out.push_str("</section>");
    out
}

/// Latencies by percentile.
pub(super) fn percentiles(outcome: &Outcome) -> String {
    let rows: [(&str, &Percentiles); 5] = [
        ("due to delivered", &outcome.delivery_ms),
        ("due to acknowledged", &outcome.ack_ms),
        ("connecting until let in", &outcome.connect_ms),
        ("reconnecting until up to date", &outcome.replay_ms),
        ("sent later than due (the generator)", &outcome.late_ms),
    ];
    let mut out = String::from(
        "<section><h2>Latencies, milliseconds</h2><table><tr><th></th><th>count</th><th>50 %</th>\
         <th>90 %</th><th>99 %</th><th>99.9 %</th><th>longest</th></tr>",
    );
    for (name, row) in rows.into_iter().filter(|(_, row)| row.count > 0) {
        let _ = write!(
            out,
            "<tr><td>{name}</td><td>{}</td>",
            thousands(row.count as f64)
        );
        for value in [row.p50, row.p90, row.p99, row.p999, row.max] {
            let _ = write!(out, "<td>{}</td>", value.map_or(String::new(), short));
        }
        out.push_str("</tr>");
    }
    out.push_str("</table></section>");
    out
}

/// What happened, counted.
pub(super) fn counts(outcome: &Outcome) -> String {
    let counts = &outcome.counts;
    let rows = [
        ("messages sent", counts.sent),
        ("acknowledged", counts.acked),
        ("refused", counts.refused),
        ("without an answer", outcome.unanswered),
        ("delivered", counts.delivered),
        ("fetched after a break", counts.replayed),
        (
            "questions for it refused, and asked again",
            counts.syncs_refused,
        ),
        ("lost", outcome.lost),
        ("doubled", counts.doubled),
        ("out of order", counts.misplaced),
        ("other events received", counts.other_events),
        ("sockets let in", counts.connects),
        ("handshakes that failed", counts.connects_failed),
        ("cut on purpose", counts.cuts),
        ("closed by the server", counts.closed_by_server),
    ];
    let mut out = String::from("<section><h2>Counts, warm-up included</h2><table>");
    for (name, count) in rows {
        let _ = write!(
            out,
            "<tr><td>{name}</td><td>{}</td></tr>",
            thousands(count as f64)
        );
    }
    let _ = write!(
        out,
        "</table><p class=\"about\">People and rooms were made in {:.1} s, sockets opened in {:.1} s, \
         by {} load generator{}, seed {}.</p></section>",
        outcome.setup_seconds,
        outcome.opening_seconds,
        outcome.workers,
        if outcome.workers == 1 { "" } else { "s" },
        outcome.scenario.run.seed,
    );
    out
}
