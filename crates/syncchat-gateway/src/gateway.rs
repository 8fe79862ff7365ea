//! The application on the engine: what it is made of, and what the engine calls.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::available_parallelism;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::value::RawValue;
use syncchat_contract::payload::ClosingReason;
use syncchat_core::ports::fleet::{Fleet, Presence};
use syncchat_core::ports::limiter::Limiter;
use syncchat_core::ports::store::AccountStore;
use syncchat_core::{Chat, People, Supervisor};
use syncchat_delivery::Config as DeliveryConfig;
use syncchat_engine::{
    AckArgs, ConnectError, DisconnectReason, Event, Handler, Handshake, Refusal, Socket,
};
use syncchat_identity::Identity;
use tokio::task::AbortHandle;

use crate::additions::Additions;
use crate::arrivals::Arrivals;
use crate::desk::Desk;
use crate::feed::Feed;
use crate::hub::{Client, Hub, Reader};
use crate::limits::{RETURN_AFTER_SLOWNESS, SHARDS_MAX};
use crate::mailbox::{Command, Mailbox};
use crate::presence::PresenceKeeper;
use crate::recovery::{Past, Recoverable};
use crate::revocations::Revocations;
use crate::session::{Deadline, Session, say_goodbye};
use crate::shard::Shard;
use crate::timers::Timers;
use crate::traces::Traces;
use crate::typing::TypingKeeper;
use crate::{dispatch, metrics};

/// What a gateway is made of.
#[derive(Clone)]
pub struct Parts {
    /// The rules, and the log of each conversation.
    pub chat: Arc<Chat>,
    /// Profiles, for `authenticated` and `presence`.
    pub people: Arc<People>,
    /// Whose a token is.
    pub identity: Arc<Identity>,
    /// Where presence is kept for when the fleet forgets.
    pub accounts: Arc<dyn AccountStore>,
    /// What other nodes say.
    pub fleet: Arc<dyn Fleet>,
    /// Who is online.
    pub presence: Arc<dyn Presence>,
    /// Who asks too often.
    pub limiter: Arc<dyn Limiter>,
    /// Where it is noted what became of messages.
    pub traces: Arc<Traces>,
}

/// Settings of a gateway.
#[derive(Debug, Clone)]
pub struct Config {
    /// This node's name, told to clients in `authenticated`.
    pub node_id: String,
    /// The dials of delivery; of each shard, so bounds of bytes and rooms are divided first.
    pub delivery: DeliveryConfig,
}

/// Chat on sockets. Made by [`Gateway::start`], given to an engine.
pub struct Gateway {
    pub(crate) parts: Parts,
    pub(crate) config: Config,
    pub(crate) hub: Arc<Hub>,
    pub(crate) feed: Arc<Feed>,
    additions: Arc<Additions>,
    revocations: Arc<Revocations>,
    pub(crate) typing: Arc<TypingKeeper>,
    pub(crate) presence: Arc<PresenceKeeper>,
    pub(crate) past: Past,
    pub(crate) arrivals: Arrivals,
    pub(crate) deadlines: Arc<Timers<Deadline>>,
    pub(crate) draining: AtomicBool,
    /// For tasks that outlive the call that starts them.
    pub(crate) me: Weak<Gateway>,
    supervisor: Supervisor,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl Gateway {
    /// Makes a gateway, has it listen to the fleet, and starts its tasks. To be called inside a
    /// tokio runtime, once for each fleet.
    pub fn start(parts: Parts, config: Config) -> Arc<Gateway> {
        let shards = available_parallelism().map_or(1, |n| n.get().min(SHARDS_MAX));
        let mailboxes: Vec<_> = (0..shards).map(|_| Arc::new(Mailbox::new())).collect();
        let gateway = Arc::new_cyclic(|me: &Weak<Gateway>| {
            let hub = Arc::new(Hub::new(Arc::clone(&parts.fleet)));
            let additions = Additions::new(Arc::clone(&parts.chat), Arc::clone(&hub));
            let additions = Arc::new(additions);
            let revocations = Revocations::new(Arc::clone(&parts.identity), Arc::clone(&hub));
            let revocations = Arc::new(revocations);
            let feed = Feed::new(
                mailboxes.clone(),
                Arc::clone(&hub),
                Arc::clone(&additions),
                Arc::clone(&revocations),
                me.clone(),
            );
            Gateway {
                typing: Arc::new(TypingKeeper::new(Arc::clone(&parts.fleet))),
                presence: Arc::new(PresenceKeeper::new(&parts, Arc::clone(&hub))),
                past: Past::new(Arc::clone(&parts.chat)),
                arrivals: Arrivals::new(Arc::clone(&parts.chat), Arc::clone(&parts.people)),
                feed: Arc::new(feed),
                additions,
                revocations,
                hub,
                config,
                parts,
                deadlines: Arc::new(Timers::new()),
                draining: AtomicBool::new(false),
                me: me.clone(),
                supervisor: Supervisor::new(),
                tasks: Mutex::default(),
            }
        });
        gateway.start_tasks(mailboxes);
        let listener = gateway.parts.chat.listening(gateway.feed.clone());
        gateway.parts.fleet.listen(listener);
        gateway
    }

    fn start_tasks(&self, mailboxes: Vec<Arc<Mailbox>>) {
        let config = DeliveryConfig {
            ring_bytes: self.config.delivery.ring_bytes / mailboxes.len(),
            lingering_rooms: self.config.delivery.lingering_rooms / mailboxes.len(),
            ..self.config.delivery.clone()
        };
        for mailbox in mailboxes {
            let (chat, fleet) = (Arc::clone(&self.parts.chat), Arc::clone(&self.parts.fleet));
            let desk = Desk::new(Arc::clone(&self.parts.traces));
            let shard = Shard::new(config.clone(), desk, mailbox, chat, fleet);
            self.run("shard", shard.run());
        }
        let fleet = Arc::clone(&self.parts.fleet);
        let feed = Arc::clone(&self.feed).compare_while_deaf(fleet);
        self.run("comparison of heads", feed);
        let review = Duration::from_millis(self.config.delivery.review);
        let additions = Arc::clone(&self.additions).run(Arc::clone(&self.feed), review);
        self.run("look for memberships", additions);
        let revocations = Arc::clone(&self.revocations).run(self.me.clone());
        self.run("comparison of log-ins", revocations);
        let typing = Arc::clone(&self.typing).run();
        self.run("end of typing", typing);
        let looks = Arc::clone(&self.presence).look_around();
        self.run("presence here", looks);
        let told = Arc::clone(&self.presence).tell_in_rounds();
        self.run("announcement of presence", told);
        let others = Arc::clone(&self.presence).watch_others(Arc::clone(&self.feed));
        self.run("presence elsewhere", others);
        let (me, deadlines) = (self.me.clone(), Arc::clone(&self.deadlines));
        let deadlines = async move {
            loop {
                let deadline = deadlines.next().await;
                if let Some(gateway) = me.upgrade() {
                    gateway.is_due(deadline);
                }
            }
        };
        self.run("deadlines of tokens", deadlines);
    }

    /// Runs a task as long as the gateway lives.
    fn run(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let task = self.supervisor.spawn(name, task);
        self.tasks.lock().push(task);
    }

    /// Waits until a task has ended that the gateway needs as long as it lives, and names it. Some of
    /// its sockets may hear nothing from then on: the node has to end.
    pub async fn failed(&self) -> &'static str {
        self.supervisor.failed().await
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// A socket is no longer in the hub under this person.
    pub(crate) fn forget(&self, socket: &Client, user: syncchat_core::model::UserId) {
        let left = self.hub.leave(user, socket, |last| {
            let reader = Reader(socket.clone());
            self.feed.post_all(|| Command::Gone(reader.clone(), user));
            if last {
                self.presence.has_gone(user);
            }
        });
        if left && socket.data().has_entered() {
            metrics::authenticated(-1.0);
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.tasks.lock().drain(..).for_each(|task| task.abort());
    }
}

impl Handler for Gateway {
    type Data = Session;

    async fn admit(&self, handshake: &Handshake) -> Result<(), Refusal> {
        self.may_begin(handshake).await
    }

    fn has_namespace(&self, namespace: &str) -> bool {
        namespace == "/"
    }

    async fn connect(
        &self,
        handshake: &Arc<Handshake>,
        _namespace: &str,
        auth: Option<&RawValue>,
    ) -> Result<Session, ConnectError> {
        self.receive(handshake, auth).await
    }

    fn pid<'a>(&self, session: &'a Session) -> Option<&'a str> {
        session.recoverable().map(Recoverable::pid)
    }

    fn connected(&self, socket: &Socket<Gateway>) {
        self.let_in(socket);
    }

    async fn event(&self, socket: &Socket<Gateway>, event: Event) -> Option<AckArgs> {
        dispatch::run(self, socket, event).await
    }

    fn drained(&self, socket: &Socket<Gateway>) {
        let reader = Reader(socket.clone());
        self.feed.post_all(|| Command::Drained(reader.clone()));
    }

    fn takes_nothing(&self, socket: &Socket<Gateway>) {
        say_goodbye(socket, ClosingReason::SlowConsumer, RETURN_AFTER_SLOWNESS);
    }

    fn disconnected(&self, socket: &Socket<Gateway>, reason: DisconnectReason) {
        let session = socket.data();
        let registered = session.leave();
        self.end_lease(socket);
        // Dropping it ends what it hears of.
        drop(session.take_entrance());
        if let Some(user) = registered {
            self.forget(socket, user);
            tracing::debug!(socket = socket.id(), %user, reason = reason.as_str(), "socket has left");
        }
    }
}
