//! One room: where its log stands here, what is missing, and who is owed what.

use std::collections::BTreeMap;

use crate::changes::{Changes, UNNUMBERED};
use crate::heads::backoff;
use crate::limits::Config;
use crate::machine::{Frame, Key, Millis, Outlet, Reason, Rev, Seq, Verdict};
use crate::reader::Seat;
use crate::replay::Ring;

/// What a delivery did to a seat, other than moving it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turned {
    /// It refused: its reader is full.
    Full,
    /// Its span ended with this frame.
    Ended(Seq),
}

/// A log as this machine knows it, and its seats.
#[derive(Debug, Clone)]
pub(crate) struct Room<R, K, F> {
    pub(crate) key: R,
    /// The newest frame that is known to exist.
    pub(crate) head: Seq,
    /// The newest frame that was passed on: all up to here came by, in order.
    pub(crate) passed: Seq,
    /// Frames that wait for those between `passed` and them.
    early: BTreeMap<Seq, F>,
    /// The newest frames up to `passed`.
    pub(crate) ring: Ring<F>,
    /// Which changes of its frames are known.
    pub(crate) changes: Changes<F>,
    /// Frames below are taken from pages only: the room was opened by a reader who came after changes of them,
    /// and an announcement that is late may hold an earlier version.
    pub(crate) announced_from: Seq,
    /// Changes may have been missed, and what there is has not been compared since.
    pub(crate) unsure: bool,
    pub(crate) seats: Vec<Seat<K>>,
    /// Whether new frames are heard of, as far as can be known.
    pub(crate) subscribed: bool,
    /// Whether it waits for a comparison of heads.
    pub(crate) doubted: bool,
    /// Since when it has been without readers, as the moment it may go.
    pub(crate) goes_at: Option<Millis>,
    /// When it wants a tick.
    pub(crate) wake: Option<Millis>,
    /// Some seat may lag.
    pub(crate) lagging: bool,
    /// The fetch in flight: what it asked for after.
    fetch: Option<Seq>,
    /// Since when the frame after `passed` has been missing.
    gap_since: Option<Millis>,
    failures: u32,
    retry_at: Millis,
    /// Which lagging seat the next page is for.
    turn: usize,
    /// The last fetch was for a seat: a gap comes first now.
    refilled: bool,
}

impl<R: Copy, K: Key, F: Frame> Room<R, K, F> {
    /// A room whose readers begin after `passed`.
    pub(crate) fn new(key: R, passed: Seq) -> Room<R, K, F> {
        Room {
            key,
            head: passed,
            passed,
            early: BTreeMap::new(),
            ring: Ring::new(),
            changes: Changes::new(),
            announced_from: 0,
            unsure: false,
            seats: Vec::new(),
            subscribed: false,
            doubted: false,
            goes_at: None,
            wake: None,
            lagging: false,
            fetch: None,
            gap_since: None,
            failures: 0,
            retry_at: 0,
            turn: 0,
            refilled: false,
        }
    }

    /// The log reaches at least to here.
    pub(crate) fn reaches(&mut self, head: Seq) {
        self.head = self.head.max(head);
    }

    /// A frame came. True if it is the next one to pass on; otherwise it is kept if it is early,
    /// and dropped if it is late.
    pub(crate) fn accepts(&mut self, seq: Seq, frame: &F, config: &Config) -> bool {
        self.reaches(seq);
        if seq <= self.passed + 1 {
            return seq == self.passed + 1;
        }
        let held = self.early.entry(seq).or_insert_with(|| frame.clone());
        if frame.rev() > held.rev() {
            *held = frame.clone();
        }
        if self.early.len() > config.early_frames {
            self.early.pop_last();
        }
        false
    }

    /// The log has been changed up to here.
    pub(crate) fn changed_up_to(&mut self, change: Rev) {
        if self.changes.reach(change) && change > UNNUMBERED {
            self.announced_from = self.head + 1;
            self.early = self.early.split_off(&self.announced_from);
        }
    }

    /// A frame is another one now, if it waits for its turn. True if that was an earlier version.
    pub(crate) fn replace_early(&mut self, seq: Seq, frame: &F) -> bool {
        match self.early.get_mut(&seq) {
            Some(early) if early.rev() <= frame.rev() => {
                let was_older = early.rev() < frame.rev();
                *early = frame.clone();
                was_older
            }
            _ => false,
        }
    }

    /// Whether the ring holds every frame as it is now, as far as can be known.
    fn is_current(&self) -> bool {
        !self.unsure && self.changes.are_complete()
    }

    /// The next frame, if it came early.
    pub(crate) fn take_early(&mut self) -> Option<(Seq, F)> {
        while let Some(entry) = self.early.first_entry() {
            if *entry.key() > self.passed + 1 {
                return None;
            }
            let (seq, frame) = entry.remove_entry();
            if seq == self.passed + 1 {
                return Some((seq, frame));
            }
        }
        None
    }

    /// Offers the frame to every seat that is owed it.
    pub(crate) fn broadcast(
        &mut self,
        seq: Seq,
        frame: &F,
        out: &mut impl Outlet<R, K, F>,
        turned: &mut Vec<(u32, Turned)>,
    ) {
        self.passed = seq;
        self.gap_since = None;
        for (index, seat) in self.seats.iter_mut().enumerate() {
            if seat.next != seq || seat.full {
                continue;
            }
            if let Some(what) = offer(self.key, seat, frame, out) {
                turned.push((index as u32, what));
            }
        }
    }

    /// Gives lagging seats what the ring has for them. Seats further back stay lagging.
    pub(crate) fn refill_from_ring(
        &mut self,
        out: &mut impl Outlet<R, K, F>,
        turned: &mut Vec<(u32, Turned)>,
    ) {
        self.lagging = false;
        let is_current = self.is_current();
        for (index, seat) in self.seats.iter_mut().enumerate() {
            if !seat.lags(self.passed) {
                continue;
            }
            if !is_current {
                self.lagging = true;
                continue;
            }
            while let Some(frame) = self.ring.get(seat.next) {
                if let Some(what) = offer(self.key, seat, frame, out) {
                    turned.push((index as u32, what));
                    break;
                }
            }
            self.lagging |= seat.lags(self.passed) && self.ring.get(seat.next).is_none();
        }
    }

    /// Gives lagging seats what a page, beginning after `after`, has for them.
    pub(crate) fn refill_from_page(
        &mut self,
        after: Seq,
        page: &[F],
        out: &mut impl Outlet<R, K, F>,
        turned: &mut Vec<(u32, Turned)>,
    ) {
        if !self.lagging {
            return;
        }
        for (index, seat) in self.seats.iter_mut().enumerate() {
            while seat.lags(self.passed) && seat.next > after {
                let Some(frame) = page.get((seat.next - after - 1) as usize) else {
                    break;
                };
                if let Some(what) = offer(self.key, seat, frame, out) {
                    turned.push((index as u32, what));
                    break;
                }
            }
        }
    }

    /// A page came for the fetch after `after`.
    pub(crate) fn fetched(&mut self, after: Seq, empty: bool, now: Millis, config: &Config) {
        if self.fetch == Some(after) {
            self.fetch = None;
        }
        if empty {
            self.back_off(now, config);
        } else {
            self.failures = 0;
            self.retry_at = now;
        }
    }

    /// The fetch in flight failed.
    pub(crate) fn fetch_failed(&mut self, now: Millis, config: &Config) {
        self.fetch = None;
        self.back_off(now, config);
    }

    /// Whether it may go: nothing that was asked for it is still on its way.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.seats.is_empty() && self.subscribed && self.fetch.is_none() && !self.changes.is_asked()
    }

    /// Asks for changes that are missing, if any are and it is the time for it. Says when it is.
    pub(crate) fn ask_changes(
        &mut self,
        now: Millis,
        config: &Config,
        out: &mut impl Outlet<R, K, F>,
    ) -> Option<Millis> {
        if self.seats.is_empty() {
            return None;
        }
        match self.changes.ask(now, config) {
            Ok(after) => {
                out.fetch_changes(self.key, after, config.changes_page);
                None
            }
            Err(later) => later,
        }
    }

    /// Asks for what is missing, if anything is and it is the time for it. Says when it is.
    pub(crate) fn ask(
        &mut self,
        now: Millis,
        config: &Config,
        out: &mut impl Outlet<R, K, F>,
    ) -> Option<Millis> {
        // Nobody to fetch for: what is missing is fetched when somebody comes.
        let gap = self.head > self.passed && !self.seats.is_empty();
        let gap_due = gap.then(|| *self.gap_since.get_or_insert(now) + config.patience);
        if self.fetch.is_some() {
            return None;
        }
        let laggard = if self.lagging { self.laggard() } else { None };
        let due = match laggard {
            Some(_) => self.retry_at,
            None => gap_due?.max(self.retry_at),
        };
        if now < due {
            return Some(due);
        }
        let gap_first =
            gap_due.is_some_and(|due| due <= now) && (self.refilled || laggard.is_none());
        let (reason, next, end) = match laggard {
            Some(next) if !gap_first => self.behind(next, config),
            _ => (Reason::Gap, self.passed + 1, self.gap_end()),
        };
        self.refilled = reason == Reason::Behind;
        self.fetch = Some(next - 1);
        let limit = usize::try_from(end.saturating_sub(next)).unwrap_or(usize::MAX);
        out.fetch(self.key, next - 1, limit.clamp(1, config.page), reason);
        None
    }

    /// What to fetch for a seat that is owed `next`: where the page will reach the ring, a little
    /// more than that one needs, for others who come from about the same place.
    fn behind(&self, next: Seq, config: &Config) -> (Reason, Seq, Seq) {
        let end = self.ring_start();
        let first = next.saturating_sub(config.look_back).max(1);
        let reaches = end.saturating_sub(first) <= config.page as Seq;
        (Reason::Behind, if reaches { first } else { next }, end)
    }

    /// What some lagging seat is owed, another one each time.
    fn laggard(&mut self) -> Option<Seq> {
        let count = self.seats.len();
        for step in 0..count {
            let index = (self.turn + step) % count;
            if self.seats[index].lags(self.passed) {
                self.turn = index + 1;
                return Some(self.seats[index].next);
            }
        }
        self.lagging = false;
        None
    }

    /// The first frame that need not be fetched for a lagging seat.
    fn ring_start(&self) -> Seq {
        let recent = if self.is_current() {
            self.ring.len()
        } else {
            0
        };
        self.passed + 1 - recent as Seq
    }

    /// The first frame that need not be fetched for the gap.
    fn gap_end(&self) -> Seq {
        self.early.keys().next().copied().unwrap_or(self.head + 1)
    }

    fn back_off(&mut self, now: Millis, config: &Config) {
        self.retry_at = now + backoff(self.failures, config);
        self.failures = self.failures.saturating_add(1);
    }
}

/// Offers a seat the frame it is owed.
fn offer<R: Copy, K: Key, F: Frame>(
    room: R,
    seat: &mut Seat<K>,
    frame: &F,
    out: &mut impl Outlet<R, K, F>,
) -> Option<Turned> {
    let seq = seat.next;
    match out.deliver(&seat.reader, room, seq, frame) {
        Verdict::Taken => seat.took().then_some(Turned::Ended(seq)),
        Verdict::Last => {
            seat.took();
            Some(Turned::Ended(seq))
        }
        Verdict::Full => {
            seat.full = true;
            Some(Turned::Full)
        }
    }
}
