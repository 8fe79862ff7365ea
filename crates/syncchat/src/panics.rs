//! Panics: counted and logged, wherever they happen and whatever catches them.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;
use std::thread;

use crate::metrics;

/// Has every panic of the process logged and counted in `syncchat_panics_total`, in place of the
/// standard text on standard error, which is no line of the log.
pub fn report() {
    std::panic::set_hook(Box::new(note));
}

/// Logs and counts one panic. With `RUST_BACKTRACE=1` the log has its backtrace.
pub fn note(panic: &PanicHookInfo<'_>) {
    metrics::panicked();
    let backtrace = Backtrace::capture();
    let backtrace = match backtrace.status() {
        BacktraceStatus::Captured => Some(tracing::field::display(backtrace)),
        _ => None,
    };
    let place = panic.location().map(tracing::field::display);
    tracing::error!(
        why = panic.payload_as_str().unwrap_or("without a text"),
        place,
        thread = thread::current().name().unwrap_or("unnamed"),
        backtrace,
        "panicked"
    );
}
