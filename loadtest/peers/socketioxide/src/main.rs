//! The node peer's chat on socketioxide, without a store: say who you are, join rooms, send.
//! One thread, as the servers it is compared with have one core.

use serde::{Deserialize, Serialize};
use serde_json::json;
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, Data, Extension, SocketRef, TryData};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

#[derive(Deserialize)]
struct Auth {
    token: String,
}

#[derive(Clone)]
struct User(String);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Send {
    conversation_id: String,
    content: String,
    client_msg_id: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    #[serde(rename = "_id")]
    id: String,
    conversation_id: String,
    sender: String,
    content: String,
    r#type: &'static str,
    status: &'static str,
    read_by: [String; 0],
    edited: bool,
    deleted: bool,
    attachments: [String; 0],
    client_msg_id: Option<String>,
    created_at: String,
    updated_at: String,
}

async fn connected(socket: SocketRef, TryData(auth): TryData<Auth>) {
    let Some(auth) = auth.ok().filter(|auth| !auth.token.is_empty()) else {
        let _ = socket.disconnect();
        return;
    };
    socket.extensions.insert(User(auth.token));
    socket.on("join", async |socket: SocketRef, Data::<String>(room), ack: AckSender| {
        socket.join(room);
        let _ = ack.send(&json!({ "ok": true }));
    });
    socket.on("send_msg", send_msg);
}

async fn send_msg(
    socket: SocketRef,
    Data(send): Data<Send>,
    Extension(User(sender)): Extension<User>,
    ack: AckSender,
) {
    let length = send.content.trim().chars().count();
    let member = socket.rooms().iter().any(|room| *room == *send.conversation_id);
    if !member || length == 0 || length > 4000 {
        let _ = ack.send(&json!({ "ok": false }));
        return;
    }
    let now = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
    let message = Message {
        id: format!("{:024x}", fastrand::u128(..) >> 32),
        conversation_id: send.conversation_id,
        sender,
        content: send.content,
        r#type: "text",
        status: "sent",
        read_by: [],
        edited: false,
        deleted: false,
        attachments: [],
        client_msg_id: send.client_msg_id,
        created_at: now.clone(),
        updated_at: now,
    };
    let _ = ack.send(&json!({ "ok": true, "message": message }));
    let room = message.conversation_id.clone();
    let _ = socket.to(room).emit("receive_msg", &message).await;
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).unwrap_or_else(|| "9002".to_owned());
    let (layer, io) = SocketIo::builder().max_buffer_size(10_000).build_layer();
    io.ns("/", connected);
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    axum::serve(
        axum::serve::ListenerExt::tap_io(listener, |stream| {
            let _ = stream.set_nodelay(true);
        }),
        axum::Router::new().layer(layer),
    )
    .await
}
