//! Refresh tokens: secret bytes that are good for one new pair. Only their hash is stored.
//!
//! The first token of a log-in is random. Each later one is made of the token that was presented for
//! it and of a random salt: HMAC-SHA256 of the salt, keyed with the presented token. The store keeps
//! the salt until the successor is used, so an answer that was lost can be given again, by any node
//! and whichever signing secret is in use. Neither half tells anything of the successor: the store
//! has no token, and whoever has the token needs the salt, which only the store hands out.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest, Sha256};
use syncchat_core::error::Result;
use syncchat_core::model::{Timestamp, UserId};
use syncchat_core::ports::store::RefreshToken;

use crate::limits::{REFRESH_SALT_BYTES, REFRESH_TOKEN_BYTES};
use crate::tokens::{Family, no_randomness};

/// Keeps successors apart from whatever else a token may come to be a key for.
const PURPOSE: &[u8] = b"syncchat: the refresh token that follows";

/// What makes a token's successor from it.
pub(crate) type Salt = [u8; REFRESH_SALT_BYTES];

/// A refresh token as its owner holds it. Never shown, so it has no `Debug`.
pub(crate) struct Token([u8; REFRESH_TOKEN_BYTES]);

impl Token {
    /// The first token of a log-in.
    ///
    /// # Errors
    /// `internal`, if the system has no random bytes.
    pub(crate) fn generate() -> Result<Token> {
        random().map(Token)
    }

    /// The token in this text; `None` if the text cannot be one of ours.
    pub(crate) fn parse(text: &str) -> Option<Token> {
        // Checked before decoding, so that a megabyte of text costs nothing.
        if text.len() > REFRESH_TOKEN_BYTES * 2 {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Token)
    }

    /// The token that takes this one's place: always the same for the same salt.
    pub(crate) fn successor(&self, salt: &Salt) -> Token {
        let mut mac = match Hmac::<Sha256>::new_from_slice(&self.0) {
            Ok(mac) => mac,
            // HMAC takes keys of any length.
            Err(_) => return Token(Sha256::digest(self.0).into()),
        };
        mac.update(PURPOSE);
        mac.update(salt);
        Token(mac.finalize().into_bytes().into())
    }

    /// What its owner gets: base64url.
    pub(crate) fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The hash under which it is stored.
    pub(crate) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }

    /// What the store keeps of it, if it lives for `ttl` from `now` on.
    pub(crate) fn stored(
        &self,
        user: UserId,
        family: Family,
        now: Timestamp,
        ttl: Duration,
    ) -> RefreshToken {
        RefreshToken {
            hash: self.hash(),
            family,
            user,
            created_at: now,
            expires_at: now.plus(ttl),
        }
    }
}

/// A new salt.
///
/// # Errors
/// `internal`, if the system has no random bytes.
pub(crate) fn new_salt() -> Result<Salt> {
    random()
}

/// A new family, for a new log-in.
///
/// # Errors
/// `internal`, if the system has no random bytes.
pub(crate) fn new_family() -> Result<Family> {
    random()
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| no_randomness())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_follows_from_its_token_and_its_salt_alone() {
        let token = Token::generate().unwrap();
        let (salt, other) = (new_salt().unwrap(), new_salt().unwrap());
        let again = Token::parse(&token.text()).unwrap();
        assert_eq!(token.successor(&salt).text(), again.successor(&salt).text());
        let different = [
            token.text(),
            token.successor(&salt).text(),
            token.successor(&other).text(),
            Token::generate().unwrap().successor(&salt).text(),
            token.successor(&salt).successor(&salt).text(),
        ];
        for (place, text) in different.iter().enumerate() {
            assert_eq!(text.len(), 43, "32 bytes in base64url");
            assert!(!different[..place].contains(text));
        }
        assert_eq!(token.hash(), again.hash());
        assert_ne!(token.hash(), token.successor(&salt).hash());
    }
}
