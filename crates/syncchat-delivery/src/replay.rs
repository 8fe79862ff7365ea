//! Recent frames of each room, for readers that are a little behind: a ring a room, and one budget
//! of bytes for all of them.

use std::collections::VecDeque;

use crate::machine::{Frame, Seq};

/// The newest frames of one room, consecutive, the last one being the newest passed on.
#[derive(Debug, Clone)]
pub(crate) struct Ring<F> {
    frames: VecDeque<F>,
    /// `seq` of the first one; meaningless while empty.
    first: Seq,
}

impl<F: Frame> Ring<F> {
    pub(crate) fn new() -> Ring<F> {
        Ring {
            frames: VecDeque::new(),
            first: 0,
        }
    }

    /// The frame with this `seq`, if it is still here.
    pub(crate) fn get(&self, seq: Seq) -> Option<&F> {
        let index = seq.checked_sub(self.first)?;
        self.frames.get(usize::try_from(index).ok()?)
    }

    fn get_mut(&mut self, seq: Seq) -> Option<&mut F> {
        let index = seq.checked_sub(self.first)?;
        self.frames.get_mut(usize::try_from(index).ok()?)
    }

    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Adds the frame after the last one.
    fn push(&mut self, seq: Seq, frame: F) {
        if self.frames.is_empty() {
            self.first = seq;
        }
        debug_assert_eq!(self.first + self.frames.len() as Seq, seq);
        self.frames.push_back(frame);
    }

    fn pop(&mut self) -> usize {
        self.first += 1;
        self.frames.pop_front().map_or(0, |frame| frame.bytes())
    }
}

/// Bytes held by all rings, and in which order their frames came.
#[derive(Debug, Clone)]
pub(crate) struct Replay {
    /// Slot and `seq`, oldest first. Entries whose frame has gone already are skipped.
    order: VecDeque<(u32, Seq)>,
    bytes: usize,
    /// Frames in all rings: `order` is tidied when it is far longer.
    frames: usize,
}

impl Replay {
    pub(crate) fn new() -> Replay {
        Replay {
            order: VecDeque::new(),
            bytes: 0,
            frames: 0,
        }
    }

    /// Keeps a frame as the newest of its room's ring; drops the ring's oldest beyond `max`.
    pub(crate) fn keep<F: Frame>(
        &mut self,
        slot: u32,
        ring: &mut Ring<F>,
        seq: Seq,
        frame: F,
        max: usize,
    ) {
        if max == 0 {
            return;
        }
        self.bytes += frame.bytes();
        self.frames += 1;
        ring.push(seq, frame);
        self.order.push_back((slot, seq));
        if ring.len() > max {
            self.drop_oldest(ring);
        }
    }

    /// Keeps frames that a page brought, beginning with `first`, if they lead up to the ring, or to
    /// `passed` if it is empty: who else comes from as far back finds them here. At most `max` in
    /// all, the newest ones.
    pub(crate) fn keep_older<F: Frame>(
        &mut self,
        slot: u32,
        ring: &mut Ring<F>,
        (first, page): (Seq, &[F]),
        passed: Seq,
        max: usize,
    ) {
        let end = if ring.len() > 0 {
            ring.first
        } else {
            passed + 1
        };
        let leading = end.saturating_sub(first);
        let Some(page) = usize::try_from(leading).ok().and_then(|n| page.get(..n)) else {
            return;
        };
        let count = page.len().min(max.saturating_sub(ring.len()));
        if count == 0 {
            return;
        }
        for frame in page[page.len() - count..].iter().rev() {
            self.bytes += frame.bytes();
            ring.frames.push_front(frame.clone());
        }
        ring.first = end - count as Seq;
        self.frames += count;
        // Each ring's frames stand in `order` as they go.
        self.order.retain(|&(other, _)| other != slot);
        let seqs = ring.first..ring.first + ring.len() as Seq;
        self.order.extend(seqs.map(|seq| (slot, seq)));
    }

    /// Puts a frame in the place of the one with this `seq`, if that is still there and no later version.
    /// True if it was an earlier one.
    pub(crate) fn change<F: Frame>(&mut self, ring: &mut Ring<F>, seq: Seq, frame: F) -> bool {
        match ring.get_mut(seq) {
            Some(old) if old.rev() <= frame.rev() => {
                let was_older = old.rev() < frame.rev();
                self.bytes = self.bytes - old.bytes() + frame.bytes();
                *old = frame;
                was_older
            }
            _ => false,
        }
    }

    /// The next frame to go while there are more bytes than `max`: try [`Self::evict`] on its ring.
    pub(crate) fn excess(&mut self, max: usize) -> Option<(u32, Seq)> {
        if self.bytes > max {
            self.order.pop_front()
        } else {
            None
        }
    }

    /// Drops the frame if it is still the oldest of this ring.
    pub(crate) fn evict<F: Frame>(&mut self, ring: &mut Ring<F>, seq: Seq) {
        if ring.len() > 0 && ring.first == seq {
            self.drop_oldest(ring);
        }
    }

    /// The room goes, and its ring with it.
    pub(crate) fn forget<F: Frame>(&mut self, ring: &mut Ring<F>) {
        while ring.len() > 0 {
            self.drop_oldest(ring);
        }
    }

    /// Whether `order` holds more stale entries than live ones and should be rebuilt.
    pub(crate) fn is_untidy(&self) -> bool {
        self.order.len() > 2 * self.frames + 1024
    }

    /// Keeps only the entries whose frame `is_there`.
    pub(crate) fn tidy(&mut self, is_there: impl Fn(u32, Seq) -> bool) {
        self.order.retain(|&(slot, seq)| is_there(slot, seq));
    }

    fn drop_oldest<F: Frame>(&mut self, ring: &mut Ring<F>) {
        self.bytes -= ring.pop();
        self.frames -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone)]
    struct Text(usize);

    impl Frame for Text {
        fn bytes(&self) -> usize {
            self.0
        }

        fn rev(&self) -> crate::machine::Rev {
            1
        }
    }

    #[test]
    fn keeps_the_newest_of_a_room() {
        let (mut replay, mut ring) = (Replay::new(), Ring::new());
        for seq in 5..=9 {
            replay.keep(0, &mut ring, seq, Text(10), 3);
        }
        let held: Vec<_> = (1..=10).filter(|&seq| ring.get(seq).is_some()).collect();
        assert_eq!(held, [7, 8, 9]);
        assert_eq!((replay.bytes, replay.frames), (30, 3));
    }

    #[test]
    fn drops_the_oldest_of_all_rooms_beyond_the_budget() {
        let mut replay = Replay::new();
        let mut rings = [Ring::new(), Ring::new()];
        for seq in 1..=3 {
            for (slot, ring) in rings.iter_mut().enumerate() {
                replay.keep(slot as u32, ring, seq, Text(10), 8);
            }
        }
        while let Some((slot, seq)) = replay.excess(35) {
            replay.evict(&mut rings[slot as usize], seq);
        }
        assert_eq!(rings.each_ref().map(Ring::len), [1, 2]);
        assert!(rings[0].get(2).is_none() && rings[1].get(2).is_some());
        replay.evict(&mut rings[1], 1);
        assert_eq!(rings[1].len(), 2, "that frame had gone already");
        replay.change(&mut rings[1], 3, Text(7));
        replay.change(&mut rings[1], 1, Text(100));
        assert_eq!(replay.bytes, 27);
        replay.forget(&mut rings[1]);
        assert_eq!((replay.bytes, replay.frames), (10, 1));
    }

    #[test]
    fn a_page_that_leads_up_to_the_ring_is_kept() {
        let (mut replay, mut ring) = (Replay::new(), Ring::new());
        let page = [1, 2, 3].map(Text);
        replay.keep_older(0, &mut ring, (5, &page), 8, 4);
        assert_eq!(ring.len(), 0, "8 is missing");
        replay.keep_older(0, &mut ring, (5, &page), 7, 4);
        assert_eq!((ring.first, ring.len(), replay.bytes), (5, 3, 6));
        replay.keep(0, &mut ring, 8, Text(1), 4);
        replay.keep_older(0, &mut ring, (3, &page), 8, 4);
        assert_eq!((ring.first, ring.len()), (5, 4), "there is no room");
        replay.keep(0, &mut ring, 9, Text(1), 5);
        replay.evict(&mut ring, 5);
        replay.keep_older(0, &mut ring, (4, &page), 9, 5);
        assert_eq!((ring.first, ring.len(), replay.frames), (5, 5, 5));
        let order: Vec<_> = replay.order.iter().map(|&(_, seq)| seq).collect();
        assert_eq!(order, [5, 6, 7, 8, 9]);
        replay.keep_older(0, &mut ring, (9, &page), 9, 9);
        assert_eq!(ring.first, 5, "that lies behind its beginning");
    }

    #[test]
    fn order_can_be_tidied() {
        let (mut replay, mut ring) = (Replay::new(), Ring::new());
        for seq in 1..=2_000 {
            replay.keep(0, &mut ring, seq, Text(1), 2);
        }
        assert!(replay.is_untidy());
        replay.tidy(|_, seq| ring.get(seq).is_some());
        assert_eq!(replay.order.len(), 2);
    }
}
