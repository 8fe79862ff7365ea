//! When messages were written: what a crowd that comes back asks of the same few conversations, read
//! once for all of them.
//!
//! When a message was written never changes, so what is kept here cannot be wrong, only too little.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use syncchat_core::model::{ConversationId, Message, Seq, Timestamp};
use syncchat_core::{Chat, Result};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::limits::{PAST_PAGE, PAST_ROOMS_MAX, RECOVERED_MESSAGES_MAX};

/// Pages of one conversation that are read for one answer.
const READS_MAX: usize = RECOVERED_MESSAGES_MAX as usize / PAST_PAGE + 3;

/// Times of the newest messages of conversations.
pub(crate) struct Past {
    chat: Arc<Chat>,
    rooms: Mutex<HashMap<ConversationId, Arc<AsyncMutex<Window>>>>,
}

/// Consecutive messages' times.
#[derive(Debug, Default)]
struct Window {
    /// `seq` of the first one.
    first: Seq,
    times: Vec<Timestamp>,
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
            rooms: Mutex::default(),
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
            for (index, (room, head, window)) in windows.iter().enumerate() {
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
                windows[*index].2.extend(*after, &page.messages);
            }
        }
        Ok(None)
    }

    async fn window(&self, room: ConversationId) -> OwnedMutexGuard<Window> {
        let window = {
            let mut rooms = self.rooms.lock();
            if rooms.len() >= PAST_ROOMS_MAX && !rooms.contains_key(&room) {
                rooms.clear();
            }
            Arc::clone(rooms.entry(room).or_default())
        };
        window.lock_owned().await
    }
}

impl Window {
    fn answer(&self, at: Timestamp, head: Seq) -> Answer {
        let page = PAST_PAGE as Seq;
        let Some(newest) = self.times.last() else {
            return Answer::Read(head.saturating_sub(page));
        };
        let last = self.first + self.times.len() as Seq - 1;
        if *newest <= at {
            return match last < head {
                true => Answer::Read(last.max(head.saturating_sub(page))),
                false => Answer::Newest(last.min(head)),
            };
        }
        match self.times.partition_point(|time| *time <= at) {
            0 if self.first > 1 && head.saturating_sub(self.first) > RECOVERED_MESSAGES_MAX => {
                Answer::TooFar
            }
            0 if self.first > 1 => Answer::Read((self.first - 1).saturating_sub(page)),
            count => Answer::Newest(self.first + count as Seq - 1),
        }
    }

    /// Takes in what follows `after`.
    fn extend(&mut self, after: Seq, messages: &[Arc<Message>]) {
        let times = messages.iter().map(|message| message.created_at);
        let end = self.first + self.times.len() as Seq;
        if after + 1 < self.first && after + messages.len() as Seq + 1 >= self.first {
            let older = (self.first - after - 1) as usize;
            self.times.splice(..0, times.take(older));
            self.first = after + 1;
        } else if after + 1 == end {
            self.times.extend(times);
        } else {
            self.times = times.collect();
            self.first = after + 1;
        }
    }
}
