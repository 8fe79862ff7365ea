//! Refresh tokens: random bytes that are good for one new pair. Only their hash is stored.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use syncchat_core::error::Result;
use syncchat_core::model::{Timestamp, UserId};
use syncchat_core::ports::store::RefreshToken;

use crate::limits::REFRESH_TOKEN_BYTES;
use crate::tokens::{Family, no_randomness};

/// A refresh token as its owner gets it, and as the store keeps it.
pub(crate) struct NewToken {
    /// For the owner: 32 random bytes in base64url.
    pub(crate) text: String,
    /// For the store.
    pub(crate) stored: RefreshToken,
}

/// Makes a token that lives for `ttl`.
///
/// # Errors
/// `internal`, if the system has no random bytes.
pub(crate) fn generate(user: UserId, family: Family, ttl: Duration) -> Result<NewToken> {
    let mut bytes = [0; REFRESH_TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(|_| no_randomness())?;
    let now = Timestamp::now();
    Ok(NewToken {
        text: URL_SAFE_NO_PAD.encode(bytes),
        stored: RefreshToken {
            hash: Sha256::digest(bytes).into(),
            family,
            user,
            created_at: now,
            expires_at: now.plus(ttl),
        },
    })
}

/// A new family, for a new log-in.
///
/// # Errors
/// `internal`, if the system has no random bytes.
pub(crate) fn new_family() -> Result<Family> {
    let mut family = [0; 16];
    getrandom::fill(&mut family).map_err(|_| no_randomness())?;
    Ok(family)
}

/// The hash under which a token is stored; `None` if the text cannot be one of ours.
pub(crate) fn hash(text: &str) -> Option<[u8; 32]> {
    // Checked before decoding, so that a megabyte of text costs nothing.
    if text.len() > REFRESH_TOKEN_BYTES * 2 {
        return None;
    }
    let bytes: [u8; REFRESH_TOKEN_BYTES] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
    Some(Sha256::digest(bytes).into())
}
