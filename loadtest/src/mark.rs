//! What every text begins with, so that it is known wherever it turns up, whatever JSON is around:
//! `~lt ROOM SENDER NUMBER DUE `, filled up with dots to the wanted length.

use std::io::Write;

use memchr::memmem::Finder;

const BEGIN: &[u8] = b"~lt ";

/// One message of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Which room, by its place in the run.
    pub(crate) room: u32,
    /// Which sender of that room.
    pub(crate) sender: u32,
    /// Which message of that sender, from 0.
    pub(crate) number: u32,
    /// When it was due, microseconds since 1970.
    pub(crate) due: u64,
}

impl Mark {
    /// Appends a text of this many characters, or a few more where they do not suffice.
    pub(crate) fn write(&self, out: &mut Vec<u8>, bytes: usize) {
        let start = out.len();
        // Writing to a vector does not fail.
        let _ = write!(
            out,
            "~lt {} {} {} {} ",
            self.room, self.sender, self.number, self.due
        );
        // A text that ends in a blank might be trimmed.
        out.resize((start + bytes).max(out.len() + 1), b'.');
    }
}

/// Finds marks in packets.
pub(crate) struct Marks {
    finder: Finder<'static>,
}

impl Marks {
    /// A finder, to be kept.
    pub(crate) fn new() -> Marks {
        Marks {
            finder: Finder::new(BEGIN),
        }
    }

    /// The first mark of a packet.
    pub(crate) fn first(&self, packet: &[u8]) -> Option<Mark> {
        let at = self.finder.find(packet)?;
        let mut rest = &packet[at + BEGIN.len()..];
        let mut number = || take_number(&mut rest);
        Some(Mark {
            room: number()? as u32,
            sender: number()? as u32,
            number: number()? as u32,
            due: number()?,
        })
    }
}

/// Takes `digits blank` off the front.
fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for (i, byte) in rest.iter().enumerate() {
        match byte {
            b'0'..=b'9' => value = value.wrapping_mul(10).wrapping_add(u64::from(byte - b'0')),
            b' ' if i > 0 => {
                *rest = &rest[i + 1..];
                return Some(value);
            }
            _ => return None,
        }
    }
    None
}

/// The number that follows a key such as `"seq":`.
pub(crate) fn number_after(finder: &Finder<'_>, packet: &[u8]) -> Option<u64> {
    let at = finder.find(packet)? + finder.needle().len();
    packet[at..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(None, |value: Option<u64>, byte| {
            Some(value.unwrap_or(0).wrapping_mul(10) + u64::from(byte - b'0'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_from_any_packet() {
        let mark = Mark {
            room: 7,
            sender: 0,
            number: 123_456,
            due: 1_764_000_000_000_000,
        };
        let mut text = Vec::new();
        mark.write(&mut text, 128);
        assert_eq!(text.len(), 128);
        let mut packet = br#"42["receive_msg",{"content":""#.to_vec();
        packet.extend_from_slice(&text);
        packet.extend_from_slice(br#"","seq":42}]"#);
        assert_eq!(Marks::new().first(&packet), Some(mark));
        assert_eq!(number_after(&Finder::new(b"\"seq\":"), &packet), Some(42));
        assert_eq!(Marks::new().first(b"~lt 1 x 3 4 "), None);
        assert_eq!(Marks::new().first(b"~lt 1 2 3"), None);
    }
}
