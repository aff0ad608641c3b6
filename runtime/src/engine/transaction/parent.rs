//! The parent of a `#[transactional]` function, and the function's expansion.

use std::future::Future;
use std::panic::Location;

use super::work::{Again, Once, Tries};
use super::{Retry, Transaction, TransactionOptions, Work};
use crate::backend::Backend;
use crate::engine::Engine;

/// What a function with `#[transactional]` is called with: `&Engine<DB>`, or the `&mut Transaction<DB>` that the caller is in.
///
/// It is implemented for these, and for nothing else.
#[diagnostic::on_unimplemented(
    message = "a `#[transactional]` function is called with `&Engine` or `&mut Transaction` of its database, not with `{Self}`",
    label = "neither of them, or of another database"
)]
pub trait TransactionParent<DB: Backend>: Send + sealed::Sealed {
    #[doc(hidden)]
    fn engine(&self) -> Engine<DB>;
    #[doc(hidden)]
    fn transaction(&mut self) -> Option<&mut Transaction<DB>>;
}

impl<DB: Backend> TransactionParent<DB> for &Engine<DB> {
    fn engine(&self) -> Engine<DB> {
        Engine::clone(self)
    }

    fn transaction(&mut self) -> Option<&mut Transaction<DB>> {
        None
    }
}

impl<DB: Backend> TransactionParent<DB> for &mut Transaction<DB> {
    fn engine(&self) -> Engine<DB> {
        self.own_engine().clone()
    }

    fn transaction(&mut self) -> Option<&mut Transaction<DB>> {
        Some(self)
    }
}

mod sealed {
    use super::{Backend, Engine, Transaction};

    pub trait Sealed {}
    impl<DB: Backend> Sealed for &Engine<DB> {}
    impl<DB: Backend> Sealed for &mut Transaction<DB> {}
}

/// The parameter type by which a `#[transactional]` function gets its transaction.
#[diagnostic::on_unimplemented(
    message = "`#[transactional]` gives a function `&mut poolhouse::Transaction<DB>`, not `&mut {Self}`",
    label = "not `poolhouse::Transaction<DB>`"
)]
pub trait IsTransaction {
    /// Its database.
    type Database: Backend;
}

impl<DB: Backend> IsTransaction for Transaction<DB> {
    type Database = DB;
}

/// An argument of a `#[transactional]` function, cloned for each try.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be had again for another try of the transaction",
    label = "needed again after a conflict",
    note = "take a reference or an `Arc`, derive `Clone`, or write `#[transactional(retries = 0)]`"
)]
pub trait Argument {}

impl<T: Clone> Argument for T {}

/// Requires that each try can have its own argument.
pub const fn assert_argument<T: Argument>(_: &T) {}

/// The body of a `#[transactional]` function.
#[track_caller]
pub fn transactional<DB, P, R, T, E, F>(
    parent: P,
    options: TransactionOptions<R>,
    work: F,
) -> impl Future<Output = Result<T, E>> + Send
where
    DB: Backend,
    P: TransactionParent<DB>,
    R: Retry<E> + Send + Sync,
    T: Send,
    E: From<sqlx::Error> + Send,
    F: Clone + Send + for<'t> Work<&'t mut Transaction<DB>, Result<T, E>, Fut: Send>,
{
    in_parent(parent, Location::caller(), options, Again(work))
}

/// As [`transactional`], without retries.
#[track_caller]
pub fn transactional_once<DB, P, R, T, E, F>(
    parent: P,
    options: TransactionOptions<R>,
    work: F,
) -> impl Future<Output = Result<T, E>> + Send
where
    DB: Backend,
    P: TransactionParent<DB>,
    R: Retry<E> + Send + Sync,
    T: Send,
    E: From<sqlx::Error> + Send,
    F: Send + for<'t> Work<&'t mut Transaction<DB>, Result<T, E>, Fut: Send>,
{
    in_parent(
        parent,
        Location::caller(),
        options.retries(0),
        Once(Some(work)),
    )
}

async fn in_parent<DB, P, R, T, E, W, F>(
    mut parent: P,
    location: &'static Location<'static>,
    options: TransactionOptions<R>,
    tries: W,
) -> Result<T, E>
where
    DB: Backend,
    P: TransactionParent<DB>,
    R: Retry<E> + Send + Sync,
    T: Send,
    E: From<sqlx::Error> + Send,
    W: Tries<F> + Send,
    F: Send + for<'t> Work<&'t mut Transaction<DB>, Result<T, E>, Fut: Send>,
{
    let engine = parent.engine();
    // Boxed, so that the futures of nested transactions do not grow with each level.
    match parent.transaction() {
        None => Box::pin(engine.run(location, options, tries)).await,
        Some(transaction) => Box::pin(engine.run_inside(transaction, &options, tries)).await,
    }
}
