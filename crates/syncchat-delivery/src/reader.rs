//! One reader's place: in a room ([`Seat`]), and over all its rooms ([`Reader`]).

use crate::limits::{DEPARTURES_MAX, RETURNS_MAX};
use crate::machine::Seq;

/// A reader in a room. It is *live* when `next` is the frame the room will pass on next, and
/// *lagging* when `next` has been passed on already; there is no other state, so there is no
/// transition that could lose or double anything.
#[derive(Debug, Clone)]
pub(crate) struct Seat<K> {
    pub(crate) reader: K,
    /// The frame it is owed next.
    pub(crate) next: Seq,
    /// Copy of [`Reader::full`], so that a broadcast need not look it up.
    pub(crate) full: bool,
    /// It has taken something: from then on it only rises.
    begun: bool,
    /// What few seats have.
    spans: Option<Box<Spans>>,
}

/// The end of a seat's span, where it is known ahead, and the spans after it.
#[derive(Debug, Clone)]
struct Spans {
    /// The last frame it may see; `Seq::MAX` while unknown.
    last: Seq,
    /// Where later spans begin, rising.
    returns: Vec<Seq>,
}

impl<K> Seat<K> {
    pub(crate) fn new(reader: K, next: Seq, full: bool) -> Seat<K> {
        Seat {
            reader,
            next,
            full,
            begun: false,
            spans: None,
        }
    }

    /// Whether it waits for a frame that has been passed on, and could take it.
    pub(crate) fn lags(&self, passed: Seq) -> bool {
        self.next <= passed && !self.full
    }

    /// It has what lies before `first`, whatever was heard of earlier spans.
    pub(crate) fn resume_at(&mut self, first: Seq) {
        if self.next < first && !self.begun {
            self.next = first;
            if let Some(spans) = &mut self.spans {
                spans.returns.retain(|&other| other > first);
                if spans.last < first {
                    spans.last = Seq::MAX;
                }
            }
        }
        self.also_from(first);
        self.begun = true;
    }

    /// It took `next`. Whether that was the last of its span.
    pub(crate) fn took(&mut self) -> bool {
        self.next += 1;
        self.begun = true;
        self.spans
            .as_ref()
            .is_some_and(|spans| spans.last < self.next)
    }

    /// Its span ends with `last`, unless it is past that, and so in a later span already.
    pub(crate) fn end_at(&mut self, last: Seq) {
        if self.next <= last {
            let spans = self.spans();
            spans.last = spans.last.min(last);
        }
    }

    /// Whether the end of its span is known.
    pub(crate) fn is_ending(&self) -> bool {
        self.spans
            .as_ref()
            .is_some_and(|spans| spans.last < Seq::MAX)
    }

    /// A span begins at `first`: a later one, should the present one end before it, or an earlier
    /// one, as long as nothing was taken.
    pub(crate) fn also_from(&mut self, first: Seq) {
        if first < self.next && !self.begun {
            let later = std::mem::replace(&mut self.next, first);
            self.spans().last = Seq::MAX;
            self.return_at(later);
        } else if first > self.next {
            self.return_at(first);
        }
    }

    fn return_at(&mut self, first: Seq) {
        let returns = &mut self.spans().returns;
        if let Err(place) = returns.binary_search(&first) {
            returns.insert(place, first);
            if returns.len() > RETURNS_MAX {
                returns.remove(0);
            }
        }
    }

    /// The span ended with `last`. Moves to the next one; false if there is none.
    pub(crate) fn ended(&mut self, last: Seq) -> bool {
        let Some(mut spans) = self.spans.take() else {
            return false;
        };
        spans.returns.retain(|&first| first > last);
        if spans.returns.is_empty() {
            return false;
        }
        self.next = spans.returns.remove(0);
        if !spans.returns.is_empty() {
            spans.last = Seq::MAX;
            self.spans = Some(spans);
        }
        true
    }

    fn spans(&mut self) -> &mut Spans {
        self.spans.get_or_insert_with(|| {
            Box::new(Spans {
                last: Seq::MAX,
                returns: Vec::new(),
            })
        })
    }
}

/// A reader over all its rooms.
#[derive(Debug, Clone)]
pub(crate) struct Reader<R> {
    /// Room slot → index of its seat there, in order of slot.
    seats: Vec<(u32, u32)>,
    /// It refused a frame, or is held, and has not said since that it has room.
    pub(crate) full: bool,
    /// Which of its rooms is refilled first, next time.
    pub(crate) turn: usize,
    /// Rooms it was removed from, with the last frame it could see there, oldest first.
    departures: Vec<(R, Seq)>,
}

impl<R: Copy + Eq> Reader<R> {
    pub(crate) fn new() -> Reader<R> {
        Reader {
            seats: Vec::new(),
            full: false,
            turn: 0,
            departures: Vec::new(),
        }
    }

    pub(crate) fn seats(&self) -> &[(u32, u32)] {
        &self.seats
    }

    pub(crate) fn seat_in(&self, slot: u32) -> Option<u32> {
        let place = self.place(slot).ok()?;
        Some(self.seats[place].1)
    }

    /// Notes that its seat in this room has this index now.
    pub(crate) fn sits_at(&mut self, slot: u32, index: u32) {
        match self.place(slot) {
            Ok(place) => self.seats[place].1 = index,
            Err(place) => self.seats.insert(place, (slot, index)),
        }
    }

    pub(crate) fn stands_up(&mut self, slot: u32) {
        if let Ok(place) = self.place(slot) {
            self.seats.remove(place);
        }
    }

    /// It may see nothing of this room after `last`, until it is added again.
    pub(crate) fn departed(&mut self, room: R, last: Seq) {
        self.departures.retain(|&(other, _)| other != room);
        self.departures.push((room, last));
        if self.departures.len() > DEPARTURES_MAX {
            self.departures.remove(0);
        }
    }

    /// Whether a span beginning at `first` lies before its removal: late news.
    pub(crate) fn departed_since(&self, room: R, first: Seq) -> bool {
        self.departures
            .iter()
            .any(|&(other, last)| other == room && first <= last)
    }

    /// Whether nothing about it needs remembering.
    pub(crate) fn is_blank(&self) -> bool {
        self.seats.is_empty() && !self.full && self.departures.is_empty()
    }

    fn place(&self, slot: u32) -> Result<usize, usize> {
        self.seats.binary_search_by_key(&slot, |&(slot, _)| slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_moves_to_its_next_span() {
        let mut seat = Seat::new((), 40, false);
        seat.end_at(41);
        seat.also_from(50);
        seat.also_from(50);
        seat.also_from(45);
        assert!(seat.is_ending() && !seat.took() && seat.took());
        assert!(seat.ended(46), "45 lies before the end, 50 after it");
        assert_eq!((seat.next, seat.is_ending()), (50, false));
        assert!(!seat.ended(60));
    }

    #[test]
    fn an_end_that_has_gone_by_is_late_news() {
        let mut seat = Seat::new((), 50, false);
        seat.end_at(41);
        assert!(!seat.is_ending());
    }

    #[test]
    fn an_earlier_span_counts_until_something_was_taken() {
        let mut seat = Seat::new((), 50, false);
        seat.also_from(40);
        assert!(!seat.took() && seat.next == 41);
        seat.also_from(30);
        assert!(seat.next == 41 && seat.ended(45));
        assert_eq!(seat.next, 50);
    }

    #[test]
    fn who_resumes_is_not_taken_back() {
        let mut seat = Seat::new((), 30, false);
        seat.end_at(35);
        seat.also_from(40);
        seat.also_from(60);
        seat.resume_at(50);
        seat.also_from(44);
        assert!(seat.next == 50 && !seat.is_ending() && !seat.took());
        assert!(seat.ended(50) && seat.next == 60);
        let mut seat = Seat::new((), 60, false);
        seat.resume_at(50);
        assert!(seat.next == 50 && !seat.took() && seat.ended(55) && seat.next == 60);
    }

    #[test]
    fn returns_are_bounded() {
        let mut seat = Seat::new((), 1, false);
        for first in 1..=2 * RETURNS_MAX as Seq {
            seat.also_from(2 * first);
        }
        assert!(seat.ended(2));
        assert_eq!(seat.next as usize, 2 * RETURNS_MAX + 2);
    }

    #[test]
    fn departures_are_bounded_and_forget_the_oldest() {
        let mut reader = Reader::new();
        for room in 0..=DEPARTURES_MAX {
            reader.departed(room, 10);
        }
        assert!(!reader.departed_since(0, 10) && reader.departed_since(1, 10));
        assert!(!reader.departed_since(1, 11));
    }
}
