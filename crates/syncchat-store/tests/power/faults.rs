//! A disk that is full or fails, at each call in turn.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, ffi};
use syncchat_core::model::{ConversationId, MessageId, UserId};
use syncchat_core::ports::store::{Appended, LogRange, StoreError, StoreResult};
use syncchat_store::suite::{World, named, one, text};

use super::disk::{self, Fault, Image, Rng};
use super::{NAME, NOW, TURN, block_on, flaw, lay, open, seed, stride};

const TURNS: usize = 8;
/// Until the fault is taken away.
const LASTING: usize = usize::MAX;

/// One content that a message was to have.
struct Wish {
    /// After how many operations it was acknowledged.
    at: Option<usize>,
    content: String,
}

/// What was wished for each message, by its name and in order.
#[derive(Default)]
struct Wishes(BTreeMap<String, Vec<Wish>>);

impl Wishes {
    fn note(&mut self, name: &str, content: &str, answer: StoreResult<()>) {
        if let Err(error) = &answer {
            assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        }
        let (at, content) = (answer.ok().map(|()| disk::noted()), content.to_owned());
        let wishes = self.0.entry(name.to_owned()).or_default();
        wishes.push(Wish { at, content });
    }

    /// Names of messages that may be stored or not.
    fn unknown(&self) -> Vec<String> {
        let is_unknown = |wishes: &[Wish]| wishes.iter().all(|wish| wish.at.is_none());
        let unknown = self.0.iter().filter(|(_, wishes)| is_unknown(wishes));
        unknown.map(|(name, _)| name.clone()).collect()
    }

    /// Judges what is stored after a cut behind so many operations.
    fn judge(&self, stored: &BTreeMap<String, String>, count: usize) {
        for (name, wishes) in &self.0 {
            let last = wishes
                .iter()
                .rposition(|wish| wish.at.is_some_and(|at| at <= count));
            let mut may_be = wishes[last.unwrap_or(0)..].iter();
            match stored.get(name) {
                Some(content) => assert!(
                    may_be.any(|wish| wish.content == *content),
                    "{name} is {content:?}"
                ),
                None => assert!(last.is_none(), "{name} is lost"),
            }
        }
        let unwished = stored.keys().find(|name| !self.0.contains_key(*name));
        assert_eq!(unwished, None);
    }
}

struct Run {
    world: World,
    me: UserId,
    rooms: [ConversationId; 2],
    olds: Vec<MessageId>,
    wishes: Wishes,
}

impl Run {
    async fn begin(folder: &Path) -> Run {
        let world = World::new(open(folder).await);
        let me = UserId::generate();
        let mut run = Run {
            rooms: [world.group(&[me]).await, world.group(&[me]).await],
            world,
            me,
            olds: Vec::new(),
            wishes: Wishes::default(),
        };
        for nth in 0..4 {
            let name = format!("old {nth}");
            let said = run.say(run.rooms[nth % 2], &name).await;
            run.wishes.note(&name, &name, said);
            let key = (run.rooms[nth % 2], me, name);
            let stored = run.world.store.messages_by_client_id(&[key]).await;
            run.olds.push(stored.unwrap()[0].message.id);
        }
        run
    }

    async fn say(&self, room: ConversationId, name: &str) -> StoreResult<()> {
        let head = self.world.store.conversations(&[room]).await?.remove(0);
        let append = one(named(text(&head, 1, self.me, name), name));
        let appended = self.world.store.append(vec![append]).await?;
        assert!(
            matches!(appended[..], [Appended::Committed | Appended::Duplicate]),
            "{name}: {appended:?}"
        );
        Ok(())
    }

    /// An edit, or a deletion.
    async fn change(&self, nth: usize, content: &str) -> StoreResult<()> {
        let (store, id) = (&self.world.store, self.olds[nth]);
        let changed = match content {
            "" => store.delete_message(id, NOW).await?,
            _ => store.edit_message(id, content.to_owned(), NOW).await?,
        };
        assert!(changed.is_some(), "old {nth}");
        Ok(())
    }

    /// Three writes at once.
    async fn turn(&mut self, nth: usize) {
        let names = [format!("{nth} here"), format!("{nth} there")];
        let (old, content) = match nth {
            5 => (3, String::new()),
            _ => (nth % 3, format!("edit {nth}")),
        };
        let (here, there, changed) = tokio::join!(
            self.say(self.rooms[0], &names[0]),
            self.say(self.rooms[1], &names[1]),
            self.change(old, &content),
        );
        self.wishes.note(&names[0], &names[0], here);
        self.wishes.note(&names[1], &names[1], there);
        self.wishes.note(&format!("old {old}"), &content, changed);
    }

    /// What is sent again is stored once.
    async fn repeat_unknown(&mut self) {
        for name in self.wishes.unknown() {
            let room = self.rooms[usize::from(name.ends_with("there"))];
            let said = self.say(room, &name).await;
            said.as_ref().expect("the disk is well again");
            self.wishes.note(&name, &name, said);
        }
    }

    async fn judge(&self, world: &World, count: usize) {
        assert_eq!(flaw(&*world.store).await, None);
        let mut stored = BTreeMap::new();
        for room in self.rooms {
            for (message, seq) in world.log(room, LogRange::After(0)).await.iter().zip(1..) {
                assert_eq!(message.seq, seq, "a hole");
                let name = message.client_msg_id.clone().unwrap();
                let before = stored.insert(name, message.content.clone());
                assert_eq!(before, None, "there twice");
            }
        }
        self.wishes.judge(&stored, count);
    }
}

/// A run with this fault, and cuts of it. Gives how many calls failed.
async fn meet(fault: Fault, rng: &mut Rng) -> usize {
    let image = Image::from([(NAME.to_owned(), Vec::new())]);
    let folder = lay(&image);
    disk::watch(folder.path(), disk::making(&image));
    let mut run = Run::begin(folder.path()).await;
    let begun = disk::noted();
    disk::set_fault(Some(fault));
    for nth in 0..TURNS {
        run.turn(nth).await;
        if nth == TURNS / 2 {
            checkpoint_if_possible(&folder.path().join(NAME));
        }
    }
    let failed = disk::set_fault(None);
    run.repeat_unknown().await;
    run.turn(TURNS).await;
    assert_eq!(run.wishes.unknown(), [""; 0], "the disk is well again");
    run.judge(&run.world, disk::noted()).await;
    let ops = disk::take();
    for count in [begun + rng.below(ops.len() - begun), ops.len()] {
        let folder = lay(&disk::cut(&ops[..count], rng));
        let world = World::new(open(folder.path()).await);
        run.judge(&world, count).await;
    }
    failed
}

#[test]
fn a_full_or_failing_disk_loses_nothing_acknowledged() {
    let _turn = TURN.lock();
    let seed = seed();
    let mut rng = Rng(seed);
    let faults = [
        ("full", ffi::SQLITE_FULL),
        ("write", ffi::SQLITE_IOERR_WRITE),
        ("sync", ffi::SQLITE_IOERR_FSYNC),
        ("truncate", ffi::SQLITE_IOERR_TRUNCATE),
        ("read", ffi::SQLITE_IOERR_READ),
    ];
    for (what, code) in faults {
        // A run writes and reads often, and syncs rarely.
        let is_rare = matches!(what, "sync" | "truncate");
        let stride = if is_rare { 1 } else { 4 * stride() };
        let (mut met, mut after) = (0, rng.below(stride));
        loop {
            let count = [1, 3, LASTING][rng.below(3)];
            let fault = Fault { after, count, code };
            println!("{what} {fault:?}");
            let failed = block_on(meet(fault, &mut rng));
            if failed == 0 {
                break;
            }
            met += 1;
            after += stride;
        }
        println!("{what}: {met} runs met it");
        assert!(met > 0, "{what} was never met");
    }
}

fn checkpoint_if_possible(path: &Path) {
    if let Ok(connection) = Connection::open(path) {
        let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
        let _ = connection.query_row(sql, [], |_| Ok(()));
    }
}
