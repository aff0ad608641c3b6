//! The promise: look up, start, run, close, return or re-raise.
//!
//! | the body | what happens | where |
//! |---|---|---|
//! | returns, `?`, early `return` | the pools are closed, the value is returned unchanged | `run` |
//! | panics | the pools are closed, the panic goes on with its payload | `run`, `attribute` |
//! | a signal | its engines drain; it serves requests for `drain_delay` | `signals` |
//! | then, if it takes [`Shutdown`] | its token is set; it has `shutdown_timeout` to return; then it is dropped | `signals` |
//! | then, if it does not | it is dropped, and a warning says so; checkouts of other tasks have `close_timeout` | `signals` |
//! | a second signal | remaining work is ended now | `signals`, `running` |
//! | is interrupted while other runs are under way | they are interrupted too; the last one ends the process | `ending` |
//! | is dropped by its caller | the close runs as a task; [`wait_closed`](crate::wait_closed) waits for it | `running` |
//! | cannot begin, because a start failed | open connections are closed; the error says why | `running` |
//!
//! `run` implements the promise with the other files:
//!
//! | file | what it holds |
//! |---|---|
//! | `attribute` | one use of `#[with_pool]`, and the positions that it can stand in |
//! | `plan` | the engines that a run starts, gathered before any is opened |
//! | `run` | one run: start, body, close |
//! | `running` | the started engines of a run |
//! | `parameter` | parameters that are filled in |
//! | `outcome` | the types that a body may return |
//! | `signals`, `shutdown` | SIGINT and SIGTERM, and the notification of the body |
//! | `ending` | the end of the process when several runs are under way |
//! | `command` | `POOLHOUSE_RUN`: a run without the body |
//! | `buffered_log` | log lines of a start, kept until logging is set up |
//!
//! `panic = "abort"`, `process::exit` and SIGKILL end the process at once, so nothing can run after them.

mod attribute;
mod buffered_log;
mod command;
mod ending;
mod outcome;
mod parameter;
mod plan;
mod run;
mod running;
mod shutdown;
mod signals;

pub use self::attribute::Attribute;
pub use self::outcome::Outcome;
pub use self::parameter::{Parameter, Parameters, Request, parameter, parameter_with};
pub use self::plan::Plan;
pub use self::running::RunningEngines;
pub use self::shutdown::Shutdown;
