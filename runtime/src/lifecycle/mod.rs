//! The promise: look up, start, run, close, return or re-raise.
//!
//! | the body | what happens |
//! |---|---|
//! | returns, `?`, early `return` | the pools are closed, the value is returned unchanged |
//! | panics | the pools are closed, the panic goes on with its payload |
//! | a signal, and it takes [`Shutdown`] | its token is set; it has `shutdown_timeout` to return; then it is dropped |
//! | a signal, and it does not | it is dropped at once; checkouts of other tasks have `close_timeout` |
//! | a second signal | what is left is ended now |
//! | is interrupted by a signal, and other runs are under way | they are interrupted too; the last one ends the process |
//! | is dropped by its caller | the close runs as a task; [`closed`](crate::closed) waits for it |
//! | cannot begin, because a start failed | what was opened is closed; the error says why |
//!
//! `panic = "abort"`, `process::exit` and SIGKILL end the process without asking anyone, so nothing can run after them.

mod attribute;
mod early;
mod ending;
mod house;
mod outcome;
mod parameter;
mod plan;
mod shutdown;
mod signals;

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

pub use self::attribute::Attribute;
use self::early::Early;
use self::ending::Member;
pub use self::house::House;
pub use self::outcome::Outcome;
pub use self::parameter::{Parameter, Parameters, Request, parameter, parameter_with};
pub use self::plan::Plan;
pub use self::shutdown::Shutdown;
use self::signals::{Interrupted, Signals};
use crate::error::Error;

/// How a run ended.
enum Ended<R> {
    /// The body returned this.
    Returned(R),
    /// The body panicked with this payload.
    Panicked(Box<dyn Any + Send>),
    /// A signal came, and the body did not return in time.
    Interrupted(Interrupted),
}

impl<R> Ended<R> {
    /// Whether a test that ended so has something to look at.
    fn has_failed(&self, is_failure: fn(&R) -> bool) -> bool {
        match self {
            Self::Returned(value) => is_failure(value),
            Self::Panicked(_) => true,
            Self::Interrupted(_) => false,
        }
    }
}

/// Runs a body between start and close. Everything that `#[with_pool]` promises is in these lines.
async fn run<P, F>(
    plan: Box<Plan>,
    parameters: P,
    body: impl FnOnce(P::Filled) -> F,
    is_failure: fn(&F::Output) -> bool,
) -> Result<Ended<F::Output>, Error>
where
    P: Parameters,
    F: Future,
{
    let early = Early::new(plan.test.is_none());
    let mut house = early.keep_of(|| House::look_up(plan, &parameters))?;
    let member = Member::join(house.longest_end());
    let mut signals = Signals::listen(&house);

    match signals.interrupt(&member, early.keep(house.start())).await {
        Ok(started) => started?,
        Err(interrupted) => {
            house.close(&signals, false).await;
            member.end(interrupted, signals.hurry()).await;
            return Ok(Ended::Interrupted(interrupted));
        }
    }
    let ended = match parameters.fill(&house).await {
        Ok(arguments) => {
            // In a box: each future around a future holds it twice, and this one may be a whole program.
            let body = Box::pin(AssertUnwindSafe(body(arguments)).catch_unwind());
            let body = member.around(early.tell(body));
            match signals.watch(&member, body).await {
                Ok(Ok(value)) => Ok(Ended::Returned(value)),
                Ok(Err(payload)) => Ok(Ended::Panicked(payload)),
                Err(interrupted) => Ok(Ended::Interrupted(interrupted)),
            }
        }
        Err(error) => Err(error),
    };
    let failed = ended
        .as_ref()
        .is_ok_and(|ended| ended.has_failed(is_failure));
    house.close(&signals, failed).await;
    if let Ok(Ended::Interrupted(interrupted)) = ended {
        member.end(interrupted, signals.hurry()).await;
    }
    ended
}
