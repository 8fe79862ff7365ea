//! After the write: who is told what.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::announce;
use super::commit::{Committer, Outcome, Request, Turn};
use super::heads::Head;
use super::in_doubt::InDoubt;
use super::plan::{Action, Verdict};
use super::prepare::Planned;
use super::recent::{ResendKey, resend_key};
use crate::deadline::read;
use crate::error::{Error, Result};
use crate::metrics;
use crate::model::{ConversationId, Message, Seq};
use crate::ports::fleet::FleetEvent;
use crate::ports::store::NamedMessage;

/// What became of a plan.
pub(super) enum Fate {
    /// It is durable.
    Committed,
    /// There was nothing to write, and what it says is true.
    Proven,
    /// Nothing was written: the log has grown.
    Moved,
    /// Nothing was written: one of its messages was committed before.
    Duplicate,
    /// The store did not say. It may be durable, now or soon.
    Unknown(Error),
}

/// A request about to be refused, and why.
type Refusal = (ConversationId, Request, Error);

/// Requests of one conversation that an earlier attempt of unknown outcome had committed after all.
struct Found {
    /// Kept until they are announced: whatever is written next is announced after them.
    turn: Turn,
    /// As it was read before the messages were found; it may be older than they are.
    head: Option<Head>,
    requests: Vec<(Request, Arc<Message>)>,
}

impl Found {
    /// The messages, in the order of the log.
    fn messages(&self) -> Vec<Arc<Message>> {
        let requests = self.requests.iter();
        let mut messages: Vec<_> = requests.map(|(_, message)| Arc::clone(message)).collect();
        messages.sort_unstable_by_key(|message| message.seq);
        messages
    }

    /// The head, if it has seen all of the messages.
    fn current_head(&self) -> Option<&Head> {
        let last = self.requests.iter().map(|(_, message)| message.seq).max();
        self.head
            .as_ref()
            .filter(|head| Some(head.last_seq) >= last)
    }
}

impl Committer {
    /// Announces what was committed, answers who is done with, and lets the others try again.
    pub(super) async fn settle(&self, planned: Vec<Planned>, fates: Vec<Fate>) {
        let mut refusals = Vec::new();
        let mut found = Vec::new();
        let mut moved = Vec::new();
        let mut duplicates = Vec::new();
        for (planned, fate) in planned.into_iter().zip(fates) {
            match fate {
                Fate::Committed => {
                    self.announce(&planned);
                    self.answer(planned, &mut refusals, &mut found);
                }
                Fate::Proven => self.answer(planned, &mut refusals, &mut found),
                Fate::Moved => moved.push(planned),
                Fate::Duplicate => duplicates.push(planned.turn),
                Fate::Unknown(error) => self.doubt(planned, &error),
            }
        }
        self.answer_found(found).await;
        self.catch_up(moved).await;
        self.answer_resends(refusals, duplicates).await;
    }

    /// The one place where a message becomes known: it is durable now.
    fn announce(&self, planned: &Planned) {
        let (conversation, messages) = (planned.turn.conversation, &planned.plan.messages);
        let Some(head) = &planned.plan.head else {
            return;
        };
        let durable = Instant::now();
        let written = planned.turn.requests.iter().zip(&planned.plan.verdicts);
        let sent: Vec<_> = written
            .filter(|(request, verdict)| {
                matches!(verdict, Verdict::Write(_))
                    && matches!(request.wanted.action, Action::Send(_))
            })
            .map(|(request, _)| request.age())
            .collect();
        metrics::messages_accepted(sent.len());
        metrics::persisted(sent.into_iter());
        self.heads.keep(conversation, head.clone());
        messages
            .iter()
            .for_each(|message| self.recent.remember(message));
        announce::committed(&*self.fleet, conversation, head, messages);
        metrics::published(durable.elapsed());
    }

    /// Answers what a true plan says; what it refuses is left to be looked into, and what was found to
    /// be committed before, to be announced.
    fn answer(&self, planned: Planned, refusals: &mut Vec<Refusal>, all_found: &mut Vec<Found>) {
        let Planned { mut turn, plan, .. } = planned;
        let conversation = turn.conversation;
        let mut found = Vec::new();
        let mut in_doubt = false;
        for (request, verdict) in turn.requests.drain(..).zip(plan.verdicts) {
            match verdict {
                Verdict::Write(place) => {
                    in_doubt |= request.doubtful;
                    request.answer(Ok(Outcome::Written(Arc::clone(&plan.messages[place]))));
                }
                Verdict::Repeat(place) => answer_again(request, &plan.messages[place]),
                Verdict::Done(message) if request.doubtful => {
                    if matches!(request.wanted.action, Action::Send(_)) {
                        metrics::messages_accepted(1);
                        metrics::persisted(std::iter::once(request.age()));
                    }
                    found.push((request, message));
                }
                Verdict::Done(message) => answer_again(request, &message),
                Verdict::Unchanged => request.answer(Ok(Outcome::Unchanged)),
                Verdict::Refused(error) => refusals.push((conversation, request, error)),
            }
        }
        if in_doubt {
            self.in_doubt.announced(conversation, &plan.messages);
        }
        if !found.is_empty() {
            all_found.push(Found {
                turn,
                head: plan.head,
                requests: found,
            });
        }
    }

    /// Others have written meanwhile: the fleet is told how far, for their hint may be lost, and
    /// all is decided again.
    async fn catch_up(&self, moved: Vec<Planned>) {
        if moved.is_empty() {
            return;
        }
        let ids: Vec<_> = moved.iter().map(|p| p.turn.conversation).collect();
        ids.iter().for_each(|id| self.heads.forget(*id));
        let heads = self.heads.load(&ids).await;
        for Planned { turn, base, .. } in moved {
            metrics::retried("moved");
            self.rivals.met(turn.conversation);
            let known = base.map_or(0, |head| head.last_seq);
            match &heads {
                Ok(heads) => {
                    let head = heads.get(&turn.conversation);
                    let head = head.map_or(0, |head| head.last_seq);
                    if head < known {
                        self.epochs.found_rewound(turn.conversation, known, head);
                    }
                    self.tell_head(turn.conversation, known, head);
                }
                Err(_) => self.in_doubt.watch(InDoubt::Append {
                    conversation: turn.conversation,
                    known,
                    changes: Vec::new(),
                }),
            }
            turn.retry();
        }
    }

    fn tell_head(&self, conversation: ConversationId, known: Seq, head: Seq) {
        if head > known {
            self.fleet.publish(FleetEvent::Head { conversation, head });
        }
    }

    /// The outcome is unknown: nothing in memory is believed any more, and whatever is tried again
    /// is first looked for.
    fn doubt(&self, planned: Planned, error: &Error) {
        let Planned { mut turn, base, .. } = planned;
        self.heads.forget(turn.conversation);
        let known = base.map_or(0, |head| head.last_seq);
        let requests = turn.requests.iter();
        let changes = requests.filter_map(|request| request.change());
        self.in_doubt.watch(InDoubt::Append {
            conversation: turn.conversation,
            known,
            changes: changes.collect(),
        });
        turn.requests
            .iter_mut()
            .for_each(|request| request.doubtful = true);
        metrics::retried("unknown");
        turn.retry_or_refuse(error);
    }

    /// Before a message that has a `clientMsgId` is refused, and after an append was refused as a
    /// duplicate: what was committed under that name before is the answer.
    async fn answer_resends(&self, refusals: Vec<Refusal>, duplicates: Vec<Turn>) {
        let refused = refusals
            .iter()
            .map(|(conversation, request, _)| request.resend_key(*conversation));
        let repeated = duplicates.iter().flat_map(|turn| {
            let requests = turn.requests.iter();
            requests.map(|request| request.resend_key(turn.conversation))
        });
        let first = self.first_results(refused.chain(repeated).flatten().collect());
        let first = first.await;
        for (conversation, request, error) in refusals {
            match first_result(&first, conversation, &request) {
                Ok(None) => request.answer(Err(error)),
                Ok(Some(first)) => self.answer_first(request, first),
                Err(error) => request.answer(Err(error)),
            }
        }
        for mut turn in duplicates {
            metrics::retried("duplicate");
            let mut rest = Vec::with_capacity(turn.requests.len());
            for mut request in turn.requests.drain(..) {
                match first_result(&first, turn.conversation, &request) {
                    Ok(Some(first)) => self.answer_first(request, first),
                    // Nothing of the append was written, so the others may still be. One of them
                    // may have been, by an earlier try that landed late.
                    Ok(None) | Err(_) => {
                        request.doubtful = true;
                        rest.push(request);
                    }
                }
            }
            turn.requests = rest;
            turn.retry();
        }
    }

    /// Answers with what was committed before, if it was sent with the same content. Whoever committed it
    /// may not have come to announce it, so the fleet is told that the log reaches so far.
    fn answer_first(&self, request: Request, NamedMessage { message, sent }: NamedMessage) {
        if let Action::Send(command) = &request.wanted.action
            && let Err(error) = command.must_repeat(&message, sent)
        {
            return request.answer(Err(error));
        }
        let message = Arc::new(message);
        self.recent.remember(&message);
        self.tell_again(&message);
        answer_again(request, &message);
    }

    /// Tells how far the log reaches at least, for a message that was committed before.
    pub(crate) fn tell_again(&self, message: &Message) {
        self.tell_head(message.conversation, 0, message.seq);
    }

    /// Announces what an earlier attempt of unknown outcome had committed after all, for that attempt
    /// announced nothing, and answers.
    async fn answer_found(&self, all: Vec<Found>) {
        let stale = all.iter().filter(|found| found.current_head().is_none());
        let stale: Vec<ConversationId> = stale.map(|found| found.turn.conversation).collect();
        let mut loaded = self.heads.load(&stale).await.unwrap_or_default();
        for mut found in all {
            let id = found.turn.conversation;
            if found.current_head().is_none() {
                found.head = loaded.remove(&id);
            }
            let messages = found.messages();
            messages.iter().for_each(|m| self.recent.remember(m));
            if let Some(head) = found.current_head() {
                let conversation = Arc::new(head.conversation(id));
                announce::found(&*self.fleet, &conversation, &messages);
                self.in_doubt.announced(id, &messages);
            } else if let Some(last) = messages.last() {
                // The store does not answer now: changes among them are announced by who watches.
                self.tell_again(last);
            }
            for (request, message) in found.requests {
                answer_again(request, &message);
            }
        }
    }

    async fn first_results(
        &self,
        mut keys: Vec<ResendKey>,
    ) -> Result<HashMap<ResendKey, NamedMessage>> {
        keys.sort_unstable();
        keys.dedup();
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let found = read(self.store.messages_by_client_id(&keys)).await?;
        Ok(found
            .into_iter()
            .filter_map(|found| Some((resend_key(&found.message)?, found)))
            .collect())
    }
}

/// What was committed under this request's name; an error if the store does not say.
fn first_result(
    found: &Result<HashMap<ResendKey, NamedMessage>>,
    conversation: ConversationId,
    request: &Request,
) -> Result<Option<NamedMessage>> {
    let Some(key) = request.resend_key(conversation) else {
        return Ok(None);
    };
    match found {
        Ok(found) => Ok(found.get(&key).cloned()),
        Err(error) => Err(error.clone()),
    }
}

fn answer_again(request: Request, message: &Arc<Message>) {
    metrics::resend_answered();
    request.answer(Ok(Outcome::Written(Arc::clone(message))));
}
