//! Recording the statements of an engine, for tests.

use std::fmt::{self, Write};
use std::future::Future;
use std::sync::Arc;

use super::Engine;
use crate::backend::Backend;
use crate::dialect::short_line;
use crate::pool::{Recording, Statement};
use crate::settings::EngineSettings;

/// The result of [`Engine::recorded`]: the future's output, and the statements that ran, in the order of their begin.
#[derive(Debug)]
#[non_exhaustive]
pub struct Recorded<T> {
    /// What the future returned.
    pub output: T,
    /// The statements.
    pub statements: Vec<Statement>,
    engine: String,
}

impl<DB: Backend> Engine<DB> {
    /// Runs a future and records the statements that run on this engine and its nodes meanwhile.
    ///
    /// ```no_run
    /// # async fn handler(_: &poolhouse::PgEngine) {}
    /// # async fn example(db: poolhouse::PgEngine) {
    /// let seen = db.recorded(async { handler(&db).await }).await;
    /// seen.at_most(3);
    /// # }
    /// ```
    ///
    /// A statement is one call of sqlx on the engine, a checkout or a transaction, once its future or stream is polled and has
    /// a connection. Several statements in one `raw_sql` are one. `BEGIN`, `COMMIT`, savepoints, the pool's own queries,
    /// `prepare` and `describe` do not count.
    ///
    /// - A stream that is never read is no statement, because it never runs. A stream that is dropped half-way, or a query
    ///   whose future is dropped, is one that ended with [`End::Dropped`](crate::testing::End).
    /// - A statement that fails counts, also when its arguments cannot be encoded.
    /// - A borrow of the driver's connection (`&mut **checkout`) is recorded as a statement whose [`sql`](Statement::sql) is
    ///   `None`: statements on it are not seen. [`Recorded::at_most`] then panics, because the count would be a guess. The same
    ///   holds for a borrow from before, until the checkout or transaction runs its next statement or is dropped.
    /// - Statements of other tasks count while the future runs, because it may have spawned them, or wait for a server that
    ///   runs them. Those of the test's other tasks count too. A statement inside another `recorded` on the same engine counts
    ///   only for that one and for those around it.
    ///
    /// # Cancellation
    ///
    /// The recording ends with the future.
    ///
    /// # Panics
    ///
    /// When the engine runs on a `sqlx::Pool` because the test has one as a parameter, at the first poll: statements on
    /// that pool are not seen.
    pub fn recorded<F: Future>(
        &self,
        future: F,
    ) -> impl Future<Output = Recorded<F::Output>> + use<DB, F> {
        let engine = self.clone();
        async move {
            assert!(
                engine.as_sqlx_pool().is_none(),
                "engine `{}` runs on a sqlx::Pool, whose statements cannot be recorded: take the engine alone as a parameter",
                engine.name()
            );
            let (output, statements) = Recording::around(engine.settings_of_all(), future).await;
            Recorded {
                output,
                statements,
                engine: engine.name().to_owned(),
            }
        }
    }

    /// The settings of the engine and of its nodes, which identify their connections.
    fn settings_of_all(&self) -> Vec<Arc<EngineSettings>> {
        let nodes = self.0.nodes.engines();
        let all = std::iter::once(self).chain(&nodes);
        all.map(|engine| Arc::clone(&engine.connector().settings))
            .collect()
    }
}

impl<T> Recorded<T> {
    /// How many statements ran.
    pub fn count(&self) -> usize {
        self.statements.len()
    }

    /// Each text with the number of times that it ran, in the order of the first begin.
    pub fn counts(&self) -> Vec<(&str, usize)> {
        let mut counts: Vec<(&str, usize)> = Vec::new();
        for sql in self.statements.iter().filter_map(Statement::sql) {
            match counts.iter_mut().find(|(known, _)| *known == sql) {
                Some((_, count)) => *count += 1,
                None => counts.push((sql, 1)),
            }
        }
        counts
    }

    /// Checks that no more statements ran than this, and returns itself.
    ///
    /// # Panics
    ///
    /// With the list of statements, their numbers and their locations: when more ran, or when some could not be seen because
    /// the driver's connection was borrowed.
    #[track_caller]
    pub fn at_most(&self, statements: usize) -> &Self {
        let unseen = self
            .statements
            .iter()
            .filter(|statement| statement.sql().is_none())
            .count();
        assert!(
            unseen == 0,
            "the driver's connection was borrowed {unseen} times, and what ran on it was not seen: give sqlx `&mut checkout` \
             or `&mut transaction`, without the `*`; engine `{}` ran\n{self}",
            self.engine
        );
        assert!(
            self.count() <= statements,
            "{} statements ran on engine `{}`, and at most {statements} may\n{self}",
            self.count(),
            self.engine
        );
        self
    }
}

/// A line for each text and location, with the number of times, in the order of the first run.
impl<T> fmt::Display for Recorded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: Vec<(String, usize)> = Vec::new();
        for statement in &self.statements {
            let line = line(statement);
            match lines.iter_mut().find(|(known, _)| *known == line) {
                Some((_, count)) => *count += 1,
                None => lines.push((line, 1)),
            }
        }
        for (line, count) in lines {
            writeln!(f, "{count:>5} × {line}")?;
        }
        Ok(())
    }
}

fn line(statement: &Statement) -> String {
    /// The number of characters that identifies a statement well enough.
    const SHOWN: usize = 200;
    let mut line = match statement.sql() {
        Some(sql) => short_line(sql, SHOWN),
        None => "the driver's connection was borrowed".to_owned(),
    };
    // Writing to a string never fails.
    if let Some(location) = statement.location() {
        let _ = write!(line, "  at {location}");
    }
    match (statement.sql(), statement.end()) {
        (Some(_), crate::pool::End::Failed(error)) => {
            let _ = write!(line, " (failed: {error})");
        }
        (Some(_), crate::pool::End::Dropped) => line.push_str(" (dropped before its end)"),
        _ => {}
    }
    if statement.is_of_another_task() {
        line.push_str(" (in another task)");
    }
    line
}
