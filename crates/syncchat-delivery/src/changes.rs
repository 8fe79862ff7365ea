//! Frames that were changed after they were passed on. The log of a room numbers its changes, in the order
//! in which they can be seen there. As frames do, a change waits for those before it, and what is missing
//! is seen by its number and read.

use std::collections::BTreeMap;

use crate::heads::backoff;
use crate::limits::Config;
use crate::machine::{Frame, Millis, Rev, Seq};

/// The number of a frame that was never changed, and of a change without a number.
pub(crate) const UNNUMBERED: Rev = 1;

/// What is to be done with a change that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It is the next one.
    Next,
    /// Others before it are missing: it is kept until they have come.
    Early,
    /// It came before.
    Old,
}

/// Which changes of one room are known.
#[derive(Debug, Clone)]
pub(crate) struct Changes<F> {
    /// All changes up to this one are known here; `None` before that is known of any.
    known: Option<Rev>,
    /// The newest change that is known to exist.
    head: Rev,
    /// Changes that wait for those between `known` and them.
    early: BTreeMap<Rev, (Seq, F)>,
    /// The question in flight: what it asked for after, and the newest change at that moment.
    asked: Option<(Rev, Rev)>,
    /// Since when the change after `known` has been missing.
    gap_since: Option<Millis>,
    failures: u32,
    retry_at: Millis,
}

impl<F: Frame> Changes<F> {
    pub(crate) fn new() -> Changes<F> {
        Changes {
            known: None,
            head: 0,
            early: BTreeMap::new(),
            asked: None,
            gap_since: None,
            failures: 0,
            retry_at: 0,
        }
    }

    /// The log has been changed up to here. The first caller's readers have read it after that, or will.
    /// True for that first one.
    pub(crate) fn reach(&mut self, head: Rev) -> bool {
        if head == 0 {
            return false;
        }
        self.head = self.head.max(head);
        let is_first = self.known.is_none();
        if is_first {
            self.know(head);
        }
        is_first
    }

    /// A change came.
    pub(crate) fn come(&mut self, seq: Seq, frame: &F, config: &Config) -> Turn {
        let rev = frame.rev();
        if rev <= UNNUMBERED {
            return Turn::Next;
        }
        self.head = self.head.max(rev);
        match self.known {
            None => Turn::Next,
            Some(known) if rev <= known => Turn::Old,
            Some(known) if rev == known + 1 => {
                self.know(rev);
                Turn::Next
            }
            Some(_) => {
                self.early.insert(rev, (seq, frame.clone()));
                if self.early.len() > config.early_frames {
                    self.early.pop_last();
                }
                Turn::Early
            }
        }
    }

    /// The next change, if it came early.
    pub(crate) fn take_next(&mut self) -> Option<(Seq, F)> {
        let next = self.known? + 1;
        let change = self.early.remove(&next)?;
        self.know(next);
        Some(change)
    }

    pub(crate) fn is_known(&self, rev: Rev) -> bool {
        self.known.is_some_and(|known| rev <= known)
    }

    /// Whether everything that is known to have been changed is known here as it is now.
    pub(crate) fn are_complete(&self) -> bool {
        self.known.unwrap_or(0) >= self.head
    }

    /// What to ask for now: what comes after this change. Otherwise when to look again, if at all.
    pub(crate) fn ask(&mut self, now: Millis, config: &Config) -> Result<Rev, Option<Millis>> {
        let Some(known) = self.known.filter(|known| *known < self.head) else {
            return Err(None);
        };
        let due = *self.gap_since.get_or_insert(now) + config.changes_patience;
        if self.asked.is_some() {
            return Err(None);
        }
        let due = due.max(self.retry_at);
        if now < due {
            return Err(Some(due));
        }
        self.asked = Some((known, self.head));
        Ok(known)
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// Whether a change, which was read after `after`, is one that was missing. What is newer than the
    /// question may come without those before it.
    pub(crate) fn was_missing(&self, after: Rev, rev: Rev) -> bool {
        let asked = self.asked.filter(|(asked, _)| *asked == after);
        asked.is_some_and(|(_, head)| rev <= head) && !self.is_known(rev)
    }

    /// What follows `after` was read, all of it or a full page up to this change. The log was read after the
    /// newest change of that moment was there, so all up to it are among them.
    pub(crate) fn answered(&mut self, after: Rev, full_up_to: Option<Rev>) {
        let Some((_, head)) = self.asked.take_if(|(asked, _)| *asked == after) else {
            return;
        };
        self.failures = 0;
        let up_to = full_up_to.map_or(head, |last| last.min(head));
        self.know(self.known.unwrap_or(0).max(up_to));
    }

    /// The log could not be read.
    pub(crate) fn failed(&mut self, now: Millis, config: &Config) {
        self.asked = None;
        self.retry_at = now + backoff(self.failures, config);
        self.failures = self.failures.saturating_add(1);
    }

    /// All changes up to here are known.
    fn know(&mut self, known: Rev) {
        self.known = Some(known);
        self.gap_since = None;
        while let Some(entry) = self.early.first_entry()
            && *entry.key() <= known
        {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone)]
    struct Version(Rev);

    impl Frame for Version {
        fn bytes(&self) -> usize {
            1
        }

        fn rev(&self) -> Rev {
            self.0
        }
    }

    #[test]
    fn changes_have_their_turn_in_whichever_order_they_come() {
        let config = Config::default();
        let mut changes = Changes::new();
        changes.reach(4);
        let mut come = |rev| {
            let turn = changes.come(1, &Version(rev), &config);
            let next: Vec<Rev> = std::iter::from_fn(|| changes.take_next())
                .map(|(_, version)| version.0)
                .collect();
            (turn, next)
        };
        assert_eq!(come(4), (Turn::Old, vec![]));
        assert_eq!(come(7), (Turn::Early, vec![]));
        assert_eq!(come(6), (Turn::Early, vec![]));
        assert_eq!(come(5), (Turn::Next, vec![6, 7]));
        assert_eq!(come(6), (Turn::Old, vec![]));
        assert_eq!(come(UNNUMBERED), (Turn::Next, vec![]));
        assert!(changes.are_complete() && changes.early.is_empty());
    }

    #[test]
    fn what_is_missing_is_asked_for_and_known_with_the_answer() {
        let config = Config::default();
        let patience = config.changes_patience;
        let mut changes = Changes::new();
        changes.reach(2);
        assert_eq!(changes.ask(0, &config), Err(None));
        changes.come(1, &Version(5), &config);
        assert!(!changes.are_complete());
        assert_eq!(changes.ask(0, &config), Err(Some(patience)));
        assert_eq!(changes.ask(patience, &config), Ok(2));
        changes.reach(9);
        assert_eq!(changes.ask(patience, &config), Err(None));
        assert!(changes.was_missing(2, 5) && !changes.was_missing(2, 6));
        let now = 2 * patience;
        changes.failed(now, &config);
        let again = now + config.retry_min;
        assert_eq!(changes.ask(now, &config), Err(Some(again)));
        assert_eq!(changes.ask(again, &config), Ok(2));
        changes.answered(2, Some(7));
        assert_eq!(changes.known, Some(7));
        assert_eq!(changes.ask(again, &config), Err(Some(again + patience)));
        assert_eq!(changes.ask(again + patience, &config), Ok(7));
        changes.answered(2, None);
        assert!(changes.is_asked(), "that was another question");
        changes.answered(7, None);
        assert!(changes.are_complete());
    }
}
