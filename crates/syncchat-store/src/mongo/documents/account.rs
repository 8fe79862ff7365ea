//! Accounts and refresh tokens.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Binary, DateTime};
use serde::{Deserialize, Serialize};
use syncchat_core::model::{Account, PresenceStatus, User, UserId};

use super::{Id, date, date_if_any, or_default, timestamp};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::mongo) struct UserRecord {
    #[serde(rename = "_id")]
    id: ObjectId,
    #[serde(default, deserialize_with = "or_default")]
    pub(in crate::mongo) username: String,
    /// In lower case.
    #[serde(default)]
    username_key: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(in crate::mongo) email: String,
    /// In lower case.
    #[serde(default)]
    email_key: String,
    #[serde(default, deserialize_with = "or_default")]
    password: String,
    #[serde(default)]
    avatar: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default, deserialize_with = "date_if_any")]
    last_seen: Option<DateTime>,
    #[serde(default, deserialize_with = "date_if_any")]
    created_at: Option<DateTime>,
}

impl From<&Account> for UserRecord {
    fn from(account: &Account) -> UserRecord {
        let user = &account.user;
        UserRecord {
            id: user.id.oid(),
            username: user.username.clone(),
            username_key: user.username.to_lowercase(),
            email: user.email.clone(),
            email_key: user.email.to_lowercase(),
            password: account.password_hash.clone(),
            avatar: user.avatar.clone(),
            status: Some(user.status.as_str().into()),
            last_seen: user.last_seen.map(date),
            created_at: Some(date(user.created_at)),
        }
    }
}

impl From<UserRecord> for Account {
    fn from(record: UserRecord) -> Account {
        let user = User {
            id: UserId::from_bytes(record.id.bytes()),
            username: record.username,
            email: record.email,
            avatar: record.avatar.filter(|avatar| !avatar.is_empty()),
            status: match record.status.as_deref() {
                Some("online") => PresenceStatus::Online,
                _ => PresenceStatus::Offline,
            },
            last_seen: record.last_seen.map(timestamp),
            created_at: timestamp(record.created_at.unwrap_or(record.id.timestamp())),
        };
        Account {
            user,
            password_hash: record.password,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::mongo) struct TokenRecord {
    /// SHA-256 of the token.
    #[serde(rename = "_id")]
    pub(in crate::mongo) hash: Binary,
    pub(in crate::mongo) family: Binary,
    pub(in crate::mongo) used: bool,
    pub(in crate::mongo) created_at: DateTime,
    pub(in crate::mongo) expires_at: DateTime,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::mongo) struct FamilyRecord {
    #[serde(rename = "_id")]
    pub(in crate::mongo) family: Binary,
    pub(in crate::mongo) user_id: ObjectId,
    pub(in crate::mongo) revoked: bool,
    /// Of its youngest token.
    pub(in crate::mongo) expires_at: DateTime,
    /// The token that was taken out of use last; none before the first use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::mongo) repeatable: Option<RepeatableToken>,
}

/// A used token that may be presented again.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::mongo) struct RepeatableToken {
    /// SHA-256 of it.
    pub(in crate::mongo) hash: Binary,
    /// Makes its successor from it.
    pub(in crate::mongo) salt: Binary,
}
