//! Registering, logging in, refreshing and logging out, as both edges use them.

// A panic in a test's helper is the test's report.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fakes;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use fakes::{Accounts, Counting, Heard};
use syncchat_core::model::Timestamp;
use syncchat_core::ports::clock::{Reading, TimeSource};
use syncchat_core::{Clock, Error, ErrorCode};
use syncchat_identity::{Identity, IdentityConfig, RegisterRequest, Secret, Session};

const PASSWORD: &str = "correct horse";

struct World {
    identity: Identity,
    accounts: Arc<Accounts>,
    limits: Arc<Counting>,
    heard: Arc<Heard>,
}

fn world(each: u32) -> World {
    let accounts = Arc::new(Accounts::default());
    let limits = Counting::new(each);
    let heard = Arc::new(Heard::default());
    let config = IdentityConfig {
        secret: Secret::new([7; 32]).unwrap(),
        former_secrets: Vec::new(),
        access_ttl: Duration::from_secs(900),
        refresh_ttl: Duration::from_secs(86_400),
        bcrypt_cost: 4,
    };
    World {
        identity: Identity::new(
            Arc::clone(&accounts) as _,
            Arc::clone(&limits) as _,
            Arc::clone(&heard) as _,
            &config,
        ),
        accounts,
        limits,
        heard,
    }
}

impl World {
    async fn register(&self, name: &str, password: &str) -> Result<Session, Error> {
        let request = RegisterRequest {
            username: name.into(),
            email: format!("{name}@example.org"),
            password: password.into(),
        };
        self.identity.register(request, address("192.0.2.1")).await
    }

    async fn login(&self, login: &str, password: &str) -> Result<Session, Error> {
        self.identity
            .login(login, password.into(), address("192.0.2.1"))
            .await
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn refused<T>(result: Result<T, Error>) -> Error {
    result.err().expect("a refusal")
}

#[tokio::test]
async fn whoever_registers_is_logged_in() {
    let world = world(100);
    let session = world.register("Ann", PASSWORD).await.unwrap();
    assert_eq!(session.user.username, "Ann");
    let claims = world.identity.verify(&session.access_token).unwrap();
    assert_eq!(claims.user, session.user.id);
    assert_eq!(claims.expires_at, session.expires_at);
    assert!(claims.family.is_some());
    for login in ["Ann", "ANN", "ann@EXAMPLE.org"] {
        let again = world.login(login, PASSWORD).await.unwrap();
        assert_eq!(again.user.id, session.user.id, "{login}");
        let family = world.identity.verify(&again.access_token).unwrap().family;
        assert_ne!(
            family, claims.family,
            "every log-in has a family of its own"
        );
    }
}

#[tokio::test]
async fn everything_wrong_with_a_registration_is_named() {
    let world = world(100);
    let request = RegisterRequest {
        username: "a b".into(),
        email: "nowhere".into(),
        password: "short".into(),
    };
    let error = refused(world.identity.register(request, address("::1")).await);
    assert_eq!(error.code, ErrorCode::Invalid);
    let named: Vec<_> = error.fields.iter().map(|(name, _)| name.as_ref()).collect();
    assert_eq!(named, ["username", "email", "password"]);
    assert!(
        world.limits.taken().is_empty(),
        "a typing error costs nothing"
    );
}

#[tokio::test]
async fn what_is_taken_is_named() {
    let world = world(100);
    world.register("ann", PASSWORD).await.unwrap();
    let error = refused(world.register("ANN", PASSWORD).await);
    assert_eq!(
        (error.code, error.fields[0].0.as_ref()),
        (ErrorCode::Conflict, "username")
    );
    let request = RegisterRequest {
        username: "bob".into(),
        email: "Ann@Example.org".into(),
        password: PASSWORD.into(),
    };
    let error = refused(world.identity.register(request, address("::1")).await);
    assert_eq!(
        (error.code, error.fields[0].0.as_ref()),
        (ErrorCode::Conflict, "email")
    );
}

#[tokio::test]
async fn the_same_registration_again_logs_in_for_a_while() {
    let world = world(100);
    let first = world.register("ann", PASSWORD).await.unwrap();
    let again = world.register("ann", PASSWORD).await.unwrap();
    assert_eq!(again.user.id, first.user.id);
    assert_ne!(again.refresh_token, first.refresh_token);
    // A guess is a guess, and is counted as one.
    let error = refused(world.register("ann", "wrong horse").await);
    assert_eq!(error.code, ErrorCode::Conflict);
    let id = first.user.id;
    assert_eq!(
        world.limits.taken(),
        [
            (format!("account:{id}"), 1),
            // The failure, and three registrations.
            ("address:192.0.2.1".to_owned(), 1),
            ("address:192.0.2.1".to_owned(), 3),
        ]
    );
    // One that was made long ago is somebody's, whoever asks.
    world.accounts.age(Duration::from_secs(601));
    let error = refused(world.register("ann", PASSWORD).await);
    assert_eq!(error.code, ErrorCode::Conflict);
}

#[tokio::test]
async fn a_registration_with_a_key_is_repeated_for_a_day() {
    let world = world(100);
    let first = world.register("ann", PASSWORD).await.unwrap();
    let repeat = |password: &str| {
        let request = RegisterRequest {
            username: "ann".into(),
            email: "ann@example.org".into(),
            password: password.into(),
        };
        world.identity.register_keyed(request, address("192.0.2.1"))
    };
    world.accounts.age(Duration::from_secs(23 * 3_600));
    let again = repeat(PASSWORD).await.unwrap();
    assert_eq!(again.user.id, first.user.id);
    // The key proves nothing: the password does.
    assert_eq!(
        refused(repeat("wrong horse").await).code,
        ErrorCode::Conflict
    );
    assert_eq!(
        refused(world.register("ann", PASSWORD).await).code,
        ErrorCode::Conflict
    );
    world.accounts.age(Duration::from_secs(3_700));
    assert_eq!(refused(repeat(PASSWORD).await).code, ErrorCode::Conflict);
}

#[tokio::test]
async fn a_registration_tells_no_more_than_a_log_in() {
    let world = world(3);
    world.register("ann", PASSWORD).await.unwrap();
    for _ in 0..2 {
        refused(world.register("ann", "wrong horse").await);
    }
    refused(world.login("ann", "wrong horse").await);
    // Three failures: from now on not even the right one is looked at.
    let request = RegisterRequest {
        username: "ann".into(),
        email: "ann@example.org".into(),
        password: PASSWORD.into(),
    };
    let elsewhere = address("198.51.100.7");
    let error = refused(world.identity.register(request, elsewhere).await);
    assert_eq!(error.code, ErrorCode::Conflict);
}

#[tokio::test]
async fn passwords_are_never_cut() {
    let world = world(100);
    let longest = "x".repeat(72);
    for bad in ["1234567", &"x".repeat(73), &"é".repeat(37), "nul\0inside"] {
        let error = refused(world.register("ann", bad).await);
        assert_eq!(error.fields[0].0.as_ref(), "password", "{bad:?}");
    }
    world.register("ann", &longest).await.unwrap();
    world.login("ann", &longest).await.unwrap();
    let error = refused(world.login("ann", &format!("{longest}x")).await);
    assert_eq!(error.code, ErrorCode::Unauthorized);
    let error = refused(world.login("ann", &format!("{longest}\0")).await);
    assert_eq!(error.code, ErrorCode::Unauthorized);
}

#[tokio::test]
async fn a_wrong_name_and_a_wrong_password_get_one_answer() {
    let world = world(100);
    world.register("ann", PASSWORD).await.unwrap();
    let wrong_password = refused(world.login("ann", "wrong horse").await);
    assert_eq!(wrong_password.code, ErrorCode::Unauthorized);
    for (login, password) in [
        ("nobody", PASSWORD),
        ("nobody", ""),
        ("", ""),
        (&"n".repeat(100_000), "wrong horse"),
        ("ann", &"x".repeat(100_000)),
    ] {
        assert_eq!(refused(world.login(login, password).await), wrong_password);
    }
}

#[tokio::test]
async fn only_failures_count_against_address_and_account() {
    let world = world(3);
    let id = world.register("ann", PASSWORD).await.unwrap().user.id;
    for _ in 0..5 {
        world.login("ann", PASSWORD).await.unwrap();
    }
    for login in ["ann", "ann@example.org", "ANN"] {
        refused(world.login(login, "wrong horse").await);
    }
    assert_eq!(
        world.limits.taken(),
        [
            (format!("account:{id}"), 3),
            // Three failures, and the registration, which is another kind.
            ("address:192.0.2.1".to_owned(), 1),
            ("address:192.0.2.1".to_owned(), 3),
        ]
    );
    let error = refused(world.login("ann", PASSWORD).await);
    assert_eq!(
        error.code,
        ErrorCode::RateLimited,
        "even with the right password"
    );
    assert_eq!(error.retry_after, Some(Duration::from_secs(6)));
    let elsewhere = address("198.51.100.7");
    let error = refused(
        world
            .identity
            .login("ann", PASSWORD.into(), elsewhere)
            .await,
    );
    assert_eq!(
        error.code,
        ErrorCode::RateLimited,
        "the account has a limit of its own"
    );
    let error = refused(world.login("bob", PASSWORD).await);
    assert_eq!(error.code, ErrorCode::RateLimited, "so has the address");
}

#[tokio::test]
async fn a_guess_sent_in_parallel_is_a_guess_too() {
    let world = Arc::new(world(3));
    world.register("ann", PASSWORD).await.unwrap();
    let guesses: Vec<_> = (0..40)
        .map(|i| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.login("ann", &format!("wrong horse {i}")).await })
        })
        .collect();
    let mut looked_at = 0;
    for guess in guesses {
        let error = refused(guess.await.unwrap());
        looked_at += usize::from(error.code == ErrorCode::Unauthorized);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    assert!(looked_at <= 3 + cores, "{looked_at} guesses were looked at");
}

#[tokio::test]
async fn registrations_are_limited_by_address_and_network() {
    let world = world(1);
    let register = |name: &'static str, from: &'static str| {
        let request = RegisterRequest {
            username: name.into(),
            email: format!("{name}@example.org"),
            password: PASSWORD.into(),
        };
        world.identity.register(request, address(from))
    };
    register("one", "192.0.2.1").await.unwrap();
    let error = refused(register("two", "::ffff:192.0.2.1").await);
    assert_eq!(error.code, ErrorCode::RateLimited);
    register("three", "2001:db8::1").await.unwrap();
    let error = refused(register("four", "2001:db8::ffff:1").await);
    assert_eq!(error.code, ErrorCode::RateLimited, "one customer, one /64");
    register("five", "2001:db8:0:1::1").await.unwrap();
}

#[tokio::test]
async fn logging_out_ends_the_family_and_says_so() {
    let world = world(100);
    let session = world.register("ann", PASSWORD).await.unwrap();
    world.identity.logout(&session.refresh_token).await.unwrap();
    assert_eq!(world.heard.revocations().len(), 1);
    let error = refused(world.identity.refresh(&session.refresh_token).await);
    assert_eq!(error.code, ErrorCode::Unauthorized);
    for nobodys in ["", "x", &"A".repeat(43), &"A".repeat(1_000_000)] {
        world.identity.logout(nobodys).await.unwrap();
        let error = refused(world.identity.refresh(nobodys).await);
        assert_eq!(error.code, ErrorCode::Unauthorized);
    }
    assert_eq!(world.heard.revocations().len(), 1);
}

#[tokio::test]
async fn the_store_never_sees_a_token() {
    let world = world(100);
    let session = world.register("ann", PASSWORD).await.unwrap();
    let hashes = world.accounts.hashes();
    assert_eq!(hashes.len(), 1);
    assert!(
        !session
            .refresh_token
            .as_bytes()
            .windows(32)
            .any(|part| part == hashes[0])
    );
    assert_eq!(session.refresh_token.len(), 43, "32 bytes in base64url");
}

#[tokio::test]
async fn a_store_that_is_away_is_unavailable() {
    let world = world(100);
    let session = world.register("ann", PASSWORD).await.unwrap();
    *world.accounts.down.lock().unwrap() = true;
    assert_eq!(
        refused(world.login("ann", PASSWORD).await).code,
        ErrorCode::Unavailable
    );
    assert_eq!(
        refused(world.register("bob", PASSWORD).await).code,
        ErrorCode::Unavailable
    );
    let error = refused(world.identity.refresh(&session.refresh_token).await);
    assert_eq!(error.code, ErrorCode::Unavailable);
    let error = refused(world.identity.logout(&session.refresh_token).await);
    assert_eq!(error.code, ErrorCode::Unavailable);
    world.identity.verify(&session.access_token).unwrap();
}

/// A machine whose date is so far ahead.
struct Ahead(Duration);

impl TimeSource for Ahead {
    fn read(&self) -> Reading {
        Reading {
            wall: Timestamp::now().plus(self.0),
            elapsed: Duration::ZERO,
        }
    }
}

#[tokio::test]
async fn a_clock_that_is_wrong_ends_no_log_in() {
    let world = world(100);
    let session = world.register("ann", PASSWORD).await.unwrap();
    // Forty days, and tokens live for one.
    let clock = Clock::on(Ahead(Duration::from_secs(40 * 86_400)));
    assert!(clock.count_from(Timestamp::now()).is_wrong());
    let World {
        identity, accounts, ..
    } = world;
    let wrong = identity.with_clock(clock);
    assert!(wrong.verify(&session.access_token).is_ok());
    let refreshed = refused(wrong.refresh(&session.refresh_token).await);
    assert_eq!(refreshed.code, ErrorCode::Unavailable);
    let login = wrong.login("ann", PASSWORD.into(), address("::1")).await;
    assert_eq!(refused(login).code, ErrorCode::Unavailable);
    assert_eq!(wrong.sweep().await, Ok(0));
    assert_eq!(accounts.hashes().len(), 1);
    let right = wrong.with_clock(Clock::system());
    assert!(right.refresh(&session.refresh_token).await.is_ok());
}
