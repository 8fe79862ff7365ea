//! Access tokens: JSON Web Tokens, HS256 and nothing else, with `userId` in the claims.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use syncchat_core::error::{Error, ErrorCode, Result};
use syncchat_core::model::{Timestamp, UserId};

use crate::hs256;
use crate::limits::{ACCESS_TOKEN_BYTES_MAX, NOT_BEFORE_LEEWAY, SECRET_BYTES_MIN};

/// Identifies all refresh tokens that descend from one log-in.
pub type Family = [u8; 16];

/// The last moment RFC 3339 can write; an `exp` beyond it means this.
const LATEST: Timestamp = Timestamp::from_millis(253_402_300_799_000);

/// A secret to sign and verify with. Never shown, not even by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// A secret of these bytes; `None` if they are fewer than [`SECRET_BYTES_MIN`].
    pub fn new(bytes: impl Into<Vec<u8>>) -> Option<Secret> {
        let bytes = bytes.into();
        (bytes.len() >= SECRET_BYTES_MIN).then_some(Secret(bytes))
    }

    /// A key for another purpose, from which neither this secret nor a key for a third purpose can be
    /// told.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut mac = match Hmac::<Sha256>::new_from_slice(&self.0) {
            Ok(mac) => mac,
            // HMAC takes keys of any length.
            Err(_) => return Sha256::digest(&self.0).into(),
        };
        mac.update(purpose.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a good access token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claims {
    /// Who.
    pub user: UserId,
    /// Until when; always later than the moment of [`Tokens::verify`].
    pub expires_at: Timestamp,
    /// The log-in it comes from; `None` for a token made by `syncchat token` or by another issuer
    /// that shares the secret.
    pub family: Option<Family>,
}

/// The claims as we write them.
#[derive(Serialize)]
struct SignedClaims {
    #[serde(rename = "userId")]
    user_id: String,
    iat: i64,
    exp: i64,
    jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fam: Option<String>,
}

/// The claims as we read them: other issuers may leave out what is optional, and RFC 7519 allows
/// fractions of a second.
#[derive(Deserialize)]
struct ReadClaims {
    #[serde(rename = "userId")]
    user_id: String,
    exp: f64,
    fam: Option<String>,
}

/// Signs with the first secret, verifies with all: a secret is rotated by putting the new one
/// before the old one, and taking the old one away after an access token's life.
pub struct Tokens {
    signing: EncodingKey,
    verifying: Vec<DecodingKey>,
    validation: Validation,
    ttl: Duration,
}

impl Tokens {
    /// Tokens that live for `ttl`; `first` signs, it and `others` verify.
    pub fn new(first: &Secret, others: &[Secret], ttl: Duration) -> Tokens {
        hs256::install();
        let mut validation = Validation::new(Algorithm::HS256);
        // Expiry is checked by `verify`: without leeway, after the signature, and so that a
        // fraction or a number below zero is read like any other.
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        validation.validate_nbf = true;
        validation.validate_aud = false;
        // Of `nbf` alone, for the end is checked by `verify`.
        validation.leeway = NOT_BEFORE_LEEWAY.as_secs();
        Tokens {
            signing: EncodingKey::from_secret(&first.0),
            verifying: std::iter::once(first)
                .chain(others)
                .map(|secret| DecodingKey::from_secret(&secret.0))
                .collect(),
            validation,
            ttl,
        }
    }

    /// A token for this person from now on, and when it ends.
    ///
    /// # Errors
    /// `internal`, if the system has no random bytes or cannot sign.
    pub fn issue(&self, user: UserId, family: Option<Family>) -> Result<(String, Timestamp)> {
        self.issue_at(user, family, Timestamp::now())
    }

    /// The same, from this moment on.
    ///
    /// # Errors
    /// As [`Self::issue`].
    pub fn issue_at(
        &self,
        user: UserId,
        family: Option<Family>,
        now: Timestamp,
    ) -> Result<(String, Timestamp)> {
        let issued = now.millis().div_euclid(1_000);
        let expires = now.plus(self.ttl).min(LATEST).millis().div_euclid(1_000);
        let mut id = [0; 12];
        getrandom::fill(&mut id).map_err(|_| no_randomness())?;
        let claims = SignedClaims {
            user_id: user.to_string(),
            iat: issued,
            exp: expires,
            jti: URL_SAFE_NO_PAD.encode(id),
            fam: family.map(|family| URL_SAFE_NO_PAD.encode(family)),
        };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signing)
            .map_err(|_| Error::new(ErrorCode::Internal, "token could not be signed"))?;
        Ok((token, Timestamp::from_millis(expires * 1_000)))
    }

    /// Who holds this token. Cheap: one hash for each secret until one fits, no I/O.
    ///
    /// # Errors
    /// `token_expired` if it was good once, else `unauthorized`.
    pub fn verify(&self, token: &str) -> Result<Claims> {
        self.verify_at(token, Timestamp::now())
    }

    /// The same, at this moment.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn verify_at(&self, token: &str, now: Timestamp) -> Result<Claims> {
        if token.len() > ACCESS_TOKEN_BYTES_MAX {
            return Err(bad_token());
        }
        let data = self
            .verifying
            .iter()
            .find_map(|key| jsonwebtoken::decode::<ReadClaims>(token, key, &self.validation).ok())
            .ok_or_else(bad_token)?;
        // A header that demands extensions must be refused by who does not know them (RFC 7515).
        if data.header.crit.is_some() {
            return Err(bad_token());
        }
        let claims = data.claims;
        let expires_at = Timestamp::from_millis((claims.exp * 1_000.0) as i64).min(LATEST);
        let parsed = Claims {
            user: claims.user_id.parse().map_err(|_| bad_token())?,
            expires_at,
            family: claims.fam.as_deref().map(parse_family).transpose()?,
        };
        if expires_at <= now {
            return Err(Error::new(
                ErrorCode::TokenExpired,
                "the access token has expired",
            ));
        }
        Ok(parsed)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("secrets", &self.verifying.len())
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

fn parse_family(text: &str) -> Result<Family> {
    URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(bad_token)
}

fn bad_token() -> Error {
    Error::new(ErrorCode::Unauthorized, "the access token is not valid")
}

pub(crate) fn no_randomness() -> Error {
    Error::new(ErrorCode::Internal, "the system has no random bytes")
}
