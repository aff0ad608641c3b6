//! Log lines of this crate, buffered until logging is set up.
//!
//! A program sets up its logging in the body of `main`, which runs after its pools are started. The lines of a start are
//! therefore buffered as text, and logged when the body has set up its logging. No subscriber is installed for that: `tracing`
//! passes events to the `log` crate only as long as no subscriber was ever set, and programs that log through `log` would lose
//! the events of every library.
//!
//! `warn!` and `info!` replace tracing's macros of the same names.

use std::fmt;
use std::future::Future;
use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};

use futures_util::future::Either;
use log::LevelFilter;
use tracing::dispatcher::{self, Dispatch};
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use crate::lock::lock;

/// The beginning of the targets of this crate's events.
const CRATE: &str = env!("CARGO_CRATE_NAME");

/// The most lines that are buffered. A start logs a few, and one for each attempt to connect.
const MOST: usize = 500;

/// The number of runs that wait for logging to be set up.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Held to add or to take lines, never while they are logged.
static LINES: Mutex<Vec<Line>> = Mutex::new(Vec::new());

/// The levels that are buffered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Warn,
    Info,
}

#[derive(Debug)]
struct Line {
    level: Level,
    text: String,
}

/// Buffers lines while logging is not set up, until it is dropped.
#[derive(Debug)]
pub(crate) struct Buffering(());

impl Buffering {
    /// Drops the lines of earlier runs that nobody has logged: they are not those of this run.
    pub(crate) fn begin() -> Self {
        let is_heard = is_heard();
        // Locked before the count, so that a run which begins meanwhile keeps its lines.
        let mut lines = lines();
        if WAITING.fetch_add(1, Relaxed) == 0 && !is_heard {
            lines.clear();
        }
        Self(())
    }
}

impl Drop for Buffering {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Relaxed);
    }
}

/// Whether a line is buffered instead of logged.
pub(crate) fn is_buffering() -> bool {
    WAITING.load(Relaxed) > 0 && !is_heard()
}

/// Whether a subscriber of `tracing` or a logger of `log` gets the events of this crate.
pub(crate) fn is_heard() -> bool {
    let subscriber = dispatcher::get_default(|subscriber| !subscriber.is::<NoSubscriber>());
    subscriber || is_heard_by_log()
}

/// Whether a logger of `log` gets the events of `tracing`.
pub(crate) fn is_heard_by_log() -> bool {
    log::max_level() != LevelFilter::Off && !dispatcher::has_been_set()
}

/// Runs a task with the subscriber of its caller. If no subscriber was ever set, none is set here: even an empty one would cut
/// off the `log` crate.
pub(crate) fn with_callers_subscriber<F: Future>(task: F) -> impl Future<Output = F::Output> {
    if dispatcher::has_been_set() {
        Either::Left(task.with_subscriber(dispatcher::get_default(Dispatch::clone)))
    } else {
        Either::Right(task)
    }
}

/// Runs a task whose events must not be logged. If no subscriber was ever set, none is set here, unless `also_log` is true and
/// there is a logger of `log`, which is then cut off for good.
pub(crate) fn unheard<F: Future>(task: F, also_log: bool) -> impl Future<Output = F::Output> {
    if dispatcher::has_been_set() || (also_log && is_heard_by_log()) {
        Either::Left(task.with_subscriber(NoSubscriber::new()))
    } else {
        Either::Right(task)
    }
}

/// Buffers a line.
pub(crate) fn buffer(level: Level, text: String) {
    let mut lines = lines();
    if lines.len() < MOST {
        lines.push(Line { level, text });
    }
}

/// Takes the buffered lines, and returns the warnings, each text once.
pub(crate) fn take_warnings() -> Vec<String> {
    warnings(std::mem::take(&mut *lines()))
}

fn warnings(lines: Vec<Line>) -> Vec<String> {
    let mut warnings = Vec::new();
    for Line { level, text } in lines {
        if level == Level::Warn && !warnings.contains(&text) {
            warnings.push(text);
        }
    }
    warnings
}

/// Takes the buffered warnings when nobody listens, and no run is left whose body may set up logging.
pub(crate) fn take_lost_warnings() -> Vec<String> {
    if WAITING.load(Relaxed) > 0 || is_heard() {
        return vec![];
    }
    take_warnings()
}

/// Writes a line to the standard error. Where that is not possible, nobody is there to read it; `eprintln` would panic.
pub(crate) fn print(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Logs the buffered lines.
pub(crate) fn replay() {
    let buffered = std::mem::take(&mut *lines());
    for Line { level, text } in buffered {
        // The level of a macro is fixed at compile time.
        match level {
            Level::Warn => tracing::warn!(target: CRATE, "{text}"),
            Level::Info => tracing::info!(target: CRATE, "{text}"),
        }
    }
}

fn lines() -> MutexGuard<'static, Vec<Line>> {
    lock(&LINES)
}

/// Logs an event of tracing, or buffers its text.
macro_rules! event {
    ($level:ident $event:ident $($arguments:tt)+) => {
        if $crate::logging::is_buffering() {
            let text = $crate::logging::text!([] $($arguments)+);
            $crate::logging::buffer($crate::logging::Level::$level, text);
        } else {
            tracing::$event!($($arguments)+);
        }
    };
}

/// The text of an event, which is its message and then its fields: `[fields]`, then the remaining arguments.
macro_rules! text {
    ([$($fields:tt)*] $format:literal $(, $($values:tt)*)?) => {
        format!($format $(, $($values)*)?) $($fields)*
    };
    ([$($fields:tt)*] % $name:ident, $($rest:tt)+) => {
        $crate::logging::text!([$($fields)* + &format!(concat!(" ", stringify!($name), "={}"), $name)] $($rest)+)
    };
    ([$($fields:tt)*] $name:ident = % $value:expr, $($rest:tt)+) => {
        $crate::logging::text!([$($fields)* + &format!(concat!(" ", stringify!($name), "={}"), $value)] $($rest)+)
    };
    ([$($fields:tt)*] $name:ident = $value:expr, $($rest:tt)+) => {
        $crate::logging::text!([$($fields)* + &format!(concat!(" ", stringify!($name), "={:?}"), $value)] $($rest)+)
    };
    ([$($fields:tt)*] $name:ident, $($rest:tt)+) => {
        $crate::logging::text!([$($fields)* + &format!(concat!(" ", stringify!($name), "={:?}"), $name)] $($rest)+)
    };
}

// `warn` is also the name of an attribute, hence `log_warn`.
macro_rules! log_warn {
    ($($arguments:tt)+) => { $crate::logging::event!(Warn warn $($arguments)+) };
}

macro_rules! log_info {
    ($($arguments:tt)+) => { $crate::logging::event!(Info info $($arguments)+) };
}

pub(crate) use {event, log_info as info, log_warn as warn, text};

#[cfg(test)]
mod tests {
    use super::{Level, Line, warnings};

    #[test]
    fn a_warning_is_returned_once() {
        let line = |level, text: &str| Line {
            level,
            text: text.to_owned(),
        };
        let lines = vec![
            line(Level::Warn, "a slip"),
            line(Level::Info, "connecting"),
            line(Level::Warn, "another slip"),
            line(Level::Warn, "a slip"),
        ];
        assert_eq!(warnings(lines), ["a slip", "another slip"]);
    }

    #[test]
    fn a_buffered_line_is_its_message_and_then_its_fields() {
        let (engine, error) = ("default", "refused");
        let text = text!([] engine, %error, tries = 3, url = %"sqlite:x", "a {} of {engine}", 1);
        assert_eq!(
            text,
            "a 1 of default engine=\"default\" error=refused tries=3 url=sqlite:x"
        );
        assert_eq!(text!([] "{error}"), "refused");
    }
}
