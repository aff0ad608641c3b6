//! `begin`: a transaction on a connection of its own.

use std::future::Future;
use std::panic::Location;

use super::begun::Begun;
use super::{Engine, Transaction};
use crate::backend::Backend;
use crate::dialect::TransactionOptions;
use crate::error::TransactionError;
use crate::pool::Holder;

impl<DB: Backend> Engine<DB> {
    /// Takes a connection and begins a transaction on it. See [`Transaction`].
    ///
    /// # Errors
    ///
    /// As [`acquire`](Engine::acquire), or what the server says to `BEGIN`.
    ///
    /// # Cancellation
    ///
    /// The future may be dropped at any await point: a half-begun transaction is rolled back before anyone else gets its
    /// connection.
    #[track_caller]
    pub fn begin(&self) -> impl Future<Output = sqlx::Result<Transaction<DB>>> + Send + use<DB> {
        let location = Location::caller();
        let engine = self.clone();
        async move {
            let options = TransactionOptions::new();
            engine.begin_with(Holder::Code(location), options).await
        }
    }

    pub(super) async fn begin_with(
        &self,
        holder: Holder,
        options: TransactionOptions,
    ) -> sqlx::Result<Transaction<DB>> {
        let dialect = self.connector().dialect();
        let statement = (dialect.begin)(&options).map_err(|option| {
            let engine = self.name().to_owned();
            let database = dialect.name;
            TransactionError::Unsupported {
                engine,
                database,
                option,
            }
        })?;
        self.say_beside("a transaction begins");
        let mut checkout = self.checkout(holder).await?;
        checkout.watch(dialect);
        let begun = Begun::begin(checkout, statement).await?;
        Ok(Transaction::of(self.clone(), begun))
    }
}
