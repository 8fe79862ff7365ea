//! What the offset says that goes with every message, and how it is written.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use syncchat_core::model::{ConversationId, Seq, Timestamp};
use syncchat_identity::Seal;
use syncchat_identity::recovery::TAG_BYTES;

use crate::limits::RECENT_ROOMS_MAX;

const VERSION: u8 = 1;
const VARINT_BYTES_MAX: usize = 10;
/// While a message is being delivered there is one room more.
const BYTES_MAX: usize =
    1 + 2 * VARINT_BYTES_MAX + 4 + (RECENT_ROOMS_MAX + 1) * (4 + VARINT_BYTES_MAX) + TAG_BYTES;
/// Characters of an offset at most. With one busy conversation it has about 40.
const CHARS_MAX: usize = BYTES_MAX.div_ceil(3) * 4;

/// Where a connection is in all its conversations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offset {
    /// A conversation that is not among `recent` is where its log was at this moment.
    pub(crate) watermark: Timestamp,
    /// The places in all conversations, added up.
    pub(crate) sum: u64,
    /// [`room_mark`] of all conversations, added up.
    pub(crate) rooms: u32,
    /// Conversations, by [`room_mark`], with their places.
    pub(crate) recent: Vec<(u32, Seq)>,
}

/// Tells a person's conversations apart in four bytes: FNV-1a. Where it does not, there is no
/// recovery.
pub(crate) fn room_mark(room: ConversationId) -> u32 {
    room.bytes().iter().fold(0x811c_9dc5, |mark, byte| {
        (mark ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// Room for one offset, so that writing one allocates nothing.
pub(crate) struct Scratch {
    bytes: [u8; BYTES_MAX],
    size: usize,
    chars: [u8; CHARS_MAX],
}

impl Scratch {
    pub(crate) fn new() -> Scratch {
        Scratch {
            bytes: [0; BYTES_MAX],
            size: 0,
            chars: [0; CHARS_MAX],
        }
    }

    /// Writes an offset.
    pub(crate) fn write(
        &mut self,
        seal: &Seal,
        (watermark, sum, rooms): (Timestamp, u64, u32),
        recent: impl Iterator<Item = (u32, Seq)>,
    ) -> &str {
        self.size = 0;
        self.put(&[VERSION]);
        self.put_varint(watermark.millis().max(0).unsigned_abs());
        self.put_varint(sum);
        self.put(&rooms.to_le_bytes());
        for (mark, seq) in recent.take(RECENT_ROOMS_MAX + 1) {
            self.put(&mark.to_le_bytes());
            self.put_varint(seq);
        }
        let tag = seal.tag(&self.bytes[..self.size]);
        self.put(&tag);
        // Both buffers are as large as they can have to be.
        let chars = URL_SAFE_NO_PAD.encode_slice(&self.bytes[..self.size], &mut self.chars);
        std::str::from_utf8(&self.chars[..chars.unwrap_or(0)]).unwrap_or_default()
    }

    fn put(&mut self, bytes: &[u8]) {
        if let Some(place) = self.bytes.get_mut(self.size..self.size + bytes.len()) {
            place.copy_from_slice(bytes);
            self.size += bytes.len();
        }
    }

    fn put_varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.put(&[number as u8 | 0x80]);
            number >>= 7;
        }
        self.put(&[number as u8]);
    }
}

impl Offset {
    /// Reads what came with one of these seals on it; `None` for anything else.
    pub(crate) fn read(text: &str, mut seals: impl Iterator<Item = Seal>) -> Option<Offset> {
        if text.len() > CHARS_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (sealed, tag) = bytes.split_last_chunk::<TAG_BYTES>()?;
        if !seals.any(|seal| seal.tag(sealed) == *tag) {
            return None;
        }
        let mut rest = sealed.strip_prefix(&[VERSION])?;
        let watermark = Timestamp::from_millis(take_varint(&mut rest)?.try_into().ok()?);
        let sum = take_varint(&mut rest)?;
        let rooms = take_mark(&mut rest)?;
        let mut recent = Vec::new();
        while !rest.is_empty() {
            recent.push((take_mark(&mut rest)?, take_varint(&mut rest)?));
        }
        Some(Offset {
            watermark,
            sum,
            rooms,
            recent,
        })
    }
}

fn take_mark(rest: &mut &[u8]) -> Option<u32> {
    let (mark, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u32::from_le_bytes(*mark))
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recovery::testing::seal;

    fn written(offset: &Offset) -> String {
        let head = (offset.watermark, offset.sum, offset.rooms);
        let mut scratch = Scratch::new();
        let text = scratch.write(&seal("pid"), head, offset.recent.iter().copied());
        text.to_owned()
    }

    fn offset(recent: usize, seq: Seq) -> Offset {
        Offset {
            watermark: Timestamp::from_millis(1_796_000_000_000),
            sum: seq,
            rooms: 0xdead_beef,
            recent: (0..recent as u32).map(|n| (n * 77, seq)).collect(),
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        for offset in [
            offset(0, 0),
            offset(1, 300),
            offset(RECENT_ROOMS_MAX + 1, u64::MAX),
        ] {
            let text = written(&offset);
            let read = Offset::read(&text, [seal("other"), seal("pid")].into_iter());
            assert_eq!(read, Some(offset));
        }
        assert_eq!(written(&offset(1, 300)).len(), 36);
    }

    #[test]
    fn anything_else_is_refused() {
        let text = written(&offset(2, 1_000));
        let read = |text: &str| Offset::read(text, std::iter::once(seal("pid")));
        assert!(read(&text).is_some());
        assert!(Offset::read(&text, std::iter::once(seal("other"))).is_none());
        assert!(Offset::read(&text, std::iter::empty()).is_none());
        for place in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            assert!(
                read(std::str::from_utf8(&changed).unwrap()).is_none(),
                "{place}"
            );
            assert!(read(&text[..place]).is_none(), "{place}");
        }
        for garbage in ["", "tick", "Q87KQhv.0", "\u{1f4a3}", &"A".repeat(100_000)] {
            assert!(read(garbage).is_none());
        }
    }

    #[test]
    fn sealed_nonsense_does_no_harm() {
        let read = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            bytes.extend(seal("pid").tag(&bytes));
            Offset::read(&URL_SAFE_NO_PAD.encode(bytes), std::iter::once(seal("pid")))
        };
        assert!(read(&[VERSION, 0, 0, 0, 0, 0, 0]).is_some());
        assert!(read(&[VERSION + 1, 0, 0, 0, 0, 0, 0]).is_none());
        assert!(read(&[VERSION, 0, 0, 0, 0, 0]).is_none());
        assert!(read(&[VERSION, 0, 0, 0, 0, 0, 0, 9]).is_none());
        assert!(read(&[0xff; 60]).is_none() && read(&[]).is_none());
        let mut endless = vec![VERSION];
        endless.extend([0x80; 20]);
        assert!(read(&endless).is_none());
    }
}
