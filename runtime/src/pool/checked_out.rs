//! A connection that a task has checked out, and its return to the pool.

use std::fmt;
use std::future::Future;
use std::io;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Connection as _, SqlSafeStr};
use sqlx_core::transaction::TransactionManager;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::connecting::{Connector, Opened};
use super::connection::{Connection, SlotOf};
use super::driver_state::{Recovered, answered, depth, recount, recover};
use super::in_transaction::{Begin, InTransaction};
use super::recovery::{self, RECOVERY_LIMIT};
use super::registry::{Holder, Record};
use super::spans::Observer;
use super::within::within;
use crate::backend::{Backend, OpenUnit, Pooled};
use crate::background;
use crate::dialect::{Dialect, Mark};
use crate::error::TransactionError;
use crate::settings::EngineSettings;

/// The longest wait for the answer to a statement whose caller went away, before another one runs.
pub(super) const UNANSWERED_LIMIT: Duration = Duration::from_secs(10);
/// The name of this limit in errors.
pub(super) const UNANSWERED: &str =
    "the limit for the answer to a statement whose caller went away";

/// A connection that a task has checked out. Dropping it returns it to the pool: at once when it is known to be idle and
/// outside any transaction, else after a recovery in a task of the pool.
///
/// Users hold it inside a [`Session`](super::Session).
#[must_use = "a connection that is dropped at once goes back to the pool"]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact about the connection"
)]
pub(crate) struct CheckedOut<DB: Backend> {
    source: ConnectionSource<DB>,
    state: ConnectionState,
    /// The transaction that the pool has begun on the connection, or is about to begin.
    pub(super) transaction: Option<InTransaction>,
    /// Whether the driver still counts a transaction that the pool has ended with its own statement. The connection returns
    /// to the pool in this state, because only a message to the server would correct the count. The next transaction takes
    /// the count over.
    counts_ended: bool,
    /// Whether the driver's count of transactions may be wrong: a `BEGIN` was cancelled or failed, or a `COMMIT` was cancelled.
    may_be_miscounted: bool,
    /// Whether the driver alone has ended the last operation. The server may then wait for the rest of it, such as the data of a
    /// `COPY`, and answer nothing.
    may_await_more: bool,
    /// Whether the caller of the last operation went away before its end, where the driver may expect another answer than the server
    /// sends.
    may_be_unanswered: bool,
    /// What a statement has opened around itself behind a pooler, and has not ended; `None` without a pooler.
    pub(super) unit: Option<OpenUnit>,
    /// Whether the connection is for one statement, and returns when the statement ends.
    for_one: bool,
    /// When the server last answered, if the clock was read then. It is, unless the connection is for one statement.
    answered: Option<Instant>,
    /// Whether the server has answered an operation. The driver alone may have ended it with an error.
    has_answered: bool,
    /// Whether code outside of the pool has used the driver's connection.
    was_borrowed: bool,
}

/// Where the connection comes from and returns to.
enum ConnectionSource<DB: Backend> {
    /// The slot is never empty.
    Pool(SlotOf<DB>),
    Sqlx {
        connection: PoolConnection<DB>,
        record: Arc<Record>,
        settings: Arc<EngineSettings>,
        /// The pool's runtime, where the connection returns. sqlx spawns the return on the current runtime, which may end sooner,
        /// and panics outside any.
        runtime: Handle,
    },
    /// Opened for one use, before the pool was started or past the pooler.
    Alone {
        connection: DB::Connection,
        record: Arc<Record>,
        connector: Arc<Connector<DB>>,
    },
    /// Taken by [`CheckedOut::detach`], [`CheckedOut::close`] or `Drop`, after which the value is not used.
    Gone,
}

/// The known state of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionState {
    /// Idle and outside any transaction, unless the driver itself counts one.
    Clean,
    /// Unknown: a statement may be unfinished, or a transaction open.
    Unverified,
    /// Intact, with something in its session that the next user must not find.
    Unfit,
    /// The driver's connection is unusable, although the session is intact.
    Unusable,
    /// The session has ended.
    Broken,
}

impl<DB: Backend> CheckedOut<DB> {
    pub(super) fn of_pool(slot: SlotOf<DB>, holder: Holder, now: Instant) -> Self {
        let connection = connection_of(&slot);
        let for_one = matches!(holder, Holder::Engine);
        connection.record.take(now, holder);
        // An idle connection is in no transaction except one that it is held in. A higher count includes an ended one.
        let counts_ended = depth::<DB>(connection.parts().0) > connection.shared().idle_depth();
        let mut checkout = Self::new(ConnectionSource::Pool(slot));
        checkout.counts_ended = counts_ended;
        checkout.for_one = for_one;
        checkout
    }

    pub(super) fn of_sqlx(
        connection: PoolConnection<DB>,
        holder: Holder,
        connector: &Connector<DB>,
        runtime: Handle,
    ) -> Self {
        Self::new(ConnectionSource::Sqlx {
            connection,
            record: Record::alone(None, holder, Observer::new(connector, 0)),
            settings: Arc::clone(&connector.settings),
            runtime,
        })
    }

    /// A connection that is opened for one use and closed after it.
    pub(crate) fn alone(opened: Opened<DB>, connector: Arc<Connector<DB>>, holder: Holder) -> Self {
        let session = opened.session.clone();
        Self::new(ConnectionSource::Alone {
            connection: opened.take(),
            record: Record::alone(session, holder, Observer::new(&connector, 0)),
            connector,
        })
    }

    fn new(source: ConnectionSource<DB>) -> Self {
        let unit = source.settings().pooler.map(|_| OpenUnit::default());
        Self {
            source,
            unit,
            state: ConnectionState::Clean,
            transaction: None,
            counts_ended: false,
            may_be_miscounted: false,
            may_await_more: false,
            may_be_unanswered: false,
            for_one: false,
            answered: None,
            has_answered: false,
            was_borrowed: false,
        }
    }

    /// Checks that the server will answer the next operation, and undoes what an unfinished statement has left open behind a
    /// pooler.
    ///
    /// # Errors
    ///
    /// It will not, after an earlier error of the driver, and the driver would wait for ever. An answer is awaited for 2 s at
    /// most.
    pub(crate) async fn check_answering(&mut self) -> sqlx::Result<()> {
        if self.transaction.is_none() && self.record().is_over() {
            Box::pin(self.leave_cancelled()).await?;
        }
        if self.may_be_unanswered {
            Box::pin(self.await_answer()).await?;
        }
        if mem::take(&mut self.may_await_more) && self.state != ConnectionState::Unusable {
            // Until there is an answer, also when the caller goes away meanwhile.
            let before = mem::replace(&mut self.state, ConnectionState::Unusable);
            let (connection, _) = self.source.parts_mut();
            // In a box, because it is rare, and every statement's future would be larger.
            let ping = Box::pin(within(
                RECOVERY_LIMIT,
                "the limit for recovery",
                connection.ping(),
            ));
            if matches!(ping.await, Ok(()) | Err(sqlx::Error::Database(_))) {
                self.state = before;
            }
        }
        if self.state != ConnectionState::Unusable {
            if let Some(unit) = self.unit.as_ref().filter(|unit| unit.is_open()) {
                let unit = unit.clone();
                // In a box, for the same reason.
                return Box::pin(self.undo_unit(unit)).await;
            }
            if self.transaction.as_ref().is_some_and(|of| of.must_ask) {
                Box::pin(self.ask_whether_inside()).await?;
            }
            return Ok(());
        }
        Err(sqlx::Error::Protocol(format!(
            "engine `{}`: the connection cannot be used any more, because the driver has given up an earlier statement half-way; \
             see the error of that statement, and end the transaction or the checkout",
            self.engine()
        )))
    }

    /// Waits for the answer to a statement whose caller went away. The driver may expect another one than the server sends, and both
    /// would wait for ever. If this is cancelled, the answer is still awaited.
    ///
    /// # Errors
    ///
    /// That of the statement; or the connection has ended.
    async fn await_answer(&mut self) -> sqlx::Result<()> {
        let (connection, _) = self.source.parts_mut();
        let answered = within(UNANSWERED_LIMIT, UNANSWERED, connection.ping());
        let Err(error) = answered.await else {
            self.may_be_unanswered = false;
            return Ok(());
        };
        self.may_be_unanswered = false;
        if let Some(transaction) = &mut self.transaction {
            transaction.see::<DB>(Some(&error));
        }
        self.state = match &error {
            sqlx::Error::Database(_) => self.state,
            sqlx::Error::Io(error) if error.kind() != io::ErrorKind::TimedOut => {
                ConnectionState::Broken
            }
            _ => ConnectionState::Unusable,
        };
        Err(error)
    }

    /// Leaves the answer to a statement whose caller went away to the next operation, which ignores errors of earlier ones.
    pub(super) fn forget_unanswered(&mut self) {
        self.may_be_unanswered = false;
    }

    /// Leaves the transaction whose begin on this checkout was cancelled. An answer is awaited for 2 s at most.
    ///
    /// # Errors
    ///
    /// The server does not answer, an open transaction was begun by a statement, or the transaction of a test that rolls back is
    /// lost.
    async fn leave_cancelled(&mut self) -> sqlx::Result<()> {
        if self.record().saw_transaction_control() {
            return Err(TransactionError::CancelledInside.into());
        }
        self.unsettle();
        let settings = self.source.settings();
        let (idle_depth, pooled) = (settings.idle_depth(), settings.pooler.is_some());
        let dialect = self.record().dialect();
        let counts_ended = self.counts_ended;
        let (connection, _) = self.source.parts_mut();
        let left = recover::<DB>(connection, dialect, idle_depth, pooled, counts_ended);
        match within(RECOVERY_LIMIT, "the limit for recovery", left).await {
            Ok(Recovered::Good) => {}
            Ok(_) => {
                self.state = ConnectionState::Unfit;
                return Err(TransactionError::CancelledInside.into());
            }
            // The driver has rolled back the transaction that the connection was held in.
            Err(_) if idle_depth > 0 => return Err(TransactionError::CancelledInside.into()),
            Err(error) => return Err(error),
        }
        self.counts_ended = false;
        self.record().set_over(false);
        Ok(())
    }

    /// Undoes what a statement that was dropped, or that the driver has given up, has left open around itself.
    async fn undo_unit(&mut self, unit: OpenUnit) -> sqlx::Result<()> {
        let (connection, _) = self.source.parts_mut();
        let undone = async {
            // The rest of that statement's answer, and its errors.
            answered::<DB>(connection).await?;
            if let Some(undo) = unit.ends() {
                DB::execute(connection, sqlx::raw_sql(undo)).await?;
            }
            Ok(())
        };
        within(RECOVERY_LIMIT, "the limit for recovery", undone).await
    }

    /// Runs one operation of the driver. If the future is dropped before its end, the connection counts as unverified.
    pub(crate) async fn run<'c, T, F>(
        &'c mut self,
        work: impl FnOnce(&'c mut DB::Connection, Arc<Record>) -> F,
    ) -> sqlx::Result<T>
    where
        F: Future<Output = sqlx::Result<T>>,
    {
        self.check_answering().await?;
        let Self {
            source,
            state,
            transaction,
            may_await_more,
            may_be_unanswered,
            answered,
            has_answered,
            for_one,
            ..
        } = self;
        let before = mem::replace(state, ConnectionState::Unverified);
        *may_be_unanswered = source.parts().1.dialect().expects_answer_first;
        if let Some(transaction) = transaction {
            transaction.begin_statement();
        }
        #[cfg(feature = "testing")]
        source.parts().1.recorder.begin(source.settings());
        let (connection, record) = source.parts_mut();
        let watched = record.watch_statement();
        let result = work(connection, Arc::clone(record)).await;
        *may_be_unanswered = false;
        let ended = watched.end(result.as_ref().err());
        if is_answer(result.as_ref().err()) {
            *has_answered = true;
            *answered = ended.or_else(|| (!*for_one).then(Instant::now));
        }
        #[cfg(feature = "testing")]
        record.recorder.end(result.as_ref().err());
        if let Some(transaction) = transaction {
            transaction.see::<DB>(result.as_ref().err());
        }
        *state = after::<DB>(before, result.as_ref().err(), record);
        *may_await_more = result.as_ref().is_err_and(may_be_of_the_client);
        result
    }

    /// Begins a stream, whose end is reported with [`end_stream`](Self::end_stream). Until then the connection counts as
    /// unverified.
    ///
    /// # Errors
    ///
    /// The connection cannot be used any more.
    pub(crate) async fn begin_stream(
        &mut self,
    ) -> sqlx::Result<(ConnectionState, &mut DB::Connection, Arc<Record>)> {
        self.check_answering().await?;
        let before = mem::replace(&mut self.state, ConnectionState::Unverified);
        self.may_be_unanswered = self.record().dialect().expects_answer_first;
        if let Some(transaction) = &mut self.transaction {
            transaction.begin_statement();
        }
        #[cfg(feature = "testing")]
        self.source.parts().1.recorder.begin(self.source.settings());
        let (connection, record) = self.source.parts_mut();
        Ok((before, connection, Arc::clone(record)))
    }

    /// Notes that a stream was read to its end, or to an error.
    pub(crate) fn end_stream(&mut self, before: ConnectionState, error: Option<&sqlx::Error>) {
        self.may_be_unanswered = false;
        #[cfg(feature = "testing")]
        self.source.parts().1.recorder.end(error);
        let ended = self.source.parts().1.statement_ended(error);
        if is_answer(error) {
            self.has_answered = true;
            self.answered = ended.or_else(|| (!self.for_one).then(Instant::now));
        }
        self.state = after::<DB>(before, error, self.source.parts().1);
        self.may_await_more = error.is_some_and(may_be_of_the_client);
        if let Some(transaction) = &mut self.transaction {
            transaction.see::<DB>(error);
        }
    }

    /// Whether the connection was opened for one use, and is closed after it.
    pub(crate) fn is_alone(&self) -> bool {
        matches!(self.source, ConnectionSource::Alone { .. })
    }

    /// Whether the connection is held in a transaction, for a test that rolls back.
    pub(crate) fn is_held(&self) -> bool {
        self.source.idle_depth() > 0
    }

    /// Notes that the server has just confirmed the end of the transaction.
    pub(crate) fn settled(&mut self) {
        if self.state == ConnectionState::Unverified {
            self.state = ConnectionState::Clean;
        }
    }

    /// Whether code outside of the pool had the driver's connection.
    pub(super) fn was_borrowed(&self) -> bool {
        self.was_borrowed
    }

    /// Whether code outside of the pool may have changed a setting of the session that the server has to be asked about.
    pub(super) fn may_be_changed(&self) -> bool {
        self.was_borrowed && self.record().dialect().begin_commits
    }

    /// Whether no answer of the server is unread, and nothing is unknown.
    pub(super) fn is_settled(&self) -> bool {
        self.state == ConnectionState::Clean
    }

    /// Notes that the server has to be asked before the connection is used again.
    pub(super) fn unsettle(&mut self) {
        if self.state == ConnectionState::Clean {
            self.state = ConnectionState::Unverified;
        }
    }

    /// Whether the connection is in no transaction except one that it is held in.
    pub(crate) fn is_idle(&self) -> bool {
        depth::<DB>(self.source.parts().0) == self.counted_while_idle()
    }

    /// The driver's count of transactions while the connection is idle.
    fn counted_while_idle(&self) -> usize {
        self.source.idle_depth() + usize::from(self.counts_ended)
    }

    /// The parameters of statements through a pooler; `None` without a pooler.
    pub(crate) fn pooled(&self) -> Option<Pooled> {
        let unit = self.unit.clone()?;
        Some(Pooled {
            settings: Arc::clone(self.source.settings()),
            begun_by_hand: self.source.parts().1.saw_transaction_control(),
            counts_ended: self.counts_ended,
            unit,
        })
    }

    /// Begins a transaction, sets its mark where the database has one, and runs `begin.set`, all in one message.
    ///
    /// # Errors
    ///
    /// The error of the server, which may have begun a transaction before the failed statement. The driver does not count
    /// that transaction.
    pub(super) async fn begin(&mut self, begin: Begin) -> sqlx::Result<()> {
        self.may_be_miscounted = true;
        let answer = self.send_begin(begin).await;
        if answer.is_ok() {
            self.may_be_miscounted = false;
        } else {
            self.unsettle();
        }
        answer
    }

    async fn send_begin(&mut self, begin: Begin) -> sqlx::Result<()> {
        let Begin { statement, set, .. } = begin;
        let first = self.may_be_inside().then_some("ROLLBACK");
        let clear = self.pooled().and(DB::CLEAR_POOLED);
        let mark = self.mark().and_then(|mark| mark.set);
        let set = (!set.is_empty()).then_some(&*set);
        let statement = if first.or(clear).or(mark).or(set).is_some() || self.counts_ended {
            let begin = statement.as_deref().map_or("BEGIN", whole);
            let parts: Vec<&str> = [first, Some(begin), clear, mark, set]
                .into_iter()
                .flatten()
                .collect();
            // A statement of the program may end in a comment.
            Some(parts.join("\n; "))
        } else {
            statement
        };
        if mem::take(&mut self.counts_ended)
            && let Some(statement) = statement
        {
            // The driver already counts a transaction and must not count a second one.
            return self.execute(statement).await;
        }
        let statement = statement.map(|sql| AssertSqlSafe(sql).into_sql_str());
        self.run(|connection, _| DB::TransactionManager::begin(connection, statement))
            .await
    }

    /// Whether an earlier user may have left a transaction open that a `BEGIN` would commit. sqlx's pool checks only the
    /// driver's count; ours asks the server.
    fn may_be_inside(&self) -> bool {
        let begin_commits = |transaction: &InTransaction| transaction.dialect.begin_commits;
        matches!(self.source, ConnectionSource::Sqlx { .. })
            && self.transaction.as_ref().is_some_and(begin_commits)
    }

    /// The mark for transactions of this checkout. None on a held connection, where each transaction is a savepoint, which
    /// is a mark itself.
    pub(super) fn mark(&self) -> Option<&'static Mark> {
        let transaction = self.transaction.as_ref().filter(|_| !self.is_held())?;
        transaction.dialect.mark.as_ref()
    }

    /// Commits the transaction, or releases the savepoint, that [`begin`](Self::begin) has begun. The driver must count no
    /// other transaction.
    pub(super) async fn commit(&mut self) -> sqlx::Result<()> {
        if let Some(ended) = self.ended_without_trace() {
            return Err(ended.into());
        }
        self.may_be_miscounted = true;
        let committed = match self.mark() {
            None => self.commit_by_driver().await,
            // A connection of sqlx's pool returns to code that needs a correct count of the driver.
            Some(mark) if matches!(self.source, ConnectionSource::Sqlx { .. }) => {
                match self.execute(mark.check.to_owned()).await {
                    Ok(()) => self.commit_by_driver().await,
                    Err(error) => Err(error),
                }
            }
            Some(mark) => {
                let committed = self.execute(mark.commit.to_owned()).await;
                self.counts_ended = committed.is_ok();
                committed
            }
        };
        self.may_be_miscounted = false;
        committed.map_err(|error| self.if_lost(error))
    }

    /// Whether one of its statements may have ended the transaction: one that has failed or that ends transactions, or one whose
    /// end the pool has not seen.
    pub(super) fn may_have_ended(&self) -> bool {
        let Some(InTransaction {
            dialect,
            has_failed,
            ..
        }) = &self.transaction
        else {
            return false;
        };
        let controls = self.source.parts().1.controls();
        *has_failed || !self.is_settled() || controls.first_of(dialect.ends_transaction).is_some()
    }

    /// The error for statements inside the transaction that have ended it and begun another one, where the database has no mark
    /// that shows this at the commit.
    fn ended_without_trace(&self) -> Option<TransactionError> {
        let InTransaction { dialect, .. } = self.transaction.as_ref()?;
        if self.is_held() || self.mark().is_some_and(|mark| mark.set.is_some()) {
            return None;
        }
        let statement = self.source.parts().1.controls().ended_before_another()?;
        Some(self.ended_by(dialect, statement))
    }

    async fn commit_by_driver(&mut self) -> sqlx::Result<()> {
        self.run(|connection, _| DB::TransactionManager::commit(connection))
            .await
    }

    /// Replaces an error by a [`TransactionError`] if it says that the transaction was no longer open.
    pub(super) fn if_lost(&self, error: sqlx::Error) -> sqlx::Error {
        match &self.transaction {
            Some(transaction) if transaction.dialect.is_lost(&error) => self.lost().into(),
            _ => error,
        }
    }

    /// The error for a transaction that is no longer open.
    pub(super) fn lost(&self) -> TransactionError {
        let controls = self.source.parts().1.controls();
        let ended_by = self.transaction.as_ref().and_then(|of| {
            let statement = controls.first_of(of.dialect.ends_transaction)?;
            Some(self.ended_by(of.dialect, statement))
        });
        ended_by.unwrap_or_else(|| TransactionError::Lost {
            engine: self.source.settings().engine.clone(),
        })
    }

    /// The error for a statement inside the transaction that has ended it, or may have, so that its part before may be committed;
    /// `None` if no such statement is known.
    pub(crate) fn ended_inside(&self) -> Option<TransactionError> {
        let InTransaction { dialect, lost, .. } = self.transaction.as_ref()?;
        if *lost {
            return Some(self.lost());
        }
        let controls = self.source.parts().1.controls();
        let statement = controls.first_statement_of(dialect.ends_transaction)?;
        Some(self.ended_by(dialect, statement))
    }

    fn ended_by(&self, dialect: &Dialect, statement: &'static str) -> TransactionError {
        TransactionError::EndedInside {
            engine: self.source.settings().engine.clone(),
            database: dialect.name,
            statement,
        }
    }

    /// Corrects the driver's count for code that gets the driver's connection. An answer is awaited for 2 s at most.
    pub(crate) async fn recount(&mut self) -> sqlx::Result<()> {
        if self.counts_ended {
            // A cancelled or failed one leaves a connection of unknown state, perhaps inside the transaction that it begins.
            let recounted = self.run(|connection, _| Box::pin(recount::<DB>(connection)));
            within(RECOVERY_LIMIT, "the limit for recovery", recounted).await?;
            self.counts_ended = false;
        }
        Ok(())
    }

    /// Runs statements of the pool's own in one message.
    pub(super) async fn execute(&mut self, sql: String) -> sqlx::Result<()> {
        self.run(|connection, _| DB::execute(connection, sqlx::raw_sql(AssertSqlSafe(sql))))
            .await
            .map(drop)
    }

    /// Closes the driver's prepared statements behind a pooler, where the next transaction may be in another session.
    pub(crate) async fn forget_statements(&mut self) -> sqlx::Result<()> {
        if self.pooled().is_none() {
            return Ok(());
        }
        self.run(|connection, _| DB::forget_statements(connection))
            .await
    }

    /// Closes the connection instead of returning it, because some state of its session must not be reused.
    pub(crate) fn discard(mut self) {
        if matches!(
            self.state,
            ConnectionState::Clean | ConnectionState::Unverified
        ) {
            self.state = ConnectionState::Unfit;
        }
    }

    /// Takes the driver's connection out of the pool, and returns its slot empty.
    pub(super) fn detach(mut self) -> DB::Connection {
        // A recording does not see what runs on it.
        #[cfg(feature = "testing")]
        {
            let record = self.record();
            let recorder = &record.recorder;
            recorder.note_borrowed(self.source.settings(), record.location());
        }
        match mem::replace(&mut self.source, ConnectionSource::Gone) {
            ConnectionSource::Pool(mut slot) => match slot.value.take() {
                Some(connection) => {
                    let shared = Arc::clone(connection.shared());
                    let detached = connection.detach();
                    recovery::return_empty(&shared, slot);
                    detached
                }
                None => unreachable!("{FULL}"),
            },
            ConnectionSource::Sqlx { connection, .. } => connection.detach(),
            ConnectionSource::Alone { connection, .. } => connection,
            ConnectionSource::Gone => unreachable!("{GONE}"),
        }
    }

    /// Closes the connection in a task and waits for the task.
    pub(crate) async fn close(mut self) {
        let (closed, waiting) = oneshot::channel::<()>();
        match mem::replace(&mut self.source, ConnectionSource::Gone) {
            ConnectionSource::Pool(mut slot) => {
                let Some(connection) = slot.value.take() else {
                    return;
                };
                connection.record.returned();
                let is_unusable = self.state == ConnectionState::Unusable;
                let shared = Arc::clone(connection.shared());
                Arc::clone(&shared).spawn(async move {
                    if is_unusable {
                        connection.close_unread().await;
                    } else {
                        connection.close().await;
                    }
                    recovery::return_empty(&shared, slot);
                    drop(closed);
                });
            }
            ConnectionSource::Sqlx {
                connection,
                runtime,
                ..
            } => {
                let _entered = runtime.enter();
                background::spawn(async move {
                    if let Err(error) = connection.close().await {
                        tracing::debug!(
                            "a connection was closed without the server's word: {error}"
                        );
                    }
                    drop(closed);
                });
            }
            ConnectionSource::Alone {
                connection,
                connector,
                record,
            } => background::spawn(async move {
                connector
                    .close_or_terminate(connection, record.session.as_ref())
                    .await;
                drop(closed);
            }),
            ConnectionSource::Gone => unreachable!("{GONE}"),
        }
        // The sender is dropped at the end of the task, without a message.
        let _ = waiting.await;
    }

    /// The runtime of the connection's pool; `None` for a connection that is opened for one use.
    pub(crate) fn runtime(&self) -> Option<Handle> {
        match &self.source {
            ConnectionSource::Pool(slot) => Some(connection_of(slot).shared().runtime.clone()),
            ConnectionSource::Sqlx { runtime, .. } => Some(runtime.clone()),
            ConnectionSource::Alone { .. } | ConnectionSource::Gone => None,
        }
    }

    /// The name of the engine.
    pub(super) fn engine(&self) -> &str {
        &self.source.settings().engine
    }

    pub(super) fn record(&self) -> &Arc<Record> {
        self.source.parts().1
    }
}

/// A statement without the semicolon at its end.
fn whole(statement: &str) -> &str {
    statement.trim_end_matches(|end: char| end == ';' || end.is_whitespace())
}

/// The state after an operation that ran to its end, or to an error.
fn after<DB: Backend>(
    before: ConnectionState,
    error: Option<&sqlx::Error>,
    record: &Record,
) -> ConnectionState {
    if let Some(error) = error.filter(|error| DB::ends_session(error)) {
        return if makes_unusable(error, record.dialect()) {
            ConnectionState::Unusable
        } else if may_be_of_the_client(error) {
            ConnectionState::Unverified
        } else {
            ConnectionState::Broken
        };
    }
    if record.saw_transaction_control()
        || error.is_some_and(|error| DB::refuses_writes(error) || may_leave_rows(error))
    {
        ConnectionState::Unverified
    } else {
        before
    }
}

/// Whether an operation with this error, or none, ended with an answer of the server.
fn is_answer(error: Option<&sqlx::Error>) -> bool {
    error.is_none_or(|error| error.as_database_error().is_some())
}

/// Whether the connection can no longer be read from. The driver of MySQL notes an expected answer before it checks the values.
/// After an error there it waits for that answer forever.
fn makes_unusable(error: &sqlx::Error, dialect: &Dialect) -> bool {
    dialect.expects_answer_first && matches!(error, sqlx::Error::Protocol(_))
}

/// Whether an error may come from a row in the middle of a result, whose rest is not read. The `Any` driver converts each row.
fn may_leave_rows(error: &sqlx::Error) -> bool {
    matches!(
        error,
        sqlx::Error::AnyDriverError(_) | sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)
    )
}

/// Whether the driver alone may have made an error from its input, with an intact connection: too many parameters, a value
/// that cannot be sent. The server is then asked before the connection counts as broken.
fn may_be_of_the_client(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Protocol(_) => true,
        sqlx::Error::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::InvalidInput
                | io::ErrorKind::InvalidData
                | io::ErrorKind::Unsupported
                | io::ErrorKind::OutOfMemory
                | io::ErrorKind::Other
        ),
        _ => false,
    }
}

impl<DB: Backend> ConnectionSource<DB> {
    fn settings(&self) -> &Arc<EngineSettings> {
        match self {
            Self::Pool(slot) => &connection_of(slot).shared().connector.settings,
            Self::Sqlx { settings, .. } => settings,
            Self::Alone { connector, .. } => &connector.settings,
            Self::Gone => unreachable!("{GONE}"),
        }
    }

    fn idle_depth(&self) -> usize {
        self.settings().idle_depth()
    }

    fn parts(&self) -> (&DB::Connection, &Arc<Record>) {
        match self {
            Self::Pool(slot) => connection_of(slot).parts(),
            Self::Sqlx {
                connection, record, ..
            } => (connection, record),
            Self::Alone {
                connection, record, ..
            } => (connection, record),
            Self::Gone => unreachable!("{GONE}"),
        }
    }

    fn parts_mut(&mut self) -> (&mut DB::Connection, &Arc<Record>) {
        match self {
            Self::Pool(slot) => match &mut slot.value {
                Some(connection) => connection.parts_mut(),
                None => unreachable!("{FULL}"),
            },
            Self::Sqlx {
                connection, record, ..
            } => (connection, record),
            Self::Alone {
                connection, record, ..
            } => (connection, record),
            Self::Gone => unreachable!("{GONE}"),
        }
    }
}

impl<DB: Backend> Drop for CheckedOut<DB> {
    fn drop(&mut self) {
        // A recovery may still run when the next recording begins.
        #[cfg(feature = "testing")]
        if !matches!(self.source, ConnectionSource::Gone) {
            self.record().recorder.no_longer_borrowed();
        }
        let state = self.state;
        match mem::replace(&mut self.source, ConnectionSource::Gone) {
            ConnectionSource::Pool(slot) => {
                // After its one statement a connection returns at once, so one reading of the clock serves for both.
                let now = self.answered.filter(|_| self.for_one);
                let now = now.unwrap_or_else(Instant::now);
                let answered = self
                    .answered
                    .or((self.for_one && self.has_answered).then_some(now));
                take_back(slot, state, self.counts_ended, now, answered);
            }
            ConnectionSource::Sqlx {
                mut connection,
                settings,
                runtime,
                record,
            } => {
                let _entered = runtime.enter();
                let is_ended = matches!(
                    state,
                    ConnectionState::Unfit | ConnectionState::Broken | ConnectionState::Unusable
                );
                let locked = |(words, _)| record.controls().first_of(words).is_some();
                let may_hold_locks = record.dialect().locks.is_some_and(locked);
                // The driver does not count a transaction whose begin was cancelled.
                let may_be_in_one = may_hold_locks || record.is_over();
                if is_ended
                    || self.may_be_miscounted
                    || (may_be_in_one && settings.idle_depth() == 0)
                {
                    // sqlx's pool would hand it on: it only pings.
                    connection.close_on_drop();
                } else {
                    // The rollbacks queued here are sent before that ping.
                    let depth = DB::TransactionManager::get_transaction_depth(&connection);
                    for _ in settings.idle_depth()..depth {
                        DB::TransactionManager::start_rollback(&mut connection);
                    }
                    let remembers = record.dialect().remembers_ends && settings.idle_depth() == 0;
                    if state == ConnectionState::Unverified && remembers {
                        // The driver may remember a rollback that was cancelled, and would ignore the next one. Without an
                        // effect outside of a transaction; one that the connection is held in must not be rolled back.
                        DB::TransactionManager::start_rollback(&mut connection);
                    }
                    if state == ConnectionState::Unverified {
                        // At a close, sqlx's pool ends a returning connection without reading the rest of an answer, which
                        // the server could then not send.
                        runtime.spawn(async move {
                            let ping = timeout(RECOVERY_LIMIT, connection.ping()).await;
                            if !matches!(ping, Ok(Ok(()))) {
                                // On MySQL, the answer of a ping that was given up would be taken for that of a later statement.
                                connection.close_on_drop();
                            }
                        });
                        return;
                    }
                }
                // While the runtime is entered.
                drop(connection);
            }
            ConnectionSource::Alone {
                connection,
                connector,
                record,
            } => background::spawn(async move {
                connector
                    .close_or_terminate(connection, record.session.as_ref())
                    .await;
            }),
            ConnectionSource::Gone => {}
        }
    }
}

const GONE: &str = "only what consumes the whole takes the connection";

const FULL: &str = "a slot is handed out with a connection in it";

/// The connection in a slot that was handed out.
fn connection_of<DB: Backend>(slot: &SlotOf<DB>) -> &Connection<DB> {
    match &slot.value {
        Some(connection) => connection,
        None => unreachable!("{FULL}"),
    }
}

/// Returns a slot at once, or after a task of the pool has recovered or closed its connection.
fn take_back<DB: Backend>(
    slot: SlotOf<DB>,
    state: ConnectionState,
    counts_ended: bool,
    now: Instant,
    answered: Option<Instant>,
) {
    let connection = connection_of(&slot);
    let idle_depth = connection.shared().idle_depth() + usize::from(counts_ended);
    let in_transaction = depth::<DB>(connection.parts().0) != idle_depth;
    match state {
        ConnectionState::Clean if !in_transaction => {
            recovery::give_back(slot, now, answered);
        }
        ConnectionState::Clean | ConnectionState::Unverified => {
            recovery::give_back_unverified(slot, counts_ended);
        }
        ConnectionState::Unfit => recovery::close(slot),
        ConnectionState::Unusable => recovery::close_unusable(slot),
        ConnectionState::Broken => recovery::close_broken(slot),
    }
}

impl<DB: Backend> Deref for CheckedOut<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        self.source.parts().0
    }
}

impl<DB: Backend> DerefMut for CheckedOut<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        self.unsettle();
        self.was_borrowed = true;
        #[cfg(feature = "testing")]
        {
            let (settings, record) = (self.source.settings(), self.source.parts().1);
            record.recorder.note_borrowed(settings, record.location());
        }
        self.source.parts_mut().0
    }
}

impl<DB: Backend> fmt::Debug for CheckedOut<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckedOut")
            .field("database", &DB::KIND)
            .field("session", &self.source.parts().1.session)
            .finish_non_exhaustive()
    }
}
