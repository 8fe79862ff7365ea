//! Plots as SVG: lines over time or over percentiles, with axes that people can read.

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 34.0;

/// Places on the paper before they are scaled: x and y, by rising x.
type Points = Vec<(f64, f64)>;

/// One plot.
pub(crate) struct Plot<'a> {
    /// What is seen, as a heading.
    pub(crate) title: &'a str,
    /// What one should see in it, in a sentence.
    pub(crate) note: &'a str,
    /// The y axis's unit.
    pub(crate) unit: &'a str,
    /// Lines: what they are, and their points by rising x.
    pub(crate) lines: Vec<(&'a str, Points)>,
    /// Where the x axis begins and ends, what it says under it, and its ticks.
    pub(crate) x: Axis,
    /// Whether y grows by factors.
    pub(crate) log: bool,
    /// Spans of x that are shaded: what does not count.
    pub(crate) shaded: Vec<(f64, f64)>,
    /// Things that happened, by x.
    pub(crate) marks: Vec<(f64, String)>,
}

/// An x axis.
pub(crate) struct Axis {
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) label: &'static str,
    pub(crate) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// Seconds.
    pub(crate) fn seconds(from: f64, to: f64) -> Axis {
        let to = to.max(from + 1.0);
        let ticks = nice_ticks(from, to, 8);
        Axis {
            from,
            to,
            label: "seconds since the load began",
            ticks: ticks.iter().map(|at| (*at, short(*at))).collect(),
        }
    }

    /// Percentiles, by how many nines they have.
    pub(crate) fn nines(to: f64) -> Axis {
        let names = ["0", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %"];
        let ticks = names
            .iter()
            .enumerate()
            .map(|(i, name)| (i as f64, (*name).to_owned()));
        let to = to.max(1.0);
        Axis {
            from: 0.0,
            to,
            label: "share of messages that took no longer",
            ticks: ticks.filter(|(at, _)| *at <= to + 1e-9).collect(),
        }
    }
}

/// From values to places on the paper.
struct Scale {
    from: f64,
    to: f64,
    log: bool,
}

impl Scale {
    fn y(&self, value: f64) -> f64 {
        let part = match self.log {
            true => (value.max(self.from) / self.from).ln() / (self.to / self.from).ln(),
            false => (value - self.from) / (self.to - self.from),
        };
        HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)
    }
}

impl Plot<'_> {
    /// As a figure of HTML; nothing if there is nothing to see.
    pub(crate) fn html(&self) -> String {
        let mut values = self
            .lines
            .iter()
            .flat_map(|(_, points)| points)
            .map(|point| point.1);
        if values.next().is_none() {
            return String::new();
        }
        let mut out = String::new();
        let _ = write!(
            out,
            "<figure><figcaption><h3>{}</h3><p>{}</p>",
            self.title, self.note
        );
        for (i, (name, points)) in self.lines.iter().enumerate() {
            if !points.is_empty() {
                let _ = write!(out, "<span class=\"key k{i}\">{name}</span>");
            }
        }
        let _ = write!(out, "</figcaption>{}</figure>", self.svg());
        out
    }

    fn svg(&self) -> String {
        let (scale, ticks) = self.scale();
        let x = |at: f64| {
            let part = (at - self.x.from) / (self.x.to - self.x.from);
            LEFT + part.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
        };
        let mut out = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            self.title
        );
        let floor = HEIGHT - BOTTOM;
        for (from, to) in &self.shaded {
            let (from, to) = (x(*from), x(*to));
            let _ = write!(
                out,
                "<rect class=\"shade\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                (to - from).max(0.0),
                floor - TOP
            );
        }
        for tick in ticks {
            let y = scale.y(tick);
            let _ = write!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"y\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 7.0,
                y + 4.0,
                short(tick)
            );
        }
        for (at, name) in &self.x.ticks {
            let at = x(*at);
            let _ = write!(
                out,
                "<line class=\"tick\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{floor}\" y2=\"{:.1}\"/>\
                 <text class=\"x\" x=\"{:.1}\" y=\"{:.1}\">{name}</text>",
                floor + 4.0,
                // The last one must not reach over the edge.
                at.min(WIDTH - 4.0 * name.len() as f64),
                floor + 16.0
            );
        }
        let _ = write!(
            out,
            "<text class=\"x label\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\
             <text x=\"0\" y=\"{:.1}\">{}</text>",
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 3.0,
            self.x.label,
            TOP - 13.0,
            self.unit
        );
        for (at, name) in &self.marks {
            let at = x(*at);
            let _ = write!(
                out,
                "<line class=\"mark\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{floor}\"/>\
                 <text class=\"marked\" x=\"{:.1}\" y=\"{:.1}\">{name}</text>",
                at + 4.0,
                TOP + 10.0
            );
        }
        for (i, (_, points)) in self.lines.iter().enumerate() {
            let mut path = String::new();
            for (n, (at, value)) in points.iter().enumerate() {
                let letter = if n == 0 { 'M' } else { 'L' };
                let _ = write!(path, "{letter}{:.1} {:.1}", x(*at), scale.y(*value));
            }
            let _ = write!(out, "<path class=\"line l{i}\" d=\"{path}\"/>");
            if let [(at, value)] = points[..] {
                let (at, value) = (x(at), scale.y(value));
                let _ = write!(
                    out,
                    "<circle class=\"dot l{i}\" cx=\"{at:.1}\" cy=\"{value:.1}\" r=\"3\"/>"
                );
            }
        }
        out.push_str("</svg>");
        out
    }

    fn scale(&self) -> (Scale, Vec<f64>) {
        let values = || {
            self.lines
                .iter()
                .flat_map(|(_, points)| points)
                .map(|point| point.1)
        };
        let high = values().fold(0.0, f64::max);
        if !self.log {
            let ticks = nice_ticks(0.0, if high > 0.0 { high } else { 1.0 }, 5);
            let step = ticks.get(1).copied().unwrap_or(1.0);
            let to = (high / step).ceil().max(1.0) * step;
            let ticks = (0..)
                .map(|i| f64::from(i) * step)
                .take_while(|at| *at <= to * 1.001);
            let scale = Scale {
                from: 0.0,
                to,
                log: false,
            };
            return (scale, ticks.collect());
        }
        let low = values()
            .filter(|value| *value > 0.0)
            .fold(f64::INFINITY, f64::min);
        let from = 10_f64.powf(low.clamp(1e-3, 1.0).log10().floor());
        let to = 10_f64.powf(high.max(from * 10.0).log10().ceil());
        let steps = (to / from).log10().round() as i32;
        let ticks = (0..=steps).map(|i| from * 10_f64.powi(i)).collect();
        let scale = Scale {
            from,
            to,
            log: true,
        };
        (scale, ticks)
    }
}

/// Round numbers between two, about so many.
fn nice_ticks(from: f64, to: f64, count: usize) -> Vec<f64> {
    let raw = (to - from) / count as f64;
    let power = 10_f64.powf(raw.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|f| f * power >= raw * 0.999);
    let step = factor.unwrap_or(10.0) * power;
    let first = (from / step).ceil() as i64;
    let last = (to / step + 1e-9).floor() as i64;
    (first..=last).map(|i| i as f64 * step).collect()
}

/// A number with few letters: 1.5k, 2M, 0.25.
pub(crate) fn short(value: f64) -> String {
    let (value, letter) = match value.abs() {
        big if big >= 1e6 => (value / 1e6, "M"),
        middle if middle >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = match value.abs() {
        big if big >= 100.0 => format!("{value:.0}"),
        small if small < 1.0 => format!("{value:.3}"),
        _ => format!("{value:.1}"),
    };
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text}{letter}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.25, "0.25"),
            (5.0, "5"),
            (1_500.0, "1500"),
            (15_000.0, "15k"),
            (2_000_000.0, "2M"),
        ] {
            assert_eq!(short(value), text);
        }
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(nice_ticks(0.0, 10.0, 5), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(nice_ticks(-2.0, 2.0, 4), [-2.0, -1.0, 0.0, 1.0, 2.0]);
    }
}
