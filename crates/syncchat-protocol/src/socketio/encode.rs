//! Writing packets: once for all receivers.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::packet::{Body, EventName, MAIN_NAMESPACE, Packet, is_reserved};
use crate::error::EncodeError;
use crate::frame::{Frame, FrameBuilder};
use crate::limits::ATTACHMENTS_MAX;

/// Guess of a payload's bytes where it is not known before it is written.
const PAYLOAD_BYTES_GUESS: usize = 512;

/// What an event has besides its arguments.
///
/// ```
/// # use syncchat_protocol::socketio::EventHead;
/// let frame = EventHead::new("tick").namespace("/clock").offset("17").payload(&[1, 2])?;
/// assert_eq!(frame.polling(), r#"42/clock,["tick",[1,2],"17"]"#);
/// # Ok::<(), syncchat_protocol::EncodeError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct EventHead<'a> {
    name: &'a str,
    namespace: &'a str,
    ack_id: Option<u64>,
    offset: Option<&'a str>,
}

impl<'a> EventHead<'a> {
    /// An event of the main namespace that asks for no ack and has no offset.
    pub const fn new(name: &'a str) -> EventHead<'a> {
        EventHead {
            name,
            namespace: MAIN_NAMESPACE,
            ack_id: None,
            offset: None,
        }
    }

    /// In another namespace.
    pub const fn namespace(mut self, namespace: &'a str) -> EventHead<'a> {
        self.namespace = namespace;
        self
    }

    /// The receiver is asked for an ack.
    pub const fn ack_id(mut self, ack_id: u64) -> EventHead<'a> {
        self.ack_id = Some(ack_id);
        self
    }

    /// For connection state recovery: one more argument, the last. Events that ask for an ack
    /// must have none.
    pub const fn offset(mut self, offset: &'a str) -> EventHead<'a> {
        self.offset = Some(offset);
        self
    }

    /// With one argument.
    pub fn payload<T>(&self, payload: &T) -> Result<Frame, EncodeError>
    where
        T: Serialize + ?Sized,
    {
        let mut builder = self.begin(&[], PAYLOAD_BYTES_GUESS)?;
        let out = builder.text_mut();
        out.push(b',');
        serde_json::to_writer(&mut *out, payload)?;
        self.end(builder, &[])
    }

    /// With arguments that are JSON already, and what their placeholders stand for. The
    /// placeholders are not checked.
    pub fn args(
        &self,
        args: &[Box<RawValue>],
        attachments: &[Bytes],
    ) -> Result<Frame, EncodeError> {
        let mut builder = self.begin(attachments, args_size(args))?;
        let out = builder.text_mut();
        for arg in args {
            out.push(b',');
            out.extend_from_slice(arg.get().as_bytes());
        }
        self.end(builder, attachments)
    }

    fn begin(&self, attachments: &[Bytes], args: usize) -> Result<FrameBuilder, EncodeError> {
        if is_reserved(self.name) {
            return Err(EncodeError::ReservedName(self.name.to_owned()));
        }
        let offset = self.offset.map_or(0, |offset| offset.len() + 3);
        let size = self.name.len() + 4 + args + offset;
        let mut builder = begin(Kind::Event, self.namespace, self.ack_id, attachments, size)?;
        let out = builder.text_mut();
        out.push(b'[');
        serde_json::to_writer(&mut *out, self.name)?;
        Ok(builder)
    }

    fn end(&self, mut builder: FrameBuilder, attachments: &[Bytes]) -> Result<Frame, EncodeError> {
        let out = builder.text_mut();
        if let Some(offset) = self.offset {
            out.push(b',');
            serde_json::to_writer(&mut *out, offset)?;
        }
        out.push(b']');
        Ok(builder.finish(attachments))
    }
}

/// The types of packets, by the digits of their plain and their binary form.
#[derive(Clone, Copy)]
enum Kind {
    Connect,
    Disconnect,
    Event,
    Ack,
    ConnectError,
}

impl Kind {
    fn digit(self, binary: bool) -> u8 {
        match self {
            Kind::Connect => b'0',
            Kind::Disconnect => b'1',
            Kind::Event if binary => b'5',
            Kind::Event => b'2',
            Kind::Ack if binary => b'6',
            Kind::Ack => b'3',
            Kind::ConnectError => b'4',
        }
    }
}

pub(crate) fn packet(packet: &Packet) -> Result<Frame, EncodeError> {
    let namespace = &packet.namespace;
    match &packet.body {
        Body::Connect { data } => with_data(Kind::Connect, namespace, data.as_deref()),
        Body::Disconnect => disconnect(namespace),
        Body::Event {
            name: EventName::Text(name),
            args,
            attachments,
            ack_id,
        } => EventHead {
            name,
            namespace,
            ack_id: *ack_id,
            offset: None,
        }
        .args(args, attachments),
        Body::Event {
            name: EventName::Number(name),
            args,
            attachments,
            ack_id,
        } => numbered_event(namespace, *ack_id, name, args, attachments),
        Body::Ack {
            ack_id,
            args,
            attachments,
        } => ack(namespace, *ack_id, args, attachments),
        Body::ConnectError { data } => with_data(Kind::ConnectError, namespace, data.as_deref()),
    }
}

pub(crate) fn ack(
    namespace: &str,
    ack_id: Option<u64>,
    args: &[Box<RawValue>],
    attachments: &[Bytes],
) -> Result<Frame, EncodeError> {
    let mut builder = begin(
        Kind::Ack,
        namespace,
        ack_id,
        attachments,
        args_size(args) + 2,
    )?;
    write_array(builder.text_mut(), args.iter().map(|arg| arg.get()));
    Ok(builder.finish(attachments))
}

fn numbered_event(
    namespace: &str,
    ack_id: Option<u64>,
    name: &str,
    args: &[Box<RawValue>],
    attachments: &[Bytes],
) -> Result<Frame, EncodeError> {
    let size = name.len() + args_size(args) + 3;
    let mut builder = begin(Kind::Event, namespace, ack_id, attachments, size)?;
    let items = std::iter::once(name).chain(args.iter().map(|arg| arg.get()));
    write_array(builder.text_mut(), items);
    Ok(builder.finish(attachments))
}

pub(crate) fn connect_accepted(
    namespace: &str,
    sid: &str,
    pid: Option<&str>,
) -> Result<Frame, EncodeError> {
    #[derive(Serialize)]
    struct Accepted<'a> {
        sid: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        pid: Option<&'a str>,
    }
    with_object(Kind::Connect, namespace, &Accepted { sid, pid })
}

pub(crate) fn connect_refused(
    namespace: &str,
    message: &str,
    data: Option<&RawValue>,
) -> Result<Frame, EncodeError> {
    #[derive(Serialize)]
    struct Refused<'a> {
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<&'a RawValue>,
    }
    with_object(Kind::ConnectError, namespace, &Refused { message, data })
}

pub(crate) fn disconnect(namespace: &str) -> Result<Frame, EncodeError> {
    with_data(Kind::Disconnect, namespace, None)
}

fn with_object<T: Serialize>(
    kind: Kind,
    namespace: &str,
    object: &T,
) -> Result<Frame, EncodeError> {
    let mut builder = begin(kind, namespace, None, &[], PAYLOAD_BYTES_GUESS)?;
    serde_json::to_writer(builder.text_mut(), object)?;
    Ok(builder.finish(&[]))
}

fn with_data(kind: Kind, namespace: &str, data: Option<&RawValue>) -> Result<Frame, EncodeError> {
    let data = data.map_or("", RawValue::get);
    let mut builder = begin(kind, namespace, None, &[], data.len())?;
    builder.text_mut().extend_from_slice(data.as_bytes());
    Ok(builder.finish(&[]))
}

/// Everything before the JSON: `TYPE [COUNT "-"] [NSP ","] [ACKID]`. `size` is for the JSON.
fn begin(
    kind: Kind,
    namespace: &str,
    ack_id: Option<u64>,
    attachments: &[Bytes],
    size: usize,
) -> Result<FrameBuilder, EncodeError> {
    if attachments.len() > ATTACHMENTS_MAX {
        return Err(EncodeError::TooManyAttachments(attachments.len()));
    }
    let is_bad = |character: char| character == ',' || character.is_control();
    if !namespace.starts_with('/') || namespace.contains(is_bad) {
        return Err(EncodeError::BadNamespace(namespace.to_owned()));
    }
    let binary = !attachments.is_empty();
    let head = 1 + 3 + namespace.len() + 1 + 20;
    let tail: usize = attachments
        .iter()
        .map(|a| crate::frame::binary_wire_size(a.len()))
        .sum();
    let mut builder = FrameBuilder::text(b'4', head + size + tail);
    let out = builder.text_mut();
    out.push(kind.digit(binary));
    if binary {
        push_number(out, attachments.len() as u64);
        out.push(b'-');
    }
    if namespace != MAIN_NAMESPACE {
        out.extend_from_slice(namespace.as_bytes());
        out.push(b',');
    }
    if let Some(ack_id) = ack_id {
        push_number(out, ack_id);
    }
    Ok(builder)
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut rest = number;
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

fn write_array<'a>(out: &mut Vec<u8>, items: impl Iterator<Item = &'a str>) {
    out.push(b'[');
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(item.as_bytes());
    }
    out.push(b']');
}

/// Bytes of the arguments and a comma each.
fn args_size(args: &[Box<RawValue>]) -> usize {
    args.iter().map(|arg| arg.get().len() + 1).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    fn text(frame: Result<Frame, EncodeError>) -> String {
        String::from_utf8(frame.unwrap().polling().to_vec()).unwrap()
    }

    #[test]
    fn events_are_written_as_clients_expect() {
        #[derive(Serialize)]
        struct Payload {
            b: f64,
            a: Option<u8>,
            text: &'static str,
        }
        let payload = Payload {
            b: f64::NAN,
            a: None,
            text: "\u{2028}\"\n",
        };
        assert_eq!(
            text(Frame::event("e\"", &payload)),
            "42[\"e\\\"\",{\"b\":null,\"a\":null,\"text\":\"\u{2028}\\\"\\n\"}]"
        );
        assert_eq!(text(EventHead::new("e").args(&[], &[])), r#"42["e"]"#);
        assert_eq!(
            text(
                EventHead::new("e")
                    .namespace("/n")
                    .ack_id(u64::MAX)
                    .payload(&0)
            ),
            r#"42/n,18446744073709551615["e",0]"#
        );
        assert_eq!(
            text(EventHead::new("e").offset("o.1").payload(&[0])),
            r#"42["e",[0],"o.1"]"#
        );
        assert_eq!(
            text(EventHead::new("e").offset("o").args(
                &[raw(r#"{"_placeholder":true,"num":0}"#)],
                &[Bytes::from_static(&[1])]
            )),
            "451-[\"e\",{\"_placeholder\":true,\"num\":0},\"o\"]\u{1e}bAQ=="
        );
    }

    #[test]
    fn the_other_packets_are_written_as_clients_expect() {
        let packet = |namespace: &'static str, body| {
            text(Frame::packet(&Packet {
                namespace: namespace.into(),
                body,
            }))
        };
        assert_eq!(text(Frame::connect("/", "s", None)), r#"40{"sid":"s"}"#);
        assert_eq!(
            text(Frame::connect("/n", "s", Some("p"))),
            r#"40/n,{"sid":"s","pid":"p"}"#
        );
        assert_eq!(
            text(Frame::connect_error("/", "no", None)),
            r#"44{"message":"no"}"#
        );
        assert_eq!(
            text(Frame::connect_error(
                "/n",
                "no",
                Some(&raw(r#"{"code":1.0}"#))
            )),
            r#"44/n,{"message":"no","data":{"code":1.0}}"#
        );
        assert_eq!(text(Frame::disconnect("/")), "41");
        assert_eq!(text(Frame::disconnect("/n")), "41/n,");
        assert_eq!(text(Frame::ack("/", 0, &[], &[])), "430[]");
        assert_eq!(
            text(Frame::ack("/n", 7, &[raw("1.0"), raw("\"x\"")], &[])),
            r#"43/n,7[1.0,"x"]"#
        );
        assert_eq!(
            text(Frame::ack(
                "/",
                7,
                &[],
                &[Bytes::new(), Bytes::from_static(b"abc")]
            )),
            "462-7[]\u{1e}b\u{1e}bYWJj"
        );
        assert_eq!(packet("/", Body::Connect { data: None }), "40");
        assert_eq!(packet("/n", Body::Disconnect), "41/n,");
        assert_eq!(
            packet(
                "/",
                Body::ConnectError {
                    data: Some(raw("\"x\""))
                }
            ),
            "44\"x\""
        );
        let name = EventName::Number("1.5".to_owned());
        let event = Body::Event {
            name,
            args: vec![raw("2")],
            attachments: vec![],
            ack_id: Some(3),
        };
        assert_eq!(packet("/", event), "423[1.5,2]");
    }

    #[test]
    fn what_clients_would_misread_is_not_written() {
        assert!(matches!(
            Frame::event("connect", &0),
            Err(EncodeError::ReservedName(_))
        ));
        let eleven = vec![Bytes::new(); 11];
        assert!(matches!(
            Frame::ack("/", 0, &[], &eleven),
            Err(EncodeError::TooManyAttachments(11))
        ));
        assert!(Frame::ack("/", 0, &[], &eleven[1..]).is_ok());
        for namespace in ["", "n", "/a,b", "/a\u{1e}1"] {
            assert!(matches!(
                Frame::disconnect(namespace),
                Err(EncodeError::BadNamespace(_))
            ));
        }
    }
}
