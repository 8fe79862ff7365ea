//! What official servers and clients put on the wire is read as it was meant, and what an
//! official server wrote is written again, byte for byte.
#![cfg(test)]

use bytes::Bytes;
use serde_json::Value;
use syncchat_protocol::engineio::{Packet, Payload, encode_payload};
use syncchat_protocol::socketio::{Assembler, Body, EventName};
use syncchat_protocol::{DecodeError, Frame, Limits, socketio};

#[test]
fn engineio() {
    let (mut good, mut bad, mut written) = (0, 0, 0);
    for fact in facts(include_str!("vectors/engineio.jsonl")) {
        let bytes = bytes(&fact["bytes"]);
        let read: Vec<_> = match fact["form"].as_str() {
            Some("payload") => Payload::new(&bytes).collect(),
            _ => vec![Packet::from_text(std::str::from_utf8(&bytes).unwrap())],
        };
        let expected = fact["packets"].as_array().unwrap();
        let packets: Vec<_> = read
            .iter()
            .filter_map(|packet| packet.as_ref().ok())
            .collect();
        assert_eq!(packets.len(), expected.len(), "{fact}");
        for (packet, expected) in packets.iter().zip(expected) {
            check_packet(
                packet,
                expected[0].as_str().unwrap(),
                expected[1].as_str().unwrap(),
            );
        }
        let is_bad = read.last().is_some_and(Result::is_err);
        assert_eq!(is_bad, fact["bad"].as_bool().unwrap(), "{fact}");
        if is_bad {
            bad += 1;
        } else {
            good += 1;
        }
        if fact["from"] == "server" {
            let frames: Vec<_> = expected.iter().map(frame).collect();
            assert_eq!(encode_payload(&frames), bytes, "{fact}");
            written += 1;
        }
    }
    println!("engineio: {good} read, {bad} refused, {written} written again");
    assert_eq!(good + bad, 100);
}

fn check_packet(packet: &Packet<'_>, kind: &str, data: &str) {
    assert_eq!(packet.kind(), kind);
    match packet {
        Packet::Message(text) | Packet::Ping(text) => assert_eq!(*text, data),
        Packet::Binary(bytes) => assert_eq!(bytes, &unhex(data)),
        _ => {}
    }
}

fn frame(packet: &Value) -> Frame {
    let data = packet[1].as_str().unwrap();
    match packet[0].as_str().unwrap() {
        "open" => open(data),
        "close" => Frame::close(),
        "ping" => Frame::ping(),
        "pong" => Frame::probe_answer(),
        "message" => Frame::message(data),
        "noop" => Frame::noop(),
        "binary" => Frame::binary(&unhex(data)),
        other => panic!("servers do not send {other}"),
    }
}

fn open(json: &str) -> Frame {
    use std::time::Duration;
    let json: Value = serde_json::from_str(json).unwrap();
    let number = |key: &str| json[key].as_u64().unwrap();
    Frame::open(&syncchat_protocol::engineio::Open {
        sid: json["sid"].as_str().unwrap(),
        upgrade: json["upgrades"] != Value::Array(Vec::new()),
        ping_interval: Duration::from_millis(number("pingInterval")),
        ping_timeout: Duration::from_millis(number("pingTimeout")),
        max_payload: number("maxPayload") as usize,
    })
    .unwrap()
}

#[test]
fn socketio() {
    let (mut good, mut bad, mut written) = (0, 0, 0);
    for fact in facts(include_str!("vectors/socketio.jsonl")) {
        let messages = fact["messages"].as_array().unwrap();
        if fact["packet"].is_null() {
            assemble(messages).expect_err(&fact.to_string());
            bad += 1;
            continue;
        }
        let packet = assemble(messages)
            .unwrap()
            .unwrap_or_else(|| panic!("{fact}"));
        assert_eq!(spelled(&packet), fact["packet"], "{fact}");
        good += 1;
        if fact["from"] == "server" {
            let mut frames = vec![Frame::message(messages[0].as_str().unwrap())];
            frames.extend(messages[1..].iter().map(|data| Frame::binary(&bytes(data))));
            assert_eq!(
                Frame::packet(&packet).unwrap().polling(),
                encode_payload(&frames),
                "{fact}"
            );
            written += 1;
        }
    }
    println!("socketio: {good} read, {bad} refused, {written} written again");
    assert_eq!(good + bad, 239);
}

/// `Ok(None)` if attachments are missing.
fn assemble(messages: &[Value]) -> Result<Option<socketio::Packet>, DecodeError> {
    let limits = Limits::default();
    let mut assembler = Assembler::new();
    let mut packet = None;
    for message in messages {
        assert!(packet.is_none(), "messages after a complete packet");
        packet = match message {
            Value::String(text) => assembler.text(text, &limits)?,
            binary => assembler.binary(bytes(binary), &limits)?,
        };
    }
    Ok(packet)
}

/// A packet as the vectors spell it.
fn spelled(packet: &socketio::Packet) -> Value {
    let raws = |args: &[Box<serde_json::value::RawValue>]| {
        args.iter()
            .map(|arg| Value::from(arg.get()))
            .collect::<Vec<_>>()
    };
    let mut spelled = serde_json::Map::new();
    let mut set = |key: &str, value: Value| spelled.insert(key.to_owned(), value);
    set("type", packet.body.kind().into());
    set("namespace", packet.namespace.as_ref().into());
    match &packet.body {
        Body::Connect { data } | Body::ConnectError { data } => {
            set("data", data.as_ref().map(|data| data.get()).into());
        }
        Body::Disconnect => {}
        Body::Event {
            name,
            args,
            attachments,
            ack_id,
        } => {
            let name = match name {
                EventName::Text(name) => Value::from(name.as_str()).to_string(),
                EventName::Number(name) => name.clone(),
            };
            set("name", name.into());
            set("ack", (*ack_id).into());
            set("args", raws(args).into());
            set_attachments(&mut set, attachments);
        }
        Body::Ack {
            args,
            attachments,
            ack_id,
        } => {
            set("ack", (*ack_id).into());
            set("args", raws(args).into());
            set_attachments(&mut set, attachments);
        }
    }
    spelled.into()
}

fn set_attachments(set: &mut impl FnMut(&str, Value) -> Option<Value>, attachments: &[Bytes]) {
    if !attachments.is_empty() {
        let hex = |data: &Bytes| {
            data.iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        set(
            "attachments",
            attachments.iter().map(hex).collect::<Vec<_>>().into(),
        );
    }
}

fn facts(lines: &str) -> impl Iterator<Item = Value> {
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
}

fn bytes(value: &Value) -> Bytes {
    match value {
        Value::String(text) => Bytes::copy_from_slice(text.as_bytes()),
        other => unhex(other["hex"].as_str().unwrap()),
    }
}

fn unhex(hex: &str) -> Bytes {
    assert!(hex.len().is_multiple_of(2));
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}
