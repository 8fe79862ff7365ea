//! What this node says: queued, and sent in batches that gather by themselves while Redis is busy.
//! Where others were not told, they are told to look: the count of losses goes out with each beat.

use std::sync::Arc;

use futures_util::future::join_all;
use syncchat_core::ports::fleet::FleetEvent;
use tokio::sync::{mpsc, oneshot};

use super::channels;
use super::link::Link;
use super::notices::Notices;
use crate::envelope;
use crate::limits::{PUBLISH_BATCH_MAX, PUBLISH_QUEUE_MAX};
use crate::metrics;

/// The way out.
pub(crate) struct Publisher {
    link: Arc<Link>,
    notices: Arc<Notices>,
    queue: mpsc::Sender<Out>,
}

enum Out {
    Event(FleetEvent),
    /// Everything before it is to be sent first.
    Flush(oneshot::Sender<()>),
}

impl Publisher {
    /// Starts the task that sends.
    pub(crate) fn start(link: Arc<Link>, notices: Arc<Notices>) -> Publisher {
        let (queue, events) = mpsc::channel(PUBLISH_QUEUE_MAX);
        let sending = send(link.clone(), events);
        link.supervisor.spawn("redis publisher", sending);
        Publisher {
            link,
            notices,
            queue,
        }
    }

    /// Sends an event soon. Dropped and counted while Redis is away, or too slow: a hint that is
    /// late is worth nothing. Others find what it told of by comparing heads, or ask for it.
    pub(crate) fn publish(&self, event: FleetEvent) {
        self.notices.keep(&event);
        let matters = matters(&event);
        if !self.link.is_up() {
            lost(&self.link, "away", 1, matters);
        } else if self.queue.try_send(Out::Event(event)).is_err() {
            lost(&self.link, "queue_full", 1, matters);
        }
    }

    /// Waits until everything published so far has been sent.
    pub(crate) async fn flush(&self) {
        let (sent, all_sent) = oneshot::channel();
        if self.queue.send(Out::Flush(sent)).await.is_ok() {
            // An error means that nothing is sent any more.
            let _ = all_sent.await;
        }
    }
}

/// Whether somebody has to make up for its loss.
fn matters(event: &FleetEvent) -> bool {
    !matches!(event, FleetEvent::Typing { .. })
}

async fn send(link: Arc<Link>, mut queue: mpsc::Receiver<Out>) {
    let mut batch = Vec::with_capacity(PUBLISH_BATCH_MAX);
    while queue.recv_many(&mut batch, PUBLISH_BATCH_MAX).await > 0 {
        let mut flushed = Vec::new();
        let sending = batch.drain(..).filter_map(|out| match out {
            Out::Event(event) => encode(link.process, &event),
            Out::Flush(sent) => {
                flushed.push(sent);
                None
            }
        });
        // The client writes them all before it waits for the first answer.
        let sending = sending.map(|(channel, bytes)| {
            let link = &link;
            async move { link.publish(channel, &bytes).await }
        });
        let sent = join_all(sending).await;
        let failed = sent.iter().filter(|result| result.is_err()).count() as u64;
        ::metrics::counter!(metrics::MESSAGES, "direction" => "out")
            .increment(sent.len() as u64 - failed);
        if let Some(error) = sent.into_iter().find_map(Result::err) {
            lost(&link, "error", failed, true);
            tracing::warn!(%error, failed, "redis did not take what was published");
        }
        for sent in flushed {
            // Whoever waited may have given up.
            let _ = sent.send(());
        }
    }
}

fn encode(process: u64, event: &FleetEvent) -> Option<(String, Vec<u8>)> {
    match envelope::encode(process, event) {
        Ok(bytes) => Some((channels::channel(event.topic()), bytes)),
        Err(error) => {
            tracing::error!(%error, "an event could not be encoded");
            None
        }
    }
}

fn lost(link: &Link, cause: &'static str, count: u64, matters: bool) {
    ::metrics::counter!(metrics::PUBLISH_LOST, "cause" => cause).increment(count);
    if matters {
        link.lose();
    }
}
