//! Writes log lines to standard error from a thread of its own: a pipe that nobody reads stops that thread, and nothing
//! else. Lines that find no room are dropped and counted, and the log says so when it goes on.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use crate::limits::{LOG_FLUSH_TIMEOUT, LOG_LINE_BYTES_MAX, LOG_LINES_MAX};
use crate::metrics;

/// Where log lines go. Cheap to clone.
#[derive(Clone)]
pub struct LogWriter {
    lines: SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
}

/// Lets the lines be written that were logged before it is dropped, for [`LOG_FLUSH_TIMEOUT`] at most.
pub struct LogGuard(SyncSender<Entry>);

enum Entry {
    Line(Vec<u8>),
    /// Everything before it was written.
    Flush(SyncSender<()>),
}

impl LogWriter {
    /// Starts the thread that writes.
    ///
    /// # Errors
    /// The system starts no thread.
    pub fn start(out: impl Write + Send + 'static) -> io::Result<(LogWriter, LogGuard)> {
        let (lines, written) = sync_channel(LOG_LINES_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&dropped);
        thread::Builder::new()
            .name("log".into())
            .spawn(move || write_lines(out, &written, &counted))?;
        let guard = LogGuard(lines.clone());
        Ok((LogWriter { lines, dropped }, guard))
    }
}

impl Write for LogWriter {
    /// Takes one event's line, whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let kept = line.len().min(LOG_LINE_BYTES_MAX);
        let mut entry = line[..kept].to_vec();
        if kept < line.len() {
            entry.extend_from_slice(b" [cut]\n");
        }
        if let Err(TrySendError::Full(_)) = self.lines.try_send(Entry::Line(entry)) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            metrics::log_line_dropped();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = LogWriter;

    fn make_writer(&'a self) -> LogWriter {
        self.clone()
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        let (done, is_done) = sync_channel(1);
        if self.0.try_send(Entry::Flush(done)).is_ok() {
            // Whoever reads standard error may have stopped: then the rest stays unsaid.
            let _ = is_done.recv_timeout(LOG_FLUSH_TIMEOUT);
        }
    }
}

/// Writes what comes, until nobody can log any more. An error of the output loses that line: there is nowhere to
/// say so.
fn write_lines(mut out: impl Write, entries: &Receiver<Entry>, dropped: &AtomicU64) {
    // A drop is told of at the latest so long after it, also if nothing else is logged.
    const LOOK: Duration = Duration::from_secs(1);
    loop {
        match entries.recv_timeout(LOOK) {
            Ok(Entry::Line(line)) => drop(out.write_all(&line)),
            Ok(Entry::Flush(done)) => {
                let _ = out.flush();
                let _ = done.send(());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(
                lines = lost,
                "log lines were dropped: standard error is read too slowly"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    /// Takes nothing until it is let.
    struct Stuck {
        let_go: Receiver<()>,
        written: std::sync::mpsc::Sender<Vec<u8>>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.let_go.recv();
            let _ = self.written.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_stopped_stops_nobody_who_logs() {
        let (go, let_go) = channel();
        let (written, lines) = channel();
        let (mut log, _guard) = LogWriter::start(Stuck { let_go, written }).unwrap();
        for n in 0..LOG_LINES_MAX + 100 {
            log.write_all(format!("line {n}\n").as_bytes()).unwrap();
        }
        // The first is being written, the queue is full, the rest was dropped.
        let lost = log.dropped.load(Ordering::Relaxed);
        assert!((99..=100).contains(&lost), "{lost}");
        drop(go);
        assert_eq!(lines.recv().unwrap(), b"line 0\n");
        assert_eq!(lines.recv().unwrap(), b"line 1\n");
    }

    #[test]
    fn what_was_logged_before_the_end_is_written() {
        let (written, lines) = channel();
        let (_, let_go) = channel();
        let (mut log, guard) = LogWriter::start(Stuck { let_go, written }).unwrap();
        log.write_all(b"last words\n").unwrap();
        let long = vec![b'x'; LOG_LINE_BYTES_MAX + 1];
        log.write_all(&long).unwrap();
        drop(guard);
        assert_eq!(lines.try_recv().unwrap(), b"last words\n");
        assert!(lines.try_recv().unwrap().ends_with(b"x [cut]\n"));
    }
}
