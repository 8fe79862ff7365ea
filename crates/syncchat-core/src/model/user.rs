//! People, as others see them and as the identity crate knows them.

use super::{Timestamp, UserId};

/// Whether any device of a person is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PresenceStatus {
    /// At least one device is connected.
    Online,
    /// None is.
    Offline,
}

impl PresenceStatus {
    /// The name on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            PresenceStatus::Online => "online",
            PresenceStatus::Offline => "offline",
        }
    }
}

/// A person, as others may see them. The e-mail address is shown to its owner only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Who.
    pub id: UserId,
    /// 3 to 32 characters of `[A-Za-z0-9_.-]`, unique without regard to case.
    pub username: String,
    /// Unique without regard to case.
    pub email: String,
    /// Address of a picture, if there is one.
    pub avatar: Option<String>,
    /// As last stored; live presence is the fleet's to say.
    pub status: PresenceStatus,
    /// When the last device went away.
    pub last_seen: Option<Timestamp>,
    /// When the account was made.
    pub created_at: Timestamp,
}

/// A user with what it takes to check a password. Never leaves the identity crate.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// The person.
    pub user: User,
    /// bcrypt, `$2b$…`.
    pub password_hash: String,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}
