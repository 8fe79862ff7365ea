//! Explores every interleaving of small worlds: messages that are lost, doubled and reordered,
//! fetches that fail, readers that are full, come, go, are removed and added again.
//!
//! In each state that can be reached, nothing wrong has been delivered, and if the faults end
//! there, every reader gets all it is owed.
#![allow(clippy::print_stdout, clippy::panic)]

mod explorer;

use syncchat_delivery::{Frame, Input, Machine, Outlet, Reason, Rev, Seq, Verdict};

type Room = u8;
type Reader = u8;
const ROOM: Room = 0;

/// An entry of the log, and what it does to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Entry {
    Said,
    Added(Reader),
    Removed(Reader),
}
use Entry::{Added, Removed, Said};

impl Frame for Entry {
    fn bytes(&self) -> usize {
        1
    }

    fn rev(&self) -> Rev {
        1
    }
}

/// A small world to explore.
struct Scenario {
    name: &'static str,
    log: &'static [Entry],
    /// Who is a member before the first entry.
    members: &'static [Reader],
    /// Frames each reader can hold before it is full.
    room_for: &'static [usize],
    /// Messages that may be lost, doubled; answers that may be failures; readers that may go.
    losses: u8,
    doubles: u8,
    failures: u8,
    departures: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    Committed(Seq),
    /// Somebody was added by this entry: told to that person, apart from the log.
    Joined(Reader, Seq),
    /// Somebody was removed by this entry.
    Parted(Reader, Seq),
    /// What a reader read when it connected: where it is a member, if it is.
    Membership(Reader, Option<Seq>),
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Commit,
    Connect(Reader),
    Go(Reader),
    Hear(usize),
    HearAndKeep(usize),
    Lose(usize),
    Subscribed,
    FetchOk,
    FetchFails,
    CompareOk,
    CompareFails,
    Drain(Reader),
    Doubt,
}

#[derive(Debug, Clone, Default)]
struct Client {
    connected: bool,
    gone: bool,
    /// Where the log ended when it connected: what follows is owed.
    since: Seq,
    got: Vec<Seq>,
    queued: usize,
    refused: bool,
}

#[derive(Clone)]
struct World {
    machine: Machine<Room, Reader, Entry>,
    /// Entries committed so far.
    head: Seq,
    news: Vec<News>,
    clients: Vec<Client>,
    /// What the machine waits for.
    subscribing: bool,
    fetching: Option<(Seq, usize)>,
    comparing: bool,
    losses: u8,
    doubles: u8,
    failures: u8,
    departures: u8,
    doubts: u8,
}

/// The outlet: the machine's side of the world.
struct Out<'a> {
    scenario: &'a Scenario,
    world: &'a mut Effects,
}

#[derive(Default)]
struct Effects {
    clients: Vec<Client>,
    subscribing: bool,
    fetching: Option<(Seq, usize)>,
    comparing: bool,
}

impl Outlet<Room, Reader, Entry> for Out<'_> {
    fn deliver(&mut self, reader: &Reader, room: Room, seq: Seq, frame: &Entry) -> Verdict {
        assert_eq!((room, *frame), (ROOM, self.scenario.log[seq as usize - 1]));
        let client = &mut self.world.clients[*reader as usize];
        assert!(client.connected && !client.gone, "{reader} is not here");
        if client.queued == self.scenario.room_for[*reader as usize] {
            client.refused = true;
            return Verdict::Full;
        }
        let last = client.got.last().copied().unwrap_or(0);
        assert!(last < seq, "{reader} got {seq} after {last}");
        assert!(
            self.scenario.may_see(*reader, seq),
            "{reader} must not see {seq}"
        );
        for missed in last + 1..seq {
            let owed = missed > client.since && self.scenario.may_see(*reader, missed);
            assert!(!owed, "{reader} got {seq} before {missed}");
        }
        client.queued += 1;
        client.got.push(seq);
        match frame {
            Removed(who) if who == reader => Verdict::Last,
            _ => Verdict::Taken,
        }
    }

    fn passed(&mut self, _: Room, _: Seq, frame: &Entry, added: &mut Vec<Reader>) {
        if let Added(who) = frame {
            let client = &self.world.clients[*who as usize];
            added.extend((client.connected && !client.gone).then_some(*who));
        }
    }

    fn fetch(&mut self, _: Room, after: Seq, limit: usize, _: Reason) {
        assert!(self.world.fetching.is_none(), "one fetch for each room");
        self.world.fetching = Some((after, limit));
    }

    fn changed(&mut self, _: Room, seq: Seq, _: &Entry) {
        panic!("{seq} was not changed");
    }

    fn fetch_changes(&mut self, _: Room, after: Rev, _: usize) {
        panic!("there are no changes after {after}");
    }

    fn compare(&mut self, rooms: Vec<Room>) {
        assert!(!self.world.comparing && rooms == [ROOM]);
        self.world.comparing = true;
    }

    fn subscribe(&mut self, _: Room) {
        assert!(!self.world.subscribing);
        self.world.subscribing = true;
    }

    fn unsubscribe(&mut self, _: Room) {
        assert!(!self.world.subscribing && self.world.fetching.is_none());
    }
}

impl Scenario {
    fn is_member(&self, reader: Reader, at: Seq) -> bool {
        let mut member = self.members.contains(&reader);
        for entry in &self.log[..at as usize] {
            match entry {
                Added(who) if *who == reader => member = true,
                Removed(who) if *who == reader => member = false,
                _ => {}
            }
        }
        member
    }

    /// Who was added sees the entry that says so; who was removed, too.
    fn may_see(&self, reader: Reader, seq: Seq) -> bool {
        self.is_member(reader, seq) || self.is_member(reader, seq - 1)
    }

    fn start(&self) -> World {
        World {
            machine: Machine::new(explorer::smallest()),
            head: 0,
            news: Vec::new(),
            clients: vec![Client::default(); self.room_for.len()],
            subscribing: false,
            fetching: None,
            comparing: false,
            losses: self.losses,
            doubles: self.doubles,
            failures: self.failures,
            departures: self.departures,
            doubts: 1,
        }
    }
}

impl World {
    fn events(&self, scenario: &Scenario) -> Vec<Event> {
        let mut events = Vec::new();
        if (self.head as usize) < scenario.log.len() {
            events.push(Event::Commit);
        }
        for (reader, client) in (0..).zip(&self.clients) {
            if !client.connected {
                events.push(Event::Connect(reader));
            } else if !client.gone && self.departures > 0 {
                events.push(Event::Go(reader));
            }
            if client.refused {
                events.push(Event::Drain(reader));
            }
        }
        for (index, news) in self.news.iter().enumerate() {
            events.push(Event::Hear(index));
            if self.doubles > 0 && !matches!(news, News::Membership(..)) {
                events.push(Event::HearAndKeep(index));
            }
            if self.losses > 0 && matches!(news, News::Committed(_) | News::Parted(..)) {
                events.push(Event::Lose(index));
            }
        }
        if self.subscribing {
            events.push(Event::Subscribed);
        }
        if self.fetching.is_some() {
            events.push(Event::FetchOk);
            if self.failures > 0 {
                events.push(Event::FetchFails);
            }
        }
        if self.comparing {
            events.push(Event::CompareOk);
            if self.failures > 0 {
                events.push(Event::CompareFails);
            }
        }
        if self.doubts > 0 {
            events.push(Event::Doubt);
        }
        events
    }

    fn apply(&mut self, scenario: &Scenario, event: Event) {
        match event {
            Event::Commit => {
                self.head += 1;
                self.news.push(News::Committed(self.head));
                match scenario.log[self.head as usize - 1] {
                    Added(who) => self.news.push(News::Joined(who, self.head)),
                    Removed(who) => self.news.push(News::Parted(who, self.head)),
                    Said => {}
                }
            }
            Event::Connect(reader) => {
                let client = &mut self.clients[reader as usize];
                client.connected = true;
                client.since = self.head;
                let member = scenario.is_member(reader, self.head);
                let membership = member.then_some(self.head);
                self.input(scenario, Input::Hold { reader });
                self.news.push(News::Membership(reader, membership));
            }
            Event::Go(reader) => {
                self.departures -= 1;
                self.clients[reader as usize].gone = true;
                self.clients[reader as usize].refused = false;
                self.input(scenario, Input::Gone { reader });
            }
            Event::Hear(index) => {
                let news = self.news.remove(index);
                self.hear(scenario, news);
            }
            Event::HearAndKeep(index) => {
                self.doubles -= 1;
                self.hear(scenario, self.news[index]);
            }
            Event::Lose(index) => {
                self.losses -= 1;
                self.news.remove(index);
            }
            Event::Subscribed => {
                self.subscribing = false;
                self.input(scenario, Input::Subscribed { room: ROOM });
            }
            Event::FetchOk => {
                let Some((after, limit)) = self.fetching.take() else {
                    return;
                };
                let rest = &scenario.log[after as usize..self.head as usize];
                self.input(
                    scenario,
                    Input::Fetched {
                        room: ROOM,
                        after,
                        frames: &rest[..rest.len().min(limit)],
                    },
                );
            }
            Event::FetchFails => {
                self.failures -= 1;
                self.fetching = None;
                self.input(scenario, Input::FetchFailed { room: ROOM });
            }
            Event::CompareOk => {
                self.comparing = false;
                let heads = [(ROOM, self.head, 1)];
                self.input(scenario, Input::Heads { heads: &heads });
            }
            Event::CompareFails => {
                self.failures -= 1;
                self.comparing = false;
                self.input(scenario, Input::CompareFailed);
            }
            Event::Drain(reader) => {
                let client = &mut self.clients[reader as usize];
                client.refused = false;
                client.queued = 0;
                self.input(scenario, Input::Drained { reader });
            }
            Event::Doubt => {
                self.doubts -= 1;
                self.input(scenario, Input::Doubt);
            }
        }
    }

    fn hear(&mut self, scenario: &Scenario, news: News) {
        let here = |reader: Reader| {
            let client = &self.clients[reader as usize];
            client.connected && !client.gone
        };
        let room = ROOM;
        match news {
            News::Committed(seq) => {
                let frames = &scenario.log[seq as usize - 1..seq as usize];
                self.input(
                    scenario,
                    Input::Committed {
                        room,
                        first: seq,
                        frames,
                    },
                );
            }
            News::Joined(reader, seq) if here(reader) => {
                let after = seq - 1;
                self.input(
                    scenario,
                    Input::Join {
                        room,
                        reader,
                        after,
                    },
                );
            }
            News::Parted(reader, last) if here(reader) => {
                self.input(scenario, Input::Leave { room, reader, last });
            }
            News::Membership(reader, membership) if here(reader) => {
                if let Some(after) = membership {
                    self.input(
                        scenario,
                        Input::Join {
                            room,
                            reader,
                            after,
                        },
                    );
                }
                self.input(scenario, Input::Drained { reader });
            }
            _ => {}
        }
    }

    fn input(&mut self, scenario: &Scenario, input: Input<'_, Room, Reader, Entry>) {
        let mut effects = Effects {
            clients: std::mem::take(&mut self.clients),
            subscribing: self.subscribing,
            fetching: self.fetching,
            comparing: self.comparing,
        };
        let mut out = Out {
            scenario,
            world: &mut effects,
        };
        self.machine.handle(0, input, &mut out);
        self.clients = effects.clients;
        self.subscribing = effects.subscribing;
        self.fetching = effects.fetching;
        self.comparing = effects.comparing;
    }

    /// The faults end: everything that is on its way arrives, and the heads are compared.
    fn finish(mut self, scenario: &Scenario) {
        self.doubts = 1;
        self.losses = 0;
        self.doubles = 0;
        self.failures = 0;
        self.departures = 0;
        for step in 0.. {
            assert!(step < 200, "it never comes to rest");
            let calm =
                |event: &&Event| !matches!(event, Event::Connect(_) | Event::Commit | Event::Doubt);
            let events = self.events(scenario);
            match events.iter().find(calm) {
                Some(&event) => self.apply(scenario, event),
                None if self.doubts > 0 => self.apply(scenario, Event::Doubt),
                None => break,
            }
        }
        for (reader, client) in (0..).zip(&self.clients) {
            if !client.connected || client.gone {
                continue;
            }
            for seq in client.since + 1..=self.head {
                let owed = scenario.may_see(reader, seq);
                assert!(
                    !owed || client.got.contains(&seq),
                    "{reader} never got {seq}"
                );
            }
        }
    }

    /// Worlds that look the same are the same.
    fn fingerprint(&self) -> u64 {
        explorer::look(format_args!(
            "{:?}{:?}{:?}{:?}{:?}",
            self.machine,
            self.news,
            self.clients,
            (self.head, self.subscribing, self.fetching, self.comparing),
            (
                self.losses,
                self.doubles,
                self.failures,
                self.departures,
                self.doubts
            ),
        ))
    }
}

fn check(scenario: &Scenario) {
    let states = explorer::explore(
        scenario.name,
        scenario.start(),
        |world| world.events(scenario),
        |world, event| {
            world.apply(scenario, event);
            world.fingerprint()
        },
        |world| {
            // What is wrong panics.
            world.clone().finish(scenario);
            None
        },
    );
    let states = states.unwrap_or_else(|wrong| panic!("{wrong}"));
    println!("{}: {states} states", scenario.name);
    assert!(
        states > 1_000,
        "the world is smaller than it was meant to be"
    );
}

#[test]
fn lost_doubled_and_reordered() {
    check(&Scenario {
        name: "three messages, a reader that is never full",
        log: &[Said, Said, Said],
        members: &[0],
        room_for: &[9],
        losses: 2,
        doubles: 1,
        failures: 1,
        departures: 0,
    });
}

#[test]
fn full_and_refilled() {
    check(&Scenario {
        name: "three messages, one reader fast and one slow",
        log: &[Said, Said, Said],
        members: &[0, 1],
        room_for: &[9, 1],
        losses: 1,
        doubles: 0,
        failures: 1,
        departures: 0,
    });
}

#[test]
fn removed_while_others_read_on() {
    check(&Scenario {
        name: "one is removed, one reads on",
        log: &[Said, Removed(0), Said],
        members: &[0, 1],
        room_for: &[1, 9],
        losses: 1,
        doubles: 0,
        failures: 0,
        departures: 0,
    });
}

#[test]
fn removed_and_added_again() {
    check(&Scenario {
        name: "removed, and added again",
        log: &[Removed(0), Said, Added(0), Said],
        members: &[0],
        room_for: &[1],
        losses: 1,
        doubles: 1,
        failures: 0,
        departures: 0,
    });
}

#[test]
fn added_to_a_room_that_is_known_here() {
    check(&Scenario {
        name: "one is added where another reads",
        log: &[Said, Added(0), Said],
        members: &[1],
        room_for: &[1, 9],
        losses: 1,
        doubles: 0,
        failures: 0,
        departures: 0,
    });
}

#[test]
fn readers_go_and_rooms_are_forgotten() {
    check(&Scenario {
        name: "readers that go at any moment",
        log: &[Said, Said],
        members: &[0, 1],
        room_for: &[1, 1],
        losses: 0,
        doubles: 0,
        failures: 1,
        departures: 2,
    });
}
