//! Transactions: closures that are committed or rolled back and run again after a conflict, nested ones, and what is done
//! after a commit.

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
pub use self::options::{Conflicts, OnConflict, Retry, RetryIf, TransactionOptions};
pub use self::parent::{
    Argument, IsTransaction, TransactionParent, assert_argument, transactional, transactional_once,
};
pub use self::work::Work;
