//! Connections over random logs, broken and taken up again at any message: each is recovered exactly
//! where it was, or not at all.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use syncchat_core::limits::CLOCK_OFFSET_MAX;
use syncchat_core::model::{ConversationId, Membership, Seq, SeqSpans, Timestamp, UserId};

use super::testing::seal;
use super::{Came, Found, Lost, Offset, Scratch, Step, Track, Turn, goes_on, resolve, unknown};
use crate::limits::RECENT_QUIET;

const ME: UserId = UserId::from_bytes([7; 12]);

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

/// A conversation as it truly is.
struct Room {
    id: ConversationId,
    log: Vec<(Timestamp, Turn)>,
    spans: SeqSpans,
    made: Timestamp,
}

impl Room {
    fn membership(&self) -> Membership {
        let last_seq = self.log.len() as Seq;
        Membership {
            conversation: self.id,
            user: ME,
            spans: self.spans.clone(),
            read_seq: 0,
            read_ordinal: 0,
            delivered_seq: 0,
            last_seq,
            last_ordinal: last_seq,
            updated_at: self.log.last().map_or(self.made, |(at, _)| *at),
            change_seq: 1,
        }
    }
}

/// The client's side: where it is in each conversation, and the last offset it got.
#[derive(Clone, Default)]
struct Client {
    places: BTreeMap<ConversationId, Seq>,
    offset: String,
}

struct World {
    rng: Rng,
    now: Timestamp,
    rooms: Vec<Room>,
    track: Track,
    client: Client,
    /// How much later than their times messages may come to be known, in milliseconds.
    late: u64,
    outcomes: HashMap<&'static str, usize>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut rng = Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let late = [0, 300, 3_000, 30_000][rng.below(4) as usize];
        let mut world = World {
            rng,
            now: Timestamp::from_millis(1_800_000_000_000),
            rooms: Vec::new(),
            track: Track::begin(seal("pid"), &[], Timestamp::from_millis(0)),
            client: Client::default(),
            late,
            outcomes: HashMap::new(),
        };
        for _ in 0..1 + world.rng.below(30) {
            let spans = match world.rng.percent(80) {
                true => SeqSpans::all(),
                false => SeqSpans::default(),
            };
            world.make(spans);
        }
        for _ in 0..100 {
            world.commit();
        }
        world.connect_anew();
        world
    }

    fn make(&mut self, spans: SeqSpans) -> usize {
        let id = ConversationId::generate();
        let (log, made) = (Vec::new(), self.now);
        self.rooms.push(Room {
            id,
            log,
            spans,
            made,
        });
        self.rooms.len() - 1
    }

    fn places(&self) -> Vec<Membership> {
        let here = self.rooms.iter().filter(|room| room.spans.is_open());
        here.map(Room::membership).collect()
    }

    fn connect_anew(&mut self) {
        let places = self.places();
        self.track = Track::begin(seal("pid"), &places, self.now);
        let places = places.iter().map(|p| (p.conversation, p.last_seq));
        self.client.places = places.collect();
        self.note();
    }

    /// The client has got what was queued.
    fn note(&mut self) {
        self.client.offset = self.track.offset(&mut Scratch::new()).to_owned();
    }

    fn commit(&mut self) {
        self.now = self.now.plus(Duration::from_millis(self.rng.below(4_000)));
        let late = self.rng.below(self.late + 1) as i64;
        let index = self.rng.below(self.rooms.len() as u64) as usize;
        let (chance, now) = (self.rng.below(100), self.now);
        let room = &mut self.rooms[index];
        let last = room.log.last().map_or(room.made, |(at, _)| *at);
        let mut at = Timestamp::from_millis(now.millis() - late);
        // A clock is ahead, once in a while; what follows takes that back.
        if last <= now.plus(CLOCK_OFFSET_MAX) {
            at = at.max(last);
        }
        if chance == 99 {
            at = at.max(now.plus(Duration::from_secs(3_600)));
        }
        let seq = room.log.len() as Seq + 1;
        let turn = match (chance, room.spans.is_open()) {
            (0..3, true) => Turn::Removed,
            (0..10, false) => Turn::Added,
            _ => Turn::Said,
        };
        match turn {
            Turn::Removed => room.spans.close_at(seq),
            Turn::Added => room.spans.open_at(seq),
            Turn::Said => {}
        }
        room.log.push((at, turn));
    }

    /// One message is delivered, if there is one.
    fn deliver(&mut self) {
        let index = self.rng.below(self.rooms.len() as u64) as usize;
        let room = &self.rooms[index];
        let next = match self.client.places.get(&room.id) {
            Some(place) => *place + 1,
            // Not in it: the next thing that is heard is an addition, if there is one ahead.
            None => match room.spans.parts().last() {
                Some(&(first, None)) if first > 1 => first,
                Some(&(_, None)) => {
                    let added = room.log.iter().rposition(|(_, turn)| *turn == Turn::Added);
                    added.map_or(1, |index| index as Seq + 1)
                }
                _ => return,
            },
        };
        let Some(&(at, turn)) = room.log.get(next as usize - 1) else {
            return;
        };
        let (seq, room) = (next, room.id);
        let step = Step {
            room,
            seq,
            at,
            turn,
        };
        if self.rng.percent(10) {
            let undo = self.track.advance(step);
            self.track.take_back(undo);
        }
        let _ = self.track.advance(step);
        self.note();
        let fresh = self.now.since(at) < RECENT_QUIET / 2;
        self.track.settle(at, fresh);
        match turn {
            Turn::Removed => self.client.places.remove(&room),
            _ => self.client.places.insert(room, seq),
        };
    }

    fn step(&mut self) {
        match self.rng.below(100) {
            0..40 => self.commit(),
            40..41 => {
                let index = self.make(SeqSpans::all());
                let (id, made) = (self.rooms[index].id, self.rooms[index].made);
                self.client.places.insert(id, 0);
                self.track.is_new(id, made);
                self.note();
            }
            _ => self.deliver(),
        }
    }

    fn return_(&mut self) {
        let pids = [seal("other"), seal("pid")].into_iter();
        let offset = Offset::read(&self.client.offset, pids).unwrap();
        let places = self.places();
        let mut at_watermark = HashMap::new();
        for place in unknown(&offset, &places) {
            let room = self.rooms.iter().find(|r| r.id == place.conversation);
            let log = &room.unwrap().log;
            let newest = log.iter().rposition(|(at, _)| *at <= offset.watermark);
            at_watermark.insert(place.conversation, newest.map_or(0, |n| n as Seq + 1));
        }
        let made = self.rooms.iter().map(|room| (room.id, room.made));
        let empty = made.filter(|(room, _)| at_watermark.get(room) == Some(&0));
        let found = resolve(&offset, &places, &at_watermark, &empty.collect());
        match found.and_then(|found| self.find_additions(found)) {
            Ok(found) => {
                self.check(&found);
                let (sums, recent) = goes_on(&offset, &places, &found);
                self.track = Track::resume(seal("pid"), sums, recent);
                let here = |room: &ConversationId| {
                    let new = found.new.iter().find(|(new, _)| new == room);
                    new.is_none_or(|(_, came)| *came == Came::Made)
                };
                let starts = found.starts.iter().filter(|(room, _)| here(room));
                self.client.places = starts.map(|(room, s)| (*room, s.after)).collect();
                self.note();
                *self.outcomes.entry("recovered").or_default() += 1;
            }
            Err(lost) => {
                *self.outcomes.entry(lost.as_str()).or_default() += 1;
                self.connect_anew();
            }
        }
    }

    fn find_additions(&self, mut found: Found) -> Result<Found, Lost> {
        for (room, came) in &found.new {
            let Some(start) = found.starts.get_mut(room) else {
                continue;
            };
            if *came == Came::Joined {
                let log = self.rooms.iter().find(|r| r.id == *room);
                let after = &log.unwrap().log[start.after as usize..];
                let added = after.iter().position(|(_, turn)| *turn == Turn::Added);
                start.after += added.ok_or(Lost::Membership)? as Seq;
            }
        }
        Ok(found)
    }

    fn check(&self, found: &Found) {
        for (room, place) in &self.client.places {
            let start = found.starts.get(room);
            let start = start.unwrap_or_else(|| panic!("{room} was left"));
            assert_eq!(start.after, *place, "in {room}: {start:?}");
            assert!(start.resumed || *place == 0);
        }
        for (room, start) in &found.starts {
            let known = self.client.places.contains_key(room);
            let new = found.new.iter().any(|(new, _)| new == room);
            assert!(known != new, "{start:?}");
        }
    }
}

#[test]
fn a_connection_is_recovered_exactly_or_not_at_all() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + number("SIM_RUNS").unwrap_or(500),
    };
    let (mut recovered, mut returns) = (0, 0);
    for seed in seeds.clone() {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..40 {
                for _ in 0..world.rng.below(60) {
                    world.step();
                }
                for _ in 0..world.rng.below(30) {
                    world.commit();
                }
                if world.rng.percent(10) {
                    world.make(SeqSpans::all());
                }
                world.return_();
            }
            world.outcomes
        });
        let run = run.unwrap_or_else(|_| panic!("failed with SIM_SEED={seed}"));
        recovered += run.get("recovered").copied().unwrap_or(0);
        returns += run.values().sum::<usize>();
    }
    // Most others were removed from somewhere while they were away.
    assert!(
        returns > 0 && recovered * 3 > returns,
        "{recovered} of {returns}"
    );
}
