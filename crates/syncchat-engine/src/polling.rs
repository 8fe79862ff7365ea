//! Long polling: GET takes what waits, POST brings packets.
//!
//! Two requests of one session come on two connections and run on two threads, so the waiting poll
//! and the queue are under the session's one lock, and packets of a POST are given to the session's
//! task. A poll whose future is dropped was aborted by its client, which ends the session.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use syncchat_protocol::engineio::{ErrorCode, Packet, Payload, SEPARATOR, encode_payload};
use syncchat_protocol::{DecodeError, Frame};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::answer::{self, Body, PollBody};
use crate::compression;
use crate::handler::DisconnectReason;
use crate::limits::{CLOSING_POLL_WAIT, UPGRADING_POLL_HOLD};
use crate::session::{End, Farewell, Session, Shared, Transport};
use crate::upgrade::Attempt;
use crate::websocket::Stream;

/// The part of a session that only long polling needs.
pub(crate) struct Polling {
    /// When the session is dead unless its client is heard of.
    pub(crate) expires: Instant,
    waiting: Option<Waiting>,
    /// The poll that was told to take what waits, and has not yet.
    taking: Option<u32>,
    polls: u32,
    /// Answers with packets in them that are on their way to the connection.
    in_flight: u32,
    /// A POST is being read or worked off; dropping the sender cancels it.
    posting: Option<oneshot::Sender<()>>,
    /// A whole body, for the session's task.
    pub(crate) post: Option<Post>,
    /// A POST that ends the session waits for the poll that goes with it.
    poll_came: Option<oneshot::Sender<()>>,
    pub(crate) attempt: Attempt,
    /// The WebSocket that took over, for the session's task.
    pub(crate) handover: Option<Stream>,
}

struct Waiting {
    poll: u32,
    release: oneshot::Sender<Release>,
}

/// What ends the waiting of a poll.
enum Release {
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

/// The packets of one POST.
#[derive(Debug)]
pub(crate) struct Post {
    body: Bytes,
    /// Where the next packet begins; behind the body after the last.
    next: usize,
    done: oneshot::Sender<Done>,
}

/// What became of a POST's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    All,
    /// One of them was invalid.
    Invalid,
}

impl Polling {
    pub(crate) fn new(expires: Instant) -> Polling {
        Polling {
            expires,
            waiting: None,
            taking: None,
            polls: 0,
            in_flight: 0,
            posting: None,
            post: None,
            poll_came: None,
            attempt: Attempt::None,
            handover: None,
        }
    }

    /// Lets a waiting poll take what was queued.
    pub(crate) fn release_to_take(&mut self) {
        self.release(Release::Take);
    }

    /// Ends a waiting poll with one frame.
    pub(crate) fn release_saying(&mut self, frame: Frame) {
        self.release(Release::Say(frame));
    }

    fn release(&mut self, release: Release) -> bool {
        let Some(Waiting {
            poll,
            release: waiting,
        }) = self.waiting.take()
        else {
            return false;
        };
        if matches!(release, Release::Take) {
            self.taking = Some(poll);
        }
        waiting.send(release).is_ok()
    }

    /// Whether a poll is about to take what waits: it shall find it, whatever happens meanwhile.
    pub(crate) fn is_taking(&self) -> bool {
        self.taking.is_some()
    }

    /// The session ends: whoever waits hears of it. Returns whether a poll was told.
    pub(crate) fn end(&mut self, farewell: &Farewell) -> bool {
        self.posting = None;
        self.attempt = Attempt::None;
        match farewell {
            Farewell::Flush(_) => {
                self.release(Release::Take);
                false
            }
            Farewell::Answer(_) => self.release(Release::Say(Frame::noop())),
            Farewell::Error(_) | Farewell::Abort => self.release(Release::Say(Frame::close())),
        }
    }

    /// Whether packets are on their way that a WebSocket must not overtake.
    pub(crate) fn holds_packets(&self) -> bool {
        self.in_flight > 0
    }

    /// Whether the session's task has something to take here.
    pub(crate) fn is_ready(&self) -> bool {
        self.post.is_some() || (self.handover.is_some() && !self.holds_packets())
    }

    /// Whether no request needs it any more.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_none()
            && self.in_flight == 0
            && self.posting.is_none()
            && self.post.is_none()
            && self.handover.is_none()
    }

    /// The WebSocket that took over, unless it has to wait for a poll's answer.
    pub(crate) fn take_handover(&mut self) -> Option<Stream> {
        if self.holds_packets() {
            None
        } else {
            self.handover.take()
        }
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

    /// Why no request of long polling may come now. Looks at the clock too: a session must be gone
    /// in time, whatever its task is doing.
    pub(crate) fn refusal(&mut self, now: Instant) -> Option<ErrorCode> {
        if self.is_gone() {
            return Some(ErrorCode::UnknownSid);
        }
        if self.transport == Transport::WebSocket {
            return Some(ErrorCode::BadRequest);
        }
        if self.end.is_none() && self.polling.as_ref().is_some_and(|p| p.expires <= now) {
            self.end(DisconnectReason::PingTimeout, Farewell::error());
            return Some(ErrorCode::UnknownSid);
        }
        None
    }

    /// Whether requests with its id are to be refused. A session that the server ended is there
    /// until a poll was told.
    fn is_gone(&self) -> bool {
        self.end.as_ref().is_some_and(|end| match end.farewell {
            Farewell::Flush(_) => end.said || self.transport == Transport::WebSocket,
            _ => true,
        })
    }

    /// Everything for a poll: what waits, and the goodbye if it is over.
    fn take(&mut self) -> Answer {
        if let Some(polling) = &mut self.polling {
            polling.taking = None;
        }
        if self.transport == Transport::WebSocket {
            return Answer::say(Frame::noop());
        }
        let mut frames = self.out.take_frames();
        let is_taken = !frames.is_empty();
        if let Some(End { said, .. }) = &mut self.end {
            frames.push(Frame::close());
            *said = true;
        }
        if frames.is_empty() {
            return Answer::say(Frame::noop());
        }
        if is_taken && let Some(polling) = &mut self.polling {
            polling.in_flight += 1;
        }
        // The task looks whether the queue was behind, and whether goodbye is said.
        self.wake();
        Answer { frames, is_taken }
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

    /// The connection has taken an answer.
    pub(crate) fn poll_answered(&mut self) {
        if let Some(polling) = &mut self.polling {
            polling.in_flight = polling.in_flight.saturating_sub(1);
        }
        if self.transport == Transport::WebSocket {
            self.wake();
        }
    }

    fn begin_post(&mut self, now: Instant) -> Result<oneshot::Receiver<()>, Option<ErrorCode>> {
        if let Some(refusal) = self.refusal(now) {
            return Err(Some(refusal));
        }
        let Some(polling) = &mut self.polling else {
            return Err(Some(ErrorCode::BadRequest));
        };
        if polling.posting.is_some() {
            self.end(DisconnectReason::TransportError, Farewell::error());
            return Err(None);
        }
        let (cancel, cancelled) = oneshot::channel();
        polling.posting = Some(cancel);
        Ok(cancelled)
    }

    fn deliver_post(&mut self, body: Bytes) -> oneshot::Receiver<Done> {
        let (done, receiver) = oneshot::channel();
        if self.end.is_none()
            && let Some(polling) = &mut self.polling
        {
            polling.post = Some(Post {
                body,
                next: 0,
                done,
            });
            self.wake();
        }
        receiver
    }

    fn await_poll(&mut self) -> Option<oneshot::Receiver<()>> {
        let polling = self
            .polling
            .as_mut()
            .filter(|polling| polling.waiting.is_none())?;
        let (came, receiver) = oneshot::channel();
        polling.poll_came = Some(came);
        Some(receiver)
    }
}

/// Answers a GET of a session.
pub(crate) async fn get(session: &Arc<Session>, headers: &HeaderMap) -> Response<Body> {
    let begun = session.lock().begin_poll(Instant::now());
    let answer = match begun {
        Begun::Now(answer) => answer,
        Begun::Refused(refusal) => return answer::refusal(refusal),
        Begun::Duplicate => return answer::empty(StatusCode::BAD_REQUEST),
        Begun::Wait {
            poll,
            release,
            is_upgrading,
        } => wait(PollGuard { session, poll }, release, is_upgrading).await,
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
    is_upgrading: bool,
) -> Answer {
    let session = guard.session;
    let released = if is_upgrading {
        match timeout(UPGRADING_POLL_HOLD, &mut release).await {
            Ok(released) => released,
            Err(_) => {
                session.lock().release_poll();
                release.await
            }
        }
    } else {
        release.await
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

/// Answers a POST of a session.
pub(crate) async fn post(
    session: &Arc<Session>,
    headers: &HeaderMap,
    body: Incoming,
) -> Response<Body> {
    let begun = session.lock().begin_post(Instant::now());
    let cancelled = match begun {
        Ok(cancelled) => cancelled,
        Err(Some(refusal)) => return answer::refusal(refusal),
        Err(None) => return answer::empty(StatusCode::BAD_REQUEST),
    };
    let mut guard = PostGuard {
        session,
        is_read: false,
    };
    if is_binary(headers) {
        session.end(DisconnectReason::TransportError, Farewell::error());
        return answer::closing(answer::empty(StatusCode::BAD_REQUEST));
    }
    let body = match read(session, body, cancelled).await {
        Ok(body) => body,
        Err(status) => {
            guard.is_read = status == StatusCode::PAYLOAD_TOO_LARGE;
            return answer::closing(answer::empty(status));
        }
    };
    guard.is_read = true;
    if ends_session(&body) {
        let poll = session.lock().await_poll();
        if let Some(poll) = poll {
            let _ = timeout(CLOSING_POLL_WAIT, poll).await;
        }
    }
    let done = session.lock().deliver_post(body);
    match done.await {
        Ok(Done::All) => answer::ok(),
        Ok(Done::Invalid) | Err(_) => answer::empty(StatusCode::BAD_REQUEST),
    }
}

/// Ends a session whose POST broke off: nobody knows what was in it.
struct PostGuard<'a> {
    session: &'a Session,
    is_read: bool,
}

impl Drop for PostGuard<'_> {
    fn drop(&mut self) {
        let mut shared = self.session.lock();
        if let Some(polling) = &mut shared.polling {
            polling.posting = None;
        }
        if !self.is_read {
            shared.end(DisconnectReason::TransportClose, Farewell::error());
        }
        // After an upgrade this may have been the last request.
        if shared.transport == Transport::WebSocket {
            shared.wake();
        }
    }
}

fn is_binary(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| {
        kind.as_bytes()
            .eq_ignore_ascii_case(b"application/octet-stream")
    })
}

async fn read(
    session: &Session,
    body: Incoming,
    cancelled: oneshot::Receiver<()>,
) -> Result<Bytes, StatusCode> {
    let max = session.config.max_payload;
    if body.size_hint().lower() > max as u64 {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let whole = timeout(
        session.config.body_timeout,
        Limited::new(body, max).collect(),
    );
    tokio::select! {
        read = whole => match read {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
            Ok(Err(_)) => Err(StatusCode::BAD_REQUEST),
            Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
        },
        _ = cancelled => Err(StatusCode::BAD_REQUEST),
    }
}

/// Whether the last packet is a close.
fn ends_session(body: &[u8]) -> bool {
    matches!(body, [b'1'] | [.., SEPARATOR, b'1'])
}

impl Post {
    /// The next packet; nothing comes after an error.
    pub(crate) fn next(&mut self) -> Option<Result<Packet<'_>, DecodeError>> {
        let rest = self.body.get(self.next..)?;
        let end = rest.iter().position(|&byte| byte == SEPARATOR);
        self.next += end.unwrap_or(rest.len()) + 1;
        let packet = Payload::new(&rest[..end.unwrap_or(rest.len())]).next();
        if matches!(packet, Some(Err(_))) {
            self.next = self.body.len() + 1;
        }
        packet
    }

    /// Lets the request be answered.
    pub(crate) fn finish(self, done: Done) {
        let _ = self.done.send(done);
    }
}
