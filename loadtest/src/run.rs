//! The coordinator: makes the cast, starts workers, says when, gathers what they saw.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::Failure;
use crate::address::{Address, Trust};
use crate::clock::{Clock, micros};
use crate::control::{Lines, Order, Plan, SenderTotal, Tick, Verdict, Word, tell};
use crate::outcome::{Outcome, Second};
use crate::plan;
use crate::progress::Progress;
use crate::scenario::Scenario;
use crate::setup;
use crate::target::Target;
use crate::usage::{Probe, Usage, sum};

/// How a run is to be made, apart from what is to be done.
pub(crate) struct Settings {
    /// The server, or several that are taken in turn.
    pub(crate) addresses: Vec<Address>,
    /// Whose word is taken for their certificates.
    pub(crate) trust: Trust,
    /// How to talk to it.
    pub(crate) target: Target,
    /// Workers started here.
    pub(crate) processes: usize,
    /// Where workers of other hosts may join, and how many are waited for.
    pub(crate) joining: Option<(String, usize)>,
    /// Addresses to connect from.
    pub(crate) sources: Vec<String>,
    /// Where the servers' usage is read, in the order of their addresses.
    pub(crate) probes: Vec<Probe>,
    /// CPUs that local workers are bound to, in `taskset`'s notation.
    pub(crate) cpus: Option<String>,
    /// Whether progress is shown.
    pub(crate) quiet: bool,
}

/// What a worker is waited for at most when it only has to answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// How long those that join are waited for, once people and rooms are made.
const JOIN_MAX: Duration = Duration::from_secs(120);

/// The coordinator's side of a run.
struct Run {
    scenario: Scenario,
    clock: Clock,
    probes: Vec<Probe>,
    workers: Vec<TcpStream>,
    words: Receiver<(usize, Result<Word, Failure>)>,
    connected: Vec<usize>,
    /// When the last socket so far was let in.
    last_in: u64,
    seconds: Vec<Second>,
    began: Option<u64>,
    happened: usize,
    progress: Progress,
}

/// Makes a run.
///
/// # Errors
/// It could not be made. What the server did wrong is no error: it is in the outcome.
pub(crate) fn run(scenario: &Scenario, settings: &Settings) -> Result<Outcome, Failure> {
    scenario.fits(settings.addresses.len())?;
    let progress = Progress::new(settings.quiet);
    let began = Instant::now();
    progress.say(&format!("{}: making people and rooms", scenario.name));
    // Who joins may come while people and rooms are being made.
    let listener = listen(settings)?;
    let casts = setup::cast(scenario, settings)?;
    let setup_seconds = began.elapsed().as_secs_f64();
    progress.say(&format!("made in {setup_seconds:.1} s"));

    let mut children = Children(Vec::new());
    let streams = gather(settings, &listener, &mut children)?;
    let (words_in, words) = channel();
    for (index, stream) in streams.iter().enumerate() {
        let (words_in, mut lines) = (words_in.clone(), Lines::new(stream.try_clone()?));
        std::thread::spawn(move || {
            loop {
                let word = match lines.next() {
                    Ok(Some(word)) => Ok(word),
                    Ok(None) => Err("a worker went away".into()),
                    Err(error) => Err(error),
                };
                let over = word.is_err();
                if words_in.send((index, word)).is_err() || over {
                    return;
                }
            }
        });
    }
    let mut run = Run {
        scenario: scenario.clone(),
        clock: Clock::new(),
        probes: settings.probes.clone(),
        connected: vec![0; streams.len()],
        last_in: 0,
        workers: streams,
        words,
        seconds: Vec::new(),
        began: None,
        happened: 0,
        progress,
    };
    let plans = plan::divide(
        scenario,
        &settings.target,
        &casts,
        run.workers.len(),
        (&settings.addresses, &settings.trust),
        &settings.sources,
    );
    let mut outcome = Outcome::new(scenario, &settings.target.name, run.workers.len());
    outcome.addresses = settings.addresses.iter().map(Address::to_string).collect();
    outcome.setup_seconds = setup_seconds;
    outcome.usage.before = sum(&run.usage());
    run.open(plans, &mut outcome)?;
    run.talk(&mut outcome)?;
    let totals = run.finish()?;
    run.judge(totals, &mut outcome)?;
    outcome.usage.end = sum(&run.usage());
    for worker in &run.workers {
        let _ = tell(worker, &Order::End);
    }
    outcome.finish(run.seconds, run.began.unwrap_or(0));
    Ok(outcome)
}

/// Workers started here; they are not left behind.
struct Children(Vec<Child>);

impl Drop for Children {
    fn drop(&mut self) {
        let patience = Instant::now() + Duration::from_secs(2);
        for child in &mut self.0 {
            while Instant::now() < patience && matches!(child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Where workers report.
fn listen(settings: &Settings) -> Result<TcpListener, Failure> {
    let address = settings.joining.as_ref().map(|(address, _)| &**address);
    let address = address.unwrap_or("127.0.0.1:0");
    TcpListener::bind(address).map_err(|error| format!("{address}: {error}").into())
}

/// Starts workers and waits for those that join.
fn gather(
    settings: &Settings,
    listener: &TcpListener,
    children: &mut Children,
) -> Result<Vec<TcpStream>, Failure> {
    let joining = settings.joining.as_ref().map_or(0, |(_, count)| *count);
    if settings.processes + joining == 0 {
        return Err("a run needs a worker: --processes 0 only where others join".into());
    }
    let address = listener.local_addr()?;
    let program: PathBuf = std::env::current_exe()?;
    for _ in 0..settings.processes {
        let mut command = match &settings.cpus {
            Some(cpus) => {
                let mut command = Command::new("taskset");
                command.arg("-c").arg(cpus).arg(&program);
                command
            }
            None => Command::new(&program),
        };
        let port = address.port();
        let command = command
            .args(["join", &format!("127.0.0.1:{port}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        children.0.push(command.spawn()?);
    }
    let mut streams = Vec::new();
    let patience = Instant::now() + JOIN_MAX;
    listener.set_nonblocking(true)?;
    while streams.len() < settings.processes + joining {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if Instant::now() > patience {
                    let wanted = settings.processes + joining;
                    return Err(format!("only {} of {wanted} workers came", streams.len()).into());
                }
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        let hello = Lines::new(stream.try_clone()?).next();
        stream.set_read_timeout(None)?;
        // Somebody else who happened to find the port is none of them.
        if let Ok(Some(Word::Hello { .. })) = hello {
            streams.push(stream);
        }
    }
    Ok(streams)
}

impl Run {
    /// What each node has used.
    fn usage(&self) -> Vec<Option<Usage>> {
        self.probes.iter().map(Probe::read).collect()
    }

    /// Opens all sockets.
    fn open(&mut self, plans: Vec<Plan>, outcome: &mut Outcome) -> Result<(), Failure> {
        let wanted: usize = plans.iter().map(|plan| plan.sockets.len()).sum();
        let began = self.clock.now();
        for (worker, plan) in self.workers.iter().zip(plans) {
            tell(worker, &Order::Open(Box::new(plan)))?;
        }
        let patience = began + micros(self.scenario.run.connect_timeout);
        let patience = match self.scenario.run.connect_per_second {
            rate if rate > 0.0 => patience + micros(wanted as f64 / rate),
            _ => patience,
        };
        while self.connected.iter().sum::<usize>() < wanted {
            if self.clock.now() > patience {
                let there: usize = self.connected.iter().sum();
                return Err(format!("only {there} of {wanted} sockets were let in").into());
            }
            self.listen(Duration::from_millis(100))?;
        }
        outcome.sockets = wanted;
        outcome.opening_seconds = self.last_in.saturating_sub(began) as f64 / 1e6;
        outcome.usage.opened = sum(&self.usage());
        let settled = Instant::now() + Duration::from_secs_f64(self.scenario.run.settle);
        while Instant::now() < settled {
            self.listen(Duration::from_millis(50))?;
        }
        outcome.usage.settled = sum(&self.usage());
        Ok(())
    }

    /// Lets everybody talk, from a second that all agree on.
    fn talk(&mut self, outcome: &mut Outcome) -> Result<(), Failure> {
        let begin = self.clock.now() + 200_000;
        self.began = Some(begin);
        for worker in &self.workers {
            tell(worker, &Order::Begin(begin))?;
        }
        let (warm_up, seconds) = (self.scenario.run.warm_up, self.scenario.run.seconds);
        let counts_from = begin + warm_up * 1_000_000;
        let ends = counts_from + seconds * 1_000_000;
        self.listen_until(counts_from)?;
        outcome.usage.window_began = self.usage();
        self.listen_until(ends)?;
        outcome.usage.window_ended = self.usage();
        Ok(())
    }

    /// Waits until nobody sends; what was sent.
    fn finish(&mut self) -> Result<Vec<SenderTotal>, Failure> {
        let patience =
            Instant::now() + Duration::from_secs_f64(self.scenario.run.drain) + ANSWER_MAX;
        let mut totals = Vec::new();
        let mut silent = 0;
        while silent < self.workers.len() {
            if Instant::now() > patience {
                return Err("a worker does not come to an end".into());
            }
            if let Some(Word::Silent(sent)) = self.listen(Duration::from_millis(100))? {
                totals.extend(sent);
                silent += 1;
            }
        }
        Ok(totals)
    }

    /// Tells everybody what was sent, and waits for what they miss of it.
    fn judge(&mut self, totals: Vec<SenderTotal>, outcome: &mut Outcome) -> Result<(), Failure> {
        for worker in &self.workers {
            tell(worker, &Order::Totals(totals.clone()))?;
        }
        let patience =
            Instant::now() + Duration::from_secs_f64(self.scenario.run.drain) + ANSWER_MAX;
        let mut judged = 0;
        while judged < self.workers.len() {
            if Instant::now() > patience {
                return Err("a worker does not report".into());
            }
            if let Some(Word::Result(verdict)) = self.listen(Duration::from_millis(100))? {
                let Verdict {
                    lost,
                    unanswered,
                    examples,
                } = *verdict;
                outcome.lost += lost;
                outcome.unanswered += unanswered;
                outcome.examples.extend(examples);
                judged += 1;
            }
        }
        Ok(())
    }

    fn listen_until(&mut self, at: u64) -> Result<(), Failure> {
        loop {
            let now = self.clock.now();
            if now >= at {
                return Ok(());
            }
            self.let_happen(now)?;
            self.listen(Duration::from_micros((at - now).min(50_000)))?;
        }
    }

    /// Does what the scenario says happens at this time.
    fn let_happen(&mut self, now: u64) -> Result<(), Failure> {
        let Some(began) = self.began else {
            return Ok(());
        };
        let mut happenings = self.scenario.happenings.clone();
        happenings.sort_by(|a, b| a.second.total_cmp(&b.second));
        while let Some(happening) = happenings.get(self.happened) {
            if now < began + micros(happening.second) {
                break;
            }
            self.happened += 1;
            if let Some(share) = happening.drop {
                self.progress
                    .say(&format!("cutting {:.0} % of all sockets", share * 100.0));
                for worker in &self.workers {
                    tell(worker, &Order::Drop(share))?;
                }
            }
            if let Some(command) = &happening.run {
                self.progress.say(&format!("running {command}"));
                let mut child = Command::new("sh").arg("-c").arg(command).spawn()?;
                std::thread::spawn(move || child.wait());
            }
        }
        Ok(())
    }

    /// Hears at most one word; ticks are put where they belong.
    fn listen(&mut self, patience: Duration) -> Result<Option<Word>, Failure> {
        let (index, word) = match self.words.recv_timeout(patience) {
            Ok(word) => word,
            Err(RecvTimeoutError::Timeout) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match word? {
            Word::Tick(tick) => {
                self.connected[index] = tick.connected;
                self.last_in = self.last_in.max(tick.last_in);
                self.note(*tick);
                Ok(None)
            }
            Word::Failed(why) => Err(format!("a worker failed: {why}").into()),
            word => Ok(Some(word)),
        }
    }

    /// Adds a tick to its second. Workers cut their seconds at the same time once the load has
    /// begun, and near enough before.
    fn note(&mut self, tick: Tick) {
        // A second ends where the next begins; half a second is left for those that come late.
        let origin = self.began.unwrap_or(0);
        let key = |at: u64| (at.wrapping_sub(origin).wrapping_add(500_000)) / 1_000_000;
        let (at, connected) = (tick.at, self.connected.iter().sum());
        let slot = self
            .seconds
            .iter()
            .rposition(|second| key(second.at) == key(at));
        let slot = match slot {
            Some(slot) => slot,
            None => {
                let usage = sum(&self.usage());
                if let Some(last) = self.seconds.last() {
                    self.progress.second(last);
                }
                self.seconds.push(Second::new(at, usage));
                self.seconds.len() - 1
            }
        };
        self.seconds[slot].add(&tick, connected);
    }
}
