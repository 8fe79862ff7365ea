//! A crowd that comes at once: so many are let in at a time, in the order in which they came, and what
//! is read of them is read together.

use std::collections::HashMap;
use std::sync::Arc;

use syncchat_core::model::{Membership, User, UserId};
use syncchat_core::{Chat, Error, ErrorCode, People, Result, Together, TogetherLimits};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::limits::{ARRIVAL_WAIT, ARRIVALS_AT_ONCE_MAX, ARRIVALS_BATCH_MAX, ARRIVALS_READS_MAX};
use crate::metrics::{self, WaitingArrival};

/// A person, and where they are a member now.
type Found = (User, Vec<Membership>);

/// The way in.
pub(crate) struct Arrivals {
    door: Semaphore,
    reads: Together<UserId, Option<Arc<Found>>>,
}

impl Arrivals {
    pub(crate) fn new(chat: Arc<Chat>, people: Arc<People>) -> Arrivals {
        let limits = TogetherLimits {
            batch_max: ARRIVALS_BATCH_MAX,
            in_flight_max: ARRIVALS_READS_MAX,
            // Whoever asks has come through the door.
            waiting_max: ARRIVALS_AT_ONCE_MAX,
        };
        let read = move |users: Vec<UserId>| {
            let (chat, people) = (Arc::clone(&chat), Arc::clone(&people));
            async move { find(&chat, &people, &users).await }
        };
        Arrivals {
            door: Semaphore::new(ARRIVALS_AT_ONCE_MAX),
            reads: Together::new("arrivals", limits, read),
        }
    }

    /// Waits until it is the caller's turn to be let in. `None` if it has not come in time.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        if let Ok(turn) = self.door.try_acquire() {
            return Some(turn);
        }
        let _waiting = WaitingArrival::count();
        match timeout(ARRIVAL_WAIT, self.door.acquire()).await {
            Ok(turn) => turn.ok(),
            Err(_) => {
                metrics::arrival_late();
                None
            }
        }
    }

    /// A person, and where they are a member, as it is after this call.
    ///
    /// # Errors
    /// `unauthorized` if there is no such person; `unavailable`.
    pub(crate) async fn read(&self, user: UserId) -> Result<Found> {
        match self.reads.get(user).await? {
            Some(found) => Ok(Arc::unwrap_or_clone(found)),
            None => Err(Error::new(ErrorCode::Unauthorized, "nobody has this token")),
        }
    }
}

async fn find(chat: &Chat, people: &People, users: &[UserId]) -> Result<Vec<Option<Arc<Found>>>> {
    let (profiles, places) = tokio::try_join!(people.find(users), chat.memberships_of(users))?;
    let mut profiles: HashMap<UserId, User> = profiles
        .into_iter()
        .map(|profile| (profile.id, profile))
        .collect();
    let found = |(user, places): (&UserId, Vec<Membership>)| {
        let profile = profiles.remove(user)?;
        Some(Arc::new((profile, places)))
    };
    Ok(users.iter().zip(places).map(found).collect())
}
