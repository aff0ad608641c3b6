//! `COPY` on the engine, as sqlx has it on its pool: <https://www.postgresql.org/docs/current/sql-copy.html>.

use std::future::Future;
use std::panic::Location;
use std::pin::Pin;

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use sqlx::Postgres;
use sqlx_core::bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::Engine;
use crate::pool::Holder;

impl Engine<Postgres> {
    /// Runs `COPY … TO STDOUT`, and streams its data as it arrives. On a connection of the pool's, which goes back after the last
    /// item.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Engine::acquire), and what the server says to the statement.
    ///
    /// # Cancellation
    ///
    /// The stream may be dropped at any time. The rest of the data is then read by the pool, or the connection is closed.
    #[track_caller]
    pub fn copy_out_raw(
        &self,
        statement: &str,
    ) -> impl Future<Output = sqlx::Result<BoxStream<'static, sqlx::Result<Bytes>>>> + Send + use<>
    {
        let holder = Holder::Code(Location::caller());
        let engine = self.clone();
        let statement = statement.to_owned();
        async move {
            let data = async_stream::try_stream! {
                let mut checkout = engine.checkout_for_caller(holder).await?;
                let mut data = checkout.copy_out_raw(&statement).await?;
                while let Some(chunk) = data.try_next().await? {
                    yield chunk;
                }
            };
            // A statement that the server refuses is an error of the call.
            let mut data = Box::pin(data.peekable());
            match data.as_mut().peek().await {
                Some(Err(_)) => match data.next().await {
                    Some(Err(error)) => Err(error),
                    _ => unreachable!("what was peeked at is next"),
                },
                _ => Ok(data as Pin<Box<_>>),
            }
        }
    }

    /// Runs `COPY … FROM STDIN`, to which [`CopyIn::send`] then gives the data. On a connection of the pool's, which goes back at
    /// the end.
    ///
    /// ```no_run
    /// # async fn load(db: poolhouse::PgEngine) -> sqlx::Result<()> {
    /// let mut copy = db.copy_in_raw("COPY band (id, name) FROM STDIN").await?;
    /// copy.send("1\tRustaceans\n").await?;
    /// assert_eq!(copy.finish().await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`acquire`](Engine::acquire), and what the server says to the statement.
    ///
    /// # Cancellation
    ///
    /// The future may be dropped at any await point; nothing is copied then.
    #[track_caller]
    pub fn copy_in_raw(
        &self,
        statement: &str,
    ) -> impl Future<Output = sqlx::Result<CopyIn>> + Send + use<> {
        let holder = Holder::Code(Location::caller());
        let engine = self.clone();
        let statement = statement.to_owned();
        async move {
            let (orders, given) = mpsc::channel(1);
            let (ready, is_ready) = oneshot::channel();
            let (end, outcome) = oneshot::channel();
            // sqlx's own copy borrows its connection; a task that owns both needs no borrow in what the caller holds.
            tokio::spawn(async move {
                let copied = copy_in(engine, holder, statement, ready, given).await;
                let _ = end.send(copied);
            });
            if is_ready.await.is_err() {
                let outcome = outcome.await.unwrap_or(Err(sqlx::Error::WorkerCrashed));
                return Err(outcome.err().unwrap_or(sqlx::Error::WorkerCrashed));
            }
            Ok(CopyIn { orders, outcome })
        }
    }
}

/// A `COPY … FROM STDIN` under way, from [`PgEngine::copy_in_raw`](Engine::copy_in_raw).
///
/// # Drop
///
/// Dropping it without [`finish`](Self::finish) copies nothing.
#[derive(Debug)]
#[must_use = "nothing is copied without `finish`"]
pub struct CopyIn {
    orders: mpsc::Sender<Order>,
    outcome: oneshot::Receiver<sqlx::Result<u64>>,
}

#[derive(Debug)]
enum Order {
    Data(Vec<u8>),
    Finish,
    Abort(String),
}

impl CopyIn {
    /// Sends data, in the format that the statement names. It need not end at the end of a row.
    ///
    /// # Errors
    ///
    /// The connection has ended. What the server says to the data comes with [`finish`](Self::finish).
    ///
    /// # Cancellation
    ///
    /// If the future is dropped, the data is sent as a whole or not at all.
    pub async fn send(&mut self, data: impl Into<Vec<u8>>) -> sqlx::Result<&mut Self> {
        if self.orders.send(Order::Data(data.into())).await.is_ok() {
            return Ok(self);
        }
        let outcome = (&mut self.outcome).await;
        let outcome = outcome.unwrap_or(Err(sqlx::Error::WorkerCrashed));
        Err(outcome.err().unwrap_or(sqlx::Error::WorkerCrashed))
    }

    /// Ends the copy, and gives the number of rows.
    ///
    /// # Errors
    ///
    /// What the server says to the data. Nothing is copied then.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped, the rows may or may not be copied.
    pub async fn finish(self) -> sqlx::Result<u64> {
        self.end(Order::Finish).await
    }

    /// Gives up the copy, for a reason that the server's log shows. Nothing is copied.
    ///
    /// # Errors
    ///
    /// The connection has ended.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped, nothing is copied.
    pub async fn abort(self, reason: impl Into<String>) -> sqlx::Result<()> {
        self.end(Order::Abort(reason.into())).await.map(drop)
    }

    async fn end(self, order: Order) -> sqlx::Result<u64> {
        // When the task is gone already, its outcome says why.
        let _ = self.orders.send(order).await;
        self.outcome
            .await
            .unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }
}

/// Copies what is ordered, and gives the number of rows.
async fn copy_in(
    engine: Engine<Postgres>,
    holder: Holder,
    statement: String,
    ready: oneshot::Sender<()>,
    mut orders: mpsc::Receiver<Order>,
) -> sqlx::Result<u64> {
    let mut checkout = engine.checkout_for_caller(holder).await?;
    let mut copy = checkout.copy_in_raw(&statement).await?;
    if ready.send(()).is_err() {
        // The caller has gone away.
        return copy.abort("the copy was cancelled").await.map(|()| 0);
    }
    while let Some(order) = orders.recv().await {
        match order {
            Order::Data(data) => copy.send(data).await.map(drop)?,
            Order::Finish => return copy.finish().await,
            Order::Abort(reason) => return copy.abort(reason).await.map(|()| 0),
        }
    }
    copy.abort("the copy was dropped").await.map(|()| 0)
}
