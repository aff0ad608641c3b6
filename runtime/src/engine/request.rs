//! The transactions of a web request: at most one for each engine, shared by everything that serves the request.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard};

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use sqlx::{Execute, Executor, SqlStr};
use sqlx_core::describe::Describe;

use super::transaction::{self, AfterCommit, Around, HooksOf, start_hooks};
use super::{Engine, Transaction, TransactionOptions};
use crate::backend::{Backend, Step};
use crate::error::{Error, TransactionError};
use crate::lock::lock;
use crate::pool::Holder;

tokio::task_local! {
    /// The transactions of the request that the running future serves.
    static CURRENT: RequestTransactions;
}

/// The transactions of one web request, at most one for each engine. Cheap to clone.
///
/// The features `axum`, `actix-web` and `rocket` use it by themselves. For another framework, a middleware creates one for each
/// request, stores a clone for the handlers, and runs the handler inside of [`serve`](Self::serve):
///
/// ```
/// # use poolhouse::web::RequestTransactions;
/// # use poolhouse::{Error, SqliteEngine};
/// # struct Request { transactions: RequestTransactions, db: SqliteEngine }
/// async fn handler(request: Request) -> Result<u16, Error> {
///     let mut tx = request.transactions.of(&request.db, "POST /bands")?;
///     sqlx::query("INSERT INTO band (name) VALUES ('Rustaceans')").execute(&mut tx).await?;
///     Ok(201)
/// }
///
/// async fn middleware(db: SqliteEngine) -> Result<u16, Error> {
///     let transactions = RequestTransactions::new();
///     let request = Request { transactions: transactions.clone(), db };
///     let succeeded = |answer: &Result<u16, Error>| answer.as_ref().is_ok_and(|status| *status < 400);
///     transactions.serve(handler(request), succeeded).await?
/// }
/// # let _ = middleware;
/// ```
#[derive(Clone, Default)]
pub struct RequestTransactions(Arc<Mutex<RequestSlots>>);

/// The transactions that a request has asked for.
#[derive(Default)]
struct RequestSlots {
    slots: Vec<Arc<dyn AnySlot>>,
    /// Whether the response is being sent, or the request was abandoned.
    over: bool,
}

impl RequestTransactions {
    /// The transactions of a new request: none yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The request's transaction on this engine. It begins with the first statement that is run in it.
    ///
    /// `request` is what logs and errors call the request: its method and route, without confidential data.
    ///
    /// # Errors
    ///
    /// [`TransactionError::RequestOver`], inside a [`sqlx::Error`], when the request is over.
    pub fn of<DB: Backend>(
        &self,
        engine: &Engine<DB>,
        request: &str,
    ) -> sqlx::Result<RequestTransaction<DB>> {
        let mut slots = self.lock();
        if slots.over {
            return Err(TransactionError::RequestOver {
                engine: engine.name().to_owned(),
                request: request.to_owned(),
            }
            .into());
        }
        let slot = slots.find(engine).unwrap_or_else(|| {
            let slot = EngineSlot::new(engine.clone(), request);
            slots.slots.push(Arc::clone(&slot) as Arc<dyn AnySlot>);
            slot
        });
        slot.lock().handles += 1;
        Ok(RequestTransaction(RequestSession { slot }))
    }

    /// Runs the future that serves the request, then commits if `commit` is true for its outcome, and rolls back otherwise.
    /// Afterwards the transactions cannot be used. Do not send the outcome before this returns.
    ///
    /// Code inside that only has the engine joins the transaction from [`of`](Self::of) through [`Engine::scoped_transaction`].
    ///
    /// # Errors
    ///
    /// With each error the outcome is dropped. [`TransactionError::Held`] when a [`RequestTransaction`] still exists, and the
    /// server's error for `COMMIT`: nothing of this request is committed on the named engine.
    /// [`TransactionError::OutcomeUnknown`] when the connection ended during the commit. Of several engines, those before the
    /// failed one stay committed, in the order in which they were asked for: [`TransactionError::PartlyCommitted`], which names
    /// them, as does the log.
    ///
    /// Futures of [`on_commit`](Transaction::on_commit) run after the last commit, also when a later commit has failed.
    ///
    /// # Cancellation
    ///
    /// Dropping the future rolls back; during the commit, the server may have committed already. Between the commits of several
    /// engines, those before stay committed, and the log names them.
    pub async fn serve<T>(
        &self,
        work: impl Future<Output = T>,
        commit: impl FnOnce(&T) -> bool,
    ) -> Result<T, Error> {
        let (outcome, ended) = self.serve_keeping(work, commit).await;
        ended.map(|()| outcome)
    }

    /// [`serve`](Self::serve), but returns the outcome in each case.
    pub(crate) async fn serve_keeping<T>(
        &self,
        work: impl Future<Output = T>,
        commit: impl FnOnce(&T) -> bool,
    ) -> (T, Result<(), Error>) {
        let serving = Serving(self);
        let outcome = CURRENT
            .scope(self.clone(), transaction::outside(work))
            .await;
        let ended = serving.0.end(commit(&outcome)).await;
        (outcome, ended)
    }

    /// Ends the transactions: commits, or rolls back in tasks of the pools.
    pub(crate) async fn end(&self, commit: bool) -> Result<(), Error> {
        let slots = self.lock().finish();
        // All are closed first, so that none is committed when another one cannot be.
        let mut closed = Vec::new();
        for slot in slots {
            closed.push((slot.engine().to_owned(), slot.close()));
        }
        let mut commits = Vec::new();
        for (engine, closed) in closed {
            if let Some(commit) = closed.map_err(sqlx::Error::from)? {
                commits.push((engine, commit));
            }
        }
        if !commit {
            return Ok(());
        }
        let mut committing = Committing::new(&commits);
        let mut outcome = Ok(());
        for (engine, commit) in commits {
            match commit.await {
                Ok(after) => committing.committed(engine, after),
                Err(error) => {
                    outcome = Err(committing.failed(engine, error).into());
                    break;
                }
            }
        }
        // After the last commit, because a hook may need what another engine has committed, or its connection.
        committing.run_hooks().await;
        outcome
    }

    /// Whether the request is over, so that another layer may serve one with its extensions.
    #[cfg(any(feature = "axum", feature = "actix-web"))]
    pub(crate) fn is_over(&self) -> bool {
        self.lock().over
    }

    /// Ends the transactions without a commit.
    pub(crate) fn abandon(&self) {
        let slots = self.lock().finish();
        for slot in slots {
            // Dropping the commit rolls back.
            drop(slot.close());
        }
    }

    fn lock(&self) -> MutexGuard<'_, RequestSlots> {
        lock(&self.0)
    }
}

impl RequestSlots {
    fn find<DB: Backend>(&self, engine: &Engine<DB>) -> Option<Arc<EngineSlot<DB>>> {
        self.slots.iter().find_map(|slot| {
            let slot = Arc::clone(slot)
                .as_any()
                .downcast::<EngineSlot<DB>>()
                .ok()?;
            Arc::ptr_eq(&slot.engine.0, &engine.0).then_some(slot)
        })
    }

    fn finish(&mut self) -> Vec<Arc<dyn AnySlot>> {
        self.over = true;
        mem::take(&mut self.slots)
    }
}

impl Drop for RequestSlots {
    fn drop(&mut self) {
        for slot in self.finish() {
            if !matches!(slot.close(), Ok(None)) {
                tracing::error!(
                    engine = slot.engine(),
                    "the transaction of a request is rolled back, because nothing has ended it: the handler did not run inside \
                     of RequestTransactions::serve"
                );
            }
        }
    }
}

impl fmt::Debug for RequestTransactions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots = self.lock();
        let engines: Vec<&str> = slots.slots.iter().map(|slot| slot.engine()).collect();
        f.debug_struct("RequestTransactions")
            .field("engines", &engines)
            .field("over", &slots.over)
            .finish()
    }
}

/// A request that is being served. Its drop ends the transactions.
struct Serving<'r>(&'r RequestTransactions);

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// The commits of a request, one engine after the other. Dropped half-way, it logs which engines are committed.
struct Committing {
    /// The engines that are committed, with the hooks that have not begun.
    committed: Vec<HooksOf>,
    /// The engine whose commit is under way, and those after it.
    open: VecDeque<String>,
}

impl Committing {
    fn new(commits: &[(String, Commit)]) -> Self {
        Self {
            committed: Vec::new(),
            open: commits.iter().map(|(engine, _)| engine.clone()).collect(),
        }
    }

    fn committed(&mut self, engine: String, after: AfterCommit) {
        self.open.pop_front();
        self.committed.push((engine, after));
    }

    /// The error of a request whose commit on this engine has failed; those after it are rolled back.
    fn failed(&mut self, engine: String, cause: sqlx::Error) -> sqlx::Error {
        self.open.clear();
        if self.committed.is_empty() {
            return cause;
        }
        let committed = self.names();
        tracing::error!(
            %engine,
            "a request's transaction failed at its commit, after those on other engines were committed: {}",
            committed.join(", ")
        );
        let committed = committed.into_iter().map(str::to_owned).collect();
        TransactionError::PartlyCommitted {
            engine,
            committed,
            cause,
        }
        .into()
    }

    /// Starts the hooks of the committed transactions, and waits for them.
    async fn run_hooks(mut self) {
        let hooks = start_hooks(mem::take(&mut self.committed));
        drop(self);
        hooks.await;
    }

    /// The engines that are committed.
    fn names(&self) -> Vec<&str> {
        self.committed
            .iter()
            .map(|(engine, _)| engine.as_str())
            .collect()
    }
}

impl Drop for Committing {
    fn drop(&mut self) {
        if self.committed.is_empty() {
            return;
        }
        let engine = self.open.front().map_or("", String::as_str);
        tracing::error!(
            engine,
            "a request was dropped during the commit of its transaction, after those on other engines were committed: {}. It is \
             unknown whether this one is, and those after it are rolled back",
            self.names().join(", ")
        );
        // As for one engine: a caller that is dropped after the commit stops no hook.
        drop(start_hooks(mem::take(&mut self.committed)));
    }
}

/// The transaction of a request on one engine.
struct EngineSlot<DB: Backend> {
    engine: Engine<DB>,
    /// What logs and errors call the request.
    request: Arc<str>,
    /// Held for moments, and never across an await or the drop of a transaction.
    state: Mutex<State<DB>>,
}

struct State<DB: Backend> {
    phase: Phase<DB>,
    /// The number of `RequestTransaction`s.
    handles: usize,
}

#[allow(clippy::large_enum_variant, reason = "there is one for each request")]
enum Phase<DB: Backend> {
    /// No statement was run in it.
    Fresh,
    /// A statement begins it.
    Beginning,
    Begun {
        /// `None` while it is in use.
        transaction: Option<Transaction<DB>>,
        /// The data that code needs to join it.
        around: Around<DB>,
    },
    /// The request is over.
    Over,
}

/// An [`EngineSlot`] without its database type.
trait AnySlot: Send + Sync {
    fn engine(&self) -> &str;
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
    /// Ends the transaction. Returns its commit, if there is something to commit; dropping that rolls back.
    fn close(&self) -> Result<Option<Commit>, TransactionError>;
}

/// Commits, and returns the hooks to run afterwards.
type Commit = BoxFuture<'static, sqlx::Result<AfterCommit>>;

impl<DB: Backend> EngineSlot<DB> {
    fn new(engine: Engine<DB>, request: &str) -> Arc<Self> {
        Arc::new(Self {
            engine,
            request: request.into(),
            state: Mutex::new(State {
                phase: Phase::Fresh,
                handles: 0,
            }),
        })
    }

    /// Begins the transaction, unless it has begun, and lets code join it.
    async fn begin(&self) -> sqlx::Result<()> {
        {
            let mut state = self.lock();
            match state.phase {
                Phase::Fresh => state.phase = Phase::Beginning,
                Phase::Beginning => return Err(self.in_use()),
                Phase::Begun { .. } => return Ok(()),
                Phase::Over => return Err(self.over()),
            }
        }
        let beginning = Beginning(self);
        let holder = Holder::Request(Arc::clone(&self.request));
        let options = TransactionOptions::new();
        let begun = self.engine.begin_on(holder, &options, None, false);
        let mut transaction = begun.await?;
        let around = transaction.this().clone();
        transaction.share();
        let mut transaction = Some(transaction);
        {
            let mut state = self.lock();
            if let Phase::Beginning = state.phase {
                state.phase = Phase::Begun {
                    transaction: transaction.take(),
                    around,
                };
            }
        }
        drop(beginning);
        match transaction {
            None => Ok(()),
            // The request ended meanwhile. Dropping the transaction rolls it back.
            Some(_) => Err(self.over()),
        }
    }

    /// Takes the transaction for a use, after beginning it if necessary.
    async fn take(&self) -> sqlx::Result<Transaction<DB>> {
        self.begin().await?;
        match &mut self.lock().phase {
            Phase::Begun { transaction, .. } => transaction.take().ok_or_else(|| self.in_use()),
            Phase::Fresh | Phase::Beginning => Err(self.in_use()),
            Phase::Over => Err(self.over()),
        }
    }

    /// Puts the transaction back after a use. When the request has ended meanwhile, it is rolled back.
    fn put_back(&self, mut used: Transaction<DB>) {
        used.share();
        let mut used = Some(used);
        if let Phase::Begun { transaction, .. } = &mut self.lock().phase {
            *transaction = used.take();
        }
    }

    /// The data for code that joins the transaction, which is begun if necessary.
    async fn around(&self) -> sqlx::Result<Around<DB>> {
        self.begin().await?;
        match &self.lock().phase {
            Phase::Begun { around, .. } => Ok(around.clone()),
            Phase::Fresh | Phase::Beginning => Err(self.in_use()),
            Phase::Over => Err(self.over()),
        }
    }

    fn in_use(&self) -> sqlx::Error {
        let engine = self.engine.name().to_owned();
        TransactionError::InUse { engine }.into()
    }

    fn over(&self) -> sqlx::Error {
        TransactionError::RequestOver {
            engine: self.engine.name().to_owned(),
            request: self.request.to_string(),
        }
        .into()
    }

    fn held(&self) -> TransactionError {
        TransactionError::Held {
            engine: self.engine.name().to_owned(),
            request: self.request.to_string(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<DB>> {
        lock(&self.state)
    }
}

/// A begin under way, which may be cancelled.
struct Beginning<'s, DB: Backend>(&'s EngineSlot<DB>);

impl<DB: Backend> Drop for Beginning<'_, DB> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        // It failed or was cancelled, and nothing was run in it: the next use begins anew.
        if let Phase::Beginning = state.phase {
            state.phase = Phase::Fresh;
        }
    }
}

impl<DB: Backend> AnySlot for EngineSlot<DB> {
    fn engine(&self) -> &str {
        self.engine.name()
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn close(&self) -> Result<Option<Commit>, TransactionError> {
        let (phase, handles) = {
            let mut state = self.lock();
            let phase = mem::replace(&mut state.phase, Phase::Over);
            (phase, state.handles)
        };
        let mut transaction = match phase {
            Phase::Fresh | Phase::Over => None,
            Phase::Begun {
                transaction: Some(transaction),
                ..
            } => Some(transaction),
            Phase::Beginning | Phase::Begun { .. } => return Err(self.held()),
        };
        // A `scoped_transaction` that still exists has the connection.
        let is_in_use = |of: &mut Transaction<DB>| of.session().connection_mut().is_err();
        if handles > 0 || transaction.as_mut().is_some_and(is_in_use) {
            return Err(self.held());
        }
        Ok(transaction
            .map(|transaction| Box::pin(commit(self.engine.clone(), transaction)) as Commit))
    }
}

async fn commit<DB: Backend>(
    engine: Engine<DB>,
    mut transaction: Transaction<DB>,
) -> sqlx::Result<AfterCommit> {
    let conflict = transaction.conflict();
    let committed = transaction.commit_only().await;
    let error = match committed.map_err(|error| engine.failed_commit(error)) {
        Ok(after) => return Ok(after),
        Err(error) => error,
    };
    if engine.is_conflict(&error) {
        return Err(error);
    }
    Err(match conflict {
        Some(last) if engine.connector().dialect().has_failed_before(&error) => {
            TransactionError::AfterConflict { last }.into()
        }
        _ => error,
    })
}

impl<DB: Backend> Engine<DB> {
    /// The transaction that the request around the running future has asked for on this engine.
    pub(super) async fn transaction_of_request(&self) -> Option<sqlx::Result<Around<DB>>> {
        match self.slot_of_request() {
            Ok(slot) => Some(slot?.around().await),
            Err(error) => Some(Err(error)),
        }
    }

    /// Whether the request around the running future has asked for a transaction on this engine.
    pub(super) fn is_in_request(&self) -> bool {
        !matches!(self.slot_of_request(), Ok(None))
    }

    /// Whether the request around the running future has begun its transaction on this engine.
    pub(super) fn has_begun_in_request(&self) -> bool {
        let Ok(Some(slot)) = self.slot_of_request() else {
            return false;
        };
        matches!(slot.lock().phase, Phase::Begun { .. })
    }

    fn slot_of_request(&self) -> sqlx::Result<Option<Arc<EngineSlot<DB>>>> {
        match CURRENT.try_with(|request| request.lock().find(self)) {
            Ok(slot) => Ok(slot),
            Err(_) => self.slot_of_task(),
        }
    }

    #[cfg(not(feature = "rocket"))]
    #[allow(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "with the feature `rocket` it has something to look for"
    )]
    fn slot_of_task(&self) -> sqlx::Result<Option<Arc<EngineSlot<DB>>>> {
        Ok(None)
    }

    /// The transaction of this engine in the request that the running task serves.
    #[cfg(feature = "rocket")]
    fn slot_of_task(&self) -> sqlx::Result<Option<Arc<EngineSlot<DB>>>> {
        let mut slots = tasks::requests()
            .into_iter()
            .filter_map(|request| request.lock().find(self));
        match (slots.next(), slots.next()) {
            (slot, None) => Ok(slot),
            // Two requests in one task: the right one is not known.
            (_, Some(slot)) => Err(slot.in_use()),
        }
    }
}

/// The requests that tasks serve, for a framework that lets no code run around its handlers.
#[cfg(feature = "rocket")]
pub(crate) mod tasks {
    use std::collections::HashMap;
    use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
    use std::thread::{self, ThreadId};

    use tokio::task::{self, Id};

    use super::RequestTransactions;
    use crate::lock::lock;

    /// What polls the running future: a task, or `block_on`, which stays on its thread and is no task.
    #[derive(Clone, Copy, PartialEq, Eq, Hash)]
    enum Task {
        Spawned(Id),
        BlockedOn(ThreadId),
    }

    impl Task {
        fn current() -> Self {
            task::try_id().map_or_else(|| Self::BlockedOn(thread::current().id()), Self::Spawned)
        }
    }

    type Tasks = HashMap<Task, Vec<RequestTransactions>>;

    static TASKS: LazyLock<Mutex<Tasks>> = LazyLock::new(Mutex::default);

    fn tasks() -> MutexGuard<'static, Tasks> {
        lock(&TASKS)
    }

    /// The requests that the running task serves: one, if a server gives each request a task.
    pub(super) fn requests() -> Vec<RequestTransactions> {
        tasks().get(&Task::current()).cloned().unwrap_or_default()
    }

    /// Registers, until it is dropped, that a task serves a request.
    pub(crate) struct Served {
        task: Task,
        request: RequestTransactions,
    }

    impl Served {
        pub(crate) fn by_this_task(request: RequestTransactions) -> Self {
            let task = Task::current();
            tasks().entry(task).or_default().push(request.clone());
            Self { task, request }
        }
    }

    impl Drop for Served {
        fn drop(&mut self) {
            let mut tasks = tasks();
            if let Some(requests) = tasks.get_mut(&self.task) {
                requests.retain(|request| !Arc::ptr_eq(&request.0, &self.request.0));
                if requests.is_empty() {
                    tasks.remove(&self.task);
                }
            }
        }
    }
}

/// The transaction of a web request on one engine.
///
/// It begins with its first statement, so a request that is refused before, or whose body arrives slowly, takes no connection.
/// All code that serves the request gets the same transaction. It is committed before a response of status 2xx or 3xx is sent,
/// and rolled back with every other status, after a panic, and when the client disconnects and the framework drops the handler.
///
/// It is an executor (`query.execute(&mut tx)`, `query.execute(&mut *tx)`). [`begin`](RequestSession::begin) returns it as a
/// [`Transaction`].
///
/// Do not keep it for longer than the handler runs, in a streamed body or in a spawned task: it is then rolled back, and the
/// response is replaced by one of status 500.
///
/// # Errors
///
/// Of a statement: as [`Engine::begin`] if it is the first one; [`TransactionError::InUse`] while another part of the request
/// runs one, because waiting for that could deadlock; and [`TransactionError::RequestOver`] after the response was sent.
///
/// # Cancellation
///
/// A statement may be dropped at any await point. If the transaction was still beginning, the next statement begins it anew.
#[must_use = "nothing begins until a statement is run in it"]
pub struct RequestTransaction<DB: Backend>(RequestSession<DB>);

/// What [`RequestTransaction`] dereferences to, so that `&mut *tx` is an executor, as with sqlx's own transactions.
pub struct RequestSession<DB: Backend> {
    slot: Arc<EngineSlot<DB>>,
}

impl<DB: Backend> RequestSession<DB> {
    /// Begins the transaction, unless it has begun, and borrows it for the caller until the guard is dropped: for functions
    /// that take a [`Transaction`], nested transactions, and the driver's connection.
    ///
    /// ```
    /// # use poolhouse::{RequestTransaction, Transaction};
    /// # use sqlx::Sqlite;
    /// async fn rename(tx: &mut Transaction<Sqlite>) -> sqlx::Result<()> {
    ///     sqlx::query("UPDATE band SET name = 'Crustaceans'").execute(tx).await.map(drop)
    /// }
    ///
    /// async fn handler(mut tx: RequestTransaction<Sqlite>) -> Result<(), poolhouse::Error> {
    ///     rename(&mut *tx.begin().await?).await?;
    ///     Ok(())
    /// }
    /// # let _ = handler;
    /// ```
    ///
    /// # Errors
    ///
    /// As a statement of [`RequestTransaction`].
    ///
    /// # Cancellation
    ///
    /// The future may be dropped at any await point; the next use begins anew.
    pub fn begin(&mut self) -> impl Future<Output = sqlx::Result<TransactionGuard<'_, DB>>> + Send {
        async move {
            let transaction = self.slot.take().await?;
            Ok(TransactionGuard {
                slot: &self.slot,
                transaction: Some(transaction),
            })
        }
    }

    /// The engine that the transaction is on.
    pub fn engine(&self) -> &Engine<DB> {
        &self.slot.engine
    }
}

impl<DB: Backend> Drop for RequestSession<DB> {
    fn drop(&mut self) {
        self.slot.lock().handles -= 1;
    }
}

impl<DB: Backend> Deref for RequestTransaction<DB> {
    type Target = RequestSession<DB>;

    fn deref(&self) -> &RequestSession<DB> {
        &self.0
    }
}

impl<DB: Backend> DerefMut for RequestTransaction<DB> {
    fn deref_mut(&mut self) -> &mut RequestSession<DB> {
        &mut self.0
    }
}

impl<DB: Backend> fmt::Debug for RequestTransaction<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<DB: Backend> fmt::Debug for RequestSession<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestTransaction")
            .field("engine", &self.slot.engine.name())
            .field("database", &DB::KIND)
            .field("request", &self.slot.request)
            .finish_non_exhaustive()
    }
}

/// The transaction of a request, borrowed by [`RequestSession::begin`] until this is dropped.
///
/// Meanwhile [`Engine::scoped_transaction`] in nested code still joins it, between statements; statements of other extractors
/// are errors ([`TransactionError::InUse`]).
#[derive(Debug)]
#[must_use = "the transaction returns to the request when this is dropped"]
pub struct TransactionGuard<'t, DB: Backend> {
    slot: &'t EngineSlot<DB>,
    /// `None` only in `Drop`.
    transaction: Option<Transaction<DB>>,
}

impl<DB: Backend> fmt::Debug for EngineSlot<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineSlot")
            .field("engine", &self.engine.name())
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}

impl<DB: Backend> Deref for TransactionGuard<'_, DB> {
    type Target = Transaction<DB>;

    fn deref(&self) -> &Transaction<DB> {
        match &self.transaction {
            Some(transaction) => transaction,
            None => unreachable!("only `Drop` empties a guard"),
        }
    }
}

impl<DB: Backend> DerefMut for TransactionGuard<'_, DB> {
    fn deref_mut(&mut self) -> &mut Transaction<DB> {
        match &mut self.transaction {
            Some(transaction) => transaction,
            None => unreachable!("only `Drop` empties a guard"),
        }
    }
}

impl<DB: Backend> Drop for TransactionGuard<'_, DB> {
    fn drop(&mut self) {
        if let Some(transaction) = self.transaction.take() {
            self.slot.put_back(transaction);
        }
    }
}

/// Implements `Executor` on `$on`: each method begins the transaction if necessary, and runs the query on it.
macro_rules! executor {
    ($on:ty) => {
        impl<'c, DB: Backend> Executor<'c> for &'c mut $on {
            type Database = DB;

            fn execute<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxFuture<'e, sqlx::Result<DB::QueryResult>>
            where
                'c: 'e,
                E: Execute<'q, DB> + 'q,
            {
                Box::pin(async move { self.begin().await?.execute(query).await })
            }

            fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, sqlx::Result<Step<DB>>>
            where
                'c: 'e,
                E: Execute<'q, DB> + 'q,
            {
                Box::pin(async_stream::try_stream! {
                    let mut transaction = self.begin().await?;
                    let mut steps = transaction.fetch_many(query);
                    while let Some(step) = steps.next().await {
                        yield step?;
                    }
                })
            }

            fn fetch_all<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Vec<DB::Row>>>
            where
                'c: 'e,
                E: Execute<'q, DB> + 'q,
            {
                Box::pin(async move { self.begin().await?.fetch_all(query).await })
            }

            fn fetch_optional<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxFuture<'e, sqlx::Result<Option<DB::Row>>>
            where
                'c: 'e,
                E: Execute<'q, DB> + 'q,
            {
                Box::pin(async move { self.begin().await?.fetch_optional(query).await })
            }

            fn fetch_one<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<DB::Row>>
            where
                'c: 'e,
                E: Execute<'q, DB> + 'q,
            {
                Box::pin(async move { self.begin().await?.fetch_one(query).await })
            }

            fn prepare_with<'e>(
                self,
                sql: SqlStr,
                parameters: &'e [DB::TypeInfo],
            ) -> BoxFuture<'e, sqlx::Result<DB::Statement>>
            where
                'c: 'e,
            {
                Box::pin(async move { self.begin().await?.prepare_with(sql, parameters).await })
            }

            #[doc(hidden)]
            fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<Describe<DB>>>
            where
                'c: 'e,
            {
                Box::pin(async move { self.begin().await?.describe(sql).await })
            }
        }
    };
}

executor!(RequestTransaction<DB>);
executor!(RequestSession<DB>);
