//! What only a real connection shows: that a client which is still writing gets to read why it is
//! refused.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::node::Node;

/// Serves the node on a port of its own, until the runtime ends.
async fn serve(node: &Node) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = node.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn head(length: usize, more: &str) -> String {
    format!(
        "POST /api/auth/login HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n{more}\r\n"
    )
}

/// Everything the server says until it closes.
async fn read_all(socket: &mut TcpStream) -> String {
    let mut said = Vec::new();
    socket.read_to_end(&mut said).await.expect("an answer");
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn a_client_that_writes_too_much_reads_its_refusal() {
    let node = Node::new().await;
    let address = serve(&node).await;
    let length = 5 << 20;
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(head(length, "").as_bytes()).await.unwrap();
    // Written whole before anything is read, as simple clients do.
    socket.write_all(&vec![b' '; length]).await.unwrap();
    let said = read_all(&mut socket).await;
    assert!(said.starts_with("HTTP/1.1 413 "), "{said}");
    assert!(said.contains(r#"{"error":{"code":"too_large","#), "{said}");
}

#[tokio::test]
async fn a_client_that_asks_first_is_not_told_to_go_on() {
    let node = Node::new().await;
    let address = serve(&node).await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    let head = head(2 << 20, "expect: 100-continue\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    let said = read_all(&mut socket).await;
    assert!(said.starts_with("HTTP/1.1 413 "), "{said}");
}

#[tokio::test]
async fn a_body_that_breaks_off_harms_nobody() {
    let node = Node::new().await;
    let address = serve(&node).await;
    for _ in 0..100 {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(head(1_000, "").as_bytes()).await.unwrap();
        socket.write_all(b"{\"login\":").await.unwrap();
    }
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!("{}{{}}", head(2, ""));
    socket.write_all(request.as_bytes()).await.unwrap();
    let said = read_all(&mut socket).await;
    assert!(said.starts_with("HTTP/1.1 400 "), "{said}");
    assert!(said.contains(r#""fields":{"login":"#), "{said}");
}
