//! What processes write of themselves into the store while somebody cannot be heard: that they live,
//! who is there, and who came and went of late. It stands in for what Redis would tell of them.
//!
//! Who cannot hear somebody notes, every second, until all are heard again and a little longer, for
//! those who notice that later. Everybody looks every second, so a node that never heard of one that
//! is cut off learns of it here. A note is believed only where Redis does not speak for its process.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use syncchat_core::model::UserId;
use syncchat_core::ports::store::{NodeNote, NodeStore, NotedNode, PresenceChange};

use super::link::Link;
use super::pulse::Pulse;
use crate::limits::{
    CHANGES_NOTED_FOR, CHANGES_NOTED_MAX, CHANGES_TAKEN_MAX, NOTE_FRESH, RETURN_GRACE,
    SHOWN_ONLINE_MAX, SILENT_DEAD,
};
use crate::metrics;

/// Parts that people are noted in: only those that changed are written again.
const PARTS: u8 = 64;

/// This process's notes and what is known of the others'.
pub(crate) struct Notes {
    store: Arc<dyn NodeStore>,
    link: Arc<Link>,
    pulse: Arc<Pulse>,
    me: String,
    journal: Mutex<Journal>,
    doubt: Mutex<Doubt>,
    /// Number of the newest change that was taken of each process.
    taken: Mutex<HashMap<String, u64>>,
    /// Dead processes whose people are settled.
    settled: Mutex<HashSet<u64>>,
    /// `None` while the store does not say.
    seen: Mutex<Option<Seen>>,
}

/// What the last look at the notes of others showed.
#[derive(Default)]
struct Seen {
    /// Processes with a fresh note.
    living: HashSet<String>,
    /// Those of them that are not heard.
    aside: HashSet<String>,
    /// Processes that are not heard and stopped noting.
    stale: Vec<String>,
}

/// Who came and went here of late.
#[derive(Default)]
struct Journal {
    said: u64,
    kept: VecDeque<(u64, PresenceChange, Instant)>,
}

impl Journal {
    /// Beyond [`CHANGES_NOTED_MAX`] the oldest are forgotten. How many that were not old yet.
    fn add(&mut self, changes: &[PresenceChange], now: Instant) -> usize {
        for change in changes {
            self.said += 1;
            self.kept.push_back((self.said, *change, now));
        }
        let is_old = |at: Instant| now.saturating_duration_since(at) >= CHANGES_NOTED_FOR;
        while self.kept.front().is_some_and(|(.., at)| is_old(*at)) {
            self.kept.pop_front();
        }
        let too_many = self.kept.len().saturating_sub(CHANGES_NOTED_MAX);
        self.kept.drain(..too_many);
        too_many
    }

    fn of_late(&mut self, now: Instant) -> Vec<(u64, PresenceChange)> {
        self.add(&[], now);
        let kept = self.kept.iter();
        kept.map(|(number, change, _)| (*number, *change)).collect()
    }
}

/// Whether anybody cannot be heard.
#[derive(Default)]
struct Doubt {
    since: Option<Instant>,
    last: Option<Instant>,
}

impl Doubt {
    /// Whether there is doubt, or was a moment ago: others may notice that it is over a little later.
    fn lasts(&mut self, whole: bool, now: Instant) -> bool {
        if !whole {
            self.since.get_or_insert(now);
            self.last = Some(now);
        } else if self
            .last
            .is_none_or(|last| now.saturating_duration_since(last) >= NOTE_FRESH)
        {
            *self = Doubt::default();
        }
        self.last.is_some()
    }

    /// Whether it has lasted for so long.
    fn lasted(&self, span: Duration, now: Instant) -> bool {
        let long = |since| now.saturating_duration_since(since) >= span;
        self.since.is_some_and(long)
    }
}

impl Notes {
    pub(crate) fn new(
        store: Arc<dyn NodeStore>,
        link: Arc<Link>,
        pulse: Arc<Pulse>,
        me: String,
    ) -> Notes {
        Notes {
            store,
            link,
            pulse,
            me,
            journal: Mutex::default(),
            doubt: Mutex::default(),
            taken: Mutex::default(),
            settled: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    /// Somebody came or went here.
    pub(crate) fn add(&self, changes: &[PresenceChange]) {
        let lost = self.journal.lock().add(changes, Instant::now());
        if lost > 0 && self.is_due() {
            ::metrics::counter!(metrics::CHANGES_UNNOTED).increment(lost as u64);
        }
    }

    /// Whether this process has to note that it lives.
    pub(crate) fn is_due(&self) -> bool {
        let whole = self.pulse.is_whole();
        self.doubt.lock().lasts(whole, Instant::now())
    }

    /// Notes that this process lives, who came and went, and who is there in these parts. `None` if the
    /// store does not take it; true if there was no note of it.
    pub(crate) async fn write(&self, people: Vec<(u8, Vec<UserId>)>) -> Option<bool> {
        let note = NodeNote {
            process: self.me.clone(),
            changes: self.journal.lock().of_late(Instant::now()),
            people,
        };
        let noted = self.store.note_node(&note).await;
        noted
            .inspect_err(|error| tracing::debug!(%error, "not noted that this node lives"))
            .ok()
    }

    /// Takes this process's note away: all hear it again.
    pub(crate) async fn withdraw(&self) {
        self.take(&self.me, Duration::ZERO).await;
    }

    /// Looks at the notes of others, and tells the pulse who lives unheard. Changes that could not be
    /// heard here, of all processes that are not; [`CHANGES_TAKEN_MAX`] at once, the others the next time.
    pub(crate) async fn look(&self) -> Vec<PresenceChange> {
        let notes = match self.store.noted_nodes(NOTE_FRESH).await {
            Ok(notes) => notes,
            Err(error) => {
                tracing::debug!(%error, "the store does not say who lives");
                *self.seen.lock() = None;
                return Vec::new();
            }
        };
        let others = notes.into_iter().filter(|note| note.process != self.me);
        let (fresh, old): (Vec<_>, Vec<_>) = others.partition(|note| note.age < NOTE_FRESH);
        self.pulse
            .lives(fresh.iter().filter_map(|note| numbered(&note.process)));
        let unheard = |note: &NotedNode| !self.hears(&note.process);
        let aside: Vec<NotedNode> = fresh.iter().filter(|note| unheard(note)).cloned().collect();
        let name = |note: &NotedNode| note.process.clone();
        let seen = Seen {
            living: fresh.iter().map(name).collect(),
            aside: aside.iter().map(name).collect(),
            stale: old.iter().filter(|note| unheard(note)).map(name).collect(),
        };
        self.taken
            .lock()
            .retain(|process, _| seen.living.contains(process));
        *self.seen.lock() = Some(seen);
        self.changes_of(aside)
    }

    fn changes_of(&self, notes: Vec<NotedNode>) -> Vec<PresenceChange> {
        let mut taken = self.taken.lock();
        let mut changes = Vec::new();
        for note in notes {
            let newest = taken.entry(note.process).or_default();
            for (number, change) in note.changes {
                if number > *newest && changes.len() < CHANGES_TAKEN_MAX {
                    *newest = number;
                    changes.push(change);
                }
            }
        }
        changes
    }

    /// Whether what Redis knows of this process is what it said last.
    fn hears(&self, process: &str) -> bool {
        let number = numbered(process).map(|(_, number)| number);
        self.link.is_up() && number.is_some_and(|number| self.pulse.hears(number))
    }

    /// Processes that live, but not by Redis.
    pub(crate) fn aside(&self) -> HashSet<String> {
        let seen = self.seen.lock();
        seen.as_ref()
            .map(|seen| seen.aside.clone())
            .unwrap_or_default()
    }

    /// Processes that noted until they died, as far as this node can say.
    pub(crate) fn stale(&self) -> Vec<String> {
        let seen = self.seen.lock();
        seen.as_ref()
            .map(|seen| seen.stale.clone())
            .unwrap_or_default()
    }

    /// Whether this silent process may live. If the store does not say, each may.
    pub(crate) fn may_live(&self, process: &str) -> bool {
        let seen = self.seen.lock();
        seen.as_ref()
            .is_none_or(|seen| seen.living.contains(process))
    }

    /// Processes that are dead, have no note, and whose people are not settled. While nobody is heard
    /// here, those count that have not noted anything for [`SILENT_DEAD`].
    pub(crate) fn unsettled(&self) -> Vec<u64> {
        let waited = self.link.is_up() || self.doubt.lock().lasted(SILENT_DEAD, Instant::now());
        let seen = self.seen.lock();
        let Some(seen) = seen.as_ref().filter(|_| waited) else {
            return Vec::new();
        };
        let noted = seen.living.iter().chain(&seen.stale);
        let noted: HashSet<u64> = noted
            .filter_map(|process| Some(numbered(process)?.1))
            .collect();
        let mut dead = self.pulse.dead();
        let mut settled = self.settled.lock();
        settled.retain(|process| dead.contains(process));
        dead.retain(|process| !noted.contains(process) && !settled.contains(process));
        dead
    }

    /// The people of these dead processes have been judged, or another node does it.
    pub(crate) fn settle(&self, dead: impl IntoIterator<Item = u64>) {
        self.settled.lock().extend(dead);
    }

    /// Everybody who is shown online, wherever; `None` if the store does not say.
    pub(crate) async fn shown_online(&self) -> Option<Vec<UserId>> {
        let shown = self.store.shown_online(SHOWN_ONLINE_MAX).await;
        shown
            .inspect_err(|error| tracing::debug!(%error, "the store does not say who is online"))
            .ok()
    }

    /// Which of these are on another node that is not heard, by its note; `None` if that cannot be
    /// known now.
    pub(crate) async fn elsewhere(&self, users: &[UserId]) -> Option<HashSet<UserId>> {
        let known = if self.link.is_up() {
            self.link.up_for().is_some_and(|span| span >= RETURN_GRACE)
        } else {
            // Everybody who lives has noted it.
            self.doubt.lock().lasted(NOTE_FRESH, Instant::now())
        };
        if !known || self.seen.lock().is_none() {
            return None;
        }
        let parts: HashSet<u8> = users.iter().map(|user| part_of(*user)).collect();
        let parts: Vec<u8> = parts.into_iter().collect();
        match self.store.noted_people(&parts, NOTE_FRESH).await {
            Ok(noted) => {
                let unheard = |process: &str| process != self.me && !self.hears(process);
                let others = noted.into_iter().filter(|(process, _)| unheard(process));
                Some(others.flat_map(|(_, people)| people).collect())
            }
            Err(error) => {
                tracing::debug!(%error, "the store does not say who is there");
                None
            }
        }
    }

    /// Takes the note of a process that is dead: who was there. Nobody, if another node has taken it.
    pub(crate) async fn bury(&self, process: &str) -> Option<Vec<UserId>> {
        self.take(process, NOTE_FRESH).await
    }

    async fn take(&self, process: &str, age: Duration) -> Option<Vec<UserId>> {
        let taken = self.store.take_note(process, age).await;
        taken
            .inspect_err(|error| tracing::debug!(%error, process, "its note was not taken"))
            .ok()
            .flatten()
    }
}

/// Which part of its node's note a person is in.
pub(crate) fn part_of(user: UserId) -> u8 {
    user.bytes()[11] % PARTS
}

/// The node's id and the process's number.
fn numbered(process: &str) -> Option<(&str, u64)> {
    let (node, number) = process.rsplit_once(':')?;
    Some((node, u64::from_str_radix(number, 16).ok()?))
}
