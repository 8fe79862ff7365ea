//! Whatever is written is read again as the same, on both transports.
#![cfg(test)]

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;
use syncchat_protocol::engineio::{Packet, Payload, encode_payload};
use syncchat_protocol::socketio::{self, Assembler, Body, EventName};
use syncchat_protocol::{Frame, Limits};

proptest! {
    #[test]
    fn payloads(messages in vec(message(), 1..20)) {
        let frames: Vec<_> = messages
            .iter()
            .map(|message| match message {
                Message::Text(text) => Frame::message(text),
                Message::Binary(data) => Frame::binary(data),
            })
            .collect();
        let body = encode_payload(&frames);
        let read: Vec<_> = Payload::new(&body).map(Result::unwrap).map(Message::from).collect();
        prop_assert_eq!(read, messages);
    }

    #[test]
    fn packets(packet in packet()) {
        let frame = Frame::packet(&packet).unwrap();
        let expected = format!("{packet:?}");

        let polling = frame.polling();
        let read = Payload::new(&polling).map(Result::unwrap).map(Message::from).collect();
        prop_assert_eq!(format!("{:?}", assemble(read)), expected.clone());

        let read = websocket_messages(frame.wire());
        prop_assert_eq!(format!("{:?}", assemble(read)), expected.clone());

        let read = websocket_messages(&frame.wire_base64());
        prop_assert_eq!(format!("{:?}", assemble(read)), expected);
    }

    #[test]
    fn long_frames(size in prop_oneof![0..300_usize, 65_400..65_700_usize]) {
        let attachment = Bytes::from(vec![7; size]);
        let payload = "x".repeat(size);
        let frame = Frame::event("e", &payload).unwrap();
        let text = format!("2[\"e\",\"{payload}\"]");
        prop_assert_eq!(websocket_messages(frame.wire()), [Message::Text(text)]);
        let frame = Frame::ack("/", 1, &[], &[attachment.clone(), attachment.clone()]).unwrap();
        let expected = [
            Message::Text("62-1[]".to_owned()),
            Message::Binary(attachment.to_vec()),
            Message::Binary(attachment.to_vec()),
        ];
        prop_assert_eq!(websocket_messages(frame.wire()), expected);
    }

    #[test]
    fn any_bytes_are_read_or_refused(data in vec(any::<u8>(), 0..200)) {
        let limits = Limits::default();
        let mut assembler = Assembler::new();
        for packet in Payload::new(&data).flatten() {
            let _ = match packet {
                Packet::Message(text) => assembler.text(text, &limits),
                Packet::Binary(data) => assembler.binary(data, &limits),
                _ => continue,
            };
        }
        let _ = socketio::decode(&String::from_utf8_lossy(&data), &limits);
    }

    #[test]
    fn any_near_packet_is_read_or_refused(text in r#"[0-7]([0-9]{1,3}-)?(/[a-z]{0,3},?)?[0-9]{0,3}[\[\]{}",:0-9a-z \\]{0,30}"#) {
        let _ = socketio::decode(&text, &Limits::default());
    }
}

/// One Engine.IO message.
#[derive(Debug, Clone, PartialEq)]
enum Message {
    Text(String),
    Binary(Vec<u8>),
}

impl From<Packet<'_>> for Message {
    fn from(packet: Packet<'_>) -> Message {
        match packet {
            Packet::Message(text) => Message::Text(text.to_owned()),
            Packet::Binary(data) => Message::Binary(data.to_vec()),
            other => panic!("no message: {other:?}"),
        }
    }
}

/// Reads a server's WebSocket bytes by RFC 6455 alone.
fn websocket_messages(mut wire: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    while let [first, second, rest @ ..] = wire {
        assert_eq!(first & 0xf0, 0x80, "FIN, and no extension");
        let (bytes, rest) = match second {
            0..=125 => (usize::from(*second), rest),
            126 => {
                let size = u16::from_be_bytes(rest[..2].try_into().unwrap());
                assert!(size > 125, "shortest form");
                (usize::from(size), &rest[2..])
            }
            127 => {
                let size = u64::from_be_bytes(rest[..8].try_into().unwrap());
                assert!(size > 0xffff, "shortest form");
                (size as usize, &rest[8..])
            }
            _ => panic!("servers do not mask"),
        };
        let (payload, rest) = rest.split_at(bytes);
        match first & 0x0f {
            1 => {
                let text = std::str::from_utf8(payload).unwrap();
                messages.push(Packet::from_text(text).unwrap().into());
            }
            2 => messages.push(Message::Binary(payload.to_vec())),
            other => panic!("opcode {other}"),
        }
        wire = rest;
    }
    assert!(wire.is_empty(), "bytes left over");
    messages
}

fn assemble(messages: Vec<Message>) -> socketio::Packet {
    let limits = Limits::default();
    let mut assembler = Assembler::new();
    let mut packet = None;
    for message in messages {
        assert!(packet.is_none(), "messages after a complete packet");
        packet = match message {
            Message::Text(text) => assembler.text(&text, &limits),
            Message::Binary(data) => assembler.binary(data.into(), &limits),
        }
        .unwrap();
    }
    packet.expect("a whole packet")
}

/// Any message but one that long polling cannot carry.
fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        "[^\u{1e}]{0,40}".prop_map(Message::Text),
        vec(any::<u8>(), 0..40).prop_map(Message::Binary),
    ]
}

fn packet() -> impl Strategy<Value = socketio::Packet> {
    (namespace(), body()).prop_map(|(namespace, body)| socketio::Packet {
        namespace: namespace.into(),
        body,
    })
}

fn namespace() -> impl Strategy<Value = String> {
    prop_oneof![Just("/".to_owned()), "/[a-zA-Z0-9?=&{\"\\[ä€ -]{1,12}"]
}

fn body() -> impl Strategy<Value = Body> {
    let event = (name(), attachments(), any::<Option<u64>>());
    let event = event.prop_flat_map(|(name, attachments, ack_id)| {
        args(attachments.len()).prop_map(move |args| Body::Event {
            name: name.clone(),
            args,
            attachments: attachments.clone(),
            ack_id,
        })
    });
    let ack = (attachments(), any::<Option<u64>>()).prop_flat_map(|(attachments, ack_id)| {
        args(attachments.len()).prop_map(move |args| Body::Ack {
            ack_id,
            args,
            attachments: attachments.clone(),
        })
    });
    let object = || json(0).prop_map(|value| raw(&Value::from_iter([("key", value)])));
    let data = proptest::option::of(object());
    let reason = prop_oneof![object(), any::<String>().prop_map(|text| raw(&text.into()))];
    prop_oneof![
        1 => data.prop_map(|data| Body::Connect { data }),
        1 => Just(Body::Disconnect),
        4 => event,
        2 => ack,
        1 => proptest::option::of(reason).prop_map(|data| Body::ConnectError { data }),
    ]
}

fn name() -> impl Strategy<Value = EventName> {
    prop_oneof![
        4 => any::<String>()
            .prop_filter("short, not reserved", |name| {
                name.len() <= 128 && !socketio::is_reserved(name)
            })
            .prop_map(EventName::Text),
        1 => any::<i32>().prop_map(|name| EventName::Number(name.to_string())),
    ]
}

fn attachments() -> impl Strategy<Value = Vec<Bytes>> {
    prop_oneof![
        Just(Vec::new()),
        vec(vec(any::<u8>(), 0..200).prop_map(Bytes::from), 1..=10)
    ]
}

fn args(attachments: usize) -> impl Strategy<Value = Vec<Box<RawValue>>> {
    vec(json(attachments).prop_map(|value| raw(&value)), 0..6)
}

/// JSON in which placeholders fit that many attachments.
fn json(attachments: usize) -> impl Strategy<Value = Value> {
    let placeholder = (0..attachments.max(1)).prop_map(move |num| match attachments {
        0 => Value::Null,
        _ => serde_json::json!({ "_placeholder": true, "num": num }),
    });
    let leaf = prop_oneof![
        placeholder,
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((any::<String>(), inner), 0..4).prop_map(Value::from_iter),
        ]
    })
}

fn raw(value: &Value) -> Box<RawValue> {
    RawValue::from_string(value.to_string()).unwrap()
}
