//! Ids: 20 characters of URL-safe base64 from the system's random source.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Random bytes behind an id.
const RANDOM_BYTES: usize = 15;
/// Characters of an id. Of a Socket.IO id other members of a mixed fleet know the length.
const CHARACTERS: usize = 20;

/// An Engine.IO session's secret id, or a socket's public one. Not to be mixed up: whoever knows a
/// session's id can take it over.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Id([u8; CHARACTERS]);

impl Id {
    /// A new one; an error if the system has no random bytes.
    pub(crate) fn random() -> Result<Id, getrandom::Error> {
        let mut random = [0; RANDOM_BYTES];
        getrandom::fill(&mut random)?;
        let mut text = [b'A'; CHARACTERS];
        // 15 bytes are exactly 20 characters, so this cannot fail.
        let _ = URL_SAFE_NO_PAD.encode_slice(random, &mut text);
        Ok(Id(text))
    }

    /// What a client sent as an id; `None` if it cannot be one.
    pub(crate) fn parse(text: &str) -> Option<Id> {
        let is_id = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let bytes: [u8; CHARACTERS] = text.as_bytes().try_into().ok()?;
        bytes.iter().all(|&byte| is_id(byte)).then_some(Id(bytes))
    }

    /// Its characters.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Id {
    /// Says nothing: a session's id is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Id")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_twenty_characters_and_differ() {
        let (one, other) = (Id::random().unwrap(), Id::random().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.as_str().len(), 20);
        assert_eq!(Id::parse(one.as_str()), Some(one));
        assert_eq!(Id::parse("tooshort"), None);
        assert_eq!(Id::parse("!!!!!!!!!!!!!!!!!!!!"), None);
    }
}
