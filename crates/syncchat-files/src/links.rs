//! Links to a folder: what they say, signed.
//!
//! A link holds everything it permits: which file, to put how many bytes or to get under which name
//! and type, and until when. A node that can verify it needs to ask nobody.

use std::fmt;

use form_urlencoded::Serializer;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use syncchat_core::model::{FileId, Timestamp};

/// What a link is signed with: the first key signs, all verify, as with access tokens.
#[derive(Clone)]
pub struct LinkKeys(Vec<[u8; 32]>);

impl LinkKeys {
    /// Of these keys, in this order; `None` if there is none.
    pub fn new(keys: Vec<[u8; 32]>) -> Option<LinkKeys> {
        (!keys.is_empty()).then_some(LinkKeys(keys))
    }
}

impl fmt::Debug for LinkKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkKeys(…)")
    }
}

/// What a link permits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Permit {
    /// To put so many bytes.
    Put { size: u64 },
    /// To get them as this.
    Get { name: String, content_type: String },
}

/// Why a link is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadLink {
    /// It was not signed by us, or not so, or it permits something else.
    Forged,
    /// It was good.
    Expired,
}

/// What a link's query holds. What is none of a link's is ignored.
#[derive(Debug, Default)]
struct Parts {
    expires: Option<i64>,
    size: Option<u64>,
    name: Option<String>,
    content_type: Option<String>,
    signature: Option<String>,
}

impl LinkKeys {
    /// The query of a link.
    pub(crate) fn sign(&self, id: FileId, permit: &Permit, expires_at: Timestamp) -> String {
        let mut query = Serializer::new(String::new());
        match permit {
            Permit::Put { size } => {
                query.append_pair("size", &size.to_string());
            }
            Permit::Get { name, content_type } => {
                query.append_pair("name", name);
                query.append_pair("type", content_type);
            }
        }
        query.append_pair("expires", &expires_at.millis().to_string());
        let signature = self
            .0
            .first()
            .map(|key| hex(&mac(key, id, permit, expires_at).finalize().into_bytes()));
        query.append_pair("signature", &signature.unwrap_or_default());
        query.finish()
    }

    /// What a link permits now.
    pub(crate) fn verify_get(
        &self,
        id: FileId,
        query: &str,
        now: Timestamp,
    ) -> Result<(Permit, Timestamp), BadLink> {
        let parts = parts(query);
        let (Some(name), Some(content_type)) = (parts.name.clone(), parts.content_type.clone())
        else {
            return Err(BadLink::Forged);
        };
        self.verify(id, Permit::Get { name, content_type }, &parts, now)
    }

    /// How many bytes a link permits to put now.
    pub(crate) fn verify_put(
        &self,
        id: FileId,
        query: &str,
        now: Timestamp,
    ) -> Result<u64, BadLink> {
        let parts = parts(query);
        let size = parts.size.ok_or(BadLink::Forged)?;
        self.verify(id, Permit::Put { size }, &parts, now)
            .map(|_| size)
    }

    fn verify(
        &self,
        id: FileId,
        permit: Permit,
        parts: &Parts,
        now: Timestamp,
    ) -> Result<(Permit, Timestamp), BadLink> {
        let expires_at = Timestamp::from_millis(parts.expires.ok_or(BadLink::Forged)?);
        let signature = parts.signature.as_deref().and_then(unhex);
        let signature = signature.ok_or(BadLink::Forged)?;
        let signed = |key| {
            mac(key, id, &permit, expires_at)
                .verify_slice(&signature)
                .is_ok()
        };
        // The signature first: only who had a good link learns that it has ended.
        if !self.0.iter().any(signed) {
            return Err(BadLink::Forged);
        }
        match expires_at > now {
            true => Ok((permit, expires_at)),
            false => Err(BadLink::Expired),
        }
    }
}

fn parts(query: &str) -> Parts {
    let mut parts = Parts::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "expires" => parts.expires = value.parse().ok(),
            "size" => parts.size = value.parse().ok(),
            "name" => parts.name = Some(value.into_owned()),
            "type" => parts.content_type = Some(value.into_owned()),
            "signature" => parts.signature = Some(value.into_owned()),
            _ => {}
        }
    }
    parts
}

/// Over all that the link says, each part with its length, so that no two links are signed alike.
fn mac(key: &[u8; 32], id: FileId, permit: &Permit, expires_at: Timestamp) -> Hmac<Sha256> {
    // HMAC pads a short key with zeros to the hash's block.
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let mut mac = <Hmac<Sha256> as KeyInit>::new(&block.into());
    let mut add = |part: &[u8]| {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    };
    add(&id.bytes());
    add(&expires_at.millis().to_be_bytes());
    match permit {
        Permit::Put { size } => {
            add(b"put");
            add(&size.to_be_bytes());
        }
        Permit::Get { name, content_type } => {
            add(b"get");
            add(name.as_bytes());
            add(content_type.as_bytes());
        }
    }
    mac
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| (byte as char).to_digit(16);
    digits
        .chunks_exact(2)
        .map(|pair| Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);
    const LATER: Timestamp = Timestamp::from_millis(1_000_001);

    fn keys(first: u8) -> LinkKeys {
        LinkKeys::new(vec![[first; 32], [9; 32]]).unwrap()
    }

    #[test]
    fn a_link_is_good_for_what_it_says_until_it_ends() {
        let (keys, id) = (keys(1), FileId::generate());
        let query = keys.sign(id, &Permit::Put { size: 7 }, LATER);
        assert_eq!(keys.verify_put(id, &query, NOW), Ok(7));
        assert_eq!(keys.verify_put(id, &query, LATER), Err(BadLink::Expired));
        let permit = Permit::Get {
            name: "ü &=\"/..".into(),
            content_type: "text/plain; charset=utf-8".into(),
        };
        let query = keys.sign(id, &permit, LATER);
        assert_eq!(keys.verify_get(id, &query, NOW), Ok((permit, LATER)));
    }

    #[test]
    fn a_changed_link_is_forged() {
        let (keys, id) = (keys(1), FileId::generate());
        let query = keys.sign(id, &Permit::Put { size: 7 }, LATER);
        for (from, to) in [
            ("size=7", "size=8"),
            ("size=7", ""),
            ("expires=1000001", "expires=1000002"),
            ("signature=", "signature=0"),
            ("signature=", "signature=00"),
            ("signature=", "x="),
        ] {
            let changed = query.replace(from, to);
            let verified = keys.verify_put(id, &changed, NOW);
            assert_eq!(verified, Err(BadLink::Forged), "{changed}");
        }
        let other = FileId::generate();
        assert_eq!(keys.verify_put(other, &query, NOW), Err(BadLink::Forged));
        let as_get = format!("{query}&name=a&type=b");
        let verified = keys.verify_get(id, &as_get, NOW);
        assert_eq!(verified, Err(BadLink::Forged));
        let empty = keys.verify_get(id, "", NOW);
        assert_eq!(empty, Err(BadLink::Forged));
    }

    #[test]
    fn old_keys_verify_and_foreign_ones_do_not() {
        let id = FileId::generate();
        let old = LinkKeys::new(vec![[9; 32]]).unwrap();
        let query = old.sign(id, &Permit::Put { size: 7 }, LATER);
        assert_eq!(keys(1).verify_put(id, &query, NOW), Ok(7));
        let query = keys(1).sign(id, &Permit::Put { size: 7 }, LATER);
        assert_eq!(keys(2).verify_put(id, &query, NOW), Err(BadLink::Forged));
    }
}
