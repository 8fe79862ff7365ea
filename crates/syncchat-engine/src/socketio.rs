//! Socket.IO on a session: namespaces are joined and left, events get their futures, acks find
//! whoever waits for them.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt;
use serde_json::value::RawValue;
use syncchat_protocol::socketio::{Assembler, Body, Namespace, Packet};
use syncchat_protocol::{Frame, Limits};
use tokio::time::Instant;
use tracing::error;

use crate::config::Config;
use crate::handler::{AckArgs, ConnectError, DisconnectReason, Event, Handler, Handshake, Refusal};
use crate::id::Id;
use crate::limits::{ATTACHMENTS_WAIT, CONNECT_GRACE};
use crate::protocol::{Connection, Invalid, Protocol};
use crate::session::{Session, Sweep};
use crate::socket::{Class, Socket};

/// Socket.IO, with an application on it.
#[derive(Debug)]
pub struct SocketIo<H: Handler> {
    handler: Arc<H>,
    config: Arc<Config>,
    limits: Limits,
}

impl<H: Handler> SocketIo<H> {
    pub(crate) fn new(handler: Arc<H>, config: Arc<Config>) -> SocketIo<H> {
        let limits = config.limits();
        SocketIo {
            handler,
            config,
            limits,
        }
    }

    pub(crate) fn handler(&self) -> &Arc<H> {
        &self.handler
    }
}

impl<H: Handler> Protocol for SocketIo<H> {
    type Connection = Namespaces<H>;

    async fn admit(&self, handshake: &Handshake) -> Result<(), Refusal> {
        self.handler.admit(handshake).await
    }

    fn open(self: &Arc<Self>, session: Arc<Session>, handshake: Arc<Handshake>) -> Namespaces<H> {
        Namespaces {
            connect_by: Some(Instant::now() + self.config.connect_timeout + CONNECT_GRACE),
            attachments_by: None,
            app: Arc::clone(self),
            session,
            handshake,
            assembler: Assembler::new(),
            members: Vec::new(),
            events: Vec::new(),
        }
    }
}

/// What a session has joined, and what is under way for it.
pub struct Namespaces<H: Handler> {
    app: Arc<SocketIo<H>>,
    session: Arc<Session>,
    handshake: Arc<Handshake>,
    assembler: Assembler,
    members: Vec<Member<H>>,
    /// Under way, in the order in which they came. All are polled when one of them wakes the task: there
    /// are few, and most often one, for which a waker of its own costs more.
    events: Vec<EventFuture>,
    /// Until the first namespace is joined.
    connect_by: Option<Instant>,
    /// While attachments are due.
    attachments_by: Option<Instant>,
}

/// A namespace as this session knows it.
enum Member<H: Handler> {
    Joining(Box<Joining<H>>),
    Joined(Socket<H>),
    /// The server left it; what the client had sent by then is to be ignored.
    Left(Namespace),
}

struct Joining<H: Handler> {
    namespace: Namespace,
    future: Pin<Box<dyn Future<Output = Result<H::Data, ConnectError>> + Send>>,
}

/// Runs one event of a socket and sends its ack. False if the application panicked.
type EventFuture = Pin<Box<dyn Future<Output = bool> + Send>>;

impl<H: Handler> Member<H> {
    fn namespace(&self) -> &str {
        match self {
            Member::Joining(joining) => &joining.namespace,
            Member::Joined(socket) => socket.namespace(),
            Member::Left(namespace) => namespace,
        }
    }
}

impl<H: Handler> Connection for Namespaces<H> {
    fn text(&mut self, text: &str) -> Result<(), Invalid> {
        match self.assembler.text(text, &self.app.limits)? {
            Some(packet) => self.packet(packet),
            None => {
                self.attachments_by = Some(Instant::now() + ATTACHMENTS_WAIT);
                Ok(())
            }
        }
    }

    fn binary(&mut self, data: Bytes) -> Result<(), Invalid> {
        match self.assembler.binary(data, &self.app.limits)? {
            Some(packet) => {
                self.attachments_by = None;
                self.packet(packet)
            }
            None => Ok(()),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Result<(), Invalid> {
        self.poll_joining(cx);
        let mut panicked = false;
        self.events
            .retain_mut(|event| match event.as_mut().poll(cx) {
                Poll::Ready(is_well) => {
                    panicked |= !is_well;
                    false
                }
                Poll::Pending => true,
            });
        if panicked {
            Err(Invalid("panic"))
        } else {
            Ok(())
        }
    }

    fn is_full(&self) -> bool {
        self.events.len() >= self.app.config.events_at_once
    }

    fn is_busy(&self) -> bool {
        !self.events.is_empty()
    }

    fn sweep(&mut self, sweep: Sweep) {
        for member in &mut self.members {
            let Member::Joined(socket) = member else {
                continue;
            };
            if sweep == Sweep::Everyone {
                socket.disconnect();
            }
            if socket.is_leaving() {
                let socket = socket.clone();
                *member = Member::Left(socket.namespace().to_owned().into());
                self.app.leave(&socket, DisconnectReason::ServerDisconnect);
            }
        }
        if sweep == Sweep::Everyone {
            self.session.close(DisconnectReason::ServerDisconnect);
        }
    }

    fn drained(&mut self) {
        for socket in self.joined() {
            self.app.handler.drained(socket);
        }
    }

    fn takes_nothing(&mut self) {
        for socket in self.joined() {
            self.app.handler.takes_nothing(socket);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match (self.connect_by, self.attachments_by) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    fn end(&mut self, reason: DisconnectReason) {
        for member in std::mem::take(&mut self.members) {
            if let Member::Joined(socket) = member {
                let reason = match socket.is_leaving() {
                    true => DisconnectReason::ServerDisconnect,
                    false => reason,
                };
                self.app.leave(&socket, reason);
            }
        }
        self.connect_by = None;
        self.attachments_by = None;
        self.assembler = Assembler::new();
    }
}

impl<H: Handler> Namespaces<H> {
    fn joined(&self) -> impl Iterator<Item = &Socket<H>> {
        self.members.iter().filter_map(|member| match member {
            Member::Joined(socket) => Some(socket),
            _ => None,
        })
    }

    fn packet(&mut self, packet: Packet) -> Result<(), Invalid> {
        let Packet { namespace, body } = packet;
        let place = self
            .members
            .iter()
            .position(|member| member.namespace() == namespace);
        let member = place.map(|place| &self.members[place]);
        match (body, member) {
            (Body::Connect { data }, None | Some(Member::Left(_))) => {
                if let Some(place) = place {
                    self.members.swap_remove(place);
                }
                self.connect(namespace, data)
            }
            (Body::Connect { .. }, Some(_)) => Err(Invalid("connect_twice")),
            (Body::ConnectError { .. }, _) => Err(Invalid("connect_error")),
            (_, None | Some(Member::Joining(_))) => Err(Invalid("not_joined")),
            (_, Some(Member::Left(_))) => Ok(()),
            (Body::Disconnect, Some(Member::Joined(socket))) => {
                let socket = socket.clone();
                self.members
                    .retain(|member| member.namespace() != namespace);
                let reason = match socket.is_leaving() {
                    true => DisconnectReason::ServerDisconnect,
                    false => DisconnectReason::ClientDisconnect,
                };
                self.app.leave(&socket, reason);
                Ok(())
            }
            (
                Body::Event {
                    name,
                    args,
                    attachments,
                    ack_id,
                },
                Some(Member::Joined(socket)),
            ) => {
                if socket.is_joined() {
                    let event = Event {
                        name,
                        args,
                        attachments,
                        wants_ack: ack_id.is_some(),
                    };
                    let future = self.app.event(socket.clone(), event, ack_id, &self.session);
                    self.events.push(future);
                }
                Ok(())
            }
            (
                Body::Ack {
                    ack_id,
                    args,
                    attachments,
                },
                Some(Member::Joined(socket)),
            ) => {
                if let Some(id) = ack_id {
                    socket.acknowledge(id, AckArgs { args, attachments });
                }
                Ok(())
            }
        }
    }

    fn connect(
        &mut self,
        namespace: Namespace,
        auth: Option<Box<RawValue>>,
    ) -> Result<(), Invalid> {
        if self.members.len() >= self.app.limits.namespaces_max {
            return Err(Invalid("too_many_namespaces"));
        }
        if !self.app.handler.has_namespace(&namespace) {
            self.refuse(
                &namespace,
                &ConnectError {
                    message: "Invalid namespace".to_owned(),
                    data: None,
                },
            );
            return Ok(());
        }
        let (app, handshake) = (Arc::clone(&self.app), Arc::clone(&self.handshake));
        let name = namespace.clone();
        let future = Box::pin(async move {
            app.handler
                .connect(&handshake, &name, auth.as_deref())
                .await
        });
        self.members
            .push(Member::Joining(Box::new(Joining { namespace, future })));
        Ok(())
    }

    fn refuse(&self, namespace: &str, error: &ConnectError) {
        match Frame::connect_error(namespace, &error.message, error.data.as_deref()) {
            Ok(frame) => {
                let _ = self.session.send(&frame, Class::Essential);
            }
            Err(error) => error!(%error, "refusal cannot be encoded"),
        }
    }

    fn poll_joining(&mut self, cx: &mut Context<'_>) {
        let mut at = 0;
        while at < self.members.len() {
            if let Member::Joining(joining) = &mut self.members[at]
                && let Poll::Ready(result) = joining.future.as_mut().poll(cx)
            {
                let namespace = joining.namespace.clone();
                match result {
                    Ok(data) => self.join(at, namespace, data),
                    Err(error) => {
                        self.members.remove(at);
                        self.refuse(&namespace, &error);
                        continue;
                    }
                }
            }
            at += 1;
        }
    }

    /// CONNECT goes out first, then whatever the application emits.
    fn join(&mut self, at: usize, namespace: Namespace, data: H::Data) {
        let joined = Id::random()
            .map_err(|error| error.to_string())
            .and_then(|id| {
                let pid = self.app.handler.pid(&data);
                let frame = Frame::connect(&namespace, id.as_str(), pid);
                Ok((id, frame.map_err(|error| error.to_string())?))
            });
        let (id, frame) = match joined {
            Ok(joined) => joined,
            Err(error) => {
                error!(error, "namespace cannot be joined");
                self.members.remove(at);
                return self.session.close(DisconnectReason::ServerClose);
            }
        };
        if self.connect_by.take().is_some() {
            self.forget_headers();
        }
        let _ = self.session.send(&frame, Class::Essential);
        let handshake = Arc::clone(&self.handshake);
        let socket = Socket::new(id, namespace, Arc::clone(&self.session), handshake, data);
        self.members[at] = Member::Joined(socket.clone());
        self.app.handler.connected(&socket);
    }

    /// An idle socket shall not pay for headers that nobody reads any more, nor for the read buffer
    /// of the connection that their values are pieces of.
    fn forget_headers(&mut self) {
        let mut headers = http::HeaderMap::new();
        for name in &self.app.config.kept_headers {
            for value in self.handshake.headers.get_all(name) {
                if let Ok(value) = http::HeaderValue::from_bytes(value.as_bytes()) {
                    headers.append(name, value);
                }
            }
        }
        self.handshake = Arc::new(Handshake {
            remote: self.handshake.remote,
            headers,
            query: self.handshake.query.clone(),
            connection_id: Arc::clone(&self.handshake.connection_id),
        });
    }
}

impl<H: Handler> SocketIo<H> {
    fn leave(&self, socket: &Socket<H>, reason: DisconnectReason) {
        socket.leave();
        self.handler.disconnected(socket, reason);
    }

    fn event(
        self: &Arc<Self>,
        socket: Socket<H>,
        event: Event,
        ack_id: Option<u64>,
        session: &Arc<Session>,
    ) -> EventFuture {
        let (app, session) = (Arc::clone(self), Arc::clone(session));
        Box::pin(async move {
            let result = AssertUnwindSafe(app.handler.event(&socket, event))
                .catch_unwind()
                .await;
            let Ok(result) = result else {
                error!(socket = socket.id(), "event handler panicked");
                return false;
            };
            if let (Some(id), Some(ack)) = (ack_id, result) {
                acknowledge(&session, &socket, id, &ack);
            }
            true
        })
    }
}

fn acknowledge<H: Handler>(session: &Arc<Session>, socket: &Socket<H>, id: u64, ack: &AckArgs) {
    match Frame::ack(socket.namespace(), id, &ack.args, &ack.attachments) {
        Ok(frame) if socket.is_joined() => {
            let _ = session.send(&frame, Class::Essential);
        }
        Ok(_) => {}
        Err(error) => error!(%error, "ack cannot be encoded"),
    }
}
