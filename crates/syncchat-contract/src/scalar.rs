//! How single values are written: ids as 24 hex digits, times as RFC 3339 with milliseconds.

use serde::{Serialize, Serializer};
use syncchat_core::model::{ConversationId, FileId, MessageId, Timestamp, UserId, hex_digits};
use utoipa::openapi::schema::{Schema, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{KnownFormat, ObjectBuilder, RefOr};
use utoipa::{PartialSchema, ToSchema};

/// An id on the wire: 24 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id([u8; 12]);

/// A time on the wire: `2026-01-31T08:15:30.123Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

macro_rules! id_from {
    ($($id:ty),*) => {$(
        impl From<$id> for Id {
            fn from(id: $id) -> Id {
                Id(id.bytes())
            }
        }
    )*};
}
id_from!(UserId, ConversationId, MessageId, FileId);

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Time {
        Time(at)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = hex_digits(self.0);
        serializer.serialize_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.0.rfc3339_bytes();
        serializer.serialize_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl PartialSchema for Id {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::String))
            .pattern(Some("^[0-9a-f]{24}$"))
            .description(Some("24 hex digits"))
            .into()
    }
}
impl ToSchema for Id {}

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::String))
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("RFC 3339, UTC, with milliseconds"))
            .into()
    }
}
impl ToSchema for Time {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_times_are_spelt_as_the_core_spells_them() {
        let id = MessageId::from_bytes([0, 1, 0x0f, 0xf0, 0xff, 9, 10, 11, 12, 13, 14, 15]);
        let json = serde_json::to_string(&Id::from(id)).unwrap();
        assert_eq!(json, format!("\"{id}\""));
        let at = Timestamp::from_millis(1_769_847_330_120);
        let json = serde_json::to_string(&Time(at)).unwrap();
        assert_eq!(json, "\"2026-01-31T08:15:30.120Z\"");
    }
}
