//! A Socket.IO client over WebSocket, as small as one can be: it connects with a token, answers
//! pings, and hands over event and ack packets as text.

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::Failure;

/// One connected and authenticated socket.
pub(crate) struct Client {
    stream: WebSocketStream<TcpStream>,
}

impl Client {
    /// Connects to `address` and waits for `authenticated`.
    pub(crate) async fn connect(address: &str, token: &str) -> Result<Client, Failure> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
        let config = WebSocketConfig::default().read_buffer_size(4096);
        let (stream, _) = client_async_with_config(url, tcp, Some(config)).await?;
        let mut client = Client { stream };
        let open = client.next().await?;
        if !open.starts_with('0') {
            return Err(format!("no open packet but {open}").into());
        }
        client
            .send(format!("40{}", json!({ "token": token })))
            .await?;
        loop {
            let packet = client.next().await?;
            if packet.starts_with("44") {
                return Err(format!("refused: {packet}").into());
            }
            if packet.starts_with(r#"42["authenticated""#) {
                return Ok(client);
            }
        }
    }

    /// Sends one packet.
    pub(crate) async fn send(&mut self, packet: String) -> Result<(), Failure> {
        Ok(self.stream.send(Message::text(packet)).await?)
    }

    /// The next packet that is no ping. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<String, Failure> {
        loop {
            let message = self
                .stream
                .next()
                .await
                .ok_or("the server closed the connection")??;
            match message {
                Message::Text(text) if text.as_str() == "2" => self.send("3".into()).await?,
                Message::Text(text) => return Ok(text.as_str().to_owned()),
                Message::Close(_) => return Err("the server closed the connection".into()),
                _ => {}
            }
        }
    }
}
