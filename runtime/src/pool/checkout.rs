//! A connection in the hands of a task, and its way back.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Instant;

use futures_core::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx_core::transaction::TransactionManager;
use tokio::runtime::Handle;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::connector::Connector;
use super::place::Held;
use super::status::{Card, Holder};
use super::yard::Yard;
use crate::backend::Backend;

/// One connection out of the pool, held by a task.
///
/// It is an executor (`query.execute(&mut checkout)`), and it dereferences to the driver's connection
/// (`&mut *checkout`, as with sqlx's `PoolConnection`) for everything that wants one.
///
/// # Drop
///
/// Dropping it never waits and never loses its place in the pool, inside a runtime or outside of any.
///
/// - Used as an executor, with every query finished and no transaction open: it goes back at once.
/// - Otherwise its state is not known: a dropped query or half-read stream, an open or half-begun transaction, or use
///   through [`DerefMut`], which the pool cannot watch. It is then drained, rolled back and checked with the server in
///   a task of the pool, within two seconds, or closed. Nobody gets it in between.
///
/// A checkout that is leaked (`std::mem::forget`) keeps its place until the pool is closed.
#[must_use = "a checkout that is dropped at once goes back to the pool"]
pub struct Checkout<DB: Backend> {
    seat: Seat<DB>,
    state: State,
    card: Arc<Card>,
    /// Counted by the pool's close, which waits for it.
    _token: TaskTrackerToken,
}

/// Where the connection comes from, and so where it goes back to.
enum Seat<DB: Backend> {
    /// `None` only in `Drop`.
    Pool {
        held: Option<Held<DB>>,
        yard: Arc<Yard<DB>>,
    },
    Sqlx(PoolConnection<DB>),
    /// Opened for one use, before the pool was started. `None` only in `Drop`.
    Alone {
        connection: Option<DB::Connection>,
        connector: Arc<Connector<DB>>,
    },
}

/// What is known of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Idle and outside any transaction, unless the driver itself counts one.
    Clean,
    /// It may be in the middle of something.
    Unverified,
    /// The session has ended.
    Broken,
}

impl<DB: Backend> Checkout<DB> {
    pub(super) fn of_pool(
        held: Held<DB>,
        yard: Arc<Yard<DB>>,
        holder: Holder,
        now: Instant,
        token: TaskTrackerToken,
    ) -> Self {
        let card = match &held.0 {
            Some(filled) => Arc::clone(&filled.card),
            None => unreachable!("the pool hands out filled places"),
        };
        card.take(now, holder);
        Self {
            seat: Seat::Pool {
                held: Some(held),
                yard,
            },
            state: State::Clean,
            card,
            _token: token,
        }
    }

    pub(super) fn of_sqlx(
        connection: PoolConnection<DB>,
        card: Arc<Card>,
        token: TaskTrackerToken,
    ) -> Self {
        Self {
            seat: Seat::Sqlx(connection),
            state: State::Clean,
            card,
            _token: token,
        }
    }

    /// A connection opened for this use alone, and closed after it.
    pub(crate) fn alone(
        connection: DB::Connection,
        connector: Arc<Connector<DB>>,
        holder: Holder,
        token: TaskTrackerToken,
    ) -> Self {
        let card = Card::alone(holder);
        let seat = Seat::Alone {
            connection: Some(connection),
            connector,
        };
        Self {
            seat,
            state: State::Clean,
            card,
            _token: token,
        }
    }

    /// Runs one piece of driver work. If its future is dropped half-way, the connection counts as unverified.
    pub(crate) async fn run<'c, T>(
        &'c mut self,
        work: impl FnOnce(&'c mut DB::Connection, Arc<Card>) -> BoxFuture<'c, sqlx::Result<T>>,
    ) -> sqlx::Result<T> {
        let Self {
            seat, state, card, ..
        } = self;
        let before = std::mem::replace(state, State::Unverified);
        let result = work(seat.connection_mut(), Arc::clone(card)).await;
        *state = after(
            before,
            result.as_ref().err().is_some_and(DB::ends_session),
            card,
        );
        result
    }

    /// Begins a stream, which reports its end with [`end_stream`](Self::end_stream). Until then the connection counts as
    /// unverified.
    pub(crate) fn begin_stream(&mut self) -> (State, &mut DB::Connection, Arc<Card>) {
        let before = std::mem::replace(&mut self.state, State::Unverified);
        (before, self.seat.connection_mut(), Arc::clone(&self.card))
    }

    /// A stream was read to its end, or to an error.
    pub(crate) fn end_stream(&mut self, before: State, error: Option<&sqlx::Error>) {
        self.state = after(before, error.is_some_and(DB::ends_session), &self.card);
    }

    /// Says that the server has just confirmed the end of the transaction.
    pub(crate) fn settled(&mut self) {
        if self.state == State::Unverified {
            self.state = State::Clean;
        }
    }

    /// Lets the connection end with this checkout, because something of its session must not outlive it.
    pub(crate) fn discard(mut self) {
        self.state = State::Broken;
    }
}

/// The state after a piece of work that ran to its end.
fn after(before: State, session_ended: bool, card: &Card) -> State {
    if session_ended {
        State::Broken
    } else if card.saw_transaction_control() {
        State::Unverified
    } else {
        before
    }
}

impl<DB: Backend> Seat<DB> {
    fn connection(&self) -> &DB::Connection {
        match self {
            Self::Pool {
                held: Some(held), ..
            } if held.0.is_some() => match &held.0 {
                Some(filled) => filled.connection(),
                None => unreachable!("matched above"),
            },
            Self::Sqlx(connection) => connection,
            Self::Alone {
                connection: Some(connection),
                ..
            } => connection,
            _ => unreachable!("only `Drop` empties a seat"),
        }
    }

    fn connection_mut(&mut self) -> &mut DB::Connection {
        match self {
            Self::Pool {
                held: Some(held), ..
            } if held.0.is_some() => match &mut held.0 {
                Some(filled) => filled.connection_mut(),
                None => unreachable!("matched above"),
            },
            Self::Sqlx(connection) => connection,
            Self::Alone {
                connection: Some(connection),
                ..
            } => connection,
            _ => unreachable!("only `Drop` empties a seat"),
        }
    }
}

impl<DB: Backend> Drop for Checkout<DB> {
    fn drop(&mut self) {
        let in_transaction =
            DB::TransactionManager::get_transaction_depth(self.seat.connection()) > 0;
        match &mut self.seat {
            Seat::Pool { held, yard } => {
                let Some(mut held) = held.take() else { return };
                match self.state {
                    State::Clean if !in_transaction => {
                        self.card.put_back();
                        if let Some(filled) = &mut held.0 {
                            filled.idle_since = Instant::now();
                        }
                        // Dropping it is putting it back.
                        drop(held);
                    }
                    State::Clean | State::Unverified => yard.take_back_unverified(held),
                    State::Broken => {
                        yard.suspect_all();
                        yard.take_back_closed(held);
                    }
                }
            }
            Seat::Sqlx(connection) => {
                // sqlx only pings on its own way back. What is queued here goes to the server before that ping.
                for _ in 0..DB::TransactionManager::get_transaction_depth(connection) {
                    DB::TransactionManager::start_rollback(connection);
                }
                self.card.put_back();
            }
            Seat::Alone {
                connection,
                connector,
            } => {
                let Some(connection) = connection.take() else {
                    return;
                };
                let connector = Arc::clone(connector);
                // Outside any runtime nobody can say goodbye; dropping the socket is all there is.
                if let Ok(runtime) = Handle::try_current() {
                    runtime.spawn(async move { connector.goodbye(connection).await });
                }
            }
        }
    }
}

impl<DB: Backend> Deref for Checkout<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        self.seat.connection()
    }
}

impl<DB: Backend> DerefMut for Checkout<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        if self.state == State::Clean {
            self.state = State::Unverified;
        }
        self.seat.connection_mut()
    }
}

impl<DB: Backend> fmt::Debug for Checkout<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkout")
            .field("database", &DB::KIND)
            .field("session", &self.card.session)
            .finish_non_exhaustive()
    }
}
