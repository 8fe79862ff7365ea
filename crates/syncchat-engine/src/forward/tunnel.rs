//! A WebSocket of which this node holds no more than two TCP connections and a few KiB.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use tokio::io::{AsyncWriteExt, BufReader, copy_buf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::limits::{TUNNEL_BUFFER_BYTES, TUNNEL_CLOSE_WAIT};

/// Copies both ways until one side has ended and the other had its time to, or this node drains.
/// What was read behind the opening handshake of a side goes first.
pub(super) async fn run(
    client: (TcpStream, Bytes),
    peer: (TcpStream, Bytes),
    draining: watch::Receiver<Option<Duration>>,
) {
    let [(client, client_rest), (peer, peer_rest)] = [client, peer];
    // A frame that is here is to go on at once.
    let _ = client
        .set_nodelay(true)
        .and_then(|()| peer.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_peer, to_peer) = peer.into_split();
    let up = std::pin::pin!(pass(client_rest, from_client, to_peer));
    let down = std::pin::pin!(pass(peer_rest, from_peer, to_client));
    let both = async {
        // Each direction ends by closing what it writes to, so the other side hears of it.
        match select(up, down).await {
            Either::Left((_, down)) => drop(timeout(TUNNEL_CLOSE_WAIT, down).await),
            Either::Right((_, up)) => drop(timeout(TUNNEL_CLOSE_WAIT, up).await),
        }
    };
    tokio::select! {
        () = both => {}
        () = told_to_end(draining) => {}
    }
}

async fn pass(rest: Bytes, from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
    to.write_all(&rest).await?;
    let mut from = BufReader::with_capacity(TUNNEL_BUFFER_BYTES, from);
    copy_buf(&mut from, &mut to).await?;
    to.shutdown().await
}

/// Waits for the drain, and then for a moment of it that is this tunnel's own.
async fn told_to_end(mut draining: watch::Receiver<Option<Duration>>) {
    let spread = match draining.wait_for(Option::is_some).await {
        Ok(spread) => spread.unwrap_or_default(),
        // The server is gone.
        Err(_) => return,
    };
    let mut random = [0; 2];
    // Without random bytes all go at once, which is no reason to stay.
    let _ = getrandom::fill(&mut random);
    sleep(spread.mul_f64(f64::from(u16::from_be_bytes(random)) / f64::from(u16::MAX))).await;
}
