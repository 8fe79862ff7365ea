//! The pulse of the fleet: each node says again and again that it is here, by the way that messages
//! take, and hears itself. So it knows at any moment whether it can be heard and can hear, whoever
//! is to blame (a dead server, a stopped one, a cable, a lost subscription), and who else can.
//!
//! While anybody cannot, logs are compared instead (`connected` is false). When a node is back, all
//! compare once more, and ask for the notices that they have missed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use fred::clients::Client;
use fred::interfaces::ClientLike;
use parking_lot::Mutex;
use syncchat_core::ports::fleet::FleetListener;
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::channels::{self, Audience};
use super::link::Link;
use super::notices::Notices;
use super::peers::{Beat, Peers};
use super::signal::{self, Signal};
use crate::envelope;
use crate::limits::{
    ASK_AGAIN, ASKING_MAX, BEAT, DEAF_RECONNECT, GOODBYE_LINGER, GOODBYE_TIMEOUT,
    NOTICES_BATCH_MAX, SILENCE, SILENCE_CHECK, UNKNOWN_DOUBT_INTERVAL,
};
use crate::metrics;

/// Says, hears and judges beats.
pub(crate) struct Pulse {
    link: Arc<Link>,
    node: String,
    began: Instant,
    notices: Arc<Notices>,
    listener: Arc<OnceLock<Arc<dyn FleetListener>>>,
    state: Mutex<State>,
    /// Who asked for notices after which number.
    asking: mpsc::Sender<(u64, u64)>,
    /// A beat is due at once.
    now: Notify,
    /// The connections are being made anew.
    reconnecting: [AtomicBool; 2],
    /// Something was heard that this release does not know, since the last doubt because of it.
    unknown_heard: AtomicBool,
    /// Losses that were told with a beat, and when that count was told first.
    losses_told: Mutex<(u64, Option<Instant>)>,
}

struct State {
    peers: Peers,
    /// When this node last heard itself, by hash tag: since it last joined.
    heard_at: HashMap<u32, Instant>,
    /// Since when it should hear itself.
    since: Instant,
}

impl Pulse {
    /// Starts the tasks.
    pub(crate) fn start(
        link: Arc<Link>,
        node: &str,
        notices: Arc<Notices>,
        listener: Arc<OnceLock<Arc<dyn FleetListener>>>,
    ) -> Arc<Pulse> {
        let (asking, asked) = mpsc::channel(ASKING_MAX);
        let pulse = Arc::new(Pulse {
            link,
            node: node.to_owned(),
            began: Instant::now(),
            notices,
            listener,
            state: Mutex::new(State {
                peers: Peers::new(Instant::now()),
                heard_at: HashMap::new(),
                since: Instant::now(),
            }),
            asking,
            now: Notify::new(),
            reconnecting: Default::default(),
            unknown_heard: AtomicBool::new(false),
            losses_told: Mutex::default(),
        });
        let supervisor = &pulse.link.supervisor;
        supervisor.spawn("redis heartbeat", pulse.clone().beat());
        supervisor.spawn("redis watch", pulse.clone().watch());
        supervisor.spawn("redis replay", pulse.clone().tell_again(asked));
        pulse
    }

    /// Whether everybody who may be alive can be heard.
    pub(crate) fn is_whole(&self) -> bool {
        self.link.is_up() && !self.state.lock().peers.any_silent()
    }

    /// Processes other than this one that are heard.
    pub(crate) fn others(&self) -> Vec<u64> {
        self.state.lock().peers.heard()
    }

    /// Processes that are dead; of all that were ever heard if this node hears nobody itself.
    pub(crate) fn dead(&self) -> Vec<u64> {
        let state = self.state.lock();
        match self.link.is_up() {
            true => state.peers.dead(),
            false => state.peers.known(),
        }
    }

    /// Whether this process is heard.
    pub(crate) fn hears(&self, process: u64) -> bool {
        self.state.lock().peers.hears(process)
    }

    /// By their notes in the store these processes (their nodes and numbers) live. Who is silent and not
    /// among them is waited for no longer.
    pub(crate) fn lives<'a>(&self, noted: impl Iterator<Item = (&'a str, u64)>) {
        if self.state.lock().peers.lives(noted, Instant::now()) {
            self.doubt();
        }
    }

    /// All subscriptions are taken: this node should hear itself from now on.
    pub(crate) fn has_joined(&self) {
        {
            let mut state = self.state.lock();
            state.heard_at.clear();
            state.since = Instant::now();
        }
        self.link.set_joined(true);
        self.now.notify_one();
    }

    /// The connection that listens is gone.
    pub(crate) fn has_left(&self) {
        self.link.set_joined(false);
        self.judge();
    }

    /// Something that was on its way here was lost.
    pub(crate) fn has_missed(&self) {
        self.state.lock().peers.miss_all();
        self.doubt();
    }

    /// Something was heard that cannot be read, perhaps of a later release: whatever it told of is
    /// looked for in the store soon, once for all that comes within [`UNKNOWN_DOUBT_INTERVAL`].
    pub(crate) fn heard_unknown(&self) {
        self.unknown_heard.store(true, Ordering::Relaxed);
    }

    /// A signal was heard, on this channel.
    pub(crate) fn hear(&self, audience: &Audience, bytes: &[u8]) {
        let now = Instant::now();
        match signal::decode(bytes) {
            Some((process, Signal::Beat(_))) if process == self.link.process => {
                if let Audience::Nodes(tag) = audience {
                    self.state.lock().heard_at.insert(*tag, now);
                    self.judge();
                }
            }
            Some((process, Signal::Beat(beat))) => {
                // What is asked before one's own way is known to be open may be asked twice.
                let up = self.link.is_up();
                let shown = self.state.lock().peers.beat(process, beat, now, up);
                if shown.doubt {
                    self.doubt();
                }
                if let Some(after) = shown.ask {
                    self.send(process, Signal::Missed { after });
                }
            }
            Some((process, Signal::Bye)) => self.state.lock().peers.leave(process),
            Some((process, Signal::Missed { after })) => {
                // Beyond the bound: they ask again.
                let _ = self.asking.try_send((process, after));
            }
            Some((
                process,
                Signal::Again {
                    events,
                    last,
                    up_to,
                },
            )) => {
                events.iter().for_each(|event| self.hear_again(event));
                if last {
                    self.state.lock().peers.answered(process, up_to);
                }
            }
            None => {}
        }
    }

    fn hear_again(&self, event: &[u8]) {
        match (
            envelope::decode(self.link.process, event),
            self.listener.get(),
        ) {
            (Ok(Some(event)), Some(listener)) => listener.on_event(&event),
            (Err(error), _) => {
                self.heard_unknown();
                tracing::debug!(%error, "a notice told again is not known here");
            }
            _ => {}
        }
    }

    /// Says the last word: this node is not to be waited for. A last beat tells of losses that none has
    /// told of; if some were told of just now, those who ask for what they missed are answered first.
    pub(crate) async fn say_goodbye(&self) {
        if self.link.is_up() {
            self.say_beat().await;
            let told_at = self.losses_told.lock().1;
            if told_at.is_some_and(|at| at.elapsed() < ASK_AGAIN) {
                sleep(GOODBYE_LINGER).await;
            }
        }
        if let Ok(bytes) = signal::encode(self.link.process, &Signal::Bye)
            && self.link.is_up()
        {
            let tag = self.link.tags().first().copied().unwrap_or(0);
            let said = self.link.publish(channels::of_nodes(tag), &bytes);
            if !matches!(timeout(GOODBYE_TIMEOUT, said).await, Ok(Ok(()))) {
                tracing::debug!("redis did not take the goodbye");
            }
        }
        self.link.set_joined(false);
    }

    /// Says that this node is here, for ever.
    async fn beat(self: Arc<Self>) {
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = beats.tick() => {}
                () = self.now.notified() => {}
            }
            if !self.link.has_joined() || !self.link.commands.is_connected() {
                continue;
            }
            self.say_beat().await;
        }
    }

    async fn say_beat(&self) {
        let losses = self.link.losses();
        let beat = Signal::Beat(Beat {
            node: self.node.clone(),
            age: self.began.elapsed(),
            said: self.notices.said(),
            losses,
        });
        let Ok(bytes) = signal::encode(self.link.process, &beat) else {
            return;
        };
        let (link, bytes) = (&self.link, &bytes);
        let tags = link.tags().into_iter();
        let said = tags.map(|tag| link.publish(channels::of_nodes(tag), bytes));
        // One that is not taken in time is as good as none: the next one is due.
        let said = timeout(BEAT, futures_util::future::join_all(said)).await;
        if said.is_ok_and(|said| said.iter().all(Result::is_ok)) {
            let mut told = self.losses_told.lock();
            if told.0 != losses {
                *told = (losses, Some(Instant::now()));
            }
        }
    }

    /// Looks who can be heard, for ever.
    async fn watch(self: Arc<Self>) {
        let mut checks = interval(SILENCE_CHECK);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut doubted_at: Option<Instant> = None;
        loop {
            checks.tick().await;
            self.judge();
            let due = doubted_at.is_none_or(|at| at.elapsed() >= UNKNOWN_DOUBT_INTERVAL);
            if due && self.unknown_heard.swap(false, Ordering::Relaxed) {
                doubted_at = Some(Instant::now());
                self.doubt();
            }
            self.reconnect_if_deaf();
        }
    }

    /// Brings what is said of the link in line with what was heard.
    fn judge(&self) {
        let now = Instant::now();
        let tags = self.link.tags();
        let mut doubt = false;
        {
            let mut state = self.state.lock();
            let heard = |tag| {
                let at: Option<&Instant> = state.heard_at.get(tag);
                at.is_some_and(|at| now.saturating_duration_since(*at) <= SILENCE)
            };
            let hears_itself = !tags.is_empty() && tags.iter().all(heard);
            let up = self.link.has_joined() && self.link.commands.is_connected() && hears_itself;
            if self.link.set_up(up) {
                doubt = true;
                state.peers.miss_all();
            }
            if !up {
                state.peers.excuse_all(now);
            } else if state.peers.check(now) {
                ::metrics::counter!(metrics::SILENCES, "who" => "node").increment(1);
                tracing::warn!("a node is silent: heads are compared on its account");
                doubt = true;
            }
        }
        if doubt {
            self.doubt();
        }
    }

    /// Makes the connections anew if nothing has come by them for long, although they are there.
    fn reconnect_if_deaf(self: &Arc<Self>) {
        let deaf = {
            let state = self.state.lock();
            let heard = state.heard_at.values().max().copied();
            let since = heard.unwrap_or(state.since).max(state.since);
            self.link.has_joined() && !self.link.is_up() && since.elapsed() > DEAF_RECONNECT
        };
        if !deaf {
            return;
        }
        self.state.lock().since = Instant::now();
        let clients = [self.link.listening.clone(), self.link.commands.clone()];
        for (i, client) in clients.into_iter().enumerate() {
            // Until it succeeds, however long that takes; a second try would only follow the first.
            if !self.reconnecting[i].swap(true, Ordering::Relaxed) {
                let reconnecting = Reconnecting(Arc::clone(self), i);
                tokio::spawn(async move {
                    reconnect(&client).await;
                    drop(reconnecting);
                });
            }
        }
    }

    fn doubt(&self) {
        if let Some(listener) = self.listener.get() {
            listener.on_doubt();
        }
    }

    /// Answers those who ask for notices, for ever.
    async fn tell_again(self: Arc<Self>, mut asked: mpsc::Receiver<(u64, u64)>) {
        while let Some((process, mut after)) = asked.recv().await {
            let mut first = true;
            loop {
                let again = self.notices.after(after, NOTICES_BATCH_MAX);
                if again.forgotten && first {
                    ::metrics::counter!(metrics::NOTICES_FORGOTTEN).increment(1);
                }
                first = false;
                let encoded = again
                    .events
                    .iter()
                    .map(|event| envelope::encode(self.link.process, event));
                let last = again.events.len() < NOTICES_BATCH_MAX;
                after = again.up_to;
                let signal = Signal::Again {
                    events: encoded.filter_map(Result::ok).collect(),
                    last,
                    up_to: after,
                };
                let told = self.tell(process, signal).await;
                // An answer that does not get through is asked for again.
                if last || !told {
                    break;
                }
            }
        }
    }

    /// Says something to one process, in a task of its own.
    fn send(&self, process: u64, signal: Signal) {
        let (link, own) = (Arc::clone(&self.link), self.link.process);
        tokio::spawn(async move { say(&link, own, process, signal).await });
    }

    async fn tell(&self, process: u64, signal: Signal) -> bool {
        say(&self.link, self.link.process, process, signal).await
    }
}

/// A connection that is being made anew. Dropped in any way, it lets the next try begin.
struct Reconnecting(Arc<Pulse>, usize);

impl Drop for Reconnecting {
    fn drop(&mut self) {
        let Reconnecting(pulse, connection) = self;
        pulse.reconnecting[*connection].store(false, Ordering::Relaxed);
    }
}

async fn say(link: &Link, own: u64, process: u64, signal: Signal) -> bool {
    match signal::encode(own, &signal) {
        Ok(bytes) => link
            .publish(channels::of_process(process), &bytes)
            .await
            .is_ok(),
        Err(error) => {
            tracing::error!(%error, "a signal could not be encoded");
            false
        }
    }
}

async fn reconnect(client: &Client) {
    tracing::warn!("nothing comes from redis: connecting anew");
    if let Err(error) = client.force_reconnection().await {
        tracing::debug!(%error, "redis is not reached anew");
    }
}
