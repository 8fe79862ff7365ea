//! GET: takes all that waits, or waits for it.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Response, StatusCode, header};
use syncchat_protocol::Frame;
use syncchat_protocol::engineio::{ErrorCode, encode_payload};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::answer::{self, Body, PollBody};
use crate::compression;
use crate::handler::DisconnectReason;
use crate::limits::UPGRADING_POLL_HOLD;
use crate::session::{Farewell, Session, Shared, Transport};

/// A poll that waits.
pub(super) struct Waiting {
    pub(super) poll: u32,
    pub(super) release: oneshot::Sender<Release>,
}

/// What ends the waiting of a poll.
pub(super) enum Release {
    /// Something can be taken.
    Take,
    /// There is only this to say.
    Say(Frame),
}

/// How a poll begins.
enum Begun {
    /// There is something to answer at once.
    Now(Answer),
    Wait {
        poll: u32,
        release: oneshot::Receiver<Release>,
        is_upgrading: bool,
    },
    Duplicate,
    Refused(ErrorCode),
}

/// What a poll is answered with.
struct Answer {
    frames: Vec<Frame>,
    /// Whether frames were taken from the queue, so that their client must not miss them.
    is_taken: bool,
}

impl Answer {
    fn say(frame: Frame) -> Answer {
        Answer {
            frames: vec![frame],
            is_taken: false,
        }
    }
}

/// Answers a GET of a session; with nothing to take after `hold`, if given, by a noop.
pub(crate) async fn get(
    session: &Arc<Session>,
    headers: &HeaderMap,
    hold: Option<Duration>,
) -> Response<Body> {
    let begun = session.lock().begin_poll(Instant::now());
    let answer = match begun {
        Begun::Now(answer) => answer,
        Begun::Refused(refusal) => return answer::refusal(refusal),
        Begun::Duplicate => return answer::empty(StatusCode::BAD_REQUEST),
        Begun::Wait {
            poll,
            release,
            is_upgrading,
        } => {
            let hold = if is_upgrading {
                Some(UPGRADING_POLL_HOLD)
            } else {
                hold
            };
            wait(PollGuard { session, poll }, release, hold).await
        }
    };
    let session = answer.is_taken.then(|| Arc::clone(session));
    let (body, encoding) = compression::encode(encode_payload(&answer.frames), headers);
    let mut response = answer::payload(PollBody::new(body, session));
    if let Some(encoding) = encoding {
        response
            .headers_mut()
            .insert(header::CONTENT_ENCODING, encoding);
    }
    response
}

async fn wait(
    guard: PollGuard<'_>,
    mut release: oneshot::Receiver<Release>,
    hold: Option<Duration>,
) -> Answer {
    let session = guard.session;
    let released = match hold {
        None => release.await,
        Some(hold) => match timeout(hold, &mut release).await {
            Ok(released) => released,
            Err(_) => {
                session.lock().release_poll();
                release.await
            }
        },
    };
    let answer = match released {
        Ok(Release::Take) => session.lock().take(),
        Ok(Release::Say(frame)) => Answer::say(frame),
        Err(_) => Answer::say(Frame::close()),
    };
    drop(guard);
    answer
}

/// Notices when the future of a waiting poll is dropped.
struct PollGuard<'a> {
    session: &'a Session,
    poll: u32,
}

impl Drop for PollGuard<'_> {
    fn drop(&mut self) {
        self.session.lock().abort_poll(self.poll);
    }
}

impl Shared {
    fn begin_poll(&mut self, now: Instant) -> Begun {
        if let Some(refusal) = self.refusal(now) {
            return Begun::Refused(refusal);
        }
        let Some(polling) = &mut self.polling else {
            return Begun::Refused(ErrorCode::BadRequest);
        };
        if polling.waiting.is_some() {
            self.end(DisconnectReason::TransportError, Farewell::error());
            return Begun::Duplicate;
        }
        if let Some(came) = polling.poll_came.take() {
            let _ = came.send(());
        }
        if !self.out.is_empty() || self.end.is_some() {
            return Begun::Now(self.take());
        }
        polling.polls = polling.polls.wrapping_add(1);
        let poll = polling.polls;
        let (release, receiver) = oneshot::channel();
        polling.waiting = Some(Waiting { poll, release });
        let is_upgrading = polling.attempt.is_probed();
        Begun::Wait {
            poll,
            release: receiver,
            is_upgrading,
        }
    }

    /// Everything for a poll: what waits, or the goodbye if it is over. Never both: the JavaScript
    /// client acts on a close at once, and on events that came with it only when its socket is
    /// closed already, so nobody would hear why the server ends it.
    fn take(&mut self) -> Answer {
        if let Some(polling) = &mut self.polling {
            polling.taking = None;
        }
        if self.transport == Transport::WebSocket {
            return Answer::say(Frame::noop());
        }
        let frames = self.out.take_frames();
        let is_taken = !frames.is_empty();
        let answer = match (&mut self.end, is_taken) {
            (_, true) => Answer { frames, is_taken },
            (None, false) => return Answer::say(Frame::noop()),
            (Some(end), false) => {
                end.said = true;
                Answer::say(Frame::close())
            }
        };
        if is_taken && let Some(polling) = &mut self.polling {
            polling.in_flight += 1;
        }
        // The task looks whether the queue was behind, and whether goodbye is said.
        self.wake();
        answer
    }

    /// A poll was held long enough.
    fn release_poll(&mut self) {
        if let Some(polling) = &mut self.polling {
            polling.release_saying(Frame::noop());
        }
    }

    /// The future of a poll is gone. If it was not answered, its client is gone too.
    fn abort_poll(&mut self, poll: u32) {
        let Some(polling) = &mut self.polling else {
            return;
        };
        let is_waiting = polling
            .waiting
            .as_ref()
            .is_some_and(|waiting| waiting.poll == poll);
        if is_waiting || polling.taking == Some(poll) {
            polling.waiting = None;
            polling.taking = None;
            self.end(DisconnectReason::TransportClose, Farewell::Abort);
        }
    }
}
