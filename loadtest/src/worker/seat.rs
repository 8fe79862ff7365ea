//! One socket in one room: which messages it has had, and whether they came as they should.

use std::collections::BTreeSet;

use crate::control::SenderTotal;
use crate::mark::Mark;

/// What a socket has of a room.
pub(crate) struct Seat {
    /// Index of the room.
    pub(crate) room: u32,
    /// The sender this socket is, as an index into the worker's senders.
    pub(crate) sender: Option<u32>,
    /// The newest `seq` that came by itself over this connection.
    pub(crate) newest: u64,
    /// The `seq` up to which nothing is missing, for asking after a reconnect.
    pub(crate) cursor: u64,
    /// For each sender of the room, the number that is due next.
    next: Box<[u32]>,
    /// Sender and number of what was passed over.
    missing: BTreeSet<(u32, u32)>,
}

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// New, and in its place.
    Well,
    /// Had already, over an earlier connection or by asking.
    Known,
    /// Had already, over this connection.
    Doubled,
    /// After a later one.
    Misplaced,
}

impl Seat {
    /// Nothing yet.
    pub(crate) fn new(room: u32, sender: Option<u32>, senders: u32) -> Seat {
        Seat {
            room,
            sender,
            newest: 0,
            cursor: 0,
            next: vec![0; senders as usize].into(),
            missing: BTreeSet::new(),
        }
    }

    /// The connection is new: what was had before may come once more.
    pub(crate) fn reconnected(&mut self) {
        self.newest = 0;
    }

    /// A message came by itself.
    pub(crate) fn live(&mut self, mark: &Mark, seq: Option<u64>) -> Came {
        let late = self.is_missing(mark);
        let new = self.note(mark);
        match seq {
            Some(seq) if seq <= self.newest => {
                if new {
                    Came::Misplaced
                } else {
                    Came::Doubled
                }
            }
            Some(seq) => {
                self.newest = seq;
                if new { Came::Well } else { Came::Known }
            }
            // Without places in the room, the order of each sender is what can be judged.
            None if late => Came::Misplaced,
            None if new => Came::Well,
            None => Came::Doubled,
        }
    }

    /// A message came because it was asked for; whether it was new.
    pub(crate) fn replayed(&mut self, mark: &Mark) -> bool {
        self.note(mark)
    }

    fn is_missing(&self, mark: &Mark) -> bool {
        self.missing.contains(&(mark.sender, mark.number))
    }

    /// Takes note of a message; whether it was new.
    fn note(&mut self, mark: &Mark) -> bool {
        let Some(next) = self.next.get_mut(mark.sender as usize) else {
            return false;
        };
        if mark.number == *next {
            *next += 1;
            return true;
        }
        if mark.number > *next {
            let passed = (*next..mark.number).map(|number| (mark.sender, number));
            self.missing.extend(passed);
            *next = mark.number + 1;
            return true;
        }
        self.missing.remove(&(mark.sender, mark.number))
    }

    /// What it should have of a sender and has not.
    pub(crate) fn lacks(&self, total: &SenderTotal) -> impl Iterator<Item = u32> {
        let sender = total.sender;
        let next = self.next.get(sender as usize).copied().unwrap_or(0);
        let missing = self.missing.range((sender, 0)..=(sender, u32::MAX));
        missing
            .map(|(_, number)| *number)
            .chain(next..total.sent.max(next))
            .filter(|number| total.void.binary_search(number).is_err())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(number: u32) -> Mark {
        Mark {
            room: 0,
            sender: 0,
            number,
            due: 0,
        }
    }

    fn lacks(seat: &Seat, sent: u32, void: &[u32]) -> Vec<u32> {
        let total = SenderTotal {
            room: 0,
            sender: 0,
            sent,
            void: void.to_vec(),
        };
        seat.lacks(&total).collect()
    }

    #[test]
    fn knows_what_is_lost_and_what_only_came_late() {
        let mut seat = Seat::new(0, None, 1);
        assert_eq!(seat.live(&mark(0), None), Came::Well);
        assert_eq!(seat.live(&mark(3), None), Came::Well);
        assert_eq!(lacks(&seat, 6, &[]), [1, 2, 4, 5]);
        assert_eq!(lacks(&seat, 6, &[2, 5]), [1, 4]);
        assert_eq!(seat.live(&mark(1), None), Came::Misplaced);
        assert_eq!(seat.live(&mark(1), None), Came::Doubled);
        assert!(seat.replayed(&mark(2)) && !seat.replayed(&mark(2)));
        assert_eq!(lacks(&seat, 4, &[]), [0; 0]);
    }

    #[test]
    fn judges_by_the_place_in_the_room_where_there_is_one() {
        let mut seat = Seat::new(0, None, 2);
        let other = Mark {
            sender: 1,
            ..mark(0)
        };
        assert_eq!(seat.live(&mark(0), Some(2)), Came::Well);
        assert_eq!(seat.live(&other, Some(1)), Came::Misplaced);
        assert_eq!(seat.live(&other, Some(1)), Came::Doubled);
        seat.reconnected();
        assert_eq!(seat.live(&mark(0), Some(2)), Came::Known);
        assert_eq!(seat.live(&mark(0), Some(2)), Came::Doubled);
        assert_eq!(seat.live(&mark(1), Some(3)), Came::Well);
    }
}
