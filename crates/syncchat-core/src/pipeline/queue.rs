//! What waits to be written, by conversation. A conversation is in one turn at a time, so its
//! requests are decided and written in the order in which they came.

use std::collections::{HashMap, VecDeque};

use crate::model::ConversationId;

/// Requests in order, by conversation.
pub(crate) struct Queue<R> {
    waiting: HashMap<ConversationId, Line<R>>,
    /// Conversations with something to do that are in nobody's turn; each once.
    ready: VecDeque<ConversationId>,
    /// Writers at work.
    writers: usize,
}

struct Line<R> {
    requests: VecDeque<R>,
    /// Whether a turn has been taken and not yet ended.
    busy: bool,
}

impl<R> Queue<R> {
    pub(crate) fn new() -> Queue<R> {
        Queue {
            waiting: HashMap::new(),
            ready: VecDeque::new(),
            writers: 0,
        }
    }

    /// Adds a request behind the others of its conversation.
    pub(crate) fn push(&mut self, conversation: ConversationId, request: R) {
        let line = self.waiting.entry(conversation).or_insert_with(|| Line {
            requests: VecDeque::new(),
            busy: false,
        });
        line.requests.push_back(request);
        if !line.busy && line.requests.len() == 1 {
            self.ready.push_back(conversation);
        }
    }

    /// Whether one more writer would find work. If so it counts as at work.
    pub(crate) fn enlist_writer(&mut self, writers_max: usize) -> bool {
        let wanted = !self.ready.is_empty() && self.writers < writers_max;
        self.writers += usize::from(wanted);
        wanted
    }

    /// A writer goes.
    pub(crate) fn dismiss_writer(&mut self) {
        self.writers -= 1;
    }

    /// Takes what waits, at most `max` requests, from conversations that are in no other turn.
    /// Each of them must be ended with [`Self::end_turn`]. Empty: nothing to do.
    pub(crate) fn take(&mut self, max: usize) -> Vec<(ConversationId, Vec<R>)> {
        let mut turns = Vec::new();
        let mut room = max;
        while room > 0
            && let Some(conversation) = self.ready.pop_front()
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

    /// Ends a turn; what was not done goes back before what came meanwhile.
    pub(crate) fn end_turn(&mut self, conversation: ConversationId, undone: Vec<R>) {
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
            self.ready.push_back(conversation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> [ConversationId; 2] {
        [
            ConversationId::from_bytes([1; 12]),
            ConversationId::from_bytes([2; 12]),
        ]
    }

    #[test]
    fn a_conversation_is_in_one_turn_at_a_time_and_keeps_its_order() {
        let mut queue = Queue::new();
        let [a, b] = ids();
        for n in 0..4 {
            queue.push(a, n);
        }
        queue.push(b, 10);
        assert_eq!(queue.take(3), [(a, vec![0, 1, 2])]);
        queue.push(a, 4);
        assert_eq!(queue.take(3), [(b, vec![10])], "a is busy");
        assert_eq!(queue.take(3), []);
        queue.end_turn(a, vec![1, 2]);
        queue.end_turn(b, vec![]);
        assert_eq!(queue.take(100), [(a, vec![1, 2, 3, 4])]);
        queue.end_turn(a, vec![]);
        assert!(queue.waiting.is_empty() && queue.ready.is_empty());
    }

    #[test]
    fn one_batch_takes_from_many_conversations() {
        let mut queue = Queue::new();
        let [a, b] = ids();
        queue.push(a, 1);
        queue.push(b, 2);
        queue.push(a, 3);
        assert_eq!(queue.take(100), [(a, vec![1, 3]), (b, vec![2])]);
    }

    #[test]
    fn writers_are_enlisted_while_there_is_work_and_room() {
        let mut queue = Queue::new();
        let [a, _] = ids();
        assert!(!queue.enlist_writer(2));
        queue.push(a, 1);
        assert!(queue.enlist_writer(2) && queue.enlist_writer(2) && !queue.enlist_writer(2));
        queue.dismiss_writer();
        assert!(queue.enlist_writer(2));
        queue.take(1);
        queue.dismiss_writer();
        assert!(!queue.enlist_writer(2), "nothing is ready");
    }
}
