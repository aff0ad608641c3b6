//! Transactions: closures with retries, handles, nested transactions and commit hooks.

mod around;
mod begin;
mod handle;
mod hooks;
mod nested;
mod options;
mod parent;
mod run;
mod work;

#[cfg(feature = "web")]
pub(super) use self::around::{Around, outside};
pub use self::handle::Transaction;
#[cfg(feature = "web")]
pub(super) use self::hooks::{AfterCommit, HooksOf, start as start_hooks};
pub use self::options::{Conflicts, OnConflict, Retry, RetryIf, TransactionOptions};
pub use self::parent::{
    Argument, IsTransaction, TransactionParent, assert_argument, transactional, transactional_once,
};
pub use self::work::Work;
