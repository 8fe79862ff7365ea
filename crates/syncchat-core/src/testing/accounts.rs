//! Accounts and refresh tokens of the store in memory.

use async_trait::async_trait;

use super::log::State;
use super::memory::MemoryStore;
use crate::model::{Account, Timestamp, User, UserId};
use crate::ports::store::{
    AccountStore, AccountWrite, PresenceChange, RefreshToken, Rotation, StoreResult,
};

impl MemoryStore {
    /// Adds a person who cannot log in, without a fault.
    pub fn add_user(&self, id: UserId) {
        let account = Account {
            user: super::user(id),
            password_hash: String::new(),
        };
        self.state.lock().accounts.insert(id, account);
    }
}

impl State {
    fn taken(&self, but: UserId, username: Option<&str>, email: Option<&str>) -> AccountWrite {
        let mut others = self.accounts.values().filter(|a| a.user.id != but);
        let same = |a: &str, b: Option<&str>| b.is_some_and(|b| a.eq_ignore_ascii_case(b));
        if others.clone().any(|a| same(&a.user.username, username)) {
            AccountWrite::UsernameTaken
        } else if others.any(|a| same(&a.user.email, email)) {
            AccountWrite::EmailTaken
        } else {
            AccountWrite::Done
        }
    }

    fn rotate(
        &mut self,
        hash: [u8; 32],
        next: &RefreshToken,
        salt: [u8; 16],
        now: Timestamp,
    ) -> Rotation {
        let Some((token, good)) = self.tokens.get_mut(&hash) else {
            return Rotation::Unknown;
        };
        let (user, family) = (token.user, token.family);
        if token.expires_at <= now || self.revoked.contains(&family) {
            return Rotation::Unknown;
        }
        if !std::mem::replace(good, false) {
            if let Some((repeatable, salt)) = self.repeatable.get(&family)
                && *repeatable == hash
            {
                let salt = *salt;
                return Rotation::Repeated { user, family, salt };
            }
            self.revoked.push(family);
            return Rotation::Reused { user, family };
        }
        let next = RefreshToken {
            user,
            family,
            ..next.clone()
        };
        self.tokens.insert(next.hash, (next, true));
        self.repeatable.insert(family, (hash, salt));
        Rotation::Rotated { user, family }
    }
}

#[async_trait]
impl AccountStore for MemoryStore {
    async fn create_account(&self, account: &Account) -> StoreResult<AccountWrite> {
        let account = account.clone();
        self.writing(move |state| {
            let user = &account.user;
            let write = state.taken(user.id, Some(&user.username), Some(&user.email));
            if write == AccountWrite::Done {
                state.accounts.insert(user.id, account);
            }
            write
        })
        .await
    }

    async fn account_by_login(&self, login: &str) -> StoreResult<Option<Account>> {
        self.reading().await?;
        let state = self.state.lock();
        let mut accounts = state.accounts.values();
        let found = accounts.find(|account| {
            account.user.username.eq_ignore_ascii_case(login)
                || account.user.email.eq_ignore_ascii_case(login)
        });
        Ok(found.cloned())
    }

    async fn users(&self, ids: &[UserId]) -> StoreResult<Vec<User>> {
        self.reading().await?;
        let state = self.state.lock();
        let found = ids.iter().filter_map(|id| state.accounts.get(id));
        Ok(found.map(|account| account.user.clone()).collect())
    }

    async fn search_users(&self, prefix: &str, limit: usize) -> StoreResult<Vec<User>> {
        self.reading().await?;
        let state = self.state.lock();
        let prefix = prefix.to_lowercase();
        let all = state.accounts.values().map(|account| &account.user);
        let mut found: Vec<User> = all
            .filter(|user| user.username.to_lowercase().starts_with(&prefix))
            .cloned()
            .collect();
        found.sort_by_key(|user| user.username.to_lowercase());
        found.truncate(limit);
        Ok(found)
    }

    async fn update_profile(
        &self,
        id: UserId,
        username: Option<&str>,
        avatar: Option<&str>,
    ) -> StoreResult<AccountWrite> {
        let (username, avatar) = (username.map(str::to_owned), avatar.map(str::to_owned));
        self.writing(move |state| {
            let write = state.taken(id, username.as_deref(), None);
            if write != AccountWrite::Done {
                return write;
            }
            let Some(account) = state.accounts.get_mut(&id) else {
                return AccountWrite::Missing;
            };
            if let Some(username) = username {
                account.user.username = username;
            }
            if let Some(avatar) = avatar {
                account.user.avatar = Some(avatar).filter(|avatar| !avatar.is_empty());
            }
            AccountWrite::Done
        })
        .await
    }

    async fn set_presence(&self, changes: &[PresenceChange]) -> StoreResult<()> {
        let changes = changes.to_vec();
        self.writing(move |state| {
            for change in changes {
                if let Some(account) = state.accounts.get_mut(&change.user) {
                    account.user.status = change.status;
                    account.user.last_seen = Some(change.at);
                }
            }
        })
        .await
    }

    async fn add_refresh_token(&self, token: &RefreshToken) -> StoreResult<()> {
        let token = token.clone();
        self.writing(move |state| {
            state.tokens.insert(token.hash, (token, true));
        })
        .await
    }

    async fn rotate_refresh_token(
        &self,
        hash: [u8; 32],
        next: &RefreshToken,
        salt: [u8; 16],
        now: Timestamp,
    ) -> StoreResult<Rotation> {
        let next = next.clone();
        self.writing(move |state| state.rotate(hash, &next, salt, now))
            .await
    }

    async fn revoke_refresh_token(
        &self,
        hash: [u8; 32],
    ) -> StoreResult<Option<(UserId, [u8; 16])>> {
        self.writing(move |state| {
            let (token, _) = state.tokens.get(&hash)?;
            let whose = (token.user, token.family);
            state.revoked.push(whose.1);
            Some(whose)
        })
        .await
    }

    async fn families_of_tokens(
        &self,
        hashes: &[[u8; 32]],
    ) -> StoreResult<Vec<([u8; 32], [u8; 16])>> {
        self.reading().await?;
        let state = self.state.lock();
        let known = hashes.iter().filter_map(|hash| state.tokens.get(hash));
        Ok(known.map(|(token, _)| (token.hash, token.family)).collect())
    }

    async fn revoked_families(
        &self,
        families: &[[u8; 16]],
    ) -> StoreResult<Vec<(UserId, [u8; 16])>> {
        self.reading().await?;
        let state = self.state.lock();
        let user_of = |family: &[u8; 16]| {
            let mut tokens = state.tokens.values();
            tokens.find(|(token, _)| token.family == *family)
        };
        let revoked = families.iter().filter(|f| state.revoked.contains(f));
        let known = revoked.filter_map(|family| Some((user_of(family)?.0.user, *family)));
        Ok(known.collect())
    }

    async fn refresh_family_active(&self, family: [u8; 16]) -> StoreResult<bool> {
        self.reading().await?;
        let state = self.state.lock();
        let known = state
            .tokens
            .values()
            .any(|(token, _)| token.family == family);
        Ok(known && !state.revoked.contains(&family))
    }

    async fn delete_expired_tokens(&self, now: Timestamp, limit: usize) -> StoreResult<usize> {
        self.writing(move |state| {
            let expired = state
                .tokens
                .values()
                .filter(|(token, _)| token.expires_at <= now);
            let hashes: Vec<_> = expired.map(|(token, _)| token.hash).take(limit).collect();
            for hash in &hashes {
                state.tokens.remove(hash);
            }
            hashes.len()
        })
        .await
    }
}
