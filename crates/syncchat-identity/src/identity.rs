//! Registering, logging in, staying logged in, logging out.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use syncchat_core::Clock;
use syncchat_core::error::{Error, ErrorCode, Result};
use syncchat_core::model::{Account, EpochId, PresenceStatus, Timestamp, User, UserId};
use syncchat_core::ports::fleet::Fleet;
use syncchat_core::ports::limiter::{LimitKind, Limiter};
use syncchat_core::ports::store::{AccountStore, AccountWrite, Rotation, StoreError};
use syncchat_core::text;

use crate::doubts::{Change, Doubts};
use crate::limits::{
    EXPIRED_TOKENS_BATCH, FAMILIES_READ_MAX, LOGIN_BYTES_MAX, REGISTRATION_KEYED_REPEAT_SPAN,
    REGISTRATION_REPEAT_SPAN,
};
use crate::metrics;
use crate::passwords::{self, Passwords};
use crate::recovery::{Seal, Seals};
use crate::refresh::{self, Token};
use crate::tokens::{Claims, Family, Secret, Tokens};

/// How tokens and passwords are made.
#[derive(Debug, Clone)]
pub struct IdentityConfig {
    /// Signs, and verifies.
    pub secret: Secret,
    /// Verify only: secrets that signed before.
    pub former_secrets: Vec<Secret>,
    /// Life of an access token.
    pub access_ttl: Duration,
    /// Life of a refresh token; each rotation begins it anew.
    pub refresh_ttl: Duration,
    /// bcrypt's cost, [`crate::limits::BCRYPT_COST_MIN`] to [`crate::limits::BCRYPT_COST_MAX`].
    pub bcrypt_cost: u32,
}

/// What somebody writes to get an account.
#[derive(Clone)]
pub struct RegisterRequest {
    /// 3 to 32 of `[A-Za-z0-9_.-]`.
    pub username: String,
    /// An e-mail address.
    pub email: String,
    /// 8 to 72 bytes.
    pub password: String,
}

/// A person with a fresh pair of tokens.
#[derive(Clone)]
pub struct Session {
    /// Who.
    pub user: User,
    /// For REST and sockets.
    pub access_token: String,
    /// For one new pair.
    pub refresh_token: String,
    /// When the access token ends.
    pub expires_at: Timestamp,
}

/// Knows who is calling.
pub struct Identity {
    accounts: Arc<dyn AccountStore>,
    limiter: Arc<dyn Limiter>,
    passwords: Passwords,
    tokens: Tokens,
    seals: Seals,
    refresh_ttl: Duration,
    doubts: Doubts,
    clock: Arc<Clock>,
}

impl Identity {
    /// Over these accounts and limits; revocations are told to the fleet.
    pub fn new(
        accounts: Arc<dyn AccountStore>,
        limiter: Arc<dyn Limiter>,
        fleet: Arc<dyn Fleet>,
        config: &IdentityConfig,
    ) -> Identity {
        Identity {
            doubts: Doubts::new(Arc::clone(&accounts), fleet),
            accounts,
            limiter,
            passwords: Passwords::new(config.bcrypt_cost),
            tokens: Tokens::new(&config.secret, &config.former_secrets, config.access_ttl),
            seals: Seals::new(&config.secret, &config.former_secrets),
            refresh_ttl: config.refresh_ttl,
            clock: Clock::system(),
        }
    }

    /// The same, knowing the time from this clock.
    pub fn with_clock(self, clock: Arc<Clock>) -> Identity {
        Identity { clock, ..self }
    }

    /// Makes an account and logs it in. The same registration again, within
    /// [`REGISTRATION_REPEAT_SPAN`], logs in to the account it made before: the first answer may have
    /// been lost.
    ///
    /// # Errors
    /// `invalid` naming the field; `conflict` naming the field taken; `rate_limited` by address;
    /// `unavailable`.
    pub async fn register(&self, request: RegisterRequest, address: IpAddr) -> Result<Session> {
        self.register_within(REGISTRATION_REPEAT_SPAN, request, address)
            .await
    }

    /// The same for a caller with an idempotency key, which means to repeat the registration for longer:
    /// [`REGISTRATION_KEYED_REPEAT_SPAN`]. The key itself is not kept: there is no caller yet to whom it
    /// would belong, and the password proves more than it could.
    ///
    /// # Errors
    /// As [`Self::register`].
    pub async fn register_keyed(
        &self,
        request: RegisterRequest,
        address: IpAddr,
    ) -> Result<Session> {
        self.register_within(REGISTRATION_KEYED_REPEAT_SPAN, request, address)
            .await
    }

    async fn register_within(
        &self,
        repeat_span: Duration,
        request: RegisterRequest,
        address: IpAddr,
    ) -> Result<Session> {
        let checked = check_registration(&request, self.clock.estimate())?;
        self.clock.now()?;
        self.limiter
            .take(LimitKind::Registrations, &address_key(address))
            .await
            .map_err(Error::rate_limited)?;
        let password = request.password.clone();
        let password_hash = self.passwords.slot().await?.hash(password).await?;
        let account = Account {
            user: checked,
            password_hash,
        };
        let taken = match self.accounts.create_account(&account).await {
            Ok(AccountWrite::Done) => return self.begin(account.user).await,
            Ok(AccountWrite::UsernameTaken) => Error::conflict("username", "is taken"),
            Ok(AccountWrite::EmailTaken) => Error::conflict("email", "is taken"),
            Ok(AccountWrite::Missing) => Error::new(ErrorCode::Internal, "account not made"),
            Err(error) => return Err(store_error(&error)),
        };
        let made_before = self.made_before(&account.user, repeat_span, request.password, address);
        match made_before.await? {
            Some(user) => {
                ::metrics::counter!(metrics::REGISTRATIONS_REPEATED).increment(1);
                self.begin(user).await
            }
            None => Err(taken),
        }
    }

    /// The account that the same registration made within this span. It has to prove the password,
    /// under the same limits as a log-in, so it lets nobody guess more than a log-in does.
    async fn made_before(
        &self,
        wanted: &User,
        repeat_span: Duration,
        password: String,
        address: IpAddr,
    ) -> Result<Option<User>> {
        let found = self.accounts.account_by_login(&wanted.username).await;
        let found = found.map_err(|error| store_error(&error))?;
        let now = self.clock.now()?;
        let is_same = |account: &Account| {
            let user = &account.user;
            user.username == wanted.username
                && user.email == wanted.email
                && now.since(user.created_at) <= repeat_span
        };
        let Some(account) = found.filter(is_same) else {
            return Ok(None);
        };
        let target = account_key(&wanted.username, Some(&account));
        let address = address_key(address);
        match self.fits(Some(&account), password, &address, &target).await {
            Ok(true) => Ok(Some(account.user)),
            Ok(false) => Ok(None),
            Err(error) if error.code == ErrorCode::RateLimited => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Begins a new family for who knows the password. `login` is a username or an e-mail address.
    /// A wrong name and a wrong password get the same answer after the same work.
    ///
    /// # Errors
    /// `unauthorized`; `rate_limited` after too many failures of this address or account;
    /// `unavailable`.
    pub async fn login(&self, login: &str, password: String, address: IpAddr) -> Result<Session> {
        let address = address_key(address);
        self.peek_logins(&address).await?;
        let account = match login.len() <= LOGIN_BYTES_MAX {
            true => self
                .accounts
                .account_by_login(login)
                .await
                .map_err(|error| store_error(&error))?,
            false => None,
        };
        let target = account_key(login, account.as_ref());
        let fits = self.fits(account.as_ref(), password, &address, &target);
        if let (true, Some(account)) = (fits.await?, account) {
            return self.begin(account.user).await;
        }
        ::metrics::counter!(metrics::LOGINS_FAILED).increment(1);
        Err(Error::new(
            ErrorCode::Unauthorized,
            "wrong name or password",
        ))
    }

    /// Whether the password is the account's, within the limits of log-ins; a failure is counted.
    /// Takes as long where there is no account.
    async fn fits(
        &self,
        account: Option<&Account>,
        password: String,
        address: &str,
        target: &str,
    ) -> Result<bool> {
        let slot = self.passwords.slot().await?;
        // Asked when the turn has come: whoever sends many guesses at once is held to the limit,
        // and at most one guess for each core goes beyond it.
        self.peek_logins(address).await?;
        self.peek_logins(target).await?;
        let hash = account.map(|account| account.password_hash.clone());
        let verdict = slot.verify(password, hash).await?;
        let fits = verdict.fits() && account.is_some();
        if !fits {
            // The failure is counted; a bucket that is empty by now changes nothing for this caller.
            let _ = self.limiter.take(LimitKind::Logins, address).await;
            let _ = self.limiter.take(LimitKind::Logins, target).await;
        }
        verdict.release();
        Ok(fits)
    }

    /// A new pair for a refresh token. The same token gives the same successor until that one is
    /// used, with a fresh access token; so a refresh whose answer was lost can be repeated. Used after
    /// its successor, it revokes its family.
    ///
    /// # Errors
    /// `unauthorized`; `unavailable`: to be repeated with the same token.
    pub async fn refresh(&self, token: &str) -> Result<Session> {
        let token = Token::parse(token).ok_or_else(bad_refresh)?;
        let salt = refresh::new_salt()?;
        let next = token.successor(&salt);
        // The store puts the old token's person and family in place of these.
        let nobody = UserId::from_bytes([0; 12]);
        let now = self.clock.now()?;
        let stored = next.stored(nobody, Family::default(), now, self.refresh_ttl);
        let attempt = self.doubts.attempt(token.hash(), Change::Refresh);
        let rotation = self
            .accounts
            .rotate_refresh_token(token.hash(), &stored, salt, now)
            .await
            .map_err(|error| store_error(&error))?;
        attempt.settle();
        match rotation {
            Rotation::Rotated { user, family } => self.renewed(user, family, &next).await,
            Rotation::Repeated { user, family, salt } => {
                ::metrics::counter!(metrics::REFRESH_REPEATED).increment(1);
                self.renewed(user, family, &token.successor(&salt)).await
            }
            Rotation::Reused { user, family } => {
                ::metrics::counter!(metrics::REFRESH_REUSED).increment(1);
                tracing::warn!(%user, "refresh token used after its successor, its family is revoked");
                self.doubts.announce(user, family);
                Err(bad_refresh())
            }
            Rotation::Unknown => Err(bad_refresh()),
        }
    }

    async fn renewed(&self, user: UserId, family: Family, next: &Token) -> Result<Session> {
        let user = self.user(user).await?.ok_or_else(bad_refresh)?;
        self.session(user, family, next.text())
    }

    /// Revokes the family of this refresh token, and announces it, again if it was done before.
    /// Nobody's token: nothing happens, and nothing is given away. If the outcome is unknown, the
    /// log-out is done and announced as soon as the store answers ([`Self::settle_doubts`]).
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn logout(&self, token: &str) -> Result<()> {
        let Some(token) = Token::parse(token) else {
            return Ok(());
        };
        let attempt = self.doubts.attempt(token.hash(), Change::LogOut);
        let revoked = self
            .accounts
            .revoke_refresh_token(token.hash())
            .await
            .map_err(|error| store_error(&error))?;
        attempt.settle();
        if let Some((user, family)) = revoked {
            self.doubts.announce(user, family);
        }
        Ok(())
    }

    /// Settles log-outs and refreshes whose outcome was unknown, and announces what was revoked. Runs
    /// until it is dropped; one task for each node.
    pub async fn settle_doubts(&self) {
        self.doubts.settle().await;
    }

    /// Those of these families that are revoked, each with its user. One read for each
    /// [`FAMILIES_READ_MAX`] of them.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn revoked(&self, families: &[Family]) -> Result<Vec<(UserId, Family)>> {
        let mut revoked = Vec::new();
        for families in families.chunks(FAMILIES_READ_MAX) {
            let found = self.accounts.revoked_families(families).await;
            revoked.extend(found.map_err(|error| store_error(&error))?);
        }
        Ok(revoked)
    }

    /// Who holds this access token. Cheap and without I/O.
    ///
    /// # Errors
    /// `token_expired` if it was good once, else `unauthorized`.
    pub fn verify(&self, token: &str) -> Result<Claims> {
        self.tokens.verify_at(token, self.clock.estimate())
    }

    /// The seals of the offsets of a connection in one epoch of the store: the one to use, then those
    /// that may have been used under former secrets. None if this cannot be a `pid`.
    pub fn seals<'a>(
        &'a self,
        pid: &'a str,
        user: UserId,
        epoch: EpochId,
    ) -> impl Iterator<Item = Seal> + 'a {
        self.seals.of(pid, user, epoch)
    }

    /// An access token without a refresh token, for `syncchat token`; and when it ends. The caller
    /// has made sure that the person exists.
    ///
    /// # Errors
    /// `internal`, if the system has no random bytes.
    pub fn issue_access(&self, user: UserId) -> Result<(String, Timestamp)> {
        self.tokens.issue_at(user, None, self.clock.estimate())
    }

    /// Deletes refresh tokens that have expired, one batch; says how many. Call again at once
    /// while it is [`EXPIRED_TOKENS_BATCH`]. While this node does not know the time, or has just seen
    /// it jump ahead, none has expired.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn sweep(&self) -> Result<usize> {
        let Ok(now) = self.clock.sweep_now() else {
            return Ok(0);
        };
        self.accounts
            .delete_expired_tokens(now, EXPIRED_TOKENS_BATCH)
            .await
            .map_err(|error| store_error(&error))
    }

    async fn begin(&self, user: User) -> Result<Session> {
        let family = refresh::new_family()?;
        let token = Token::generate()?;
        let stored = token.stored(user.id, family, self.clock.now()?, self.refresh_ttl);
        self.accounts
            .add_refresh_token(&stored)
            .await
            .map_err(|error| store_error(&error))?;
        self.session(user, family, token.text())
    }

    fn session(&self, user: User, family: Family, refresh_token: String) -> Result<Session> {
        let now = self.clock.estimate();
        let (access_token, expires_at) = self.tokens.issue_at(user.id, Some(family), now)?;
        Ok(Session {
            user,
            access_token,
            refresh_token,
            expires_at,
        })
    }

    async fn user(&self, id: UserId) -> Result<Option<User>> {
        let found = self.accounts.users(&[id]).await;
        Ok(found.map_err(|error| store_error(&error))?.pop())
    }

    async fn peek_logins(&self, key: &str) -> Result<()> {
        self.limiter
            .peek(LimitKind::Logins, key)
            .await
            .map_err(Error::rate_limited)
    }
}

fn check_registration(request: &RegisterRequest, now: Timestamp) -> Result<User> {
    let checked = (
        text::username(&request.username),
        text::email(&request.email),
        passwords::check(&request.password),
    );
    match checked {
        (Ok(username), Ok(email), Ok(())) => Ok(User {
            id: UserId::generate(),
            username,
            email,
            avatar: None,
            status: PresenceStatus::Offline,
            last_seen: None,
            created_at: now,
        }),
        // Everything that is wrong is said at once; the message is the first one's.
        (username, email, password) => {
            let mut errors = [username.err(), email.err(), password.err()]
                .into_iter()
                .flatten();
            let mut all = errors
                .next()
                .unwrap_or_else(|| Error::new(ErrorCode::Invalid, "not an account"));
            all.fields.extend(errors.flat_map(|error| error.fields));
            Err(all)
        }
    }
}

/// Addresses are limited one by one, IPv6 by the /64 that a single customer usually has.
fn address_key(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => format!("address:{v4}"),
        IpAddr::V6(v6) => {
            let network = Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX));
            format!("address:{network}/64")
        }
    }
}

/// An account has one bucket, whether it is addressed by name or by e-mail; a name that is nobody's
/// has one too, so that limits do not tell who exists.
fn account_key(login: &str, account: Option<&Account>) -> String {
    match account {
        Some(account) => format!("account:{}", account.user.id),
        None => {
            let name: String = login.chars().take(LOGIN_BYTES_MAX).collect();
            format!("nobody:{}", name.to_lowercase())
        }
    }
}

fn bad_refresh() -> Error {
    Error::new(ErrorCode::Unauthorized, "the refresh token is not valid")
}

fn store_error(error: &StoreError) -> Error {
    match error {
        StoreError::Unavailable(_) => Error::unavailable("the store did not answer in time"),
        StoreError::Damaged(what) => {
            tracing::error!(%what, "store damaged");
            Error::new(ErrorCode::Internal, "the store holds something unreadable")
        }
    }
}
