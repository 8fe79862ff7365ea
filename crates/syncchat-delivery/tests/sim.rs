//! Simulates a node by seed: several rooms on two machines, people with several devices, a network
//! that loses, doubles and reorders, a store that is slow and fails, readers that are full, come,
//! go, are removed and added again, messages that are changed. The dials differ from run to run.
//!
//! `SIM_SEED=n` repeats one run, `SIM_RUNS=n` sets how many are made.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::panic)]

use std::collections::HashMap;
use std::sync::Arc;

use syncchat_delivery::{Config, Frame, Input, Machine, Outlet, Reason, Rev, Seq, Verdict};

const ROOMS: usize = 5;
const USERS: usize = 6;
const SHARDS: usize = 2;
const STEPS: usize = 400;

type Room = usize;
type Reader = u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Said,
    Added(usize),
    Removed(usize),
}

#[derive(Debug, PartialEq, Eq)]
struct Message {
    room: Room,
    seq: Seq,
    kind: Kind,
}

/// A message in one of its versions.
#[derive(Debug, Clone)]
struct Shared(Arc<Message>, Rev);

impl Frame for Shared {
    fn bytes(&self) -> usize {
        100
    }

    fn rev(&self) -> Rev {
        self.1
    }
}

/// A room as it truly is.
#[derive(Default)]
struct Log {
    messages: Vec<Shared>,
    /// User → spans of `seq` they may see; the last one open while they are a member.
    spans: HashMap<usize, Vec<(Seq, Seq)>>,
    /// Changes after the first version of each message.
    changes: Rev,
}

impl Log {
    /// The number of the newest change.
    fn change_seq(&self) -> Rev {
        1 + self.changes
    }

    /// What was changed after this change, rising.
    fn changed_after(&self, after: Rev, limit: usize) -> Vec<(Seq, Shared)> {
        let changed = self.messages.iter().filter(|message| message.1 > after);
        let mut changed: Vec<_> = changed.map(|m| (m.0.seq, m.clone())).collect();
        changed.sort_by_key(|(_, message)| message.1);
        changed.truncate(limit);
        changed
    }

    fn head(&self) -> Seq {
        self.messages.len() as Seq
    }

    fn may_see(&self, user: usize, seq: Seq) -> bool {
        let spans = self.spans.get(&user).into_iter().flatten();
        spans
            .into_iter()
            .any(|&(first, last)| first <= seq && seq <= last)
    }

    fn is_member(&self, user: usize) -> bool {
        self.may_see(user, Seq::MAX)
    }

    /// Where a member comes back who has what lies up to `after`: if that is within one of their
    /// spans and not at its end. Else they are new here.
    fn place(&self, user: usize, room: Room, after: Seq) -> Place {
        let spans = &self.spans[&user];
        let returns = spans.iter().map(|&(first, _)| first);
        let resumed = spans.iter().any(|&(a, b)| a <= after + 1 && after < b);
        Place {
            room,
            after: if resumed { after } else { self.head() },
            resumed,
            returns: returns.filter(|&f| resumed && f > after + 1).collect(),
            head: self.head(),
            changes: self.change_seq(),
        }
    }
}

struct Device {
    user: usize,
    here: bool,
    /// It has been told where it is.
    entered: bool,
    /// Room → where the log ended when it connected.
    since: Vec<Seq>,
    /// Room → newest `seq` it got.
    got: Vec<Seq>,
    /// The version it has of what it got, or was told of.
    shown: HashMap<(Room, Seq), Rev>,
    queued: usize,
    limit: usize,
    refused: bool,
}

/// Where a device is let in.
#[derive(Debug, Clone)]
struct Place {
    room: Room,
    /// It gets what follows.
    after: Seq,
    /// It has what lies before, from an earlier connection.
    resumed: bool,
    /// Where its later spans begin.
    returns: Vec<Seq>,
    /// The end of the log, and the newest change, when that was read.
    head: Seq,
    changes: Rev,
}

/// What is on its way.
#[derive(Debug, Clone)]
enum Mail {
    Committed(Room, Seq, Vec<Shared>),
    Changed(Room, Shared),
    /// Person, room, the message that adds them, and the newest change at that moment.
    Joined(usize, Room, Seq, Rev),
    Parted(usize, Room, Seq),
    Memberships(Reader, Vec<Place>),
    Page(Room, Seq, usize),
    Changes(Room, Rev, usize),
    Heads(usize, Vec<Room>),
    Subscribed(Room),
}

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 11) as usize % n
    }

    fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.below(from.len())])
    }
}

/// Probabilities in percent.
struct Faults {
    loss: usize,
    double: usize,
    failure: usize,
    delay: u64,
}

#[derive(Default)]
struct Counts {
    steps: usize,
    committed: usize,
    delivered: usize,
    refused: usize,
    lost: usize,
    gaps: usize,
    refills: usize,
    changed: usize,
    told: usize,
    changes_fetched: usize,
}

/// All but the machines, which call into it.
struct World {
    rng: Rng,
    now: u64,
    logs: Vec<Log>,
    devices: Vec<Device>,
    /// When it arrives, in which order it was posted, and what it is.
    mail: Vec<(u64, u64, Mail)>,
    posted: u64,
    /// User → when the last word of an addition arrives: such words do not overtake each other.
    joined_at: [u64; USERS],
    faults: Faults,
    fetching: Vec<bool>,
    comparing: [bool; SHARDS],
    subscribed: Vec<bool>,
    shard: usize,
    /// Changes that the readers of the room are to be told of.
    told: Vec<(Room, Shared)>,
    /// The newest version that was told, or came by a page: what is on its way may be an earlier one.
    latest: HashMap<(Room, Seq), Shared>,
    counts: Counts,
}

impl Device {
    /// It has this version now.
    fn show(&mut self, room: Room, frame: &Shared) {
        let shown = self.shown.entry((room, frame.0.seq)).or_default();
        assert!(
            *shown <= frame.1,
            "room {room}: version {} of {} after {shown}",
            frame.1,
            frame.0.seq
        );
        *shown = frame.1;
    }
}

impl World {
    /// The newest of this version and the earlier ones.
    fn newest(&mut self, room: Room, frame: Shared) -> Shared {
        let known = self.latest.entry((room, frame.0.seq));
        let known = known.or_insert_with(|| frame.clone());
        if frame.1 > known.1 {
            *known = frame;
        }
        known.clone()
    }

    fn post(&mut self, mail: Mail) {
        let mut at = self.now + self.rng.next() % (self.faults.delay + 1);
        if let Mail::Joined(user, ..) = mail {
            at = at.max(self.joined_at[user]);
            self.joined_at[user] = at;
        }
        self.posted += 1;
        self.mail.push((at, self.posted, mail));
    }

    /// Takes something that has arrived, in any order that the network may make of it.
    fn take_mail(&mut self) -> Option<Mail> {
        let due = self.mail.iter().enumerate();
        let due = due.filter(|(_, (at, ..))| *at <= self.now);
        let places: Vec<_> = due.map(|(place, _)| place).collect();
        let mut place = self.rng.pick(&places)?;
        if let Mail::Joined(user, ..) = self.mail[place].2 {
            let of_user = joined_places(&self.mail, self.now, user).into_iter();
            place = of_user.min_by_key(|&place| self.mail[place].1)?;
        }
        Some(self.mail.swap_remove(place).2)
    }

    fn devices_of(&self, user: usize) -> Vec<Reader> {
        let devices = (0..).zip(&self.devices);
        devices
            .filter(|(_, device)| device.here && device.user == user)
            .map(|(reader, _)| reader)
            .collect()
    }

    /// Over the network between nodes.
    fn publish(&mut self, mail: Mail) {
        if self.rng.percent(self.faults.loss) {
            self.counts.lost += 1;
            return;
        }
        if self.rng.percent(self.faults.double) {
            self.post(mail.clone());
        }
        self.post(mail);
    }
}

/// Words of additions of this user that have arrived.
fn joined_places(mail: &[(u64, u64, Mail)], now: u64, user: usize) -> Vec<usize> {
    let of_user = |mail: &Mail| matches!(mail, Mail::Joined(other, ..) if *other == user);
    let due = mail.iter().enumerate();
    let due = due.filter(|(_, (at, _, mail))| *at <= now && of_user(mail));
    due.map(|(place, _)| place).collect()
}

impl Outlet<Room, Reader, Shared> for World {
    fn deliver(&mut self, reader: &Reader, room: Room, seq: Seq, frame: &Shared) -> Verdict {
        assert_eq!((frame.0.room, frame.0.seq), (room, seq));
        let device = &mut self.devices[*reader as usize];
        let log = &self.logs[room];
        assert!(device.here && device.entered);
        if device.queued >= device.limit {
            device.refused = true;
            self.counts.refused += 1;
            return Verdict::Full;
        }
        let last = device.got[room];
        assert!(
            last < seq,
            "reader {reader} room {room}: {seq} after {last}"
        );
        assert!(
            log.may_see(device.user, seq),
            "reader {reader} room {room}: must not see {seq}"
        );
        for missed in last + 1..seq {
            assert!(
                missed <= device.since[room] || !log.may_see(device.user, missed),
                "reader {reader} room {room}: {seq} came before {missed}"
            );
        }
        device.queued += 1;
        device.got[room] = seq;
        device.show(room, frame);
        self.counts.delivered += 1;
        match frame.0.kind {
            Kind::Removed(user) if user == device.user => {
                // What it has of a conversation goes with it.
                device.shown.retain(|&(other, _), _| other != room);
                Verdict::Last
            }
            _ => Verdict::Taken,
        }
    }

    fn passed(&mut self, _: Room, _: Seq, frame: &Shared, added: &mut Vec<Reader>) {
        if let Kind::Added(user) = frame.0.kind {
            added.extend(self.devices_of(user));
        }
    }

    fn fetch(&mut self, room: Room, after: Seq, limit: usize, reason: Reason) {
        assert!(!std::mem::replace(&mut self.fetching[room], true));
        assert!(limit > 0);
        match reason {
            Reason::Gap => self.counts.gaps += 1,
            Reason::Behind => self.counts.refills += 1,
        }
        self.post(Mail::Page(room, after, limit));
    }

    fn changed(&mut self, room: Room, seq: Seq, frame: &Shared) {
        assert_eq!((frame.0.room, frame.0.seq), (room, seq));
        self.told.push((room, frame.clone()));
    }

    fn fetch_changes(&mut self, room: Room, after: Rev, limit: usize) {
        assert!(after < self.logs[room].change_seq());
        self.counts.changes_fetched += 1;
        self.post(Mail::Changes(room, after, limit));
    }

    fn compare(&mut self, rooms: Vec<Room>) {
        assert!(!std::mem::replace(&mut self.comparing[self.shard], true));
        assert!(!rooms.is_empty());
        self.post(Mail::Heads(self.shard, rooms));
    }

    fn subscribe(&mut self, room: Room) {
        assert!(!self.subscribed[room]);
        self.post(Mail::Subscribed(room));
    }

    fn unsubscribe(&mut self, room: Room) {
        assert!(std::mem::replace(&mut self.subscribed[room], false));
        assert!(!self.fetching[room]);
    }
}

struct Node {
    machines: Vec<Machine<Room, Reader, Shared>>,
    world: World,
}

impl Node {
    fn new(seed: u64) -> Node {
        let mut rng = Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let config = Config {
            page: 1 + rng.below(5),
            changes_page: 1 + rng.below(5),
            look_back: rng.next() % 4,
            ring_frames: rng.below(8),
            ring_bytes: 100 * rng.below(30),
            early_frames: rng.below(6),
            patience: rng.next() % 40,
            changes_patience: rng.next() % 100,
            retry_min: 1 + rng.next() % 50,
            retry_max: 500,
            linger: rng.next() % 500,
            lingering_rooms: rng.below(4),
            compare_batch: 1 + rng.below(3),
            review: 500 + rng.next() % 5_000,
        };
        let faults = Faults {
            loss: rng.pick(&[0, 5, 30, 90]).unwrap_or(0),
            double: rng.pick(&[0, 10, 50]).unwrap_or(0),
            failure: rng.pick(&[0, 10, 60]).unwrap_or(0),
            delay: rng.pick(&[0, 5, 60]).unwrap_or(0),
        };
        let mut logs: Vec<Log> = (0..ROOMS).map(|_| Log::default()).collect();
        for log in &mut logs {
            for user in 0..USERS {
                if rng.percent(50) {
                    log.spans.insert(user, vec![(1, Seq::MAX)]);
                }
            }
        }
        Node {
            machines: (0..SHARDS).map(|_| Machine::new(config.clone())).collect(),
            world: World {
                rng,
                now: 0,
                logs,
                devices: Vec::new(),
                mail: Vec::new(),
                posted: 0,
                joined_at: [0; USERS],
                faults,
                fetching: vec![false; ROOMS],
                comparing: [false; SHARDS],
                subscribed: vec![false; ROOMS],
                shard: 0,
                told: Vec::new(),
                latest: HashMap::new(),
                counts: Counts::default(),
            },
        }
    }

    fn tell(&mut self, shard: usize, input: Input<'_, Room, Reader, Shared>) {
        self.world.shard = shard;
        self.machines[shard].handle(self.world.now, input, &mut self.world);
        let told = std::mem::take(&mut self.world.told);
        // As a node does: all are known before any is told.
        for (room, frame) in &told {
            self.world.newest(*room, frame.clone());
        }
        for (room, frame) in told {
            if self.world.newest(room, frame.clone()).1 > frame.1 {
                // A page brought a later version, or the same input did.
                continue;
            }
            let readers: Vec<_> = self.machines[shard].readers(room).copied().collect();
            for reader in readers {
                let device = &mut self.world.devices[reader as usize];
                if self.world.logs[room].may_see(device.user, frame.0.seq) {
                    device.show(room, &frame);
                    self.world.counts.told += 1;
                }
            }
        }
    }

    fn tell_all(&mut self, input: Input<'_, Room, Reader, Shared>) {
        for shard in 0..SHARDS {
            self.tell(shard, input.clone());
        }
    }

    fn joined(&mut self, user: usize, room: Room, seq: Seq, head: Rev) {
        for reader in self.world.devices_of(user) {
            let after = seq - 1;
            self.tell(
                room % SHARDS,
                Input::Join {
                    room,
                    reader,
                    after,
                },
            );
            self.tell(room % SHARDS, Input::Changes { room, head });
        }
    }

    fn readers(&self) -> Vec<Reader> {
        let devices = (0..).zip(&self.world.devices);
        devices
            .filter(|(_, device)| device.here)
            .map(|(reader, _)| reader)
            .collect()
    }

    /// Something happens.
    fn step(&mut self) {
        self.world.counts.steps += 1;
        match self.world.rng.below(100) {
            0..30 => self.commit(),
            30..40 => self.change(),
            40..46 => self.connect(),
            46..49 => self.disconnect(),
            49..75 => self.drain(),
            75..76 => self.tell_all(Input::Doubt),
            _ => self.pass_time(),
        }
    }

    fn commit(&mut self) {
        let world = &mut self.world;
        let room = world.rng.below(ROOMS);
        let first = world.logs[room].head() + 1;
        let count = 1 + world.rng.below(3);
        for seq in first..first + count as Seq {
            let user = world.rng.below(USERS);
            let kind = match world.rng.below(10) {
                0 if !world.logs[room].is_member(user) => Kind::Added(user),
                1 if world.logs[room].is_member(user) => Kind::Removed(user),
                _ => Kind::Said,
            };
            let spans = &mut world.logs[room].spans;
            match kind {
                Kind::Added(user) => spans.entry(user).or_default().push((seq, Seq::MAX)),
                Kind::Removed(user) => {
                    if let Some(span) = spans.get_mut(&user).and_then(|spans| spans.last_mut()) {
                        span.1 = seq;
                    }
                }
                Kind::Said => {}
            }
            let message = Shared(Arc::new(Message { room, seq, kind }), 1);
            let changes = world.logs[room].change_seq();
            world.logs[room].messages.push(message);
            world.counts.committed += 1;
            match kind {
                Kind::Said => {}
                Kind::Removed(user) => world.publish(Mail::Parted(user, room, seq)),
                // Not lost: where the room is not known here, nothing else would tell.
                Kind::Added(user) => {
                    world.post(Mail::Joined(user, room, seq, changes));
                    if world.rng.percent(world.faults.double) {
                        world.post(Mail::Joined(user, room, seq, changes));
                    }
                }
            }
        }
        let frames = world.logs[room].messages[first as usize - 1..].to_vec();
        world.publish(Mail::Committed(room, first, frames));
    }

    /// Edits one of the newest messages.
    fn change(&mut self) {
        let world = &mut self.world;
        let room = world.rng.below(ROOMS);
        let back = world.rng.below(8);
        let log = &mut world.logs[room];
        let Some(place) = log.messages.len().checked_sub(1 + back) else {
            return;
        };
        log.changes += 1;
        let rev = log.change_seq();
        log.messages[place].1 = rev;
        let changed = log.messages[place].clone();
        world.counts.changed += 1;
        world.publish(Mail::Changed(room, changed));
    }

    fn connect(&mut self) {
        let world = &mut self.world;
        let reader = world.devices.len() as Reader;
        let user = world.rng.below(USERS);
        let limit = world.rng.pick(&[1, 2, 8, 1_000]).unwrap_or(1);
        let mut device = Device {
            user,
            here: true,
            entered: false,
            since: world.logs.iter().map(Log::head).collect(),
            got: vec![0; ROOMS],
            shown: HashMap::new(),
            queued: 0,
            limit,
            refused: false,
        };
        let mut memberships = Vec::new();
        for room in 0..ROOMS {
            let log = &world.logs[room];
            if log.is_member(user) {
                let missed = world.rng.below(8) as Seq;
                let place = log.place(user, room, log.head().saturating_sub(missed));
                if place.resumed {
                    device.since[room] = place.after;
                    device.got[room] = place.after;
                }
                memberships.push(place);
            }
        }
        world.devices.push(device);
        self.tell_all(Input::Hold { reader });
        self.world.post(Mail::Memberships(reader, memberships));
    }

    fn disconnect(&mut self) {
        let readers = self.readers();
        if let Some(reader) = self.world.rng.pick(&readers) {
            self.world.devices[reader as usize].here = false;
            self.tell_all(Input::Gone { reader });
        }
    }

    fn drain(&mut self) {
        let readers = self.readers();
        if let Some(reader) = self.world.rng.pick(&readers) {
            let most = 1 + self.world.rng.below(8);
            self.take(reader, most);
        }
    }

    /// The client takes up to `most` frames.
    fn take(&mut self, reader: Reader, most: usize) {
        let device = &mut self.world.devices[reader as usize];
        device.queued -= device.queued.min(most);
        if device.refused && device.queued <= device.limit / 2 {
            device.refused = false;
            self.tell_all(Input::Drained { reader });
        }
    }

    fn pass_time(&mut self) {
        self.world.now += self.world.rng.next() % 40;
        while let Some(mail) = self.world.take_mail() {
            self.receive(mail);
        }
        for shard in 0..SHARDS {
            if self.machines[shard].wakes_at() <= Some(self.world.now) {
                self.tell(shard, Input::Tick);
            }
        }
    }

    fn receive(&mut self, mail: Mail) {
        let fails = self.world.rng.percent(self.world.faults.failure);
        match mail {
            Mail::Committed(room, first, frames) => {
                let newest = |frame| self.world.newest(room, frame);
                let frames: Vec<_> = frames.into_iter().map(newest).collect();
                self.tell(
                    room % SHARDS,
                    Input::Committed {
                        room,
                        first,
                        frames: &frames,
                    },
                );
            }
            Mail::Changed(room, frame) => {
                let seq = frame.0.seq;
                self.tell(room % SHARDS, Input::Changed { room, seq, frame });
            }
            Mail::Joined(user, room, seq, changes) => self.joined(user, room, seq, changes),
            Mail::Parted(user, room, last) => {
                for reader in self.world.devices_of(user) {
                    self.tell(room % SHARDS, Input::Leave { room, reader, last });
                }
            }
            Mail::Memberships(reader, rooms) => {
                if !self.world.devices[reader as usize].here {
                    return;
                }
                self.world.devices[reader as usize].entered = true;
                for place in rooms {
                    self.enter(reader, place);
                }
                self.tell_all(Input::Drained { reader });
            }
            Mail::Page(room, after, limit) => {
                self.world.fetching[room] = false;
                if fails {
                    return self.tell(room % SHARDS, Input::FetchFailed { room });
                }
                let rest = &self.world.logs[room].messages[after as usize..];
                let frames = rest[..rest.len().min(limit)].to_vec();
                let newest = |frame| self.world.newest(room, frame);
                let frames: Vec<_> = frames.into_iter().map(newest).collect();
                self.tell(
                    room % SHARDS,
                    Input::Fetched {
                        room,
                        after,
                        frames: &frames,
                    },
                );
            }
            Mail::Changes(room, after, limit) => {
                if fails {
                    return self.tell(room % SHARDS, Input::ChangesFailed { room });
                }
                let changes = self.world.logs[room].changed_after(after, limit);
                self.tell(
                    room % SHARDS,
                    Input::ChangesFetched {
                        room,
                        after,
                        changes: &changes,
                    },
                );
            }
            Mail::Heads(shard, rooms) => {
                self.world.comparing[shard] = false;
                if fails {
                    return self.tell(shard, Input::CompareFailed);
                }
                let heads: Vec<_> = rooms
                    .into_iter()
                    .map(|room| {
                        let log = &self.world.logs[room];
                        (room, log.head(), log.change_seq())
                    })
                    .collect();
                self.tell(shard, Input::Heads { heads: &heads });
            }
            Mail::Subscribed(room) => {
                self.world.subscribed[room] = true;
                self.tell(room % SHARDS, Input::Subscribed { room });
            }
        }
    }

    fn enter(&mut self, reader: Reader, place: Place) {
        let Place {
            room,
            after,
            head,
            changes,
            ..
        } = place;
        let shard = room % SHARDS;
        let (resumed, returns) = (place.resumed, place.returns);
        let first = match resumed {
            true => Input::Resume {
                room,
                reader,
                after,
            },
            false => Input::Join {
                room,
                reader,
                after,
            },
        };
        self.tell(shard, first);
        for first in returns {
            let after = first - 1;
            let later = Input::Join {
                room,
                reader,
                after,
            };
            self.tell(shard, later);
        }
        self.tell(shard, Input::Head { room, head });
        let head = changes;
        self.tell(shard, Input::Changes { room, head });
    }

    /// The faults end. How long until everybody has all they are owed, in simulated milliseconds.
    fn heal(&mut self) -> u64 {
        self.world.faults = Faults {
            loss: 0,
            double: 0,
            failure: 0,
            delay: 5,
        };
        self.tell_all(Input::Doubt);
        let from = self.world.now;
        while !self.is_whole() {
            assert!(self.world.now - from < 20_000, "it does not heal");
            self.pass_time();
            for reader in self.readers() {
                self.take(reader, 2);
            }
        }
        self.world.now - from
    }

    fn is_whole(&self) -> bool {
        self.world.mail.is_empty()
            && self
                .readers()
                .into_iter()
                .all(|reader| self.has_all(reader) && self.is_up_to_date(reader))
    }

    /// Whether a device has everything it got as it is now, where it is still in the conversation.
    fn is_up_to_date(&self, reader: Reader) -> bool {
        let device = &self.world.devices[reader as usize];
        device.shown.iter().all(|(&(room, seq), &rev)| {
            let log = &self.world.logs[room];
            !log.is_member(device.user) || log.messages[seq as usize - 1].1 == rev
        })
    }

    fn has_all(&self, reader: Reader) -> bool {
        let device = &self.world.devices[reader as usize];
        (0..ROOMS).all(|room| {
            let log = &self.world.logs[room];
            let newest = (device.since[room] + 1..=log.head())
                .rev()
                .find(|&seq| log.may_see(device.user, seq));
            // No holes before it: that is checked at every delivery.
            newest.is_none_or(|seq| device.got[room] >= seq)
        })
    }
}

#[test]
fn every_reader_gets_every_frame_once_in_order() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + number("SIM_RUNS").unwrap_or(3_000),
    };
    let runs = seeds.end - seeds.start;
    let (mut total, mut slowest) = (Counts::default(), 0);
    for seed in seeds {
        let run = std::panic::catch_unwind(|| {
            let mut node = Node::new(seed);
            for _ in 0..STEPS {
                node.step();
            }
            let healed = node.heal();
            (node.world.counts, healed)
        });
        let (counts, healed) = run.unwrap_or_else(|_| panic!("failed with SIM_SEED={seed}"));
        slowest = slowest.max(healed);
        total.steps += counts.steps;
        total.committed += counts.committed;
        total.delivered += counts.delivered;
        total.refused += counts.refused;
        total.lost += counts.lost;
        total.gaps += counts.gaps;
        total.refills += counts.refills;
        total.changed += counts.changed;
        total.told += counts.told;
        total.changes_fetched += counts.changes_fetched;
    }
    println!(
        "{runs} runs, {} steps: {} frames committed, {} deliveries, {} refused, {} messages lost, \
         {} gaps and {} refills fetched; {} changes, told {} times, fetched {} times; healed \
         within {slowest} ms of simulated time",
        total.steps,
        total.committed,
        total.delivered,
        total.refused,
        total.lost,
        total.gaps,
        total.refills,
        total.changed,
        total.told,
        total.changes_fetched,
    );
    assert!(runs < 100 || total.gaps.min(total.refills).min(total.lost) > 0);
    assert!(runs < 100 || total.changed.min(total.told).min(total.changes_fetched) > 0);
}
