//! Accounts: unique without case, found by name, address and prefix.

use syncchat_core::model::{Account, PresenceStatus, Timestamp, User, UserId};
use syncchat_core::ports::store::{AccountWrite, PresenceChange};

use super::World;

/// An account that is not stored yet.
pub fn account(username: &str, email: &str) -> Account {
    Account {
        user: User {
            id: UserId::generate(),
            username: username.into(),
            email: email.into(),
            avatar: None,
            status: PresenceStatus::Offline,
            last_seen: None,
            created_at: Timestamp::from_millis(1_000_000),
        },
        password_hash: "$2b$04$hash".into(),
    }
}

impl World {
    /// Somebody new.
    pub async fn register(&self, username: &str, email: &str) -> Account {
        let account = account(username, email);
        let done = self.store.create_account(&account).await.unwrap();
        assert_eq!(done, AccountWrite::Done);
        account
    }
}

pub async fn names_are_unique_without_case(world: World) {
    let anna = world.register("Anna", "Anna@Example.org").await;
    let store = &world.store;
    let write = async |username: &str, email: &str| {
        store
            .create_account(&account(username, email))
            .await
            .unwrap()
    };
    assert_eq!(
        write("anna", "x@example.org").await,
        AccountWrite::UsernameTaken
    );
    assert_eq!(
        write("ANNA", "anna@example.org").await,
        AccountWrite::UsernameTaken
    );
    assert_eq!(
        write("ben", "ANNA@EXAMPLE.ORG").await,
        AccountWrite::EmailTaken
    );
    // The same account again, its answer having been lost.
    assert_eq!(
        store.create_account(&anna).await.unwrap(),
        AccountWrite::Done
    );
    let racers: Vec<_> = (0..8)
        .map(|nth| {
            let store = store.clone();
            let name = if nth % 2 == 0 { "Racer" } else { "racer" };
            let account = account(name, &format!("{nth}@example.org"));
            tokio::spawn(async move { store.create_account(&account).await.unwrap() })
        })
        .collect();
    let mut done = 0;
    for racer in racers {
        match racer.await.unwrap() {
            AccountWrite::Done => done += 1,
            other => assert_eq!(other, AccountWrite::UsernameTaken),
        }
    }
    assert_eq!(done, 1);
}

pub async fn log_in_by_name_or_address(world: World) {
    let anna = world.register("Anna", "Anna@Example.org").await;
    world.register("ben", "ben@example.org").await;
    let store = &world.store;
    for login in [
        "Anna",
        "anna",
        "ANNA",
        "anna@example.org",
        "ANNA@example.ORG",
    ] {
        let found = store.account_by_login(login).await.unwrap();
        assert_eq!(found.as_ref(), Some(&anna), "{login}");
    }
    for login in ["", "ann", "anna@", "Anna ", ".*", "{\"$ne\":1}"] {
        let found = store.account_by_login(login).await.unwrap();
        assert_eq!(found, None, "{login}");
    }
    let ids = [anna.user.id, UserId::generate()];
    assert_eq!(store.users(&ids).await.unwrap(), [anna.user]);
    assert_eq!(store.users(&[]).await.unwrap(), []);
}

pub async fn profiles_change(world: World) {
    let anna = world.register("Anna", "anna@example.org").await;
    world.register("ben", "ben@example.org").await;
    let store = &world.store;
    let id = anna.user.id;
    let update = async |username, avatar| store.update_profile(id, username, avatar).await.unwrap();
    let stored = async || store.users(&[id]).await.unwrap().remove(0);

    assert_eq!(
        update(Some("BEN"), Some("x")).await,
        AccountWrite::UsernameTaken
    );
    assert_eq!(stored().await, anna.user);
    // One's own name in another spelling is free.
    assert_eq!(update(Some("ANNA"), None).await, AccountWrite::Done);
    assert_eq!(stored().await.username, "ANNA");
    assert_eq!(update(None, Some("/a.png")).await, AccountWrite::Done);
    assert_eq!(stored().await.avatar.as_deref(), Some("/a.png"));
    assert_eq!(update(None, None).await, AccountWrite::Done);
    assert_eq!(stored().await.avatar.as_deref(), Some("/a.png"));
    assert_eq!(update(Some("cleo"), Some("")).await, AccountWrite::Done);
    let now = stored().await;
    assert_eq!((now.username.as_str(), now.avatar), ("cleo", None));

    assert!(store.account_by_login("anna").await.unwrap().is_none());
    assert!(store.account_by_login("Cleo").await.unwrap().is_some());
    world.register("anna", "other@example.org").await;
    let missing = store.update_profile(UserId::generate(), Some("dora"), None);
    assert_eq!(missing.await.unwrap(), AccountWrite::Missing);
}

pub async fn search_is_by_prefix(world: World) {
    for name in ["Zoe", "a.b", "aXb", "Anna", "anna2", "a_b", "ANNB"] {
        world.register(name, &format!("{name}@example.org")).await;
    }
    let search = async |prefix: &str, limit| -> Vec<String> {
        let found = world.store.search_users(prefix, limit).await.unwrap();
        found.into_iter().map(|user| user.username).collect()
    };
    assert_eq!(search("ann", 10).await, ["Anna", "anna2", "ANNB"]);
    assert_eq!(search("ANNA", 10).await, ["Anna", "anna2"]);
    assert_eq!(search("ann", 2).await, ["Anna", "anna2"]);
    // Nothing in it is a pattern.
    assert_eq!(search("a.", 10).await, ["a.b"]);
    assert_eq!(search("a_", 10).await, ["a_b"]);
    for none in ["nna", ".*", "%", "[a-z]", "\\", "(", "zoe\u{0}"] {
        assert!(search(none, 10).await.is_empty(), "{none}");
    }
    assert_eq!(search("", 100).await.len(), 7);
}

pub async fn presence_is_kept(world: World) {
    let anna = world.register("anna", "anna@example.org").await;
    let (id, at) = (anna.user.id, Timestamp::from_millis(1_234_567));
    let store = &world.store;
    let change = |user, status, at| PresenceChange { user, status, at };
    let came = change(id, PresenceStatus::Online, at);
    store.set_presence(&[came]).await.unwrap();
    let stored = store.users(&[id]).await.unwrap().remove(0);
    assert_eq!(stored.status, PresenceStatus::Online);
    assert_eq!(stored.last_seen, Some(at));

    // Many at once, each their own; who does not exist is left out.
    let ben = world.register("ben", "ben@example.org").await.user.id;
    let (nobody, later) = (UserId::generate(), Timestamp::from_millis(2_345_678));
    let changes = [
        change(nobody, PresenceStatus::Online, at),
        change(ben, PresenceStatus::Online, at),
        change(id, PresenceStatus::Offline, later),
    ];
    store.set_presence(&changes).await.unwrap();
    store.set_presence(&[]).await.unwrap();
    assert_eq!(store.users(&[nobody]).await.unwrap(), []);
    let stored = store.users(&[ben]).await.unwrap().remove(0);
    let kept = (stored.status, stored.last_seen);
    assert_eq!(kept, (PresenceStatus::Online, Some(at)));
    let stored = store.users(&[id]).await.unwrap().remove(0);
    let kept = (stored.status, stored.last_seen);
    assert_eq!(kept, (PresenceStatus::Offline, Some(later)));
}

pub async fn preparing_twice_changes_nothing(world: World) {
    assert_eq!(world.store.migrate().await.unwrap(), Vec::<String>::new());
    let report = world.store.check().await.unwrap();
    assert!(report.starts_with(world.store.kind()), "{report}");
}
