//! How many messages a second a store makes durable, by messages in a batch and batches in flight.
//!
//! `cargo run --release --example append_rate -- sqlite:/tmp/rate.db mongodb://…?replicaSet=rs`
//! prints a table for each address, with the processor time that this process took for a message
//! (of MongoDB the driver's only). The databases are written to: name ones that nobody needs.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use syncchat_core::model::{
    Conversation, ConversationId, ConversationKind, Message, MessageId, MessageKind, Timestamp,
    UserId,
};
use syncchat_core::ports::store::{Append, Appended, CreatedConversation, NewConversation, Store};

/// How long each cell of the table is measured.
const MEASURED: Duration = Duration::from_secs(2);
/// Conversations that one writer's messages go to, in turn.
const CONVERSATIONS: usize = 16;
const BATCHES: [usize; 4] = [1, 16, 64, 256];
const IN_FLIGHT: [usize; 3] = [1, 4, 16];

#[tokio::main]
async fn main() {
    for url in std::env::args().skip(1) {
        let store = syncchat_store::open(&url).await.unwrap();
        store.migrate().await.unwrap();
        println!("{}", store.check().await.unwrap());
        println!("batch  in flight  messages/s  p50 ms  p99 ms  cpu µs");
        for batch in BATCHES {
            for in_flight in IN_FLIGHT {
                measure(&store, batch, in_flight).await;
            }
        }
    }
}

async fn measure(store: &Arc<dyn Store>, batch: usize, in_flight: usize) {
    let (begun, cpu_begun) = (Instant::now(), cpu_time());
    let writers: Vec<_> = (0..in_flight)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { write(&store, batch).await })
        })
        .collect();
    let mut took = Vec::new();
    for writer in writers {
        took.extend(writer.await.unwrap());
    }
    let messages = (took.len() * batch) as f64;
    let rate = messages / begun.elapsed().as_secs_f64();
    let cpu = (cpu_time() - cpu_begun).as_secs_f64() * 1e6 / messages;
    took.sort_unstable();
    let percentile = |part: usize| took[(took.len() - 1) * part / 100].as_secs_f64() * 1e3;
    let (p50, p99) = (percentile(50), percentile(99));
    println!("{batch:>5}  {in_flight:>9}  {rate:>10.0}  {p50:>6.2}  {p99:>6.2}  {cpu:>6.1}");
}

/// What this process has used so far; zero where the system does not say (`proc_pid_stat(5)`).
fn cpu_time() -> Duration {
    const TICKS_PER_SECOND: u64 = 100;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND)
}

/// Appends `batch` messages at once, again and again; how long each took.
async fn write(store: &Arc<dyn Store>, batch: usize) -> Vec<Duration> {
    let sender = UserId::generate();
    let mut heads = Vec::with_capacity(CONVERSATIONS);
    for _ in 0..CONVERSATIONS.min(batch) {
        let new = NewConversation {
            id: ConversationId::generate(),
            kind: ConversationKind::Group,
            title: None,
            participants: [sender].into(),
            created_at: Timestamp::now(),
            request: None,
        };
        match store.create_conversation(new).await.unwrap() {
            CreatedConversation::New(head)
            | CreatedConversation::Existing(head)
            | CreatedConversation::Repeated(head, _) => {
                heads.push(head);
            }
        }
    }
    let begun = Instant::now();
    let mut took = Vec::new();
    while begun.elapsed() < MEASURED || took.is_empty() {
        let each = batch / heads.len();
        let appends = heads
            .iter_mut()
            .map(|head| append(head, sender, each))
            .collect();
        let called = Instant::now();
        let appended = store.append(appends).await.unwrap();
        took.push(called.elapsed());
        assert!(appended.iter().all(|one| *one == Appended::Committed));
    }
    took
}

fn append(head: &mut Conversation, sender: UserId, messages: usize) -> Append {
    let expected_seq = head.last_seq;
    Append {
        conversation: head.id,
        expected_seq,
        messages: (0..messages)
            .map(|_| next_message(head, sender).into())
            .collect(),
        changes: Vec::new(),
    }
}

fn next_message(head: &mut Conversation, sender: UserId) -> Message {
    let at = Timestamp::now();
    head.last_seq += 1;
    Message {
        id: MessageId::generate(),
        conversation: head.id,
        seq: head.last_seq,
        ordinal: head.last_seq,
        sender,
        content: "x".repeat(128),
        kind: MessageKind::Text,
        event: None,
        attachments: Vec::new(),
        reply_to: None,
        client_msg_id: Some(ConversationId::generate().to_string()),
        edited: false,
        deleted: false,
        created_at: at,
        updated_at: at,
        rev: 1,
    }
}
