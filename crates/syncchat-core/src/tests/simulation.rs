//! Many senders, several nodes, a store that fails, and changes of membership in between, all from
//! a seed. Afterwards the log is held against what everybody was told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;
use crate::command::{CursorKind, EditMessage};
use crate::error::ErrorCode;
use crate::model::{MessageId, SystemEvent};
use crate::testing::{Faults, Rng};

/// What a sender was told in the end of a message, by its `clientMsgId`.
#[derive(Debug)]
enum Told {
    Committed(Arc<Message>),
    Refused(ErrorCode),
    /// Refused while an earlier try, whose answer was not waited for, may have been under way still.
    /// The log had so many messages then.
    RefusedMeanwhile(ErrorCode, Seq),
}

/// What was found out about one run.
#[derive(Default)]
struct Findings {
    told: BTreeMap<String, Told>,
    /// Messages that one socket sent at once, acknowledged at the first try.
    bursts: Vec<Vec<Arc<Message>>>,
    retries: usize,
}

struct Run {
    store: Arc<MemoryStore>,
    nodes: Vec<World>,
    people: Vec<UserId>,
    conversations: Vec<ConversationId>,
    /// Where everybody stays, and messages are edited and deleted.
    notebook: ConversationId,
}

/// What is wrong on purpose.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// Writes of unknown outcome are not watched.
    Unwatched,
}

#[test]
fn the_promise_holds_whatever_the_store_does() {
    // The seed of a failure can be run alone: SYNCCHAT_SEED=… cargo test simulation
    let wanted = std::env::var("SYNCCHAT_SEED").ok();
    let wanted: Option<u64> = wanted.map(|seed| seed.parse().expect("a seed is a number"));
    let some = (1..=60).chain([getrandom::u64().unwrap_or(61)]);
    let is_one = wanted.is_some();
    let seeds: Vec<u64> = wanted.map_or_else(|| some.collect(), |seed| vec![seed]);
    let (mut messages, mut retries, mut refused) = (0, 0, 0);
    for seed in seeds {
        println!("seed {seed}");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let (run, findings) = runtime.block_on(simulate(seed, Planted::Nothing));
        check(&run, &findings);
        assert_eq!(run.untold(), [""; 0]);
        messages += run.logs().map(|log| log.len()).sum::<usize>();
        retries += findings.retries;
        refused += findings
            .told
            .values()
            .filter(|told| !matches!(told, Told::Committed(_)))
            .count();
    }
    println!("{messages} messages, {retries} retries, {refused} refusals");
    assert!(
        is_one || messages > 10_000 && retries > 1_000 && refused > 500,
        "the dials do something"
    );
}

#[test]
fn writes_that_nobody_watches_are_found_untold() {
    let mut untold = Vec::new();
    for seed in 1..=20 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let (run, _) = runtime.block_on(simulate(seed, Planted::Unwatched));
        untold.extend(run.untold());
    }
    // Changes of a group that are tried again are found by that.
    for kind in ["joined", "changed", "cursor"] {
        let found = untold.iter().filter(|what| what.starts_with(kind)).count();
        println!("{found} {kind}");
        assert!(
            found > 0,
            "no {kind} was missed, so the check finds nothing"
        );
    }
}

impl Run {
    /// What is in the store and was told by no node.
    fn untold(&self) -> Vec<String> {
        let events: Vec<FleetEvent> = self.nodes.iter().flat_map(|n| n.fleet.events()).collect();
        let mut untold = Vec::new();
        for conversation in self.store.all_conversations() {
            let id = conversation.id;
            let log = self.store.log_of(id);
            // The events of those that were there before the run were taken.
            if id != self.notebook && !self.conversations.contains(&id) {
                for user in &conversation.participants {
                    untold.extend(joined_untold(&events, id, *user, 0));
                }
            }
            for message in &log {
                untold.extend(message_untold(&events, message));
            }
            let is_news = |event: &FleetEvent| match event {
                FleetEvent::Updated { conversation: told } => {
                    told.id == id && told.title == conversation.title
                }
                _ => false,
            };
            let renamed = |m: &Message| matches!(m.event, Some(SystemEvent::Renamed { .. }));
            if log.iter().any(renamed) && !events.iter().any(is_news) {
                untold.push(format!("updated {:?}", conversation.title));
            }
            for cursors in self.store.cursors_of(id) {
                let read = told_cursor(&events, &log, id, cursors.user, true);
                let delivered = told_cursor(&events, &log, id, cursors.user, false);
                if (read, delivered) != (cursors.read_seq, cursors.delivered_seq) {
                    untold.push(format!("cursor {cursors:?}, told {read} {delivered}"));
                }
            }
        }
        untold
    }

    fn logs(&self) -> impl Iterator<Item = Vec<Message>> + '_ {
        self.conversations.iter().map(|id| self.store.log_of(*id))
    }
}

async fn simulate(seed: u64, planted: Planted) -> (Arc<Run>, Findings) {
    let mut rng = Rng::new(seed);
    let store = Arc::new(MemoryStore::new(seed));
    let people: Vec<UserId> = (1..=6).map(|n| UserId::from_bytes([n; 12])).collect();
    people.iter().for_each(|id| store.add_user(*id));
    let nodes = (0..=rng.below(3)).map(|_| World::over(Arc::clone(&store), people.clone()));
    let nodes: Vec<World> = nodes.collect();
    let mut conversations = Vec::new();
    for _ in 0..3 {
        conversations.push(nodes[0].group(&people).await);
    }
    let notebook = nodes[0].group(&people).await;
    if planted == Planted::Unwatched {
        for node in &nodes {
            let blind = &node.chat.in_doubt().planted_blindness;
            blind.store(true, Ordering::Relaxed);
        }
    }
    store.set_faults(Faults {
        delay: Duration::from_millis(rng.below(20)),
        fail_read: rng.pick(&[0.0, 0.02]),
        fail_before_write: rng.pick(&[0.0, 0.05]),
        lose_answer: rng.pick(&[0.0, 0.1]),
        land_late: rng.pick(&[0.0, 0.1]),
        late: Duration::from_millis(rng.pick(&[10, 1_000, 15_000])),
        overtaken: rng.pick(&[0, 50]),
        overtaken_by_change: rng.chance(0.3),
        ..Faults::NONE
    });
    let run = Arc::new(Run {
        store,
        nodes,
        people,
        conversations,
        notebook,
    });
    let mut senders = Vec::new();
    for number in 0..run.people.len() {
        let (run, rng) = (Arc::clone(&run), Rng::new(rng.bits()));
        senders.push(tokio::spawn(Sender::new(run, number, rng).live()));
    }
    tokio::time::sleep(Duration::from_secs(20)).await;
    run.store.set_faults(Faults::NONE);
    let mut findings = Findings::default();
    for sender in senders {
        let found = sender.await.expect("a sender ends");
        findings.told.extend(found.told);
        findings.bursts.extend(found.bursts);
        findings.retries += found.retries;
    }
    // What is still on its way may land, and be found.
    tokio::time::sleep(Duration::from_secs(60)).await;
    for node in &run.nodes {
        node.chat.drain().await;
    }
    (run, findings)
}

/// One person with one socket, now on this node, now on that.
struct Sender {
    run: Arc<Run>,
    me: UserId,
    number: usize,
    rng: Rng,
    sent: usize,
    /// In the notebook.
    notes: Vec<MessageId>,
    findings: Findings,
}

impl Sender {
    fn new(run: Arc<Run>, number: usize, rng: Rng) -> Sender {
        Sender {
            me: run.people[number],
            run,
            number,
            rng,
            sent: 0,
            notes: Vec::new(),
            findings: Findings::default(),
        }
    }

    async fn live(mut self) -> Findings {
        for _ in 0..36 {
            let pause = self.rng.span(Duration::from_millis(100));
            tokio::time::sleep(pause).await;
            let id = self.rng.pick(&self.run.conversations);
            match self.rng.below(12) {
                0 | 1 => self.change(id).await,
                2 => self.mark(id).await,
                3 => self.note().await,
                4 => self.create().await,
                _ => self.burst(id).await,
            }
        }
        self.findings
    }

    fn chat(&mut self) -> Arc<Chat> {
        let node = self.rng.below(self.run.nodes.len() as u64) as usize;
        Arc::clone(&self.run.nodes[node].chat)
    }

    /// Sends some messages without waiting in between, then sees to each until its fate is known.
    async fn burst(&mut self, id: ConversationId) {
        let chat = self.chat();
        let first = self.sent;
        self.sent += 1 + self.rng.below(5) as usize;
        let names: Vec<String> = (first..self.sent)
            .map(|n| format!("{}-{n}", self.number))
            .collect();
        let mut sends: Vec<_> = names
            .iter()
            .map(|name| Box::pin(chat.send(send_named(self.me, id, name, name))))
            .collect();
        let answers: Vec<_> = sends.iter_mut().map(poll_once).collect();
        assert!(
            answers.iter().all(Poll::is_pending),
            "nothing is known at once"
        );
        let gone = self.rng.chance(0.1);
        let mut at_once = Vec::new();
        for (name, send) in names.iter().zip(sends) {
            let answer = if gone { None } else { Some(send.await) };
            if let Some(Ok(message)) = &answer {
                at_once.push(Arc::clone(message));
            }
            self.see_to(id, name, answer).await;
        }
        self.findings.bursts.push(at_once);
    }

    /// Sends again under the same name while the outcome is unknown.
    async fn see_to(
        &mut self,
        id: ConversationId,
        name: &str,
        mut answer: Option<Result<Arc<Message>>>,
    ) {
        let gone = answer.is_none();
        let told = loop {
            match answer {
                Some(Ok(message)) => break Told::Committed(message),
                Some(Err(error)) if gone && error.code != ErrorCode::Unavailable => {
                    let length = self.run.store.log_of(id).len() as Seq;
                    break Told::RefusedMeanwhile(error.code, length);
                }
                Some(Err(error)) if error.code != ErrorCode::Unavailable => {
                    break Told::Refused(error.code);
                }
                _ => {}
            }
            self.findings.retries += 1;
            let pause = self.rng.span(Duration::from_millis(200));
            tokio::time::sleep(pause).await;
            let again = send_named(self.me, id, name, name);
            answer = Some(self.chat().send(again).await);
        };
        self.findings.told.insert(name.to_owned(), told);
    }

    async fn change(&mut self, id: ConversationId) {
        let chat = self.chat();
        let user = self.rng.pick(&self.run.people);
        // Whether it succeeds does not matter; what the log says of it does.
        match self.rng.below(5) {
            0 => drop(chat.remove_participant(self.me, id, user).await),
            1 => drop(
                chat.rename(self.me, id, &format!("t{}", self.rng.below(3)))
                    .await,
            ),
            _ => drop(chat.add_participant(self.me, id, user).await),
        }
    }

    /// Writes a message into the notebook, or changes one that is there.
    async fn note(&mut self) {
        let chat = self.chat();
        let id = self.run.notebook;
        if self.notes.is_empty() || self.rng.chance(0.3) {
            if let Ok(note) = chat.send(send(self.me, id, "a note")).await {
                self.notes.push(note.id);
            }
            return;
        }
        let note = self.rng.pick(&self.notes);
        // Whether it succeeds does not matter; what the store has in the end does.
        match self.rng.below(4) {
            0 => drop(chat.delete(self.me, note).await),
            text => {
                let edit = EditMessage::new(self.me, note, format!("text {text}"));
                drop(chat.edit(edit.expect("a good edit")).await);
            }
        }
    }

    async fn create(&mut self) {
        let chat = self.chat();
        let other = self.rng.pick(&self.run.people);
        let kinds = [ConversationKind::Private, ConversationKind::Group];
        let kind = self.rng.pick(&kinds);
        if let Ok(command) = CreateConversation::new(self.me, kind, [other], None) {
            drop(chat.create_conversation(command).await);
        }
    }

    async fn mark(&mut self, id: ConversationId) {
        let kind = self.rng.pick(&[CursorKind::Read, CursorKind::Delivered]);
        let seq = self.rng.pick(&[1, 5, 20, Seq::MAX]);
        drop(self.chat().mark(self.me, id, kind, seq).await);
    }
}

fn check(run: &Run, findings: &Findings) {
    assert_eq!(run.store.broken(), [""; 0]);
    let mut named: BTreeMap<String, Message> = BTreeMap::new();
    for (id, log) in run.conversations.iter().zip(run.logs()) {
        check_log(&log, run.people.iter().copied().collect());
        check_news(run, *id, &log);
        for message in log {
            if let Some(name) = message.client_msg_id.clone() {
                let second = named.insert(name, message);
                assert!(second.is_none(), "written twice: {second:?}");
            }
        }
    }
    for (name, told) in &findings.told {
        match told {
            Told::Committed(message) => {
                assert_eq!(
                    named.get(name),
                    Some(&**message),
                    "acknowledged, so in the log"
                );
            }
            Told::Refused(code) => {
                assert_eq!(*code, ErrorCode::NotFound);
                assert!(
                    !named.contains_key(name),
                    "{name} was refused, so nothing is stored"
                );
            }
            Told::RefusedMeanwhile(code, length) => {
                assert_eq!(*code, ErrorCode::NotFound);
                // The sender was no member. The earlier try may be committed if the sender is one again.
                let is_again = |message: &Message| {
                    let log = run.store.log_of(message.conversation);
                    let later = log
                        .iter()
                        .filter(|m| *length < m.seq && m.seq < message.seq);
                    let mut events = later.filter_map(|m| m.event.as_ref());
                    events.any(|event| matches!(event, SystemEvent::Added { user, .. } if *user == message.sender))
                };
                assert!(
                    named.get(name).is_none_or(is_again),
                    "{name} was refused, and its sender has not come back"
                );
            }
        }
    }
    assert!(named.keys().all(|name| findings.told.contains_key(name)));
    for burst in &findings.bursts {
        assert!(burst.is_sorted_by_key(|message| message.seq), "{burst:?}");
    }
}

/// The log alone: 1, 2, 3 …, and nobody writes who is not there.
fn check_log(log: &[Message], mut members: BTreeSet<UserId>) {
    for (message, seq) in log.iter().zip(1..) {
        assert_eq!(message.seq, seq);
        assert!(
            members.contains(&message.sender),
            "{} is gone at {seq}",
            message.sender
        );
        match &message.event {
            Some(SystemEvent::Added { user, .. }) => assert!(members.insert(*user)),
            Some(SystemEvent::Removed { user, .. } | SystemEvent::Left { user }) => {
                assert!(members.remove(user));
            }
            Some(SystemEvent::Renamed { .. }) | None => {}
        }
    }
}

/// What the nodes said of one conversation: true, in order, no message twice, and enough for
/// everybody to learn of the newest.
fn check_news(run: &Run, id: ConversationId, log: &[Message]) {
    let mut known = 0;
    let mut told: BTreeSet<Seq> = BTreeSet::new();
    for node in &run.nodes {
        let mut last = 0;
        for event in node.fleet.events() {
            match event {
                FleetEvent::Committed { messages } if messages[0].conversation == id => {
                    for message in messages.iter() {
                        assert_eq!(**message, log[message.seq as usize - 1]);
                        assert!(message.seq > last && told.insert(message.seq));
                        last = message.seq;
                    }
                    known = known.max(last);
                }
                FleetEvent::Head { conversation, head } if conversation == id => {
                    assert!(head <= log.len() as u64);
                    known = known.max(head);
                }
                FleetEvent::Cursor {
                    conversation, seq, ..
                } if conversation == id => {
                    assert!(seq <= log.len() as u64);
                }
                _ => {}
            }
        }
    }
    assert_eq!(known, log.len() as u64, "the newest is known");
}

fn joined_untold(
    events: &[FleetEvent],
    id: ConversationId,
    whom: UserId,
    by: Seq,
) -> Option<String> {
    let told = events.iter().any(|event| match event {
        FleetEvent::Joined {
            user,
            conversation,
            seq,
            ..
        } => (*user, conversation.id, *seq) == (whom, id, by),
        _ => false,
    });
    (!told).then(|| format!("joined {whom} {by}"))
}

/// What should have been told of a message besides the message, and was not.
fn message_untold(events: &[FleetEvent], message: &Message) -> Option<String> {
    let (id, by) = (message.conversation, message.seq);
    match &message.event {
        Some(SystemEvent::Added { user, .. }) => return joined_untold(events, id, *user, by),
        Some(SystemEvent::Removed { user: whom, .. } | SystemEvent::Left { user: whom }) => {
            let told = events.iter().any(|event| match event {
                FleetEvent::Parted {
                    user,
                    conversation,
                    seq,
                    ..
                } => (user, *conversation, *seq) == (whom, id, by),
                _ => false,
            });
            return (!told).then(|| format!("parted {whom} {by}"));
        }
        Some(SystemEvent::Renamed { .. }) | None => {}
    }
    let told = events.iter().any(|event| match event {
        FleetEvent::Changed { message: told, .. } => **told == *message,
        _ => false,
    });
    let changed = message.edited || message.deleted;
    (changed && !told).then(|| format!("changed {by}"))
}

/// How far everybody was told that this cursor stands. Whoever is added begins at that message.
fn told_cursor(
    events: &[FleetEvent],
    log: &[Message],
    id: ConversationId,
    whom: UserId,
    read: bool,
) -> Seq {
    let told = events.iter().filter_map(|event| match event {
        FleetEvent::Cursor {
            conversation,
            user,
            kind,
            seq,
        } if *conversation == id && *user == whom => {
            (!read || *kind == CursorKind::Read).then_some(*seq)
        }
        _ => None,
    });
    let added = log.iter().filter_map(|message| match message.event {
        Some(SystemEvent::Added { user, .. }) if user == whom => Some(message.seq),
        _ => None,
    });
    told.chain(added).max().unwrap_or(0)
}
