//! Group commit: what waits at the same moment shares one write to the store.
//!
//! ```text
//! submit ─→ queue ─→ take what waits ─→ heads, references ─→ plan ─→ append ─→ settle
//!             ↑                                                        │
//!             └── moved: another node changed the conversation ────────┤  announce, answer
//!             └── duplicate: the rest without the resend ──────────────┘
//! ```
//!
//! Nothing waits for a timer: a write takes with it what tasks that are ready have to send, and while
//! it is under way the next one gathers. Whoever asked may
//! have gone meanwhile; what was accepted is committed and announced all the same.
//!
//! Where other nodes write too, a conversation has a write of its own, and goes behind what they
//! wrote: see `rivals`.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

use super::heads::Heads;
use super::in_doubt::{InDoubt, InDoubtWrites};
use super::plan::{Action, Wanted};
use super::prepare::Planned;
use super::queue::{Lane, Queue};
use super::recent::{Recent, ResendKey};
use super::rivals::Rivals;
use super::settle::Fate;
use crate::clock::Clock;
use crate::deadline::write;
use crate::epoch::Epochs;
use crate::error::{Error, Result};
use crate::limits::{
    COMMIT_BACKOFF_MAX, COMMIT_BATCH_MAX, COMMIT_QUEUE_MAX, COMMIT_TIMEOUT,
    COMMITS_ALONE_IN_FLIGHT_MAX, COMMITS_IN_FLIGHT_MAX, STORE_BACKOFF_MAX, STORE_RETRY_SPAN,
};
use crate::metrics;
use crate::model::{ConversationId, Message, MessageId};
use crate::ports::fleet::Fleet;
use crate::ports::store::{Append, Appended, Store};

/// What became of a request that broke no rule.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// It is in the log, now or since the first time it was sent.
    Written(Arc<Message>),
    /// All was as wanted.
    Unchanged,
}

/// Writes what is submitted.
pub(crate) struct Committer {
    pub(super) store: Arc<dyn Store>,
    pub(super) fleet: Arc<dyn Fleet>,
    pub(super) heads: Arc<Heads>,
    pub(super) epochs: Arc<Epochs>,
    pub(super) recent: Arc<Recent>,
    pub(super) in_doubt: Arc<InDoubtWrites>,
    pub(super) rivals: Rivals,
    pub(super) clock: Arc<Clock>,
    queue: Mutex<Queue<Request>>,
    /// A permit for each request that may be accepted and unanswered.
    room: Arc<Semaphore>,
}

/// A request that was accepted and not yet answered.
pub(super) struct Request {
    pub(super) wanted: Wanted,
    accepted: Instant,
    attempts: u32,
    /// Whether a write of it may have happened, or may still: before it is tried again, the store
    /// is asked whether its id is there.
    pub(super) doubtful: bool,
    reply: oneshot::Sender<Result<Outcome>>,
    _room: OwnedSemaphorePermit,
}

/// A conversation that is being written. While it lives, nobody else writes there from this node;
/// dropped in any way, it lets the next in.
pub(super) struct Turn {
    committer: Arc<Committer>,
    pub(super) conversation: ConversationId,
    pub(super) requests: Vec<Request>,
    /// In which its writer will look for more work when it ends.
    lane: Lane,
    /// Whether its writer has let it go, and will not look for more work when it ends.
    let_go: bool,
}

impl Committer {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        fleet: Arc<dyn Fleet>,
        heads: Arc<Heads>,
        clock: Arc<Clock>,
        epochs: Arc<Epochs>,
    ) -> Arc<Committer> {
        let recent = Arc::new(Recent::new());
        let in_doubt =
            InDoubtWrites::new(Arc::clone(&store), Arc::clone(&fleet), Arc::clone(&recent));
        Arc::new(Committer {
            clock,
            in_doubt,
            store,
            fleet,
            heads,
            epochs,
            recent,
            rivals: Rivals::new(),
            queue: Mutex::new(Queue::new(
                COMMITS_IN_FLIGHT_MAX,
                COMMITS_ALONE_IN_FLIGHT_MAX,
            )),
            room: Arc::new(Semaphore::new(COMMIT_QUEUE_MAX)),
        })
    }

    /// What was committed lately.
    pub(crate) fn recent(&self) -> &Arc<Recent> {
        &self.recent
    }

    /// The writes of this node whose outcome is unknown.
    pub(crate) fn in_doubt(&self) -> &Arc<InDoubtWrites> {
        &self.in_doubt
    }

    /// Decides and writes an action; returns when it is durable. It has its place in the order of
    /// the conversation from the first poll on.
    pub(crate) async fn commit(
        self: &Arc<Self>,
        conversation: ConversationId,
        action: Action,
    ) -> Result<Outcome> {
        let answer = self.submit(conversation, action)?;
        match tokio::time::timeout(COMMIT_TIMEOUT, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Error::unavailable("the write was given up")),
            Err(_) => Err(Error::unavailable("the write takes too long")),
        }
    }

    /// Waits until all that was accepted is answered. Meanwhile nothing new is accepted.
    pub(crate) async fn drain(&self) {
        // An error would mean that the semaphore was closed, which nobody does.
        let _all = self.room.acquire_many(COMMIT_QUEUE_MAX as u32).await;
    }

    fn submit(
        self: &Arc<Self>,
        conversation: ConversationId,
        action: Action,
    ) -> Result<oneshot::Receiver<Result<Outcome>>> {
        let accepted_at = self.clock.now()?;
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            return Err(Error::unavailable("too many messages wait to be written"));
        };
        let (reply, answer) = oneshot::channel();
        let request = Request {
            wanted: Wanted {
                id: match &action {
                    Action::Send(command) => command.id,
                    // Gateways that missed an addition find it by the time in its id.
                    Action::Change { .. } => MessageId::generate_at(accepted_at),
                },
                accepted_at,
                action,
                done: None,
            },
            accepted: Instant::now(),
            attempts: 0,
            doubtful: false,
            reply,
            _room: room,
        };
        let lane = self.rivals.lane(conversation);
        let enlisted = {
            let mut queue = self.queue.lock();
            queue.push(conversation, lane, request);
            queue.enlist_writer()
        };
        self.start_writer(enlisted);
        Ok(answer)
    }

    /// Starts a writer that was enlisted.
    fn start_writer(self: &Arc<Self>, enlisted: Option<Lane>) {
        let Some(lane) = enlisted else {
            return;
        };
        let enlisted = Enlisted {
            committer: Arc::clone(self),
            lane,
        };
        tokio::spawn(async move {
            // Whoever is about to send at this moment does so first, and shares the write.
            tokio::task::yield_now().await;
            while let Some(turns) = enlisted.next() {
                enlisted.committer.write(turns, lane).await;
            }
        });
    }

    /// Writes what these turns hold, in one call to the store.
    async fn write(self: &Arc<Self>, turns: Vec<Turn>, lane: Lane) {
        metrics::queue_length(COMMIT_QUEUE_MAX - self.room.available_permits());
        let mut planned = self.prepare(turns).await;
        let fates = self.append(&mut planned, lane).await;
        self.settle(planned, fates).await;
    }

    /// The write itself; what became of each plan, in order.
    async fn append(&self, planned: &mut [Planned], lane: Lane) -> Vec<Fate> {
        let mut appends: Vec<Append> = planned.iter().filter_map(Planned::append).collect();
        if appends.is_empty() {
            return planned.iter().map(|_| Fate::Proven).collect();
        }
        metrics::batch_written(appends.iter().map(|append| append.messages.len()).sum());
        // Nothing goes behind a time that is ahead: what takes it back has to be in its place.
        let may_go_behind = planned.iter().all(|planned| !planned.takes_time_back());
        let answer = match lane {
            Lane::Alone if may_go_behind && let [_] = appends[..] => {
                let append = appends.remove(0);
                let answer = write(self.store.append_behind(append)).await;
                answer.map(|answer| vec![answer])
            }
            _ => write(self.store.append(appends)).await,
        };
        let mut answers = answer.map(Vec::into_iter);
        planned
            .iter_mut()
            .map(|planned| {
                if planned.plan.messages.is_empty() {
                    return Fate::Proven;
                }
                match &mut answers {
                    Ok(answers) => match answers.next() {
                        Some(Appended::Committed) => Fate::Committed,
                        Some(Appended::Behind(end)) => {
                            metrics::went_behind();
                            self.rivals.met(planned.turn.conversation);
                            planned.plan.put_behind(end);
                            Fate::Committed
                        }
                        Some(Appended::Moved) => Fate::Moved,
                        Some(Appended::Duplicate) => Fate::Duplicate,
                        None => Fate::Unknown(Error::unavailable("the store left out an answer")),
                    },
                    Err(error) => Fate::Unknown(error.clone()),
                }
            })
            .collect()
    }
}

/// A writer that counts as at work, until it finds nothing to do or is dropped.
struct Enlisted {
    committer: Arc<Committer>,
    lane: Lane,
}

impl Enlisted {
    /// What waits; `None` if nothing does.
    fn next(&self) -> Option<Vec<Turn>> {
        let mut queue = self.committer.queue.lock();
        let taken = queue.take(self.lane, COMMIT_BATCH_MAX);
        drop(queue);
        if taken.is_empty() {
            return None;
        }
        let turns = taken.into_iter().map(|(conversation, requests)| Turn {
            committer: Arc::clone(&self.committer),
            conversation,
            requests,
            lane: self.lane,
            let_go: false,
        });
        Some(turns.collect())
    }
}

impl Drop for Enlisted {
    /// What came since the last look, or is left over after a panic, is for the next writer.
    fn drop(&mut self) {
        let enlisted = {
            let mut queue = self.committer.queue.lock();
            queue.dismiss_writer(self.lane);
            queue.enlist_writer()
        };
        self.committer.start_writer(enlisted);
    }
}

impl Request {
    pub(super) fn age(&self) -> Duration {
        self.accepted.elapsed()
    }

    pub(super) fn answer(self, answer: Result<Outcome>) {
        // Whoever asked may have gone; the outcome stands.
        let _ = self.reply.send(answer);
    }

    /// Its id, if it changes the conversation.
    pub(super) fn change(&self) -> Option<MessageId> {
        matches!(self.wanted.action, Action::Change { .. }).then_some(self.wanted.id)
    }

    /// The sender's own name for it, if it has one.
    pub(super) fn resend_key(&self, conversation: ConversationId) -> Option<ResendKey> {
        let Action::Send(command) = &self.wanted.action else {
            return None;
        };
        let name = command.client_msg_id.clone()?;
        Some((conversation, command.sender, name))
    }
}

impl Turn {
    /// Ends the turn; what is left is tried again, for as long as somebody waits for it.
    pub(super) fn retry(self) {
        let given_up = |request: &Request| request.age() >= COMMIT_TIMEOUT;
        let error = Error::unavailable("others write there too fast");
        self.try_later(given_up, &error, COMMIT_BACKOFF_MAX);
    }

    /// Ends the turn, for the store did not answer; what is young is tried again, the rest is
    /// refused.
    pub(super) fn retry_or_refuse(self, error: &Error) {
        let given_up = |request: &Request| request.age() >= STORE_RETRY_SPAN;
        self.try_later(given_up, error, STORE_BACKOFF_MAX);
    }

    fn try_later(mut self, given_up: impl Fn(&Request) -> bool, error: &Error, longest: Duration) {
        let mut wait = Duration::ZERO;
        for request in &mut self.requests {
            request.attempts += 1;
            wait = wait.max(backoff(request.attempts, longest));
        }
        for request in self.requests.extract_if(.., |request| given_up(request)) {
            request.answer(Err(error.clone()));
        }
        if !wait.is_zero() && !self.requests.is_empty() {
            // Other conversations need not wait for this one.
            self.let_go = true;
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                drop(self);
            });
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut undone = std::mem::take(&mut self.requests);
        if std::thread::panicking() {
            // What could not be done without a panic is not tried again; those who asked are told.
            // Something may be durable and not announced.
            undone.clear();
            self.committer.heads.forget(self.conversation);
            self.committer.in_doubt.watch(InDoubt::Append {
                conversation: self.conversation,
                known: 0,
                changes: Vec::new(),
            });
        }
        let lane = self.committer.rivals.lane(self.conversation);
        let enlisted = {
            let mut queue = self.committer.queue.lock();
            queue.end_turn(self.conversation, lane, undone);
            let looked_after = lane == self.lane && !self.let_go;
            if looked_after {
                None
            } else {
                queue.enlist_writer()
            }
        };
        self.committer.start_writer(enlisted);
    }
}

/// How long to wait before this attempt: at first not at all, then longer each time, less a random
/// part of it, so that nodes that collided come apart.
fn backoff(attempt: u32, longest: Duration) -> Duration {
    if attempt <= 1 {
        return Duration::ZERO;
    }
    let longest = Duration::from_millis(1 << attempt.min(10)).min(longest);
    let part = getrandom::u32().unwrap_or(u32::MAX / 2);
    longest.mul_f64(0.5 + 0.5 * f64::from(part) / f64::from(u32::MAX))
}
