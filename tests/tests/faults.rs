//! The table of faults: what goes wrong, on which databases and pools it is played, and that the promise holds.
//!
//! Every case is played on the multi-thread and on the current-thread runtime. The cases themselves are in
//! `poolhouse_tests::faults`.

use std::{future::Future, thread};

use anyhow::Context;
use poolhouse_tests::{
    faults::{cancel, close, network},
    subject::{OnSqlx, Own},
};
use sqlx::{MySql, Postgres, Sqlite};
use tokio::runtime::{Builder, Runtime};

/// Rows of the table: `name: module::case, on (databases), with (pools);`. One test for each database.
macro_rules! faults {
    ($($(#[$about:meta])* $name:ident: $module:ident::$case:ident, on ($($database:ident),+), with $pools:tt;)*) => {$(
        $(#[$about])*
        mod $name {
            use super::*;
            $(faults!(@on $database $module::$case $pools);)+
        }
    )*};
    (@on postgres $($rest:tt)+) => { faults!(@test postgres: Postgres, $($rest)+); };
    (@on mariadb $($rest:tt)+) => { faults!(@test mariadb: MySql, $($rest)+); };
    (@on sqlite $($rest:tt)+) => { faults!(@test sqlite: Sqlite, $($rest)+); };
    (@test $name:ident: $database:ty, $module:ident::$case:ident ($($pool:ident),+)) => {
        #[test]
        fn $name() -> anyhow::Result<()> {
            side_by_side(&[$((stringify!($pool), || Box::pin($module::$case::<$pool<$database>>()))),+])
        }
    };
}

faults! {
    case_09_a_checkout_is_held_for_ever: close::held_for_ever, on (postgres, mariadb, sqlite), with (Own, OnSqlx);
    case_10_a_checkout_is_leaked: close::leaked, on (postgres, mariadb, sqlite), with (Own, OnSqlx);
    case_11_a_clone_outlives_the_pool: close::outlived_by_a_clone, on (postgres, mariadb, sqlite), with (Own, OnSqlx);
    case_12_a_statement_runs_at_close: close::running_statement, on (postgres, mariadb), with (Own, OnSqlx);
    case_13_a_query_is_dropped_before_close: close::dropped_query, on (postgres, mariadb), with (Own);
    case_13_a_dropped_query_frees_its_place: close::dropped_query_frees_its_place, on (postgres, mariadb), with (Own);
    case_14_begin_is_cancelled: cancel::begin, on (postgres, mariadb, sqlite), with (Own);
    case_14_a_whole_transaction_is_cancelled: cancel::transaction, on (postgres, mariadb, sqlite), with (Own);
    case_14_a_plain_begin_is_cancelled: cancel::plain_begin, on (postgres, mariadb, sqlite), with (Own);
    case_16_acquire_is_cancelled: cancel::acquire, on (postgres, mariadb, sqlite), with (Own);
    case_17_a_thousand_tasks_wait_at_close: close::a_thousand_waiters, on (postgres, mariadb, sqlite), with (Own);
    case_17_waiters_take_turns_at_close: close::waiters_in_turn, on (postgres, mariadb, sqlite), with (Own);
    case_18_a_handshake_is_under_way_at_close: network::late_handshake, on (postgres, mariadb), with (Own, OnSqlx);
    case_21_a_connection_returns_into_a_black_hole: network::return_into_a_black_hole, on (postgres, mariadb), with (Own);
    case_21_an_idle_connection_is_in_a_black_hole: network::idle_in_a_black_hole, on (postgres, mariadb), with (Own);
    case_22_all_peers_are_in_a_black_hole_at_close: network::close_into_a_black_hole, on (postgres, mariadb), with (Own, OnSqlx);
    case_23_a_result_is_half_read_at_close: close::half_read_result, on (postgres, mariadb, sqlite), with (Own);
}

/// A kind of runtime: its name, and how to build one.
type Kind = (&'static str, fn() -> Builder);

/// A pool and the case on it.
type Case = (
    &'static str,
    fn() -> std::pin::Pin<Box<dyn Future<Output = anyhow::Result<()>>>>,
);

/// Plays a case on every pool and on both runtimes at the same time: most of a case is waiting.
fn side_by_side(pools: &[Case]) -> anyhow::Result<()> {
    let runtimes: [Kind; 2] = [
        ("multi-thread", Builder::new_multi_thread),
        ("current-thread", Builder::new_current_thread),
    ];
    thread::scope(|scope| {
        let mut cases = Vec::new();
        for (runtime, builder) in runtimes {
            for (pool, case) in pools {
                let played = scope.spawn(move || -> anyhow::Result<()> {
                    let runtime: Runtime = builder().enable_all().build()?;
                    runtime.block_on(case())
                });
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
