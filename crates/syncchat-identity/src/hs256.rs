//! HS256 for [`jsonwebtoken`], by the `hmac` and `sha2` that the other keys are derived with.
//!
//! The library takes its algorithms from a [`CryptoProvider`]. The two it ships know every algorithm
//! of RFC 7518, for 27 packages more to compile; this one knows the only algorithm that access tokens
//! are signed with and refuses all others.

use hmac::{Hmac, KeyInit as _, Mac as _};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Signer, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey};
use sha2::Sha256;

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    // Used for JSON Web Keys only, which this program does not read.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes HS256 known to [`jsonwebtoken`] in this process. Calling it again changes nothing.
pub(crate) fn install() {
    // An error says that a provider is installed already: only this function installs one.
    let _ = PROVIDER.install_default();
}

/// HMAC with SHA-256 under one key (RFC 7518, section 3.2).
struct Hs256(Hmac<Sha256>);

impl Hs256 {
    fn new(algorithm: Algorithm, family: AlgorithmFamily, key: &[u8]) -> Result<Hs256, Error> {
        if algorithm != Algorithm::HS256 {
            return Err(ErrorKind::InvalidAlgorithm.into());
        }
        if family != AlgorithmFamily::Hmac {
            return Err(ErrorKind::InvalidKeyFormat.into());
        }
        let mac = Hmac::new_from_slice(key).map_err(|_| ErrorKind::InvalidKeyFormat)?;
        Ok(Hs256(mac))
    }
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    let hs256 = Hs256::new(*algorithm, key.family(), key.as_bytes())?;
    Ok(Box::new(hs256))
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    let hs256 = Hs256::new(*algorithm, key.family(), key.try_get_as_bytes()?)?;
    Ok(Box::new(hs256))
}

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        let mut mac = self.0.clone();
        mac.update(message);
        Ok(mac.finalize().into_bytes().to_vec())
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let mut mac = self.0.clone();
        mac.update(message);
        // In constant time.
        mac.verify_slice(signature)
            .map_err(|_| signature::Error::new())
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7515, appendix A.1.
    #[test]
    fn signs_and_verifies_the_example_of_the_rfc() {
        install();
        let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let message = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
            eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let expected = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let (encode, decode) = {
            use base64::Engine as _;
            let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
                .decode(key)
                .unwrap();
            (
                EncodingKey::from_secret(&bytes),
                DecodingKey::from_secret(&bytes),
            )
        };
        let sign = |algorithm| jsonwebtoken::crypto::sign(message.as_bytes(), &encode, algorithm);
        let verify = |signature: &str, algorithm| {
            jsonwebtoken::crypto::verify(signature, message.as_bytes(), &decode, algorithm)
        };
        assert_eq!(sign(Algorithm::HS256).unwrap(), expected);
        assert!(verify(expected, Algorithm::HS256).unwrap());
        let other = expected.replace("dB", "dC");
        assert!(!verify(&other, Algorithm::HS256).unwrap());
        assert!(!verify("", Algorithm::HS256).unwrap());
        for unknown in [Algorithm::HS384, Algorithm::RS256, Algorithm::EdDSA] {
            assert!(sign(unknown).is_err(), "{unknown:?}");
            assert!(verify(expected, unknown).is_err(), "{unknown:?}");
        }
    }
}
