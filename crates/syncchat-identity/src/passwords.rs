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
    /// Given back when the hash is done, even if nobody waits for it any more.
    permits: (OwnedSemaphorePermit, OwnedSemaphorePermit),
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
        self.run(move |cost, _| bcrypt::hash(password, cost)).await
    }

    /// Whether the password fits the hash. Takes as long when there is no hash, or when the
    /// password could never fit, and says no.
    ///
    /// # Errors
    /// `internal`, if the thread died.
    pub async fn verify(self, password: String, hash: Option<String>) -> Result<bool> {
        let possible = check(&password).is_ok();
        self.run(move |_, dummy| {
            let (hash, possible) = match &hash {
                Some(hash) => (hash.as_str(), possible),
                None => (dummy, false),
            };
            match bcrypt::verify(&password, hash) {
                Ok(fits) => Ok(fits && possible),
                // A damaged hash fits nothing, and is as slow as any.
                Err(_) => bcrypt::verify(&password, dummy).map(|_| false),
            }
        })
        .await
    }

    async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce(u32, &str) -> bcrypt::BcryptResult<T> + Send + 'static,
    ) -> Result<T> {
        let began = Instant::now();
        let done = tokio::task::spawn_blocking(move || {
            let result = work(self.cost, &self.dummy);
            drop(self.permits);
            result
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
