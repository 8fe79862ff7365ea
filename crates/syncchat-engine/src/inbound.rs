//! What a client's packets mean to its session.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::Context;

use syncchat_protocol::engineio::Packet;
use syncchat_protocol::{DecodeError, websocket};
use tokio::time::Instant;

use crate::handler::DisconnectReason;
use crate::heartbeat::Heartbeat;
use crate::metrics;
use crate::protocol::{Connection, Framing, Invalid};
use crate::session::{Farewell, Session};
use crate::websocket::reader::Message;

/// What it takes to understand a packet.
pub(crate) struct Inbound<C> {
    pub(crate) session: Arc<Session>,
    pub(crate) connection: C,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) framing: Framing,
}

impl<C: Connection> Inbound<C> {
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Err(invalid) = self.connection.poll(cx) {
            let _ = self.refuse(invalid);
        }
    }

    /// Whether nothing more is to be taken for now.
    pub(crate) fn is_full(&self) -> bool {
        self.connection.is_full() || self.session.is_stopped()
    }

    /// Polls are refused in time, whatever this task is doing then.
    pub(crate) fn publish_expiry(&self) {
        self.session
            .set_expiry(self.heartbeat.expires(&self.session.config));
    }

    /// Takes a message of the WebSocket.
    pub(crate) fn message(&mut self, message: Message<'_>) -> ControlFlow<()> {
        match (message, self.framing) {
            (Message::Text("1"), Framing::EngineIo) => {
                // Unlike a close frame this one is to be answered by a whole closing handshake.
                self.session.close(DisconnectReason::TransportClose);
                return ControlFlow::Break(());
            }
            (Message::Text(text), Framing::EngineIo) => self.packet(Packet::from_text(text))?,
            (Message::Binary(data), Framing::EngineIo) => {
                self.packet(Ok(Packet::from_binary(data)))?;
            }
            (Message::Text(text), Framing::WebSocket) => {
                let taken = self.connection.text(text);
                self.taken(taken)?;
            }
            (Message::Binary(data), Framing::WebSocket) => {
                let taken = self.connection.binary(data);
                self.taken(taken)?;
            }
            (Message::Ping(payload), _) => self.session.send_raw(websocket::pong(payload)),
            (Message::Pong, _) => {}
            (Message::Close(code), _) => {
                let close = code.map_or(websocket::CLOSE, |code| websocket::close(code, ""));
                self.session
                    .end(DisconnectReason::TransportClose, Farewell::Answer(close));
                return ControlFlow::Break(());
            }
        }
        match self.is_full() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// Takes a packet; breaks when the session is over.
    pub(crate) fn packet(&mut self, packet: Result<Packet<'_>, DecodeError>) -> ControlFlow<()> {
        let packet = match packet {
            Ok(packet) => packet,
            Err(error) => return self.refuse(error.into()),
        };
        let now = Instant::now();
        if matches!(packet, Packet::Pong) {
            self.heartbeat.pong(now, &self.session.config);
        } else {
            self.heartbeat.packet(now, &self.session.config);
        }
        match packet {
            Packet::Open | Packet::Pong | Packet::Upgrade | Packet::Noop => {
                ControlFlow::Continue(())
            }
            Packet::Close => {
                let farewell = Farewell::Answer(websocket::CLOSE);
                self.session.end(DisconnectReason::TransportClose, farewell);
                ControlFlow::Break(())
            }
            Packet::Ping(_) => self.refuse(Invalid("ping")),
            Packet::Message(text) => {
                let taken = self.connection.text(text);
                self.taken(taken)
            }
            Packet::Binary(data) => {
                let taken = self.connection.binary(data);
                self.taken(taken)
            }
        }
    }

    fn taken(&self, taken: Result<(), Invalid>) -> ControlFlow<()> {
        match taken {
            Ok(()) => ControlFlow::Continue(()),
            Err(invalid) => self.refuse(invalid),
        }
    }

    /// Closes without a word: no packet says what was wrong.
    fn refuse(&self, invalid: Invalid) -> ControlFlow<()> {
        metrics::invalid_packet(invalid.0);
        self.session
            .end(DisconnectReason::TransportError, Farewell::error());
        ControlFlow::Break(())
    }
}
