//! What a request says about itself in its query.

use std::borrow::Cow;

use crate::limits::{QUERY_BYTES, QUERY_PARAMETERS};

/// A decoded query, in order.
pub(crate) type Query = Vec<(String, String)>;

/// Reads a query; what goes beyond the bounds is `None`.
pub(crate) fn parse(query: &str) -> Option<Query> {
    if query.len() > QUERY_BYTES {
        return None;
    }
    let pairs: Query = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .take(QUERY_PARAMETERS + 1)
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect();
    (pairs.len() <= QUERY_PARAMETERS).then_some(pairs)
}

/// The value of a parameter; of a repeated one the last counts.
pub(crate) fn get<'q>(query: &'q Query, name: &str) -> Option<&'q str> {
    query
        .iter()
        .rev()
        .find(|(other, _)| other == name)
        .map(|(_, value)| value.as_str())
}

/// `%XX` and `+`; what is no escape stands for itself, what is no UTF-8 is replaced.
fn decode(text: &str) -> String {
    if !text.contains(['%', '+']) {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = match byte {
            b'%' => hex(bytes.get(at + 1)).zip(hex(bytes.get(at + 2))),
            _ => None,
        };
        match (byte, escaped) {
            (_, Some((high, low))) => {
                out.push(high << 4 | low);
                at += 2;
            }
            (b'+', None) => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    match String::from_utf8_lossy(&out) {
        Cow::Borrowed(text) => text.to_owned(),
        Cow::Owned(text) => text,
    }
}

fn hex(digit: Option<&u8>) -> Option<u8> {
    let digit = char::from(*digit?).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded_and_the_last_of_a_name_counts() {
        let query = parse("EIO=3&a=%C3%A4+b%2&&EIO=4&flag").unwrap();
        assert_eq!(get(&query, "EIO"), Some("4"));
        assert_eq!(get(&query, "a"), Some("ä b%2"));
        assert_eq!(get(&query, "flag"), Some(""));
        assert_eq!(get(&query, "none"), None);
        assert_eq!(parse(""), Some(Vec::new()));
    }

    #[test]
    fn queries_are_bounded() {
        assert!(parse(&"a=1&".repeat(QUERY_PARAMETERS)).is_some());
        assert!(parse(&"a=1&".repeat(QUERY_PARAMETERS + 1)).is_none());
        assert!(parse(&"a".repeat(QUERY_BYTES + 1)).is_none());
    }
}
