//! The engine's pool: slots, and the connections in them.
//!
//! | file | what it holds |
//! |---|---|
//! | `slots` | the slots: idle queue, waiters, maximum, close. Its promises are in its first lines |
//! | `queue`, `sync`, `deadline` | for `slots`: the queue type, the lock types, and the one timer of all waiters |
//! | `driver_state` | the driver's transaction count, and the recovery of a connection of unknown state |
//! | `connecting` | opening connections (host and credentials), and terminating sessions on the server |
//! | `shared` | pool state without the slots; connections hold it |
//! | `connection` | an open driver connection with its state in the pool |
//! | `registry` | who holds which connection, since when, for which statement |
//! | `recording` | statements that a test records (feature `testing`) |
//! | `recovery` | validating, recovering, replacing and closing a slot's connection |
//! | `outage` | log lines while a server is unreachable or full |
//! | `checked_out`, `in_transaction`, `transact` | a checked-out connection, the transaction on it, and its return |
//! | `session`, `checkout` | the user's handles, which are executors on such a connection |
//! | `handle`, `acquire` | a started pool, and waiting for a checkout |
//! | `start`, `keeper`, `close` | starting, maintaining and closing the pool |
//! | `within` | a time limit for a driver's future |
//! | `status`, `report`, `meters` | pool statistics, the report of a close, and the instruments for `metrics` |
//! | `spans`, `durations` | tracing spans of statements, waits and transactions; statement durations for `metrics` |
//! | `on_sqlx` | the same interface over a `sqlx::Pool` |
//!
//! The imports of these files have no cycles.
//!
//! # Ownership rules
//!
//! After each rule, the files that keep it.
//!
//! 1. A slot stands for one session on the server, so there are never more sessions than slots: a task that opens, recovers
//!    or closes a connection holds its slot meanwhile. One extra session may exist for a moment: the one that terminates
//!    other sessions. (`slots`, `recovery`)
//! 2. Work that must not stop half-way (a handshake, a recovery, a close) runs in a task of the pool that owns the slot. A
//!    caller only waits for the task, and may be cancelled at any await point without harm. (`acquire`, `recovery`)
//! 3. A connection that is known to be idle and outside any transaction returns in `Drop`, at once, to the waiter at the
//!    front or into the idle queue. Any other connection is recovered first, or closed. (`checked_out`, `recovery`)
//! 4. A connection is always closed with a message to the server, unless the server is gone or does not answer in time, or
//!    the pool's runtime is shut down. (`connection`, `connecting`)

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
mod within;

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
pub(crate) use self::recovery::RECOVERY_LIMIT;
pub(crate) use self::registry::{Holder, Record};
pub use self::report::{CloseReport, EndedHolder, Left};
pub use self::session::Session;
pub(crate) use self::session::{Cell, ForStatement};
pub(crate) use self::spans::transaction as transaction_span;
pub(crate) use self::start::open_direct;
pub use self::status::Status;
pub(crate) use self::within::within;
