//! The result of a command, as data.

use serde::Serialize;

use super::asked::Command;
use crate::engine::{EngineReport, Finding, Severity};
use crate::settings::Described;

/// The result of a command.
#[derive(Serialize)]
pub(in crate::lifecycle) struct CommandReport {
    command: &'static str,
    /// Whether there is no problem.
    pub(super) ok: bool,
    /// The settings of the program around its engines, for a check.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) program: Vec<Described>,
    /// Findings that belong to no engine.
    pub(super) findings: Vec<Finding>,
    pub(super) engines: Vec<EngineReport>,
}

impl CommandReport {
    pub(super) fn new(command: Command) -> Self {
        Self {
            command: command.name(),
            ok: true,
            program: Vec::new(),
            findings: Vec::new(),
            engines: Vec::new(),
        }
    }

    pub(super) fn find(&mut self, level: Severity, text: String) {
        self.ok &= level != Severity::Problem;
        self.findings.push(Finding { level, text });
    }

    /// Whether there is no problem.
    pub(super) fn is_good(&self) -> bool {
        self.ok
    }

    /// The number of findings of this severity, those of the engines included.
    pub(super) fn count(&self, level: Severity) -> usize {
        let own = self
            .findings
            .iter()
            .filter(|finding| finding.level == level);
        let engines = self.engines.iter().map(|engine| engine.count(level));
        own.count() + engines.sum::<usize>()
    }
}
