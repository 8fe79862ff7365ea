//! Which member is primary, as the driver learns it from the others.
//!
//! A primary that is frozen, or behind a network that swallows everything, does not refuse what it
//! was asked: the connection stays open and silent. The other members elect a new one long before a
//! call's time is up, and the driver knows. So a call that is under way when that happens is given a
//! moment, for it may be waiting for the new primary, and is then given up: its outcome is unknown,
//! as it would be after its whole time.

use std::future::pending;

use mongodb::ServerType;
use mongodb::event::EventHandler;
use mongodb::event::sdam::{SdamEvent, TopologyDescriptionChangedEvent};
use mongodb::options::{ClientOptions, ServerAddress};
use syncchat_core::ports::store::{StoreError, StoreResult};
use tokio::sync::watch;

use crate::limits::MONGO_MOVED_GRACE;
use crate::observe::Work;

/// Sees when another member becomes primary.
#[derive(Clone)]
pub(super) struct Primary(watch::Receiver<Option<ServerAddress>>);

impl Primary {
    /// Learns it from the client that is made with these options.
    pub(super) fn watch(options: &mut ClientOptions) -> Primary {
        let (sender, receiver) = watch::channel(None);
        options.sdam_event_handler = Some(EventHandler::callback(move |event| {
            if let SdamEvent::TopologyDescriptionChanged(event) = event
                && let Some(primary) = primary_of(&event)
            {
                // While there is none, the last one is kept: it may come back.
                sender.send_if_modified(|known| {
                    let other = known.as_ref() != Some(&primary);
                    *known = Some(primary);
                    other
                });
            }
        }));
        Primary(receiver)
    }

    /// Does this work, but gives it up soon after another member has become primary.
    pub(super) async fn unless_it_moves<T>(&self, work: Work<'_, T>) -> StoreResult<T> {
        let mut known = self.0.clone();
        known.mark_unchanged();
        let moved = async {
            if known.changed().await.is_err() {
                return pending().await;
            }
            tokio::time::sleep(MONGO_MOVED_GRACE).await;
        };
        tokio::select! {
            biased;
            answer = work => answer,
            () = moved => Err(given_up()),
        }
    }
}

fn given_up() -> StoreError {
    metrics::counter!("syncchat_mongodb_primary_moved_total").increment(1);
    StoreError::Unavailable("another member became primary".into())
}

fn primary_of(event: &TopologyDescriptionChangedEvent) -> Option<ServerAddress> {
    let servers = event.new_description.servers();
    let primary = servers
        .values()
        .find(|server| server.server_type() == ServerType::RsPrimary);
    primary.map(|server| server.address().clone())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_call_is_given_up_soon_after_the_primary_moved() {
        let at = |port| Some(ServerAddress::parse(format!("host:{port}")).unwrap());
        let (sender, receiver) = watch::channel(at(1));
        let primary = Primary(receiver);
        let begun = Instant::now();
        let move_later = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            sender.send_replace(at(2));
        };
        let (frozen, soon, ()) = tokio::join!(
            primary.unless_it_moves(Box::pin(pending::<StoreResult<()>>())),
            primary.unless_it_moves(Box::pin(async {
                tokio::time::sleep(MONGO_MOVED_GRACE / 2).await;
                Ok("the new one answered")
            })),
            move_later,
        );
        assert!(matches!(frozen, Err(StoreError::Unavailable(_))));
        assert!(soon.is_ok());
        assert!(begun.elapsed() >= MONGO_MOVED_GRACE);
        // What begins afterwards has its whole time.
        let later = primary.unless_it_moves(Box::pin(async {
            tokio::time::sleep(MONGO_MOVED_GRACE * 2).await;
            Ok(())
        }));
        assert!(later.await.is_ok());
    }
}
