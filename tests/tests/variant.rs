//! The program `attributed` under test, with every kind of pool and runtime.

use anyhow::ensure;
use poolhouse_tests::{CaseDatabase, Program, program::Ended};

/// The kinds of a program's pool and runtime.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variant {
    /// `engine` or `sqlx`.
    pub(crate) pool: &'static str,
    /// `multi_thread` or `current_thread`.
    pub(crate) flavor: &'static str,
}

impl Variant {
    /// All variants.
    pub(crate) const ALL: [Self; 4] = [
        Self::new("engine", "multi_thread"),
        Self::new("engine", "current_thread"),
        Self::new("sqlx", "multi_thread"),
        Self::new("sqlx", "current_thread"),
    ];

    const fn new(pool: &'static str, flavor: &'static str) -> Self {
        Self { pool, flavor }
    }

    /// The program with this body, not started yet.
    pub(crate) fn program(
        self,
        body: &str,
        case_database: &CaseDatabase,
    ) -> anyhow::Result<Program> {
        Ok(Program::new(env!("CARGO_BIN_EXE_attributed"))?
            .argument(body)
            .variable("DATABASE_URL", case_database.url())
            .variable("POOL", self.pool)
            .variable("POOLHOUSE_FLAVOR", self.flavor))
    }

    /// **A** and **K**: no session is left, and `wanted` were ended on the server. With the engine's own pool, the others sent
    /// a close message (**B**). With sqlx's, this is not certain, and more may have been ended.
    pub(crate) async fn killed(
        self,
        wanted: u64,
        case_database: &CaseDatabase,
    ) -> anyhow::Result<()> {
        if self.pool == "engine" {
            return case_database.sessions_ended(0, wanted).await;
        }
        case_database.no_session_left().await?;
        let killed = case_database.database()?.killed().await?;
        ensure!(killed >= wanted, "{killed} were ended, instead of {wanted}");
        Ok(())
    }
}

/// Checks the exit code, and shows the whole output if it is wrong.
pub(crate) fn code(ended: &Ended, expected: i32) -> anyhow::Result<()> {
    ensure!(
        ended.code() == Some(expected),
        "{} instead of {expected}:\n{}",
        ended.status,
        ended.everything()
    );
    Ok(())
}
