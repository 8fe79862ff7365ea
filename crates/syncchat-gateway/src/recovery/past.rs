//! When messages were written: what a crowd that comes back asks of the same few conversations, read
//! once for all of them.
//!
//! When a message was written never changes, so what is kept here cannot be wrong, only too little. What
//! nobody asked for while [`PAST_TURN`] messages came is forgotten.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use syncchat_core::model::{ConversationId, Seq, Timestamp};
use syncchat_core::{Chat, Result};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::limits::{PAST_PAGE, PAST_ROOMS_MAX, PAST_TIMES_MAX, PAST_TURN, RECOVERED_MESSAGES_MAX};
use crate::metrics;

/// Pages of one conversation that are read for one answer.
const READS_MAX: usize = RECOVERED_MESSAGES_MAX as usize / PAST_PAGE + 3;

/// Times of the newest messages of conversations.
pub(crate) struct Past {
    chat: Arc<Chat>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    rooms: HashMap<ConversationId, Arc<AsyncMutex<Window>>>,
    /// Times in all windows, about: those of a window that is forgotten while it is asked count on.
    times: usize,
}

/// Consecutive messages' times.
#[derive(Debug, Default)]
struct Window {
    /// `seq` of the first one.
    first: Seq,
    times: Vec<Timestamp>,
    /// The earliest answer since the turn began.
    used_from: Option<Seq>,
    /// The `seq` with which this turn ends.
    turn_end: Seq,
}

/// What a window has to say about a moment.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// The newest message written at or before it; 0 if there is none.
    Newest(Seq),
    /// The messages after this one have to be read.
    Read(Seq),
    /// It lies further back than anybody is recovered.
    TooFar,
}

impl Past {
    pub(crate) fn new(chat: Arc<Chat>) -> Past {
        Past {
            chat,
            known: Mutex::default(),
        }
    }

    /// The newest message of each conversation that was written at or before this moment. `heads`
    /// are known to be later. `None` if one of them is further back than anybody is recovered.
    ///
    /// # Errors
    /// `unavailable`.
    pub(crate) async fn newest_at(
        &self,
        mut heads: Vec<(ConversationId, Seq)>,
        at: Timestamp,
    ) -> Result<Option<HashMap<ConversationId, Seq>>> {
        // Who waits for several takes them in one order, so that nobody waits for each other.
        heads.sort_unstable();
        let mut windows = Vec::with_capacity(heads.len());
        for (room, head) in heads {
            windows.push((room, head, self.window(room).await));
        }
        for _ in 0..READS_MAX {
            let mut newest = HashMap::with_capacity(windows.len());
            let mut missing = Vec::new();
            for (index, (room, head, window)) in windows.iter_mut().enumerate() {
                match window.answer(at, *head) {
                    Answer::Newest(seq) => {
                        newest.insert(*room, seq);
                    }
                    Answer::Read(after) => missing.push((index, (*room, after))),
                    Answer::TooFar => return Ok(None),
                }
            }
            if missing.is_empty() {
                return Ok(Some(newest));
            }
            let places: Vec<_> = missing.iter().map(|&(_, place)| place).collect();
            let pages = self.chat.backfill(&places, PAST_PAGE).await?;
            for ((index, (_, after)), page) in missing.iter().zip(pages) {
                let window = &mut windows[*index].2;
                let before = window.times.len();
                window.extend(
                    *after,
                    page.messages.iter().map(|message| message.created_at),
                );
                self.count(before, window.times.len());
            }
        }
        Ok(None)
    }

    async fn window(&self, room: ConversationId) -> OwnedMutexGuard<Window> {
        let window = {
            let mut known = self.known.lock();
            let new = !known.rooms.contains_key(&room);
            if known.times >= PAST_TIMES_MAX || new && known.rooms.len() >= PAST_ROOMS_MAX {
                *known = Known::default();
                metrics::past_forgotten();
            }
            Arc::clone(known.rooms.entry(room).or_default())
        };
        window.lock_owned().await
    }

    /// A window had so many times and has so many now.
    fn count(&self, before: usize, now: usize) {
        let mut known = self.known.lock();
        known.times = (known.times + now).saturating_sub(before);
    }
}

impl Window {
    fn answer(&mut self, at: Timestamp, head: Seq) -> Answer {
        let answer = self.look(at, head);
        if let Answer::Newest(seq) = answer {
            self.used_from = Some(self.used_from.map_or(seq, |used| used.min(seq)));
        }
        answer
    }

    /// From the newest message back to the first that is old enough: times may fall, behind one that
    /// was ahead, so that no other way finds the newest of those that are.
    fn look(&self, at: Timestamp, head: Seq) -> Answer {
        let page = PAST_PAGE as Seq;
        if self.times.is_empty() {
            return Answer::Read(head.saturating_sub(page));
        }
        let last = self.first + self.times.len() as Seq - 1;
        if last < head {
            return Answer::Read(last.max(head.saturating_sub(page)));
        }
        let known = (head + 1).saturating_sub(self.first) as usize;
        match self.times[..known].iter().rposition(|time| *time <= at) {
            Some(index) => Answer::Newest(self.first + index as Seq),
            None if self.first <= 1 => Answer::Newest(0),
            None if head.saturating_sub(self.first) > RECOVERED_MESSAGES_MAX => Answer::TooFar,
            None => Answer::Read((self.first - 1).saturating_sub(page)),
        }
    }

    /// Takes in the times of what follows `after`.
    fn extend(&mut self, after: Seq, times: impl ExactSizeIterator<Item = Timestamp>) {
        let end = self.first + self.times.len() as Seq;
        if after + 1 < self.first && after + times.len() as Seq + 1 >= self.first {
            let older = (self.first - after - 1) as usize;
            self.times.splice(..0, times.take(older));
            self.first = after + 1;
        } else if after + 1 == end {
            self.times.extend(times);
            self.forget_unused();
        } else {
            *self = Window {
                first: after + 1,
                times: times.collect(),
                ..Window::default()
            };
        }
    }

    /// At the end of a turn, what lies before the answers given in it.
    fn forget_unused(&mut self) {
        let last = (self.first + self.times.len() as Seq).saturating_sub(1);
        if self.times.is_empty() || last < self.turn_end {
            return;
        }
        let used = self.used_from.take().unwrap_or(self.first);
        let unused = used.clamp(self.first, last) - self.first;
        self.times.drain(..unused as usize);
        self.times.shrink_to(2 * self.times.len());
        self.first += unused;
        self.turn_end = last + PAST_TURN;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log in which message `n` was written at `10 n`.
    fn written(seq: Seq) -> Timestamp {
        Timestamp::from_millis(10 * seq as i64)
    }

    /// Asks until the window knows; how many pages were read for it.
    fn ask(window: &mut Window, at: Timestamp, head: Seq) -> (Answer, usize) {
        for pages in 0..READS_MAX {
            match window.answer(at, head) {
                Answer::Read(after) => {
                    let last = head.min(after + PAST_PAGE as Seq);
                    let times: Vec<_> = (after + 1..=last).map(written).collect();
                    window.extend(after, times.into_iter());
                }
                answer => return (answer, pages),
            }
        }
        panic!("the window never knows");
    }

    #[test]
    fn what_nobody_comes_back_to_is_forgotten_and_read_again_when_asked() {
        let mut window = Window::default();
        let mut most = 0;
        for head in 5..100_000 {
            let (answer, _) = ask(&mut window, written(head - 4), head);
            assert_eq!(answer, Answer::Newest(head - 4));
            most = most.max(window.times.capacity());
        }
        assert!(most <= 4 * PAST_TURN as usize, "{most} times");
        let (answer, pages) = ask(&mut window, written(95_000), 99_999);
        assert_eq!(answer, Answer::Newest(95_000));
        assert!((40..=50).contains(&pages), "{pages} pages");
    }

    #[test]
    fn behind_a_time_that_was_ahead_the_newest_is_found_all_the_same() {
        // Message 300 was dated a day ahead; those that follow have their own times again.
        let ahead = |seq| match seq {
            300 => written(300).plus(std::time::Duration::from_secs(86_400)),
            seq => written(seq),
        };
        for head in [301, 350, 600] {
            let mut window = Window::default();
            for wanted in [299, 301, head] {
                let answer = loop {
                    match window.answer(written(wanted), head) {
                        Answer::Read(after) => {
                            let last = head.min(after + PAST_PAGE as Seq);
                            let times: Vec<_> = (after + 1..=last).map(ahead).collect();
                            window.extend(after, times.into_iter());
                        }
                        answer => break answer,
                    }
                };
                assert_eq!(answer, Answer::Newest(wanted), "of {head}");
            }
        }
    }

    #[test]
    fn a_crowd_that_comes_from_far_back_shares_what_was_read() {
        let mut window = Window::default();
        let mut reads = 0;
        // Of each ten one was away for long, while the log goes on.
        for head in 10_000..14_000 {
            let at = if head % 10 == 0 { 9_000 } else { head - 1 };
            let (answer, pages) = ask(&mut window, written(at), head);
            assert_eq!(answer, Answer::Newest(at));
            reads += pages;
        }
        assert!(reads <= 4_000 + 20, "{reads} pages: one as the log goes on");
        let (answer, _) = ask(&mut window, written(1), 30_000);
        assert_eq!(answer, Answer::TooFar);
    }
}
