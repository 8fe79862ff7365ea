//! Identifiers: 12 bytes, written as 24 hex digits, whichever store is used. They sort by the
//! second they were made in, as MongoDB's ObjectIds do.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::time::Timestamp;

/// The text is not 24 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 24 hex digits")]
pub struct BadId;

/// Five random bytes of this process and a counter that starts at random: together with the
/// second, unique across processes (BSON specification, ObjectId).
fn generate(at: Timestamp) -> [u8; 12] {
    static PROCESS: OnceLock<[u8; 5]> = OnceLock::new();
    static COUNTER: OnceLock<AtomicU32> = OnceLock::new();
    let process = PROCESS.get_or_init(|| {
        let mut bytes = [0; 5];
        fill_random(&mut bytes);
        bytes
    });
    let counter = COUNTER.get_or_init(|| {
        let mut bytes = [0; 4];
        fill_random(&mut bytes);
        AtomicU32::new(u32::from_be_bytes(bytes))
    });
    let seconds = seconds(at);
    let count = counter.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let mut id = [0; 12];
    id[..4].copy_from_slice(&seconds.to_be_bytes());
    id[4..9].copy_from_slice(process);
    id[9..].copy_from_slice(&count[1..]);
    id
}

/// The seconds of a moment, as an id has them.
fn seconds(at: Timestamp) -> u32 {
    u32::try_from(at.millis().max(0) / 1_000).unwrap_or(u32::MAX)
}

/// Random bytes, or, on a system without a random source, bytes from the clock: what is made of
/// them only has to differ between processes, it is no secret.
pub(super) fn fill_random(bytes: &mut [u8]) {
    if getrandom::fill(bytes).is_err() {
        let nanos = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.subsec_nanos());
        let seed = (nanos ^ std::process::id().rotate_left(16)).to_be_bytes();
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = seed[i % seed.len()];
        }
    }
}

fn parse(text: &str) -> Result<[u8; 12], BadId> {
    let digits = text.as_bytes();
    if digits.len() != 24 {
        return Err(BadId);
    }
    let mut id = [0; 12];
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        let high = (pair[0] as char).to_digit(16).ok_or(BadId)?;
        let low = (pair[1] as char).to_digit(16).ok_or(BadId)?;
        *byte = (high << 4 | low) as u8;
    }
    Ok(id)
}

/// The 24 digits of an id.
pub fn hex_digits(id: [u8; 12]) -> [u8; 24] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 24];
    for (pair, byte) in text.chunks_exact_mut(2).zip(id) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    text
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 12]);

        impl $name {
            /// A new id, unique across the fleet.
            pub fn generate() -> $name {
                $name(generate(Timestamp::now()))
            }

            /// A new id, unique across the fleet, for what is made at this moment.
            pub fn generate_at(at: Timestamp) -> $name {
                $name(generate(at))
            }

            /// The lowest id that can be made in the second of this moment.
            pub fn first_of(at: Timestamp) -> $name {
                let mut bytes = [0; 12];
                bytes[..4].copy_from_slice(&seconds(at).to_be_bytes());
                $name(bytes)
            }

            /// The id that has these bytes.
            pub const fn from_bytes(bytes: [u8; 12]) -> $name {
                $name(bytes)
            }

            /// The twelve bytes.
            pub const fn bytes(self) -> [u8; 12] {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<$name, BadId> {
                parse(text).map($name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let digits = hex_digits(self.0);
                f.write_str(std::str::from_utf8(&digits).unwrap_or_default())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id_type! {
    /// A person.
    UserId
}
id_type! {
    /// A private or group conversation.
    ConversationId
}
id_type! {
    /// A message; its place in the conversation is its `seq`.
    MessageId
}
id_type! {
    /// An uploaded file.
    FileId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_refuses_the_rest() {
        let id = MessageId::generate();
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in [
            "",
            "0",
            "zz0000000000000000000000",
            "0000000000000000000000000",
            "{\"$ne\":1}",
        ] {
            assert_eq!(bad.parse::<UserId>(), Err(BadId), "{bad}");
        }
    }

    #[test]
    fn sorts_by_the_second() {
        let second = |s: i64| Timestamp::from_millis(Timestamp::now().millis() + s * 1_000);
        let id = MessageId::generate();
        assert!(MessageId::first_of(second(-1)) < id && id < MessageId::first_of(second(2)));
        let epoch = MessageId::from_bytes([0; 12]);
        assert_eq!(MessageId::first_of(Timestamp::from_millis(-1)), epoch);
        let id = MessageId::generate_at(second(100));
        assert!(MessageId::first_of(second(100)) <= id && id < MessageId::first_of(second(101)));
    }

    #[test]
    fn never_repeats() {
        let mut ids: Vec<_> = (0..10_000).map(|_| UserId::generate()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 10_000);
    }
}
