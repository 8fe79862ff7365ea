//! The JSON of a person.

use serde::Serialize;
use syncchat_core::model;
use utoipa::ToSchema;

use crate::scalar::{Id, Time};

/// A person as others see them; to themselves, also with their e-mail address.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct User<'a> {
    /// Who.
    pub id: Id,
    /// 3 to 32 characters of `[A-Za-z0-9_.-]`.
    pub username: &'a str,
    /// Only when the person asks about themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub email: Option<&'a str>,
    /// Address of a picture, if there is one.
    #[schema(required = true)]
    pub avatar: Option<&'a str>,
    /// `online` or `offline`.
    #[schema(value_type = Online)]
    pub status: &'static str,
    /// When the last device went away; null before the first came.
    #[schema(required = true)]
    pub last_seen: Option<Time>,
    /// When the account was made.
    pub created_at: Time,
}

impl<'a> User<'a> {
    /// For everybody else: without the e-mail address.
    pub fn public(user: &'a model::User) -> User<'a> {
        User {
            id: user.id.into(),
            username: &user.username,
            email: None,
            avatar: user.avatar.as_deref(),
            status: user.status.as_str(),
            last_seen: user.last_seen.map(Time),
            created_at: user.created_at.into(),
        }
    }

    /// For the person.
    pub fn own(user: &'a model::User) -> User<'a> {
        User {
            email: Some(&user.email),
            ..User::public(user)
        }
    }

    /// For the person, by a socket of theirs: whatever the profile says, they are here.
    pub fn here(user: &'a model::User) -> User<'a> {
        User {
            status: model::PresenceStatus::Online.as_str(),
            ..User::own(user)
        }
    }
}

/// Whether any device of a person is connected.
#[derive(ToSchema)]
#[schema(as = PresenceStatus, rename_all = "lowercase")]
#[allow(dead_code, reason = "a schema only")]
pub(crate) enum Online {
    Online,
    Offline,
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use syncchat_core::model::{PresenceStatus, Timestamp, UserId};

    use super::*;

    #[test]
    fn an_address_is_shown_to_its_owner_only() {
        let mut user = model::User {
            id: UserId::from_bytes([0; 12]),
            username: "ada".into(),
            email: "ada@example.org".into(),
            avatar: None,
            status: PresenceStatus::Online,
            last_seen: None,
            created_at: Timestamp::from_millis(0),
        };
        let public = json!({
            "id": "000000000000000000000000",
            "username": "ada",
            "avatar": null,
            "status": "online",
            "lastSeen": null,
            "createdAt": "1970-01-01T00:00:00.000Z",
        });
        assert_eq!(serde_json::to_value(User::public(&user)).unwrap(), public);
        let own = serde_json::to_value(User::own(&user)).unwrap();
        assert_eq!(own["email"], "ada@example.org");
        user.status = PresenceStatus::Offline;
        let here = serde_json::to_value(User::here(&user)).unwrap();
        assert_eq!(
            (&here["status"], &here["email"]),
            (&"online".into(), &own["email"])
        );
    }
}
