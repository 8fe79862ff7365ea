//! WebSocket frames, as far as a client of Socket.IO needs them.

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A whole text message.
    Text,
    /// The other side closes.
    Close,
    /// A WebSocket ping, which wants a pong.
    Ping,
    /// Anything else, which is ignored.
    Other,
}

/// The first frame of `bytes`, as its kind, where its payload lies, and where the next begins;
/// `None` if it is not complete. Fragments of a message are `Other`: servers of Socket.IO do not
/// send any.
pub(crate) fn first(bytes: &[u8]) -> Option<(Kind, std::ops::Range<usize>)> {
    let (&head, &length) = (bytes.first()?, bytes.get(1)?);
    let (start, length) = match length & 0x7f {
        126 => (
            4,
            u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)),
        ),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
        length => (2, u64::from(length)),
    };
    let end = start + usize::try_from(length).ok()?;
    if bytes.len() < end {
        return None;
    }
    let kind = match head {
        0x81 => Kind::Text,
        0x88 => Kind::Close,
        0x89 => Kind::Ping,
        _ => Kind::Other,
    };
    Some((kind, start..end))
}

/// Appends a text frame. The mask is zero: it is there, as the protocol asks, and costs the server
/// what any other costs.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    write(out, 0x81, text);
}

/// Appends the answer to a WebSocket ping.
pub(crate) fn write_pong(out: &mut Vec<u8>, payload: &[u8]) {
    write(out, 0x8a, payload);
}

fn write(out: &mut Vec<u8>, head: u8, payload: &[u8]) {
    out.push(head);
    match payload.len() {
        short @ 0..=125 => out.push(0x80 | short as u8),
        middle @ 126..=65_535 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_whole_frames_only() {
        for length in [0, 5, 125, 126, 65_535, 65_536] {
            let mut bytes = vec![0x81];
            match length {
                0..=125 => bytes.push(length as u8),
                126..=65_535 => {
                    bytes.push(126);
                    bytes.extend_from_slice(&(length as u16).to_be_bytes());
                }
                _ => {
                    bytes.push(127);
                    bytes.extend_from_slice(&(length as u64).to_be_bytes());
                }
            }
            let start = bytes.len();
            bytes.resize(start + length, b'x');
            assert_eq!(first(&bytes), Some((Kind::Text, start..start + length)));
            assert_eq!(first(&bytes[..bytes.len() - 1]), None);
        }
        assert_eq!(first(&[0x88, 0]).map(|(kind, _)| kind), Some(Kind::Close));
        assert_eq!(first(&[]), None);
    }
}
