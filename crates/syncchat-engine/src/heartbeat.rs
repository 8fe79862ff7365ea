//! When to ping and when to give up: a value that is told the time.

use tokio::time::Instant;

use crate::config::Config;
use crate::limits::LATE_PING;

/// The heartbeat of one session, over all its transports.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    /// When the next ping, or else the awaited pong, is due.
    due: Instant,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The last pong came; the next ping is due.
    Quiet,
    /// A pong is due.
    Awaiting,
    /// A pong is due, and another packet has already moved its time.
    Extended,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beat {
    Wait,
    Ping,
    Dead,
}

impl Heartbeat {
    /// Counts from the making of the session.
    pub(crate) fn new(now: Instant, config: &Config) -> Heartbeat {
        Heartbeat {
            due: now + config.ping_interval,
            state: State::Quiet,
        }
    }

    /// When [`Heartbeat::beat`] has something to say again.
    pub(crate) fn deadline(&self) -> Instant {
        self.due
    }

    /// When the session is dead if its client keeps silent.
    pub(crate) fn expires(&self, config: &Config) -> Instant {
        match self.state {
            State::Quiet => self.due + config.ping_timeout,
            State::Awaiting | State::Extended => self.due,
        }
    }

    /// The next ping comes an interval after the pong, not on a fixed grid. A stray pong counts
    /// for nothing.
    pub(crate) fn pong(&mut self, now: Instant, config: &Config) {
        if self.state != State::Quiet {
            self.due = now + config.ping_interval;
            self.state = State::Quiet;
        }
    }

    /// Any other packet: a client whose upload is slow is alive, and gets more time once a ping.
    pub(crate) fn packet(&mut self, now: Instant, config: &Config) {
        if self.state == State::Awaiting {
            self.due = now + config.ping_timeout;
            self.state = State::Extended;
        }
    }

    /// To be asked after what has come was read.
    pub(crate) fn beat(&mut self, now: Instant, config: &Config) -> Beat {
        if now < self.due {
            return Beat::Wait;
        }
        if self.state != State::Quiet {
            return Beat::Dead;
        }
        let late = now - self.due;
        let from = if late > LATE_PING { now } else { self.due };
        self.due = from + config.ping_timeout;
        self.state = State::Awaiting;
        Beat::Ping
    }
}

/// The earlier of two deadlines, of which one may be missing.
pub(crate) fn earlier(one: Instant, other: Option<Instant>) -> Instant {
    other.map_or(one, |other| one.min(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Duration;

    fn config() -> Config {
        Config {
            ping_interval: Duration::from_millis(300),
            ping_timeout: Duration::from_millis(200),
            ..Config::default()
        }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn pings_follow_pongs_and_silence_ends_exactly() {
        let (config, t) = (config(), Instant::now());
        let mut heart = Heartbeat::new(t, &config);
        assert_eq!(heart.expires(&config), t + ms(500));
        assert_eq!(heart.beat(t + ms(299), &config), Beat::Wait);
        assert_eq!(heart.beat(t + ms(301), &config), Beat::Ping);
        assert_eq!(heart.expires(&config), t + ms(500), "from when it was due");
        heart.pong(t + ms(350), &config);
        assert_eq!(heart.deadline(), t + ms(650));
        heart.pong(t + ms(400), &config);
        assert_eq!(heart.deadline(), t + ms(650), "a stray pong moves nothing");
        assert_eq!(heart.beat(t + ms(650), &config), Beat::Ping);
        assert_eq!(heart.beat(t + ms(849), &config), Beat::Wait);
        assert_eq!(heart.beat(t + ms(850), &config), Beat::Dead);
    }

    #[test]
    fn another_packet_extends_once_and_a_stopped_node_blames_nobody() {
        let (config, t) = (config(), Instant::now());
        let mut heart = Heartbeat::new(t, &config);
        heart.packet(t + ms(100), &config);
        assert_eq!(heart.deadline(), t + ms(300), "no pong is due yet");
        assert_eq!(heart.beat(t + ms(300), &config), Beat::Ping);
        heart.packet(t + ms(450), &config);
        heart.packet(t + ms(600), &config);
        assert_eq!(heart.beat(t + ms(649), &config), Beat::Wait);
        assert_eq!(heart.beat(t + ms(650), &config), Beat::Dead);

        let mut heart = Heartbeat::new(t, &config);
        assert_eq!(heart.beat(t + ms(9_000), &config), Beat::Ping);
        assert_eq!(heart.deadline(), t + ms(9_200));
    }
}
