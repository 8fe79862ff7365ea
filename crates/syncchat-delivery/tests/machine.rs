//! What the machine does in single situations, step by step.
#![allow(clippy::expect_used)]

use syncchat_delivery::{Config, Frame, Input, Machine, Outlet, Reason, Rev, Seq, Verdict};

type Room = &'static str;
type Reader = u32;
const ROOM: Room = "room";

/// A frame is its `seq` and a version: `+` adds reader 1, `-` removes it, a digit is the number of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Page(Seq, char);

impl Frame for Page {
    fn bytes(&self) -> usize {
        1
    }

    fn rev(&self) -> Rev {
        self.1.to_digit(10).unwrap_or(1).into()
    }
}

/// What came out, in order, in short.
#[derive(Default)]
struct Log {
    said: Vec<String>,
    /// Readers that take nothing.
    full: Vec<Reader>,
    /// Changes that the readers of the room are told of.
    told: Vec<Page>,
}

impl Outlet<Room, Reader, Page> for Log {
    fn deliver(&mut self, reader: &Reader, _: Room, seq: Seq, frame: &Page) -> Verdict {
        assert_eq!(frame.0, seq);
        if self.full.contains(reader) {
            self.said.push(format!("{reader} refuses {seq}"));
            return Verdict::Full;
        }
        self.said.push(format!("{reader} gets {seq}{}", frame.1));
        match (reader, frame.1) {
            (1, '-') => Verdict::Last,
            _ => Verdict::Taken,
        }
    }

    fn passed(&mut self, _: Room, _: Seq, frame: &Page, added: &mut Vec<Reader>) {
        added.extend((frame.1 == '+').then_some(1));
    }

    fn fetch(&mut self, room: Room, after: Seq, limit: usize, reason: Reason) {
        self.said
            .push(format!("fetch {room} {limit} after {after}: {reason:?}"));
    }

    fn changed(&mut self, _: Room, seq: Seq, frame: &Page) {
        assert_eq!(frame.0, seq);
        self.told.push(*frame);
    }

    fn fetch_changes(&mut self, room: Room, after: Rev, _: usize) {
        self.said
            .push(format!("fetch changes of {room} after {after}"));
    }

    fn compare(&mut self, rooms: Vec<Room>) {
        self.said.push(format!("compare {}", rooms.join(" ")));
    }

    fn subscribe(&mut self, room: Room) {
        self.said.push(format!("subscribe {room}"));
    }

    fn unsubscribe(&mut self, room: Room) {
        self.said.push(format!("unsubscribe {room}"));
    }
}

struct Bench {
    machine: Machine<Room, Reader, Page>,
    now: u64,
    log: Log,
}

impl Bench {
    /// A room in which these readers are live after 10.
    fn new(readers: &[Reader]) -> Bench {
        let config = Config {
            page: 4,
            look_back: 0,
            ring_frames: 3,
            patience: 30,
            changes_patience: 30,
            retry_min: 50,
            linger: 1_000,
            review: 60_000,
            ..Config::default()
        };
        let mut bench = Bench {
            machine: Machine::new(config),
            now: 0,
            log: Log::default(),
        };
        for &reader in readers {
            bench.join(reader, 10);
        }
        bench.input(Input::Subscribed { room: ROOM });
        bench.input(Input::Heads {
            heads: &[(ROOM, 10, 1)],
        });
        bench.log.said.clear();
        bench
    }

    fn input(&mut self, input: Input<'_, Room, Reader, Page>) {
        self.machine.handle(self.now, input, &mut self.log);
    }

    fn join(&mut self, reader: Reader, after: Seq) {
        self.input(Input::Join {
            room: ROOM,
            reader,
            after,
        });
    }

    fn committed(&mut self, first: Seq, count: u64) {
        let frames: Vec<_> = (first..first + count).map(|seq| Page(seq, 'a')).collect();
        self.input(Input::Committed {
            room: ROOM,
            first,
            frames: &frames,
        });
    }

    fn versions(&mut self, first: Seq, versions: &str) {
        let frames: Vec<_> = (first..)
            .zip(versions.chars())
            .map(|(seq, version)| Page(seq, version))
            .collect();
        self.input(Input::Committed {
            room: ROOM,
            first,
            frames: &frames,
        });
    }

    fn fetched(&mut self, after: Seq, count: u64) {
        let frames: Vec<_> = (after + 1..=after + count)
            .map(|seq| Page(seq, 'p'))
            .collect();
        self.input(Input::Fetched {
            room: ROOM,
            after,
            frames: &frames,
        });
    }

    fn drained(&mut self, reader: Reader) {
        self.log.full.retain(|&other| other != reader);
        self.input(Input::Drained { reader });
    }

    /// Lets time pass up to the next tick that is wanted, and ticks.
    fn tick(&mut self) {
        self.now = self.machine.wakes_at().expect("a tick is wanted");
        self.input(Input::Tick);
    }

    fn says(&mut self, expected: &[&str]) {
        assert_eq!(std::mem::take(&mut self.log.said), expected);
    }
}

#[test]
fn what_came_before_the_subscription_is_found() {
    let mut bench = Bench::new(&[]);
    bench.join(1, 10);
    bench.says(&["subscribe room"]);
    bench.input(Input::Subscribed { room: ROOM });
    bench.says(&["compare room"]);
    bench.input(Input::Heads {
        heads: &[(ROOM, 12, 1)],
    });
    bench.tick();
    bench.says(&["fetch room 2 after 10: Gap"]);
    bench.fetched(10, 2);
    bench.says(&["1 gets 11p", "1 gets 12p"]);
}

#[test]
fn what_is_only_reordered_is_not_fetched() {
    let mut bench = Bench::new(&[1]);
    bench.committed(12, 1);
    bench.now += 29;
    bench.input(Input::Tick);
    bench.committed(11, 1);
    bench.says(&["1 gets 11a", "1 gets 12a"]);
    bench.now += 10;
    bench.input(Input::Tick);
    bench.says(&[]);
}

#[test]
fn a_gap_is_fetched_up_to_what_is_here() {
    let mut bench = Bench::new(&[1]);
    bench.committed(13, 2);
    bench.tick();
    bench.says(&["fetch room 2 after 10: Gap"]);
    bench.fetched(10, 2);
    bench.says(&["1 gets 11p", "1 gets 12p", "1 gets 13a", "1 gets 14a"]);
}

#[test]
fn late_and_doubled_frames_are_dropped() {
    let mut bench = Bench::new(&[1]);
    bench.committed(9, 4);
    bench.committed(10, 2);
    bench.says(&["1 gets 11a", "1 gets 12a"]);
}

#[test]
fn failed_and_empty_fetches_are_tried_again_later_each_time() {
    let mut bench = Bench::new(&[1]);
    bench.input(Input::Head {
        room: ROOM,
        head: 11,
    });
    bench.tick();
    bench.input(Input::FetchFailed { room: ROOM });
    bench.says(&["fetch room 1 after 10: Gap"]);
    let began = bench.now;
    bench.tick();
    assert_eq!(bench.now - began, 50);
    bench.fetched(10, 0);
    let again = bench.now;
    bench.tick();
    assert_eq!(bench.now - again, 100);
    bench.says(&["fetch room 1 after 10: Gap", "fetch room 1 after 10: Gap"]);
}

#[test]
fn a_full_reader_does_not_hold_up_the_others_and_is_refilled_from_the_ring() {
    let mut bench = Bench::new(&[1, 2]);
    bench.log.full.push(1);
    bench.committed(11, 3);
    bench.says(&["1 refuses 11", "2 gets 11a", "2 gets 12a", "2 gets 13a"]);
    bench.drained(1);
    bench.says(&["1 gets 11a", "1 gets 12a", "1 gets 13a"]);
    bench.committed(14, 1);
    bench.says(&["1 gets 14a", "2 gets 14a"]);
}

#[test]
fn one_page_serves_all_who_need_it() {
    let mut bench = Bench::new(&[1, 2, 3]);
    bench.log.full.extend([1, 2]);
    bench.committed(11, 6);
    bench.log.said.clear();
    bench.drained(1);
    bench.drained(2);
    bench.says(&["fetch room 3 after 10: Behind"]);
    bench.fetched(10, 3);
    // What the page has not, the ring has.
    bench.says(&[
        "1 gets 11p",
        "1 gets 12p",
        "1 gets 13p",
        "2 gets 11p",
        "2 gets 12p",
        "2 gets 13p",
        "1 gets 14a",
        "1 gets 15a",
        "1 gets 16a",
        "2 gets 14a",
        "2 gets 15a",
        "2 gets 16a",
    ]);
}

#[test]
fn a_slow_reader_and_a_gap_take_turns() {
    let mut bench = Bench::new(&[1, 2]);
    bench.log.full.push(1);
    bench.committed(11, 20);
    bench.log.said.clear();
    bench.drained(1);
    bench.input(Input::Head {
        room: ROOM,
        head: 31,
    });
    bench.now += 100;
    bench.says(&["fetch room 4 after 10: Behind"]);
    bench.fetched(10, 4);
    assert_eq!(
        bench.log.said.last().expect("a fetch"),
        "fetch room 1 after 30: Gap"
    );
    bench.log.said.clear();
    bench.fetched(30, 1);
    bench.says(&["2 gets 31p", "fetch room 4 after 14: Behind"]);
}

#[test]
fn slow_readers_in_different_places_take_turns() {
    let mut bench = Bench::new(&[1, 2]);
    bench.log.full.extend([1, 2]);
    bench.committed(11, 20);
    bench.log.full.clear();
    bench.drained(1);
    bench.fetched(10, 4);
    bench.drained(2);
    bench.log.said.clear();
    // 1 is owed 15 now, and 2 is owed 11: neither waits until the other has come to the end.
    bench.fetched(14, 4);
    bench.fetched(10, 4);
    bench.fetched(18, 4);
    bench.log.said.retain(|said| said.starts_with("fetch"));
    bench.says(&[
        "fetch room 4 after 10: Behind",
        "fetch room 4 after 18: Behind",
        "fetch room 4 after 14: Behind",
    ]);
}

#[test]
fn who_joins_further_on_shows_the_others_what_they_missed() {
    let mut bench = Bench::new(&[1]);
    bench.join(2, 12);
    bench.tick();
    bench.says(&["fetch room 2 after 10: Gap"]);
    bench.fetched(10, 2);
    bench.committed(13, 1);
    bench.says(&["1 gets 11p", "1 gets 12p", "1 gets 13a", "2 gets 13a"]);
}

#[test]
fn each_doubt_leads_to_a_comparison_and_doubts_meanwhile_to_one_more() {
    let mut bench = Bench::new(&[1]);
    let heads = [(ROOM, 10, 1)];
    bench.input(Input::Doubt);
    bench.says(&["compare room"]);
    bench.input(Input::Doubt);
    bench.input(Input::Doubt);
    bench.says(&[]);
    bench.input(Input::Heads { heads: &heads });
    bench.says(&["compare room"]);
    bench.input(Input::Heads { heads: &heads });
    bench.says(&[]);
    bench.input(Input::Doubt);
    bench.says(&["compare room"]);
}

#[test]
fn a_changed_frame_takes_the_place_of_the_old_one() {
    let mut bench = Bench::new(&[1]);
    bench.log.full.push(1);
    bench.committed(11, 1);
    bench.committed(13, 1);
    bench.log.said.clear();
    for seq in [11, 13, 40] {
        let frame = Page(seq, 'z');
        bench.input(Input::Changed {
            room: ROOM,
            seq,
            frame,
        });
    }
    bench.drained(1);
    bench.committed(12, 1);
    bench.says(&["1 gets 11z", "1 gets 12a", "1 gets 13z"]);
}

impl Bench {
    fn changed(&mut self, seq: Seq, version: char) {
        let frame = Page(seq, version);
        self.input(Input::Changed {
            room: ROOM,
            seq,
            frame,
        });
    }

    fn tells(&mut self, expected: &[Page]) {
        assert_eq!(std::mem::take(&mut self.log.told), expected);
    }
}

#[test]
fn changes_are_told_in_their_order_in_whichever_they_come() {
    let mut bench = Bench::new(&[1]);
    bench.log.full.push(1);
    bench.committed(11, 1);
    bench.committed(13, 1);
    bench.log.said.clear();
    bench.changed(11, '3');
    bench.changed(13, '5');
    bench.changed(11, '2');
    bench.changed(13, '4');
    bench.tells(&[Page(11, '2'), Page(11, '3'), Page(13, '4'), Page(13, '5')]);
    bench.drained(1);
    bench.committed(12, 1);
    bench.says(&["1 gets 113", "1 gets 12a", "1 gets 135"]);
    bench.changed(11, '3');
    bench.tells(&[]);
}

#[test]
fn a_change_that_was_missed_is_seen_by_its_number_and_read() {
    let mut bench = Bench::new(&[1]);
    bench.committed(11, 2);
    bench.changed(11, '4');
    bench.tells(&[]);
    bench.log.said.clear();
    bench.tick();
    bench.says(&["fetch changes of room after 1"]);
    bench.input(Input::ChangesFailed { room: ROOM });
    bench.says(&[]);
    bench.tick();
    bench.says(&["fetch changes of room after 1"]);
    bench.input(Input::ChangesFetched {
        room: ROOM,
        after: 1,
        changes: &[(12, Page(12, '3')), (11, Page(11, '4'))],
    });
    bench.tells(&[Page(12, '3'), Page(11, '4')]);
    bench.says(&[]);
    bench.changed(12, '3');
    bench.changed(10, '2');
    bench.tells(&[]);
}

#[test]
fn in_doubt_recent_frames_are_not_given_out_before_the_changes_are_known() {
    let mut bench = Bench::new(&[1]);
    bench.committed(11, 2);
    bench.log.said.clear();
    bench.input(Input::Doubt);
    bench.says(&["compare room"]);
    bench.join(2, 10);
    bench.says(&["fetch room 2 after 10: Behind"]);
    bench.input(Input::FetchFailed { room: ROOM });
    bench.input(Input::Heads {
        heads: &[(ROOM, 12, 2)],
    });
    bench.says(&[]);
    bench.now += 30;
    bench.input(Input::Tick);
    bench.says(&["fetch changes of room after 1"]);
    bench.input(Input::ChangesFetched {
        room: ROOM,
        after: 1,
        changes: &[(12, Page(12, '2'))],
    });
    bench.tells(&[Page(12, '2')]);
    bench.says(&["2 gets 11a", "2 gets 122"]);
}

#[test]
fn a_room_is_kept_for_a_while_and_then_forgotten() {
    let mut bench = Bench::new(&[1]);
    bench.committed(11, 1);
    bench.input(Input::Gone { reader: 1 });
    bench.now += 900;
    bench.join(2, 10);
    bench.says(&["1 gets 11a", "2 gets 11a"]);
    bench.input(Input::Gone { reader: 2 });
    bench.now += 999;
    bench.input(Input::Tick);
    assert!(bench.machine.knows(ROOM));
    bench.now += 1;
    bench.input(Input::Tick);
    bench.says(&["unsubscribe room"]);
    assert_eq!(
        (bench.machine.room_count(), bench.machine.wakes_at()),
        (0, None)
    );
}

#[test]
fn a_room_that_was_forgotten_does_not_repeat_itself_to_who_was_removed() {
    let mut bench = Bench::new(&[1]);
    bench.versions(11, "+-");
    bench.says(&["1 gets 11+", "1 gets 12-"]);
    bench.now += 1_000;
    bench.input(Input::Tick);
    bench.says(&["unsubscribe room"]);
    // Late words bring it back, at an earlier place.
    bench.join(2, 10);
    bench.join(1, 10);
    bench.versions(11, "+-a");
    bench.says(&["subscribe room", "2 gets 11+", "2 gets 12-", "2 gets 13a"]);
    bench.versions(14, "+");
    bench.says(&["2 gets 14+", "1 gets 14+"]);
}

#[test]
fn rooms_without_readers_are_bounded() {
    let rooms = ["a", "b", "c", "d"];
    let mut bench = Bench::new(&[]);
    bench.machine = Machine::new(Config {
        lingering_rooms: 2,
        ..Config::default()
    });
    for (reader, room) in (0..).zip(rooms) {
        let after = 0;
        bench.input(Input::Join {
            room,
            reader,
            after,
        });
        bench.input(Input::Subscribed { room });
        bench.input(Input::Gone { reader });
    }
    bench
        .log
        .said
        .retain(|said| said.starts_with("unsubscribe"));
    bench.says(&["unsubscribe a", "unsubscribe b"]);
}

#[test]
fn every_room_is_reviewed_in_turn() {
    let mut bench = Bench::new(&[1]);
    bench.now += 59_000;
    bench.input(Input::Tick);
    bench.says(&[]);
    bench.tick();
    bench.says(&["compare room"]);
    bench.input(Input::CompareFailed);
    bench.tick();
    bench.says(&["compare room"]);
}

#[test]
fn who_is_told_to_leave_is_not_spoken_to_besides_the_log() {
    let mut bench = Bench::new(&[1, 2]);
    bench.input(Input::Leave {
        room: ROOM,
        reader: 1,
        last: 12,
    });
    let readers: Vec<_> = bench.machine.readers(ROOM).copied().collect();
    assert_eq!(readers, [2]);
    bench.committed(11, 3);
    bench.says(&[
        "1 gets 11a",
        "2 gets 11a",
        "1 gets 12a",
        "2 gets 12a",
        "2 gets 13a",
    ]);
    assert_eq!(bench.machine.position(ROOM, &1), None);
    assert_eq!(bench.machine.position(ROOM, &2), Some(14));
}
