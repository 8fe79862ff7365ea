//! The embedded store on a disk that loses its power, is full, or breaks: what was acknowledged is there afterwards.
//!
//! `POWER_SEED=n` repeats one run, `POWER_EVERY=1` cuts after each operation instead of some.

// Helpers of tests report as tests do, by panicking.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

mod disk;

mod faults;

use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use disk::{Image, Noted, Op, Rng};
use parking_lot::Mutex;
use rusqlite::Connection;
use syncchat_core::command::CursorKind;
use syncchat_core::model::{ConversationId, SystemEvent, Timestamp, UserId};
use syncchat_core::ports::store::{
    Appended, CursorAdvance, LogRange, RefreshToken, Rotation, Store,
};
use syncchat_store::suite::{World, named, one, text};
use tempfile::TempDir;

/// One folder is watched at a time.
static TURN: Mutex<()> = Mutex::new(());
const STEPS: usize = 90;
/// Cuts of one disk, one after the other, and the steps before each.
const CUTS: usize = 6;
const STEPS_BEFORE_CUT: usize = 15;
const NAME: &str = "syncchat.db";
const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(work)
}

fn seed() -> u64 {
    let seed = number("POWER_SEED").unwrap_or_else(|| getrandom::u64().unwrap_or(1) | 1);
    println!("POWER_SEED={seed}");
    seed
}

/// One operation of so many is tried.
fn stride() -> usize {
    number("POWER_EVERY").unwrap_or(4).max(1) as usize
}

/// A folder with these files.
fn lay(image: &Image) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in image {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

/// Why the store is not sound, if it is not.
async fn flaw(store: &dyn Store) -> Option<String> {
    let findings = store.check_deep(false).await.unwrap();
    let flawed = findings.iter().find(|finding| finding.found > 0);
    flawed.map(|finding| format!("{finding:?}"))
}

async fn open(folder: &Path) -> Arc<dyn Store> {
    let url = format!("sqlite:{}/{NAME}", folder.display());
    let store = syncchat_store::open(&url).await;
    store.unwrap_or_else(|error| panic!("it does not open: {error}"))
}

/// Everything that the store holds of these, as text.
#[derive(Clone)]
struct Known {
    rooms: Vec<ConversationId>,
    people: Vec<UserId>,
    tokens: Vec<[u8; 32]>,
}

impl Known {
    async fn dump(&self, store: &dyn Store) -> String {
        let mut text = String::new();
        for room in store.conversations(&self.rooms).await.unwrap() {
            let _ = writeln!(text, "{room:?}");
            let log = store.log(&[(room.id, LogRange::After(0))], 1_000).await;
            for message in &log.unwrap()[0] {
                let _ = writeln!(text, "  {message:?}");
            }
        }
        let places = store.memberships_of(&self.people).await.unwrap();
        let _ = writeln!(text, "{places:?}");
        let mut families = store.families_of_tokens(&self.tokens).await.unwrap();
        families.sort_unstable();
        let _ = writeln!(text, "{families:?}");
        let ids: Vec<_> = families.iter().map(|(_, family)| *family).collect();
        let _ = writeln!(text, "{:?}", store.revoked_families(&ids).await.unwrap());
        text
    }
}

/// A run of the store on a watched disk.
struct Recording {
    known: Known,
    ops: Vec<Noted>,
    /// After each acknowledged step: how many operations there were, and what the store held.
    steps: Vec<(usize, String)>,
    /// During so many of them, what the store held is not known.
    unjudged: usize,
}

/// One member of two groups who does this and that.
struct Actor {
    world: World,
    known: Known,
    rng: Rng,
    token: [u8; 32],
}

impl Actor {
    /// Does something that is one transaction, or none.
    async fn act(&mut self, nth: usize, path: &Path) {
        let room = self.known.rooms[self.rng.below(2)];
        let [me, you] = [self.known.people[0], self.known.people[1]];
        let world = &self.world;
        let log = world.log(room, LogRange::After(0)).await;
        let texts = log.iter().filter(|m| m.event.is_none() && !m.deleted);
        let texts: Vec<_> = texts.map(|message| message.id).collect();
        match self.rng.below(21) {
            0..8 => {
                let (name, content) = (nth.to_string(), "x".repeat(self.rng.below(3_000)));
                let append = |head: &_| one(named(text(head, 1, me, &content), &name));
                assert_eq!(world.append(room, append).await, Appended::Committed);
            }
            8..11 if !texts.is_empty() => {
                let message = texts[self.rng.below(texts.len())];
                let edited = world
                    .store
                    .edit_message(message, format!("edit {nth}"), NOW);
                assert!(edited.await.unwrap().is_some());
            }
            11..13 if !texts.is_empty() => {
                let message = texts[self.rng.below(texts.len())];
                assert!(
                    world
                        .store
                        .delete_message(message, NOW)
                        .await
                        .unwrap()
                        .is_some()
                );
            }
            13 | 14 => {
                let places = world.places(you).await;
                let is_here = places.iter().any(|place| place.conversation == room);
                let event = match is_here {
                    true => SystemEvent::Removed { by: me, user: you },
                    false => SystemEvent::Added { by: me, user: you },
                };
                world.change(room, me, event).await;
            }
            15 => {
                let title = format!("title {nth}");
                world
                    .change(room, me, SystemEvent::Renamed { by: me, title })
                    .await;
            }
            16 => self.renew(nth).await,
            17 => self.mark(room, me, log.len() as u64).await,
            18 => checkpoint(path, "RESTART"),
            19 => self.say_in_both(nth).await,
            _ => checkpoint(path, ["PASSIVE", "TRUNCATE"][self.rng.below(2)]),
        }
    }

    async fn renew(&mut self, nth: usize) {
        let next = self.known.tokens[nth + 1];
        let token = token(next, self.known.people[0]);
        let rotated = self
            .world
            .store
            .rotate_refresh_token(self.token, &token, [1; 16], NOW);
        assert!(matches!(rotated.await.unwrap(), Rotation::Rotated { .. }));
        self.token = next;
    }

    /// Two appends in one transaction.
    async fn say_in_both(&self, nth: usize) {
        let world = &self.world;
        let mut appends = Vec::new();
        for room in &self.known.rooms {
            let head = world.conversation(*room).await;
            let message = text(&head, 1, self.known.people[0], "to both");
            appends.push(one(named(message, &format!("{nth}"))));
        }
        let appended = world.store.append(appends).await.unwrap();
        assert_eq!(appended, [Appended::Committed, Appended::Committed]);
    }

    async fn mark(&self, room: ConversationId, user: UserId, seq: u64) {
        let advance = CursorAdvance {
            conversation: room,
            user,
            kind: CursorKind::Read,
            seq,
        };
        self.world.store.advance_cursors(&[advance]).await.unwrap();
    }
}

fn token(hash: [u8; 32], user: UserId) -> RefreshToken {
    RefreshToken {
        hash,
        family: [7; 16],
        user,
        created_at: NOW,
        expires_at: NOW.plus(std::time::Duration::from_secs(3_600)),
    }
}

/// Another connection moves the log into the database, as SQLite does by itself once the log is long.
fn checkpoint(path: &Path, how: &str) {
    let connection = Connection::open(path).unwrap();
    let sql = format!("PRAGMA wal_checkpoint({how})");
    connection.query_row(&sql, [], |_| Ok(())).unwrap();
}

/// Records steps on a new disk.
async fn record(seed: u64) -> Recording {
    let people = vec![UserId::generate(), UserId::generate()];
    let mut known = Known {
        rooms: Vec::new(),
        people,
        tokens: (0..=(STEPS + CUTS * STEPS_BEFORE_CUT) as u8)
            .map(|n| [n; 32])
            .collect(),
    };
    // An empty database: opening makes it and syncs the folder before SQLite sees it.
    let image = Image::from([(NAME.to_owned(), Vec::new())]);
    let folder = lay(&image);
    disk::watch(folder.path(), disk::making(&image));
    let world = World::new(open(folder.path()).await);
    let mut steps = vec![(disk::noted(), known.dump(&*world.store).await)];
    let rooms = [
        world.group(&known.people).await,
        world.group(&known.people).await,
    ];
    let first = token(known.tokens[0], known.people[0]);
    world.store.add_refresh_token(&first).await.unwrap();
    known.rooms = rooms.to_vec();
    steps.push((disk::noted(), known.dump(&*world.store).await));
    let mut recording = go_on(world, known, &folder, Rng(seed), 0..STEPS).await;
    recording.unjudged = steps.len();
    recording.steps.splice(0..0, steps);
    recording
}

/// Records steps on the disk that a cut has left.
async fn record_on(image: &Image, known: Known, rng: Rng, nths: Range<usize>) -> Recording {
    let folder = lay(image);
    disk::watch(folder.path(), disk::making(image));
    let world = World::new(open(folder.path()).await);
    let held = known.dump(&*world.store).await;
    let mut recording = go_on(world, known, &folder, rng, nths).await;
    // Opening adds nothing and takes nothing away.
    recording.steps.insert(0, (0, held));
    recording
}

async fn go_on(
    world: World,
    known: Known,
    folder: &TempDir,
    rng: Rng,
    nths: Range<usize>,
) -> Recording {
    let stored = world.store.families_of_tokens(&known.tokens).await.unwrap();
    let newest = stored.iter().map(|(token, _)| *token).max();
    let mut actor = Actor {
        world,
        token: newest.unwrap_or(known.tokens[0]),
        known,
        rng,
    };
    let path = folder.path().join(NAME);
    let mut steps = Vec::new();
    for nth in nths {
        actor.act(nth, &path).await;
        let held = actor.known.dump(&*actor.world.store).await;
        steps.push((disk::noted(), held));
    }
    Recording {
        known: actor.known,
        ops: disk::take(),
        steps,
        unjudged: 0,
    }
}

impl Recording {
    /// What is wrong with the store after a cut behind so many operations.
    async fn wrong_after(&self, count: usize, rng: &mut Rng) -> Option<String> {
        let image = disk::cut(&self.ops[..count], rng);
        self.wrong_with(&image, count).await
    }

    /// What is wrong with a store that holds this after so many operations.
    async fn wrong_with(&self, image: &Image, count: usize) -> Option<String> {
        let folder = lay(image);
        let store = open(folder.path()).await;
        if let Some(flaw) = flaw(&*store).await {
            return Some(flaw);
        }
        let held = self.known.dump(&*store).await;
        let done = self.steps.partition_point(|(at, _)| *at <= count);
        // What was acknowledged last, or what was under way.
        let may_be = &self.steps[done.saturating_sub(1)..self.steps.len().min(done + 1)];
        if done < self.unjudged || may_be.iter().any(|(_, expected)| *expected == held) {
            return None;
        }
        Some(format!(
            "after step {done}: {held}\nexpected {:?}",
            may_be.first()
        ))
    }

    /// What is wrong if the process dies behind so many operations, a new one shows what the system still has of
    /// them in its memory, and then the power is cut.
    async fn wrong_after_death(
        &self,
        count: usize,
        is_opened_unsynced: bool,
        rng: &mut Rng,
    ) -> Option<String> {
        let before = &self.ops[..count];
        let folder = lay(&disk::cached(before));
        disk::watch(folder.path(), before.to_vec());
        let store = open(folder.path()).await;
        let shown = self.known.dump(&*store).await;
        let mut ops = disk::take();
        if is_opened_unsynced {
            forget_syncs(&mut ops[count..]);
        }
        let folder = lay(&disk::cut(&ops, rng));
        let store = open(folder.path()).await;
        if let Some(flaw) = flaw(&*store).await {
            return Some(flaw);
        }
        let held = self.known.dump(&*store).await;
        (held != shown).then(|| format!("shown {shown}\nthen {held}"))
    }
}

/// What `synchronous = OFF` would do to the log. Steps are marked by counts of operations: syncs are replaced, not
/// taken out. Gives how many there were.
fn forget_syncs(ops: &mut [Noted]) -> usize {
    let of_log = |(name, op): &&mut Noted| name.ends_with("-wal") && matches!(op, Op::Sync);
    ops.iter_mut()
        .filter(of_log)
        .map(|(_, op)| {
            *op = Op::Write {
                offset: 0,
                bytes: Vec::new(),
            };
        })
        .count()
}

#[test]
fn what_was_acknowledged_is_there_after_every_cut() {
    let _turn = TURN.lock();
    let seed = seed();
    block_on(async {
        let recording = record(seed).await;
        let mut rng = Rng(seed);
        let mut cuts = 0;
        for count in (rng.below(stride())..recording.ops.len()).step_by(stride()) {
            let wrong = recording.wrong_after(count, &mut rng).await;
            assert!(
                wrong.is_none(),
                "cut after operation {count}: {}",
                wrong.unwrap()
            );
            cuts += 1;
        }
        println!("{} operations, {cuts} cuts", recording.ops.len());
        assert!(recording.ops.len() > 4 * STEPS && cuts > 0);
    });
}

/// Who reads after a restart takes what is read for stored, so it must be: also what the process that died had not
/// synced yet.
#[test]
fn what_a_new_process_shows_is_there_after_a_cut() {
    let _turn = TURN.lock();
    let seed = seed();
    block_on(async {
        let recording = record(seed).await;
        let mut rng = Rng(seed);
        // Each takes three openings.
        let stride = 3 * stride();
        for count in (rng.below(stride)..recording.ops.len()).step_by(stride) {
            let wrong = recording.wrong_after_death(count, false, &mut rng).await;
            assert!(
                wrong.is_none(),
                "death after operation {count}: {}",
                wrong.unwrap()
            );
        }
    });
}

#[test]
fn a_disk_that_is_cut_again_and_again_keeps_everything() {
    let _turn = TURN.lock();
    let seed = seed();
    block_on(async {
        let mut rng = Rng(seed);
        let mut recording = record(seed).await;
        for cut in 0..CUTS {
            let count = recording.ops.len() - 1 - rng.below(recording.ops.len() / 2);
            let image = disk::cut(&recording.ops[..count], &mut rng);
            let wrong = recording.wrong_with(&image, count).await;
            assert!(wrong.is_none(), "cut {cut}: {}", wrong.unwrap());
            let first = STEPS + cut * STEPS_BEFORE_CUT;
            let nths = first..first + STEPS_BEFORE_CUT;
            let rng = Rng(seed ^ first as u64);
            recording = record_on(&image, recording.known, rng, nths).await;
        }
    });
}

/// The judge is judged: with `synchronous = OFF` SQLite would not sync.
#[test]
fn a_disk_that_is_not_synced_is_found_out() {
    let _turn = TURN.lock();
    block_on(async {
        let mut recording = record(5).await;
        let mut rng = Rng(5);
        let mut found = None;
        for count in 0..recording.ops.len() {
            found = recording.wrong_after_death(count, true, &mut rng).await;
            if found.is_some() {
                break;
            }
        }
        assert!(found.is_some(), "what opening does not sync can be lost");
        assert!(forget_syncs(&mut recording.ops) > STEPS / 2);
        for count in (0..recording.ops.len()).rev().step_by(3) {
            if let Some(wrong) = recording.wrong_after(count, &mut rng).await {
                println!("found: {}", wrong.lines().next().unwrap_or_default());
                return;
            }
        }
        panic!("nothing was lost, so the judge finds nothing");
    });
}
