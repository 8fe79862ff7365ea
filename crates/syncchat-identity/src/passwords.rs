//! Passwords: bcrypt, away from the async threads, on as many cores as there are and with a
//! bounded queue before them.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use crate::metrics;
use syncchat_core::error::{Error, ErrorCode, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{
    PASSWORD_BYTES_MAX, PASSWORD_BYTES_MIN, PASSWORDS_RETRY_AFTER, PASSWORDS_WAITING_PER_SLOT,
};

/// Checks a new password: 8 to 72 bytes, no NUL byte (bcrypt would stop there).
///
/// # Errors
/// `invalid`, naming `password`.
pub fn check(password: &str) -> Result<()> {
    if !(PASSWORD_BYTES_MIN..=PASSWORD_BYTES_MAX).contains(&password.len()) {
        return Err(Error::invalid(
            "password",
            format!("must have {PASSWORD_BYTES_MIN} to {PASSWORD_BYTES_MAX} bytes"),
        ));
    }
    if password.contains('\0') {
        return Err(Error::invalid("password", "must not hold a NUL byte"));
    }
    Ok(())
}

/// Hashes and compares.
pub struct Passwords {
    cost: u32,
    /// A well-formed hash of the same cost that nobody knows a password for.
    dummy: Arc<str>,
    /// One permit for each hash that runs.
    running: Arc<Semaphore>,
    /// One permit for each hash that runs or waits.
    admitted: Arc<Semaphore>,
}

/// The right to hash once.
pub struct Slot {
    cost: u32,
    dummy: Arc<str>,
    permits: Permits,
}

/// Given back when the hash is done, even if nobody waits for it any more.
type Permits = (OwnedSemaphorePermit, OwnedSemaphorePermit);

/// Whether a password fitted.
pub struct Verdict {
    fits: bool,
    permits: Permits,
}

impl Verdict {
    /// Whether it fitted.
    pub fn fits(&self) -> bool {
        self.fits
    }

    /// Lets the next one have the core. A failure is counted before, so that the next guess meets
    /// a limit that knows of this one.
    pub fn release(self) {
        drop(self.permits);
    }
}

impl Passwords {
    /// Hashes of this bcrypt cost, one per core at a time.
    pub fn new(cost: u32) -> Passwords {
        let slots = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Passwords::with_slots(cost, slots, slots * PASSWORDS_WAITING_PER_SLOT)
    }

    /// As [`Passwords::new`], with `slots` hashes at a time and `waiting` ones in the queue.
    pub fn with_slots(cost: u32, slots: usize, waiting: usize) -> Passwords {
        Passwords {
            cost,
            // bcrypt's alphabet begins with a dot: a salt and a hash of zeros.
            dummy: format!("$2b${cost:02}${}", ".".repeat(53)).into(),
            running: Arc::new(Semaphore::new(slots)),
            admitted: Arc::new(Semaphore::new(slots + waiting)),
        }
    }

    /// Waits for a core.
    ///
    /// # Errors
    /// `unavailable` with `retry_after`, if too many wait already.
    pub async fn slot(&self) -> Result<Slot> {
        let Ok(admitted) = Arc::clone(&self.admitted).try_acquire_owned() else {
            ::metrics::counter!(metrics::PASSWORDS_REFUSED).increment(1);
            return Err(busy());
        };
        let arrived = Instant::now();
        let running = Arc::clone(&self.running)
            .acquire_owned()
            .await
            .map_err(|_| busy())?;
        ::metrics::histogram!(metrics::PASSWORD_WAIT_SECONDS).record(arrived.elapsed());
        Ok(Slot {
            cost: self.cost,
            dummy: Arc::clone(&self.dummy),
            permits: (running, admitted),
        })
    }
}

impl Slot {
    /// The bcrypt hash of a password that has passed [`check`].
    ///
    /// # Errors
    /// `internal`, if the system has no random bytes.
    pub async fn hash(self, password: String) -> Result<String> {
        let work = move |cost, _: &str| bcrypt::hash(password, cost);
        self.run(work).await.map(|(hash, _)| hash)
    }

    /// Whether the password fits the hash. Takes as long when there is no hash, or when the
    /// password could never fit, and says no.
    ///
    /// # Errors
    /// `internal`, if the thread died.
    pub async fn verify(self, password: String, hash: Option<String>) -> Result<Verdict> {
        let possible = check(&password).is_ok();
        let work = move |_, dummy: &str| {
            let (hash, possible) = match &hash {
                Some(hash) => (hash.as_str(), possible),
                None => (dummy, false),
            };
            match bcrypt::verify(&password, hash) {
                Ok(fits) => Ok(fits && possible),
                // A damaged hash fits nothing, and is as slow as any.
                Err(_) => bcrypt::verify(&password, dummy).map(|_| false),
            }
        };
        let (fits, permits) = self.run(work).await?;
        Ok(Verdict { fits, permits })
    }

    async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce(u32, &str) -> bcrypt::BcryptResult<T> + Send + 'static,
    ) -> Result<(T, Permits)> {
        let began = Instant::now();
        let done = tokio::task::spawn_blocking(move || {
            let result = work(self.cost, &self.dummy);
            result.map(|value| (value, self.permits))
        })
        .await;
        ::metrics::histogram!(metrics::PASSWORD_SECONDS).record(began.elapsed());
        match done {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                tracing::error!(%error, "password could not be hashed");
                Err(Error::new(
                    ErrorCode::Internal,
                    "password could not be hashed",
                ))
            }
            Err(error) => {
                tracing::error!(%error, "password thread ended");
                Err(Error::new(
                    ErrorCode::Internal,
                    "password could not be hashed",
                ))
            }
        }
    }
}

fn busy() -> Error {
    Error {
        retry_after: Some(PASSWORDS_RETRY_AFTER),
        ..Error::unavailable("too many log-ins at once")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bcrypt::HashParts;

    #[test]
    fn the_dummy_costs_what_a_real_hash_costs() {
        for cost in [4, 10, 12, 15] {
            let dummy: HashParts = Passwords::new(cost).dummy.parse().unwrap();
            assert_eq!(dummy.get_cost(), cost);
        }
    }

    #[tokio::test]
    async fn a_damaged_hash_fits_nothing() {
        let passwords = Passwords::with_slots(4, 1, 0);
        for hash in ["", "$2b$04$", "not a hash"] {
            let slot = passwords.slot().await.unwrap();
            let fits = slot.verify("password".into(), Some(hash.into())).await;
            assert!(!fits.unwrap().fits(), "{hash}");
        }
    }

    #[tokio::test]
    async fn the_queue_is_bounded_and_says_when_to_come_back() {
        let passwords = Arc::new(Passwords::with_slots(4, 1, 1));
        let running = passwords.slot().await.unwrap();
        let waiting = tokio::spawn({
            let passwords = Arc::clone(&passwords);
            async move { passwords.slot().await.map(|_| ()) }
        });
        while passwords.admitted.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let error = passwords.slot().await.err().unwrap();
        assert_eq!(error.code, ErrorCode::Unavailable);
        assert_eq!(error.retry_after, Some(PASSWORDS_RETRY_AFTER));
        assert!(running.hash("password".into()).await.is_ok());
        assert_eq!(waiting.await.unwrap(), Ok(()));
        assert!(passwords.slot().await.is_ok());
    }

    #[tokio::test]
    async fn a_caller_that_left_gives_its_place_back() {
        let passwords = Passwords::with_slots(4, 1, 0);
        let slot = passwords.slot().await.unwrap();
        let hashing = tokio::spawn(slot.hash("password".into()));
        hashing.abort();
        let _ = hashing.await;
        // The thread may still hash; its place comes back when it is done.
        let back = async {
            while passwords.slot().await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), back)
            .await
            .unwrap();
    }
}
