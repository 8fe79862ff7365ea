//! What stands in JSON for an attachment: `{"_placeholder":true,"num":N}`, anywhere.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Whether each placeholder in this JSON names one of that many attachments. The same one may be
/// named twice, and some not at all. The JSON must be shallow: this recurses.
pub(super) fn all_fit(json: &str, attachments: usize) -> Result<bool, serde_json::Error> {
    let mut fits = true;
    let mut deserializer = serde_json::Deserializer::from_str(json);
    Walk {
        attachments: attachments as u64,
        fits: &mut fits,
    }
    .deserialize(&mut deserializer)?;
    Ok(fits)
}

/// As much of a value as its surroundings need to know.
enum Seen {
    True,
    Index(u64),
    Other,
}

/// Goes through a value without keeping any of it.
struct Walk<'a> {
    attachments: u64,
    fits: &'a mut bool,
}

impl Walk<'_> {
    fn inner(&mut self) -> Walk<'_> {
        Walk {
            attachments: self.attachments,
            fits: self.fits,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Seen;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Seen, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Seen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Seen, E> {
        Ok(if value { Seen::True } else { Seen::Other })
    }

    fn visit_u64<E>(self, value: u64) -> Result<Seen, E> {
        Ok(Seen::Index(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Seen, E> {
        Ok(Seen::Other)
    }

    fn visit_f64<E>(self, value: f64) -> Result<Seen, E> {
        // `1.0` and `1e0` are the number 1 to JavaScript.
        let is_index = value >= 0.0 && value.fract() == 0.0;
        Ok(if is_index {
            Seen::Index(value as u64)
        } else {
            Seen::Other
        })
    }

    fn visit_str<E>(self, _: &str) -> Result<Seen, E> {
        Ok(Seen::Other)
    }

    fn visit_unit<E>(self) -> Result<Seen, E> {
        Ok(Seen::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Seen, A::Error> {
        while seq.next_element_seed(self.inner())?.is_some() {}
        Ok(Seen::Other)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Seen, A::Error> {
        let mut is_placeholder = false;
        let mut index = None;
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Placeholder => {
                    is_placeholder = matches!(map.next_value_seed(self.inner())?, Seen::True);
                }
                Key::Num => {
                    index = match map.next_value_seed(self.inner())? {
                        Seen::Index(index) => Some(index),
                        Seen::True | Seen::Other => None,
                    };
                }
                Key::Other => {
                    map.next_value_seed(self.inner())?;
                }
            }
        }
        if is_placeholder && index.is_none_or(|index| index >= self.attachments) {
            *self.fits = false;
        }
        Ok(Seen::Other)
    }
}

/// What a key means to a placeholder.
#[derive(Deserialize)]
#[serde(field_identifier)]
enum Key {
    #[serde(rename = "_placeholder")]
    Placeholder,
    #[serde(rename = "num")]
    Num,
    #[serde(other)]
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_found_anywhere_and_checked() {
        let fit = [
            r#"[{"_placeholder":true,"num":0}]"#,
            r#"["e",[1,{"a":{"num":1,"_placeholder":true}}],{"_placeholder":true,"num":1}]"#,
            r#"[{"_placeholder":true,"num":1.0,"more":[]}]"#,
            r#"[{"_placeholder":false,"num":9},{"_placeholder":1,"num":9},{"num":9}]"#,
            r#"[{"_placeholder":true,"_placeholder":null,"num":9}]"#,
            r#"["_placeholder",true,"num",9,null,-1,1.5]"#,
            r#"[]"#,
        ];
        for json in fit {
            assert!(all_fit(json, 2).unwrap(), "{json}");
        }
        let unfit = [
            r#"[{"_placeholder":true,"num":2}]"#,
            r#"[{"_placeholder":true,"num":-1}]"#,
            r#"[{"_placeholder":true,"num":0.5}]"#,
            r#"[{"_placeholder":true,"num":"0"}]"#,
            r#"[{"_placeholder":true,"num":true}]"#,
            r#"[{"_placeholder":true,"num":[0]}]"#,
            r#"[{"_placeholder":true}]"#,
            r#"[{"_placeholder":true,"num":18446744073709551615}]"#,
            r#"[{"_placeholder":true,"num":1e300}]"#,
            r#"[{"\u005fplaceholder":true,"num":5}]"#,
            r#"[[[{"x":{"_placeholder":true,"num":7}}]],{"_placeholder":true,"num":0}]"#,
        ];
        for json in unfit {
            assert!(!all_fit(json, 2).unwrap(), "{json}");
        }
    }
}
