//! Explores every interleaving of two nodes that make, change and delete, and a guest connected to the
//! second who is to hear of it: writes whose outcome is unknown and that land late or never, nodes that
//! crash between a write and its announcement, announcements that are lost, requests that are repeated
//! elsewhere.
//!
//! The way up is modelled by the steps of the core's pipeline (`in_doubt`, `announce`), and what a
//! gateway does with the word of an addition by the rule of `Shard::joined`; the log is followed by the
//! production machine. If the faults end in any state and nothing is left to do, the guest has been told
//! once of the conversation, holds all of it, and is not shown what was deleted.
//!
//! That the exploration finds faults is shown by planting some.
#![allow(clippy::print_stdout, clippy::panic)]

mod explorer;

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use syncchat_delivery::{Frame, Input, Machine, Outlet, Reason, Rev, Seq, Verdict};

const ROOM: u8 = 0;
/// Whoever is added. Connected to the second node.
const GUEST: u8 = 0;
/// A member from the beginning on the same node, in some worlds: then the log itself seats the guest.
const OTHER: u8 = 1;
const NODES: usize = 2;
/// Where the readers are.
const HERE: usize = 1;

/// What a client asks for, each once, until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Action {
    /// Make the conversation, with the guest in it.
    Create,
    /// Add the guest: a message of the log.
    Add,
    /// Write a message.
    Say,
    /// Delete the first message.
    Delete,
}

/// What is wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// What is in doubt is not watched, and a repeat is answered without a word to others.
    NotAnnouncedAgain,
    /// Memberships are not compared with the store.
    NotReconciled,
    /// Whoever is told of an addition joins from there, however far they are.
    NotIdempotent,
}

/// A small world to explore.
#[derive(Clone, Copy)]
struct Scenario {
    name: &'static str,
    /// What is asked for, and of which node first.
    actions: &'static [(Action, usize)],
    /// Whether there is another reader on the guest's node.
    other: bool,
    crashes: u8,
    /// Writes whose outcome is not told.
    unknowns: u8,
    /// Announcements of additions, or of how far the log reaches, that are lost.
    losses: u8,
    planted: Planted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Entry {
    action: Action,
}

impl Frame for Entry {
    fn bytes(&self) -> usize {
        1
    }

    fn rev(&self) -> Rev {
        1
    }
}

/// A write on its way. If nobody waits for it, it may still land, whenever it likes, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Flight {
    action: Action,
    waited_for_by: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Told {
    /// Nothing was asked yet; this node will be.
    New(usize),
    Waits(usize),
    /// The outcome is unknown to the client: it asks again, of any node.
    Unknown,
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum News {
    Joined(Seq),
    Head(Seq),
    Deleted,
}

#[derive(Clone, Default, Hash)]
struct Node {
    /// The store has answered; the announcement comes next.
    answered: Vec<Action>,
    in_doubt: Vec<Action>,
}

/// The node with the readers, and what the guest holds.
#[derive(Clone)]
struct Gateway {
    machine: Machine<u8, u8, Entry>,
    /// What the machine looks like: it has no hash of its own.
    look: u64,
    news: Vec<News>,
    got: [Seq; 2],
    /// How often the guest was told of the conversation over this connection.
    told: u8,
    /// By which message, at the latest.
    told_by: Option<Seq>,
    /// The log has seated the guest without a word.
    untold: Option<Seq>,
    shows_deleted: bool,
}

impl Hash for Gateway {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (self.look, &self.news, self.got, self.told).hash(hasher);
        (self.told_by, self.untold, self.shows_deleted).hash(hasher);
    }
}

#[derive(Clone, Hash)]
struct World {
    made: bool,
    log: Vec<Entry>,
    /// What of the log was there from the beginning.
    base: usize,
    /// The message that made the guest a member; 0: it is a new conversation.
    member_since: Option<Seq>,
    deleted: bool,
    flights: Vec<Flight>,
    told: Vec<Told>,
    nodes: Vec<Node>,
    gateway: Gateway,
    crashes: u8,
    unknowns: u8,
    losses: u8,
    wrong: Option<String>,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Ask(usize, usize),
    Land(usize),
    Announce(usize, usize),
    Forget(usize, usize),
    Look(usize, usize),
    Hear(usize),
    Lose(usize),
    Crash(usize),
}

/// The machine's side.
struct Out<'a> {
    log: &'a [Entry],
    got: &'a mut [Seq; 2],
    untold: &'a mut Option<Seq>,
    wrong: &'a mut Option<String>,
    subscribe: bool,
    fetch: Option<(Seq, usize)>,
    compare: bool,
}

impl Outlet<u8, u8, Entry> for Out<'_> {
    fn deliver(&mut self, reader: &u8, _: u8, seq: Seq, entry: &Entry) -> Verdict {
        if self.log.get(seq as usize - 1) != Some(entry) {
            *self.wrong = Some(format!("{entry:?} was delivered as {seq}"));
        }
        let got = &mut self.got[*reader as usize];
        if seq <= *got {
            *self.wrong = Some(format!("{seq} was delivered after {got}"));
        }
        *got = seq;
        Verdict::Taken
    }

    fn passed(&mut self, _: u8, seq: Seq, entry: &Entry, added: &mut Vec<u8>) {
        if entry.action == Action::Add {
            *self.untold = Some(seq);
            added.push(GUEST);
        }
    }

    fn changed(&mut self, _: u8, seq: Seq, _: &Entry) {
        *self.wrong = Some(format!("{seq} was not changed"));
    }

    fn fetch_changes(&mut self, _: u8, after: Rev, _: usize) {
        *self.wrong = Some(format!("there are no changes after {after}"));
    }

    fn fetch(&mut self, _: u8, after: Seq, limit: usize, _: Reason) {
        self.fetch = Some((after, limit));
    }

    fn compare(&mut self, _: Vec<u8>) {
        self.compare = true;
    }

    fn subscribe(&mut self, _: u8) {
        self.subscribe = true;
    }

    fn unsubscribe(&mut self, _: u8) {}
}

impl Gateway {
    fn new(got: [Seq; 2]) -> Gateway {
        Gateway {
            machine: Machine::new(explorer::smallest()),
            look: 0,
            news: Vec::new(),
            got,
            told: 0,
            told_by: None,
            untold: None,
            shows_deleted: false,
        }
    }

    /// Tells the machine something; what it asks of the store is answered at once.
    fn input(
        &mut self,
        log: &[Entry],
        wrong: &mut Option<String>,
        input: Input<'_, u8, u8, Entry>,
    ) {
        let mut untold = None;
        let mut out = Out {
            log,
            got: &mut self.got,
            untold: &mut untold,
            wrong,
            subscribe: false,
            fetch: None,
            compare: false,
        };
        self.machine.handle(0, input, &mut out);
        loop {
            if std::mem::take(&mut out.subscribe) {
                let input = Input::Subscribed { room: ROOM };
                self.machine.handle(0, input, &mut out);
            } else if let Some((after, limit)) = out.fetch.take() {
                let rest = log.get(after as usize..).unwrap_or_default();
                let frames = &rest[..rest.len().min(limit)];
                let input = Input::Fetched {
                    room: ROOM,
                    after,
                    frames,
                };
                self.machine.handle(0, input, &mut out);
            } else if std::mem::take(&mut out.compare) {
                let heads = [(ROOM, log.len() as Seq, 1)];
                let input = Input::Heads { heads: &heads };
                self.machine.handle(0, input, &mut out);
            } else {
                break;
            }
        }
        if let Some(seq) = untold
            && self.told_by.is_none_or(|by| by < seq)
        {
            self.untold = Some(seq);
        }
        self.look = explorer::look(format_args!("{:?}", self.machine));
    }
}

impl Scenario {
    fn start(&self) -> World {
        let is_new = self
            .actions
            .iter()
            .any(|(action, _)| *action == Action::Create);
        let first = Entry {
            action: Action::Say,
        };
        let mut world = World {
            made: !is_new,
            base: usize::from(!is_new),
            log: if is_new { Vec::new() } else { vec![first] },
            member_since: None,
            deleted: false,
            flights: Vec::new(),
            told: self
                .actions
                .iter()
                .map(|(_, node)| Told::New(*node))
                .collect(),
            nodes: vec![Node::default(); NODES],
            gateway: Gateway::new([0; 2]),
            crashes: self.crashes,
            unknowns: self.unknowns,
            losses: self.losses,
            wrong: None,
        };
        world.connect(self);
        world
    }
}

/// What can happen.
impl World {
    fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for (client, told) in self.told.iter().enumerate() {
            match told {
                // Nobody writes into what is not there.
                Told::New(_) | Told::Unknown if !self.made && client > 0 => {}
                Told::New(node) => events.push(Event::Ask(client, *node)),
                Told::Unknown => events.extend((0..NODES).map(|node| Event::Ask(client, node))),
                Told::Waits(node) if self.unknowns > 0 => events.push(Event::Forget(client, *node)),
                Told::Waits(_) | Told::Done => {}
            }
        }
        events.extend((0..self.flights.len()).map(Event::Land));
        for (at, node) in self.nodes.iter().enumerate() {
            events.extend((0..node.answered.len()).map(|place| Event::Announce(at, place)));
            let landed = |&(_, action): &(usize, &Action)| self.has(*action);
            let in_doubt = node.in_doubt.iter().enumerate().filter(landed);
            events.extend(in_doubt.map(|(place, _)| Event::Look(at, place)));
            if self.crashes > 0 {
                events.push(Event::Crash(at));
            }
        }
        for (place, news) in self.gateway.news.iter().enumerate() {
            events.push(Event::Hear(place));
            if self.losses > 0 && *news != News::Deleted {
                events.push(Event::Lose(place));
            }
        }
        events
    }

    fn apply(&mut self, scenario: &Scenario, event: Event) {
        match event {
            Event::Ask(client, at) => self.ask(scenario, client, at),
            Event::Land(place) => {
                let flight = self.flights.remove(place);
                self.write(flight.action);
                if let Some(at) = flight.waited_for_by {
                    self.nodes[at].answered.push(flight.action);
                }
            }
            Event::Announce(at, place) => {
                let action = self.nodes[at].answered.remove(place);
                self.announce(scenario, at, action);
                for (told, (asked, _)) in self.told.iter_mut().zip(scenario.actions) {
                    if *asked == action && *told == Told::Waits(at) {
                        *told = Told::Done;
                    }
                }
            }
            Event::Forget(client, at) => {
                self.unknowns -= 1;
                let action = scenario.actions[client].0;
                self.told[client] = Told::Unknown;
                for flight in &mut self.flights {
                    if flight.action == action && flight.waited_for_by == Some(at) {
                        flight.waited_for_by = None;
                    }
                }
                let node = &mut self.nodes[at];
                node.answered.retain(|answered| *answered != action);
                let watches = scenario.planted != Planted::NotAnnouncedAgain;
                if watches && !node.in_doubt.contains(&action) {
                    node.in_doubt.push(action);
                }
            }
            Event::Look(at, place) => {
                let action = self.nodes[at].in_doubt.remove(place);
                self.announce(scenario, at, action);
            }
            Event::Hear(place) => {
                let news = self.gateway.news.remove(place);
                self.hear(scenario, news);
            }
            Event::Lose(place) => {
                self.losses -= 1;
                self.gateway.news.remove(place);
            }
            Event::Crash(at) => self.crash(scenario, at),
        }
        if self.gateway.told > 1 {
            self.wrong = Some("the guest was told twice".into());
        }
    }
}

/// The way up.
impl World {
    /// Whether the store has it.
    fn has(&self, action: Action) -> bool {
        match action {
            Action::Create => self.made,
            Action::Add => self.member_since.is_some(),
            Action::Say => {
                let mut written = self.log.iter().skip(self.base);
                written.any(|entry| entry.action == Action::Say)
            }
            Action::Delete => self.deleted,
        }
    }

    fn ask(&mut self, scenario: &Scenario, client: usize, at: usize) {
        let action = scenario.actions[client].0;
        if self.has(action) {
            // There is nothing left to do: whoever did it may not have come to announce it.
            if scenario.planted != Planted::NotAnnouncedAgain {
                self.announce(scenario, at, action);
            }
            self.told[client] = Told::Done;
            return;
        }
        self.told[client] = Told::Waits(at);
        self.flights.push(Flight {
            action,
            waited_for_by: Some(at),
        });
    }

    /// In the store each is done once, however often it is written.
    fn write(&mut self, action: Action) {
        if self.has(action) {
            return;
        }
        match action {
            Action::Create => (self.made, self.member_since) = (true, Some(0)),
            Action::Add => {
                self.log.push(Entry { action });
                self.member_since = Some(self.log.len() as Seq);
            }
            Action::Say => self.log.push(Entry { action }),
            Action::Delete => self.deleted = true,
        }
    }

    fn announce(&mut self, scenario: &Scenario, at: usize, action: Action) {
        let news = match action {
            Action::Create => vec![News::Joined(0)],
            Action::Add => {
                let seq = self.member_since.unwrap_or_default();
                vec![News::Joined(seq), News::Head(seq)]
            }
            Action::Say => vec![News::Head(self.log.len() as Seq)],
            Action::Delete => vec![News::Deleted],
        };
        for news in news {
            if at == HERE {
                self.hear(scenario, news);
            } else if !self.gateway.news.contains(&news) {
                self.gateway.news.push(news);
            }
        }
    }

    /// The node is gone with all it knew, and comes back empty. Its readers return with what they hold.
    fn crash(&mut self, scenario: &Scenario, at: usize) {
        self.crashes -= 1;
        self.nodes[at] = Node::default();
        for flight in &mut self.flights {
            if flight.waited_for_by == Some(at) {
                flight.waited_for_by = None;
            }
        }
        for told in &mut self.told {
            if *told == Told::Waits(at) {
                *told = Told::Unknown;
            }
        }
        if at == HERE {
            self.gateway = Gateway::new(self.gateway.got);
            self.connect(scenario);
        }
    }
}

/// The way down.
impl World {
    /// The readers connect, to what they are in by the store.
    fn connect(&mut self, scenario: &Scenario) {
        if let Some(since) = self.member_since {
            let after = self.gateway.got[GUEST as usize].max(since.saturating_sub(1));
            // They have read the list of their conversations, and what is in them.
            self.gateway.told = 1;
            self.gateway.told_by = Some(since);
            self.join(GUEST, after);
            self.gateway.shows_deleted = self.deleted;
        }
        if scenario.other {
            let after = self.gateway.got[OTHER as usize];
            self.join(OTHER, after);
        }
    }

    fn join(&mut self, reader: u8, after: Seq) {
        let join = Input::Join {
            room: ROOM,
            reader,
            after,
        };
        self.gateway.input(&self.log, &mut self.wrong, join);
    }

    fn hear(&mut self, scenario: &Scenario, news: News) {
        match news {
            News::Joined(seq) => self.joined(scenario, seq),
            News::Head(head) => {
                let input = Input::Head { room: ROOM, head };
                self.gateway.input(&self.log, &mut self.wrong, input);
            }
            News::Deleted => self.gateway.shows_deleted = true,
        }
    }

    /// As the shard of the conversation takes it, from the fleet or from the store.
    fn joined(&mut self, scenario: &Scenario, seq: Seq) {
        let gateway = &mut self.gateway;
        let was_told = gateway.told_by.is_some_and(|by| by >= seq);
        let is_untold = gateway.untold == Some(seq);
        let position = gateway.machine.position(ROOM, &GUEST);
        let is_news = match position {
            None => !gateway.machine.has_left(ROOM, &GUEST, seq.max(1)),
            Some(next) if next <= seq => !was_told,
            Some(_) => is_untold,
        };
        if !is_news && scenario.planted != Planted::NotIdempotent {
            return;
        }
        gateway.told += 1;
        gateway.told_by = Some(seq);
        gateway.untold = None;
        // What the guest reads from then on is as the store has it.
        gateway.shows_deleted |= self.deleted;
        if position.is_none_or(|next| next <= seq) {
            self.join(GUEST, seq.saturating_sub(1));
        }
    }
}

/// What must hold.
impl World {
    /// Whether nothing is left to do: what is still on its way may be lost, or never land.
    fn is_at_rest(&self) -> bool {
        let idle = |node: &Node| {
            node.answered.is_empty() && !node.in_doubt.iter().any(|action| self.has(*action))
        };
        self.told.iter().all(|told| *told == Told::Done) && self.nodes.iter().all(idle)
    }

    /// Nothing more happens but that heads and memberships are compared: everybody has everything.
    fn end(mut self, scenario: &Scenario) -> Option<String> {
        if self.gateway.news.contains(&News::Deleted) {
            self.hear(scenario, News::Deleted);
        }
        if scenario.planted != Planted::NotReconciled
            && let Some(seq) = self.member_since
        {
            self.joined(scenario, seq);
        }
        self.gateway.input(&self.log, &mut self.wrong, Input::Doubt);
        let gateway = &self.gateway;
        let wrong = match self.member_since {
            Some(_) if gateway.told != 1 => {
                Some(format!("the guest was told {} times", gateway.told))
            }
            Some(_) if gateway.got[GUEST as usize] != self.log.len() as Seq => Some(format!(
                "the guest holds {} of {:?}",
                gateway.got[GUEST as usize], self.log
            )),
            _ if self.deleted && !gateway.shows_deleted => {
                Some("what was deleted is still shown".into())
            }
            _ => None,
        };
        self.wrong.or(wrong)
    }

    /// Worlds that look the same are the same.
    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// How many states can be reached, and in how many of them nothing is left to do; or what is wrong
/// in the first in which something is.
fn explore(scenario: &Scenario) -> Result<(usize, usize), String> {
    let mut rests = 0;
    let states = explorer::explore(
        scenario.name,
        scenario.start(),
        World::events,
        |world, event| {
            world.apply(scenario, event);
            world.fingerprint()
        },
        |world| {
            let at_rest = world.is_at_rest();
            rests += usize::from(at_rest);
            let short = || world.clone().end(scenario);
            world.wrong.clone().or_else(|| at_rest.then(short)?)
        },
    )?;
    Ok((states, rests))
}

fn holds(scenario: &Scenario) {
    match explore(scenario) {
        Ok((states, rests)) => {
            println!("{}: {states} states, {rests} at rest", scenario.name);
            assert!(
                states > 500 && rests > 10,
                "the world is smaller than it was meant to be: {states}, {rests}"
            );
        }
        Err(wrong) => panic!("{wrong}"),
    }
}

const A_PAIR: Scenario = Scenario {
    name: "a conversation is made, and somebody writes there",
    actions: &[(Action::Create, 0), (Action::Say, 1)],
    other: false,
    crashes: 1,
    unknowns: 2,
    losses: 1,
    planted: Planted::Nothing,
};

const AN_ADDITION: Scenario = Scenario {
    name: "the guest is added, and somebody writes there",
    actions: &[(Action::Add, 0), (Action::Say, 0)],
    ..A_PAIR
};

const BESIDE_ANOTHER: Scenario = Scenario {
    name: "the guest is added where another reads already",
    other: true,
    ..AN_ADDITION
};

const A_DELETION: Scenario = Scenario {
    name: "the guest is added, and the first message deleted",
    actions: &[(Action::Add, 1), (Action::Delete, 0)],
    ..A_PAIR
};

#[test]
fn a_conversation_is_made() {
    holds(&A_PAIR);
}

#[test]
fn a_member_is_added() {
    holds(&AN_ADDITION);
}

#[test]
fn a_member_is_added_beside_another() {
    holds(&BESIDE_ANOTHER);
}

#[test]
fn a_message_is_deleted() {
    holds(&A_DELETION);
}

#[test]
fn planted_faults_are_found() {
    for (scenario, planted, expected) in [
        (A_PAIR, Planted::NotReconciled, "the guest was told 0 times"),
        (
            AN_ADDITION,
            Planted::NotReconciled,
            "the guest was told 0 times",
        ),
        (
            A_DELETION,
            Planted::NotAnnouncedAgain,
            "what was deleted is still shown",
        ),
        (A_PAIR, Planted::NotIdempotent, "the guest was told"),
    ] {
        let scenario = Scenario {
            planted,
            ..scenario
        };
        match explore(&scenario) {
            Ok((states, _)) => panic!("{planted:?} was not found in {states} states"),
            Err(wrong) => {
                println!("{planted:?}: {wrong}");
                assert!(wrong.contains(expected), "{planted:?}: {wrong}");
            }
        }
    }
}
