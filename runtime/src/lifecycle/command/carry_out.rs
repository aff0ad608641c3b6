//! Runs a command, and reports the result.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use super::answer::CommandReport;
use super::asked::{Command, Output};
use super::text;
use crate::background;
use crate::engine::{EngineReport, MigrationReport, Operation, Severity};
use crate::error::Error;
use crate::lifecycle::ending::{Interrupted, Member};
use crate::lifecycle::parameter::Parameters;
use crate::lifecycle::plan::Plan;
use crate::lifecycle::shutdown::Shutdown;
use crate::lifecycle::signals::Signals;
use crate::logging::{self, Buffering};

impl Command {
    /// Runs the command on every engine of the parameters, one after another, and returns the exit code.
    pub(in crate::lifecycle) async fn run<P: Parameters>(
        self,
        plan: impl FnOnce() -> Result<Box<Plan>, Error>,
        parameters: &P,
    ) -> i32 {
        let mut answer = CommandReport::new(self);
        // Logging is not set up, because the body, which does that, does not run.
        let buffering = Buffering::begin();
        let planned = plan().and_then(|mut plan| {
            parameters.plan(&mut plan)?;
            plan.or_attribute_engine()?;
            Ok(plan)
        });
        let mut interrupted = None;
        match planned {
            Ok(plan) => interrupted = self.ask_until_signal(&plan, &mut answer).await,
            Err(error) => answer.find(Severity::Problem, format!("{error:?}")),
        }
        drop(buffering);
        for line in logging::take_warnings() {
            answer.find(Severity::Warning, line);
        }
        if let Some(Interrupted { signal }) = interrupted {
            let text = format!(
                "signal {signal} ended the command before its end. An engine that is not listed may have been in the middle of a \
                 migration: see POOLHOUSE_RUN=info"
            );
            answer.find(Severity::Problem, text);
        }
        self.write(&answer);
        match interrupted {
            Some(interrupted) => interrupted.exit_code(),
            None => i32::from(!answer.is_good()),
        }
    }

    /// Runs the command on every engine until a signal comes, which is returned. No connection is left open: the caller ends the
    /// process.
    async fn ask_until_signal(
        self,
        plan: &Plan,
        answer: &mut CommandReport,
    ) -> Option<Interrupted> {
        let limit = plan.longest_close();
        let member = Member::join(limit);
        let signals = Signals::listen(true, Duration::ZERO, None, &Shutdown::new());
        let asked = signals.interrupt(&member, self.ask(plan, answer)).await;
        // There are no commit hooks, whose limit would matter. A second signal ends the wait.
        let closed = background::wait_closed_within(limit);
        let _ = signals.force().run_until_cancelled(closed).await;
        asked.err()
    }

    async fn ask(self, plan: &Plan, answer: &mut CommandReport) {
        if self.operation == Operation::Check {
            answer.program = plan.described();
        }
        let progress = |engine: &str, migration: &MigrationReport| {
            if self.output == Output::Text {
                print(&text::progress(engine, migration));
            }
        };
        for planned in &plan.engines {
            let settings = &planned.settings;
            let report = match (planned.build)(Arc::clone(settings)) {
                Ok(engine) => {
                    let operation = self.operation;
                    engine
                        .operate(operation, settings, planned.base, &progress)
                        .await
                }
                Err(error) => {
                    let mut report = EngineReport::new(settings);
                    report.problem(format!("{error:?}"));
                    report
                }
            };
            answer.ok &= report.count(Severity::Problem) == 0;
            answer.engines.push(report);
        }
    }

    /// Writes the answer to the standard output.
    fn write(self, answer: &CommandReport) {
        match self.output {
            Output::Text => {
                // <https://no-color.org>
                let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                let colour = io::stdout().is_terminal() && !plain;
                print(&text::answer(answer, self.operation, colour));
            }
            Output::Json => match serde_json::to_string_pretty(answer) {
                Ok(json) => print(&format!("{json}\n")),
                Err(error) => logging::print(format_args!(
                    "Error: the answer cannot be written as JSON: {error}"
                )),
            },
        }
    }
}

/// Writes and flushes. An error is ignored, because it means that the reader has ended.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
