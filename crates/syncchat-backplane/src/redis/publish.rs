//! What this node says: queued, and sent in batches that gather by themselves while Redis is busy.

use std::sync::Arc;

use fred::interfaces::PubsubInterface;
use futures_util::future::join_all;
use syncchat_core::ports::fleet::FleetEvent;
use tokio::sync::mpsc;

use super::channels;
use super::link::Link;
use crate::envelope;
use crate::limits::{PUBLISH_BATCH_MAX, PUBLISH_QUEUE_MAX};
use crate::metrics;

/// The way out.
pub(crate) struct Publisher {
    link: Arc<Link>,
    queue: mpsc::Sender<FleetEvent>,
}

impl Publisher {
    /// Starts the task that sends.
    pub(crate) fn start(link: Arc<Link>) -> Publisher {
        let (queue, events) = mpsc::channel(PUBLISH_QUEUE_MAX);
        tokio::spawn(send(link.clone(), events));
        Publisher { link, queue }
    }

    /// Sends an event soon. Dropped and counted while Redis is away, or too slow: a hint that is
    /// late is worth nothing, and others find what it told of by comparing heads.
    pub(crate) fn publish(&self, event: FleetEvent) {
        if !self.link.is_up() {
            lost("away", 1);
        } else if self.queue.try_send(event).is_err() {
            lost("queue_full", 1);
        }
    }
}

async fn send(link: Arc<Link>, mut events: mpsc::Receiver<FleetEvent>) {
    let mut batch = Vec::with_capacity(PUBLISH_BATCH_MAX);
    while events.recv_many(&mut batch, PUBLISH_BATCH_MAX).await > 0 {
        let sending = batch.drain(..).filter_map(|event| {
            let channel = channels::channel(event.topic());
            match envelope::encode(link.process, &event) {
                Ok(bytes) => Some((channel, bytes)),
                Err(error) => {
                    tracing::error!(%error, "an event could not be encoded");
                    None
                }
            }
        });
        // The client writes them all before it waits for the first answer.
        let sent = join_all(sending.map(|(channel, bytes)| {
            let client = &link.commands;
            let sharded = link.sharded;
            async move {
                if sharded {
                    client
                        .spublish::<i64, _, _>(channel, bytes.as_slice())
                        .await
                } else {
                    client.publish::<i64, _, _>(channel, bytes.as_slice()).await
                }
            }
        }))
        .await;
        let failed = sent.iter().filter(|result| result.is_err()).count() as u64;
        ::metrics::counter!(metrics::MESSAGES, "direction" => "out")
            .increment(sent.len() as u64 - failed);
        if let Some(error) = sent.into_iter().find_map(Result::err) {
            lost("error", failed);
            tracing::warn!(%error, failed, "redis did not take what was published");
        }
    }
}

fn lost(cause: &'static str, count: u64) {
    ::metrics::counter!(metrics::PUBLISH_LOST, "cause" => cause).increment(count);
}
