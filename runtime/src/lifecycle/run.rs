//! One run of an attributed function: everything that the attribute promises.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use super::buffered_log::BufferedLog;
use super::ending::{Interrupted, Member};
use super::parameter::Parameters;
use super::plan::Plan;
use super::running::RunningEngines;
use super::signals::Signals;
use crate::error::Error;

/// How a run ended.
pub(super) enum Ended<R> {
    /// The body returned this.
    Returned(R),
    /// The body panicked with this payload.
    Panicked(Box<dyn Any + Send>),
    /// A signal came, and the body did not return in time.
    Interrupted(Interrupted),
}

impl<R> Ended<R> {
    /// Whether the body of a test has failed, so that its database is worth a look.
    fn has_failed(&self, is_failure: fn(&R) -> bool) -> bool {
        match self {
            Self::Returned(value) => is_failure(value),
            Self::Panicked(_) => true,
            Self::Interrupted(_) => false,
        }
    }
}

/// Runs a body between start and close. Everything that `#[with_pool]` promises is in these lines.
pub(super) async fn run<P, F>(
    plan: Box<Plan>,
    parameters: P,
    body: impl FnOnce(P::Filled) -> F,
    is_failure: fn(&F::Output) -> bool,
) -> Result<Ended<F::Output>, Error>
where
    P: Parameters,
    F: Future,
{
    let mut log = BufferedLog::new(plan.test.is_none());
    let mut engines = look_up(plan, &parameters).inspect_err(|_| log.give_up())?;
    let member = Member::join(engines.longest_end());
    let plan = &engines.plan;
    let signals = Signals::listen(
        plan.listens(),
        plan.program.drain_delay,
        plan.grace(),
        &engines.shutdown,
    );

    let prepared = async {
        engines.start().await?;
        parameters.fill(&engines).await
    };
    let ended = match signals.interrupt(&member, prepared).await {
        Ok(Ok(arguments)) => {
            // Boxed, because each future around a future holds it twice, and this one may be a whole program.
            let body = Box::pin(AssertUnwindSafe(body(arguments)).catch_unwind());
            let body = member.around(log.replay(body));
            match signals.watch(&member, body).await {
                Ok(Ok(value)) => Ok(Ended::Returned(value)),
                Ok(Err(payload)) => Ok(Ended::Panicked(payload)),
                Err(interrupted) => Ok(Ended::Interrupted(interrupted)),
            }
        }
        Ok(Err(error)) => {
            log.give_up();
            Err(error)
        }
        Err(interrupted) => Ok(Ended::Interrupted(interrupted)),
    };
    let failed = ended
        .as_ref()
        .is_ok_and(|ended| ended.has_failed(is_failure));
    // A body that takes `Shutdown` decides what follows from a signal that it has seen, and after `main` the program ends anyway.
    let is_main = engines.plan.for_process;
    let has_seen = engines.plan.takes_shutdown && signals.have_come();
    let closed = engines.close(signals.force(), failed).await;
    let ended = match (ended, signals.stop()) {
        (ended @ Ok(Ended::Interrupted(_)), _) | (ended, None) => ended,
        (ended, Some(_)) if is_main || has_seen => ended,
        (ended, Some(interrupted)) => {
            if let Err(error) = ended {
                eprintln!("poolhouse: {error:?}");
            }
            Ok(Ended::Interrupted(interrupted))
        }
    };
    if let Ok(Ended::Interrupted(interrupted)) = ended {
        member.end(interrupted, signals.force()).await;
    }
    match (closed, ended) {
        (Ok(()), ended) => ended,
        (Err(error), Ok(_)) if !failed => Err(error),
        // The body's own failure comes first.
        (Err(error), ended) => {
            eprintln!("poolhouse: {error:?}");
            ended
        }
    }
}

/// Collects the engines to start. Nothing is opened yet.
fn look_up<P: Parameters>(mut plan: Box<Plan>, parameters: &P) -> Result<RunningEngines, Error> {
    parameters.plan(&mut plan)?;
    plan.or_attribute_engine()?;
    Ok(RunningEngines::new(plan))
}
