//! Explores every interleaving of two nodes that write one conversation: appends whose outcome is
//! unknown and that land late or never, nodes that crash between any two steps, clients that go to
//! the other node and send again, hints that are lost, doubled and reordered.
//!
//! The way up is modelled by the steps of the core's pipeline and of the store, one event each; their
//! names are in docs/delivery.md. The way down is the production machine, whose own interleavings
//! `model.rs` explores. In each state that can be reached, what was acknowledged is in the log where
//! the ack said, nothing is there twice, nobody writes after their removal, and every reader has a
//! prefix of the log, each message once. If the faults end there, everybody is answered and every
//! reader gets everything.
//!
//! That the exploration finds faults is shown by planting some.
#![allow(clippy::print_stdout, clippy::panic)]

mod explorer;

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use syncchat_delivery::{Frame, Input, Machine, Outlet, Reason, Rev, Seq, Verdict};

const ROOM: u8 = 0;
const READER: u8 = 0;
const NODES: usize = 2;

/// What a client wants to say, under a name of its own. One message each.
type Name = u8;

/// What is wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// A node acknowledges what it has handed to the store.
    AckBeforeCommit,
    /// Nobody compares heads.
    NoComparison,
    /// The store takes a message under a name that exists.
    NamesNotUnique,
    /// The store lets an append go behind a removal that its writer has not seen.
    BehindChanges,
    /// What is in doubt is refused without looking whether it was written.
    DoubtIgnored,
}

/// A small world to explore.
#[derive(Clone, Copy)]
struct Scenario {
    name: &'static str,
    /// Of each client: which node it talks to first, and whom its message removes.
    clients: &'static [(usize, Option<Name>)],
    /// Whether the nodes have met here before, and go behind each other.
    crowded: bool,
    crashes: u8,
    /// Appends whose outcome is not told.
    unknowns: u8,
    /// Clients that go to the other node without an answer.
    moves: u8,
    doubles: u8,
    planted: Planted,
}

/// An entry of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Entry {
    name: Name,
    /// Of the acceptance: a resend has another.
    id: u8,
    removes: Option<Name>,
}

impl Frame for Entry {
    fn bytes(&self) -> usize {
        1
    }

    fn rev(&self) -> Rev {
        1
    }
}

/// What a node believes of a conversation, and a plan is made on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Head {
    last: Seq,
    /// Who was removed, a bit each.
    removed: u8,
}

#[derive(Debug, Clone, Copy, Hash)]
struct Request {
    name: Name,
    id: u8,
    doubtful: bool,
}

/// An append on its way. If nobody waits for it, it may still land, whenever it likes, or never.
#[derive(Debug, Clone, Hash)]
struct Flight {
    waited_for_by: Option<usize>,
    expected: Seq,
    behind: bool,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Appended {
    At(Seq),
    Moved,
    Duplicate,
}

#[derive(Debug, Clone, Hash)]
enum Phase {
    /// The head was read, and what is in doubt is looked for next.
    Doubting(Head),
    /// The store has it, or will have. With its answer, once there is one.
    Appending(Head, Vec<Entry>, Option<Appended>),
    /// Announced; these are acknowledged next.
    Announced(Vec<(Name, Seq)>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Told {
    /// It has said nothing yet, and talks to this node.
    New(usize),
    /// It does not know what became of its message.
    Nothing,
    /// A node has its message, under this id, and has not answered.
    Waits(usize),
    Acknowledged(Seq),
    /// It was removed.
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum News {
    Committed(Seq),
    Head(Seq),
}

#[derive(Clone)]
struct Node {
    head: Option<Head>,
    waiting: Vec<Request>,
    turn: Vec<Request>,
    phase: Option<Phase>,
    /// Others were met here.
    crowded: bool,
    /// Watched for what may have landed beyond this.
    doubt: Option<Seq>,
    news: Vec<News>,
    machine: Machine<u8, u8, Entry>,
    /// What the machine looks like: it has no hash of its own.
    look: u64,
    /// What the reader on this node holds.
    got: Seq,
}

#[derive(Clone, Hash)]
struct World {
    log: Vec<Entry>,
    flights: Vec<Flight>,
    nodes: Vec<Node>,
    told: Vec<Told>,
    ids: u8,
    crashes: u8,
    unknowns: u8,
    moves: u8,
    doubles: u8,
    wrong: Option<String>,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    /// A client sends its message, for the first time or again.
    Send(Name, usize),
    /// A client waits no longer, for its connection is gone.
    Move(Name),
    Take(usize),
    LookUp(usize),
    Land(usize),
    Answer(usize),
    /// The store's answer does not come in time: the node tries again, or refuses.
    Unknown(usize, bool),
    Acknowledge(usize),
    Watch(usize),
    Hear(usize, usize),
    HearAndKeep(usize, usize),
    Crash(usize),
}

/// The machine's side of one node.
struct Out<'a> {
    log: &'a [Entry],
    got: &'a mut Seq,
    wrong: &'a mut Option<String>,
    subscribe: bool,
    fetch: Option<(Seq, usize)>,
    compare: bool,
}

impl Outlet<u8, u8, Entry> for Out<'_> {
    fn deliver(&mut self, _: &u8, _: u8, seq: Seq, entry: &Entry) -> Verdict {
        if self.log.get(seq as usize - 1) != Some(entry) {
            *self.wrong = Some(format!("{entry:?} was delivered as {seq}"));
        }
        if seq != *self.got + 1 {
            *self.wrong = Some(format!("{seq} was delivered after {}", self.got));
        }
        *self.got = seq;
        Verdict::Taken
    }

    fn passed(&mut self, _: u8, _: Seq, _: &Entry, _: &mut Vec<u8>) {}

    fn fetch(&mut self, _: u8, after: Seq, limit: usize, _: Reason) {
        self.fetch = Some((after, limit));
    }

    fn changed(&mut self, _: u8, seq: Seq, _: &Entry) {
        *self.wrong = Some(format!("{seq} was not changed"));
    }

    fn fetch_changes(&mut self, _: u8, after: Rev, _: usize) {
        *self.wrong = Some(format!("there are no changes after {after}"));
    }

    fn compare(&mut self, _: Vec<u8>) {
        self.compare = true;
    }

    fn subscribe(&mut self, _: u8) {
        self.subscribe = true;
    }

    fn unsubscribe(&mut self, _: u8) {}
}

impl Node {
    fn new() -> Node {
        Node {
            head: None,
            waiting: Vec::new(),
            turn: Vec::new(),
            phase: None,
            crowded: false,
            doubt: None,
            news: Vec::new(),
            machine: Machine::new(explorer::smallest()),
            look: 0,
            got: 0,
        }
    }

    /// Tells the machine something; what it asks of the store is answered at once.
    fn input(
        &mut self,
        log: &[Entry],
        wrong: &mut Option<String>,
        input: Input<'_, u8, u8, Entry>,
    ) {
        let mut out = Out {
            log,
            got: &mut self.got,
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
        self.look = explorer::look(format_args!("{:?}", self.machine));
    }
}

impl Hash for Node {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (self.head, &self.waiting, &self.turn, &self.phase).hash(hasher);
        (self.crowded, self.doubt, &self.news, self.look, self.got).hash(hasher);
    }
}

impl Scenario {
    fn start(&self) -> World {
        let mut world = World {
            log: Vec::new(),
            flights: Vec::new(),
            nodes: vec![Node::new(); NODES],
            told: self
                .clients
                .iter()
                .map(|(node, _)| Told::New(*node))
                .collect(),
            ids: 0,
            crashes: self.crashes,
            unknowns: self.unknowns,
            moves: self.moves,
            doubles: self.doubles,
            wrong: None,
        };
        for node in 0..NODES {
            world.nodes[node].crowded = self.crowded;
            world.join(node);
        }
        world
    }

    fn entry(&self, request: &Request) -> Entry {
        Entry {
            name: request.name,
            id: request.id,
            removes: self.clients[request.name as usize].1,
        }
    }
}

/// What can happen.
impl World {
    fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for (name, told) in (0..).zip(&self.told) {
            match told {
                Told::Nothing => events.extend((0..NODES).map(|node| Event::Send(name, node))),
                Told::New(node) => events.push(Event::Send(name, *node)),
                Told::Waits(_) if self.moves > 0 => events.push(Event::Move(name)),
                _ => {}
            }
        }
        events.extend((0..self.flights.len()).map(Event::Land));
        for (at, node) in self.nodes.iter().enumerate() {
            match &node.phase {
                None if !node.waiting.is_empty() => events.push(Event::Take(at)),
                None => {}
                Some(Phase::Doubting(_)) => events.push(Event::LookUp(at)),
                Some(Phase::Appending(_, _, answer)) => {
                    if answer.is_some() {
                        events.push(Event::Answer(at));
                    }
                    if self.unknowns > 0 {
                        events.extend([false, true].map(|refuse| Event::Unknown(at, refuse)));
                    }
                }
                Some(Phase::Announced(_)) => events.push(Event::Acknowledge(at)),
            }
            if node
                .doubt
                .is_some_and(|known| known < self.log.len() as Seq)
            {
                events.push(Event::Watch(at));
            }
            for place in 0..node.news.len() {
                events.push(Event::Hear(at, place));
                if self.doubles > 0 {
                    events.push(Event::HearAndKeep(at, place));
                }
            }
            // Of a node that does nothing nothing is lost.
            if self.crashes > 0 && (node.phase.is_some() || !node.news.is_empty()) {
                events.push(Event::Crash(at));
            }
        }
        events
    }

    fn apply(&mut self, scenario: &Scenario, event: Event) {
        match event {
            Event::Send(name, node) => {
                let id = self.ids;
                self.ids += 1;
                self.told[name as usize] = Told::Waits(node);
                self.nodes[node].waiting.push(Request {
                    name,
                    id,
                    doubtful: false,
                });
            }
            Event::Move(name) => {
                self.moves -= 1;
                self.told[name as usize] = Told::Nothing;
            }
            Event::Take(at) => self.take(scenario, at),
            Event::LookUp(at) => self.look_up(scenario, at),
            Event::Land(place) => self.land(scenario, place),
            Event::Answer(at) => self.settle(at),
            Event::Unknown(at, refuse) => self.give_up(scenario, at, refuse),
            Event::Acknowledge(at) => self.acknowledge(at),
            Event::Watch(at) => {
                let head = self.log.len() as Seq;
                self.nodes[at].doubt = Some(head);
                self.publish(at, News::Head(head));
            }
            Event::Hear(at, place) => {
                let news = self.nodes[at].news.remove(place);
                self.hear(at, news);
            }
            Event::HearAndKeep(at, place) => {
                self.doubles -= 1;
                self.hear(at, self.nodes[at].news[place]);
            }
            Event::Crash(at) => self.crash(at),
        }
        self.check(scenario);
    }
}

/// The way up.
impl World {
    fn head(&self) -> Head {
        let removes = self.log.iter().filter_map(|entry| entry.removes);
        Head {
            last: self.log.len() as Seq,
            removed: removes.fold(0, |removed, name| removed | 1 << name),
        }
    }

    /// A turn takes what waits, on the head from memory if all is certain.
    fn take(&mut self, scenario: &Scenario, at: usize) {
        let stored = self.head();
        let node = &mut self.nodes[at];
        node.turn = std::mem::take(&mut node.waiting);
        let doubtful = node.turn.iter().any(|request| request.doubtful);
        let fresh = node.head.is_none() || doubtful;
        let head = if fresh {
            stored
        } else {
            node.head.unwrap_or(stored)
        };
        if doubtful && scenario.planted != Planted::DoubtIgnored {
            node.phase = Some(Phase::Doubting(head));
        } else {
            self.plan(scenario, at, head, fresh, Vec::new());
        }
    }

    /// What is in doubt is found, or is not there yet.
    fn look_up(&mut self, scenario: &Scenario, at: usize) {
        let Some(Phase::Doubting(head)) = self.nodes[at].phase.take() else {
            return;
        };
        let mut done = Vec::new();
        let log = &self.log;
        self.nodes[at].turn.retain(|request| {
            let found = log.iter().position(|entry| entry.id == request.id);
            done.extend(found.map(|place| (request.name, place as Seq + 1)));
            found.is_none()
        });
        self.plan(scenario, at, head, true, done);
    }

    fn plan(
        &mut self,
        scenario: &Scenario,
        at: usize,
        mut head: Head,
        fresh: bool,
        mut done: Vec<(Name, Seq)>,
    ) {
        let gone = |head: &Head, request: &Request| head.removed & 1 << request.name != 0;
        if !fresh && self.nodes[at].turn.iter().any(|r| gone(&head, r)) {
            // A refusal is only believed on a head from the store.
            head = self.head();
        }
        let mut turn = std::mem::take(&mut self.nodes[at].turn);
        for request in turn.extract_if(.., |request| gone(&head, request)) {
            // Before it is refused, it is looked for under the sender's own name.
            match self.log.iter().position(|entry| entry.name == request.name) {
                Some(place) => done.push((request.name, place as Seq + 1)),
                None => self.tell(at, request.name, Told::Refused),
            }
        }
        // Of those with the same name, the first is written, and answers the others. A removal ends
        // the batch, so that what comes after it is decided on it.
        let mut entries: Vec<Entry> = Vec::new();
        let mut taken = 0;
        for request in &turn {
            if entries.iter().any(|entry| entry.removes.is_some()) {
                break;
            }
            taken += 1;
            if entries.iter().all(|entry| entry.name != request.name) {
                entries.push(scenario.entry(request));
            }
        }
        let mut rest = turn.split_off(taken);
        rest.append(&mut self.nodes[at].waiting);
        self.nodes[at].waiting = rest;
        for &(name, seq) in &done {
            self.publish(at, News::Head(seq));
            self.tell(at, name, Told::Acknowledged(seq));
        }
        let node = &mut self.nodes[at];
        node.head = Some(head);
        if entries.is_empty() {
            return;
        }
        node.turn = turn;
        self.flights.push(Flight {
            waited_for_by: Some(at),
            expected: head.last,
            behind: node.crowded,
            entries: entries.clone(),
        });
        if scenario.planted == Planted::AckBeforeCommit {
            for (entry, seq) in entries.iter().zip(head.last + 1..) {
                self.tell(at, entry.name, Told::Acknowledged(seq));
            }
        }
        self.nodes[at].phase = Some(Phase::Appending(head, entries, None));
    }

    /// The store writes an append, all or nothing, or refuses it.
    fn land(&mut self, scenario: &Scenario, place: usize) {
        let flight = self.flights.remove(place);
        let last = self.log.len() as Seq;
        let known = |entry: &Entry| {
            let same_name =
                |old: &Entry| old.name == entry.name && scenario.planted != Planted::NamesNotUnique;
            self.log
                .iter()
                .any(|old| old.id == entry.id || same_name(old))
        };
        let since = self.log.get(flight.expected as usize..).unwrap_or_default();
        let changed = since.iter().any(|entry| entry.removes.is_some())
            && scenario.planted != Planted::BehindChanges;
        let moved = if flight.behind {
            changed
        } else {
            last != flight.expected
        };
        let answer = if flight.entries.iter().any(known) {
            Appended::Duplicate
        } else if moved {
            Appended::Moved
        } else {
            self.log.extend(flight.entries);
            Appended::At(last)
        };
        if let Some(at) = flight.waited_for_by
            && let Some(Phase::Appending(_, _, waits)) = &mut self.nodes[at].phase
        {
            *waits = Some(answer);
        }
    }

    /// The store has answered: what was committed is announced; the rest is tried again.
    fn settle(&mut self, at: usize) {
        let Some(Phase::Appending(base, entries, Some(answer))) = self.nodes[at].phase.take()
        else {
            return;
        };
        let stored = self.head();
        match answer {
            Appended::At(last) => {
                let written = entries.len() as Seq;
                let mut head = Head {
                    last: last + written,
                    ..base
                };
                for entry in &entries {
                    head.removed |= entry.removes.map_or(0, |name| 1 << name);
                }
                self.nodes[at].head = Some(head);
                self.nodes[at].crowded |= last != base.last;
                for seq in last + 1..=last + written {
                    self.publish(at, News::Committed(seq));
                }
                let place = |name| {
                    let place = entries.iter().position(|entry| entry.name == name);
                    place.map(|place| (name, last + 1 + place as Seq))
                };
                let turn = std::mem::take(&mut self.nodes[at].turn);
                let acks = turn.iter().filter_map(|r| place(r.name)).collect();
                self.nodes[at].phase = Some(Phase::Announced(acks));
            }
            Appended::Moved => {
                let node = &mut self.nodes[at];
                node.head = Some(stored);
                node.crowded = true;
                self.again(at, false);
                if stored.last > base.last {
                    self.publish(at, News::Head(stored.last));
                }
            }
            Appended::Duplicate => {
                let turn = std::mem::take(&mut self.nodes[at].turn);
                let mut rest = Vec::new();
                for request in turn {
                    match self.log.iter().position(|entry| entry.name == request.name) {
                        Some(place) => {
                            let seq = place as Seq + 1;
                            self.publish(at, News::Head(seq));
                            self.tell(at, request.name, Told::Acknowledged(seq));
                        }
                        None => rest.push(request),
                    }
                }
                self.nodes[at].turn = rest;
                self.again(at, true);
            }
        }
    }

    /// What is left of a turn goes back before what came meanwhile.
    fn again(&mut self, at: usize, doubtful: bool) {
        let node = &mut self.nodes[at];
        let mut turn = std::mem::take(&mut node.turn);
        turn.iter_mut()
            .for_each(|request| request.doubtful |= doubtful);
        turn.append(&mut node.waiting);
        node.waiting = turn;
    }

    /// The outcome is unknown: nothing in memory is believed, and the head is watched.
    fn give_up(&mut self, scenario: &Scenario, at: usize, refuse: bool) {
        self.unknowns -= 1;
        let Some(Phase::Appending(base, _, _)) = self.nodes[at].phase.take() else {
            return;
        };
        self.abandon_flights(at);
        let node = &mut self.nodes[at];
        node.head = None;
        node.doubt = Some(node.doubt.map_or(base.last, |known| known.min(base.last)));
        if refuse || scenario.planted == Planted::DoubtIgnored {
            // `unavailable`: the client finds out by sending it again. The planted fault says what
            // must only be said of what is certain.
            let definite = scenario.planted == Planted::DoubtIgnored;
            for request in std::mem::take(&mut node.turn) {
                let told = if definite {
                    Told::Refused
                } else {
                    Told::Nothing
                };
                self.tell(at, request.name, told);
            }
        }
        self.again(at, true);
    }

    fn acknowledge(&mut self, at: usize) {
        if let Some(Phase::Announced(acks)) = self.nodes[at].phase.take() {
            for (name, seq) in acks {
                self.tell(at, name, Told::Acknowledged(seq));
            }
        }
    }

    /// A client that went elsewhere does not hear it.
    fn tell(&mut self, at: usize, name: Name, told: Told) {
        let client = &mut self.told[name as usize];
        if *client == Told::Waits(at) {
            *client = told;
        }
    }

    fn abandon_flights(&mut self, at: usize) {
        for flight in &mut self.flights {
            if flight.waited_for_by == Some(at) {
                flight.waited_for_by = None;
            }
        }
    }

    /// The node is gone with all it knew, and comes back empty. Its reader returns with what it holds.
    fn crash(&mut self, at: usize) {
        self.crashes -= 1;
        self.abandon_flights(at);
        for told in &mut self.told {
            if *told == Told::Waits(at) {
                *told = Told::Nothing;
            }
        }
        let got = self.nodes[at].got;
        self.nodes[at] = Node::new();
        self.nodes[at].got = got;
        self.join(at);
    }
}

/// The way down.
impl World {
    fn join(&mut self, at: usize) {
        let after = self.nodes[at].got;
        for input in [
            Input::Hold { reader: READER },
            Input::Join {
                room: ROOM,
                reader: READER,
                after,
            },
            Input::Drained { reader: READER },
        ] {
            self.nodes[at].input(&self.log, &mut self.wrong, input);
        }
    }

    /// This node hears it at once, the others when they do.
    fn publish(&mut self, at: usize, news: News) {
        for (other, node) in self.nodes.iter_mut().enumerate() {
            if other != at && !node.news.contains(&news) {
                node.news.push(news);
            }
        }
        self.hear(at, news);
    }

    fn hear(&mut self, at: usize, news: News) {
        let node = &mut self.nodes[at];
        match news {
            News::Committed(seq) => {
                let frames = &self.log[seq as usize - 1..seq as usize];
                // Who came or went is read from the store.
                if node.head.is_some_and(|head| head.last + 1 == seq) {
                    node.head = match frames[0].removes {
                        None => node.head.map(|head| Head { last: seq, ..head }),
                        Some(_) => None,
                    };
                }
                let input = Input::Committed {
                    room: ROOM,
                    first: seq,
                    frames,
                };
                node.input(&self.log, &mut self.wrong, input);
            }
            News::Head(head) => {
                let input = Input::Head { room: ROOM, head };
                node.input(&self.log, &mut self.wrong, input);
            }
        }
    }
}

/// What must hold.
impl World {
    fn check(&mut self, scenario: &Scenario) {
        let wrong = |world: &World| {
            for (place, entry) in world.log.iter().enumerate() {
                let before = &world.log[..place];
                if before.iter().any(|old| old.name == entry.name) {
                    return Some(format!("message {} is in the log twice", entry.name));
                }
                if before.iter().any(|old| old.removes == Some(entry.name)) {
                    return Some(format!("{} writes after its removal", entry.name));
                }
            }
            for (name, told) in (0..).zip(&world.told) {
                let place = world.log.iter().position(|entry| entry.name == name);
                match (told, place) {
                    (Told::Acknowledged(seq), place)
                        if place.map(|p| p as Seq + 1) != Some(*seq) =>
                    {
                        return Some(format!("{name} was acknowledged at {seq}: {:?}", world.log));
                    }
                    (Told::Refused, Some(_)) => {
                        return Some(format!("{name} was refused and is in the log"));
                    }
                    _ => {}
                }
            }
            let longest = scenario.clients.len() as Seq;
            let ahead = |node: &Node| node.got > world.log.len() as Seq || node.got > longest;
            world
                .nodes
                .iter()
                .any(ahead)
                .then(|| "a reader is ahead of the log".to_owned())
        };
        self.wrong = self.wrong.take().or_else(|| wrong(self));
    }

    /// Whether nothing is left to do: what is still on its way may be lost, or never land.
    fn is_at_rest(&self) -> bool {
        let done = |told: &Told| matches!(told, Told::Acknowledged(_) | Told::Refused);
        let idle = |node: &Node| node.phase.is_none() && node.waiting.is_empty();
        let watches = |node: &Node| {
            node.doubt
                .is_some_and(|known| known < self.log.len() as Seq)
        };
        self.told.iter().all(done) && self.nodes.iter().all(|node| idle(node) && !watches(node))
    }

    /// Nothing more happens but that heads are compared: everybody has everything.
    fn end(mut self, scenario: &Scenario) -> Option<String> {
        for node in &mut self.nodes {
            if scenario.planted != Planted::NoComparison {
                node.input(&self.log, &mut self.wrong, Input::Doubt);
            }
        }
        let short = self
            .nodes
            .iter()
            .find(|node| node.got != self.log.len() as Seq);
        let short = short.map(|node| format!("a reader holds {} of {:?}", node.got, self.log));
        self.wrong.or(short)
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
                states > 1_000 && rests > 10,
                "the world is smaller than it was meant to be"
            );
        }
        Err(wrong) => panic!("{wrong}"),
    }
}

const TWO_WRITE: Scenario = Scenario {
    name: "one writes on each node",
    clients: &[(0, None), (1, None)],
    crowded: false,
    crashes: 0,
    unknowns: 0,
    moves: 0,
    doubles: 1,
    planted: Planted::Nothing,
};

const ONE_CRASHES: Scenario = Scenario {
    name: "one writes on each node, and one of these crashes",
    crashes: 1,
    doubles: 0,
    ..TWO_WRITE
};

const ONE_IS_UNKNOWN: Scenario = Scenario {
    name: "one writes on each node, and one is not told of what",
    unknowns: 1,
    doubles: 0,
    ..TWO_WRITE
};

const ONE_MOVES: Scenario = Scenario {
    name: "one goes to the other node and sends again",
    clients: &[(0, None)],
    unknowns: 1,
    moves: 1,
    crashes: 1,
    doubles: 0,
    ..TWO_WRITE
};

const ONE_IS_REMOVED: Scenario = Scenario {
    name: "one node writes for somebody whom the other removes",
    clients: &[(0, None), (1, Some(0))],
    crowded: true,
    unknowns: 1,
    doubles: 0,
    ..TWO_WRITE
};

#[test]
fn two_nodes_write() {
    holds(&TWO_WRITE);
}

#[test]
fn a_node_crashes() {
    holds(&ONE_CRASHES);
}

#[test]
fn an_outcome_is_unknown() {
    holds(&ONE_IS_UNKNOWN);
}

#[test]
fn a_client_moves() {
    holds(&ONE_MOVES);
}

#[test]
fn a_member_is_removed() {
    holds(&ONE_IS_REMOVED);
}

#[test]
fn planted_faults_are_found() {
    for (scenario, planted, expected) in [
        (ONE_CRASHES, Planted::AckBeforeCommit, "was acknowledged at"),
        (TWO_WRITE, Planted::NoComparison, "a reader holds"),
        (ONE_MOVES, Planted::NamesNotUnique, "is in the log twice"),
        (
            ONE_IS_REMOVED,
            Planted::BehindChanges,
            "writes after its removal",
        ),
        (
            ONE_IS_UNKNOWN,
            Planted::DoubtIgnored,
            "was refused and is in the log",
        ),
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
