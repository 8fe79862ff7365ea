//! Ids, all URL-safe base64 from the system's random source: [`Id`] for sockets and connections,
//! [`NodeTag`] for nodes, and [`Sid`] for sessions, which begins with the tag of its node.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Random bytes behind an id. Of a Socket.IO id other members of a mixed fleet know the length.
const ID_BYTES: usize = 15;
const ID_CHARACTERS: usize = 20;
/// Random bytes behind a tag: of a thousand nodes two have the same once in a billion fleets.
const TAG_BYTES: usize = 6;
const TAG_CHARACTERS: usize = 8;
const SID_CHARACTERS: usize = TAG_CHARACTERS + ID_CHARACTERS;

// So that base64 needs no padding, and characters can be joined.
const _: () = assert!(ID_BYTES * 4 == ID_CHARACTERS * 3 && TAG_BYTES * 4 == TAG_CHARACTERS * 3);

/// A socket's public id, or the name of a connection in logs.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Id([u8; ID_CHARACTERS]);

/// Names a node in the ids of its sessions: eight random characters, made anew by every process, so
/// that they say nothing of the host and no id outlives its process.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeTag([u8; TAG_CHARACTERS]);

/// An Engine.IO session's secret id: whoever knows it can take the session over. The tag of its node
/// and 120 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Sid([u8; SID_CHARACTERS]);

/// What was to be a [`NodeTag`] is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the tag of a node")]
pub struct BadNodeTag;

impl Id {
    /// A new one; an error if the system has no random bytes.
    pub(crate) fn random() -> Result<Id, getrandom::Error> {
        random::<ID_BYTES, ID_CHARACTERS>().map(Id)
    }

    /// Its characters.
    pub(crate) fn as_str(&self) -> &str {
        text(&self.0)
    }
}

impl NodeTag {
    /// The tag of a server that is in no fleet.
    pub(crate) const ALONE: NodeTag = NodeTag([b'A'; TAG_CHARACTERS]);

    /// A new one.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub fn random() -> Result<NodeTag, getrandom::Error> {
        random::<TAG_BYTES, TAG_CHARACTERS>().map(NodeTag)
    }

    /// Its characters.
    pub fn as_str(&self) -> &str {
        text(&self.0)
    }
}

impl FromStr for NodeTag {
    type Err = BadNodeTag;

    fn from_str(text: &str) -> Result<NodeTag, BadNodeTag> {
        characters(text).map(NodeTag).ok_or(BadNodeTag)
    }
}

impl Sid {
    /// A new one of this node; an error if the system has no random bytes.
    pub(crate) fn random(node: NodeTag) -> Result<Sid, getrandom::Error> {
        let mut sid = [0; SID_CHARACTERS];
        let (tag, rest) = sid.split_at_mut(TAG_CHARACTERS);
        tag.copy_from_slice(&node.0);
        rest.copy_from_slice(&Id::random()?.0);
        Ok(Sid(sid))
    }

    /// What a client sent as an id; `None` if it cannot be one.
    pub(crate) fn parse(text: &str) -> Option<Sid> {
        characters(text).map(Sid)
    }

    /// The node it was made by, if anybody of ours made it.
    pub(crate) fn node(&self) -> NodeTag {
        let mut tag = [0; TAG_CHARACTERS];
        tag.copy_from_slice(&self.0[..TAG_CHARACTERS]);
        NodeTag(tag)
    }

    /// Its characters.
    pub(crate) fn as_str(&self) -> &str {
        text(&self.0)
    }
}

/// `B` random bytes as `C` characters.
fn random<const B: usize, const C: usize>() -> Result<[u8; C], getrandom::Error> {
    let mut random = [0; B];
    getrandom::fill(&mut random)?;
    let mut text = [b'A'; C];
    // The bytes are exactly so many characters, so this cannot fail.
    let _ = URL_SAFE_NO_PAD.encode_slice(random, &mut text);
    Ok(text)
}

fn characters<const C: usize>(text: &str) -> Option<[u8; C]> {
    let is_ours = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let bytes: [u8; C] = text.as_bytes().try_into().ok()?;
    bytes.iter().all(|&byte| is_ours(byte)).then_some(bytes)
}

fn text(characters: &[u8]) -> &str {
    std::str::from_utf8(characters).unwrap_or_default()
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Id")
    }
}

impl fmt::Debug for Sid {
    /// Says nothing: it is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sid")
    }
}

impl fmt::Debug for NodeTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for NodeTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_their_length_and_differ() {
        let (one, other) = (Id::random().unwrap(), Id::random().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.as_str().len(), 20);
    }

    #[test]
    fn a_session_names_its_node_and_nothing_else_is_known_of_it() {
        let node = NodeTag::random().unwrap();
        let (one, other) = (Sid::random(node).unwrap(), Sid::random(node).unwrap());
        assert_eq!((one.node(), other.node()), (node, node));
        assert_ne!(one.as_str()[8..], other.as_str()[8..]);
        assert_eq!(one.as_str().len(), 28);
        assert_eq!(Sid::parse(one.as_str()), Some(one));
        assert_eq!(Sid::parse("tooshort"), None);
        assert_eq!(Sid::parse(&"!".repeat(28)), None);
        assert_eq!(node.as_str().parse(), Ok(node));
        assert_eq!("n1".parse::<NodeTag>(), Err(BadNodeTag));
        assert_ne!(node, NodeTag::random().unwrap());
    }
}
