//! Reading the text of a packet: strict, and limited before it is parsed.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::packet::{Body, EventName, MAIN_NAMESPACE, Namespace, Packet, is_reserved};
use super::placeholder;
use crate::error::{DecodeError, DecodeErrorKind};
use crate::limits::{ATTACHMENTS_MAX, Limits};

/// Digits that an ack id is read from, at most: as many as `u64::MAX` has.
const ACK_ID_DIGITS_MAX: usize = 20;

/// The text of a packet, read. With attachments due it is not complete yet.
#[derive(Debug)]
pub struct Decoded {
    /// Its attachments, if it has some, are still empty.
    pub packet: Packet,
    /// How many binary messages have to follow; placeholders fit them.
    pub attachments_due: usize,
}

/// Reads the text of one Engine.IO message. Sessions use [`Assembler`](super::Assembler), which
/// also waits for attachments.
pub fn decode(text: &str, limits: &Limits) -> Result<Decoded, DecodeError> {
    if text.len() > limits.message_bytes_max {
        return Err(DecodeErrorKind::MessageTooLong.at(limits.message_bytes_max));
    }
    let mut cursor = Cursor { text, at: 0 };
    let kind = cursor.kind()?;
    let attachments_due = match kind {
        Kind::BinaryEvent | Kind::BinaryAck => cursor.attachment_count(limits)?,
        _ => 0,
    };
    let namespace = cursor.namespace(limits)?;
    let ack_id = cursor.ack_id()?;
    let json = cursor.json(limits)?;
    let body = match kind {
        Kind::Connect => Body::Connect {
            data: json.object()?,
        },
        Kind::Disconnect => json.nothing(Body::Disconnect)?,
        Kind::ConnectError => Body::ConnectError {
            data: json.object_or_string()?,
        },
        Kind::Event | Kind::BinaryEvent => {
            let (name, args) = json.event(limits)?;
            Body::Event {
                name,
                args,
                attachments: Vec::new(),
                ack_id,
            }
        }
        Kind::Ack | Kind::BinaryAck => Body::Ack {
            ack_id,
            args: json.args(limits)?,
            attachments: Vec::new(),
        },
    };
    if attachments_due > 0 {
        json.check_placeholders(attachments_due)?;
    }
    Ok(Decoded {
        packet: Packet { namespace, body },
        attachments_due,
    })
}

#[derive(Clone, Copy)]
enum Kind {
    Connect,
    Disconnect,
    Event,
    Ack,
    ConnectError,
    BinaryEvent,
    BinaryAck,
}

/// Goes through what stands before the JSON.
struct Cursor<'a> {
    text: &'a str,
    /// Everything before it has been read. Always at a character.
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn kind(&mut self) -> Result<Kind, DecodeError> {
        let kind = match self.text.bytes().next() {
            Some(b'0') => Kind::Connect,
            Some(b'1') => Kind::Disconnect,
            Some(b'2') => Kind::Event,
            Some(b'3') => Kind::Ack,
            Some(b'4') => Kind::ConnectError,
            Some(b'5') => Kind::BinaryEvent,
            Some(b'6') => Kind::BinaryAck,
            Some(_) => return Err(DecodeErrorKind::UnknownType.at(0)),
            None => return Err(DecodeErrorKind::EmptyPacket.at(0)),
        };
        self.at = 1;
        Ok(kind)
    }

    fn digits(&mut self) -> &'a str {
        let rest = self.rest();
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        self.at += digits;
        &rest[..digits]
    }

    fn attachment_count(&mut self, limits: &Limits) -> Result<usize, DecodeError> {
        let start = self.at;
        let digits = self.digits();
        if digits.is_empty() || !self.rest().starts_with('-') {
            return Err(DecodeErrorKind::BadAttachmentCount.at(start));
        }
        self.at += 1;
        let significant = digits.trim_start_matches('0');
        if significant.is_empty() {
            return Err(DecodeErrorKind::BadAttachmentCount.at(start));
        }
        let max = limits.attachments_max.min(ATTACHMENTS_MAX);
        match significant.parse() {
            Ok(count) if count <= max => Ok(count),
            _ => Err(DecodeErrorKind::TooManyAttachments.at(start)),
        }
    }

    fn namespace(&mut self, limits: &Limits) -> Result<Namespace, DecodeError> {
        let rest = self.rest();
        if !rest.starts_with('/') {
            return Ok(Cow::Borrowed(MAIN_NAMESPACE));
        }
        let start = self.at;
        let name = match rest.find(',') {
            Some(comma) => {
                self.at += comma + 1;
                &rest[..comma]
            }
            None => {
                self.at = self.text.len();
                rest
            }
        };
        if name.len() > limits.namespace_bytes_max {
            return Err(DecodeErrorKind::NamespaceTooLong.at(start));
        }
        if let Some(offset) = name.find(char::is_control) {
            return Err(DecodeErrorKind::BadNamespace.at(start + offset));
        }
        if name == MAIN_NAMESPACE {
            return Ok(Cow::Borrowed(MAIN_NAMESPACE));
        }
        Ok(Cow::Owned(name.to_owned()))
    }

    fn ack_id(&mut self) -> Result<Option<u64>, DecodeError> {
        let start = self.at;
        let digits = self.digits();
        if digits.is_empty() {
            return Ok(None);
        }
        match digits.parse() {
            Ok(id) if digits.len() <= ACK_ID_DIGITS_MAX => Ok(Some(id)),
            _ => Err(DecodeErrorKind::BadAckId.at(start)),
        }
    }

    /// What is left, once it is known to be no deeper than allowed. White space before it would be
    /// allowed by JSON, but not by the protocol.
    fn json(&self, limits: &Limits) -> Result<Json<'a>, DecodeError> {
        let text = self.rest();
        if text.starts_with([' ', '\t', '\n', '\r']) {
            return Err(DecodeErrorKind::BadJson.at(self.at));
        }
        match too_deep_at(text, limits.json_depth_max) {
            Some(offset) => Err(DecodeErrorKind::JsonTooDeep.at(self.at + offset)),
            None => Ok(Json { text, at: self.at }),
        }
    }
}

/// Where more than `max` brackets are open at once, if anywhere. Exact for JSON; for anything else
/// some answer, which the parser makes irrelevant.
fn too_deep_at(text: &str, max: usize) -> Option<usize> {
    if text.len() <= max {
        return None;
    }
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > max {
                    return Some(at);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// The JSON of a packet, perhaps empty, not parsed yet.
struct Json<'a> {
    text: &'a str,
    /// Where it begins in the message.
    at: usize,
}

impl Json<'_> {
    fn nothing(&self, body: Body) -> Result<Body, DecodeError> {
        match self.text.is_empty() {
            true => Ok(body),
            false => Err(DecodeErrorKind::UnexpectedData.at(self.at)),
        }
    }

    fn object(&self) -> Result<Option<Box<RawValue>>, DecodeError> {
        self.value(|first| first == b'{')
    }

    fn object_or_string(&self) -> Result<Option<Box<RawValue>>, DecodeError> {
        self.value(|first| first == b'{' || first == b'"')
    }

    /// `fits` is asked about the first byte, which tells JSON's types apart.
    fn value(&self, fits: fn(u8) -> bool) -> Result<Option<Box<RawValue>>, DecodeError> {
        if self.text.is_empty() {
            return Ok(None);
        }
        let value: Box<RawValue> =
            serde_json::from_str(self.text).map_err(|error| self.json_error(&error))?;
        match value.get().bytes().next() {
            Some(first) if fits(first) => Ok(Some(value)),
            _ => Err(DecodeErrorKind::WrongShape.at(self.at)),
        }
    }

    fn event(&self, limits: &Limits) -> Result<(EventName, Vec<Box<RawValue>>), DecodeError> {
        let array = self.array(true, limits.args_max)?;
        let Some(name) = array.name else {
            return Err(DecodeErrorKind::WrongShape.at(self.at));
        };
        // The name is the first thing behind the bracket, but for white space.
        let name_at = self.at + self.text.find(name).unwrap_or(0);
        let name = event_name(name, limits).map_err(|kind| kind.at(name_at))?;
        Ok((name, array.args))
    }

    fn args(&self, limits: &Limits) -> Result<Vec<Box<RawValue>>, DecodeError> {
        // An ack without arguments may come without an array: official servers take it.
        if self.text.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.array(false, limits.args_max)?.args)
    }

    fn array(&self, named: bool, args_max: usize) -> Result<Array<'_>, DecodeError> {
        if !self.text.starts_with('[') {
            // Broken JSON or another type; parsing it only to tell which is not worth its time.
            return Err(DecodeErrorKind::WrongShape.at(self.at));
        }
        let mut json = serde_json::Deserializer::from_str(self.text);
        let array = json
            .deserialize_seq(ArrayVisitor { named, args_max })
            .and_then(|array| json.end().map(|()| array))
            .map_err(|error| self.json_error(&error))?;
        match array.overflow {
            true => Err(DecodeErrorKind::TooManyArgs.at(self.at)),
            false => Ok(array),
        }
    }

    fn check_placeholders(&self, attachments: usize) -> Result<(), DecodeError> {
        if self.text.is_empty() {
            return Ok(());
        }
        match placeholder::all_fit(self.text, attachments) {
            Ok(true) => Ok(()),
            Ok(false) => Err(DecodeErrorKind::BadPlaceholder.at(self.at)),
            Err(error) => Err(self.json_error(&error)),
        }
    }

    fn json_error(&self, error: &serde_json::Error) -> DecodeError {
        let line = error.line().saturating_sub(1);
        let line_at: usize = self
            .text
            .split_inclusive('\n')
            .take(line)
            .map(str::len)
            .sum();
        let offset = (line_at + error.column().saturating_sub(1)).min(self.text.len());
        DecodeErrorKind::BadJson.at(self.at + offset)
    }
}

fn event_name(raw: &str, limits: &Limits) -> Result<EventName, DecodeErrorKind> {
    // Escapes only make a name shorter, and no escape is longer than six bytes for one.
    if raw.len()
        > limits
            .event_name_bytes_max
            .saturating_mul(6)
            .saturating_add(2)
    {
        return Err(DecodeErrorKind::EventNameTooLong);
    }
    let name = match raw.bytes().next() {
        Some(b'"') => {
            let name: String =
                serde_json::from_str(raw).map_err(|_| DecodeErrorKind::WrongShape)?;
            if is_reserved(&name) {
                return Err(DecodeErrorKind::ReservedName);
            }
            EventName::Text(name)
        }
        Some(b'-' | b'0'..=b'9') => EventName::Number(raw.to_owned()),
        _ => return Err(DecodeErrorKind::WrongShape),
    };
    let (EventName::Text(text) | EventName::Number(text)) = &name;
    match text.len() > limits.event_name_bytes_max {
        true => Err(DecodeErrorKind::EventNameTooLong),
        false => Ok(name),
    }
}

/// A JSON array, its items not looked into.
struct Array<'a> {
    name: Option<&'a str>,
    args: Vec<Box<RawValue>>,
    overflow: bool,
}

struct ArrayVisitor {
    /// Whether the first item is a name, to be kept apart.
    named: bool,
    args_max: usize,
}

impl<'de> Visitor<'de> for ArrayVisitor {
    type Value = Array<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Array<'de>, A::Error> {
        let mut array = Array {
            name: None,
            args: Vec::new(),
            overflow: false,
        };
        if self.named {
            array.name = seq.next_element::<&RawValue>()?.map(RawValue::get);
        }
        while let Some(item) = seq.next_element::<&RawValue>()? {
            if array.args.len() == self.args_max {
                array.overflow = true;
                continue;
            }
            array.args.push(item.to_owned());
        }
        Ok(array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Decoded, DecodeError> {
        decode(text, &Limits::default())
    }

    /// A packet in one line: namespace, then what it is.
    fn spelled(text: &str) -> String {
        let Decoded {
            packet,
            attachments_due,
        } = read(text).unwrap();
        let list = |args: &[Box<RawValue>]| {
            args.iter()
                .map(|arg| arg.get())
                .collect::<Vec<_>>()
                .join(" ; ")
        };
        let body = match &packet.body {
            Body::Connect { data } => format!("connect {data:?}"),
            Body::Disconnect => "disconnect".to_owned(),
            Body::ConnectError { data } => format!("connect_error {data:?}"),
            Body::Event {
                name, args, ack_id, ..
            } => {
                format!("{name:?} {ack_id:?} {}", list(args))
            }
            Body::Ack { ack_id, args, .. } => format!("ack {ack_id:?} {}", list(args)),
        };
        format!("{} {body} +{attachments_due}", packet.namespace)
    }

    #[test]
    fn packets_are_read() {
        let cases = [
            ("0", "/ connect None +0"),
            ("0/", "/ connect None +0"),
            ("0/,", "/ connect None +0"),
            ("0/a", "/a connect None +0"),
            ("0/a?b=c,", "/a?b=c connect None +0"),
            ("012", "/ connect None +0"),
            (r#"0{"a":1.0}"#, r#"/ connect Some(RawValue({"a":1.0})) +0"#),
            (r#"0/a,{} "#, r#"/a connect Some(RawValue({})) +0"#),
            ("1", "/ disconnect +0"),
            ("1/a,", "/a disconnect +0"),
            (r#"2["e"]"#, r#"/ Text("e") None  +0"#),
            (r#"2["",1]"#, r#"/ Text("") None 1 +0"#),
            (
                r#"2[ "e" , 1.0,{"b":1,"a": 2} ] "#,
                r#"/ Text("e") None 1.0 ; {"b":1,"a": 2} +0"#,
            ),
            (r#"2["\u0065",1e400]"#, r#"/ Text("e") None 1e400 +0"#),
            (r#"2[12,"\ud800"]"#, r#"/ Number("12") None "\ud800" +0"#),
            (r#"2[-1.5e3]"#, r#"/ Number("-1.5e3") None  +0"#),
            (r#"2/a,007["e"]"#, r#"/a Text("e") Some(7)  +0"#),
            (
                r#"218446744073709551615["e"]"#,
                r#"/ Text("e") Some(18446744073709551615)  +0"#,
            ),
            ("30[]", "/ ack Some(0)  +0"),
            ("31", "/ ack Some(1)  +0"),
            ("3[1]", "/ ack None 1 +0"),
            (r#"4"no""#, r#"/ connect_error Some(RawValue("no")) +0"#),
            (
                r#"4/a,{"message":"no"}"#,
                r#"/a connect_error Some(RawValue({"message":"no"})) +0"#,
            ),
            (
                r#"51-["e",{"_placeholder":true,"num":0}]"#,
                r#"/ Text("e") None {"_placeholder":true,"num":0} +1"#,
            ),
            (r#"510-/a,3["e"]"#, r#"/a Text("e") Some(3)  +10"#),
            (r#"5002-["e"]"#, r#"/ Text("e") None  +2"#),
            ("62-1[2]", "/ ack Some(1) 2 +2"),
            (
                r#"2["e",{"_placeholder":true,"num":9}]"#,
                r#"/ Text("e") None {"_placeholder":true,"num":9} +0"#,
            ),
            (r#"2["__proto__"]"#, r#"/ Text("__proto__") None  +0"#),
        ];
        for (text, expected) in cases {
            assert_eq!(spelled(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_packet_is_refused_at_its_byte() {
        use DecodeErrorKind::*;
        let cases = [
            ("", EmptyPacket, 0),
            ("7", UnknownType, 0),
            ("x", UnknownType, 0),
            ("\u{661}", UnknownType, 0),
            ("1{}", UnexpectedData, 1),
            ("1 ", BadJson, 1),
            ("0null", WrongShape, 1),
            ("0[1]", WrongShape, 1),
            (r#"0"a""#, WrongShape, 1),
            (r#"0{"a":"#, BadJson, 5),
            ("0{}x", BadJson, 3),
            ("0 {}", BadJson, 1),
            ("4[]", WrongShape, 1),
            ("2", WrongShape, 1),
            ("21", WrongShape, 2),
            ("2{}", WrongShape, 1),
            ("2[]", WrongShape, 1),
            ("2[null]", WrongShape, 2),
            ("2[ true]", WrongShape, 3),
            ("2[[]]", WrongShape, 2),
            (r#"2["\ud800"]"#, WrongShape, 2),
            (r#"2["e""#, BadJson, 4),
            (r#"2["e",]"#, BadJson, 6),
            (r#"2["e"]]"#, BadJson, 6),
            ("2[\"e\",\n\"a\"\n,x]", BadJson, 12),
            ("2[\"e\",\"\u{1}\"]", BadJson, 6),
            ("2['e']", BadJson, 2),
            (r#"2abc["e"]"#, WrongShape, 1),
            (r#"2-1["e"]"#, WrongShape, 1),
            (r#"2 ["e"]"#, BadJson, 1),
            (r#"218446744073709551616["e"]"#, BadAckId, 1),
            (r#"2000000000000000000001["e"]"#, BadAckId, 1),
            ("30{}", WrongShape, 2),
            ("30[", BadJson, 2),
            (r#"2["disconnecting"]"#, ReservedName, 2),
            (r#"2["newListene\u0072"]"#, ReservedName, 2),
            ("0/a\u{1e}1", BadNamespace, 3),
            (r#"5["e"]"#, BadAttachmentCount, 1),
            (r#"51["e"]"#, BadAttachmentCount, 1),
            (r#"5-["e"]"#, BadAttachmentCount, 1),
            (r#"50-["e"]"#, BadAttachmentCount, 1),
            (r#"5-1-["e"]"#, BadAttachmentCount, 1),
            (r#"51.5-["e"]"#, BadAttachmentCount, 1),
            (r#"51e0-["e"]"#, BadAttachmentCount, 1),
            (r#"511-["e"]"#, TooManyAttachments, 1),
            (r#"599999999999999999999999-["e"]"#, TooManyAttachments, 1),
            ("51-", WrongShape, 3),
            (
                r#"51-["e",{"_placeholder":true,"num":1}]"#,
                BadPlaceholder,
                3,
            ),
            (
                r#"61-0[{"_placeholder":true,"num":"0"}]"#,
                BadPlaceholder,
                4,
            ),
        ];
        for (text, kind, at) in cases {
            assert_eq!(read(text).unwrap_err(), kind.at(at), "{text}");
        }
    }

    #[test]
    fn limits_hold_exactly() {
        use DecodeErrorKind::*;
        let limits = Limits {
            message_bytes_max: 40,
            json_depth_max: 3,
            args_max: 2,
            attachments_max: 1,
            partial_bytes_max: 40,
            namespace_bytes_max: 3,
            namespaces_max: 1,
            event_name_bytes_max: 4,
        };
        let check = |text: &str, expected: Result<(), DecodeErrorKind>| {
            let read = decode(text, &limits).map(drop).map_err(|error| error.kind);
            assert_eq!(read, expected, "{text}");
        };
        check(&format!(r#"2["e","{}"]"#, "x".repeat(31)), Ok(()));
        check(
            &format!(r#"2["e","{}"]"#, "x".repeat(32)),
            Err(MessageTooLong),
        );
        check(r#"2["e",[{}],[[]]]"#, Ok(()));
        check(r#"2["e",[{"a":{}}]]"#, Err(JsonTooDeep));
        check(r#"2["e","[[[[\"[[["]"#, Ok(()));
        check(r#"2["e",1,2]"#, Ok(()));
        check(r#"2["e",1,2,3]"#, Err(TooManyArgs));
        check("31[1,2,3]", Err(TooManyArgs));
        check(r#"51-["e"]"#, Ok(()));
        check(r#"52-["e"]"#, Err(TooManyAttachments));
        check("0/ab", Ok(()));
        check("0/abc,", Err(NamespaceTooLong));
        check(r#"2["abcd"]"#, Ok(()));
        check(r#"2["\u0061\u0061\u0061\u0061"]"#, Ok(()));
        check(r#"2["abcde"]"#, Err(EventNameTooLong));
        check("2[12345]", Err(EventNameTooLong));
    }

    #[test]
    fn a_hill_of_brackets_is_refused_before_it_is_parsed() {
        let limits = Limits::for_messages_of(10_000_000);
        for hill in ["[".repeat(5_000_000), r#"{"a":"#.repeat(1_000_000)] {
            let error = decode(&format!("2{hill}"), &limits).unwrap_err();
            assert_eq!(error.kind, DecodeErrorKind::JsonTooDeep);
            let error = decode(&format!("51-[{hill}"), &limits).unwrap_err();
            assert_eq!(error.kind, DecodeErrorKind::JsonTooDeep);
        }
    }
}
