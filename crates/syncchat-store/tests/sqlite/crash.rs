//! A process that appends is killed in the middle, again and again: nothing it acknowledged is
//! lost, and nothing is there twice.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use syncchat_core::model::{ConversationId, UserId};
use syncchat_core::ports::store::{Appended, LogRange, Store};
use syncchat_store::suite::{World, named, one, text};

const ROUNDS: usize = 20;
const TASKS: usize = 8;
/// Tells the child where and in which conversations to write, and which round it is.
const CHILD: &str = "SYNCCHAT_TEST_CRASH_CHILD";

async fn open(path: &str) -> Arc<dyn Store> {
    syncchat_store::open(&format!("sqlite:{path}"))
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("syncchat.db").display().to_string();
    let user = UserId::generate();
    let world = World::new(open(&path).await);
    let ids = [world.group(&[user]).await, world.group(&[user]).await];
    drop(world);

    let mut acknowledged = BTreeSet::new();
    for round in 0..ROUNDS {
        let lived = Duration::from_millis(15 + 11 * round as u64);
        acknowledged.extend(run_and_kill(&path, ids, user, round, lived));
    }
    println!("{} acknowledged over {ROUNDS} kills", acknowledged.len());
    assert!(acknowledged.len() > ROUNDS * TASKS);

    let world = World::new(open(&path).await);
    let mut stored = Vec::new();
    for id in ids {
        let mut seq = 0;
        loop {
            let page = world.log(id, LogRange::After(seq)).await;
            if page.is_empty() {
                break;
            }
            for message in page {
                seq += 1;
                assert_eq!(message.seq, seq);
                stored.push(message.content);
            }
        }
        assert_eq!(world.conversation(id).await.last_seq, seq);
    }
    let once: BTreeSet<String> = stored.iter().cloned().collect();
    assert_eq!(once.len(), stored.len(), "something is stored twice");
    let lost: Vec<_> = acknowledged.difference(&once).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

/// Lets a child write, kills it some time after its first word, and gives what it had acknowledged.
fn run_and_kill(
    path: &str,
    ids: [ConversationId; 2],
    user: UserId,
    round: usize,
    lived: Duration,
) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["crash::the_child_appends", "--exact", "--nocapture"])
        .env(
            CHILD,
            format!("{path} {} {} {user} {round}", ids[0], ids[1]),
        )
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = Vec::new();
    let mut first = None;
    for line in lines {
        let Some(content) = line.unwrap().strip_prefix("stored ").map(str::to_owned) else {
            continue;
        };
        acknowledged.push(content);
        let begun: &mut Instant = first.get_or_insert_with(Instant::now);
        if begun.elapsed() > lived {
            // SIGKILL. What it had said before is still in the pipe.
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    // The last line may have been cut off, and then says less than was stored.
    acknowledged.pop();
    acknowledged
}

/// Does nothing unless it is the child.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child_appends() {
    let Ok(orders) = std::env::var(CHILD) else {
        return;
    };
    let orders: Vec<String> = orders.split(' ').map(str::to_owned).collect();
    let [path, first, second, user, round] = orders.try_into().unwrap();
    let world = World::new(open(&path).await);
    let ids: [ConversationId; 2] = [first.parse().unwrap(), second.parse().unwrap()];
    let user: UserId = user.parse().unwrap();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (world, round) = (world.clone(), round.clone());
            tokio::spawn(async move {
                for nth in 0.. {
                    let content = format!("{round}-{task}-{nth}");
                    let make = |head: &_| one(named(text(head, 1, user, &content), &content));
                    let appended = world.append(ids[task % 2], make).await;
                    assert_eq!(appended, Appended::Committed);
                    println!("stored {content}");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}
