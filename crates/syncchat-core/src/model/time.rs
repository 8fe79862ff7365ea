//! Time as the contract shows it: UTC, in whole milliseconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// This moment, by the system's clock.
    pub fn now() -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp(since.as_millis() as i64)
    }

    /// The moment `millis` milliseconds after 1970.
    pub const fn from_millis(millis: i64) -> Timestamp {
        Timestamp(millis)
    }

    /// Milliseconds since 1970.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// The moment `span` later.
    pub fn plus(self, span: Duration) -> Timestamp {
        Timestamp(
            self.0
                .saturating_add(span.as_millis().min(i64::MAX as u128) as i64),
        )
    }

    /// The moment `span` earlier.
    pub fn before(self, span: Duration) -> Timestamp {
        Timestamp(
            self.0
                .saturating_sub(span.as_millis().min(i64::MAX as u128) as i64),
        )
    }

    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).max(0) as u64)
    }

    /// `2026-01-31T08:15:30.123Z` (RFC 3339).
    pub fn rfc3339(self) -> String {
        String::from_utf8_lossy(&self.rfc3339_bytes()).into_owned()
    }

    /// The ASCII characters of [`Timestamp::rfc3339`]. Every message is written with two times in
    /// it, more than once: a general formatter took as long as the rest of its JSON.
    pub fn rfc3339_bytes(self) -> [u8; 24] {
        let mut text = *b"1970-01-01T00:00:00.000Z";
        let Ok(at) = OffsetDateTime::from_unix_timestamp(self.0.div_euclid(1000)) else {
            return text;
        };
        // Beyond the years 0 to 9999 RFC 3339 has no words.
        let Ok(year) = u16::try_from(at.year()) else {
            return text;
        };
        let two = |number: u8| [b'0' + number / 10, b'0' + number % 10];
        let hundreds = |number: u16| two(u8::try_from(number).unwrap_or_default());
        let millis = self.0.rem_euclid(1000) as u16;
        text[0..2].copy_from_slice(&hundreds(year / 100));
        text[2..4].copy_from_slice(&hundreds(year % 100));
        text[5..7].copy_from_slice(&two(u8::from(at.month())));
        text[8..10].copy_from_slice(&two(at.day()));
        text[11..13].copy_from_slice(&two(at.hour()));
        text[14..16].copy_from_slice(&two(at.minute()));
        text[17..19].copy_from_slice(&two(at.second()));
        text[20..22].copy_from_slice(&hundreds(millis / 10));
        text[22] = b'0' + (millis % 10) as u8;
        text
    }

    /// Reads any RFC 3339 time; `None` if the text is none.
    pub fn parse(text: &str) -> Option<Timestamp> {
        let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        i64::try_from(at.unix_timestamp_nanos() / 1_000_000)
            .ok()
            .map(Timestamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_and_reads_rfc3339() {
        let at = Timestamp::from_millis(1_769_847_330_123);
        assert_eq!(at.rfc3339(), "2026-01-31T08:15:30.123Z");
        assert_eq!(Timestamp::parse(&at.rfc3339()), Some(at));
        for millis in [
            -62_167_219_200_000,
            -1,
            0,
            951_782_399_999,
            253_402_300_799_999,
        ] {
            let at = Timestamp::from_millis(millis);
            assert_eq!(
                Timestamp::parse(&at.rfc3339()),
                Some(at),
                "{}",
                at.rfc3339()
            );
        }
        let unspeakable = Timestamp::from_millis(i64::MAX).rfc3339();
        assert_eq!(unspeakable, "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::parse("2026-01-31T09:15:30.123+01:00"), Some(at));
        assert_eq!(Timestamp::parse("yesterday"), None);
    }
}
