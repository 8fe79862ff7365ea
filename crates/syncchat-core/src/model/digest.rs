//! Digests of what was asked for, by which a repetition is told from another request.

use sha2::{Digest as _, Sha256};

use super::MessageId;

/// SHA-256 of some parts. Stored, so what it is made of does not change from release to release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of these parts, in order; where one ends and the next begins makes a difference.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Digest {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Digest(hash.finalize().into())
    }

    /// Of a message's content as it was sent. With the message's id, so that equal texts have nothing in
    /// common in the store.
    pub fn of_sent(message: MessageId, content: &str) -> Digest {
        Digest::of([message.bytes().as_slice(), content.as_bytes()])
    }

    /// As it is stored.
    pub fn from_bytes(bytes: [u8; 32]) -> Digest {
        Digest(bytes)
    }

    /// To store it.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        let of = |parts: &[&str]| Digest::of(parts.iter().map(|part| part.as_bytes()));
        assert_eq!(of(&["a", "b"]), of(&["a", "b"]));
        assert_ne!(of(&["ab", ""]), of(&["a", "b"]));
        assert_ne!(of(&["a"]), of(&["a", ""]));
        // What is stored by one release is compared by the next.
        assert_eq!(of(&["a", "b"]).bytes()[..4], [0x3c, 0x9d, 0x59, 0x10],);
    }
}
