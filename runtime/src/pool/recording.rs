//! Recordings of the statements that run while a test's future runs.
//!
//! The checkout that runs a statement notes it when the driver gets it. Without a recording, this costs one load of an
//! atomic number.

use std::backtrace::Backtrace;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use sqlx::SqlStr;

use crate::lock::lock;
use crate::settings::EngineSettings;

/// The active recordings.
static RECORDINGS: Mutex<Vec<Arc<Recording>>> = Mutex::new(Vec::new());

/// The number of active recordings, so that a statement takes the lock only if there is one.
static RECORDING: AtomicUsize = AtomicUsize::new(0);

/// The driver's connections that are borrowed, or were until a moment ago. Locked for assignments alone.
static BORROWED: Mutex<Vec<DriverBorrow>> = Mutex::new(Vec::new());

/// A driver's connection that is borrowed.
struct DriverBorrow {
    /// The [`Recorder::borrowed`] of the connection.
    still: Weak<AtomicBool>,
    settings: Weak<EngineSettings>,
    location: Option<&'static Location<'static>>,
}

impl DriverBorrow {
    fn is_still(&self) -> bool {
        self.still
            .upgrade()
            .is_some_and(|still| still.load(Relaxed))
    }
}

tokio::task_local! {
    /// The recordings that the current code runs inside of.
    static AROUND: Vec<Arc<Recording>>;
}

/// The statements of one engine, while one future runs.
pub(crate) struct Recording {
    /// Settings of the engine and of its nodes. A connection has those of one of them.
    engines: Vec<Arc<EngineSettings>>,
    entries: Mutex<Vec<Arc<StatementEntry>>>,
}

impl Recording {
    /// Runs the future, and returns its output and the statements that ran on the engine.
    ///
    /// # Cancellation
    ///
    /// The recording ends when the future is dropped.
    pub(crate) async fn around<F: Future>(
        engines: Vec<Arc<EngineSettings>>,
        future: F,
    ) -> (F::Output, Vec<Statement>) {
        let recording = Arc::new(Self {
            engines,
            entries: Mutex::default(),
        });
        let _registered = Registered::new(&recording);
        recording.note_borrowed_before();
        let mut around = AROUND.try_with(Clone::clone).unwrap_or_default();
        around.push(Arc::clone(&recording));
        let output = AROUND.scope(around, future).await;
        let statements = recording.entries().iter().map(Statement::of).collect();
        (output, statements)
    }

    /// Notes the driver's connections that were borrowed before the recording and may still be: a `&mut **checkout` in the
    /// arguments of the recorded call is evaluated before the call's future is polled.
    fn note_borrowed_before(self: &Arc<Self>) {
        let is_ours = |one: &&DriverBorrow| {
            let settings = one.settings.upgrade();
            one.is_still() && settings.is_some_and(|settings| self.is_of(&settings))
        };
        let locations: Vec<_> = {
            let all = lock(&BORROWED);
            all.iter().filter(is_ours).map(|one| one.location).collect()
        };
        let listeners = Listeners {
            recordings: vec![Arc::clone(self)],
            elsewhere: false,
        };
        for location in locations {
            listeners.enter(What::Borrowed, location);
        }
    }

    fn is_of(&self, settings: &Arc<EngineSettings>) -> bool {
        self.engines
            .iter()
            .any(|engine| Arc::ptr_eq(engine, settings))
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Arc<StatementEntry>>> {
        lock(&self.entries)
    }
}

/// Keeps a recording active until dropped.
struct Registered<'a>(&'a Arc<Recording>);

impl<'a> Registered<'a> {
    fn new(recording: &'a Arc<Recording>) -> Self {
        recordings().push(Arc::clone(recording));
        RECORDING.fetch_add(1, Relaxed);
        Self(recording)
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        RECORDING.fetch_sub(1, Relaxed);
        recordings().retain(|recording| !Arc::ptr_eq(recording, self.0));
    }
}

fn recordings() -> MutexGuard<'static, Vec<Arc<Recording>>> {
    lock(&RECORDINGS)
}

/// Whether a recording is active.
fn is_on() -> bool {
    RECORDING.load(Relaxed) > 0
}

/// The recorded operation of a connection.
#[derive(Default)]
pub(super) struct Recorder {
    work: Mutex<RecordedWork>,
    /// Whether the driver's connection may be borrowed: it was, and the checkout has neither run anything since nor ended.
    borrowed: Arc<AtomicBool>,
}

/// The operation that runs on a connection now.
#[derive(Default)]
struct RecordedWork {
    listeners: Listeners,
    statement: Option<Arc<StatementEntry>>,
}

impl Recorder {
    /// Begins an operation, in the task that it is for.
    pub(super) fn begin(&self, settings: &Arc<EngineSettings>) {
        self.no_longer_borrowed();
        if is_on() {
            *self.lock() = RecordedWork {
                listeners: Listeners::of(settings),
                statement: None,
            };
        }
    }

    /// Notes the operation's statement. `location` is where its connection was checked out, if known.
    pub(super) fn note(
        &self,
        sql: &SqlStr,
        location: impl FnOnce() -> Option<&'static Location<'static>>,
    ) {
        if is_on() {
            let mut work = self.lock();
            let what = What::Statement(sql.clone());
            work.statement = work.listeners.enter(what, location());
        }
    }

    /// Notes how the operation ended. Not called if its future or stream is dropped.
    pub(super) fn end(&self, error: Option<&sqlx::Error>) {
        if is_on()
            && let Some(statement) = std::mem::take(&mut *self.lock()).statement
        {
            statement.ended(error);
        }
    }

    /// Notes that the driver's connection is borrowed. Statements on it are not recorded. `location` is where the connection
    /// was checked out, if known.
    pub(super) fn note_borrowed(
        &self,
        settings: &Arc<EngineSettings>,
        location: Option<&'static Location<'static>>,
    ) {
        if !self.borrowed.swap(true, Relaxed) {
            let own = Arc::downgrade(&self.borrowed);
            let mut all = lock(&BORROWED);
            all.retain(|one| one.is_still() && !one.still.ptr_eq(&own));
            all.push(DriverBorrow {
                still: own,
                settings: Arc::downgrade(settings),
                location,
            });
        }
        if is_on() {
            Listeners::of(settings).enter(What::Borrowed, location);
        }
    }

    /// Notes that nothing borrows the driver's connection any more.
    pub(super) fn no_longer_borrowed(&self) {
        self.borrowed.store(false, Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, RecordedWork> {
        lock(&self.work)
    }
}

/// The recordings of an operation, and whether it runs in another task.
///
/// An operation inside of a recording belongs to that one. Any other, such as that of a spawned task, belongs to every
/// recording of the engine, because each may have caused it.
#[derive(Default)]
struct Listeners {
    recordings: Vec<Arc<Recording>>,
    elsewhere: bool,
}

impl Listeners {
    fn of(settings: &Arc<EngineSettings>) -> Self {
        let concerned = |recordings: &[Arc<Recording>]| -> Vec<_> {
            recordings
                .iter()
                .filter(|recording| recording.is_of(settings))
                .cloned()
                .collect()
        };
        let around = AROUND
            .try_with(|around| concerned(around))
            .unwrap_or_default();
        if !around.is_empty() {
            return Self {
                recordings: around,
                elsewhere: false,
            };
        }
        Self {
            recordings: concerned(&recordings()),
            elsewhere: true,
        }
    }

    fn enter(
        &self,
        what: What,
        location: Option<&'static Location<'static>>,
    ) -> Option<Arc<StatementEntry>> {
        if self.recordings.is_empty() {
            return None;
        }
        let entry = Arc::new(StatementEntry {
            what,
            elsewhere: self.elsewhere,
            checkout: location,
            trace: Backtrace::force_capture(),
            end: Mutex::new(End::Dropped),
        });
        for recording in &self.recordings {
            recording.entries().push(Arc::clone(&entry));
        }
        Some(entry)
    }
}

/// One statement that has begun.
struct StatementEntry {
    what: What,
    elsewhere: bool,
    checkout: Option<&'static Location<'static>>,
    /// Without symbol names, which are resolved on demand.
    trace: Backtrace,
    end: Mutex<End>,
}

enum What {
    Statement(SqlStr),
    Borrowed,
}

impl StatementEntry {
    fn ended(&self, error: Option<&sqlx::Error>) {
        let end = error.map_or(End::Completed, |error| End::Failed(error.to_string()));
        *lock(&self.end) = end;
    }
}

/// How a recorded statement ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// Its result was read to the end.
    Completed,
    /// It failed with this error.
    Failed(String),
    /// Its future or stream was dropped before its end, or still runs.
    Dropped,
}

/// A statement that ran while a test recorded.
#[derive(Clone)]
pub struct Statement {
    entry: Arc<StatementEntry>,
    end: End,
}

impl Statement {
    fn of(entry: &Arc<StatementEntry>) -> Self {
        // Nothing panics while the lock is held.
        let end = lock(&entry.end).clone();
        Self {
            entry: Arc::clone(entry),
            end,
        }
    }

    /// The statement's text, as given to sqlx. [`None`]: the driver's connection was borrowed here (`&mut **checkout`), and
    /// statements on it were not recorded.
    pub fn sql(&self) -> Option<&str> {
        match &self.entry.what {
            What::Statement(sql) => Some(sql.as_str()),
            What::Borrowed => None,
        }
    }

    /// How the statement had ended when the recording ended.
    pub fn end(&self) -> &End {
        &self.end
    }

    /// Whether another task than the recording one ran the statement: a spawned task, or an unrelated one.
    pub fn is_of_another_task(&self) -> bool {
        self.entry.elsewhere
    }

    /// The location of the code that ran the statement, as `src/pay.rs:41`: the innermost stack frame that is not in this
    /// crate, sqlx, tokio or the standard library. In a program without line tables (`debug = 0`) it is the function, as
    /// `shop::pay`. Without names in the program, it is where the checkout was taken.
    ///
    /// The stack's names are resolved here, which takes some time in the first call of a process.
    pub fn location(&self) -> Option<String> {
        let taken = || {
            self.entry
                .checkout
                .map(|location| format!("{}:{}", location.file(), location.line()))
        };
        location_in(&self.entry.trace.to_string()).or_else(taken)
    }
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statement")
            .field("sql", &self.sql())
            .field("end", &self.end)
            .field("location", &self.location())
            .field("of_another_task", &self.is_of_another_task())
            .finish_non_exhaustive()
    }
}

/// The innermost location of the user's code in a printed stack.
///
/// Each frame is a line `7: some::function` and, if known, a line `at /some/file.rs:12:34` below it.
fn location_in(trace: &str) -> Option<String> {
    let mut lines = trace.lines().map(str::trim).peekable();
    while let Some(line) = lines.next() {
        let Some((_, function)) = line.split_once(": ") else {
            continue;
        };
        let location = lines
            .next_if(|line| line.starts_with("at "))
            .and_then(|at| {
                let (file_and_line, _) = at["at ".len()..].rsplit_once(':')?;
                let (file, line) = file_and_line.rsplit_once(':')?;
                Some((file.strip_prefix("./").unwrap_or(file), line))
            });
        if is_foreign(function, location.map(|(file, _)| file)) {
            continue;
        }
        return Some(location.map_or_else(
            || function.replace("::{{closure}}", ""),
            |(file, line)| format!("{file}:{line}"),
        ));
    }
    None
}

/// Crates whose frames are between a statement and the code that runs it.
const FOREIGN_CRATES: [&str; 8] = [
    "alloc",
    "async_stream",
    "core",
    "poolhouse",
    "std",
    "test",
    "tokio",
    "tracing",
];

/// Prefixes of the names of further such crates.
const FOREIGN_FAMILIES: [&str; 2] = ["sqlx", "futures"];

/// Where the sources of the standard library and of dependencies are, below any `CARGO_HOME`.
const FOREIGN_FOLDERS: [&str; 3] = ["/rustc/", "/registry/src/", "/git/checkouts/"];

/// This crate's own sources.
const OWN_FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

/// Whether a source file is not the user's. A printed stack shortens the names of files below the working directory.
fn is_foreign_file(file: &str) -> bool {
    FOREIGN_FOLDERS.iter().any(|folder| file.contains(folder))
        || std::env::current_dir().is_ok_and(|here| here.join(file).starts_with(OWN_FOLDER))
}

/// Whether a frame is not the user's: `core::ops::call`, `<tokio::Task<T> as core::future::Future>::poll`, `start_thread`.
///
/// The name of a function that was inlined, `{async_fn#0}<shop::Cart>`, has no crate of its own; there the file decides.
fn is_foreign(function: &str, file: Option<&str>) -> bool {
    if file.is_some_and(is_foreign_file) {
        return true;
    }
    let crate_of = |path: &str| {
        let (name, _) = path.trim_start_matches(['<', '&']).split_once("::")?;
        // `crate[0123456789abcdef]`, where the compiler tells versions apart.
        let name = name.split('[').next().unwrap_or(name);
        let is_a_name = name.chars().all(|c| c.is_alphanumeric() || c == '_');
        is_a_name.then(|| name.to_owned())
    };
    let is_foreign_crate = |name: &String| {
        FOREIGN_CRATES.contains(&name.as_str())
            || FOREIGN_FAMILIES
                .iter()
                .any(|family| name.starts_with(family))
    };
    // A method of a trait is the user's when the type or the trait is.
    let (subject, of_trait) = match function.split_once(" as ") {
        Some((subject, of_trait)) if function.starts_with('<') => (subject, Some(of_trait)),
        _ => (function, None),
    };
    let crates: Vec<String> = [Some(subject), of_trait]
        .into_iter()
        .flatten()
        .filter_map(crate_of)
        .collect();
    if crates.is_empty() {
        // An inlined function, one of C, or one of a type parameter alone.
        let extension = file.and_then(|file| Path::new(file).extension());
        return extension.is_none_or(|extension| extension != "rs");
    }
    crates.iter().all(is_foreign_crate)
}

#[cfg(test)]
mod tests {
    use super::{OWN_FOLDER, location_in};

    #[test]
    fn the_location_is_the_innermost_one_of_the_user() {
        let trace = "   0: std::backtrace::Backtrace::force_capture
   1: poolhouse::pool::recording::Listeners::enter
             at /home/u/.cargo/registry/src/x/poolhouse-0.1.0/src/pool/recording.rs:1:1
   2: <poolhouse::engine::executor::Noted<E> as sqlx_core::executor::Execute>::sql
             at ./runtime/src/engine/executor.rs:28:1
   3: sqlx_postgres::connection::executor::fetch_many
             at /home/u/.cargo/registry/src/x/sqlx-postgres-0.9.0/src/connection/executor.rs:9:1
   4: <core::pin::Pin<P> as core::future::future::Future>::poll
             at /rustc/abc/library/core/src/future/future.rs:133:9
   5: sqlx_core::query::execute
             at ./vendor/sqlx-core/src/query.rs:2:2
   6: shop::pay::{{closure}}
             at ./shop/pay.rs:41:10
   7: shop::main
             at ./shop/main.rs:3:1";
        assert_eq!(location_in(trace).as_deref(), Some("shop/pay.rs:41"));
    }

    #[test]
    fn the_file_decides_about_an_inlined_function() {
        let trace = format!(
            "   0: {{async_fn#0}}<sqlx_sqlite::database::Sqlite>
             at {OWN_FOLDER}/engine/executor.rs:46:24
   1: {{async_fn#0}}
             at ./src/pool/checkout.rs:163:59
   2: {{async_fn#0}}
             at /usr/local/cargo/registry/src/x/sqlx-sqlite-0.9.0/src/statement.rs:3:1
   3: {{async_fn#0}}<sqlx_sqlite::database::Sqlite>
             at ./shop/pay.rs:41:10"
        );
        assert_eq!(location_in(&trace).as_deref(), Some("shop/pay.rs:41"));
    }

    #[test]
    fn without_lines_it_is_the_function() {
        let trace = "   0: poolhouse::pool::recording::Listeners::enter
   1: <&mut F as core::future::future::Future>::poll
   2: <alloc::vec::Vec<shop::Cart> as core::iter::Iterator>::next
   3: <poolhouse::engine::Engine<DB> as shop::Till>::pay::{{closure}}
   4: start_thread
             at ./nptl/pthread_create.c:442:8";
        assert_eq!(
            location_in(trace).as_deref(),
            Some("<poolhouse::engine::Engine<DB> as shop::Till>::pay")
        );
        assert_eq!(location_in("   0: std::thread\n   1: main"), None);
    }
}
