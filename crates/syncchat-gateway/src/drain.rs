//! The end of a node: goodbyes, spread over the time there is.

use std::sync::atomic::Ordering;
use std::time::Duration;

use syncchat_contract::payload::ClosingReason;
use syncchat_engine::DisconnectReason;
use tokio::time::{Instant, sleep};

use crate::gateway::Gateway;
use crate::hub::Client;
use crate::limits::{DRAIN_RETURN_MAX, DRAIN_STEP};
use crate::session::{Deadline, say_goodbye};

impl Gateway {
    /// Lets nobody in any more, and closes the connections of all who are here, a few at a time
    /// over `span`. Each client is told first, and when to come back; they do so in that order, so
    /// the node that takes them is not run over.
    ///
    /// Sockets that belong to nobody go first, at once: they have nothing here.
    pub async fn drain(&self, span: Duration) {
        self.draining.store(true, Ordering::Relaxed);
        self.send_away(&self.guests());
        let until = Instant::now() + span;
        loop {
            let sockets = self.hub.all();
            if sockets.is_empty() {
                break;
            }
            let left = until.saturating_duration_since(Instant::now());
            let steps = 1 + left.as_millis() / DRAIN_STEP.as_millis();
            let share = sockets
                .len()
                .div_ceil(usize::try_from(steps).unwrap_or(usize::MAX));
            self.send_away(&sockets[..share]);
            if left.is_zero() {
                break;
            }
            sleep(DRAIN_STEP.min(left)).await;
        }
        self.presence.all_gone().await;
    }

    fn send_away(&self, sockets: &[Client]) {
        for (place, socket) in sockets.iter().enumerate() {
            say_goodbye(
                socket,
                ClosingReason::Draining,
                spread(place, sockets.len()),
            );
            socket.close(DisconnectReason::ServerClose);
        }
    }

    /// Sockets that have not said yet whose they are.
    fn guests(&self) -> Vec<Client> {
        self.deadlines.find(|deadline| match deadline {
            Deadline::Authenticate(socket) => Some(socket.clone()),
            _ => None,
        })
    }
}

/// When the client at this place of so many shall come back.
fn spread(place: usize, of: usize) -> Duration {
    let part = (place as u32 + 1) as f64 / of.max(1) as f64;
    DRAIN_RETURN_MAX.mul_f64(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_come_back_spread_out() {
        let times: Vec<_> = (0..4).map(|place| spread(place, 4).as_millis()).collect();
        assert_eq!(times, [500, 1_000, 1_500, 2_000]);
    }
}
