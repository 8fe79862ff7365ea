//! Idempotency keys: a caller's own name for what it asks for, so that a repetition after a lost answer makes
//! no second thing.

use crate::error::{Error, Result};
use crate::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use crate::text;

/// What the header is called, in refusals too.
pub const IDEMPOTENCY_KEY_HEADER: &str = "Idempotency-Key";

/// Begins what is stored of a header's value. No name that a client gives in a body has a control
/// character, so the two kinds never meet.
const HEADER_MARK: char = '\u{1}';

/// Names what one caller asks to be made: a conversation, a message or a file. Two calls of the same caller
/// under the same key ask for the same thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The value of the header `Idempotency-Key`: 1 to 255 visible ASCII characters.
    ///
    /// # Errors
    /// `invalid`, naming the header.
    pub fn from_header(value: &[u8]) -> Result<IdempotencyKey> {
        let fits = (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&value.len());
        if !fits || !value.iter().all(u8::is_ascii_graphic) {
            return Err(Error::invalid(
                IDEMPOTENCY_KEY_HEADER,
                format!("must have 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible ASCII characters"),
            ));
        }
        let value = value.iter().copied().map(char::from);
        Ok(IdempotencyKey(
            std::iter::once(HEADER_MARK).chain(value).collect(),
        ))
    }

    /// A name from a body, of the form of a `clientMsgId`.
    ///
    /// # Errors
    /// `invalid`, naming this field.
    pub fn from_body(field: &'static str, name: String) -> Result<IdempotencyKey> {
        text::client_id(field, name).map(IdempotencyKey)
    }

    /// As it is stored and compared.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// To be stored.
    pub fn into_string(self) -> String {
        self.0
    }
}

/// Whether a stored name is a header's value, which clients are not shown.
pub(crate) fn is_from_header(stored: &str) -> bool {
    stored.starts_with(HEADER_MARK)
}

/// A stored name was used before, for something else. `field` is where a body gives such a name.
pub(crate) fn used_otherwise(stored: &str, field: &'static str) -> Error {
    let field = match is_from_header(stored) {
        true => IDEMPOTENCY_KEY_HEADER,
        false => field,
    };
    Error::conflict(field, "was used for something else")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_bounded_and_apart_from_names_in_bodies() {
        let header = |value: &str| IdempotencyKey::from_header(value.as_bytes());
        let body = |name: &str| IdempotencyKey::from_body("clientConversationId", name.into());
        let field = |error: Error| error.fields[0].0.to_string();
        let longest = "k".repeat(IDEMPOTENCY_KEY_BYTES_MAX);
        for good in ["k", "\"8e03978e-40d5\"", &longest] {
            assert!(header(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a b",
            "a\tb",
            "\u{e9}",
            "\u{7f}",
            &format!("{longest}k"),
        ] {
            assert_eq!(header(bad).map_err(field), Err("Idempotency-Key".into()));
        }
        assert_ne!(header("k").ok(), body("k").ok());
        let (from_header, from_body) = (header("k").unwrap(), body("k").unwrap());
        let named = |key: &IdempotencyKey| field(used_otherwise(key.as_str(), "clientMsgId"));
        assert_eq!(named(&from_header), "Idempotency-Key");
        assert_eq!(named(&from_body), "clientMsgId");
        let bad = body("\u{1}k").map_err(field);
        assert_eq!(bad, Err("clientConversationId".into()));
    }
}
