//! Before the write: what the plans of a batch are made from.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::commit::{Committer, Request, Turn};
use super::heads::Head;
use super::plan::{Action, Plan, References};
use crate::deadline::read;
use crate::error::{Error, Result};
use crate::limits::COMMIT_TIMEOUT;
use crate::metrics;
use crate::model::{ConversationId, MessageId, UserId};
use crate::ports::store::Append;

/// A turn with what will be written in it.
pub(super) struct Planned {
    pub(super) turn: Turn,
    /// The head the plan was made on; `None`: there is no such conversation.
    pub(super) base: Option<Head>,
    /// Whether that head was read from the store for this plan.
    fresh: bool,
    pub(super) plan: Plan,
}

impl Planned {
    fn make(
        committer: &Committer,
        turn: Turn,
        base: Option<Head>,
        fresh: bool,
        references: &References,
    ) -> Planned {
        let wanted = turn.requests.iter().map(|request| &request.wanted);
        // What is ahead by a mistake is taken back only by a node that knows the time.
        let head = match committer.clock.now() {
            Ok(now) => base.clone().map(|head| head.taking_time_back(now)),
            Err(_) => base.clone(),
        };
        let plan = Plan::make(
            turn.conversation,
            head,
            wanted,
            &committer.recent,
            references,
        );
        Planned {
            turn,
            base,
            fresh,
            plan,
        }
    }

    /// Whether the plan takes back a time of its log that is ahead.
    pub(super) fn takes_time_back(&self) -> bool {
        match (&self.base, &self.plan.head) {
            (Some(base), Some(head)) => head.updated_at < base.updated_at,
            _ => false,
        }
    }

    pub(super) fn append(&self) -> Option<Append> {
        let base = self.base.as_ref()?;
        (!self.plan.messages.is_empty()).then(|| Append {
            conversation: self.turn.conversation,
            expected_seq: base.last_seq,
            messages: self.plan.messages.clone(),
            changes: self.plan.changes.clone(),
        })
    }
}

impl Committer {
    /// Plans each turn. Those that come to nothing are ended here and left out.
    pub(super) async fn prepare(&self, turns: Vec<Turn>) -> Vec<Planned> {
        let (turns, mut heads) = self.with_heads(turns).await;
        // In this order: what lands after the heads were read makes the append fail.
        let turns = self.without_doubt(turns).await;
        let references = self.references(&turns, &heads).await;
        let (unproven, mut planned): (Vec<_>, Vec<_>) = turns
            .into_iter()
            .map(|turn| {
                let (head, fresh) = heads.remove(&turn.conversation).unwrap_or((None, true));
                Planned::make(self, turn, head, fresh, &references)
            })
            .partition(|planned| !planned.fresh && planned.plan.needs_proof());
        // What is refused on a head from memory, and not proven by an append on that head, is
        // decided again on a head from the store: another node may have changed it.
        planned.extend(self.again(unproven, &references).await);
        planned
    }

    /// The turns whose head is known, and those heads; true: read just now.
    async fn with_heads(
        &self,
        turns: Vec<Turn>,
    ) -> (Vec<Turn>, HashMap<ConversationId, (Option<Head>, bool)>) {
        let mut heads = HashMap::with_capacity(turns.len());
        let mut missing = Vec::new();
        for turn in &turns {
            // What is in doubt is decided on what the store says now.
            let doubtful = turn.requests.iter().any(|request| request.doubtful);
            match self.heads.cached(turn.conversation).filter(|_| !doubtful) {
                Some(head) => {
                    heads.insert(turn.conversation, (Some(head), false));
                }
                None => missing.push(turn.conversation),
            }
        }
        metrics::heads_found(heads.len(), missing.len());
        let loaded = self.heads.load(&missing).await;
        if let Ok(loaded) = &loaded {
            for id in missing {
                heads.insert(id, (loaded.get(&id).cloned(), true));
            }
        }
        let mut known = Vec::with_capacity(turns.len());
        for mut turn in turns {
            refuse_late(&mut turn);
            match &loaded {
                _ if turn.requests.is_empty() => {}
                Err(error) if !heads.contains_key(&turn.conversation) => {
                    turn.retry_or_refuse(error);
                }
                _ => known.push(turn),
            }
        }
        (known, heads)
    }

    /// Finds out which of the requests in doubt were committed after all.
    async fn without_doubt(&self, turns: Vec<Turn>) -> Vec<Turn> {
        let doubtful = |request: &&Request| request.doubtful;
        let requests = turns.iter().flat_map(|turn| &turn.requests);
        let ids: Vec<MessageId> = requests.filter(doubtful).map(|r| r.wanted.id).collect();
        if ids.is_empty() {
            return turns;
        }
        let found = read(self.store.messages(&ids)).await;
        let mut certain = Vec::with_capacity(turns.len());
        for mut turn in turns {
            match &found {
                Err(error) if turn.requests.iter().any(|r| r.doubtful) => {
                    turn.retry_or_refuse(error);
                    continue;
                }
                Err(_) => {}
                Ok(found) => {
                    for request in turn.requests.iter_mut().filter(|r| r.doubtful) {
                        let done = found.iter().find(|m| m.id == request.wanted.id);
                        request.wanted.done = done.map(|message| Arc::new(message.clone()));
                    }
                }
            }
            certain.push(turn);
        }
        certain
    }

    async fn again(&self, unproven: Vec<Planned>, references: &References) -> Vec<Planned> {
        let ids: Vec<_> = unproven.iter().map(|p| p.turn.conversation).collect();
        let mut planned = Vec::with_capacity(unproven.len());
        match self.heads.load(&ids).await {
            Ok(loaded) => planned.extend(unproven.into_iter().map(|old| {
                let head = loaded.get(&old.turn.conversation).cloned();
                Planned::make(self, old.turn, head, true, references)
            })),
            Err(error) => {
                let turns = unproven.into_iter().map(|planned| planned.turn);
                turns.for_each(|turn| turn.retry_or_refuse(&error));
            }
        }
        planned
    }

    /// What is known of the messages that are answered by these requests.
    async fn references(
        &self,
        turns: &[Turn],
        heads: &HashMap<ConversationId, (Option<Head>, bool)>,
    ) -> References {
        let mut references = References::default();
        if let Err(error) = self.look_up(turns, heads, &mut references).await {
            references.failed = Some(error);
        }
        references
    }

    async fn look_up(
        &self,
        turns: &[Turn],
        heads: &HashMap<ConversationId, (Option<Head>, bool)>,
        references: &mut References,
    ) -> Result<()> {
        let mut unknown: BTreeSet<MessageId> = BTreeSet::new();
        for target in turns.iter().flat_map(targets).map(|(_, target)| target) {
            match self.recent.place(target) {
                Some(place) => {
                    references.places.insert(target, place);
                }
                None => {
                    unknown.insert(target);
                }
            }
        }
        if !unknown.is_empty() {
            let unknown: Vec<_> = unknown.into_iter().collect();
            for message in read(self.store.messages(&unknown)).await? {
                let place = (message.conversation, message.seq);
                references.places.insert(message.id, place);
            }
        }
        // Only who answers something from before the last coming or going may have been away.
        let mut unsure: BTreeMap<UserId, BTreeSet<ConversationId>> = BTreeMap::new();
        for turn in turns {
            let settled_since = match heads.get(&turn.conversation) {
                Some((Some(head), _)) => head.settled_since,
                _ => 0,
            };
            for (sender, target) in targets(turn) {
                let place = references.places.get(&target);
                if place.is_some_and(|(_, seq)| *seq <= settled_since) {
                    unsure.entry(sender).or_default().insert(turn.conversation);
                }
            }
        }
        for (user, conversations) in unsure {
            let conversations: Vec<_> = conversations.into_iter().collect();
            for place in read(self.store.memberships(user, &conversations)).await? {
                let key = (place.conversation, user);
                references.members.insert(key, place);
            }
        }
        Ok(())
    }
}

/// Who answers what, in a turn.
fn targets(turn: &Turn) -> impl Iterator<Item = (UserId, MessageId)> + '_ {
    turn.requests
        .iter()
        .filter_map(|request| match &request.wanted.action {
            Action::Send(command) => Some((command.sender, command.reply_to?)),
            Action::Change { .. } => None,
        })
}

/// Nobody waits any longer for what is late: it is not written, so that a caller who has given it
/// up does not see it appear.
fn refuse_late(turn: &mut Turn) {
    for request in turn
        .requests
        .extract_if(.., |request| request.age() >= COMMIT_TIMEOUT)
    {
        request.answer(Err(Error::unavailable("the write takes too long")));
    }
}
