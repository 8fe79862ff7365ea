//! Counts and latencies of one second of one process, and how they are put together.

use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Significant digits kept of each value.
const DIGITS: u8 = 3;
/// The longest latency kept, microseconds: ten minutes. Longer ones count as this long.
const MICROS_MAX: u64 = 600_000_000;

/// Microseconds, by percentile. Travels as pairs of value and count, so that nothing is lost when
/// those of many processes are merged.
#[derive(Clone, Debug)]
pub(crate) struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Latency {
        // The constants are within the crate's bounds.
        #[allow(clippy::expect_used, reason = "constants")]
        Latency(Histogram::new_with_bounds(1, MICROS_MAX, DIGITS).expect("valid bounds"))
    }
}

impl Latency {
    /// Adds one.
    pub(crate) fn record(&mut self, micros: u64) {
        self.0.saturating_record(micros);
    }

    /// Adds all of another.
    pub(crate) fn merge(&mut self, other: &Latency) {
        // Both have the same bounds.
        let _ = self.0.add(&other.0);
    }

    /// Empties it.
    pub(crate) fn reset(&mut self) {
        self.0.reset();
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// Milliseconds that this share of all does not exceed; `None` if there are none.
    pub(crate) fn ms(&self, quantile: f64) -> Option<f64> {
        (self.count() > 0).then(|| self.0.value_at_quantile(quantile) as f64 / 1000.0)
    }

    /// The longest, milliseconds.
    pub(crate) fn max_ms(&self) -> Option<f64> {
        (self.count() > 0).then(|| self.0.max() as f64 / 1000.0)
    }

    fn pairs(&self) -> Vec<(u64, u64)> {
        self.0
            .iter_recorded()
            .map(|value| (value.value_iterated_to(), value.count_at_value()))
            .collect()
    }
}

impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.pairs().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Latency, D::Error> {
        let mut latency = Latency::default();
        for (value, count) in Vec::<(u64, u64)>::deserialize(deserializer)? {
            latency.0.saturating_record_n(value, count);
        }
        Ok(latency)
    }
}

/// What happened, counted.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Counts {
    /// Messages that were due and written.
    pub(crate) sent: u64,
    /// Messages acknowledged as accepted.
    pub(crate) acked: u64,
    /// Messages the server refused.
    pub(crate) refused: u64,
    /// Events that brought a message to a socket.
    pub(crate) delivered: u64,
    /// Messages that came by asking after a reconnect.
    pub(crate) replayed: u64,
    /// Questions for what was missed that the server refused; they are asked again.
    pub(crate) syncs_refused: u64,
    /// Events that are not messages.
    pub(crate) other_events: u64,
    /// Events emitted that are not messages.
    pub(crate) emitted: u64,
    /// Bytes read.
    pub(crate) bytes_in: u64,
    /// Reads that brought something: several messages in one are writes the server saved.
    pub(crate) reads: u64,
    /// Sockets let in.
    pub(crate) connects: u64,
    /// Handshakes that failed.
    pub(crate) connects_failed: u64,
    /// Sockets that the server closed or broke.
    pub(crate) closed_by_server: u64,
    /// Sockets cut on purpose.
    pub(crate) cuts: u64,
    /// Messages that came twice over one connection.
    pub(crate) doubled: u64,
    /// Messages that came after later ones.
    pub(crate) misplaced: u64,
}

impl Counts {
    /// Adds all of another.
    pub(crate) fn merge(&mut self, other: &Counts) {
        self.sent += other.sent;
        self.acked += other.acked;
        self.refused += other.refused;
        self.delivered += other.delivered;
        self.replayed += other.replayed;
        self.syncs_refused += other.syncs_refused;
        self.other_events += other.other_events;
        self.emitted += other.emitted;
        self.bytes_in += other.bytes_in;
        self.reads += other.reads;
        self.connects += other.connects;
        self.connects_failed += other.connects_failed;
        self.closed_by_server += other.closed_by_server;
        self.cuts += other.cuts;
        self.doubled += other.doubled;
        self.misplaced += other.misplaced;
    }
}

/// Counts and latencies of a span of time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sums {
    /// Counts.
    pub(crate) counts: Counts,
    /// Of the deliveries, those of each server, by its place in the plan.
    pub(crate) delivered_by: Vec<u64>,
    /// From when a message was due to its arrival at another socket.
    pub(crate) delivery: Latency,
    /// From when it was due to its acknowledgement.
    pub(crate) ack: Latency,
    /// From the SYN to being let in.
    pub(crate) connect: Latency,
    /// From the SYN of a reconnect until all that was missed is there.
    pub(crate) replay: Latency,
    /// How much later than due messages were sent: the generator's own fault.
    pub(crate) late: Latency,
}

impl Sums {
    /// Counts a delivery by this server.
    pub(crate) fn delivered(&mut self, server: usize) {
        self.counts.delivered += 1;
        self.by(server, 1);
    }

    fn by(&mut self, server: usize, count: u64) {
        if self.delivered_by.len() <= server {
            self.delivered_by.resize(server + 1, 0);
        }
        self.delivered_by[server] += count;
    }

    /// Adds all of another.
    pub(crate) fn merge(&mut self, other: &Sums) {
        self.counts.merge(&other.counts);
        for (server, count) in other.delivered_by.iter().enumerate() {
            self.by(server, *count);
        }
        self.delivery.merge(&other.delivery);
        self.ack.merge(&other.ack);
        self.connect.merge(&other.connect);
        self.replay.merge(&other.replay);
        self.late.merge(&other.late);
    }

    /// Empties it, and keeps its memory.
    pub(crate) fn reset(&mut self) {
        self.counts = Counts::default();
        self.delivered_by.fill(0);
        let all = [
            &mut self.delivery,
            &mut self.ack,
            &mut self.connect,
            &mut self.replay,
            &mut self.late,
        ];
        all.into_iter().for_each(Latency::reset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_same_after_a_journey() {
        let mut latency = Latency::default();
        (1..=10_000).for_each(|micros| latency.record(micros * 7));
        latency.record(u64::MAX);
        let text = serde_json::to_string(&latency).unwrap();
        let back: Latency = serde_json::from_str(&text).unwrap();
        assert_eq!(back.count(), 10_001);
        for quantile in [0.5, 0.99, 0.999, 1.0] {
            assert_eq!(back.ms(quantile), latency.ms(quantile));
        }
        assert_eq!(back.pairs(), latency.pairs());
    }

    #[test]
    fn deliveries_are_added_server_by_server() {
        let (mut a, mut b) = (Sums::default(), Sums::default());
        a.delivered(0);
        (0..3).for_each(|_| b.delivered(2));
        a.merge(&b);
        assert_eq!(a.delivered_by, [1, 0, 3]);
        assert_eq!(a.counts.delivered, 4);
        a.reset();
        assert_eq!(a.delivered_by, [0, 0, 0]);
    }

    #[test]
    fn percentiles_of_two_are_those_of_all_their_values() {
        let (mut quick, mut slow) = (Latency::default(), Latency::default());
        (0..99).for_each(|_| quick.record(1_000));
        slow.record(100_000);
        quick.merge(&slow);
        assert_eq!(quick.ms(0.99).map(f64::round), Some(1.0));
        assert_eq!(quick.ms(1.0).map(f64::round), Some(100.0));
    }
}
