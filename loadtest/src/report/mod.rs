//! The report: one HTML file with everything in it, to be read without knowing the program.

mod plot;
mod tables;

use std::fmt::Write as _;

use crate::measure::Latency;
use crate::outcome::{Outcome, Second};
use plot::{Axis, Plot, short};

const STYLE: &str = include_str!("style.css");

/// The whole file.
pub(crate) fn html(outcome: &Outcome) -> String {
    let mut out = String::new();
    let scenario = &outcome.scenario;
    let (class, verdict) = match outcome.passed {
        true => ("pass", "passed"),
        false => ("fail", "failed"),
    };
    let _ = write!(
        out,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{name}: {verdict}</title><style>{STYLE}</style><main>\
         <header><p class=\"eyebrow\">Load test of {target}</p>\
         <h1>{name} <span class=\"verdict {class}\">{verdict}</span></h1>\
         <p class=\"about\">{about}</p></header>",
        name = escape(&scenario.name),
        target = escape(&outcome.target),
        about = escape(&scenario.about),
    );
    out.push_str(&summary(outcome));
    for warning in &outcome.warnings {
        let _ = write!(
            out,
            "<p class=\"warning\"><b>Read with care:</b> {}</p>",
            escape(warning)
        );
    }
    out.push_str(&tiles(outcome));
    let _ = write!(out, "<section class=\"plots\">{}</section>", plots(outcome));
    out.push_str(&tables::nodes(outcome));
    out.push_str(&tables::limits(outcome));
    out.push_str(&tables::percentiles(outcome));
    out.push_str(&tables::counts(outcome));
    out.push_str("</main></html>\n");
    out
}

/// The run in one or two sentences.
fn summary(outcome: &Outcome) -> String {
    let counts = &outcome.counts;
    let faults = outcome.lost + counts.doubled + counts.misplaced;
    let seconds = outcome.scenario.run.seconds;
    let mut text = format!(
        "{} sockets for {seconds} s",
        thousands(outcome.sockets as f64)
    );
    if counts.delivered > 0 {
        let _ = write!(
            text,
            ": {} messages reached their readers {} times. ",
            thousands(counts.acked as f64),
            thousands((counts.delivered + counts.replayed) as f64),
        );
        text.push_str(match faults {
            0 => "Every acknowledged message arrived everywhere, once, in order.",
            _ => "Messages were lost, doubled or out of order: see below.",
        });
    } else {
        text.push('.');
    }
    format!("<p class=\"summary\">{text}</p>")
}

fn tiles(outcome: &Outcome) -> String {
    let (figures, counts) = (&outcome.figures, &outcome.counts);
    let faults = outcome.lost + counts.doubled + counts.misplaced;
    let talks = counts.delivered > 0;
    let mut tiles: Vec<(&str, Option<String>, String)> = Vec::new();
    let ms = |value: Option<f64>| value.map(duration);
    if talks {
        tiles.push((
            "lost, doubled, misplaced",
            Some(thousands(faults as f64)),
            format!("of {} deliveries", thousands(counts.delivered as f64)),
        ));
        tiles.push((
            "deliveries a second",
            Some(thousands(figures.deliveries_per_second)),
            format!(
                "from {} messages a second",
                thousands(figures.messages_per_second)
            ),
        ));
        tiles.push((
            "99 of 100 delivered within",
            ms(outcome.delivery_ms.p99),
            format!(
                "half within {}",
                ms(outcome.delivery_ms.p50).unwrap_or_default()
            ),
        ));
        tiles.push((
            "99 of 100 acknowledged within",
            ms(outcome.ack_ms.p99),
            format!("half within {}", ms(outcome.ack_ms.p50).unwrap_or_default()),
        ));
        tiles.push((
            "server's CPU for a delivery",
            figures.cpu_us_per_delivery.map(|us| format!("{us:.2} µs")),
            format!(
                "all it did included; {} of a core",
                percent(figures.server_cores)
            ),
        ));
    } else {
        tiles.push((
            "let in a second",
            Some(thousands(figures.connects_per_second)),
            format!(
                "99 of 100 within {}",
                ms(outcome.connect_ms.p99).unwrap_or_default()
            ),
        ));
        tiles.push((
            "server's CPU to let one in",
            figures.cpu_us_per_connect.map(|us| format!("{us:.0} µs")),
            "authenticated, in its rooms".to_owned(),
        ));
        tiles.push((
            "server's CPU for a socket",
            figures
                .cpu_us_per_socket_second
                .map(|us| format!("{us:.2} µs/s")),
            "heartbeat included".to_owned(),
        ));
    }
    if outcome.replay_ms.count > 0 {
        tiles.push((
            "99 of 100 up to date after a break within",
            ms(outcome.replay_ms.p99),
            format!(
                "{} sockets came back",
                thousands(outcome.replay_ms.count as f64)
            ),
        ));
    }
    tiles.push((
        "server's memory for a socket",
        figures.kib_per_socket.map(|kib| format!("{kib:.1} KiB")),
        format!("{:.0} MiB in all", figures.server_mib.unwrap_or(0.0)),
    ));
    let mut out = String::from("<section class=\"tiles\">");
    for (name, value, more) in tiles {
        if let Some(value) = value {
            let _ = write!(
                out,
                "<div><b>{value}</b><span>{name}</span><i>{more}</i></div>"
            );
        }
    }
    out.push_str("</section>");
    out
}

fn plots(outcome: &Outcome) -> String {
    let run = &outcome.scenario.run;
    let at = |second: &Second| (second.at as f64 - outcome.began as f64) / 1e6;
    let seconds = &outcome.seconds;
    let first = seconds.first().map_or(0.0, at).min(0.0);
    let last = seconds.last().map_or(1.0, at);
    let shaded = || {
        let (warm_up, seconds) = (run.warm_up as f64, run.seconds as f64);
        vec![(first, warm_up), (warm_up + seconds, last)]
    };
    let marks = || -> Vec<(f64, String)> {
        let happenings = outcome.scenario.happenings.iter();
        let named = happenings.map(|h| match h.drop {
            Some(share) => (h.second, format!("{:.0} % cut", share * 100.0)),
            None => (h.second, "command".to_owned()),
        });
        named.collect()
    };
    let line = |value: &dyn Fn(&Second) -> Option<f64>| -> Vec<(f64, f64)> {
        let points = seconds
            .iter()
            .filter_map(|second| Some((at(second), value(second)?)));
        points.collect()
    };
    let over_time = |title, note, unit, lines, log| {
        let plot = Plot {
            title,
            note,
            unit,
            lines,
            x: Axis::seconds(first, last),
            log,
            shaded: shaded(),
            marks: marks(),
        };
        plot.html()
    };
    let mut out = by_percentile(outcome);
    out.push_str(&over_time(
        "Latency over time",
        "From when a message was due to its arrival. Shaded: what does not count.",
        "ms",
        vec![
            ("99 of 100", line(&|s| s.sums.delivery.ms(0.99))),
            ("half", line(&|s| s.sums.delivery.ms(0.5))),
            ("longest", line(&|s| s.sums.delivery.max_ms())),
        ],
        true,
    ));
    // Ticks that hold a part of a second say nothing of a rate.
    let whole = |index: usize| {
        let before = index.checked_sub(1).map(|before| at(&seconds[before]));
        before.is_none_or(|before| at(&seconds[index]) - before > 0.5)
    };
    let rate = |count: &dyn Fn(&Second) -> u64| -> Vec<(f64, f64)> {
        let talked = (0..seconds.len()).filter(|i| whole(*i) && at(&seconds[*i]) > 0.5);
        talked
            .map(|i| (at(&seconds[i]), count(&seconds[i]) as f64))
            .collect()
    };
    if outcome.counts.delivered > 0 {
        out.push_str(&over_time(
            "Deliveries",
            "Messages that reached a socket, each second.",
            "a second",
            vec![("delivered", rate(&|s| s.sums.counts.delivered))],
            false,
        ));
        out.push_str(&over_time(
            "Messages",
            "What senders sent and what the server acknowledged, each second.",
            "a second",
            vec![
                ("acknowledged", rate(&|s| s.sums.counts.acked)),
                ("sent", rate(&|s| s.sums.counts.sent)),
            ],
            false,
        ));
    }
    out.push_str(&over_time(
        "Connections",
        "Sockets that are let in.",
        "sockets",
        vec![("in", line(&|s| Some(s.connected as f64)))],
        false,
    ));
    out.push_str(&over_time(
        "Let in",
        "Sockets that came through the door, each second: the first time or again.",
        "a second",
        vec![("let in", line(&|s| Some(s.sums.counts.connects as f64)))],
        false,
    ));
    out.push_str(&over_time(
        "CPU",
        "Of one core. A generator near 100 % would be what is measured.",
        "%",
        vec![
            ("server", server_cpu(seconds, &at)),
            ("busiest load generator", line(&|s| Some(s.busiest * 100.0))),
        ],
        false,
    ));
    out.push_str(&over_time(
        "Server's memory",
        &growth(outcome),
        "MiB",
        vec![(
            "resident",
            line(&|s| Some(s.usage?.resident as f64 / f64::from(1 << 20))),
        )],
        false,
    ));
    out
}

/// What the server's memory did during the load, in words.
fn growth(outcome: &Outcome) -> String {
    outcome
        .figures
        .memory_slope
        .map_or("Resident.".to_owned(), |slope| {
            format!(
                "Resident: {:+.0} KiB a minute during the load; 95 % sure to be between {:+.0} and {:+.0}.",
                slope.slope, slope.low, slope.high
            )
        })
}

/// The server's share of a core between each two seconds.
fn server_cpu(seconds: &[Second], at: &dyn Fn(&Second) -> f64) -> Vec<(f64, f64)> {
    let pairs = seconds.windows(2).filter_map(|pair| {
        let spent = pair[1].usage?.cpu.saturating_sub(pair[0].usage?.cpu) as f64 / 1e6;
        let span = at(&pair[1]) - at(&pair[0]);
        (span > 0.5).then_some((at(&pair[1]), 100.0 * spent / span))
    });
    pairs.collect()
}

fn by_percentile(outcome: &Outcome) -> String {
    let all = [
        ("delivery", &outcome.total.delivery),
        ("acknowledgement", &outcome.total.ack),
        ("up to date after a break", &outcome.total.replay),
    ];
    let lines: Vec<(&str, Vec<(f64, f64)>)> = all
        .into_iter()
        .map(|(name, latency)| (name, nines(latency)))
        .collect();
    let furthest = lines.iter().filter_map(|(_, points)| points.last());
    let to = furthest.map(|point| point.0).fold(0.0, f64::max);
    let plot = Plot {
        title: "Latency by percentile",
        note: "How long most, nearly all, and the unluckiest waited.",
        unit: "ms",
        lines,
        x: Axis::nines(to),
        log: true,
        shaded: Vec::new(),
        marks: Vec::new(),
    };
    plot.html()
}

/// Milliseconds by the nines of the percentile, as far as there are values to say it.
fn nines(latency: &Latency) -> Vec<(f64, f64)> {
    let last = (latency.count().max(1) as f64).log10().min(5.0);
    let steps = (last * 20.0) as usize;
    let at = |step: usize| {
        let nines = step as f64 / 20.0;
        Some((nines, latency.ms(1.0 - 10_f64.powf(-nines))?))
    };
    (0..=steps).filter_map(at).collect()
}

/// Milliseconds, or seconds where they are many.
fn duration(ms: f64) -> String {
    match ms {
        long if long >= 1000.0 => format!("{:.1} s", long / 1000.0),
        _ => format!("{} ms", short(ms)),
    }
}

fn percent(share: Option<f64>) -> String {
    share.map_or("–".to_owned(), |share| format!("{:.0} %", share * 100.0))
}

/// A whole number with commas.
fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.max(0.0));
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_have_commas() {
        assert_eq!(thousands(0.0), "0");
        assert_eq!(thousands(999.0), "999");
        assert_eq!(thousands(1_234_567.0), "1,234,567");
    }

    #[test]
    fn what_comes_from_files_is_text() {
        assert_eq!(escape("<b a=\"&\">"), "&lt;b a=&quot;&amp;&quot;>");
    }
}
