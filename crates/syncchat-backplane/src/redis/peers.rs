//! The other nodes, as their beats show them: who can be heard, who cannot, and what of them may
//! have been missed here.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::limits::{ASK_AGAIN, PEER_FORGOTTEN, PEERS_MAX, REPLACED_MAX, SILENCE, SILENT_DEAD};

/// What a node says of itself, again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Beat {
    /// Its name; a process that takes the place of a dead one bears the same.
    pub(crate) node: String,
    /// How long it has been there.
    pub(crate) age: Duration,
    /// The number of its newest notice.
    pub(crate) said: u64,
    /// Changes whenever it could not say something to others.
    pub(crate) losses: u64,
}

/// What a beat shows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Something it said may be lost.
    pub(crate) doubt: bool,
    /// It is to be asked for its notices after this one.
    pub(crate) ask: Option<u64>,
}

/// The other processes of the fleet by their number.
pub(crate) struct Peers {
    /// When this node began to listen.
    began: Instant,
    peers: HashMap<u64, Peer>,
    /// Silent ones whose place another process has taken; the last [`REPLACED_MAX`].
    replaced: VecDeque<u64>,
}

struct Peer {
    node: String,
    heard_at: Instant,
    silent: bool,
    /// It is silent and does not note in the store that it lives: it is dead, as far as is known.
    dead: bool,
    losses: u64,
    /// Numbers of its newest notice in the last two beats: what lies before the older one was heard.
    said: [u64; 2],
    /// Notices after this one may have been missed.
    missed: Option<u64>,
    asked_at: Option<Instant>,
}

impl Peers {
    /// Nobody is known yet.
    pub(crate) fn new(now: Instant) -> Peers {
        Peers {
            began: now,
            peers: HashMap::new(),
            replaced: VecDeque::new(),
        }
    }

    /// A beat was heard. `can_ask`: whether it could be answered now.
    pub(crate) fn beat(&mut self, process: u64, beat: Beat, now: Instant, can_ask: bool) -> Shown {
        if !self.peers.contains_key(&process) {
            self.meet(process, &beat, now);
        }
        let Some(peer) = self.peers.get_mut(&process) else {
            return Shown::default();
        };
        let doubt = peer.silent || peer.losses != beat.losses;
        if doubt {
            peer.miss();
        }
        (peer.silent, peer.dead) = (false, false);
        peer.heard_at = now;
        peer.losses = beat.losses;
        peer.said = [peer.said[1], beat.said.max(peer.said[1])];
        let ask = peer.missed.filter(|_| {
            let waited = |at| now.saturating_duration_since(at) >= ASK_AGAIN;
            can_ask && peer.asked_at.is_none_or(waited)
        });
        if ask.is_some() {
            peer.asked_at = Some(now);
        }
        Shown { doubt, ask }
    }

    /// Somebody new. Beyond [`PEERS_MAX`] nobody is watched that was not before.
    fn meet(&mut self, process: u64, beat: &Beat, now: Instant) {
        // It takes the place of one that has gone without a word.
        let replaced = |_: &u64, peer: &mut Peer| peer.node == beat.node && peer.is_silent(now);
        let replaced = self.peers.extract_if(replaced);
        self.replaced.extend(replaced.map(|(process, _)| process));
        let too_many = self.replaced.len().saturating_sub(REPLACED_MAX);
        self.replaced.drain(..too_many);
        // One that began after us may have said something before it could be heard.
        let younger = beat.age < now.saturating_duration_since(self.began);
        let before = if younger { 0 } else { beat.said };
        self.watch(
            process,
            Peer {
                silent: younger && beat.said > 0,
                losses: if younger { 0 } else { beat.losses },
                said: [before; 2],
                ..Peer::new(&beat.node, now)
            },
        );
    }

    fn watch(&mut self, process: u64, peer: Peer) {
        if self.peers.len() < PEERS_MAX {
            self.peers.insert(process, peer);
        }
    }

    /// These processes live by what they noted in the store: of them those that are not heard are
    /// silent, known or not. Who has been silent for [`SILENT_DEAD`] and is not among them is dead. True
    /// if any of this is news: then heads are to be compared once more.
    pub(crate) fn lives<'a>(
        &mut self,
        noted: impl Iterator<Item = (&'a str, u64)>,
        now: Instant,
    ) -> bool {
        let mut news = false;
        let noted: HashMap<u64, &str> = noted.map(|(node, process)| (process, node)).collect();
        for (process, node) in &noted {
            match self.peers.get_mut(process) {
                Some(peer) => news |= std::mem::take(&mut peer.dead),
                None => {
                    news = true;
                    let silent = true;
                    self.watch(
                        *process,
                        Peer {
                            silent,
                            ..Peer::new(node, now)
                        },
                    );
                }
            }
        }
        for (process, peer) in &mut self.peers {
            let long = now.saturating_duration_since(peer.heard_at) >= SILENT_DEAD;
            if peer.silent && !peer.dead && long && !noted.contains_key(process) {
                (peer.dead, news) = (true, true);
            }
        }
        news
    }

    /// It ends, and has said all it had to say.
    pub(crate) fn leave(&mut self, process: u64) {
        self.peers.remove(&process);
    }

    /// It has told everything again that was asked for, up to this number.
    pub(crate) fn answered(&mut self, process: u64, up_to: u64) {
        if let Some(peer) = self.peers.get_mut(&process) {
            peer.missed = None;
            peer.asked_at = None;
            // A beat that was long on its way may still say less.
            peer.said = peer.said.map(|known| known.max(up_to));
        }
    }

    /// This node was deaf for a while: anything of anybody may have been missed.
    pub(crate) fn miss_all(&mut self) {
        self.peers.values_mut().for_each(Peer::miss);
    }

    /// This node is deaf: that nobody is heard says nothing about them.
    pub(crate) fn excuse_all(&mut self, now: Instant) {
        for peer in self.peers.values_mut() {
            peer.heard_at = now;
        }
    }

    /// Looks at the clock. True if somebody has just fallen silent.
    pub(crate) fn check(&mut self, now: Instant) -> bool {
        self.peers
            .retain(|_, peer| now.saturating_duration_since(peer.heard_at) < PEER_FORGOTTEN);
        let mut news = false;
        for peer in self.peers.values_mut() {
            let silent = peer.is_silent(now);
            news |= silent && !peer.silent;
            peer.silent |= silent;
        }
        news
    }

    /// Whether somebody is not heard who may be alive.
    pub(crate) fn any_silent(&self) -> bool {
        self.peers.values().any(|peer| peer.silent && !peer.dead)
    }

    /// Whether this one is heard.
    pub(crate) fn hears(&self, process: u64) -> bool {
        self.peers.get(&process).is_some_and(|peer| !peer.silent)
    }

    /// Processes that are dead, as far as is known.
    pub(crate) fn dead(&self) -> Vec<u64> {
        let dead = self.peers.iter().filter(|(_, peer)| peer.dead);
        let dead = dead.map(|(process, _)| *process);
        dead.chain(self.replaced.iter().copied()).collect()
    }

    /// Processes that were heard once and have not said goodbye.
    pub(crate) fn known(&self) -> Vec<u64> {
        self.peers.keys().copied().collect()
    }

    /// Processes that are heard.
    pub(crate) fn heard(&self) -> Vec<u64> {
        let heard = self.peers.iter().filter(|(_, peer)| !peer.silent);
        heard.map(|(process, _)| *process).collect()
    }
}

impl Peer {
    /// One that says nothing of what it said before.
    fn new(node: &str, now: Instant) -> Peer {
        Peer {
            node: node.to_owned(),
            heard_at: now,
            silent: false,
            dead: false,
            losses: 0,
            said: [0; 2],
            missed: None,
            asked_at: None,
        }
    }

    fn is_silent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.heard_at) > SILENCE
    }

    fn miss(&mut self) {
        // What it said just before it was last heard may have been on its way still.
        let since = self.said[0];
        self.missed = Some(self.missed.map_or(since, |missed| missed.min(since)));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// From one that has been there for longer than anybody.
    fn beat(node: &str, said: u64, losses: u64) -> Beat {
        Beat {
            node: node.into(),
            age: Duration::from_secs(3_600),
            said,
            losses,
        }
    }

    fn hear(peers: &mut Peers, process: u64, beat: Beat, now: Instant) -> Shown {
        peers.beat(process, beat, now, true)
    }

    struct Clock(Instant);

    fn fleet() -> (Peers, Clock) {
        let now = Instant::now();
        (Peers::new(now), Clock(now))
    }

    impl Clock {
        fn at(&self, millis: u64) -> Instant {
            self.0 + Duration::from_millis(millis)
        }
    }

    #[test]
    fn who_falls_silent_is_noticed_and_asked_for_what_was_missed() {
        let (mut peers, clock) = fleet();
        for (i, said) in [5, 7, 9].into_iter().enumerate() {
            let shown = hear(&mut peers, 1, beat("a", said, 0), clock.at(i as u64 * 400));
            assert_eq!(shown, Shown::default());
        }
        assert!(!peers.check(clock.at(1_500)) && !peers.any_silent());
        assert!(peers.check(clock.at(1_900)), "news");
        assert!(!peers.check(clock.at(2_000)) && peers.any_silent(), "once");
        let shown = hear(&mut peers, 1, beat("a", 20, 0), clock.at(2_400));
        assert!(shown.doubt && !peers.any_silent());
        assert_eq!(shown.ask, Some(7), "what the last beat but one had told");
        let shown = hear(&mut peers, 1, beat("a", 20, 0), clock.at(2_800));
        assert_eq!(shown, Shown::default(), "it may be answering");
        let shown = hear(&mut peers, 1, beat("a", 20, 0), clock.at(3_500));
        assert_eq!(shown.ask, Some(7), "no answer came");
        peers.answered(1, 20);
        let shown = hear(&mut peers, 1, beat("a", 20, 0), clock.at(3_900));
        assert_eq!(shown, Shown::default());
        peers.miss_all();
        let shown = hear(&mut peers, 1, beat("a", 21, 0), clock.at(4_300));
        assert_eq!(
            shown.ask,
            Some(20),
            "what was told again is not asked for twice"
        );
    }

    #[test]
    fn who_could_not_say_something_says_so() {
        let (mut peers, clock) = fleet();
        hear(&mut peers, 1, beat("a", 5, 0), clock.at(0));
        let shown = hear(&mut peers, 1, beat("a", 6, 1), clock.at(400));
        assert_eq!((shown.doubt, shown.ask), (true, Some(5)));
        assert!(!hear(&mut peers, 1, beat("a", 6, 1), clock.at(800)).doubt);
    }

    #[test]
    fn who_is_new_is_asked_for_what_it_said_before_it_was_heard() {
        let (mut peers, clock) = fleet();
        let age = Duration::from_millis(300);
        let new = |said, losses| Beat {
            age,
            ..beat("a", said, losses)
        };
        let shown = hear(&mut peers, 1, new(2, 0), clock.at(5_000));
        assert_eq!((shown.doubt, shown.ask), (true, Some(0)));
        assert!(hear(&mut peers, 2, new(0, 1), clock.at(5_000)).doubt);
        let nothing = hear(&mut peers, 3, new(0, 0), clock.at(5_000));
        assert_eq!(nothing, Shown::default());
    }

    #[test]
    fn own_deafness_is_no_ones_silence_and_everyone_is_asked() {
        let (mut peers, clock) = fleet();
        hear(&mut peers, 1, beat("a", 5, 0), clock.at(0));
        peers.excuse_all(clock.at(5_000));
        assert!(!peers.check(clock.at(5_900)));
        peers.miss_all();
        let deaf = peers.beat(1, beat("a", 8, 0), clock.at(5_920), false);
        assert_eq!(deaf.ask, None, "not before it can be answered");
        let shown = hear(&mut peers, 1, beat("a", 8, 0), clock.at(5_950));
        assert_eq!(shown.ask, Some(5));
    }

    #[test]
    fn the_dead_are_not_waited_for_once_they_are_replaced_or_long_gone() {
        let (mut peers, clock) = fleet();
        hear(&mut peers, 1, beat("a", 5, 0), clock.at(0));
        hear(&mut peers, 2, beat("b", 5, 0), clock.at(0));
        hear(&mut peers, 3, beat("a", 0, 0), clock.at(500));
        assert_eq!(
            peers.peers.len(),
            3,
            "the first a is alive as far as is known"
        );
        peers.check(clock.at(1_600));
        hear(&mut peers, 4, beat("b", 0, 0), clock.at(1_600));
        assert!(!peers.peers.contains_key(&2), "its place is taken");
        assert_eq!(peers.dead(), [2]);
        peers.leave(3);
        peers.leave(4);
        assert!(peers.any_silent());
        peers.check(clock.at(PEER_FORGOTTEN.as_millis() as u64));
        assert!(!peers.any_silent() && peers.heard().is_empty());
    }

    #[test]
    fn who_is_silent_lives_as_long_as_it_notes_that() {
        let (mut peers, clock) = fleet();
        let lives = |peers: &mut Peers, noted: &[(&'static str, u64)], at| {
            peers.lives(noted.iter().copied(), clock.at(at))
        };
        hear(&mut peers, 1, beat("a", 5, 0), clock.at(0));
        assert!(!lives(&mut peers, &[("a", 1)], 500) && !peers.any_silent());
        peers.check(clock.at(1_900));
        let dead = SILENT_DEAD.as_millis() as u64;
        assert!(!lives(&mut peers, &[], dead - 1) && peers.any_silent());
        assert!(!lives(&mut peers, &[("a", 1)], dead) && peers.any_silent());
        assert!(
            lives(&mut peers, &[], dead + 1) && !peers.any_silent(),
            "news"
        );
        assert!(!lives(&mut peers, &[], dead + 1_000), "once");
        assert_eq!((peers.dead(), peers.known()), (vec![1], vec![1]));
        assert!(lives(&mut peers, &[("a", 1)], dead + 2_000) && peers.any_silent());
        lives(&mut peers, &[], dead + 3_000);
        let shown = hear(&mut peers, 1, beat("a", 9, 0), clock.at(dead + 4_000));
        assert!(shown.doubt && shown.ask == Some(5), "it was not dead");
        assert!(!peers.any_silent() && peers.hears(1));
    }

    #[test]
    fn who_was_never_heard_is_known_by_its_note() {
        let (mut peers, clock) = fleet();
        assert!(peers.lives([("a", 1)].into_iter(), clock.at(0)));
        assert!(peers.any_silent() && !peers.hears(1));
        assert!(hear(&mut peers, 1, beat("a", 2, 0), clock.at(500)).doubt);
        assert!(!peers.any_silent());
    }
}
