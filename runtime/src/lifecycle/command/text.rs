//! The answer for people: plain lines, with colour on a terminal.

use std::fmt::Write;
use std::time::Duration;

use super::answer::CommandReport;
use crate::engine::{EngineReport, Finding, MigrationReport, MigrationState, Operation, Severity};
use crate::settings::{Described, list_or_none};

/// The line about a migration that has just been run.
pub(super) fn progress(engine: &str, migration: &MigrationReport) -> String {
    let MigrationReport {
        version,
        description,
        ..
    } = migration;
    let took = Duration::from_millis(migration.took_ms.unwrap_or_default());
    format!(
        "engine `{engine}`: applied {version} {description} in {}\n",
        humantime::format_duration(took)
    )
}

/// The whole answer.
pub(super) fn answer(answer: &CommandReport, operation: Operation, colour: bool) -> String {
    let mut page = Page {
        text: String::new(),
        colour,
    };
    if !answer.program.is_empty() {
        page.line(0, "program");
        page.settings(&answer.program);
    }
    for engine in &answer.engines {
        page.engine(engine, operation);
    }
    page.findings(0, &answer.findings);
    let (problems, warnings) = (
        answer.count(Severity::Problem),
        answer.count(Severity::Warning),
    );
    let word = if problems == 0 { "ok" } else { "failed" };
    let mut end = word.to_owned();
    for (count, noun) in [(problems, "problem"), (warnings, "warning")] {
        if count > 0 {
            let _ = write!(end, ", {}", counted(count, noun));
        }
    }
    page.line(0, &end);
    page.text
}

struct Page {
    text: String,
    colour: bool,
}

impl Page {
    fn line(&mut self, indent: usize, text: &str) {
        // Writing to a `String` does not fail.
        let _ = writeln!(self.text, "{:indent$}{text}", "");
    }

    fn settings(&mut self, settings: &[Described]) {
        for Described {
            name,
            value,
            source,
        } in settings
        {
            self.line(2, &format!("{name} = {value} ({source})"));
        }
    }

    fn engine(&mut self, engine: &EngineReport, operation: Operation) {
        let server = match (engine.database, &engine.version) {
            (Some(database), Some(version)) => format!("{database} {version}"),
            _ => "not reached".to_owned(),
        };
        self.line(0, &format!("engine `{}`: {server}", engine.engine));
        self.settings(&engine.settings);
        match &engine.migrations {
            Some(migrations) => {
                if operation == Operation::Info {
                    for migration in &migrations.list {
                        let MigrationReport {
                            version,
                            description,
                            state,
                            ..
                        } = migration;
                        self.line(2, format!("{state:<7} {version} {description}").trim_end());
                    }
                }
                let states = [
                    MigrationState::Applied,
                    MigrationState::Pending,
                    MigrationState::Failed,
                    MigrationState::Changed,
                    MigrationState::Missing,
                ];
                let counts = states.map(|state| (migrations.count(state), state));
                let counts = counts.iter().filter(|(count, _)| *count > 0);
                let counts: Vec<String> = counts
                    .map(|(count, state)| format!("{count} {state}"))
                    .collect();
                let counts = list_or_none(&counts);
                self.line(
                    2,
                    &format!("migrations: {counts}; noted in {}", migrations.table),
                );
            }
            None if operation != Operation::Check && engine.database.is_some() => {
                self.line(2, "migrations: the program has none");
            }
            None => {}
        }
        self.findings(2, &engine.findings);
        for node in &engine.nodes {
            self.engine(node, operation);
        }
    }

    fn findings(&mut self, indent: usize, findings: &[Finding]) {
        for Finding { level, text } in findings {
            let (word, code) = match level {
                Severity::Problem => ("problem", 31),
                Severity::Warning => ("warning", 33),
            };
            if self.colour {
                self.line(indent, &format!("\u{1b}[{code}m{word}\u{1b}[0m: {text}"));
            } else {
                self.line(indent, &format!("{word}: {text}"));
            }
        }
    }
}

fn counted(count: usize, noun: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{s}")
}
