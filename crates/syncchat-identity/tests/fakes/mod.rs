//! Accounts in memory, a limiter that counts, a fleet that remembers: just enough to see what
//! identity asks of them.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use syncchat_core::model::{Account, Timestamp, User, UserId};
use syncchat_core::ports::fleet::{Fleet, FleetEvent, FleetListener, Topic};
use syncchat_core::ports::limiter::{LimitKind, Limiter};
use syncchat_core::ports::store::{
    AccountStore, AccountWrite, PresenceChange, RefreshToken, Rotation, StoreError, StoreResult,
};

/// Accounts and refresh tokens.
#[derive(Default)]
pub(crate) struct Accounts {
    pub(crate) kept: Mutex<Kept>,
    pub(crate) down: Mutex<bool>,
    /// Writes of refresh tokens are done, and their answers lost.
    pub(crate) loses_answers: Mutex<bool>,
    /// Reads of families so far.
    pub(crate) reads: Mutex<usize>,
    /// Nothing is kept that would let a used token be presented again.
    pub(crate) forgets_salts: bool,
}

/// What is stored.
#[derive(Clone, Default)]
pub(crate) struct Kept {
    accounts: Vec<Account>,
    tokens: HashMap<[u8; 32], (RefreshToken, bool)>,
    revoked: HashSet<[u8; 16]>,
    /// By family: the token that was used last, and its salt.
    repeatable: HashMap<[u8; 16], ([u8; 32], [u8; 16])>,
}

impl Accounts {
    fn up(&self) -> StoreResult<()> {
        match *self.down.lock().unwrap() {
            true => Err(StoreError::Unavailable("down".into())),
            false => Ok(()),
        }
    }

    /// A write of refresh tokens.
    fn write<T>(&self, write: impl FnOnce(&mut Kept) -> T) -> StoreResult<T> {
        self.up()?;
        let answer = write(&mut self.kept.lock().unwrap());
        match *self.loses_answers.lock().unwrap() {
            true => Err(StoreError::Unavailable("the answer is lost".into())),
            false => Ok(answer),
        }
    }

    pub(crate) fn hashes(&self) -> Vec<[u8; 32]> {
        self.kept.lock().unwrap().tokens.keys().copied().collect()
    }

    /// When each token expires, and whether it was used.
    pub(crate) fn ends(&self) -> Vec<(Timestamp, bool)> {
        let kept = self.kept.lock().unwrap();
        let tokens = kept.tokens.values();
        tokens
            .map(|(token, used)| (token.expires_at, *used))
            .collect()
    }

    /// All accounts were made so much earlier than they were.
    pub(crate) fn age(&self, span: Duration) {
        for account in &mut self.kept.lock().unwrap().accounts {
            account.user.created_at = account.user.created_at.before(span);
        }
    }

    /// Everything that is stored.
    pub(crate) fn snapshot(&self) -> Kept {
        self.kept.lock().unwrap().clone()
    }

    /// Back to what was stored then.
    pub(crate) fn restore(&self, kept: &Kept) {
        *self.kept.lock().unwrap() = kept.clone();
    }
}

impl Kept {
    fn rotate(
        &mut self,
        hash: [u8; 32],
        next: &RefreshToken,
        salt: Option<[u8; 16]>,
        now: Timestamp,
    ) -> Rotation {
        let Some((token, used)) = self.tokens.get_mut(&hash) else {
            return Rotation::Unknown;
        };
        let (user, family) = (token.user, token.family);
        if token.expires_at <= now || self.revoked.contains(&family) {
            return Rotation::Unknown;
        }
        if std::mem::replace(used, true) {
            return match self.repeatable.get(&family) {
                Some(&(repeatable, salt)) if repeatable == hash => {
                    Rotation::Repeated { user, family, salt }
                }
                _ => {
                    self.revoked.insert(family);
                    Rotation::Reused { user, family }
                }
            };
        }
        let next = RefreshToken {
            user,
            family,
            ..next.clone()
        };
        self.tokens.insert(next.hash, (next, false));
        if let Some(salt) = salt {
            self.repeatable.insert(family, (hash, salt));
        }
        Rotation::Rotated { user, family }
    }
}

#[async_trait]
impl AccountStore for Accounts {
    async fn create_account(&self, account: &Account) -> StoreResult<AccountWrite> {
        self.up()?;
        let accounts = &mut self.kept.lock().unwrap().accounts;
        let taken = |get: fn(&User) -> &String| {
            let wanted = get(&account.user).to_lowercase();
            accounts
                .iter()
                .any(|other| get(&other.user).to_lowercase() == wanted)
        };
        if taken(|user| &user.username) {
            return Ok(AccountWrite::UsernameTaken);
        }
        if taken(|user| &user.email) {
            return Ok(AccountWrite::EmailTaken);
        }
        accounts.push(account.clone());
        Ok(AccountWrite::Done)
    }

    async fn account_by_login(&self, login: &str) -> StoreResult<Option<Account>> {
        self.up()?;
        let login = login.to_lowercase();
        let accounts = &self.kept.lock().unwrap().accounts;
        let found = accounts.iter().find(|account| {
            let user = &account.user;
            user.username.to_lowercase() == login || user.email.to_lowercase() == login
        });
        Ok(found.cloned())
    }

    async fn users(&self, ids: &[UserId]) -> StoreResult<Vec<User>> {
        self.up()?;
        let accounts = &self.kept.lock().unwrap().accounts;
        let found = accounts.iter().map(|account| account.user.clone());
        Ok(found.filter(|user| ids.contains(&user.id)).collect())
    }

    async fn search_users(&self, _: &str, _: usize) -> StoreResult<Vec<User>> {
        unreachable!("identity searches nobody")
    }

    async fn update_profile(
        &self,
        _: UserId,
        _: Option<&str>,
        _: Option<&str>,
    ) -> StoreResult<AccountWrite> {
        unreachable!("identity changes no profile")
    }

    async fn set_presence(&self, _: &[PresenceChange]) -> StoreResult<()> {
        unreachable!("identity knows no presence")
    }

    async fn add_refresh_token(&self, token: &RefreshToken) -> StoreResult<()> {
        self.write(|kept| {
            kept.tokens.insert(token.hash, (token.clone(), false));
        })
    }

    async fn rotate_refresh_token(
        &self,
        hash: [u8; 32],
        next: &RefreshToken,
        salt: [u8; 16],
        now: Timestamp,
    ) -> StoreResult<Rotation> {
        let salt = (!self.forgets_salts).then_some(salt);
        self.write(|kept| kept.rotate(hash, next, salt, now))
    }

    async fn revoke_refresh_token(
        &self,
        hash: [u8; 32],
    ) -> StoreResult<Option<(UserId, [u8; 16])>> {
        self.write(|kept| {
            let (token, _) = kept.tokens.get(&hash)?;
            let whose = (token.user, token.family);
            kept.revoked.insert(whose.1);
            Some(whose)
        })
    }

    async fn families_of_tokens(
        &self,
        hashes: &[[u8; 32]],
    ) -> StoreResult<Vec<([u8; 32], [u8; 16])>> {
        self.up()?;
        let kept = self.kept.lock().unwrap();
        let known = hashes.iter().filter_map(|hash| kept.tokens.get(hash));
        Ok(known.map(|(token, _)| (token.hash, token.family)).collect())
    }

    async fn revoked_families(
        &self,
        families: &[[u8; 16]],
    ) -> StoreResult<Vec<(UserId, [u8; 16])>> {
        self.up()?;
        *self.reads.lock().unwrap() += 1;
        let kept = self.kept.lock().unwrap();
        let user_of = |family: &[u8; 16]| {
            let mut tokens = kept.tokens.values();
            let found = tokens.find(|(token, _)| token.family == *family);
            found.map(|(token, _)| token.user)
        };
        let revoked = families.iter().filter(|f| kept.revoked.contains(*f));
        Ok(revoked.filter_map(|f| Some((user_of(f)?, *f))).collect())
    }

    async fn refresh_family_active(&self, family: [u8; 16]) -> StoreResult<bool> {
        Ok(!self.kept.lock().unwrap().revoked.contains(&family))
    }

    async fn delete_expired_tokens(&self, now: Timestamp, limit: usize) -> StoreResult<usize> {
        let tokens = &mut self.kept.lock().unwrap().tokens;
        let expired: Vec<[u8; 32]> = tokens
            .iter()
            .filter(|(_, (token, _))| token.expires_at <= now)
            .map(|(hash, _)| *hash)
            .take(limit)
            .collect();
        for hash in &expired {
            tokens.remove(hash);
        }
        Ok(expired.len())
    }
}

/// Gives each key so many tokens, and none after.
pub(crate) struct Counting {
    pub(crate) each: u32,
    taken: Mutex<HashMap<(LimitKind, String), u32>>,
}

impl Counting {
    pub(crate) fn new(each: u32) -> Arc<Counting> {
        Arc::new(Counting {
            each,
            taken: Mutex::default(),
        })
    }

    /// Keys from which something was taken, with how much, in order.
    pub(crate) fn taken(&self) -> Vec<(String, u32)> {
        let taken = self.taken.lock().unwrap();
        let mut all: Vec<_> = taken
            .iter()
            .map(|((_, key), n)| (key.clone(), *n))
            .collect();
        all.sort();
        all
    }
}

#[async_trait]
impl Limiter for Counting {
    async fn take(&self, kind: LimitKind, key: &str) -> Result<(), Duration> {
        self.peek(kind, key).await?;
        *self
            .taken
            .lock()
            .unwrap()
            .entry((kind, key.to_owned()))
            .or_default() += 1;
        Ok(())
    }

    async fn peek(&self, kind: LimitKind, key: &str) -> Result<(), Duration> {
        let taken = self.taken.lock().unwrap();
        match taken.get(&(kind, key.to_owned())) {
            Some(taken) if *taken >= self.each => Err(Duration::from_secs(6)),
            _ => Ok(()),
        }
    }
}

/// Remembers what was published.
#[derive(Default)]
pub(crate) struct Heard(Mutex<Vec<FleetEvent>>);

impl Heard {
    /// Whose log-ins were revoked, and which family.
    pub(crate) fn revocations(&self) -> Vec<(UserId, Option<[u8; 16]>)> {
        let events = self.0.lock().unwrap();
        let revoked = events.iter().filter_map(|event| match event {
            FleetEvent::Revoked { user, family } => Some((*user, *family)),
            _ => None,
        });
        revoked.collect()
    }
}

#[async_trait]
impl Fleet for Heard {
    fn listen(&self, _: Arc<dyn FleetListener>) {}

    fn publish(&self, event: FleetEvent) {
        self.0.lock().unwrap().push(event);
    }

    async fn subscribe(&self, _: Vec<Topic>) {}

    fn unsubscribe(&self, _: Vec<Topic>) {}

    fn connected(&self) -> bool {
        true
    }

    async fn close(&self) {}

    async fn check(&self) -> Result<String, String> {
        Ok("heard".into())
    }

    fn kind(&self) -> &'static str {
        "local"
    }
}
