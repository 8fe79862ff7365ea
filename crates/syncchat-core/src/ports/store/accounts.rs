//! Accounts and log-ins: users, their presence, refresh tokens and families.

use async_trait::async_trait;

use super::StoreResult;
use crate::model::{Account, PresenceStatus, Timestamp, User, UserId};

/// Somebody came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresenceChange {
    /// Who.
    pub user: UserId,
    /// What they are from then on.
    pub status: PresenceStatus,
    /// When.
    pub at: Timestamp,
}

/// A refresh token as stored: never the token, only its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshToken {
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// All tokens that descend from one log-in.
    pub family: [u8; 16],
    /// Whose.
    pub user: UserId,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is worthless, and may be deleted.
    pub expires_at: Timestamp,
}

/// What became of a refresh token that was presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    /// It was good; the new one is stored in its place, in the same family.
    Rotated {
        /// Whose.
        user: UserId,
        /// Its family.
        family: [u8; 16],
    },
    /// It had been used, and its successor has not been used yet: nothing was changed. Whoever
    /// presents it gets the same successor again.
    Repeated {
        /// Whose.
        user: UserId,
        /// Its family.
        family: [u8; 16],
        /// The salt that was stored when it was used.
        salt: [u8; 16],
    },
    /// It had been used, and so had its successor: the whole family is revoked now.
    Reused {
        /// Whose.
        user: UserId,
        /// Its family.
        family: [u8; 16],
    },
    /// Nobody knows it, it has expired, or its family was revoked.
    Unknown,
}

/// Whether an account was made, or what stood in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountWrite {
    /// It is durable.
    Done,
    /// Another account has this username, without regard to case.
    UsernameTaken,
    /// Another account has this e-mail address, without regard to case.
    EmailTaken,
    /// There is no such account.
    Missing,
}

/// Accounts and refresh tokens. Durable and bounded as [`ConversationStore`].
#[async_trait]
pub trait AccountStore: Send + Sync + 'static {
    /// Makes an account, or names what is taken.
    async fn create_account(&self, account: &Account) -> StoreResult<AccountWrite>;

    /// The account with this username or e-mail address, without regard to case.
    async fn account_by_login(&self, login: &str) -> StoreResult<Option<Account>>;

    /// The users that exist among these, in any order.
    async fn users(&self, ids: &[UserId]) -> StoreResult<Vec<User>>;

    /// Users whose username begins with `prefix`, without regard to case, in order of name.
    async fn search_users(&self, prefix: &str, limit: usize) -> StoreResult<Vec<User>>;

    /// Changes a profile; `None` leaves a field, an empty avatar removes it.
    async fn update_profile(
        &self,
        id: UserId,
        username: Option<&str>,
        avatar: Option<&str>,
    ) -> StoreResult<AccountWrite>;

    /// Keeps presence for when the fleet forgets, of many people in one write. Who does not exist is
    /// left out.
    async fn set_presence(&self, changes: &[PresenceChange]) -> StoreResult<()>;

    /// Stores the first token of a family.
    async fn add_refresh_token(&self, token: &RefreshToken) -> StoreResult<()>;

    /// Takes the token with this hash out of use and stores `next` in its family, in one step.
    /// `next.user` and `next.family` are ignored: they are the old one's.
    ///
    /// The family keeps the hash and `salt` of the token it took out of use last, and of no other:
    /// that token alone can be presented again ([`Rotation::Repeated`]). So using a token deletes
    /// the salt of its predecessor.
    ///
    /// Every answer is durable, [`Rotation::Repeated`] and [`Rotation::Unknown`] too: what they rest
    /// on cannot be undone by a failover.
    async fn rotate_refresh_token(
        &self,
        hash: [u8; 32],
        next: &RefreshToken,
        salt: [u8; 16],
        now: Timestamp,
    ) -> StoreResult<Rotation>;

    /// Revokes the family of the token with this hash, again if it is revoked already; unknown:
    /// nothing. Answers whose it was, which is as durable as a write.
    async fn revoke_refresh_token(&self, hash: [u8; 32])
    -> StoreResult<Option<(UserId, [u8; 16])>>;

    /// The tokens with these hashes, each with its family, in any order; unknown ones are left out.
    async fn families_of_tokens(
        &self,
        hashes: &[[u8; 32]],
    ) -> StoreResult<Vec<([u8; 32], [u8; 16])>>;

    /// Those of these families that are revoked, each with its user, in any order. One read by key.
    async fn revoked_families(&self, families: &[[u8; 16]])
    -> StoreResult<Vec<(UserId, [u8; 16])>>;

    /// Whether a family is known and not revoked.
    async fn refresh_family_active(&self, family: [u8; 16]) -> StoreResult<bool>;

    /// Deletes what has expired, at most `limit` tokens; says how many.
    async fn delete_expired_tokens(&self, now: Timestamp, limit: usize) -> StoreResult<usize>;
}
