//! Access tokens: what is accepted, and everything that must not be.

// A panic in a test's helper is the test's report.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jsonwebtoken::{Algorithm, Header};
use serde_json::{Value, json};
use sha2::{Sha256, Sha384, Sha512};
use syncchat_core::ErrorCode;
use syncchat_core::model::{Timestamp, UserId};
use syncchat_identity::Secret;
use syncchat_identity::tokens::Tokens;

const SECRET: [u8; 32] = [1; 32];
const OTHER: [u8; 40] = [2; 40];

fn secret(bytes: &[u8]) -> Secret {
    Secret::new(bytes).unwrap()
}

fn tokens() -> Tokens {
    Tokens::new(&secret(&SECRET), &[], Duration::from_secs(900))
}

/// Signs by RFC 7515, section 5.1, so that the crate's own signer is not its own judge.
fn sign(header: &Header, claims: &Value, key: &[u8]) -> String {
    let header_text = URL_SAFE_NO_PAD.encode(serde_json::to_vec(header).unwrap());
    let message = format!(
        "{header_text}.{}",
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    macro_rules! tag {
        ($hash:ty) => {{
            let mut mac = Hmac::<$hash>::new_from_slice(key).unwrap();
            mac.update(message.as_bytes());
            mac.finalize().into_bytes().to_vec()
        }};
    }
    let tag = match header.alg {
        Algorithm::HS256 => tag!(Sha256),
        Algorithm::HS384 => tag!(Sha384),
        Algorithm::HS512 => tag!(Sha512),
        other => unreachable!("these tests do not sign with {other:?}"),
    };
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn hs256(claims: &Value) -> String {
    sign(&Header::new(Algorithm::HS256), claims, &SECRET)
}

fn now() -> i64 {
    Timestamp::now().millis() / 1_000
}

fn code(token: &str) -> ErrorCode {
    tokens().verify(token).expect_err(token).code
}

#[test]
fn issues_what_it_verifies() {
    let (user, family) = (UserId::generate(), Some([9; 16]));
    let (token, expires_at) = tokens().issue(user, family).unwrap();
    let claims = tokens().verify(&token).unwrap();
    assert_eq!(
        (claims.user, claims.expires_at, claims.family),
        (user, expires_at, family)
    );
    let left = expires_at.since(Timestamp::now());
    assert!((898..=900).contains(&left.as_secs()), "{left:?}");
    assert_ne!(
        tokens().issue(user, family).unwrap().0,
        token,
        "no two alike"
    );
}

#[test]
fn claims_are_what_other_programs_expect() {
    let user = UserId::generate();
    let (token, _) = tokens().issue(user, None).unwrap();
    let part = |i| {
        let text = token.split('.').nth(i).unwrap();
        serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
    };
    assert_eq!(part(0), json!({"typ": "JWT", "alg": "HS256"}));
    let claims = part(1);
    assert_eq!(claims["userId"], user.to_string());
    assert_eq!(
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        900
    );
    assert!(claims.get("fam").is_none());
}

#[test]
fn accepts_other_issuers_with_the_secret() {
    let user = UserId::generate();
    let good = [
        json!({"userId": user.to_string(), "exp": now() + 60}),
        json!({"userId": user.to_string(), "exp": (now() + 60) as f64 + 0.5, "aud": "x", "more": []}),
        json!({"userId": user.to_string(), "exp": 1e300}),
        // The issuer's clock is a little ahead.
        json!({"userId": user.to_string(), "exp": now() + 600, "nbf": now() + 30, "iat": now() + 30}),
    ];
    for claims in good {
        let verified = tokens().verify(&hs256(&claims)).unwrap();
        assert_eq!(verified.user, user, "{claims}");
        assert!(verified.expires_at.rfc3339() > Timestamp::now().rfc3339());
    }
}

#[test]
fn a_token_that_is_not_good_yet_is_refused() {
    let claims =
        json!({"userId": UserId::generate().to_string(), "exp": now() + 600, "nbf": now() + 90});
    assert_eq!(code(&hs256(&claims)), ErrorCode::Unauthorized);
}

#[test]
fn a_former_secret_verifies_and_does_not_sign() {
    let user = UserId::generate();
    let (old, _) = tokens().issue(user, None).unwrap();
    let rotated = Tokens::new(
        &secret(&OTHER),
        &[secret(&SECRET)],
        Duration::from_secs(900),
    );
    assert_eq!(rotated.verify(&old).unwrap().user, user);
    let (new, _) = rotated.issue(user, None).unwrap();
    assert_eq!(code(&new), ErrorCode::Unauthorized);
}

#[test]
fn expiry_is_exact_and_comes_after_the_signature() {
    let claims = |exp| json!({"userId": UserId::generate().to_string(), "exp": exp});
    for exp in [now(), now() - 1, 0, -5] {
        assert_eq!(code(&hs256(&claims(exp))), ErrorCode::TokenExpired, "{exp}");
        let forged = sign(&Header::new(Algorithm::HS256), &claims(exp), &OTHER);
        assert_eq!(code(&forged), ErrorCode::Unauthorized, "{exp}");
    }
}

#[test]
fn only_hs256_is_believed() {
    let claims = json!({"userId": UserId::generate().to_string(), "exp": now() + 60});
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let token = sign(&Header::new(algorithm), &claims, &SECRET);
        assert_eq!(code(&token), ErrorCode::Unauthorized, "{algorithm:?}");
    }
    // The signature is right, the header lies.
    let good = hs256(&claims);
    let rest = good.split_once('.').unwrap().1;
    let (body, _) = rest.split_once('.').unwrap();
    for alg in [
        "none", "None", "NONE", "", "RS256", "ES256", "EdDSA", "HS512",
    ] {
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#));
        for token in [format!("{header}.{rest}"), format!("{header}.{body}.")] {
            assert_eq!(code(&token), ErrorCode::Unauthorized, "{alg}");
        }
    }
}

#[test]
fn what_is_malformed_is_refused() {
    let id = UserId::generate().to_string();
    let exp = now() + 60;
    let bad_claims = [
        json!({"exp": exp}),
        json!({"userId": id}),
        json!({"userId": {"$ne": ""}, "exp": exp}),
        json!({"userId": "short", "exp": exp}),
        json!({"userId": id, "exp": "soon"}),
        json!({"userId": id, "exp": null}),
        json!({"userId": id, "exp": exp + 60, "nbf": exp + 60}),
        json!({"userId": id, "exp": exp, "fam": "no family"}),
        json!([id, exp]),
    ];
    for claims in bad_claims {
        assert_eq!(code(&hs256(&claims)), ErrorCode::Unauthorized, "{claims}");
    }
    let good = hs256(&json!({"userId": id, "exp": exp}));
    let mut critical = Header::new(Algorithm::HS256);
    critical.crit = Some(vec!["exp".into()]);
    let bad = [
        String::new(),
        ".".into(),
        "..".into(),
        "a.b.c".into(),
        good[..good.len() - 1].into(),
        format!("{good}A"),
        format!("{good}.{good}"),
        format!(" {good}"),
        good.replace('.', ","),
        "x".repeat(10_000_000),
        sign(&critical, &json!({"userId": id, "exp": exp}), &SECRET),
    ];
    for token in bad {
        assert_eq!(code(&token), ErrorCode::Unauthorized);
    }
    assert!(tokens().verify(&good).is_ok());
}

#[test]
fn secrets_are_long_enough_and_never_shown() {
    assert!(Secret::new([0; 31]).is_none());
    assert_eq!(format!("{:?}", secret(&SECRET)), "Secret(…)");
    let shown = format!("{:?}", tokens());
    assert!(
        !shown.contains("1, 1") && shown.contains("secrets: 1"),
        "{shown}"
    );
}
