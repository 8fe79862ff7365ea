//! What is to be done: the scenario, as its TOML file says it.
//!
//! A scenario has one or more groups of people, each with its rooms and habits, things that happen
//! at a certain second, and limits that make a run fail. An unknown key is an error that names it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Failure;

/// A whole scenario.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// A short name, for the report's title.
    pub(crate) name: String,
    /// What it shows, in a sentence or two.
    #[serde(default)]
    pub(crate) about: String,
    /// How long, how fast.
    #[serde(default)]
    pub(crate) run: Timing,
    /// Who takes part.
    #[serde(rename = "group")]
    pub(crate) groups: Vec<Group>,
    /// What happens in between.
    #[serde(default, rename = "at")]
    pub(crate) happenings: Vec<Happening>,
    /// What makes the run fail.
    #[serde(default)]
    pub(crate) limits: Limits,
}

/// How long a run takes and how its sockets are opened.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Timing {
    /// Sockets opened a second, over all processes; 0: as fast as they are let in.
    pub(crate) connect_per_second: f64,
    /// Handshakes under way at once, over all processes.
    pub(crate) connecting_max: usize,
    /// Seconds until all sockets must be there.
    pub(crate) connect_timeout: f64,
    /// Seconds of quiet after the last socket is there.
    pub(crate) settle: f64,
    /// Seconds of the load that do not count.
    pub(crate) warm_up: u64,
    /// Seconds that count.
    pub(crate) seconds: u64,
    /// Seconds that what is still missing at the end is waited for.
    pub(crate) drain: f64,
    /// What random choices follow from.
    pub(crate) seed: u64,
    /// The generator asks the kernel for events without a pause, and never sleeps. Each process
    /// then takes a whole core; a server on the same machine is not charged for waking its clients,
    /// as none is whose clients are elsewhere.
    pub(crate) busy_poll: bool,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            connect_per_second: 0.0,
            connecting_max: 100,
            connect_timeout: 120.0,
            settle: 1.0,
            warm_up: 2,
            seconds: 10,
            drain: 15.0,
            seed: 1,
            busy_poll: false,
        }
    }
}

/// People who do the same.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Group {
    /// For the report.
    pub(crate) name: String,
    /// Conversations.
    pub(crate) rooms: usize,
    /// People in each.
    pub(crate) members: usize,
    /// Conversations of one person.
    #[serde(default = "one")]
    pub(crate) rooms_each: usize,
    /// Sockets of one person.
    #[serde(default = "one")]
    pub(crate) devices: usize,
    /// Which of the run's servers its sockets go to, by their place in `--url`, from 0. They are
    /// taken in turn, and a socket that comes back goes to the next one; empty: all of them.
    #[serde(default)]
    pub(crate) nodes: Vec<usize>,
    /// Share of its sockets that use long polling, from 0 to 1; the others use WebSocket.
    #[serde(default)]
    pub(crate) polling: f64,
    /// Messages.
    pub(crate) talk: Option<Talk>,
    /// Other events that clients emit.
    #[serde(default)]
    pub(crate) emit: Vec<Emit>,
    /// Sockets that are cut, and come back.
    pub(crate) cut: Option<Cut>,
    /// Sockets that do not read for a while.
    pub(crate) stall: Option<Stall>,
}

/// Who sends messages, and how many.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Talk {
    /// Members of each room that send.
    #[serde(default = "one")]
    pub(crate) senders: usize,
    /// Characters of each text; the mark at its beginning needs about 50.
    #[serde(default = "text_bytes")]
    pub(crate) bytes: usize,
    /// Open loop: messages a second in each room, spread over its senders. They are sent when they
    /// are due, whatever the server does, and their latency counts from then.
    pub(crate) per_second: Option<f64>,
    /// Closed loop: messages each sender has in flight. For finding what a server can do at most;
    /// its latencies flatter a server that stalls.
    pub(crate) in_flight: Option<u32>,
    /// When a message of the closed loop is over.
    #[serde(default)]
    pub(crate) until: Until,
}

/// When a message of the closed loop is over, and the next is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Until {
    /// When it is acknowledged.
    Acknowledged,
    /// When every member who is connected from the sender's process has it too.
    #[default]
    Delivered,
}

/// An event that is sent again and again and not counted when it arrives: typing, receipts.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Emit {
    /// A JSON array; `{room}`, `{user}` and `{seq}` (the newest message seen) are filled in.
    pub(crate) event: String,
    /// How often each person does so.
    pub(crate) per_second: f64,
}

/// Connections that break without a word.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cut {
    /// Mean seconds between two cuts of a socket, spread from half to one and a half.
    pub(crate) every: f64,
    /// Seconds until it tries to come back.
    #[serde(default = "away")]
    pub(crate) away: f64,
    /// Share of the group's sockets.
    #[serde(default = "all")]
    pub(crate) share: f64,
}

/// Readers that stop reading.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stall {
    /// Mean seconds between two stalls, spread from half to one and a half.
    pub(crate) every: f64,
    /// For how many seconds nothing is read.
    pub(crate) pause: f64,
    /// Share of the group's sockets.
    #[serde(default = "all")]
    pub(crate) share: f64,
}

/// Something that happens once.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Happening {
    /// Seconds after the load began, warm-up included.
    pub(crate) second: f64,
    /// Cuts this share of all sockets at once.
    pub(crate) drop: Option<f64>,
    /// Runs this command by `sh -c`, on the host of the coordinator: to restart a node, say.
    pub(crate) run: Option<String>,
}

/// Limits; past one of them the program ends with 1. Nothing may be lost, doubled or misplaced
/// unless a limit says so.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// Acknowledged messages that did not reach somebody.
    pub(crate) lost: Option<f64>,
    /// Messages that came twice over one connection.
    pub(crate) doubled: Option<f64>,
    /// Messages that came after later ones of the same sender or room.
    pub(crate) misplaced: Option<f64>,
    /// Messages that the server refused.
    pub(crate) refused: Option<f64>,
    /// Connections that the server closed or broke.
    pub(crate) closed_by_server: Option<f64>,
    /// Handshakes that failed.
    pub(crate) connects_failed: Option<f64>,
    /// From when a message was due to its arrival, 50 of 100, milliseconds.
    pub(crate) delivery_p50_ms: Option<f64>,
    /// The same, 99 of 100.
    pub(crate) delivery_p99_ms: Option<f64>,
    /// From when a message was due to its acknowledgement.
    pub(crate) ack_p99_ms: Option<f64>,
    /// From the first SYN to being there.
    pub(crate) connect_p99_ms: Option<f64>,
    /// From the SYN of a reconnect until everything missed is there.
    pub(crate) replay_p99_ms: Option<f64>,
    /// Server's CPU for each delivery.
    pub(crate) cpu_us_per_delivery: Option<f64>,
    /// Server's CPU for each acknowledged message.
    pub(crate) cpu_us_per_message: Option<f64>,
    /// Server's CPU to let one socket in.
    pub(crate) cpu_us_per_connect: Option<f64>,
    /// Server's CPU for each socket and second.
    pub(crate) cpu_us_per_socket_second: Option<f64>,
    /// Server's resident memory for each socket.
    pub(crate) kib_per_socket: Option<f64>,
    /// Growth of the server's resident memory during the load, KiB a minute: past it as soon as
    /// 95 % of confidence say so. 0: any growth that is none of chance.
    pub(crate) memory_slope: Option<f64>,
    /// At least so many messages acknowledged a second.
    pub(crate) messages_per_second_min: Option<f64>,
    /// At least so many deliveries a second.
    pub(crate) deliveries_per_second_min: Option<f64>,
}

fn one() -> usize {
    1
}

fn text_bytes() -> usize {
    128
}

fn away() -> f64 {
    0.5
}

fn all() -> f64 {
    1.0
}

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    /// Names the file, and the key or value that makes no sense.
    pub(crate) fn read(path: &Path) -> Result<Scenario, Failure> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        Scenario::parse(&text).map_err(|error| format!("{}: {error}", path.display()).into())
    }

    fn parse(text: &str) -> Result<Scenario, Failure> {
        let scenario: Scenario = toml::from_str(text)?;
        scenario.validate()?;
        Ok(scenario)
    }

    /// Says what makes no sense.
    pub(crate) fn validate(&self) -> Result<(), Failure> {
        if self.groups.is_empty() {
            return Err("a scenario needs a [[group]]".into());
        }
        if self.run.connecting_max == 0 {
            return Err("run.connecting_max must be at least 1".into());
        }
        for group in &self.groups {
            group
                .validate()
                .map_err(|error| format!("group {:?}: {error}", group.name))?;
        }
        let bad = |h: &&Happening| h.drop.is_some() == h.run.is_some();
        if let Some(happening) = self.happenings.iter().find(bad) {
            let second = happening.second;
            return Err(format!("at second {second}: needs one of drop and run").into());
        }
        Ok(())
    }

    /// Says whether a run with so many servers has all those that it names.
    pub(crate) fn fits(&self, servers: usize) -> Result<(), Failure> {
        let beyond = |group: &&Group| group.nodes.iter().any(|node| *node >= servers);
        match self.groups.iter().find(beyond) {
            Some(group) => {
                let (name, nodes) = (&group.name, &group.nodes);
                Err(format!("group {name:?}: nodes {nodes:?}, but --url names {servers}").into())
            }
            None => Ok(()),
        }
    }

    /// All its sockets.
    pub(crate) fn sockets(&self) -> usize {
        self.groups
            .iter()
            .map(|group| group.people() * group.devices)
            .sum()
    }

    /// Changes the number of rooms so that there are about so many sockets; where the rooms are
    /// few and large, the number of members.
    pub(crate) fn scale_to(&mut self, sockets: usize) {
        let factor = sockets as f64 / self.sockets().max(1) as f64;
        let scaled = |n: usize| ((n as f64 * factor).round() as usize).max(1);
        for group in &mut self.groups {
            if group.rooms == group.rooms_each {
                group.members = scaled(group.members);
            } else {
                group.rooms = scaled(group.rooms);
            }
        }
    }
}

impl Group {
    /// People in all of its rooms.
    pub(crate) fn people(&self) -> usize {
        (self.rooms * self.members).div_ceil(self.rooms_each)
    }

    fn validate(&self) -> Result<(), String> {
        let counts = [self.rooms, self.members, self.rooms_each, self.devices];
        if counts.contains(&0) {
            return Err("rooms, members, rooms_each and devices must be at least 1".into());
        }
        if self.rooms_each > self.rooms {
            return Err("rooms_each is larger than rooms".into());
        }
        if !(0.0..=1.0).contains(&self.polling) {
            return Err("polling must be 0 to 1".into());
        }
        if let Some(talk) = &self.talk {
            if talk.per_second.is_some() == talk.in_flight.is_some() {
                return Err("talk needs one of per_second and in_flight".into());
            }
            if talk.per_second.is_some_and(|rate| rate <= 0.0) || talk.in_flight == Some(0) {
                return Err("talk.per_second and talk.in_flight must be above 0".into());
            }
            if talk.senders == 0 || talk.senders > self.members {
                return Err(format!("talk.senders must be 1 to {}", self.members));
            }
        }
        if self.emit.iter().any(|emit| emit.per_second <= 0.0) {
            return Err("emit.per_second must be above 0".into());
        }
        let cut = self.cut.as_ref().map(|cut| cut.every);
        let stall = self.stall.as_ref().map(|stall| stall.every);
        if cut.into_iter().chain(stall).any(|every| every <= 0.0) {
            return Err("every must be above 0".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "name = \"x\"\n[[group]]\nname = \"g\"\nrooms = 4\nmembers = 3\n";

    #[test]
    fn names_what_it_does_not_know() {
        let error = Scenario::parse(&format!("{SMALL}colour = 1\n")).unwrap_err();
        assert!(error.to_string().contains("colour"), "{error}");
        let error = Scenario::parse(&format!("{SMALL}[limits]\nlosst = 1\n")).unwrap_err();
        assert!(error.to_string().contains("losst"), "{error}");
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        for (more, named) in [
            ("[group.talk]\n", "one of per_second"),
            ("[group.talk]\nper_second = 1\nin_flight = 1\n", "one of"),
            ("[group.talk]\nper_second = 1\nsenders = 4\n", "1 to 3"),
            ("rooms_each = 5\n", "rooms_each"),
            ("polling = 1.1\n", "polling"),
            ("[[at]]\nsecond = 1\n", "drop and run"),
        ] {
            let error = Scenario::parse(&format!("{SMALL}{more}")).unwrap_err();
            assert!(error.to_string().contains(named), "{more}: {error}");
        }
    }

    #[test]
    fn nodes_that_a_run_does_not_have_are_named() {
        let scenario = Scenario::parse(&format!("{SMALL}nodes = [0, 2]\n")).unwrap();
        assert!(scenario.fits(3).is_ok());
        let error = scenario.fits(2).unwrap_err();
        assert!(error.to_string().contains("--url names 2"), "{error}");
    }

    #[test]
    fn scales_by_rooms_or_by_members() {
        let mut many = Scenario::parse(SMALL).unwrap();
        many.scale_to(120);
        assert_eq!((many.groups[0].rooms, many.groups[0].members), (40, 3));
        let mut one = Scenario::parse(&SMALL.replace("rooms = 4", "rooms = 1")).unwrap();
        one.scale_to(120);
        assert_eq!((one.groups[0].rooms, one.groups[0].members), (1, 120));
    }

    #[test]
    fn all_that_come_with_it_can_be_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let files = std::fs::read_dir(folder).unwrap();
        let read = files.map(|file| Scenario::read(&file.unwrap().path()).unwrap());
        assert!(read.count() > 0);
    }
}
