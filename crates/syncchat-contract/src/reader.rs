//! Reads JSON objects field by field and remembers what was wrong with each, so that a refusal
//! names every bad field at once, in our words. Shared by socket events, REST bodies and queries.
//!
//! Unknown fields are ignored, so that newer clients can talk to older servers; `null` is the same
//! as absent (but for [`Reader::is_null`]); of a field written twice the last one counts. Nothing is converted: a number is no
//! string, and an operator object like `{"$ne":1}` is nothing at all.

use std::borrow::Cow;

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use syncchat_core::model::{
    ConversationId, ConversationKind, FileId, MessageId, Timestamp, UserId,
};
use syncchat_core::{Error, ErrorCode, Result};

/// The largest whole number that JavaScript and JSON carry exactly. Larger ones are refused.
pub const WHOLE_MAX: u64 = (1 << 53) - 1;

/// An object that is being read.
#[derive(Debug)]
pub struct Reader {
    fields: Map<String, Value>,
    /// Whether values came as text, as in a query: then numbers are read from strings.
    textual: bool,
    wrong: Vec<(Cow<'static, str>, Cow<'static, str>)>,
}

/// What can be read field by field: a body, a query or an argument.
pub trait FromReader: Sized {
    /// Takes its fields; what is wrong with them is remembered in the reader.
    ///
    /// # Errors
    /// `invalid`, naming the fields.
    fn from_reader(reader: Reader) -> Result<Self>;
}

/// Why a value is not what it should be, to be read after the field's name.
pub type Why = Cow<'static, str>;

/// A value that a field can hold.
pub trait Field: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// What it should have been.
    fn read(value: Value) -> Result<Self, Why>;

    /// Reads it from a query.
    ///
    /// # Errors
    /// What it should have been.
    fn read_text(text: String) -> Result<Self, Why> {
        Self::read(Value::String(text))
    }
}

impl Reader {
    /// Reads a body.
    ///
    /// # Errors
    /// `invalid` if it is not JSON, nested too deeply, or no object.
    pub fn body(bytes: &[u8]) -> Result<Reader> {
        Reader::object(serde_json::from_slice(bytes).map_err(malformed)?)
    }

    /// Reads an event's argument.
    ///
    /// # Errors
    /// `invalid` if there is none, it is nested too deeply, or no object.
    pub fn argument(raw: Option<&RawValue>) -> Result<Reader> {
        let raw = raw.ok_or_else(no_object)?;
        Reader::object(serde_json::from_str(raw.get()).map_err(malformed)?)
    }

    /// Reads the pairs of a query, decoded already; of a repeated name the last one counts.
    pub fn query(pairs: impl IntoIterator<Item = (String, String)>) -> Reader {
        Reader {
            fields: pairs
                .into_iter()
                .map(|(name, value)| (name, Value::String(value)))
                .collect(),
            textual: true,
            wrong: Vec::new(),
        }
    }

    fn object(value: Value) -> Result<Reader> {
        match value {
            Value::Object(fields) => Ok(Reader {
                fields,
                textual: false,
                wrong: Vec::new(),
            }),
            _ => Err(no_object()),
        }
    }

    /// Whether the field is there, and not null.
    pub fn has(&self, name: &str) -> bool {
        self.fields.get(name).is_some_and(|value| !value.is_null())
    }

    /// Whether the field is there and is null: where that says something else than its absence.
    pub fn is_null(&self, name: &str) -> bool {
        self.fields.get(name).is_some_and(Value::is_null)
    }

    /// A field that must be there. `None` is remembered as a refusal.
    pub fn required<T: Field>(&mut self, name: &'static str) -> Option<T> {
        if !self.has(name) {
            self.refuse(name, "is required");
            return None;
        }
        self.optional(name)
    }

    /// A field that may be there. If it is and is wrong, that is remembered.
    pub fn optional<T: Field>(&mut self, name: &'static str) -> Option<T> {
        let read = match self.fields.remove(name)? {
            Value::Null => return None,
            Value::String(text) if self.textual => T::read_text(text),
            value => T::read(value),
        };
        read.map_err(|why| self.refuse(name, why)).ok()
    }

    /// A list of at most `max` values that may be there; empty if it is not.
    pub fn list<T: Field>(&mut self, name: &'static str, max: usize) -> Vec<T> {
        let items = match self.fields.remove(name) {
            None | Some(Value::Null) => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(_) => {
                self.refuse(name, "must be a list");
                return Vec::new();
            }
        };
        if items.len() > max {
            self.refuse(name, format!("must have at most {max} items"));
            return Vec::new();
        }
        let read: Result<Vec<T>, Why> = items
            .into_iter()
            .enumerate()
            .map(|(i, item)| T::read(item).map_err(|why| format!("item {} {why}", i + 1).into()))
            .collect();
        read.map_err(|why| self.refuse(name, why))
            .unwrap_or_default()
    }

    /// A map from ids to whole numbers, of at most `max` entries, that may be there.
    pub fn whole_numbers_by_id<K: Field + Ord>(
        &mut self,
        name: &'static str,
        max: usize,
    ) -> std::collections::BTreeMap<K, u64> {
        let entries = match self.fields.remove(name) {
            None | Some(Value::Null) => return Default::default(),
            Some(Value::Object(entries)) => entries,
            Some(_) => {
                self.refuse(name, "must be an object");
                return Default::default();
            }
        };
        if entries.len() > max {
            self.refuse(name, format!("must have at most {max} entries"));
            return Default::default();
        }
        let read: Result<_, Why> = entries
            .into_iter()
            .map(|(key, value)| {
                let key = K::read_text(key).map_err(|why| format!("each key {why}"))?;
                let value = u64::read(value).map_err(|why| format!("each value {why}"))?;
                Ok((key, value))
            })
            .collect();
        read.map_err(|why| self.refuse(name, why))
            .unwrap_or_default()
    }

    /// Remembers that a field is wrong.
    pub fn refuse(&mut self, name: impl Into<Cow<'static, str>>, why: impl Into<Why>) {
        self.wrong.push((name.into(), why.into()));
    }

    /// What was read, if nothing was wrong.
    ///
    /// # Errors
    /// `invalid`, with every field that was wrong.
    pub fn finish<T>(self, build: impl FnOnce() -> Option<T>) -> Result<T> {
        if self.wrong.is_empty()
            && let Some(built) = build()
        {
            return Ok(built);
        }
        let said: Vec<String> = self
            .wrong
            .iter()
            .map(|(name, why)| format!("{name} {why}"))
            .collect();
        Err(Error {
            fields: self.wrong,
            ..Error::new(ErrorCode::Invalid, said.join(", "))
        })
    }
}

fn malformed(error: serde_json::Error) -> Error {
    Error::new(ErrorCode::Invalid, format!("malformed JSON: {error}"))
}

fn no_object() -> Error {
    Error::new(ErrorCode::Invalid, "a JSON object is expected")
}

impl Field for String {
    fn read(value: Value) -> Result<String, Why> {
        match value {
            Value::String(text) => Ok(text),
            _ => Err("must be a string".into()),
        }
    }
}

impl Field for bool {
    fn read(value: Value) -> Result<bool, Why> {
        value.as_bool().ok_or("must be true or false".into())
    }

    fn read_text(text: String) -> Result<bool, Why> {
        text.parse().map_err(|_| "must be true or false".into())
    }
}

impl Field for u64 {
    fn read(value: Value) -> Result<u64, Why> {
        // Some languages write every number as a float: JSON does not tell 1.0 from 1.
        let is_whole =
            |number: &f64| number.fract() == 0.0 && (0.0..=WHOLE_MAX as f64).contains(number);
        let float = || value.as_f64().filter(is_whole).map(|number| number as u64);
        whole(value.as_u64().or_else(float))
    }

    fn read_text(text: String) -> Result<u64, Why> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        whole(digits.then(|| text.parse().ok()).flatten())
    }
}

fn whole(number: Option<u64>) -> Result<u64, Why> {
    number
        .filter(|&number| number <= WHOLE_MAX)
        .ok_or_else(|| format!("must be a whole number from 0 to {WHOLE_MAX}").into())
}

macro_rules! id_field {
    ($($id:ty),*) => {$(
        impl Field for $id {
            fn read(value: Value) -> Result<$id, Why> {
                let text = value.as_str().ok_or("must be a string")?;
                text.parse().map_err(|_| "must be 24 hex digits".into())
            }
        }
    )*};
}
id_field!(UserId, ConversationId, MessageId, FileId);

impl Field for ConversationKind {
    fn read(value: Value) -> Result<ConversationKind, Why> {
        value
            .as_str()
            .and_then(ConversationKind::parse)
            .ok_or("must be private or group".into())
    }
}

impl Field for Timestamp {
    fn read(value: Value) -> Result<Timestamp, Why> {
        value
            .as_str()
            .and_then(Timestamp::parse)
            .ok_or("must be an RFC 3339 time".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a reader of `{id: ConversationId, seq: u64, text: String, on?: bool, list: [UserId]}`
    /// says is wrong, as `field: why`.
    fn wrong(json: &str) -> Vec<String> {
        let mut reader = match Reader::body(json.as_bytes()) {
            Ok(reader) => reader,
            Err(error) => return vec![error.message.into_owned()],
        };
        let id = reader.required::<ConversationId>("id");
        let seq = reader.required::<u64>("seq");
        let text = reader.required::<String>("text");
        let _on = reader.optional::<bool>("on");
        let _list = reader.list::<UserId>("list", 2);
        match reader.finish(|| id.zip(seq).zip(text)) {
            Ok(_) => Vec::new(),
            Err(error) => {
                assert_eq!(error.code, ErrorCode::Invalid);
                let said = error
                    .fields
                    .iter()
                    .map(|(name, why)| format!("{name}: {why}"));
                said.collect()
            }
        }
    }

    const ID: &str = "65a1b2c3d4e5f60718293a4b";

    #[test]
    fn good_objects_pass_and_unknown_fields_are_ignored() {
        let json = format!(
            r#"{{"id":"{ID}","seq":9007199254740991,"text":"","on":null,"new":{{"a":[1]}},"list":["{ID}"]}}"#
        );
        assert_eq!(wrong(&json), Vec::<String>::new());
    }

    #[test]
    fn every_wrong_field_is_named_at_once() {
        assert_eq!(
            wrong(r#"{"seq":"1","text":{"$ne":1},"on":1,"list":["x"]}"#),
            [
                "id: is required",
                "seq: must be a whole number from 0 to 9007199254740991",
                "text: must be a string",
                "on: must be true or false",
                "list: item 1 must be 24 hex digits",
            ]
        );
    }

    #[test]
    fn numbers_are_whole_and_exact() {
        for bad in [
            "-1",
            "1.5",
            "-1.0",
            "-0.5",
            "1e300",
            "9007199254740992.0",
            "9007199254740992",
            "18446744073709551616",
        ] {
            let json = format!(r#"{{"id":"{ID}","text":"x","seq":{bad}}}"#);
            assert_eq!(wrong(&json).len(), 1, "{bad}");
            assert!(wrong(&json)[0].starts_with("seq: "), "{bad}");
        }
        // As languages write them that have floats only.
        for good in ["5.0", "1e3", "0.0", "-0.0", "9007199254740991.0"] {
            let json = format!(r#"{{"id":"{ID}","text":"x","seq":{good}}}"#);
            assert!(wrong(&json).is_empty(), "{good}");
        }
        // Beyond what JSON numbers can be at all.
        assert!(wrong(r#"{"seq":1e999}"#)[0].starts_with("malformed JSON: number out of range"));
    }

    #[test]
    fn operators_and_other_types_are_no_ids() {
        for bad in [
            r#"{"$ne":1}"#,
            r#"["65a1b2c3d4e5f60718293a4b"]"#,
            "1",
            "true",
            "\"\"",
            "\"65a1b2c3d4e5f60718293a4\"",
            "\"65a1b2c3d4e5f60718293a4g\"",
            "\"65a1b2c3d4e5f60718293a4\u{e9}\"",
        ] {
            let said = wrong(&format!(r#"{{"id":{bad},"text":"x","seq":1}}"#));
            assert_eq!(said.len(), 1, "{bad}");
            assert!(said[0].starts_with("id: must be "), "{bad}: {said:?}");
        }
    }

    #[test]
    fn of_a_field_written_twice_the_last_counts() {
        let json = format!(r#"{{"id":1,"id":"{ID}","seq":1,"text":"x"}}"#);
        assert_eq!(wrong(&json), Vec::<String>::new());
        let json = format!(r#"{{"id":"{ID}","id":1,"seq":1,"text":"x"}}"#);
        assert_eq!(wrong(&json), ["id: must be a string"]);
    }

    #[test]
    fn lists_are_bounded() {
        let json = format!(r#"{{"id":"{ID}","seq":1,"text":"x","list":["{ID}","{ID}","{ID}"]}}"#);
        assert_eq!(wrong(&json), ["list: must have at most 2 items"]);
        let json = format!(r#"{{"id":"{ID}","seq":1,"text":"x","list":"{ID}"}}"#);
        assert_eq!(wrong(&json), ["list: must be a list"]);
    }

    #[test]
    fn what_is_no_object_is_refused_whole() {
        for bad in [
            "",
            "[]",
            "1",
            "null",
            "\"x\"",
            "{",
            "{}x",
            "{'a':1}",
            r#"{"a":"\ud800"}"#,
        ] {
            assert_eq!(wrong(bad).len(), 1, "{bad}");
        }
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
        assert!(wrong(&deep)[0].starts_with("malformed JSON: recursion limit"));
        let error = Reader::body(b"{\"a\":\"\xff\"}").unwrap_err();
        assert_eq!(error.code, ErrorCode::Invalid);
        assert!(Reader::argument(None).is_err());
    }

    #[test]
    fn queries_read_numbers_from_text() {
        let mut reader = Reader::query(
            [("limit", "7"), ("before", "-1"), ("after", "")]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        assert_eq!(reader.optional::<u64>("limit"), Some(7));
        assert_eq!(reader.optional::<u64>("before"), None);
        assert_eq!(reader.optional::<u64>("after"), None);
        let error = reader.finish(|| Some(())).unwrap_err();
        let named: Vec<_> = error.fields.iter().map(|(name, _)| name.as_ref()).collect();
        assert_eq!(named, ["before", "after"]);
    }
}
