//! What waits to be written, by conversation. A conversation is in one turn at a time, so its
//! requests are decided and written in the order in which they came.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;

use crate::model::ConversationId;

/// How a conversation is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// In one write with what else waits.
    Shared,
    /// In a write of its own.
    Alone,
}

/// Requests in order, by conversation.
pub(crate) struct Queue<R> {
    waiting: HashMap<ConversationId, Line<R>, RandomState>,
    shared: Ready,
    alone: Ready,
}

struct Line<R> {
    requests: VecDeque<R>,
    /// Whether a turn has been taken and not yet ended.
    busy: bool,
}

/// What one lane has to do.
struct Ready {
    /// Conversations with something to do that are in nobody's turn; each once, in one lane.
    conversations: VecDeque<ConversationId>,
    /// Writers at work.
    writers: usize,
    writers_max: usize,
}

impl Ready {
    fn new(writers_max: usize) -> Ready {
        Ready {
            conversations: VecDeque::new(),
            writers: 0,
            writers_max,
        }
    }
}

impl<R> Queue<R> {
    /// Nothing waits. So many writers may be at work in each lane.
    pub(crate) fn new(shared_max: usize, alone_max: usize) -> Queue<R> {
        Queue {
            waiting: HashMap::default(),
            shared: Ready::new(shared_max),
            alone: Ready::new(alone_max),
        }
    }

    fn ready(&mut self, lane: Lane) -> &mut Ready {
        match lane {
            Lane::Shared => &mut self.shared,
            Lane::Alone => &mut self.alone,
        }
    }

    /// Adds a request behind the others of its conversation; its next turn is in this lane, unless
    /// it waits for one already.
    pub(crate) fn push(&mut self, conversation: ConversationId, lane: Lane, request: R) {
        let line = self.waiting.entry(conversation).or_insert_with(|| Line {
            requests: VecDeque::new(),
            busy: false,
        });
        line.requests.push_back(request);
        if !line.busy && line.requests.len() == 1 {
            self.ready(lane).conversations.push_back(conversation);
        }
    }

    /// A lane in which one more writer would find work. If so it counts as at work.
    pub(crate) fn enlist_writer(&mut self) -> Option<Lane> {
        [Lane::Shared, Lane::Alone].into_iter().find(|lane| {
            let ready = self.ready(*lane);
            let wanted = !ready.conversations.is_empty() && ready.writers < ready.writers_max;
            ready.writers += usize::from(wanted);
            wanted
        })
    }

    /// A writer goes.
    pub(crate) fn dismiss_writer(&mut self, lane: Lane) {
        self.ready(lane).writers -= 1;
    }

    /// Takes what waits in a lane, at most `max` requests, from conversations that are in no other
    /// turn; from one conversation, if it is written alone. Each of them must be ended with
    /// [`Self::end_turn`]. Empty: nothing to do.
    pub(crate) fn take(&mut self, lane: Lane, max: usize) -> Vec<(ConversationId, Vec<R>)> {
        let mut turns = Vec::new();
        let mut room = max;
        while room > 0
            && (lane == Lane::Shared || turns.is_empty())
            && let Some(conversation) = self.ready(lane).conversations.pop_front()
        {
            let Some(line) = self.waiting.get_mut(&conversation) else {
                continue;
            };
            line.busy = true;
            let taken = line.requests.len().min(room);
            room -= taken;
            turns.push((conversation, line.requests.drain(..taken).collect()));
        }
        turns
    }

    /// Ends a turn; what was not done goes back before what came meanwhile. The next turn is in this
    /// lane.
    pub(crate) fn end_turn(&mut self, conversation: ConversationId, lane: Lane, undone: Vec<R>) {
        let Some(line) = self.waiting.get_mut(&conversation) else {
            return;
        };
        for request in undone.into_iter().rev() {
            line.requests.push_front(request);
        }
        line.busy = false;
        if line.requests.is_empty() {
            self.waiting.remove(&conversation);
        } else {
            self.ready(lane).conversations.push_back(conversation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Lane::{Alone, Shared};
    use super::*;

    fn ids() -> [ConversationId; 2] {
        [
            ConversationId::from_bytes([1; 12]),
            ConversationId::from_bytes([2; 12]),
        ]
    }

    #[test]
    fn a_conversation_is_in_one_turn_at_a_time_and_keeps_its_order() {
        let mut queue = Queue::new(1, 1);
        let [a, b] = ids();
        for n in 0..4 {
            queue.push(a, Shared, n);
        }
        queue.push(b, Shared, 10);
        assert_eq!(queue.take(Shared, 3), [(a, vec![0, 1, 2])]);
        queue.push(a, Shared, 4);
        assert_eq!(queue.take(Shared, 3), [(b, vec![10])], "a is busy");
        assert_eq!(queue.take(Shared, 3), []);
        queue.end_turn(a, Shared, vec![1, 2]);
        queue.end_turn(b, Shared, vec![]);
        assert_eq!(queue.take(Shared, 100), [(a, vec![1, 2, 3, 4])]);
        queue.end_turn(a, Shared, vec![]);
        assert!(queue.waiting.is_empty() && queue.shared.conversations.is_empty());
    }

    #[test]
    fn one_batch_takes_from_many_conversations() {
        let mut queue = Queue::new(1, 1);
        let [a, b] = ids();
        queue.push(a, Shared, 1);
        queue.push(b, Shared, 2);
        queue.push(a, Shared, 3);
        assert_eq!(queue.take(Shared, 100), [(a, vec![1, 3]), (b, vec![2])]);
    }

    #[test]
    fn what_is_written_alone_keeps_nobody_waiting() {
        let mut queue = Queue::new(1, 2);
        let [a, b] = ids();
        queue.push(a, Alone, 1);
        queue.push(b, Alone, 2);
        assert_eq!(queue.take(Shared, 100), []);
        assert_eq!(queue.take(Alone, 100), [(a, vec![1])]);
        assert_eq!(queue.take(Alone, 100), [(b, vec![2])]);
        // From then on it is written with others again.
        queue.push(a, Alone, 3);
        queue.end_turn(a, Shared, vec![]);
        assert_eq!(queue.take(Alone, 100), []);
        assert_eq!(queue.take(Shared, 100), [(a, vec![3])]);
    }

    #[test]
    fn writers_are_enlisted_while_there_is_work_and_room() {
        let mut queue = Queue::new(2, 1);
        let [a, b] = ids();
        assert_eq!(queue.enlist_writer(), None);
        queue.push(a, Shared, 1);
        assert_eq!(queue.enlist_writer(), Some(Shared));
        assert_eq!(queue.enlist_writer(), Some(Shared));
        assert_eq!(queue.enlist_writer(), None);
        queue.push(b, Alone, 2);
        assert_eq!(queue.enlist_writer(), Some(Alone));
        assert_eq!(queue.enlist_writer(), None);
        queue.dismiss_writer(Shared);
        assert_eq!(queue.enlist_writer(), Some(Shared));
        queue.take(Shared, 1);
        queue.dismiss_writer(Shared);
        assert_eq!(queue.enlist_writer(), None, "nothing is ready");
    }
}
