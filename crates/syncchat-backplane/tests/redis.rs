//! The Redis driver against real servers: one, and a cluster of three.

#![allow(clippy::unwrap_used, reason = "a panic is the report of a test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use support::{Cluster, Redis, until};
use syncchat_backplane::{Backplane, LimiterRates, connect};
use syncchat_core::model::{ConversationId, UserId};
use syncchat_core::ports::fleet::{FleetEvent, FleetListener, Topic};
use syncchat_core::ports::limiter::LimitKind;
use syncchat_core::ports::store::{NodeNote, NodeStore, NotedNode, StoreResult};
use test_speed::scaled;

#[derive(Default)]
struct Heard {
    heads: Mutex<Vec<(ConversationId, u64)>>,
    doubts: AtomicUsize,
}

impl Heard {
    fn of(&self, conversation: ConversationId) -> Vec<u64> {
        let heads = self.heads.lock();
        heads
            .iter()
            .filter(|(id, _)| *id == conversation)
            .map(|(_, head)| *head)
            .collect()
    }

    fn doubts(&self) -> usize {
        self.doubts.load(Ordering::SeqCst)
    }
}

impl FleetListener for Heard {
    fn on_event(&self, event: &FleetEvent) {
        if let FleetEvent::Head { conversation, head } = event {
            self.heads.lock().push((*conversation, *head));
        }
    }

    fn on_doubt(&self) {
        self.doubts.fetch_add(1, Ordering::SeqCst);
    }
}

/// A store that keeps notes of processes as the test wants them.
#[derive(Default)]
struct Notes(Mutex<Vec<NotedNode>>);

impl Notes {
    fn set(&self, process: &str, age: Duration) {
        let mut notes = self.0.lock();
        notes.retain(|note| note.process != process);
        notes.push(NotedNode {
            process: process.into(),
            age,
            changes: Vec::new(),
        });
    }

    fn has(&self, node: &str) -> bool {
        self.0
            .lock()
            .iter()
            .any(|note| note.process.starts_with(node))
    }
}

#[async_trait]
impl NodeStore for Notes {
    async fn note_node(&self, note: &NodeNote) -> StoreResult<bool> {
        let new = !self.has(&note.process);
        self.set(&note.process, Duration::ZERO);
        Ok(new)
    }

    async fn noted_nodes(&self, _: Duration) -> StoreResult<Vec<NotedNode>> {
        Ok(self.0.lock().clone())
    }

    async fn take_note(&self, process: &str, _: Duration) -> StoreResult<Option<Vec<UserId>>> {
        let there = self.has(process);
        self.0.lock().retain(|note| note.process != process);
        Ok(there.then(Vec::new))
    }
}

struct Node {
    backplane: Backplane,
    heard: Arc<Heard>,
}

impl Node {
    async fn start(url: &str, name: &str) -> Node {
        let backplane = connect(url, LimiterRates::default(), name).await.unwrap();
        let heard = Arc::new(Heard::default());
        backplane.fleet.listen(heard.clone());
        until("the node to reach redis", async || {
            backplane.fleet.connected()
        })
        .await;
        Node { backplane, heard }
    }

    fn say(&self, conversation: ConversationId, head: u64) {
        self.backplane
            .fleet
            .publish(FleetEvent::Head { conversation, head });
    }

    async fn join(&self, conversation: ConversationId) {
        self.backplane
            .fleet
            .subscribe(vec![Topic::Conversation(conversation)])
            .await;
    }
}

/// What every Redis must do, alone or in a cluster.
async fn carries_messages(url: &str) {
    let (a, b, c) = (
        Node::start(url, "a").await,
        Node::start(url, "b").await,
        Node::start(url, "c").await,
    );
    let rooms: Vec<ConversationId> = (0..200).map(|_| ConversationId::generate()).collect();
    for node in [&a, &b] {
        let topics = rooms
            .iter()
            .map(|room| Topic::Conversation(*room))
            .collect();
        node.backplane.fleet.subscribe(topics).await;
    }
    for head in 1..=20 {
        for room in &rooms {
            a.say(*room, head);
        }
    }
    let expected: Vec<u64> = (1..=20).collect();
    for room in &rooms {
        assert_eq!(
            a.heard.of(*room),
            expected,
            "one's own comes at once, and once"
        );
    }
    until("everything at the other node", async || {
        rooms.iter().all(|room| b.heard.of(*room).len() == 20)
    })
    .await;
    for room in &rooms {
        assert_eq!(b.heard.of(*room), expected, "in the order it was said");
        assert_eq!(a.heard.of(*room), expected);
    }
    assert!(
        c.heard.heads.lock().is_empty(),
        "nobody there, nothing comes"
    );

    b.backplane
        .fleet
        .unsubscribe(vec![Topic::Conversation(rooms[0])]);
    b.join(rooms[1]).await; // orders after the unsubscribe
    a.say(rooms[0], 21);
    a.say(rooms[1], 21);
    until("the room it kept", async || {
        b.heard.of(rooms[1]).len() == 21
    })
    .await;
    assert_eq!(b.heard.of(rooms[0]).len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_carries_messages() {
    let redis = Redis::start().await;
    carries_messages(&redis.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_carries_messages() {
    let cluster = Cluster::start().await;
    carries_messages(&cluster.url()).await;
    let used = cluster.nodes.iter().filter(|node| {
        let info = node.cli(&["info", "commandstats"]);
        info.contains("cmdstat_spublish")
    });
    assert_eq!(used.count(), 3, "channels are spread over the masters");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_dies_is_missed_by_nobody_for_long() {
    let mut redis = Redis::start().await;
    let (a, b) = (
        Node::start(&redis.url(), "a").await,
        Node::start(&redis.url(), "b").await,
    );
    let room = ConversationId::generate();
    a.join(room).await;
    b.join(room).await;
    let doubts = b.heard.doubts();

    redis.kill();
    until("both to notice", async || {
        !a.backplane.fleet.connected() && !b.backplane.fleet.connected()
    })
    .await;
    let began = Instant::now();
    a.say(room, 1);
    assert_eq!(a.heard.of(room), [1], "its own people need no redis");
    a.join(ConversationId::generate()).await;
    assert!(
        a.backplane
            .limiter
            .take(LimitKind::Messages, "somebody")
            .await
            .is_ok()
    );
    assert!(a.backplane.presence.arrive(UserId::generate()).await);
    assert!(
        began.elapsed() < scaled(Duration::from_secs(1)),
        "nobody waits: {:?}",
        began.elapsed()
    );

    redis.restart().await;
    until("both to be back", async || {
        a.backplane.fleet.connected() && b.backplane.fleet.connected()
    })
    .await;
    until("what was missed to be looked for", async || {
        b.heard.doubts() > doubts
    })
    .await;
    a.say(room, 2);
    until("the other node to hear again", async || {
        b.heard.of(room) == [2]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_that_starts_before_its_redis_finds_it() {
    let mut redis = Redis::start().await;
    redis.kill();
    let backplane = connect(&redis.url(), LimiterRates::OFF, "early")
        .await
        .unwrap();
    assert!(!backplane.fleet.connected());
    assert!(backplane.fleet.check().await.is_err());
    redis.restart().await;
    until("it to be found", async || backplane.fleet.connected()).await;
    assert!(
        backplane
            .fleet
            .check()
            .await
            .unwrap()
            .contains("one server")
    );
}

/// What a check says of Redis at this address.
async fn checked(url: &str) -> Result<String, String> {
    let backplane = connect(url, LimiterRates::OFF, "checks").await.unwrap();
    let answer = backplane.fleet.check().await;
    backplane.fleet.close().await;
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_names_the_cause() {
    let nobody = checked("redis://127.0.0.1:1").await.unwrap_err();
    assert!(nobody.contains("refused"), "{nobody}");

    let secret = ["--requirepass", "right"].map(str::to_owned);
    let redis = Redis::start_with(support::free_port(), &secret).await;
    let with = |user: &str| format!("redis://{user}@127.0.0.1:{}", redis.port);
    let wrong = checked(&with(":wrong")).await.unwrap_err();
    assert!(wrong.contains("WRONGPASS"), "{wrong}");
    assert!(!wrong.contains(":wrong"), "{wrong}");
    let without = checked(&format!("redis://127.0.0.1:{}", redis.port)).await;
    assert!(without.unwrap_err().contains("NOAUTH"));
    checked(&with(":right")).await.unwrap();

    // May connect, and publish, and no more.
    let acl = "ACL SETUSER shy on >pass ~* &* +@connection +cluster +info +publish +subscribe";
    let mut command: Vec<&str> = vec!["-a", "right", "--no-auth-warning"];
    command.extend(acl.split(' '));
    redis.cli(&command);
    let shy = checked(&with("shy:pass")).await.unwrap_err();
    assert!(
        shy.contains("to write a sorted set") && shy.contains("NOPERM"),
        "{shy}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_online_while_any_node_has_them_and_die_with_their_node() {
    let mut redis = Redis::start().await;
    let (a, b) = (
        Node::start(&redis.url(), "a").await,
        Node::start(&redis.url(), "b").await,
    );
    let (ann, bob) = (UserId::generate(), UserId::generate());
    until("both to know of all", async || {
        let nobody = [UserId::generate()];
        a.backplane.presence.online(&nobody).await == [Some(false)]
            && b.backplane.presence.online(&nobody).await == [Some(false)]
    })
    .await;
    assert!(a.backplane.presence.arrive(ann).await);
    assert!(
        !b.backplane.presence.arrive(ann).await,
        "another device, another node"
    );
    assert!(b.backplane.presence.arrive(bob).await);
    assert_eq!(
        a.backplane.presence.online(&[bob, ann]).await,
        [Some(true); 2]
    );
    assert!(!a.backplane.presence.leave(ann).await);
    assert_eq!(a.backplane.presence.online(&[ann]).await, [Some(true)]);

    redis.cli(&["flushall"]);
    until("an emptied redis to be filled again", async || {
        a.backplane.presence.online(&[ann, bob]).await == [Some(true); 2]
    })
    .await;

    // A process that died leaves its lease to run out. Its people are there until it is buried.
    let store = Arc::new(Notes::default());
    let presence = &a.backplane.presence;
    presence.note_in(store.clone());
    redis.cli(&["zadd", "syncchat:nodes", "1", "dead:1"]);
    let eve = UserId::generate();
    redis.cli(&[
        "sadd",
        "syncchat:people:{dead:1}",
        &eve.to_string(),
        &bob.to_string(),
    ]);
    // It is not while it notes elsewhere that it lives; then Redis is not believed of it.
    store.set("dead:1", Duration::ZERO);
    assert!(presence.noted().await.is_empty());
    assert!(!a.backplane.fleet.connected(), "nobody hears it");
    assert!(presence.departed().await.is_empty());
    assert_eq!(presence.online(&[eve, bob]).await, [None, Some(true)]);
    store.set("dead:1", Duration::from_secs(60));
    assert!(presence.noted().await.is_empty());
    assert_eq!(
        presence.departed().await,
        [eve],
        "bob is on a live node too"
    );
    assert!(
        b.backplane.presence.departed().await.is_empty(),
        "told once"
    );
    assert_eq!(presence.online(&[eve]).await, [Some(false)]);
    assert!(!store.has("dead:1"), "its note went with it");

    redis.kill();
    until("a to note that it lives", async || store.has("a:")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_shared() {
    let redis = Redis::start().await;
    let (a, b) = (
        Node::start(&redis.url(), "a").await,
        Node::start(&redis.url(), "b").await,
    );
    // 10 a minute, 10 at once.
    let began = Instant::now();
    for i in 0..10 {
        let node = if i % 2 == 0 { &a } else { &b };
        assert_eq!(
            node.backplane.limiter.peek(LimitKind::Logins, "k").await,
            Ok(())
        );
        assert_eq!(
            node.backplane.limiter.take(LimitKind::Logins, "k").await,
            Ok(())
        );
    }
    let wait = a
        .backplane
        .limiter
        .take(LimitKind::Logins, "k")
        .await
        .unwrap_err();
    // Six seconds after the first one, less what this has taken.
    assert!(
        wait + began.elapsed() > Duration::from_secs(4) && wait <= Duration::from_secs(6),
        "{wait:?}"
    );
    assert!(
        b.backplane
            .limiter
            .peek(LimitKind::Logins, "k")
            .await
            .is_err()
    );
    assert_eq!(
        b.backplane.limiter.take(LimitKind::Logins, "other").await,
        Ok(())
    );
    assert_eq!(
        redis
            .cli(&["ttl", "syncchat:limit:logins:k"])
            .parse::<i64>()
            .map(|s| s > 0),
        Ok(true)
    );
}

#[tokio::test]
async fn nodes_find_one_another_while_they_live() {
    let redis = Redis::start().await;
    let (a, b) = (
        Node::start(&redis.url(), "a").await.backplane.registry,
        Node::start(&redis.url(), "b").await.backplane.registry,
    );
    let address = "127.0.0.1:8080".parse().unwrap();
    a.announce("tag-of-a", address).await;
    assert_eq!(b.find("tag-of-a").await, Some(address));
    // The address of an unspecified one is what this host has towards Redis.
    b.announce("tag-of-b", "0.0.0.0:8081".parse().unwrap())
        .await;
    assert_eq!(a.find("tag-of-b").await, "127.0.0.1:8081".parse().ok());
    assert_eq!(a.all().await.unwrap().len(), 2);
    // However many ask for what is not there, Redis is asked a few times.
    let asked = Instant::now();
    let reads = reads(&redis);
    let finds = (0..200).map(|i| {
        let a = a.clone();
        tokio::spawn(async move { a.find(&format!("nobody-{i}")).await })
    });
    for find in finds.collect::<Vec<_>>() {
        assert_eq!(find.await.unwrap(), None);
    }
    let most = asked.elapsed().as_millis() / 100 + 2;
    assert!(u128::from(self::reads(&redis) - reads) <= most);
    // An emptied Redis is filled again, and nobody is lost meanwhile.
    redis.cli(&["flushall"]);
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert_eq!(b.find("tag-of-a").await, Some(address));
    until("all to be there again", async || {
        a.all().await.unwrap().len() == 2
    })
    .await;
    a.withdraw().await;
    until("a to be gone", async || b.all().await.unwrap().len() == 1).await;
    until("a to be forgotten", async || {
        b.find("tag-of-a").await.is_none()
    })
    .await;
}

/// Requests come to a node as soon as it has started, before it has heard itself by Redis.
#[tokio::test]
async fn a_node_that_has_just_started_finds_the_others() {
    let redis = Redis::start().await;
    let a = Node::start(&redis.url(), "a").await.backplane.registry;
    let address = "127.0.0.1:8080".parse().unwrap();
    a.announce("tag-of-a", address).await;
    let b = connect(&redis.url(), LimiterRates::default(), "b").await;
    let b = b.unwrap();
    assert!(!b.fleet.connected());
    assert_eq!(b.registry.find("tag-of-a").await, Some(address));
}

/// How often scripts were run.
fn reads(redis: &Redis) -> u64 {
    let stats = redis.cli(&["info", "commandstats"]);
    let line = stats
        .lines()
        .find(|line| line.starts_with("cmdstat_zrangebyscore:"));
    line.and_then(|line| line.split(['=', ',']).nth(1)?.parse().ok())
        .unwrap_or(0)
}

#[tokio::test]
async fn nodes_are_found_while_redis_is_away() {
    let mut redis = Redis::start().await;
    let (a, b) = (
        Node::start(&redis.url(), "a").await.backplane.registry,
        Node::start(&redis.url(), "b").await.backplane.registry,
    );
    let address = "127.0.0.1:8080".parse().unwrap();
    a.announce("tag-of-a", address).await;
    assert_eq!(b.find("tag-of-a").await, Some(address));
    redis.kill();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let began = Instant::now();
    assert_eq!(b.find("tag-of-a").await, Some(address));
    assert!(began.elapsed() < scaled(Duration::from_millis(100)));
    // Those who ask for what is not known share one try to ask Redis, and its failure.
    let finds = (0..50).map(|i| {
        let b = b.clone();
        tokio::spawn(async move { b.find(&format!("nobody-{i}")).await })
    });
    for find in finds.collect::<Vec<_>>() {
        assert_eq!(find.await.unwrap(), None);
    }
    assert!(began.elapsed() < scaled(Duration::from_secs(2)));
}

/// Panics at what another node says.
struct Fragile;

impl FleetListener for Fragile {
    fn on_event(&self, _: &FleetEvent) {
        assert!(std::hint::black_box(false), "planted");
    }

    fn on_doubt(&self) {}
}

#[tokio::test]
async fn a_task_that_panics_is_named() {
    let redis = Redis::start().await;
    let speaker = Node::start(&redis.url(), "speaker").await;
    let broken = connect(&redis.url(), LimiterRates::default(), "broken").await;
    let broken = broken.unwrap();
    broken.fleet.listen(Arc::new(Fragile));
    until("the node to reach redis", async || broken.fleet.connected()).await;
    let conversation = ConversationId::generate();
    let topic = Topic::Conversation(conversation);
    broken.fleet.subscribe(vec![topic]).await;
    speaker.backplane.fleet.publish(FleetEvent::Head {
        conversation,
        head: 1,
    });
    let failed = tokio::time::timeout(Duration::from_secs(60), broken.fleet.failed()).await;
    assert_eq!(failed, Ok("redis listener"));
    let sound = tokio::time::timeout(Duration::from_millis(50), speaker.backplane.fleet.failed());
    assert!(sound.await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_later_release_says_raises_doubt() {
    let redis = Redis::start().await;
    let node = Node::start(&redis.url(), "a").await;
    let conversation = ConversationId::generate();
    let before = redis.cli(&["pubsub", "channels"]);
    node.join(conversation).await;
    let channels = redis.cli(&["pubsub", "channels"]);
    let channel = channels
        .lines()
        .find(|channel| !before.lines().any(|known| known == *channel));
    let channel = channel.expect("a channel of the conversation");
    let known = node.heard.doubts();
    // A version that nobody has yet.
    redis.cli(&["publish", channel, "\u{7f}later"]);
    until("a doubt", async || node.heard.doubts() > known).await;
    // However much of it there is, it costs one doubt a second.
    let (known, begun) = (node.heard.doubts(), Instant::now());
    for _ in 0..50 {
        redis.cli(&["publish", channel, "\u{7f}later"]);
    }
    until("another doubt", async || node.heard.doubts() > known).await;
    let doubts = node.heard.doubts() - known;
    assert!(doubts as u64 <= 2 + begun.elapsed().as_secs(), "{doubts}");
}
