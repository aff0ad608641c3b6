//! Opening and closing a connection.

use std::borrow::Cow;
use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

#[cfg(feature = "postgres")]
use futures_core::future::BoxFuture;
use sqlx::error::DatabaseError;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqlSafeStr};
use sqlx_core::transaction::TransactionManager;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tracing::Instrument;

use super::super::driver_state::{depth, recount};
use super::super::within::within;
use super::borrowed::Borrowed;
use super::credentials::Credentials;
use super::hosts::{HostChoice, SessionId};
use super::terminations::Terminations;
use crate::backend::{Backend, OptionsOf};
use crate::background;
use crate::dialect::{
    Diagnosis, Dialect, STILL_HELD, SessionAnswer, diagnosed, dialect_named, dialect_of, message,
};
use crate::error::{Error, StartError};
use crate::logging::{self, with_callers_subscriber};
use crate::settings::EngineSettings;

/// Time limit for closing a connection. A reachable server needs a round trip at most. A black-holed one never answers, and
/// must not keep the slot.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// How long an opening goes on that nobody waits for any more. A reachable server answers sooner, also over a slow network, and a
/// program that ends does not wait longer for a black-holed one.
pub(in crate::pool) const ABANDONED: Duration = Duration::from_secs(4);

/// Opens connections of one engine.
pub(crate) struct Connector<DB: Backend> {
    pub(crate) settings: Arc<EngineSettings>,
    /// The dialect that the URL names.
    configured: &'static Dialect,
    /// The dialect of the server that answers, if it is another.
    server_dialect: OnceLock<&'static Dialect>,
    /// The server's version, from its first session.
    version: OnceLock<String>,
    /// Whether an undeclared pooler is between here and the server, from the first session.
    undeclared_pooler: OnceLock<bool>,
    /// Held while a session asks whether there is one, so that of several only one asks.
    pooler_detection: tokio::sync::Mutex<()>,
    /// Whether an undeclared pooler is a finding of the caller, and no warning.
    reports_pooler: AtomicBool,
    pub(in crate::pool) hosts: HostChoice<DB>,
    pub(in crate::pool) credentials: Credentials<DB>,
    /// Opens connections past a pooler, if `direct_url` is set.
    direct: Option<Arc<Self>>,
    borrowed: Option<Arc<Borrowed<DB>>>,
    /// Held during a close, where connections are closed one at a time.
    close_turn: tokio::sync::Mutex<()>,
    pub(super) terminations: Terminations,
}

/// A new connection. Dropping it closes the connection in a task.
pub(crate) struct Opened<DB: Backend> {
    /// `None` once taken.
    connection: Option<DB::Connection>,
    /// The server's id of the session; `None` for SQLite, and behind a pooler.
    pub(crate) session: Option<SessionId>,
    connector: Arc<Connector<DB>>,
}

impl<DB: Backend> Opened<DB> {
    pub(crate) fn take(mut self) -> DB::Connection {
        match self.connection.take() {
            Some(connection) => connection,
            None => unreachable!("only what consumes the whole takes the connection"),
        }
    }

    /// Asks a server for its version that has not given it yet, within `connect_timeout`.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask).
    pub(in crate::pool) async fn ask_for_version(&mut self) -> sqlx::Result<()> {
        if self.connector.known_version().is_some() {
            return Ok(());
        }
        let limit = self.connector.settings.connect_timeout;
        self.ask(limit, "connect_timeout, for the server's version")
            .await
    }

    /// Asks the server for its version. A pooler answers a login without its server, and refuses the first query.
    ///
    /// # Errors
    ///
    /// The server's, or that it did not answer.
    pub(in crate::pool) async fn ask(
        &mut self,
        limit: Duration,
        name: &'static str,
    ) -> sqlx::Result<()> {
        let connector = &self.connector;
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        let version = DB::text(connection, connector.dialect().version);
        let version = within(limit, name, version)
            .await
            .map_err(|error| connector.conceal(error))?;
        let _ = connector.version.set(version);
        Ok(())
    }

    /// Begins a transaction and ends it, behind a pooler, within `connect_timeout`. A statement with parameters runs in one,
    /// which a pooler in statement mode refuses.
    ///
    /// # Errors
    ///
    /// The pooler's.
    pub(in crate::pool) async fn try_transaction(&mut self) -> sqlx::Result<()> {
        let connector = &self.connector;
        let settings = &connector.settings;
        let Some(connection) = self
            .connection
            .as_mut()
            .filter(|_| settings.pooler.is_some())
        else {
            return Ok(());
        };
        let transaction = async {
            DB::TransactionManager::begin(connection, None).await?;
            DB::TransactionManager::rollback(connection).await
        };
        let limit = settings.connect_timeout;
        within(limit, "connect_timeout, for a transaction", transaction)
            .await
            .map_err(|error| connector.conceal(error))
    }

    pub(in crate::pool) async fn close(self) {
        let connector = Arc::clone(&self.connector);
        connector.close_unused(self.take()).await;
    }
}

impl<DB: Backend> Drop for Opened<DB> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            let connector = Arc::clone(&self.connector);
            background::spawn(async move {
                connector.close_unused(connection).await;
            });
        }
    }
}

impl<DB: Backend> Connector<DB> {
    /// Parses the URL with the driver's own parser and then applies `connect_with`.
    ///
    /// # Errors
    ///
    /// The URL is of another database or not accepted by the driver, or another setting does not fit the database.
    pub(crate) fn new(settings: impl Into<Arc<EngineSettings>>) -> Result<Self, Error> {
        let settings = settings.into();
        let Some(dialect) = DB::dialect(&settings.url) else {
            let configured =
                dialect_of(&settings.url).map_err(|error| StartError::scheme(&settings, &error))?;
            return Err(StartError::wrong_kind(&settings, configured.name, DB::KIND).into());
        };
        let hosts = HostChoice::new(&settings, dialect)?;
        let credentials = Credentials::new(&settings)?;
        if settings.pooler.is_some() && DB::CLEAR_POOLED.is_none() {
            return Err(StartError::no_pooler(&settings, DB::KIND).into());
        }
        let direct = match settings.past_the_pooler() {
            Some(direct) => {
                let direct = Self::new(direct)?;
                Some(Arc::new(direct))
            }
            None => None,
        };
        // Past a declared pooler, the URL may still lead to a port of it that keeps sessions apart.
        let undeclared_pooler = OnceLock::new();
        if settings.is_past_pooler {
            let _ = undeclared_pooler.set(false);
        }
        Ok(Self {
            direct,
            borrowed: Borrowed::of(settings.borrowed.as_ref()),
            settings,
            configured: dialect,
            server_dialect: OnceLock::new(),
            version: OnceLock::new(),
            undeclared_pooler,
            pooler_detection: tokio::sync::Mutex::default(),
            reports_pooler: AtomicBool::new(false),
            hosts,
            credentials,
            close_turn: tokio::sync::Mutex::default(),
            terminations: Terminations::default(),
        })
    }

    /// Opens a connection as [`connect`](Connector::connect) does, in a task of its own. If the caller's future is dropped, the
    /// task goes on for [`ABANDONED`] at most, because an interrupted opening would leave a half-open session on the server.
    pub(crate) async fn connect_to_the_end(self: &Arc<Self>) -> sqlx::Result<Opened<DB>> {
        let (mut sender, receiver) = oneshot::channel();
        let connector = Arc::clone(self);
        // Boxed, because the future is large and each step below moves it.
        let opening = Box::pin(async move {
            let abandoned = async {
                sender.closed().await;
                sleep(ABANDONED).await;
            };
            let opened = tokio::select! {
                opened = connector.connect() => opened,
                () = abandoned => return,
            };
            // Without a receiver, the connection is dropped, which closes it.
            let _ = sender.send(opened);
        });
        background::spawn(with_callers_subscriber(opening.in_current_span()));
        let gone = "the runtime is shut down";
        receiver
            .await
            .unwrap_or_else(|_| Err(sqlx::Error::Io(io::Error::other(gone))))
    }

    /// Opens one connection within `connect_timeout` and runs `session` on it.
    ///
    /// # Errors
    ///
    /// Errors of the driver, without the secrets of the settings.
    pub(crate) async fn connect(self: &Arc<Self>) -> sqlx::Result<Opened<DB>> {
        let opened = self.connect_revealing().await;
        opened.map_err(|error| self.conceal(error))
    }

    /// Removes the secrets of the settings from an error.
    pub(in crate::pool) fn conceal(&self, error: sqlx::Error) -> sqlx::Error {
        match self.settings.without_secrets(&message(&error)) {
            Some(words) => diagnosed(words, self.dialect().diagnosis(&error)),
            None => error,
        }
    }

    /// Warns of URL parameters that have no effect.
    pub(crate) fn warn_of_ignored(&self) {
        self.hosts.warn_of_ignored(&self.settings);
        if let Some(direct) = &self.direct {
            direct.warn_of_ignored();
        }
    }

    async fn connect_revealing(self: &Arc<Self>) -> sqlx::Result<Opened<DB>> {
        let limit = self.settings.connect_timeout;
        if let Ok(Some(opened)) = timeout(limit, self.connect_borrowed()).await {
            return Ok(opened);
        }
        let connect = |host| {
            let options = self.hosts.options_of(host);
            within(limit, "connect_timeout", self.open(options))
        };
        let (host, mut connection) = self.hosts.open(self.dialect(), limit, connect).await?;
        let prepared = within(
            limit,
            "connect_timeout",
            self.prepare(&mut connection, host, None),
        )
        .await;
        match prepared {
            Ok(session) => Ok(Opened {
                connection: Some(connection),
                session,
                connector: Arc::clone(self),
            }),
            Err(error) => {
                // A server that does not answer in time gets no close message.
                let _ = timeout(CLOSE_LIMIT, connection.close()).await;
                Err(error)
            }
        }
    }

    /// Opens a connection with these options, as `before_connect` changes them.
    async fn open(&self, options: &OptionsOf<DB>) -> sqlx::Result<DB::Connection> {
        let mut prepared = self.credentials.fetch(options).await?;
        if self.settings.session.is_some() && logging::is_heard_by_log() {
            // `session` may contain secrets, and a connection logs all of its statements or none.
            let options = prepared.options.into_owned();
            prepared.options = Cow::Owned(options.disable_statement_logging());
        }
        let opening = match &self.borrowed {
            Some(borrowed) => borrowed.open(&prepared.options).await,
            None => prepared.options.connect().await,
        };
        opening.map_err(|error| self.credentials.explain(self.dialect(), &prepared, error))
    }

    /// The dialect of the server that answers once that is known, else of the URL.
    pub(crate) fn dialect(&self) -> &'static Dialect {
        self.server_dialect
            .get()
            .copied()
            .unwrap_or(self.configured)
    }

    /// The dialect of the server that has answered, if it is not the URL's.
    #[cfg(all(feature = "testing", any(feature = "postgres", feature = "mysql")))]
    pub(crate) fn other_dialect(&self) -> Option<&'static Dialect> {
        self.server_dialect.get().copied()
    }

    /// Whether every connection is opened to the same host.
    pub(crate) fn has_one_host(&self) -> bool {
        self.hosts.len() == 1
    }

    /// The options of the host that the last connection was opened to.
    pub(crate) fn options(&self) -> &OptionsOf<DB> {
        self.hosts.options()
    }

    /// The options of each host.
    #[cfg(all(feature = "testing", any(feature = "postgres", feature = "mysql")))]
    pub(crate) fn options_of_hosts(&self) -> impl Iterator<Item = &OptionsOf<DB>> {
        (0..self.hosts.len()).map(|host| self.hosts.options_of(host))
    }

    /// The options of a host that has just given a connection, as `before_connect` changes them. For a pool of the driver, which
    /// tries one host only, and does not tell why it opens no connection.
    ///
    /// A boxed future, for code with a concrete database type, as [`open_for`](super::open_for).
    ///
    /// # Errors
    ///
    /// As [`connect`](Connector::connect).
    #[cfg(feature = "postgres")]
    pub(crate) fn options_that_work(&self) -> BoxFuture<'_, sqlx::Result<OptionsOf<DB>>> {
        Box::pin(async move {
            let limit = self.settings.connect_timeout;
            let connect = |host| {
                let options = self.hosts.options_of(host);
                within(limit, "connect_timeout", self.open(options))
            };
            let opened = self.hosts.open(self.dialect(), limit, connect).await;
            let (host, connection) = opened.map_err(|error| self.conceal(error))?;
            self.within_close_limit(connection.close()).await;
            let fetching = self.credentials.fetch(self.hosts.options_of(host));
            let prepared = self.within_connect_timeout(fetching).await?;
            Ok(prepared.options.into_owned())
        })
    }

    /// Runs a driver's future within `connect_timeout`, and removes the secrets of the settings from its error.
    #[cfg(feature = "postgres")]
    pub(crate) async fn within_connect_timeout<T>(
        &self,
        work: impl Future<Output = sqlx::Result<T>>,
    ) -> sqlx::Result<T> {
        let limit = self.settings.connect_timeout;
        let worked = within(limit, "connect_timeout", work).await;
        worked.map_err(|error| self.conceal(error))
    }

    /// Checks that a connection answers; false if its server no longer has the wanted role, or is cut off from its cluster.
    pub(in crate::pool) async fn check(
        &self,
        connection: &mut DB::Connection,
    ) -> sqlx::Result<bool> {
        let dialect = self.dialect();
        if self.hosts.asks(dialect) {
            return self.hosts.still_right(connection, dialect).await;
        }
        connection.ping().await?;
        Ok(true)
    }

    /// A borrowed connection that works, if there is one left.
    async fn connect_borrowed(self: &Arc<Self>) -> Option<Opened<DB>> {
        let borrowed = self.borrowed.as_ref()?;
        while let Some(mut connection) = borrowed.take() {
            match self.prepare(&mut connection, 0, borrowed.session()).await {
                Ok(session) => {
                    borrowed.note_session(session.clone());
                    return Some(Opened {
                        connection: Some(connection),
                        session,
                        connector: Arc::clone(self),
                    });
                }
                Err(error) => {
                    tracing::debug!(engine = %self.settings.engine, %error, "a borrowed connection has ended");
                }
            }
        }
        None
    }

    /// [`connect`](Connector::connect) as a boxed future, for code with a concrete database type, as
    /// [`open_for`](super::open_for).
    #[cfg(all(feature = "testing", feature = "postgres"))]
    pub(crate) fn connect_for(self: &Arc<Self>) -> BoxFuture<'_, sqlx::Result<Opened<DB>>> {
        Box::pin(self.connect())
    }

    /// The connector for work that needs its own session: past the pooler if possible, else this one.
    pub(crate) fn direct(self: &Arc<Self>) -> &Arc<Self> {
        self.direct.as_ref().unwrap_or(self)
    }

    /// Whether the database is in this process's memory and lost with its last connection.
    pub(crate) fn in_memory(&self) -> bool {
        // A test's database is a file, whatever the name of its folder is.
        self.settings.file.is_none() && (self.dialect().in_memory)(self.settings.url.expose())
    }

    /// The server's version, if known: from a session, from the database's library, which all engines share, or from an
    /// earlier engine that used the borrowed connection.
    pub(crate) fn known_version(&self) -> Option<String> {
        let of_library = || self.dialect().library?.get().cloned();
        let known = self.version.get().cloned();
        known
            .or_else(of_library)
            .or_else(|| self.borrowed.as_ref()?.version())
    }

    /// Stores the server's version for the next engine.
    pub(crate) fn note_version(&self, version: &str) {
        if let Some(library) = self.dialect().library {
            library.get_or_init(|| version.to_owned());
        }
        if let Some(borrowed) = &self.borrowed {
            borrowed.note_version(version);
        }
    }

    /// Whether a pooler is between here and the server, declared or detected.
    pub(in crate::pool) fn is_behind_pooler(&self) -> bool {
        self.settings.pooler.is_some() || self.undeclared_pooler.get() == Some(&true)
    }

    /// Whether an undeclared pooler is between here and the server; `None` while no session has asked.
    pub(crate) fn undeclared_pooler(&self) -> Option<bool> {
        self.undeclared_pooler.get().copied()
    }

    /// Leaves the warning of an undeclared pooler to the caller.
    pub(crate) fn report_pooler(&self) {
        self.reports_pooler.store(true, Relaxed);
    }

    /// The query by which the first session detects an undeclared pooler. None for a borrowed connection that another engine
    /// has checked before.
    fn pooler_sign(&self) -> Option<&'static str> {
        let sign = self.dialect().pooler_sign?;
        let borrowed = self.borrowed.as_ref();
        let is_known = self.undeclared_pooler.get().is_some()
            || borrowed.is_some_and(|borrowed| borrowed.version().is_some());
        (!is_known).then_some(sign)
    }

    /// Notes whether there is an undeclared pooler, and warns of it once.
    fn note_pooler(&self, is_there: bool) {
        let is_first = self.undeclared_pooler.set(is_there).is_ok();
        if is_there && is_first && !self.reports_pooler.load(Relaxed) {
            crate::logging::warn!(
                engine = %self.settings.engine,
                "a pooler seems to stand between here and the server: what the driver has set for its session did not reach \
                 it. In transaction mode, statements meet sessions where they are not prepared, and fail or give the answers \
                 of others: set pooler = \"pgbouncer\". {}",
                self.settings.describe("url"),
            );
        }
    }

    /// Applies the settings to a connection, and asks for its session id unless that is known.
    async fn prepare(
        &self,
        connection: &mut DB::Connection,
        host: usize,
        known: Option<SessionId>,
    ) -> sqlx::Result<Option<SessionId>> {
        let is_new = known.is_none();
        let session = match known {
            Some(known) => Some(known),
            // Before `session`, which may set what the sign of a pooler is.
            None => self.identify_session(connection, host).await?,
        };
        self.run_session(connection, false).await?;
        if is_new {
            self.check_lease().await?;
        }
        self.begin_held_transaction(connection).await?;
        Ok(session)
    }

    /// Runs `session` on a new connection. The driver does not log it, whatever `log_queries` is, because it may contain
    /// secrets. `may_log` says that the connection was opened with statement logging, also for the `log` crate.
    pub(in crate::pool) async fn run_session(
        &self,
        connection: &mut DB::Connection,
        may_log: bool,
    ) -> sqlx::Result<()> {
        if let Some(sql) = &self.settings.session {
            let statement = sqlx::raw_sql(AssertSqlSafe(sql.clone()));
            let run = DB::execute(connection, statement);
            logging::unheard(run, may_log).await?;
        }
        Ok(())
    }

    /// Asks for the id of a session; `None` where there is none, or behind a pooler.
    pub(in crate::pool) async fn identify_session(
        &self,
        connection: &mut DB::Connection,
        host: usize,
    ) -> sqlx::Result<Option<SessionId>> {
        // The id would be that of the pooler's current session, which belongs to another client a moment later.
        if self.is_behind_pooler() {
            return Ok(None);
        }
        let asking = self.pooler_detection.try_lock();
        while let Some(session) = &self.dialect().session {
            let sign = asking.as_ref().ok().and_then(|_| self.pooler_sign());
            let identify = match sign {
                // In the same round trip, at the end of the answer.
                Some(sign) => format!("SELECT ({}) || ' ' || ({sign})::text", session.identify),
                None => session.identify.to_owned(),
            };
            let (answer, is_pooler) = match DB::text_of(connection, identify).await {
                Ok(answer) => {
                    let (answer, signs) = sign
                        .and_then(|_| answer.rsplit_once(' '))
                        .unwrap_or((&answer, "0"));
                    ((session.read)(answer), signs != "0")
                }
                Err(error) => match session.other_database(&error) {
                    Some(other) => (other, false),
                    // The server may not let the user look for the sign, or does not know what is asked.
                    None if sign.is_some() && is_refused_query(&error) => {
                        let _ = self.undeclared_pooler.set(false);
                        continue;
                    }
                    None => return Err(error),
                },
            };
            match answer {
                SessionAnswer::Id { id, since, version } => {
                    if let Some(version) = version {
                        let _ = self.version.set(version);
                    }
                    if sign.is_some() {
                        self.note_pooler(is_pooler);
                    }
                    let id = SessionId { id, since, host };
                    return Ok((!self.is_behind_pooler()).then_some(id));
                }
                SessionAnswer::OtherDatabase(name) => {
                    if let Some(other) = dialect_named(name) {
                        let _ = self.server_dialect.set(other);
                    }
                }
            }
        }
        Ok(None)
    }

    /// Fails if a test's database may have lost what the test was given. Called after the connection is opened: whatever
    /// changes the database later also ends the connection.
    pub(in crate::pool) async fn check_lease(&self) -> sqlx::Result<()> {
        match &self.settings.lease {
            Some(lease) => lease.check().await,
            None => Ok(()),
        }
    }

    /// Begins the transaction in which a test that rolls back holds the connection.
    ///
    /// Fails if an earlier transaction was lost, because the test would continue without its writes.
    pub(in crate::pool) async fn begin_held_transaction(
        &self,
        connection: &mut DB::Connection,
    ) -> sqlx::Result<()> {
        let Some(held) = &self.settings.held_transactions else {
            return Ok(());
        };
        if held.is_lost() {
            return Err(diagnosed(
                "the connection of a test that is to be rolled back has ended, and with it the transaction that held what the \
                 test had written"
                    .to_owned(),
                Diagnosis::fatal(
                    "the test's transaction is lost",
                    "see the error before this one; a test that loses or closes its connection needs isolation = \"database\"",
                ),
            ));
        }
        let (others_only_read, begin) = self.dialect().held_transaction;
        if let Some(sql) = others_only_read {
            DB::execute(connection, sqlx::raw_sql(sql)).await?;
        }
        DB::TransactionManager::begin(connection, Some(begin.into_sql_str())).await?;
        held.begun();
        Ok(())
    }

    /// Checks whether the connection is still in the transaction that it is held in.
    async fn end_held_transaction(&self, connection: &mut DB::Connection) -> sqlx::Result<()> {
        let Some(held) = &self.settings.held_transactions else {
            return Ok(());
        };
        let idle_depth = self.settings.idle_depth();
        while depth::<DB>(connection) > idle_depth {
            DB::TransactionManager::rollback(connection).await?;
        }
        if depth::<DB>(connection) < idle_depth {
            // The driver has rolled the transaction back, because a nested one was cancelled at its begin.
            return Ok(());
        }
        // The transaction's first savepoint ends with it. A failed transaction accepts this statement too.
        match DB::execute(connection, sqlx::raw_sql(STILL_HELD)).await {
            Ok(_) => held.lasted(),
            Err(sqlx::Error::Database(error)) => {
                tracing::debug!(engine = %self.settings.engine, %error, "a transaction that was to be rolled back has ended");
                held.ended();
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Reads pending data, sends the close message and closes, within [`CLOSE_LIMIT`]. False if the server did not answer.
    pub(crate) async fn close(&self, connection: DB::Connection) -> bool {
        let is_closed = self.end(connection, None).await;
        self.lose_held_transaction();
        is_closed
    }

    /// As [`close`](Connector::close), for a good connection of a pool that closes: a borrowed one goes back to its owner.
    pub(in crate::pool) async fn close_or_return(&self, connection: DB::Connection) -> bool {
        let is_closed = self.close_unused(connection).await;
        self.lose_held_transaction();
        is_closed
    }

    /// As [`close`](Connector::close); a session that does not answer is terminated.
    pub(in crate::pool) async fn close_or_terminate(
        &self,
        connection: DB::Connection,
        session: Option<&SessionId>,
    ) {
        if !self.close(connection).await
            && let Some(session) = session
            && let Err(error) = self.terminate(session).await
        {
            let (engine, session) = (&self.settings.engine, &*session.id);
            crate::logging::warn!(%engine, session, %error, "the session could not be terminated");
        }
    }

    /// As [`close_or_return`](Connector::close_or_return), for a connection that no task has used: a test loses nothing with
    /// its held transaction.
    async fn close_unused(&self, connection: DB::Connection) -> bool {
        self.end(connection, self.borrowed.as_deref()).await
    }

    /// Closes a connection, or returns it to its owner.
    async fn end(&self, mut connection: DB::Connection, owner: Option<&Borrowed<DB>>) -> bool {
        let closing = async {
            let _turn = if self.dialect().closes_in_turn {
                Some(self.close_turn.lock().await)
            } else {
                None
            };
            // Unread data in the socket would make the operating system answer the server with a reset.
            match connection.flush().await {
                // The answer to a statement that was cancelled.
                Ok(()) | Err(sqlx::Error::Database(_)) => {}
                Err(error) => return Err(error),
            }
            self.end_held_transaction(&mut connection).await?;
            let Some(owner) = owner else {
                return connection.close().await;
            };
            if depth::<DB>(&connection) > self.settings.idle_depth() {
                recount::<DB>(&mut connection).await?;
            }
            owner.give_back(connection);
            Ok(())
        };
        self.within_close_limit(closing).await
    }

    /// As [`close`](Connector::close), without reading pending data.
    pub(in crate::pool) async fn close_unread(&self, connection: DB::Connection) {
        self.within_close_limit(connection.close()).await;
        self.lose_held_transaction();
    }

    /// False at the limit.
    async fn within_close_limit(&self, closing: impl Future<Output = sqlx::Result<()>>) -> bool {
        let answer = timeout(CLOSE_LIMIT, closing).await;
        let is_closed = answer.is_ok();
        match answer {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(engine = %self.settings.engine, %error, "a connection was already gone at its close");
            }
            Err(_) => {
                tracing::debug!(engine = %self.settings.engine, "a connection did not answer at its close");
            }
        }
        is_closed
    }

    /// Notes that sqlx's pool opens a connection. In a test that rolls back, it does so only after the loss of the previous
    /// one.
    pub(in crate::pool) fn replaces_held(&self) {
        if let Some(held) = &self.settings.held_transactions
            && held.is_open()
        {
            held.lose();
        }
    }

    fn lose_held_transaction(&self) {
        if let Some(held) = &self.settings.held_transactions {
            held.lose();
        }
    }
}

/// Whether a server has refused a query itself. Errors of connections, resources, operators and the system, such as that of a
/// pooler whose server is away or of a timeout, say nothing about the query:
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn is_refused_query(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    let elsewhere = |code: &str| {
        ["08", "53", "57", "58"]
            .iter()
            .any(|class| code.starts_with(class))
    };
    code.is_some_and(|code| !elsewhere(&code))
}
