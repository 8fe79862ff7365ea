//! The door to people: profiles with live presence, finding somebody, changing one's own profile.

use std::sync::Arc;

use crate::error::{Error, ErrorCode, Result};
use crate::limits::{PEOPLE_FOUND_MAX, PEOPLE_QUERY_CHARS_MAX};
use crate::model::{PresenceStatus, User, UserId};
use crate::ports::fleet::Presence;
use crate::ports::store::{AccountStore, AccountWrite, StoreError};
use crate::text;

/// Profiles from the store, presence from the fleet.
pub struct People {
    accounts: Arc<dyn AccountStore>,
    presence: Arc<dyn Presence>,
}

/// What somebody wants to be different about their own profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileChange {
    username: Option<String>,
    /// Empty: taken away.
    avatar: Option<String>,
}

impl ProfileChange {
    /// Checks both fields; `None` leaves one as it is, an empty avatar takes it away.
    ///
    /// # Errors
    /// `invalid`, naming every wrong field.
    pub fn new(username: Option<&str>, avatar: Option<&str>) -> Result<ProfileChange> {
        let username = username.map(text::username).transpose();
        let avatar = match avatar {
            Some("") => Ok(Some(String::new())),
            avatar => avatar.map(text::avatar).transpose(),
        };
        match (username, avatar) {
            (Ok(username), Ok(avatar)) => Ok(ProfileChange { username, avatar }),
            (Err(mut first), Err(second)) => {
                first.fields.extend(second.fields);
                Err(first)
            }
            (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
        }
    }
}

impl People {
    /// Over these accounts and this fleet.
    pub fn new(accounts: Arc<dyn AccountStore>, presence: Arc<dyn Presence>) -> People {
        People { accounts, presence }
    }

    /// The people that exist among these, in any order, with presence as it is now. The caller
    /// bounds the number.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn find(&self, ids: &[UserId]) -> Result<Vec<User>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let users = self.accounts.users(ids).await.map_err(refusal)?;
        Ok(self.with_presence(users).await)
    }

    /// One person.
    ///
    /// # Errors
    /// `not_found`; `unavailable`.
    pub async fn profile(&self, id: UserId) -> Result<User> {
        let found = self.find(&[id]).await?.pop();
        found.ok_or_else(|| Error::not_found("user"))
    }

    /// People whose username begins with this, without regard to case, in order of name; at most
    /// [`PEOPLE_FOUND_MAX`].
    ///
    /// # Errors
    /// `invalid`, naming `q`; `unavailable`.
    pub async fn search(&self, prefix: &str) -> Result<Vec<User>> {
        let prefix = prefix.trim();
        if !(1..=PEOPLE_QUERY_CHARS_MAX).contains(&prefix.chars().count()) {
            return Err(Error::invalid(
                "q",
                format!("must have 1 to {PEOPLE_QUERY_CHARS_MAX} characters"),
            ));
        }
        let found = self.accounts.search_users(prefix, PEOPLE_FOUND_MAX).await;
        Ok(self.with_presence(found.map_err(refusal)?).await)
    }

    /// Changes a person's own profile; answers with it.
    ///
    /// # Errors
    /// `conflict` naming `username`, if it is taken; `not_found`; `unavailable`.
    pub async fn change(&self, id: UserId, change: ProfileChange) -> Result<User> {
        let (username, avatar) = (change.username.as_deref(), change.avatar.as_deref());
        if username.is_some() || avatar.is_some() {
            match self.accounts.update_profile(id, username, avatar).await {
                Ok(AccountWrite::Done) => {}
                Ok(AccountWrite::UsernameTaken) => {
                    return Err(Error::conflict("username", "is taken"));
                }
                Ok(AccountWrite::EmailTaken) => return Err(Error::conflict("email", "is taken")),
                Ok(AccountWrite::Missing) => return Err(Error::not_found("user")),
                Err(error) => return Err(refusal(error)),
            }
        }
        self.profile(id).await
    }

    async fn with_presence(&self, mut users: Vec<User>) -> Vec<User> {
        let ids: Vec<UserId> = users.iter().map(|user| user.id).collect();
        let online = self.presence.online(&ids).await;
        for (user, online) in users.iter_mut().zip(online) {
            user.status = match online {
                Some(true) => PresenceStatus::Online,
                Some(false) => PresenceStatus::Offline,
                // While the fleet does not know, as it was last noted.
                None => user.status,
            };
        }
        users
    }
}

fn refusal(error: StoreError) -> Error {
    match error {
        StoreError::Unavailable(_) => Error::unavailable("the store did not answer in time"),
        StoreError::Damaged(what) => {
            tracing::error!(%what, "store damaged");
            Error::new(ErrorCode::Internal, "the store holds something unreadable")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_names_every_wrong_field() {
        let error = ProfileChange::new(Some("a b"), Some("javascript:alert(1)")).unwrap_err();
        let named: Vec<_> = error.fields.iter().map(|(name, _)| name.as_ref()).collect();
        assert_eq!(named, ["username", "avatar"]);
        assert!(ProfileChange::new(None, Some("")).is_ok());
    }
}
