// The public API of poolhouse, as a test of tests/structure lists it.

// AcquireError

#[derive(thiserror::Error)]
pub struct AcquireError {
    _private: (),
}

debug_for_people!(
    Error, SettingsError, StartError, AcquireError, TransactionError, UsageError,
    TestError
);

impl AcquireError {
    pub fn kind(&self) -> AcquireKind {}
    pub fn find(error: &sqlx::Error) -> Option<&Self> {}
}

// AcquireKind

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AcquireKind {
    Closed,
    TimedOut,
    NoAnswer,
    Connect,
    NotStarted,
}

// Acquired

#[derive(Debug)]
pub struct Acquired<DB: Backend>(());

impl<DB: Backend> AsMut<DB::Connection> for Acquired<DB> {}

impl<DB: Backend> AsRef<DB::Connection> for Acquired<DB> {}

impl<DB: Backend> Deref for Acquired<DB> {
    type Target = DB::Connection;
}

impl<DB: Backend> DerefMut for Acquired<DB> {}

// AnyEngine

#[cfg(feature = "any")]
pub type AnyEngine = Engine<sqlx::Any>;

// Backend

pub trait Backend: Executes + sealed::Sealed {}

extractor! {
    [DB : Backend] Engine < DB >, Self, extract::default_name(), identity; [DB : Backend]
    Checkout < DB >, Self, extract::default_name(), identity; [DB : Backend]
    RequestTransaction < DB >, Self, extract::default_name(), identity; [N : EngineName,
    T : Extract] Named < N, T >, T, N::NAME, Named::new;
}

extractor! {
    [DB : Backend] Engine < DB >, Self, extract::default_name(), std::convert::identity;
    [DB : Backend] Checkout < DB >, Self, extract::default_name(),
    std::convert::identity; [DB : Backend] RequestTransaction < DB >, Self,
    extract::default_name(), std::convert::identity; [N : EngineName, T : Extract] Named
    < N, T >, T, N::NAME, Named::new;
}

guard! {
    [DB : Backend] Engine < DB >, Self, extract::default_name(), identity; [DB : Backend]
    Checkout < DB >, Self, extract::default_name(), identity; [DB : Backend]
    RequestTransaction < DB >, Self, extract::default_name(), identity; [N : EngineName,
    T : Extract] Named < N, T >, T, N::NAME, Named::new;
}

impl Backend for Any {}

impl Backend for MySql {}

impl Backend for Postgres {}

impl Backend for Sqlite {}

// Checkout

#[derive(Debug)]
#[must_use = "a checkout that is dropped at once goes back to the pool"]
pub struct Checkout<DB: Backend>(());

acquire!(Checkout < DB >, Checkout::session);

executor!(impl <'c > for &'c mut Checkout < DB >, Checkout::session, lend);

extractor! {
    [DB : Backend] Engine < DB >, Self, extract::default_name(), identity; [DB : Backend]
    Checkout < DB >, Self, extract::default_name(), identity; [DB : Backend]
    RequestTransaction < DB >, Self, extract::default_name(), identity; [N : EngineName,
    T : Extract] Named < N, T >, T, N::NAME, Named::new;
}

extractor! {
    [DB : Backend] Engine < DB >, Self, extract::default_name(), std::convert::identity;
    [DB : Backend] Checkout < DB >, Self, extract::default_name(),
    std::convert::identity; [DB : Backend] RequestTransaction < DB >, Self,
    extract::default_name(), std::convert::identity; [N : EngineName, T : Extract] Named
    < N, T >, T, N::NAME, Named::new;
}

guard! {
    [DB : Backend] Engine < DB >, Self, extract::default_name(), identity; [DB : Backend]
    Checkout < DB >, Self, extract::default_name(), identity; [DB : Backend]
    RequestTransaction < DB >, Self, extract::default_name(), identity; [N : EngineName,
    T : Extract] Named < N, T >, T, N::NAME, Named::new;
}

impl<DB: Backend> AsMut<DB::Connection> for Checkout<DB> {}

impl<DB: Backend> AsRef<DB::Connection> for Checkout<DB> {}

impl<DB: Backend> Checkout<DB> {
    pub fn close(mut self) -> impl Future<Output = sqlx::Result<()>> + Send {}
    pub fn detach(mut self) -> DB::Connection {}
}

impl<DB: Backend> Deref for Checkout<DB> {
    type Target = Session<DB>;
}

impl<DB: Backend> DerefMut for Checkout<DB> {}

impl<DB: Backend> Extract for Checkout<DB> {
    type Database = DB;
}

impl<DB: Backend> Parameter for Checkout<DB> {}

// CloseReport

#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseReport {
    pub engine: String,
    pub open: usize,
    pub ended: Vec<EndedHolder>,
    pub took: Duration,
    pub left: Option<Left>,
    pub unreachable: Option<String>,
}

impl CloseReport {
    pub fn is_clean(&self) -> bool {}
}

impl fmt::Display for CloseReport {}

// DatabaseUrl

#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DatabaseUrl {
    _private: (),
}

impl DatabaseUrl {
    pub fn scheme(&self) -> &str {}
    pub fn expose(&self) -> &str {}
}

impl FromStr for DatabaseUrl {
    type Err = ParseError;
}

impl fmt::Debug for DatabaseUrl {}

impl fmt::Display for DatabaseUrl {}

// EndedHolder

#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndedHolder {
    pub holder: String,
    pub held: Duration,
    pub session: Option<String>,
}

// Engine

pub struct Engine<DB: Backend>(());

executor!(impl <'c > for &'_ Engine < DB >, Engine::clone, take);

extractor! {
    [DB : Backend] Engine < DB >, Self, extract::default_name(), identity; [DB : Backend]
    Checkout < DB >, Self, extract::default_name(), identity; [DB : Backend]
    RequestTransaction < DB >, Self, extract::default_name(), identity; [N : EngineName,
    T : Extract] Named < N, T >, T, N::NAME, Named::new;
}

extractor! {
    [DB : Backend] Engine < DB >, Self, extract::default_name(), std::convert::identity;
    [DB : Backend] Checkout < DB >, Self, extract::default_name(),
    std::convert::identity; [DB : Backend] RequestTransaction < DB >, Self,
    extract::default_name(), std::convert::identity; [N : EngineName, T : Extract] Named
    < N, T >, T, N::NAME, Named::new;
}

guard! {
    [DB : Backend] Engine < DB >, Self, extract::default_name(), identity; [DB : Backend]
    Checkout < DB >, Self, extract::default_name(), identity; [DB : Backend]
    RequestTransaction < DB >, Self, extract::default_name(), identity; [N : EngineName,
    T : Extract] Named < N, T >, T, N::NAME, Named::new;
}

impl Engine<Postgres> {
    pub fn listener(
        &self,
    ) -> impl Future<Output = sqlx::Result<PgListener>> + Send + use<> {}
}

impl<DB: Backend> Clone for Engine<DB> {}

impl<DB: Backend> Engine<DB> {
    #[track_caller]
    pub fn begin(
        &self,
    ) -> impl Future<Output = sqlx::Result<Transaction<DB>>> + Send + use<DB> {}
    #[track_caller]
    pub fn begin_with(
        &self,
        statement: impl SqlSafeStr,
    ) -> impl Future<Output = sqlx::Result<Transaction<DB>>> + Send {}
}

impl<DB: Backend> Engine<DB> {
    #[track_caller]
    pub fn health(
        &self,
    ) -> impl Future<Output = Result<Health, Error>> + Send + use<DB> {}
    #[track_caller]
    pub fn health_within(
        &self,
        limit: Duration,
    ) -> impl Future<Output = Result<Health, Error>> + Send + use<DB> {}
}

impl<DB: Backend> Engine<DB> {
    #[track_caller]
    pub fn transaction<T, E, F>(
        &self,
        work: F,
    ) -> impl Future<Output = Result<T, E>> + Send + use<DB, T, E, F>
    where
        T: Send,
        E: From<sqlx::Error> + Send + 'static,
        F: Clone + Send + for<'t> Work<&'t mut Transaction<DB>, Result<T, E>, Fut: Send>,
    {}
    #[track_caller]
    pub fn transaction_with<T, E, R, F>(
        &self,
        options: TransactionOptions<R>,
        work: F,
    ) -> impl Future<Output = Result<T, E>> + Send + use<DB, T, E, R, F>
    where
        T: Send,
        E: From<sqlx::Error> + Send,
        R: Retry<E> + Send + Sync,
        F: Clone + Send + for<'t> Work<&'t mut Transaction<DB>, Result<T, E>, Fut: Send>,
    {}
    #[track_caller]
    pub fn scoped_transaction<T, E, F>(
        &self,
        work: F,
    ) -> impl Future<Output = Result<T, E>> + Send + use<DB, T, E, F>
    where
        T: Send,
        E: From<sqlx::Error> + Send + 'static,
        F: Clone + Send + for<'t> Work<&'t mut Transaction<DB>, Result<T, E>, Fut: Send>,
    {}
    pub fn is_conflict(&self, error: &(dyn std::error::Error + 'static)) -> bool {}
}

impl<DB: Backend> Engine<DB> {
    #[track_caller]
    pub fn try_acquire(
        &self,
    ) -> impl Future<Output = Option<Checkout<DB>>> + Send + use<DB> {}
    pub fn size(&self) -> usize {}
    pub fn num_idle(&self) -> usize {}
    pub fn is_closed(&self) -> bool {}
}

impl<DB: Backend> Engine<DB> {
    #[track_caller]
    pub fn write_mark(
        &self,
    ) -> impl Future<Output = Result<WriteMark<DB>, Error>> + Send + use<DB> {}
    #[track_caller]
    pub fn reader_after(
        &self,
        mark: &WriteMark<DB>,
        limit: Duration,
    ) -> impl Future<Output = Self> + Send + use<DB> {}
}

impl<DB: Backend> Engine<DB> {
    pub fn close_connection_pool(
        &self,
    ) -> impl Future<Output = CloseReport> + Send + '_ {}
}

impl<DB: Backend> Engine<DB> {
    pub fn in_transaction(&self) -> bool {}
}

impl<DB: Backend> Engine<DB> {
    pub fn migrate(
        &self,
        migrator: &Migrator,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<DB> {}
}

impl<DB: Backend> Engine<DB> {
    pub fn name(&self) -> &str {}
    #[track_caller]
    pub fn acquire(
        &self,
    ) -> impl Future<Output = sqlx::Result<Checkout<DB>>> + Send + use<DB> {}
    pub fn status(&self) -> Status {}
    pub fn resize(&self, max_size: NonZeroU32) -> Result<(), UsageError> {}
    pub fn evict(&self) {}
    pub fn server(&self) -> Option<Server> {}
    pub fn connect_options(&self) -> OptionsOf<DB> {}
    pub fn as_sqlx_pool(&self) -> Option<sqlx::Pool<DB>> {}
    pub fn require_pool(&self, required: bool) {}
}

impl<DB: Backend> Engine<DB> {
    pub fn node(&self, name: &str) -> Result<Self, Error> {}
    #[must_use]
    pub fn reader(&self) -> Self {}
}

impl<DB: Backend> Engine<DB> {
    pub fn readiness(&self) -> Readiness {}
}

impl<DB: Backend> Engine<DB> {
    pub fn recorded<F: Future>(
        &self,
        future: F,
    ) -> impl Future<Output = Recorded<F::Output>> + use<DB, F> {}
}

impl<DB: Backend> Engine<DB> {
    pub fn start_connection_pool(
        &self,
    ) -> impl Future<Output = Result<(), Error>> + Send + '_ {}
}

impl<DB: Backend> ErasedEngine for Engine<DB> {}

impl<DB: Backend> Extract for Engine<DB> {
    type Database = DB;
}

impl<DB: Backend> Parameter for Engine<DB> {}

impl<DB: Backend> fmt::Debug for Engine<DB> {}

// EngineName

#[cfg(any(feature = "axum", feature = "actix-web", feature = "rocket"))]
pub trait EngineName: 'static {
    const NAME: &'static str;
}

extractor! {
    [DB : Backend] Engine < DB >, Self, extract::default_name(), identity; [DB : Backend]
    Checkout < DB >, Self, extract::default_name(), identity; [DB : Backend]
    RequestTransaction < DB >, Self, extract::default_name(), identity; [N : EngineName,
    T : Extract] Named < N, T >, T, N::NAME, Named::new;
}

extractor! {
    [DB : Backend] Engine < DB >, Self, extract::default_name(), std::convert::identity;
    [DB : Backend] Checkout < DB >, Self, extract::default_name(),
    std::convert::identity; [DB : Backend] RequestTransaction < DB >, Self,
    extract::default_name(), std::convert::identity; [N : EngineName, T : Extract] Named
    < N, T >, T, N::NAME, Named::new;
}

guard! {
    [DB : Backend] Engine < DB >, Self, extract::default_name(), identity; [DB : Backend]
    Checkout < DB >, Self, extract::default_name(), identity; [DB : Backend]
    RequestTransaction < DB >, Self, extract::default_name(), identity; [N : EngineName,
    T : Extract] Named < N, T >, T, N::NAME, Named::new;
}

// Error

#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    Settings(Box<SettingsError>),
    Start(Box<StartError>),
    Acquire(AcquireError),
    Usage(UsageError),
    Test(Box<TestError>),
    Database(sqlx::Error),
}

debug_for_people!(
    Error, SettingsError, StartError, AcquireError, TransactionError, UsageError,
    TestError
);

impl From<AcquireError> for sqlx::Error {}

impl From<Error> for io::Error {}

impl From<Error> for sqlx::Error {}

impl From<SettingsError> for Error {}

impl From<StartError> for Error {}

impl From<TestError> for Error {}

impl From<TransactionError> for sqlx::Error {}

impl IntoResponse for Error {}

impl ResponseError for Error {}

impl std::error::Error for Diagnosed {}

impl std::error::Error for StartError {}

impl<'r> Responder<'r, 'static> for Error {}

words!(
    "\"off\", \"error\", \"warn\", \"info\", \"debug\" or \"trace\"", LogLevel : Off =
    "off", Error = "error", Warn = "warn", Info = "info", Debug = "debug", Trace =
    "trace"
);

// Health

#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    pub latency: Duration,
    pub status: Status,
}

// IntoDuration

pub trait IntoDuration: sealed::Sealed {}

impl IntoDuration for &str {}

impl IntoDuration for Duration {}

impl IntoDuration for String {}

// IntoWord

pub trait IntoWord<W>: sealed::Sealed<W> {}

impl<W: Word> IntoWord<W> for &str {}

impl<W: Word> IntoWord<W> for String {}

impl<W: Word> IntoWord<W> for W {}

// IsolationLevel

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IsolationLevel {
    ReadUncommitted,
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl FromStr for IsolationLevel {
    type Err = ParseError;
}

impl fmt::Display for IsolationLevel {}

// Left

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Left {
    NotStarted,
    Shared,
    StartCancelled,
}

// LogLevel

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

words!(
    "\"off\", \"error\", \"warn\", \"info\", \"debug\" or \"trace\"", LogLevel : Off =
    "off", Error = "error", Warn = "warn", Info = "info", Debug = "debug", Trace =
    "trace"
);

// MySqlEngine

#[cfg(feature = "mysql")]
pub type MySqlEngine = Engine<sqlx::MySql>;

// Named

#[cfg(any(feature = "axum", feature = "actix-web", feature = "rocket"))]
pub struct Named<N, T> {
    _private: (),
}

extractor! {
    [DB : Backend] Engine < DB >, Self, extract::default_name(), identity; [DB : Backend]
    Checkout < DB >, Self, extract::default_name(), identity; [DB : Backend]
    RequestTransaction < DB >, Self, extract::default_name(), identity; [N : EngineName,
    T : Extract] Named < N, T >, T, N::NAME, Named::new;
}

extractor! {
    [DB : Backend] Engine < DB >, Self, extract::default_name(), std::convert::identity;
    [DB : Backend] Checkout < DB >, Self, extract::default_name(),
    std::convert::identity; [DB : Backend] RequestTransaction < DB >, Self,
    extract::default_name(), std::convert::identity; [N : EngineName, T : Extract] Named
    < N, T >, T, N::NAME, Named::new;
}

guard! {
    [DB : Backend] Engine < DB >, Self, extract::default_name(), identity; [DB : Backend]
    Checkout < DB >, Self, extract::default_name(), identity; [DB : Backend]
    RequestTransaction < DB >, Self, extract::default_name(), identity; [N : EngineName,
    T : Extract] Named < N, T >, T, N::NAME, Named::new;
}

impl<N, T> Deref for Named<N, T> {
    type Target = T;
}

impl<N, T> DerefMut for Named<N, T> {}

impl<N, T> Named<N, T> {
    pub fn into_inner(self) -> T {}
}

impl<N: EngineName, T: fmt::Debug> fmt::Debug for Named<N, T> {}

// OnConflict

#[derive(Clone, Copy, Debug)]
pub struct OnConflict(());

impl<E: 'static> Retry<E> for OnConflict {}

// Outcome

pub trait Outcome: Sized + sealed::Sealed {}

impl Outcome for () {}

impl Outcome for ExitCode {}

impl<T, E: From<Error>> Outcome for Result<T, E> {}

// Parameter

pub trait Parameter: sealed::Sealed + Sized + Send + 'static {}

impl Parameter for Shutdown {}

impl<DB: Backend> Parameter for Checkout<DB> {}

impl<DB: Backend> Parameter for Engine<DB> {}

impl<DB: Backend> Parameter for sqlx::Pool<DB> {}

// ParseError

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ParseError {
    _private: (),
}

// PgEngine

#[cfg(feature = "postgres")]
pub type PgEngine = Engine<sqlx::Postgres>;

// Pooler

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pooler {
    PgBouncer,
}

words!("\"pgbouncer\"", Pooler : PgBouncer = "pgbouncer");

// QuerySpans

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum QuerySpans {
    Off,
    Debug,
    Info,
}

words!(
    "\"off\", \"debug\" or \"info\"", QuerySpans : Off = "off", Debug = "debug", Info =
    "info"
);

// Readiness

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Readiness {
    Starting,
    Ready,
    Saturated,
    Unreachable,
    Draining,
    Closed,
}

impl IntoResponse for Readiness {}

impl Readiness {
    pub fn is_ready(self) -> bool {}
    pub fn status(self) -> u16 {}
    #[must_use]
    pub fn and(self, other: Self) -> Self {}
}

impl Responder for Readiness {
    type Body = BoxBody;
}

impl fmt::Display for Readiness {}

impl<'r> Responder<'r, 'static> for Readiness {}

// RequestTransaction

#[cfg(feature = "web")]
#[must_use = "nothing begins until a statement is run in it"]
pub struct RequestTransaction<DB: Backend>(());

executor!(RequestTransaction < DB >);

extractor! {
    [DB : Backend] Engine < DB >, Self, extract::default_name(), identity; [DB : Backend]
    Checkout < DB >, Self, extract::default_name(), identity; [DB : Backend]
    RequestTransaction < DB >, Self, extract::default_name(), identity; [N : EngineName,
    T : Extract] Named < N, T >, T, N::NAME, Named::new;
}

extractor! {
    [DB : Backend] Engine < DB >, Self, extract::default_name(), std::convert::identity;
    [DB : Backend] Checkout < DB >, Self, extract::default_name(),
    std::convert::identity; [DB : Backend] RequestTransaction < DB >, Self,
    extract::default_name(), std::convert::identity; [N : EngineName, T : Extract] Named
    < N, T >, T, N::NAME, Named::new;
}

guard! {
    [DB : Backend] Engine < DB >, Self, extract::default_name(), identity; [DB : Backend]
    Checkout < DB >, Self, extract::default_name(), identity; [DB : Backend]
    RequestTransaction < DB >, Self, extract::default_name(), identity; [N : EngineName,
    T : Extract] Named < N, T >, T, N::NAME, Named::new;
}

impl<DB: Backend> Deref for RequestTransaction<DB> {
    type Target = RequestSession<DB>;
}

impl<DB: Backend> DerefMut for RequestTransaction<DB> {}

impl<DB: Backend> Extract for RequestTransaction<DB> {
    type Database = DB;
}

impl<DB: Backend> fmt::Debug for RequestTransaction<DB> {}

// Retry

pub trait Retry<E>: sealed::Sealed {}

impl<E, F: Fn(&E) -> bool> Retry<E> for RetryIf<F> {}

impl<E: 'static> Retry<E> for OnConflict {}

// RetryIf

#[derive(Clone, Copy)]
pub struct RetryIf<F>(());

impl<E, F: Fn(&E) -> bool> Retry<E> for RetryIf<F> {}

impl<F> fmt::Debug for RetryIf<F> {}

// RuntimeFlavor

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RuntimeFlavor {
    MultiThread,
    CurrentThread,
}

words!(
    "\"multi_thread\" or \"current_thread\"", RuntimeFlavor : MultiThread =
    "multi_thread", CurrentThread = "current_thread"
);

// Server

#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Server {
    pub kind: &'static str,
    pub version: String,
}

// Session

pub struct Session<DB: Backend> {
    _private: (),
}

acquire!(Session < DB >, std::convert::identity);

executor!(impl <'c > for &'c mut Session < DB >, identity, lend);

impl<DB: Backend> AsMut<DB::Connection> for Session<DB> {}

impl<DB: Backend> AsRef<DB::Connection> for Session<DB> {}

impl<DB: Backend> Deref for Session<DB> {
    type Target = DB::Connection;
}

impl<DB: Backend> DerefMut for Session<DB> {}

impl<DB: Backend> fmt::Debug for Session<DB> {}

// Settings

#[derive(Clone)]
pub struct Settings {
    _private: (),
}

impl Default for Settings {}

impl Settings {
    #[must_use]
    pub fn new() -> Self {}
}

impl Settings {
    #[must_use]
    pub fn node(self, name: impl Into<String>, settings: Settings) -> Self {}
}

impl Settings {
    #[track_caller]
    #[must_use]
    pub fn before_connect<O, F, Fut, E>(self, prepare: F) -> Self
    where
        O: Send + 'static,
        F: Fn(O) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, E>> + Send + 'static,
        E: Into<BoxDynError> + 'static,
    {}
}

impl Settings {
    #[track_caller]
    #[must_use]
    pub fn engine(self, name: impl Into<String>) -> Self {}
    #[track_caller]
    #[must_use]
    pub fn url(self, url: impl Into<String>) -> Self {}
    #[track_caller]
    #[must_use]
    pub fn env(self, variable: impl Into<String>) -> Self {}
}

impl Settings {
    #[track_caller]
    #[must_use]
    pub fn isolation(self, isolation: impl IntoWord<TestIsolation>) -> Self {}
}

impl Settings {
    #[track_caller]
    #[must_use]
    pub fn max_size(self, connections: u32) -> Self {}
    #[track_caller]
    #[must_use]
    pub fn min_size(self, connections: u32) -> Self {}
    #[track_caller]
    #[must_use]
    pub fn acquire_timeout(self, limit: impl IntoDuration) -> Self {}
    #[track_caller]
    #[must_use]
    pub fn connect_timeout(self, limit: impl IntoDuration) -> Self {}
    #[track_caller]
    #[must_use]
    pub fn start_timeout(self, limit: impl IntoDuration) -> Self {}
    #[track_caller]
    #[must_use]
    pub fn idle_timeout(self, limit: impl IntoDuration) -> Self {}
    #[track_caller]
    #[must_use]
    pub fn max_lifetime(self, limit: impl IntoDuration) -> Self {}
    #[track_caller]
    #[must_use]
    pub fn validate_after(self, idle: impl IntoDuration) -> Self {}
    #[track_caller]
    #[must_use]
    pub fn leak_after(self, held: impl IntoDuration) -> Self {}
    #[track_caller]
    #[must_use]
    pub fn close_timeout(self, limit: impl IntoDuration) -> Self {}
    #[track_caller]
    #[must_use]
    pub fn lazy(self, lazy: bool) -> Self {}
}

impl Settings {
    #[track_caller]
    #[must_use]
    pub fn migrations(self, directory: impl Into<PathBuf>) -> Self {}
    #[track_caller]
    #[must_use]
    pub fn migrator(
        self,
        migrator: impl Borrow<Migrator> + Send + Sync + 'static,
    ) -> Self {}
}

impl Settings {
    #[track_caller]
    #[must_use]
    pub fn pooler(self, pooler: impl IntoWord<Pooler>) -> Self {}
    #[track_caller]
    #[must_use]
    pub fn direct_url(self, url: impl Into<String>) -> Self {}
}

impl Settings {
    #[track_caller]
    #[must_use]
    pub fn shutdown_timeout(self, limit: impl IntoDuration) -> Self {}
    #[track_caller]
    #[must_use]
    pub fn drain_delay(self, delay: impl IntoDuration) -> Self {}
    #[track_caller]
    #[must_use]
    pub fn signals(self, listen: bool) -> Self {}
    #[track_caller]
    #[must_use]
    pub fn flavor(self, flavor: impl IntoWord<RuntimeFlavor>) -> Self {}
    #[track_caller]
    #[must_use]
    pub fn worker_threads(self, threads: usize) -> Self {}
}

impl Settings {
    #[track_caller]
    #[must_use]
    pub fn statement_cache(self, statements: u32) -> Self {}
    #[track_caller]
    #[must_use]
    pub fn application_name(self, name: impl Into<String>) -> Self {}
    #[track_caller]
    #[must_use]
    pub fn session(self, sql: impl Into<String>) -> Self {}
    #[track_caller]
    #[must_use]
    pub fn connect_with<O: 'static>(
        self,
        change: impl Fn(O) -> O + Send + Sync + 'static,
    ) -> Self {}
    #[track_caller]
    #[must_use]
    pub fn extensions<N: Into<String>>(
        self,
        names: impl IntoIterator<Item = N>,
    ) -> Self {}
    #[track_caller]
    #[must_use]
    pub fn log_queries(self, level: impl IntoWord<LogLevel>) -> Self {}
    #[track_caller]
    #[must_use]
    pub fn query_spans(self, level: impl IntoWord<QuerySpans>) -> Self {}
    #[track_caller]
    #[must_use]
    pub fn slow_query(self, threshold: impl IntoDuration) -> Self {}
}

impl fmt::Debug for Settings {}

// SettingsError

#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    #[non_exhaustive]
    NoUrl {
        engine: String,
        looked: String,
        variable: String,
        section: String,
        attribute: String,
    },
    #[non_exhaustive]
    UnknownEngine {
        engine: String,
        origin: String,
        known: String,
        hint: String,
        variable: String,
    },
    #[non_exhaustive]
    NodeWithoutUrl { engine: String, node: String, variable: String },
    #[non_exhaustive]
    MalformedUrl {
        engine: String,
        setting: &'static str,
        url: String,
        origin: String,
        reason: &'static str,
    },
    #[non_exhaustive]
    BadValue {
        engine: String,
        setting: &'static str,
        value: String,
        origin: String,
        accepts: &'static str,
    },
    #[non_exhaustive]
    MinAboveMax { engine: String, min_size: String, max_size: String },
    #[non_exhaustive]
    NoSession { engine: String, setting: String, pooler: String, cure: &'static str },
    #[non_exhaustive]
    Differ { engine: String, differences: String },
    #[non_exhaustive]
    Unused { engine: String, settings: String },
    #[non_exhaustive]
    ConnectWith {
        engine: String,
        setting: &'static str,
        origin: String,
        given: &'static str,
        wanted: &'static str,
    },
    #[non_exhaustive]
    Migrations { engine: String, migrations: String, reason: String },
    #[non_exhaustive]
    Syntax { path: String, line: usize, column: usize, message: String },
    #[non_exhaustive]
    UnknownName {
        path: String,
        line: usize,
        what: &'static str,
        name: String,
        hint: String,
    },
    #[non_exhaustive]
    Unreadable { path: String, reason: String },
    #[non_exhaustive]
    NoSuchFile { path: String, origin: String },
    #[non_exhaustive]
    UnknownProfile { profile: String, origin: String, path: String, known: Vec<String> },
    #[non_exhaustive]
    NoFileForProfile { profile: String, origin: String, directory: String },
    #[non_exhaustive]
    DotEnv { path: String, line: usize },
    #[non_exhaustive]
    NotUnicode { variable: String },
}

debug_for_people!(
    Error, SettingsError, StartError, AcquireError, TransactionError, UsageError,
    TestError
);

// Shutdown

#[derive(Clone, Debug)]
pub struct Shutdown {
    _private: (),
}

impl Parameter for Shutdown {}

impl Shutdown {
    pub fn wait(&self) -> impl Future<Output = ()> + Send + 'static {}
    pub fn is_set(&self) -> bool {}
    pub fn draining(&self) -> impl Future<Output = ()> + Send + 'static {}
    pub fn is_draining(&self) -> bool {}
    pub fn token(&self) -> CancellationToken {}
}

// SqliteEngine

#[cfg(feature = "sqlite")]
pub type SqliteEngine = Engine<sqlx::Sqlite>;

// StartError

#[derive(Clone)]
pub struct StartError {
    _private: (),
}

debug_for_people!(
    Error, SettingsError, StartError, AcquireError, TransactionError, UsageError,
    TestError
);

impl StartError {
    pub fn kind(&self) -> StartKind {}
    pub fn engine(&self) -> &str {}
}

impl fmt::Display for StartError {}

impl std::error::Error for StartError {}

// StartKind

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StartKind {
    Unavailable,
    Refused,
    Url,
    FeatureOff,
    WrongDatabase,
    Unsupported,
    Migrations,
    Cancelled,
}

// Status

#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    pub max: usize,
    pub size: usize,
    pub idle: usize,
    pub in_use: usize,
    pub waiting: usize,
    pub acquired: u64,
    pub acquired_empty: u64,
    pub cancelled: u64,
    pub timed_out: u64,
    pub wait_time: Duration,
    pub opened: u64,
    pub closed_lifetime: u64,
    pub closed_idle: u64,
    pub broken: u64,
}

impl fmt::Display for Status {}

// TestError

#[derive(Clone, thiserror::Error)]
pub struct TestError {
    _private: (),
}

debug_for_people!(
    Error, SettingsError, StartError, AcquireError, TransactionError, UsageError,
    TestError
);

impl TestError {
    pub fn kind(&self) -> TestKind {}
    pub fn engine(&self) -> &str {}
}

// TestIsolation

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TestIsolation {
    Database,
    Rollback,
    None,
}

words!(
    "\"database\", \"rollback\" or \"none\"", TestIsolation : Database = "database",
    Rollback = "rollback", None = "none"
);

// TestKind

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TestKind {
    Unavailable,
    Url,
    MissingRight,
    NotMade,
    Fixture,
    TransactionEnded,
}

// Transaction

#[must_use = "a transaction that is dropped is rolled back"]
pub struct Transaction<DB: Backend> {
    _private: (),
}

acquire!(Transaction < DB >, Transaction::session);

executor!(impl <'c > for &'c mut Transaction < DB >, Transaction::session, lend);

impl<DB: Backend> AsMut<DB::Connection> for Transaction<DB> {}

impl<DB: Backend> Deref for Transaction<DB> {
    type Target = Session<DB>;
}

impl<DB: Backend> DerefMut for Transaction<DB> {}

impl<DB: Backend> Drop for Transaction<DB> {}

impl<DB: Backend> IsTransaction for Transaction<DB> {
    type Database = DB;
}

impl<DB: Backend> Transaction<DB> {
    pub fn on_commit(&mut self, work: impl Future<Output = ()> + Send + 'static) {}
    pub fn begin_nested(
        &mut self,
    ) -> impl Future<Output = sqlx::Result<sqlx::Transaction<'_, DB>>> + Send {}
    pub fn commit(self) -> impl Future<Output = sqlx::Result<()>> + Send {}
    pub fn rollback(mut self) -> impl Future<Output = sqlx::Result<()>> + Send {}
}

impl<DB: Backend> Transaction<DB> {
    pub fn transaction<T, E, F>(
        &mut self,
        work: F,
    ) -> impl Future<Output = Result<T, E>> + Send
    where
        T: Send,
        E: From<sqlx::Error> + Send,
        F: Send + for<'t> Work<&'t mut Transaction<DB>, Result<T, E>, Fut: Send>,
    {}
}

impl<DB: Backend> fmt::Debug for Transaction<DB> {}

// TransactionError

#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    #[non_exhaustive]
    RetriesRanOut { engine: String, attempts: usize, last: String },
    #[non_exhaustive]
    OutcomeUnknown { engine: String, cause: sqlx::Error },
    #[non_exhaustive]
    Unsupported { engine: String, database: &'static str, option: &'static str },
    #[non_exhaustive]
    TimedOut { engine: String, timeout: Duration },
    #[non_exhaustive]
    NoTime { engine: String },
    #[non_exhaustive]
    Setting { engine: String, names: String, cause: sqlx::Error },
    #[non_exhaustive]
    Outside { engine: String },
    #[non_exhaustive]
    Inside { engine: String },
    #[non_exhaustive]
    CannotJoin { engine: String, option: String },
    CancelledInside,
    #[non_exhaustive]
    UnreadAnswer { engine: String },
    #[non_exhaustive]
    AfterConflict { last: String },
    #[non_exhaustive]
    Lost { engine: String },
    #[non_exhaustive]
    EndedInside { engine: String, database: &'static str, statement: &'static str },
    #[non_exhaustive]
    InUse { engine: String },
    #[cfg(feature = "web")]
    #[non_exhaustive]
    Held { engine: String, request: String },
    #[cfg(feature = "web")]
    #[non_exhaustive]
    PartlyCommitted { engine: String, committed: Vec<String>, cause: sqlx::Error },
    #[cfg(feature = "web")]
    #[non_exhaustive]
    RequestOver { engine: String, request: String },
}

debug_for_people!(
    Error, SettingsError, StartError, AcquireError, TransactionError, UsageError,
    TestError
);

impl TransactionError {
    pub fn find(error: &sqlx::Error) -> Option<&Self> {}
}

// TransactionOptions

#[derive(Clone)]
#[must_use]
pub struct TransactionOptions<R = OnConflict> {
    _private: (),
}

impl Default for TransactionOptions {}

impl TransactionOptions {
    pub fn new() -> Self {}
}

impl<R> TransactionOptions<R> {
    pub fn isolation(mut self, level: IsolationLevel) -> Self {}
    pub fn read_only(mut self) -> Self {}
    pub fn deferrable(mut self) -> Self {}
    pub fn retries(mut self, retries: usize) -> Self {}
    pub fn timeout(mut self, limit: Duration) -> Self {}
    pub fn local(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {}
    pub fn join(mut self) -> Self {}
    pub fn mandatory(mut self) -> Self {}
    pub fn durable(mut self) -> Self {}
    pub fn retry_if<E, F>(self, again: F) -> TransactionOptions<RetryIf<F>>
    where
        F: Fn(&E) -> bool,
    {}
}

impl<R> fmt::Debug for TransactionOptions<R> {}

// TransactionParent

pub trait TransactionParent<DB: Backend>: Send + sealed::Sealed {}

impl<DB: Backend> TransactionParent<DB> for &Engine<DB> {}

impl<DB: Backend> TransactionParent<DB> for &mut Transaction<DB> {}

// UsageError

#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum UsageError {
    #[non_exhaustive]
    NoRuntime { engine: String },
    #[non_exhaustive]
    NotStarted { engine: String },
    #[non_exhaustive]
    OnSqlx { engine: String },
    #[non_exhaustive]
    TooLarge { engine: String, size: u32, most: u32 },
    #[non_exhaustive]
    GenericBegin { engine: String },
    #[non_exhaustive]
    UnknownNode {
        engine: String,
        node: String,
        known: String,
        hint: String,
        section: String,
    },
    #[non_exhaustive]
    Listen { engine: String, pooler: String },
    #[non_exhaustive]
    Migrate { engine: String, pooler: String },
    #[cfg(feature = "web")]
    #[non_exhaustive]
    NoRequestTransactions { engine: String, line: &'static str },
    #[cfg(feature = "web")]
    #[non_exhaustive]
    NoEngine { engine: String, line: &'static str },
    #[non_exhaustive]
    Runtime { reason: String },
}

debug_for_people!(
    Error, SettingsError, StartError, AcquireError, TransactionError, UsageError,
    TestError
);

// Work

pub trait Work<A, R>: AsyncFnOnce(A) -> R + FnOnce(A) -> <Self as Work<A, R>>::Fut {
    type Fut: Future<Output = R>;
}

impl<F, A, R, Fut> Work<A, R> for F
where
    F: AsyncFnOnce(A) -> R + FnOnce(A) -> Fut,
    Fut: Future<Output = R>,
{
    type Fut = Fut;
}

// WriteMark

pub struct WriteMark<DB: Backend> {
    _private: (),
}

impl<DB: Backend> Clone for WriteMark<DB> {}

impl<DB: Backend> Eq for WriteMark<DB> {}

impl<DB: Backend> FromStr for WriteMark<DB> {
    type Err = ParseError;
}

impl<DB: Backend> PartialEq for WriteMark<DB> {}

impl<DB: Backend> fmt::Debug for WriteMark<DB> {}

impl<DB: Backend> fmt::Display for WriteMark<DB> {}

// actix_web::RequestTransactionsMiddleware

#[derive(Debug)]
pub struct RequestTransactionsMiddleware<S> {
    _private: (),
}

impl<S, B> Service<ServiceRequest> for RequestTransactionsMiddleware<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = actix_web::Error>,
    S::Future: 'static,
    B: 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = actix_web::Error;
    type Future = LocalBoxFuture<'static, Result<Self::Response, actix_web::Error>>;
}

// actix_web::RequestTransactionsTransform

#[derive(Clone, Debug)]
pub struct RequestTransactionsTransform {
    _private: (),
}

impl<S, B> Transform<S, ServiceRequest> for RequestTransactionsTransform
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = actix_web::Error>,
    S::Future: 'static,
    B: 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = actix_web::Error;
    type Transform = RequestTransactionsMiddleware<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;
}

// actix_web::readiness

pub fn readiness(request: HttpRequest) -> Ready<Readiness> {}

// actix_web::request_transactions

pub fn request_transactions() -> RequestTransactionsTransform {}

// axum::RequestTransactionsLayer

#[derive(Clone, Debug)]
pub struct RequestTransactionsLayer {
    _private: (),
}

impl<S> Layer<S> for RequestTransactionsLayer {
    type Service = RequestTransactionsService<S>;
}

// axum::RequestTransactionsService

#[derive(Clone, Debug)]
pub struct RequestTransactionsService<S> {
    _private: (),
}

impl<S, B> Service<Request<B>> for RequestTransactionsService<S>
where
    S: Service<Request<B>, Response: IntoResponse, Error: Send, Future: Send + 'static>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response, S::Error>>;
}

// axum::readiness

pub fn readiness(
    request: axum_core::extract::Request,
) -> impl Future<Output = Readiness> + Send + 'static {}

// axum::request_transactions

pub fn request_transactions() -> RequestTransactionsLayer {}

// engine_finder

#[track_caller]
pub fn engine_finder<DB: Backend>() -> Result<Engine<DB>, Error> {}

// engine_finder_with

#[track_caller]
pub fn engine_finder_with<DB: Backend>(
    settings: &Settings,
) -> Result<Engine<DB>, Error> {}

// readiness

pub fn readiness() -> Readiness {}

// rocket::RequestTransactionsFairing

#[derive(Clone, Debug)]
pub struct RequestTransactionsFairing {
    _private: (),
}

impl Fairing for RequestTransactionsFairing {}

// rocket::readiness

pub fn readiness() -> Vec<Route> {}

// rocket::request_transactions

pub fn request_transactions() -> RequestTransactionsFairing {}

// sqlx

pub use sqlx;

// testing::Cancelled

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cancelled {
    pub points: usize,
    pub changes: bool,
}

// testing::Completed

pub trait Completed {}

impl Completed for () {}

impl<T, E: Debug> Completed for Result<T, E> {}

// testing::End

#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    Completed,
    Failed(String),
    Dropped,
}

// testing::Recorded

#[derive(Debug)]
#[non_exhaustive]
pub struct Recorded<T> {
    pub output: T,
    pub statements: Vec<Statement>,
    _private: (),
}

impl<T> Recorded<T> {
    pub fn count(&self) -> usize {}
    pub fn counts(&self) -> Vec<(&str, usize)> {}
    #[track_caller]
    pub fn at_most(&self, statements: usize) -> &Self {}
}

impl<T> fmt::Display for Recorded<T> {}

// testing::Seeded

pub trait Seeded {}

impl Seeded for () {}

impl<E: fmt::Display> Seeded for Result<(), E> {}

// testing::Statement

#[derive(Clone)]
pub struct Statement {
    _private: (),
}

impl Statement {
    pub fn sql(&self) -> Option<&str> {}
    pub fn end(&self) -> &End {}
    pub fn is_of_another_task(&self) -> bool {}
    pub fn location(&self) -> Option<String> {}
}

impl fmt::Debug for Statement {}

// testing::TestDatabase

#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TestDatabase {
    pub name: String,
    pub state: TestDatabaseState,
}

impl fmt::Display for TestDatabase {}

// testing::TestDatabaseState

#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TestDatabaseState {
    Template,
    Ready,
    InUse,
    Left,
    Kept,
}

// testing::cancel_everywhere

pub async fn cancel_everywhere<F, Fut>(mut work: F) -> Cancelled
where
    F: FnMut() -> Fut,
    Fut: Future,
    Fut::Output: Completed,
{}

// testing::remove_test_databases

pub fn remove_test_databases<DB: Backend>(
    engine: &Engine<DB>,
) -> impl Future<Output = Result<Vec<TestDatabase>, Error>> + Send + '_ {}

// testing::test_databases

pub fn test_databases<DB: Backend>(
    engine: &Engine<DB>,
) -> impl Future<Output = Result<Vec<TestDatabase>, Error>> + Send + '_ {}

// transactional

pub use poolhouse_macros::transactional;

// wait_closed

pub async fn wait_closed() {}

// web::Answer

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<Duration>,
}

impl Answer {
    pub fn to(error: &Error) -> Self {}
}

// web::Extract

#[cfg(any(feature = "axum", feature = "actix-web", feature = "rocket"))]
pub trait Extract: sealed::Sealed + Send + Sized + 'static {
    type Database: Backend;
}

extractor! {
    [DB : Backend] Engine < DB >, Self, extract::default_name(), identity; [DB : Backend]
    Checkout < DB >, Self, extract::default_name(), identity; [DB : Backend]
    RequestTransaction < DB >, Self, extract::default_name(), identity; [N : EngineName,
    T : Extract] Named < N, T >, T, N::NAME, Named::new;
}

extractor! {
    [DB : Backend] Engine < DB >, Self, extract::default_name(), std::convert::identity;
    [DB : Backend] Checkout < DB >, Self, extract::default_name(),
    std::convert::identity; [DB : Backend] RequestTransaction < DB >, Self,
    extract::default_name(), std::convert::identity; [N : EngineName, T : Extract] Named
    < N, T >, T, N::NAME, Named::new;
}

guard! {
    [DB : Backend] Engine < DB >, Self, extract::default_name(), identity; [DB : Backend]
    Checkout < DB >, Self, extract::default_name(), identity; [DB : Backend]
    RequestTransaction < DB >, Self, extract::default_name(), identity; [N : EngineName,
    T : Extract] Named < N, T >, T, N::NAME, Named::new;
}

impl<DB: Backend> Extract for Checkout<DB> {
    type Database = DB;
}

impl<DB: Backend> Extract for Engine<DB> {
    type Database = DB;
}

impl<DB: Backend> Extract for RequestTransaction<DB> {
    type Database = DB;
}

// web::RequestSession

pub struct RequestSession<DB: Backend> {
    _private: (),
}

executor!(RequestSession < DB >);

impl<DB: Backend> Drop for RequestSession<DB> {}

impl<DB: Backend> RequestSession<DB> {
    pub fn begin(
        &mut self,
    ) -> impl Future<Output = sqlx::Result<TransactionGuard<'_, DB>>> + Send {}
    pub fn engine(&self) -> &Engine<DB> {}
}

impl<DB: Backend> fmt::Debug for RequestSession<DB> {}

// web::RequestTransactions

#[derive(Clone, Default)]
pub struct RequestTransactions(());

impl RequestTransactions {
    pub fn new() -> Self {}
    pub fn of<DB: Backend>(
        &self,
        engine: &Engine<DB>,
        request: &str,
    ) -> sqlx::Result<RequestTransaction<DB>> {}
    pub async fn serve<T>(
        &self,
        work: impl Future<Output = T>,
        commit: impl FnOnce(&T) -> bool,
    ) -> Result<T, Error> {}
}

impl fmt::Debug for RequestTransactions {}

tokio::task_local! {
    #[doc = " The transactions of the request that the running future serves."] static
    CURRENT : RequestTransactions;
}

// web::TransactionGuard

#[derive(Debug)]
#[must_use = "the transaction returns to the request when this is dropped"]
pub struct TransactionGuard<'t, DB: Backend> {
    _private: (),
}

impl<DB: Backend> Deref for TransactionGuard<'_, DB> {
    type Target = Transaction<DB>;
}

impl<DB: Backend> DerefMut for TransactionGuard<'_, DB> {}

impl<DB: Backend> Drop for TransactionGuard<'_, DB> {}

// with_pool

pub use poolhouse_macros::with_pool;

