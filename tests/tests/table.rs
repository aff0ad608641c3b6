//! Tests as rows of a table: what is tested, and on which databases. One test for each database.

use std::{future::Future, pin::Pin, thread};

use anyhow::Context;
use poolhouse_tests::{Ground, Sql};
use tokio::runtime::Builder;

use crate::house::House;

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

/// `name: case, on (databases);`, with cases that take a [`Ground`].
macro_rules! grounds {
    ($($name:ident: $case:ident, on ($($database:ident),+);)*) => {$(
        mod $name {
            use super::$case as case;
            $(crate::table::grounds!(@on $database);)+
        }
    )*};
    (@on postgres) => { crate::table::grounds!(@test postgres sqlx::Postgres); };
    (@on mariadb) => { crate::table::grounds!(@test mariadb sqlx::MySql); };
    (@on sqlite) => { crate::table::grounds!(@test sqlite sqlx::Sqlite); };
    (@test $name:ident $database:ty) => {
        #[test]
        fn $name() -> anyhow::Result<()> {
            crate::table::side_by_side(&[("it", || {
                Box::pin(crate::table::on_ground::<$database, _>(case::<$database>))
            })])
        }
    };
}
pub(crate) use grounds;

/// `name: case, on (databases);`, with cases that take a [`House`] and a [`Ground`].
macro_rules! houses {
    ($($name:ident: $case:ident, on ($($database:ident),+);)*) => {$(
        mod $name {
            use super::$case as case;
            $(crate::table::houses!(@on $database);)+
        }
    )*};
    (@on postgres) => { crate::table::houses!(@test postgres sqlx::Postgres); };
    (@on mariadb) => { crate::table::houses!(@test mariadb sqlx::MySql); };
    (@on sqlite) => { crate::table::houses!(@test sqlite sqlx::Sqlite); };
    (@test $name:ident $database:ty) => {
        #[test]
        fn $name() -> anyhow::Result<()> {
            crate::table::in_every_house::<$database, _>(case::<$database>)
        }
    };
}
pub(crate) use houses;

/// A pool's name, and a case on it.
type Case = (&'static str, fn() -> Played);

/// A kind of runtime: its name, and how to build one.
type Runtime = (&'static str, fn() -> Builder);

type Played = Pin<Box<dyn Future<Output = anyhow::Result<()>>>>;

/// Plays a case on every pool and on both runtimes at the same time: most of a case is waiting.
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

/// Plays a case on a ground of its own.
pub(crate) async fn on_ground<DB: Sql, F>(case: fn(Ground) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    match Ground::of::<DB>("ground").await? {
        Some(ground) => case(ground).await,
        None => Ok(()),
    }
}

/// Plays a case in every house at the same time, on a ground for each.
///
/// Each on a thread of its own: dropping a database waits for the server, and Postgres waits there for every client that is
/// in the middle of its handshake.
pub(crate) fn in_every_house<DB: Sql, F>(case: fn(House, Ground) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let play = async move |house: House| match Ground::of::<DB>(house.flavor).await? {
        Some(ground) => case(house, ground).await,
        None => Ok(()),
    };
    thread::scope(|scope| {
        let played = House::ALL.map(|house| {
            let played = scope.spawn(move || {
                let runtime = Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(play(house))
            });
            (house, played)
        });
        for (house, played) in played {
            match played.join() {
                Ok(result) => result.with_context(|| format!("{house:?}"))?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(())
    })
}
