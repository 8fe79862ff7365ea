//! Staying logged in: a refresh can be repeated, a stolen token is noticed, and what is in doubt is
//! settled. The last part walks through every order in which two tabs of one browser can refresh, with
//! requests and answers that are lost.

// A panic in a test's helper is the test's report.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fakes;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use fakes::{Accounts, Counting, Heard, Kept};
use syncchat_core::model::UserId;
use syncchat_core::{Error, ErrorCode};
use syncchat_identity::limits::DOUBT_SPAN;
use syncchat_identity::{Identity, IdentityConfig, RegisterRequest, Secret, Session};

type Family = [u8; 16];

struct World {
    identity: Arc<Identity>,
    accounts: Arc<Accounts>,
    heard: Arc<Heard>,
}

impl World {
    fn new() -> World {
        World::over(Arc::default(), 7)
    }

    /// A node whose signing secret is this one.
    fn over(accounts: Arc<Accounts>, secret: u8) -> World {
        let heard = Arc::new(Heard::default());
        let config = IdentityConfig {
            secret: Secret::new([secret; 32]).unwrap(),
            former_secrets: Vec::new(),
            access_ttl: Duration::from_secs(900),
            refresh_ttl: Duration::from_secs(86_400),
            bcrypt_cost: 4,
        };
        let identity = Identity::new(
            Arc::clone(&accounts) as _,
            Counting::new(1_000) as _,
            Arc::clone(&heard) as _,
            &config,
        );
        World {
            identity: Arc::new(identity),
            accounts,
            heard,
        }
    }

    async fn register(&self) -> (Session, Family) {
        let request = RegisterRequest {
            username: "ann".into(),
            email: "ann@example.org".into(),
            password: "correct horse".into(),
        };
        let address = "192.0.2.1".parse().unwrap();
        let session = self.identity.register(request, address).await.unwrap();
        let family = self.identity.verify(&session.access_token).unwrap().family;
        (session, family.unwrap())
    }

    async fn refresh(&self, token: &str) -> Result<String, Error> {
        let session = self.identity.refresh(token).await?;
        Ok(session.refresh_token)
    }

    /// Refreshes, and the answer is lost between the store and here.
    async fn refresh_in_vain(&self, token: &str) {
        *self.accounts.loses_answers.lock().unwrap() = true;
        let error = self.refresh(token).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Unavailable);
        *self.accounts.loses_answers.lock().unwrap() = false;
    }

    fn told(&self) -> Vec<(UserId, Option<Family>)> {
        self.heard.revocations()
    }
}

async fn is_refused(world: &World, token: &str) {
    let error = world.refresh(token).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unauthorized);
}

#[tokio::test]
async fn a_used_token_gives_the_same_successor_until_that_is_used() {
    let world = World::new();
    let (first, family) = world.register().await;
    let second = world.identity.refresh(&first.refresh_token).await.unwrap();
    assert_eq!(second.user.id, first.user.id);
    assert_ne!(second.refresh_token, first.refresh_token);
    for _ in 0..3 {
        let again = world.identity.refresh(&first.refresh_token).await.unwrap();
        assert_eq!(again.refresh_token, second.refresh_token);
        let claims = world.identity.verify(&again.access_token).unwrap();
        assert_eq!((claims.user, claims.family), (first.user.id, Some(family)));
    }
    let third = world.refresh(&second.refresh_token).await.unwrap();
    assert!(world.told().is_empty());

    // The successor was used: whoever holds the first one has no right to it.
    is_refused(&world, &first.refresh_token).await;
    assert_eq!(world.told(), [(first.user.id, Some(family))]);
    for token in [&third, &second.refresh_token] {
        is_refused(&world, token).await;
    }
}

#[tokio::test]
async fn a_refresh_whose_answer_was_lost_can_be_repeated() {
    let world = World::new();
    let (session, _) = world.register().await;
    let mut token = session.refresh_token;
    for _ in 0..5 {
        world.refresh_in_vain(&token).await;
        world.refresh_in_vain(&token).await;
        let next = world.refresh(&token).await.unwrap();
        assert_ne!(next, token);
        token = next;
    }
    // One that did not reach the store can be as well.
    *world.accounts.down.lock().unwrap() = true;
    assert!(world.refresh(&token).await.is_err());
    *world.accounts.down.lock().unwrap() = false;
    world.refresh(&token).await.unwrap();
    assert!(world.told().is_empty());
}

#[tokio::test]
async fn another_secret_makes_the_same_successor() {
    let world = World::new();
    let (session, _) = world.register().await;
    let next = world.refresh(&session.refresh_token).await.unwrap();
    // The first secret is gone for good.
    let rotated = World::over(Arc::clone(&world.accounts), 8);
    let again = rotated.refresh(&session.refresh_token).await.unwrap();
    assert_eq!(again, next);
    rotated.refresh(&next).await.unwrap();
}

#[tokio::test]
async fn a_repetition_prolongs_nothing_and_stores_nothing() {
    let world = World::new();
    let (session, _) = world.register().await;
    world.refresh(&session.refresh_token).await.unwrap();
    let ends = |world: &World| {
        let mut ends = world.accounts.ends();
        ends.sort();
        ends
    };
    let before = ends(&world);
    assert_eq!(before.len(), 2);
    for _ in 0..10 {
        world.refresh(&session.refresh_token).await.unwrap();
    }
    assert_eq!(ends(&world), before);
}

#[tokio::test]
async fn a_log_out_between_two_tries_is_final() {
    let world = World::new();
    let (session, family) = world.register().await;
    let token = &session.refresh_token;
    world.refresh_in_vain(token).await;
    world.identity.logout(token).await.unwrap();
    is_refused(&world, token).await;
    let told = (session.user.id, Some(family));
    assert_eq!(world.told(), [told]);
    // Once more: announced again, for the first announcement may be lost.
    world.identity.logout(token).await.unwrap();
    assert_eq!(world.told(), [told, told]);
}

/// Lets the task that settles doubts run for this long; time is the test's.
async fn settle_for(world: &World, span: Duration) {
    let settling = world.identity.settle_doubts();
    let _ = tokio::time::timeout(span, settling).await;
}

#[tokio::test(start_paused = true)]
async fn a_log_out_in_doubt_is_done_and_told_once_the_store_answers() {
    for lands in [true, false] {
        let world = World::new();
        let (session, family) = world.register().await;
        let switch = match lands {
            true => &world.accounts.loses_answers,
            false => &world.accounts.down,
        };
        *switch.lock().unwrap() = true;
        let out = world.identity.logout(&session.refresh_token).await;
        assert_eq!(out.unwrap_err().code, ErrorCode::Unavailable);
        // However long that takes.
        settle_for(&world, 10 * DOUBT_SPAN).await;
        assert!(world.told().is_empty());
        *switch.lock().unwrap() = false;
        settle_for(&world, Duration::from_secs(1)).await;
        assert_eq!(world.told(), [(session.user.id, Some(family))]);
        is_refused(&world, &session.refresh_token).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_theft_noticed_in_doubt_is_told() {
    let world = World::new();
    let (session, family) = world.register().await;
    let first = &session.refresh_token;
    let second = world.refresh(first).await.unwrap();
    world.refresh(&second).await.unwrap();
    world.refresh_in_vain(first).await;
    assert!(world.told().is_empty());
    settle_for(&world, DOUBT_SPAN).await;
    assert_eq!(world.told(), [(session.user.id, Some(family))]);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_in_doubt_that_landed_is_nothing_to_tell() {
    let world = World::new();
    let (session, family) = world.register().await;
    world.refresh_in_vain(&session.refresh_token).await;
    settle_for(&world, 2 * DOUBT_SPAN).await;
    assert!(world.told().is_empty());
    assert!(world.identity.revoked(&[family]).await.unwrap().is_empty());
}

#[tokio::test]
async fn families_are_read_a_thousand_at_a_time() {
    let world = World::new();
    let (session, family) = world.register().await;
    world.identity.logout(&session.refresh_token).await.unwrap();
    let mut families: Vec<Family> = (0..2_500_u128).map(u128::to_be_bytes).collect();
    for (count, reads) in [(0, 0), (1, 1), (1_000, 1), (1_001, 2), (2_500, 3)] {
        *world.accounts.reads.lock().unwrap() = 0;
        let revoked = world.identity.revoked(&families[..count]).await.unwrap();
        assert!(revoked.is_empty());
        assert_eq!(*world.accounts.reads.lock().unwrap(), reads, "{count}");
    }
    families[2_000] = family;
    let revoked = world.identity.revoked(&families).await.unwrap();
    assert_eq!(revoked, [(session.user.id, family)]);
}

// === Every order ===

/// Generations of tokens that a walk goes through: 0 is the first.
const GENERATIONS: usize = 5;

/// One tab. Tabs share what the browser keeps, and nothing keeps them apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Tab {
    Idle,
    /// It asks with this token; the request is on its way, or lost.
    Asks(usize),
    /// The answer is on its way: it asked with the one, and gets the other.
    Hears(usize, usize),
}

/// A place in the walk. The store is what `used` says, but for its bytes.
#[derive(Clone)]
struct Place {
    tabs: [Tab; 2],
    /// What the browser keeps; every tab reads it when it begins to ask.
    kept: usize,
    store: Kept,
    tokens: Vec<String>,
}

#[derive(Default)]
struct Walk {
    places: usize,
    signed_out: usize,
    reuses: usize,
}

/// Whether a token that is presented must be taken: it is the newest, or the one before while the
/// newest was not used.
fn is_owed(asks: usize, newest: usize) -> bool {
    asks + 1 >= newest
}

/// Who asks, and when.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rules {
    /// One tab at a time, as the page does it.
    InTurn,
    /// Both at once, as where a browser has no locks.
    AtOnce,
    /// Both at once, with any token there ever was.
    Theft,
}

/// Visits every place that two tabs can come to. Of what must be taken, counts what was refused; what
/// must not be taken has to be refused.
async fn walk(world: &World, rules: Rules) -> Walk {
    let (session, _) = world.register().await;
    let mut walk = Walk::default();
    let mut seen = HashSet::new();
    let mut ahead = VecDeque::from([Place {
        tabs: [Tab::Idle; 2],
        kept: 0,
        store: world.accounts.snapshot(),
        tokens: vec![session.refresh_token],
    }]);
    while let Some(place) = ahead.pop_front() {
        if !seen.insert((place.tabs, place.kept, place.tokens.len())) {
            continue;
        }
        walk.places += 1;
        for tab in 0..2 {
            steps_of(world, &place, tab, rules, &mut walk, &mut ahead).await;
        }
    }
    walk
}

async fn steps_of(
    world: &World,
    place: &Place,
    tab: usize,
    rules: Rules,
    walk: &mut Walk,
    ahead: &mut VecDeque<Place>,
) {
    let mut step = |change: &dyn Fn(&mut Place)| {
        let mut next = place.clone();
        change(&mut next);
        ahead.push_back(next);
    };
    match place.tabs[tab] {
        Tab::Idle if rules == Rules::InTurn && place.tabs[1 - tab] != Tab::Idle => {}
        Tab::Idle => {
            step(&|next| next.tabs[tab] = Tab::Asks(next.kept));
            if rules == Rules::Theft {
                // With any token there ever was.
                for stolen in 0..place.kept {
                    step(&|next| next.tabs[tab] = Tab::Asks(stolen));
                }
            }
        }
        Tab::Asks(asks) => {
            // The request is lost, and the tab gives up waiting for it.
            step(&|next| next.tabs[tab] = Tab::Idle);
            let newest = place.tokens.len() - 1;
            world.accounts.restore(&place.store);
            let answer = world.refresh(&place.tokens[asks]).await;
            let mut tokens = place.tokens.clone();
            match answer {
                Ok(text) => {
                    assert!(
                        is_owed(asks, newest),
                        "{asks} was taken, {newest} is the newest"
                    );
                    let gets = tokens.iter().position(|other| *other == text);
                    let gets = gets.unwrap_or_else(|| {
                        tokens.push(text);
                        tokens.len() - 1
                    });
                    assert_eq!(gets, asks + 1, "the one successor there is");
                    if gets >= GENERATIONS {
                        return;
                    }
                    let store = world.accounts.snapshot();
                    let after = |next: &mut Place, tab_is: Tab| {
                        next.tabs[tab] = tab_is;
                        next.store = store.clone();
                        next.tokens = tokens.clone();
                    };
                    step(&|next| after(next, Tab::Hears(asks, gets)));
                    // The answer is lost.
                    step(&|next| after(next, Tab::Idle));
                }
                Err(error) => {
                    assert_eq!(error.code, ErrorCode::Unauthorized);
                    match is_owed(asks, newest) {
                        true => walk.signed_out += 1,
                        false => walk.reuses += 1,
                    }
                }
            }
        }
        Tab::Hears(asks, gets) => step(&|next| {
            next.tabs[tab] = Tab::Idle;
            // Kept only if no other tab was faster.
            if next.kept == asks {
                next.kept = gets;
            }
        }),
    }
}

#[tokio::test]
async fn in_no_order_is_anybody_signed_out_but_by_a_token_used_after_its_successor() {
    let mut places = 0;
    for rules in [Rules::InTurn, Rules::AtOnce, Rules::Theft] {
        let world = World::new();
        let walk = walk(&world, rules).await;
        assert_eq!(walk.signed_out, 0);
        assert!(walk.places > places, "{} places", walk.places);
        places = walk.places;
        assert_eq!(world.told().len(), walk.reuses, "each is told");
        // At once, one tab can be so slow that the other has used the successor as well.
        assert_eq!(walk.reuses == 0, rules == Rules::InTurn);
    }
    assert!(places > 100, "{places} places");
}

#[tokio::test]
async fn the_walk_finds_a_store_that_keeps_no_salt() {
    let forgetful = Accounts {
        forgets_salts: true,
        ..Accounts::default()
    };
    let world = World::over(Arc::new(forgetful), 7);
    assert!(walk(&world, Rules::InTurn).await.signed_out > 0);
}
