//! The result of an operation on an engine, as data.

use std::fmt;

use serde::Serialize;

use crate::settings::{Described, EngineSettings};

/// The result for one engine or node. It contains no secret.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct EngineReport {
    /// The engine's name, and for a node `engine/node`.
    pub(crate) engine: String,
    /// The kind of database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) database: Option<&'static str>,
    /// The version, as the server reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    /// Every setting.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) settings: Vec<Described>,
    /// `None` when the program has none, or their state could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) migrations: Option<MigrationsReport>,
    pub(crate) findings: Vec<Finding>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) nodes: Vec<EngineReport>,
}

/// A fault, or a risk of one.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) level: Severity,
    /// The fault and its cure.
    pub(crate) text: String,
}

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// The program would not start, or would not work as documented.
    Problem,
    /// The program runs, and something may go wrong later.
    Warning,
}

/// The migrations of an engine.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct MigrationsReport {
    /// The table in which the database records them.
    pub(crate) table: String,
    /// In the order of their versions.
    pub(crate) list: Vec<MigrationReport>,
}

/// One migration.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct MigrationReport {
    pub(crate) version: i64,
    /// From the file's name; empty when the program does not have the file.
    pub(crate) description: String,
    pub(crate) state: MigrationState,
    /// The duration in milliseconds, if this operation ran the migration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) took_ms: Option<u64>,
}

/// The recorded state of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MigrationState {
    /// It was run.
    Applied,
    /// It is to be run.
    Pending,
    /// It failed half-way, and the database could not roll it back.
    Failed,
    /// It was run, and its file has changed since.
    Changed,
    /// It was run, and the program does not have it.
    Missing,
}

/// Called after each migration that was run, with the engine's name.
pub(crate) type Progress<'a> = dyn Fn(&str, &MigrationReport) + Send + Sync + 'a;

impl MigrationState {
    fn text(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Pending => "pending",
            Self::Failed => "failed",
            Self::Changed => "changed",
            Self::Missing => "missing",
        }
    }
}

impl fmt::Display for MigrationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}

impl MigrationsReport {
    /// The number of migrations in this state.
    pub(crate) fn count(&self, state: MigrationState) -> usize {
        let is_it = |migration: &&MigrationReport| migration.state == state;
        self.list.iter().filter(is_it).count()
    }
}

impl EngineReport {
    /// An empty report.
    pub(crate) fn new(settings: &EngineSettings) -> Self {
        Self {
            engine: settings.engine.clone(),
            database: None,
            version: None,
            settings: Vec::new(),
            migrations: None,
            findings: Vec::new(),
            nodes: Vec::new(),
        }
    }

    pub(crate) fn problem(&mut self, text: impl Into<String>) {
        self.find(Severity::Problem, text.into());
    }

    pub(crate) fn warning(&mut self, text: impl Into<String>) {
        self.find(Severity::Warning, text.into());
    }

    pub(super) fn find(&mut self, level: Severity, text: String) {
        self.findings.push(Finding { level, text });
    }

    /// The number of findings of this severity, those of the nodes included.
    pub(crate) fn count(&self, level: Severity) -> usize {
        let own = self
            .findings
            .iter()
            .filter(|finding| finding.level == level);
        let nodes = self.nodes.iter().map(|node| node.count(level));
        own.count() + nodes.sum::<usize>()
    }
}
