//! Errors, by the phase in which they happen. Each says what happened, to which engine, from which setting and source,
//! and what to do. None contains a password.

mod acquire;
mod combined;
mod debug;
mod start;
mod test;
#[cfg(all(test, feature = "postgres"))]
mod tests;
mod text;
mod transaction;
mod usage;

pub use self::acquire::{AcquireError, AcquireKind};
pub use self::combined::Error;
pub(crate) use self::start::Effort;
pub use self::start::{StartError, StartKind};
pub use self::test::{TestError, TestKind};
pub(crate) use self::text::whole_millis;
pub use self::transaction::TransactionError;
pub use self::usage::UsageError;
