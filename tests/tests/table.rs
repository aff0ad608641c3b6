//! Tests as rows of a table: each row is a case with its databases, and makes one test for each.

use std::{future::Future, pin::Pin, thread};

use anyhow::Context;
use poolhouse_tests::{CaseDatabase, Sql};
use tokio::runtime::Builder;

use crate::variant::Variant;

/// `name: module::case, on (databases), with (pools);`, with cases of `poolhouse_tests::faults`.
macro_rules! faults {
    ($($name:ident: $module:ident::$case:ident, on ($($database:ident),+), with $pools:tt;)*) => {$(
        mod $name {
            #[allow(clippy::wildcard_imports, reason = "the pools that the row names")]
            use poolhouse_tests::{faults::$module::$case as case, subject::*};
            $(crate::table::faults!(@on $database $pools);)+
        }
    )*};
    (@on postgres $pools:tt) => { crate::table::faults!(@test postgres sqlx::Postgres, $pools); };
    (@on mariadb $pools:tt) => { crate::table::faults!(@test mariadb sqlx::MySql, $pools); };
    (@on sqlite $pools:tt) => { crate::table::faults!(@test sqlite sqlx::Sqlite, $pools); };
    (@test $name:ident $database:ty, ($($pool:ident),+)) => {
        #[test]
        fn $name() -> anyhow::Result<()> {
            crate::table::side_by_side(&[$((stringify!($pool), || Box::pin(case::<$pool<$database>>()))),+])
        }
    };
}
pub(crate) use faults;

/// `name: case, on (databases);`, with cases that take a [`CaseDatabase`].
macro_rules! case_databases {
    ($($name:ident: $case:ident, on ($($database:ident),+);)*) => {$(
        mod $name {
            use super::$case as case;
            $(crate::table::case_databases!(@on $database);)+
        }
    )*};
    (@on postgres) => { crate::table::case_databases!(@test postgres sqlx::Postgres); };
    (@on mariadb) => { crate::table::case_databases!(@test mariadb sqlx::MySql); };
    (@on sqlite) => { crate::table::case_databases!(@test sqlite sqlx::Sqlite); };
    (@test $name:ident $database:ty) => {
        #[test]
        fn $name() -> anyhow::Result<()> {
            crate::table::side_by_side(&[("it", || {
                Box::pin(crate::table::on_case_database::<$database, _>(case::<$database>))
            })])
        }
    };
}
pub(crate) use case_databases;

/// `name: case, on (databases);`, with cases that take a [`Variant`] and a [`CaseDatabase`].
macro_rules! variants {
    ($($name:ident: $case:ident, on ($($database:ident),+);)*) => {$(
        mod $name {
            use super::$case as case;
            $(crate::table::variants!(@on $database);)+
        }
    )*};
    (@on postgres) => { crate::table::variants!(@test postgres sqlx::Postgres); };
    (@on mariadb) => { crate::table::variants!(@test mariadb sqlx::MySql); };
    (@on sqlite) => { crate::table::variants!(@test sqlite sqlx::Sqlite); };
    (@test $name:ident $database:ty) => {
        #[test]
        fn $name() -> anyhow::Result<()> {
            crate::table::in_every_variant::<$database, _>(case::<$database>)
        }
    };
}
pub(crate) use variants;

/// A pool's name, and a case on it.
type Case = (&'static str, fn() -> Played);

/// A kind of runtime: its name and its builder.
type Runtime = (&'static str, fn() -> Builder);

type Played = Pin<Box<dyn Future<Output = anyhow::Result<()>>>>;

/// Runs a case on every pool and both runtimes at the same time, because cases mostly wait.
pub(crate) fn side_by_side(pools: &[Case]) -> anyhow::Result<()> {
    let runtimes: [Runtime; 2] = [
        ("multi-thread", Builder::new_multi_thread),
        ("current-thread", Builder::new_current_thread),
    ];
    thread::scope(|scope| {
        let mut cases = Vec::new();
        for (runtime, builder) in runtimes {
            for (pool, case) in pools {
                let played = scope.spawn(move || builder().enable_all().build()?.block_on(case()));
                cases.push((format!("{pool} on the {runtime} runtime"), played));
            }
        }
        for (name, played) in cases {
            match played.join() {
                Ok(result) => result.context(name)?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(())
    })
}

/// Runs a case on its own database.
pub(crate) async fn on_case_database<DB: Sql, F>(case: fn(CaseDatabase) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    match CaseDatabase::of::<DB>("case").await? {
        Some(case_database) => case(case_database).await,
        None => Ok(()),
    }
}

/// Runs a case in every variant at the same time, each on its own database.
///
/// Each variant has its own thread: dropping a database waits for the server, and Postgres then waits for every client in the
/// middle of its handshake.
pub(crate) fn in_every_variant<DB: Sql, F>(
    case: fn(Variant, CaseDatabase) -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let play = async move |variant: Variant| match CaseDatabase::of::<DB>(variant.flavor).await? {
        Some(case_database) => case(variant, case_database).await,
        None => Ok(()),
    };
    thread::scope(|scope| {
        let played = Variant::ALL.map(|variant| {
            let played = scope.spawn(move || {
                let runtime = Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(play(variant))
            });
            (variant, played)
        });
        for (variant, played) in played {
            match played.join() {
                Ok(result) => result.with_context(|| format!("{variant:?}"))?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(())
    })
}
