//! What is fuzzed: each target takes any bytes and panics if a property of the codec is broken.
//!
//! The crate's own tests run the same functions over the committed corpus and mutations of it.

use bytes::Bytes;
use syncchat_protocol::engineio::{Packet, Payload, encode_payload};
use syncchat_protocol::socketio::{Assembler, Body, EventHead, EventName};
use syncchat_protocol::websocket::Opcode;
use syncchat_protocol::{Frame, Limits, socketio};

/// Small, so that short inputs reach them.
const LIMITS: Limits = Limits {
    message_bytes_max: 4096,
    json_depth_max: 8,
    args_max: 6,
    attachments_max: 3,
    partial_bytes_max: 6000,
    namespace_bytes_max: 12,
    namespaces_max: 1,
    event_name_bytes_max: 12,
};

/// The body of a POST: what can be read is written and read again as the same packets.
pub fn payload(body: &[u8]) {
    let mut packets = Vec::new();
    for packet in Payload::new(body) {
        match packet {
            Ok(packet) => packets.push(packet),
            Err(error) => {
                assert!(error.at <= body.len(), "{error:?}");
                break;
            }
        }
    }
    let kept: Vec<_> = packets
        .into_iter()
        .filter_map(|packet| Some((frame_of(&packet)?, packet)))
        .collect();
    if kept.is_empty() {
        return;
    }
    let frames: Vec<_> = kept.iter().map(|(frame, _)| frame.clone()).collect();
    let written = encode_payload(&frames);
    let again: Vec<_> = Payload::new(&written)
        .map(|packet| packet.expect("just written"))
        .collect();
    assert!(again.iter().eq(kept.iter().map(|(_, packet)| packet)));
}

/// The packets that both sides write alike.
fn frame_of(packet: &Packet<'_>) -> Option<Frame> {
    match packet {
        Packet::Close => Some(Frame::close()),
        Packet::Noop => Some(Frame::noop()),
        Packet::Ping("") => Some(Frame::ping()),
        Packet::Message(text) => Some(Frame::message(text)),
        Packet::Binary(data) => Some(Frame::binary(data)),
        Packet::Open | Packet::Ping(_) | Packet::Pong | Packet::Upgrade => None,
    }
}

/// The messages of a session, one a line; a line that begins with `#` is binary. Limits hold, and
/// what is a packet is written and read again as the same packet.
pub fn session(data: &[u8]) {
    let mut assembler = Assembler::new();
    for message in data.split(|&byte| byte == b'\n') {
        let packet = match (message.split_first(), std::str::from_utf8(message)) {
            (Some((b'#', data)), _) => assembler.binary(Bytes::copy_from_slice(data), &LIMITS),
            (_, Ok(text)) => assembler.text(text, &LIMITS),
            (_, Err(_)) => return,
        };
        assert!(assembler.partial_bytes() <= LIMITS.partial_bytes_max);
        match packet {
            Ok(None) => assert!(assembler.partial_bytes() > 0),
            Ok(Some(packet)) => {
                assert_eq!(assembler.partial_bytes(), 0);
                check_limits(&packet);
                let frame = Frame::packet(&packet).expect("what was read can be written");
                assert_eq!(format!("{packet:?}"), format!("{:?}", read_back(&frame)));
            }
            Err(error) => {
                assert_eq!(assembler.partial_bytes(), 0);
                assert!(error.at <= message.len(), "{error:?}");
                return;
            }
        }
    }
}

fn check_limits(packet: &socketio::Packet) {
    assert!(packet.namespace.len() <= LIMITS.namespace_bytes_max);
    match &packet.body {
        Body::Event {
            name,
            args,
            attachments,
            ..
        } => {
            let (EventName::Text(name) | EventName::Number(name)) = name;
            assert!(name.len() <= LIMITS.event_name_bytes_max);
            assert!(!socketio::is_reserved(name));
            assert!(args.len() <= LIMITS.args_max);
            assert!(attachments.len() <= LIMITS.attachments_max);
        }
        Body::Ack {
            args, attachments, ..
        } => {
            assert!(args.len() <= LIMITS.args_max);
            assert!(attachments.len() <= LIMITS.attachments_max);
        }
        Body::Connect { .. } | Body::Disconnect | Body::ConnectError { .. } => {}
    }
}

/// An event with the first line as name, the second as payload and the others as attachments:
/// the WebSocket and the polling form carry the same packet.
pub fn frame(data: &[u8]) {
    let mut lines = data.split(|&byte| byte == b'\n');
    let name = String::from_utf8_lossy(lines.next().unwrap_or_default());
    let payload = String::from_utf8_lossy(lines.next().unwrap_or_default());
    let attachments: Vec<_> = lines.map(Bytes::copy_from_slice).collect();

    if let Ok(frame) = EventHead::new(&name)
        .namespace("/fuzz")
        .offset(&payload)
        .payload(&*payload)
    {
        let Body::Event {
            name: read, args, ..
        } = read_back(&frame).body
        else {
            panic!("no event: {frame:?}");
        };
        assert_eq!(read, EventName::Text(name.into_owned()));
        assert_eq!(args.len(), 2);
        assert_eq!(args[0].get(), args[1].get());
    }
    if let Ok(frame) = Frame::ack("/", 7, &[], &attachments) {
        let Body::Ack {
            attachments: read, ..
        } = read_back(&frame).body
        else {
            panic!("no ack: {frame:?}");
        };
        assert_eq!(read, attachments);
    }
}

/// Reads a frame's packet in each of its forms, which must agree.
fn read_back(frame: &Frame) -> socketio::Packet {
    let polling = frame.polling();
    assert_eq!(polling.len(), frame.polling_size());
    let from_polling = assemble(Payload::new(&polling).map(|packet| packet.expect("just written")));

    let messages: Vec<_> = frame.messages().collect();
    let from_websocket = assemble(messages.iter().map(|(opcode, data)| match opcode {
        Opcode::Text => {
            Packet::from_text(std::str::from_utf8(data).expect("text")).expect("just written")
        }
        Opcode::Binary => Packet::from_binary(data.clone()),
    }));
    assert_eq!(format!("{from_polling:?}"), format!("{from_websocket:?}"));
    from_websocket
}

fn assemble<'a>(packets: impl Iterator<Item = Packet<'a>>) -> socketio::Packet {
    // What we write may be bigger than what we read: names and payloads have no bound here.
    let limits = Limits {
        event_name_bytes_max: usize::MAX,
        ..Limits::for_messages_of(usize::MAX)
    };
    let mut assembler = Assembler::new();
    let mut complete = None;
    for packet in packets {
        assert!(complete.is_none(), "more than one packet");
        complete = match packet {
            Packet::Message(text) => assembler.text(text, &limits),
            Packet::Binary(data) => assembler.binary(data, &limits),
            other => panic!("no message: {other:?}"),
        }
        .expect("just written");
    }
    complete.expect("a whole packet")
}
