//! Accounts in memory, a limiter that counts, a fleet that remembers: just enough to see what
//! identity asks of them.

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
    accounts: Mutex<Vec<Account>>,
    tokens: Mutex<HashMap<[u8; 32], (RefreshToken, bool)>>,
    revoked: Mutex<HashSet<[u8; 16]>>,
    pub(crate) down: Mutex<bool>,
}

impl Accounts {
    fn up(&self) -> StoreResult<()> {
        match *self.down.lock().unwrap() {
            true => Err(StoreError::Unavailable("down".into())),
            false => Ok(()),
        }
    }

    pub(crate) fn hashes(&self) -> Vec<[u8; 32]> {
        self.tokens.lock().unwrap().keys().copied().collect()
    }
}

#[async_trait]
impl AccountStore for Accounts {
    async fn create_account(&self, account: &Account) -> StoreResult<AccountWrite> {
        self.up()?;
        let mut accounts = self.accounts.lock().unwrap();
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
        let accounts = self.accounts.lock().unwrap();
        let found = accounts.iter().find(|account| {
            let user = &account.user;
            user.username.to_lowercase() == login || user.email.to_lowercase() == login
        });
        Ok(found.cloned())
    }

    async fn users(&self, ids: &[UserId]) -> StoreResult<Vec<User>> {
        self.up()?;
        let accounts = self.accounts.lock().unwrap();
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
        self.up()?;
        self.tokens
            .lock()
            .unwrap()
            .insert(token.hash, (token.clone(), false));
        Ok(())
    }

    async fn rotate_refresh_token(
        &self,
        hash: [u8; 32],
        next: &RefreshToken,
        now: Timestamp,
    ) -> StoreResult<Rotation> {
        self.up()?;
        let mut tokens = self.tokens.lock().unwrap();
        let mut revoked = self.revoked.lock().unwrap();
        let Some((token, used)) = tokens.get_mut(&hash) else {
            return Ok(Rotation::Unknown);
        };
        let (user, family) = (token.user, token.family);
        if token.expires_at <= now || revoked.contains(&family) {
            return Ok(Rotation::Unknown);
        }
        if std::mem::replace(used, true) {
            revoked.insert(family);
            return Ok(Rotation::Reused { user, family });
        }
        let next = RefreshToken {
            user,
            family,
            ..next.clone()
        };
        tokens.insert(next.hash, (next, false));
        Ok(Rotation::Rotated { user, family })
    }

    async fn revoke_refresh_token(
        &self,
        hash: [u8; 32],
    ) -> StoreResult<Option<(UserId, [u8; 16])>> {
        self.up()?;
        let tokens = self.tokens.lock().unwrap();
        let whose = tokens
            .get(&hash)
            .map(|(token, _)| (token.user, token.family));
        if let Some((_, family)) = whose {
            self.revoked.lock().unwrap().insert(family);
        }
        Ok(whose)
    }

    async fn refresh_family_active(&self, family: [u8; 16]) -> StoreResult<bool> {
        Ok(!self.revoked.lock().unwrap().contains(&family))
    }

    async fn delete_expired_tokens(&self, now: Timestamp, limit: usize) -> StoreResult<usize> {
        let mut tokens = self.tokens.lock().unwrap();
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

    async fn check(&self) -> Result<String, String> {
        Ok("heard".into())
    }

    fn kind(&self) -> &'static str {
        "local"
    }
}
