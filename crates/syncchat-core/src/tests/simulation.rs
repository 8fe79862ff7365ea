//! Many senders, several nodes, a store that fails, and changes of membership in between, all from
//! a seed. Afterwards the log is held against what everybody was told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::command::CursorKind;
use crate::error::ErrorCode;
use crate::model::SystemEvent;
use crate::testing::{Faults, Rng};

/// What a sender was told in the end of a message, by its `clientMsgId`.
#[derive(Debug)]
enum Told {
    Committed(Arc<Message>),
    Refused(ErrorCode),
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
}

#[test]
fn the_promise_holds_whatever_the_store_does() {
    // The seed of a failure can be run alone: SYNCCHAT_SEED=… cargo test simulation
    let wanted = std::env::var("SYNCCHAT_SEED").ok();
    let wanted: Option<u64> = wanted.map(|seed| seed.parse().expect("a seed is a number"));
    let some = (1..=60).chain([getrandom::u64().unwrap_or(61)]);
    let seeds: Vec<u64> = wanted.map_or_else(|| some.collect(), |seed| vec![seed]);
    let (mut messages, mut retries, mut refused) = (0, 0, 0);
    for seed in seeds {
        println!("seed {seed}");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let (run, findings) = runtime.block_on(simulate(seed));
        check(&run, &findings);
        messages += run.logs().map(|log| log.len()).sum::<usize>();
        retries += findings.retries;
        refused += findings
            .told
            .values()
            .filter(|told| matches!(told, Told::Refused(_)))
            .count();
    }
    println!("{messages} messages, {retries} retries, {refused} refusals");
    assert!(
        messages > 10_000 && retries > 1_000 && refused > 500,
        "the dials do something"
    );
}

impl Run {
    fn logs(&self) -> impl Iterator<Item = Vec<Message>> + '_ {
        self.conversations.iter().map(|id| self.store.log_of(*id))
    }
}

async fn simulate(seed: u64) -> (Arc<Run>, Findings) {
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
            findings: Findings::default(),
        }
    }

    async fn live(mut self) -> Findings {
        for _ in 0..30 {
            let pause = self.rng.span(Duration::from_millis(100));
            tokio::time::sleep(pause).await;
            let id = self.rng.pick(&self.run.conversations);
            match self.rng.below(10) {
                0 | 1 => self.change(id).await,
                2 => self.mark(id).await,
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
        let told = loop {
            match answer {
                Some(Ok(message)) => break Told::Committed(message),
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
