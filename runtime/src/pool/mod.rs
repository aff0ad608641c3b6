//! The engine's pool: slots, and the connections in them.
//!
//! | file | what it holds |
//! |---|---|
//! | `slots` | who gets the next slot: the idle queue, the waiters, the most slots, the close. Its promises are in its first lines |
//! | `queue`, `sync`, `deadline` | what `slots` stands on: a queue, its lock, and the one timer of all waiters |
//! | `driver_state` | what the driver counts on a connection, and how one of unknown state is recovered |
//! | `connecting` | opening a connection, to which host and as whom, and ending one on the server |
//! | `shared` | the pool's state without the slots, which connections hold |
//! | `connection` | an open connection and what the pool knows of it |
//! | `registry` | who holds which connection, since when, for which statement |
//! | `recording` | statements that a test records (feature `testing`) |
//! | `recovery` | what happens to a connection that cannot be used as it is |
//! | `outage` | what the log says while a server is away or full |
//! | `checked_out`, `in_transaction` | a connection that a task has checked out, the transaction on it, and its return |
//! | `session`, `checkout` | what users hold: an executor over such a connection |
//! | `handle`, `acquire` | a started pool, and waiting for a checkout |
//! | `start`, `keeper`, `close` | the pool's own life |
//! | `status`, `report`, `meters` | numbers and what a close came to, for people and for `metrics` |
//! | `spans`, `durations` | what a tracing backend and `metrics` see of statements, waits and transactions |
//! | `on_sqlx` | the same face over a `sqlx::Pool` |
//!
//! None uses one that uses it.
//!
//! # Ownership rules
//!
//! 1. A slot stands for one session on the server, so there are never more sessions than slots: a task that opens, recovers or
//!    closes a connection holds its slot meanwhile. One session more may exist for a moment: the one that ends others.
//! 2. Work that must not stop half-way (a handshake, a recovery, a goodbye) runs in a task of the pool that owns the slot.
//!    A caller only waits for it, and may go away at any await point without harm.
//! 3. A connection goes back into the idle queue, or to the waiter at the front, in `Drop`, at once, when it is known to be
//!    idle and outside any transaction. Otherwise it is recovered first, or closed.
//! 4. A connection never ends without a goodbye to the server, unless the server is gone or does not answer in time.

mod acquire;
mod checked_out;
mod checkout;
mod close;
mod connecting;
mod connection;
mod deadline;
mod driver_state;
mod durations;
mod handle;
mod in_transaction;
mod keeper;
mod meters;
mod on_sqlx;
mod outage;
mod queue;
#[cfg(feature = "testing")]
mod recording;
mod recovery;
mod registry;
mod report;
mod session;
mod shared;
mod slots;
mod spans;
mod start;
mod status;
mod sync;
mod transact;

pub(crate) use self::checked_out::CheckedOut;
pub use self::checkout::Checkout;
pub(crate) use self::connecting::Connector;
#[cfg(all(feature = "testing", any(feature = "postgres", feature = "mysql")))]
pub(crate) use self::connecting::open_for;
#[cfg(all(feature = "testing", any(feature = "postgres", feature = "mysql")))]
pub(crate) use self::connecting::{Borrowed, ServerFacts};
pub(crate) use self::handle::Pool;
pub(crate) use self::in_transaction::{Begin, Hooks};
#[cfg(feature = "testing")]
pub(crate) use self::recording::Recording;
#[cfg(feature = "testing")]
pub use self::recording::{End, Statement};
pub(crate) use self::registry::{Holder, Record};
pub use self::report::{CloseReport, EndedHolder, Left};
pub use self::session::Session;
pub(crate) use self::session::{Cell, ForStatement};
pub(crate) use self::spans::transaction as transaction_span;
pub(crate) use self::start::open_direct;
pub use self::status::Status;
