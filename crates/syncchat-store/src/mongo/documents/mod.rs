//! Documents as stored, and the model's values made of them and back.
//!
//! Reading is lenient where an older deployment may have left a field out or written another
//! type; what the log hangs on (`seq`, `lastSeq`) is made by `migrate`, and needed.

mod account;
mod conversation;
mod file;
mod message;

pub(super) use self::account::{FamilyRecord, RepeatableToken, TokenRecord, UserRecord};
pub(super) use self::conversation::{
    ConversationRecord, CursorRecord, HeadRecord, MemberRecord, RequestRecord, span_records,
    stored_rev,
};
pub(super) use self::file::{ClaimRecord, FileRecord};
pub(super) use self::message::MessageRecord;

use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime};
use serde::{Deserialize, Deserializer};
use syncchat_core::model::{ConversationId, Digest, FileId, MessageId, Timestamp, UserId};

/// Numbers of the model never reach 2⁶³ but as [`Seq::MAX`], "the end".
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A stored number; a negative one, which nobody writes, counts as none.
pub(super) fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

pub(super) fn date(at: Timestamp) -> DateTime {
    DateTime::from_millis(at.millis())
}

pub(super) fn timestamp(at: DateTime) -> Timestamp {
    Timestamp::from_millis(at.timestamp_millis())
}

/// Something that is an ObjectId in the store.
pub(super) trait Id {
    fn oid(&self) -> ObjectId;
}

macro_rules! id {
    ($($name:ident)*) => {$(
        impl Id for $name {
            fn oid(&self) -> ObjectId {
                ObjectId::from_bytes(self.bytes())
            }
        }
    )*};
}
id! { UserId ConversationId MessageId FileId }

pub(super) fn oids<I: Id>(ids: &[I]) -> Vec<ObjectId> {
    ids.iter().map(Id::oid).collect()
}

pub(super) fn binary(bytes: &[u8]) -> Binary {
    Binary {
        subtype: BinarySubtype::Generic,
        bytes: bytes.to_vec(),
    }
}

/// A digest as stored; `None` if it is none.
pub(super) fn digest(stored: &Binary) -> Option<Digest> {
    let bytes = stored.bytes.as_slice().try_into();
    bytes.ok().map(Digest::from_bytes)
}

/// Null, which older deployments wrote, is as good as absent.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Anything else than a date is as good as absent.
fn date_if_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime>, D::Error> {
    Bson::deserialize(deserializer).map(|value| value.as_datetime().copied())
}
