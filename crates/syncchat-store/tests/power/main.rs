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

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use disk::{Fault, Op, Rng};
use parking_lot::Mutex;
use rusqlite::{Connection, ffi};
use syncchat_core::command::CursorKind;
use syncchat_core::model::{ConversationId, SystemEvent, Timestamp, UserId};
use syncchat_core::ports::store::{
    Appended, CursorAdvance, LogRange, RefreshToken, Rotation, Store, StoreResult,
};
use syncchat_store::suite::{World, named, one, text};
use tempfile::TempDir;

/// One folder is watched at a time.
static TURN: Mutex<()> = Mutex::new(());
const STEPS: usize = 90;
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

async fn open(folder: &Path) -> Arc<dyn Store> {
    let url = format!("sqlite:{}/{NAME}", folder.display());
    let store = syncchat_store::open(&url).await;
    store.unwrap_or_else(|error| panic!("it does not open: {error}"))
}

/// Everything that the store holds of these, as text.
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
    ops: Vec<(String, Op)>,
    /// After each acknowledged step: how many operations there were, and what the store held.
    steps: Vec<(usize, String)>,
    folder: TempDir,
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
        match self.rng.below(20) {
            0..8 => {
                let content = format!("{nth} {}", "x".repeat(self.rng.below(3_000)));
                let append = |head: &_| one(named(text(head, 1, me, &content), &content[..2]));
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

async fn record(seed: u64) -> Recording {
    let folder = tempfile::tempdir().unwrap();
    disk::watch(folder.path());
    let world = World::new(open(folder.path()).await);
    let people = [UserId::generate(), UserId::generate()];
    let mut known = Known {
        rooms: Vec::new(),
        people: people.to_vec(),
        tokens: (0..=STEPS as u8).map(|n| [n; 32]).collect(),
    };
    let mut steps = Vec::new();
    // Before there is anything: a file that is only being made may be empty.
    steps.push((disk::noted(), known.dump(&*world.store).await));
    let rooms = [world.group(&people).await, world.group(&people).await];
    let first = token(known.tokens[0], people[0]);
    world.store.add_refresh_token(&first).await.unwrap();
    known.rooms = rooms.to_vec();
    let begun = disk::noted();
    steps.push((begun, known.dump(&*world.store).await));
    let token = known.tokens[0];
    let mut actor = Actor {
        world,
        known,
        rng: Rng(seed),
        token,
    };
    let path = folder.path().join(NAME);
    for nth in 0..STEPS {
        actor.act(nth, &path).await;
        let held = actor.known.dump(&*actor.world.store).await;
        steps.push((disk::noted(), held));
    }
    Recording {
        known: actor.known,
        ops: disk::take(),
        steps,
        folder,
    }
}

impl Recording {
    /// What is wrong with the store after a cut behind so many operations.
    async fn wrong_after(&self, count: usize, rng: &mut Rng) -> Option<String> {
        let path = self.folder.path().join(NAME).display().to_string();
        let base = BTreeMap::from([(path, Vec::new())]);
        let image = disk::cut(&base, &self.ops[..count], rng);
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in image {
            let name = Path::new(&name).file_name().unwrap();
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        let store = open(folder.path()).await;
        let findings = store.check_deep(false).await.unwrap();
        if let Some(finding) = findings.iter().find(|finding| finding.found > 0) {
            return Some(format!("{finding:?}"));
        }
        let held = self.known.dump(&*store).await;
        let done = self.steps.partition_point(|(at, _)| *at <= count);
        // What was acknowledged last, or what was under way.
        let may_be = &self.steps[done.saturating_sub(1)..self.steps.len().min(done + 1)];
        // While the first things are made, several steps are one here.
        if done < 2 || may_be.iter().any(|(_, expected)| *expected == held) {
            return None;
        }
        Some(format!(
            "after step {done}: {held}\nexpected {:?}",
            may_be.first()
        ))
    }
}

#[test]
fn what_was_acknowledged_is_there_after_every_cut() {
    let _turn = TURN.lock();
    let seed = number("POWER_SEED").unwrap_or_else(|| getrandom::u64().unwrap_or(1) | 1);
    println!("POWER_SEED={seed}");
    block_on(async {
        let recording = record(seed).await;
        let mut rng = Rng(seed);
        let every = number("POWER_EVERY").unwrap_or(4) as usize;
        let mut cuts = 0;
        for count in (rng.below(every)..recording.ops.len()).step_by(every) {
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

/// The judge is judged: with `synchronous = OFF` SQLite would not sync.
#[test]
fn a_disk_that_is_not_synced_is_found_out() {
    let _turn = TURN.lock();
    block_on(async {
        let mut recording = record(5).await;
        let log = |name: &str| name.ends_with("-wal");
        let mut kept = 0;
        // Marks of steps count operations: syncs are replaced, not taken out.
        for (name, op) in &mut recording.ops {
            if log(name) && matches!(op, Op::Sync) {
                *op = Op::Write {
                    offset: 0,
                    bytes: Vec::new(),
                };
                kept += 1;
            }
        }
        assert!(kept > STEPS / 2);
        let mut rng = Rng(5);
        for count in (0..recording.ops.len()).rev().step_by(3) {
            if let Some(wrong) = recording.wrong_after(count, &mut rng).await {
                println!("found: {}", wrong.lines().next().unwrap_or_default());
                return;
            }
        }
        panic!("nothing was lost, so the judge finds nothing");
    });
}

/// Every write and every sync in turn finds a disk that is full, or fails, and some after it.
#[test]
fn a_full_or_failing_disk_loses_nothing_acknowledged() {
    let _turn = TURN.lock();
    let faults = [
        ffi::SQLITE_FULL,
        ffi::SQLITE_IOERR_WRITE,
        ffi::SQLITE_IOERR_FSYNC,
    ];
    block_on(async {
        let mut refused = 0;
        for (nth, code) in (0..24).flat_map(|nth| faults.map(|code| (nth, code))) {
            let folder = tempfile::tempdir().unwrap();
            disk::watch(folder.path());
            let world = World::new(open(folder.path()).await);
            let me = UserId::generate();
            let room = world.group(&[me]).await;
            let (mut told, mut unknown) = (Vec::new(), Vec::new());
            disk::set_fault(Some(Fault {
                after: nth,
                count: 1 + nth % 3,
                code,
            }));
            for turn in 0..8 {
                let content = format!("{turn}");
                match try_to_say(&world, room, me, &content).await {
                    Ok(()) => told.push(content),
                    Err(_) => unknown.push(content),
                }
                if turn == 3 {
                    checkpoint_if_possible(&folder.path().join(NAME));
                }
            }
            disk::set_fault(None);
            try_to_say(&world, room, me, "well again")
                .await
                .expect("the disk has room again");
            told.push("well again".into());
            refused += unknown.len();
            // What the disk holds after a cut now, and what the store says now.
            drop(world);
            let store = open(folder.path()).await;
            let stored = World::new(store).log(room, LogRange::After(0)).await;
            for (message, seq) in stored.iter().zip(1..) {
                assert_eq!(message.seq, seq, "no holes, fault {nth} {code}");
                assert!(told.contains(&message.content) || unknown.contains(&message.content));
            }
            let stored: Vec<_> = stored.into_iter().map(|message| message.content).collect();
            for content in &told {
                let count = stored.iter().filter(|other| *other == content).count();
                assert_eq!(count, 1, "{content} in {stored:?}, fault {nth} {code}");
            }
        }
        println!("{refused} writes were refused");
        assert!(refused > 20, "the faults were met");
    });
    disk::take();
}

async fn try_to_say(
    world: &World,
    room: ConversationId,
    me: UserId,
    content: &str,
) -> StoreResult<()> {
    let head = world.store.conversations(&[room]).await?.remove(0);
    let append = one(named(text(&head, 1, me, content), content));
    let appended = world.store.append(vec![append]).await?;
    assert_eq!(appended, [Appended::Committed], "{content}");
    Ok(())
}

fn checkpoint_if_possible(path: &Path) {
    if let Ok(connection) = Connection::open(path) {
        let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
        let _ = connection.query_row(sql, [], |_| Ok(()));
    }
}
