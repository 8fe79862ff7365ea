//! Delivered and read cursors. They only rise, so it does no harm that one is lost, doubled or
//! late; those that wait at the same moment share one write.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::announce;
use super::heads::{Heads, not_in_it};
use super::in_doubt::{InDoubt, InDoubtWrites};
use crate::command::CursorKind;
use crate::deadline::{read, write};
use crate::error::{Error, Result};
use crate::limits::{COMMIT_TIMEOUT, CURSOR_BATCH_MAX, CURSOR_LANES, CURSOR_QUEUE_MAX};
use crate::model::{ConversationId, Seq, UserId};
use crate::ports::fleet::Fleet;
use crate::ports::store::{CursorAdvance, Cursors, Store};

/// Raises cursors. A conversation belongs to one lane, and a lane has one write in flight.
pub(crate) struct CursorLanes {
    store: Arc<dyn Store>,
    fleet: Arc<dyn Fleet>,
    heads: Arc<Heads>,
    in_doubt: Arc<InDoubtWrites>,
    lanes: Vec<Lane>,
}

struct Lane {
    waiting: Mutex<Waiting>,
    /// A permit for each mark that may be accepted and unanswered.
    room: Arc<Semaphore>,
}

#[derive(Default)]
struct Waiting {
    marks: Vec<Mark>,
    writing: bool,
}

struct Mark {
    advance: CursorAdvance,
    reply: oneshot::Sender<Result<Cursors>>,
    _room: OwnedSemaphorePermit,
}

/// Whose cursor, which one.
type CursorKey = (ConversationId, UserId, CursorKind);

impl CursorLanes {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        fleet: Arc<dyn Fleet>,
        heads: Arc<Heads>,
        in_doubt: Arc<InDoubtWrites>,
    ) -> Arc<CursorLanes> {
        let lane = |_| Lane {
            waiting: Mutex::default(),
            room: Arc::new(Semaphore::new(CURSOR_QUEUE_MAX)),
        };
        Arc::new(CursorLanes {
            store,
            fleet,
            heads,
            in_doubt,
            lanes: (0..CURSOR_LANES).map(lane).collect(),
        })
    }

    /// Raises a cursor, at most to the newest `seq`; answers with both as they are then.
    pub(crate) async fn raise(self: &Arc<Self>, advance: CursorAdvance) -> Result<Cursors> {
        let number = usize::from(advance.conversation.bytes()[11]) % self.lanes.len();
        let lane = &self.lanes[number];
        let Ok(room) = Arc::clone(&lane.room).try_acquire_owned() else {
            return Err(Error::unavailable("too many cursors wait to be written"));
        };
        let (reply, answer) = oneshot::channel();
        let mark = Mark {
            advance,
            reply,
            _room: room,
        };
        let start = {
            let mut waiting = lane.waiting.lock();
            waiting.marks.push(mark);
            !std::mem::replace(&mut waiting.writing, true)
        };
        if start {
            let writing = Writing {
                lanes: Arc::clone(self),
                number,
            };
            tokio::spawn(async move { writing.write_while_waiting().await });
        }
        match tokio::time::timeout(COMMIT_TIMEOUT, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(Error::unavailable("the write takes too long")),
        }
    }

    /// Waits until all that was accepted is answered. Meanwhile nothing new is accepted.
    pub(crate) async fn drain(&self) {
        for lane in &self.lanes {
            let _all = lane.room.acquire_many(CURSOR_QUEUE_MAX as u32).await;
        }
    }

    async fn write(&self, marks: Vec<Mark>) {
        match self.raise_all(&marks).await {
            Ok(raised) => {
                for mark in marks {
                    let cursors = raised.get(&key(&mark.advance)).copied();
                    let _ = mark.reply.send(cursors.ok_or_else(not_in_it));
                }
            }
            Err(error) => {
                for mark in marks {
                    let _ = mark.reply.send(Err(error.clone()));
                }
            }
        }
    }

    /// The cursors after the write; missing for who is no member.
    async fn raise_all(&self, marks: &[Mark]) -> Result<HashMap<CursorKey, Cursors>> {
        let mut furthest: HashMap<CursorKey, Seq> = HashMap::new();
        for Mark { advance, .. } in marks {
            let seq = furthest.entry(key(advance)).or_default();
            *seq = advance.seq.max(*seq);
        }
        let ends = self.ends(&furthest).await?;
        let advances: Vec<CursorAdvance> = furthest
            .into_iter()
            .filter_map(|((conversation, user, kind), seq)| {
                let end = *ends.get(&conversation)?;
                Some(CursorAdvance {
                    conversation,
                    user,
                    kind,
                    seq: seq.min(end),
                })
            })
            .collect();
        if advances.is_empty() {
            return Ok(HashMap::new());
        }
        let written = write(self.store.advance_cursors(&advances)).await;
        let after = written.inspect_err(|_| {
            let in_doubt = advances.iter().copied().map(InDoubt::Cursor);
            in_doubt.for_each(|advance| self.in_doubt.watch(advance));
        })?;
        let mut raised = HashMap::with_capacity(advances.len());
        for (advance, after) in advances.iter().zip(after) {
            let Some((cursors, rose)) = after else {
                continue;
            };
            raised.insert(key(advance), cursors);
            if rose {
                announce::cursor(&*self.fleet, advance, cursors);
            }
        }
        Ok(raised)
    }

    /// Where the logs end, at least as far as is asked; conversations that do not exist are missing.
    /// Memory will do where it reaches far enough, for a log never shrinks.
    async fn ends(
        &self,
        furthest: &HashMap<CursorKey, Seq>,
    ) -> Result<HashMap<ConversationId, Seq>> {
        let mut ends = HashMap::new();
        let mut beyond = BTreeSet::new();
        for ((conversation, ..), seq) in furthest {
            match self.heads.cached(*conversation) {
                Some(head) if head.last_seq >= *seq => {
                    ends.insert(*conversation, head.last_seq);
                }
                _ => {
                    beyond.insert(*conversation);
                }
            }
        }
        if !beyond.is_empty() {
            let beyond: Vec<_> = beyond.into_iter().collect();
            ends.extend(read(self.store.heads(&beyond)).await?);
        }
        Ok(ends)
    }
}

/// The one writer of a lane, while there is one.
struct Writing {
    lanes: Arc<CursorLanes>,
    number: usize,
}

impl Writing {
    async fn write_while_waiting(self) {
        loop {
            let marks: Vec<Mark> = {
                let mut waiting = self.lanes.lanes[self.number].waiting.lock();
                let count = waiting.marks.len().min(CURSOR_BATCH_MAX);
                if count == 0 {
                    waiting.writing = false;
                    return;
                }
                waiting.marks.drain(..count).collect()
            };
            self.lanes.write(marks).await;
        }
    }
}

impl Drop for Writing {
    /// After a panic of a listener the lane goes on with what waits.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let next = Writing {
                lanes: Arc::clone(&self.lanes),
                number: self.number,
            };
            tokio::spawn(async move { next.write_while_waiting().await });
        }
    }
}

fn key(advance: &CursorAdvance) -> CursorKey {
    (advance.conversation, advance.user, advance.kind)
}
