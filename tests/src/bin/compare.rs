//! Plays the faults on poolhouse's pool and on `sqlx::Pool`, as a report and not a test. `tests/compare` runs it.
//!
//! Each case runs in its own process, because a case that fails may hang or abort. `sqlx::Pool` promises few of these properties;
//! the report shows what its users get.

use std::{env, future::Future, num::NonZeroU32, pin::Pin, process::Stdio, time::Duration};

use anyhow::Context;
use poolhouse_tests::{
    Kind, Server,
    faults::{cancel, close, errors, limits, network, pooler, restart, runtimes, secrets, start},
    servers,
    subject::{Own, SqlxAlone},
};
use sqlx::{MySql, Postgres};
use tokio::{process::Command, time::timeout};

/// The limit of a case. Every case that ends by itself takes less.
const LIMIT: Duration = Duration::from_mins(1);

/// The limit of the cases with a hundred thousand queries.
const LONG_LIMIT: Duration = Duration::from_mins(5);

const MANY: NonZeroU32 = NonZeroU32::new(100_000).unwrap();

type Played = Pin<Box<dyn Future<Output = anyhow::Result<()>>>>;

/// A case for each pool and server, in the order of `COLUMNS`; `None` where the case has no meaning.
struct Case {
    name: &'static str,
    on: [Option<fn() -> Played>; 4],
    limit: Duration,
}

const COLUMNS: [&str; 4] = [
    "poolhouse, Postgres",
    "poolhouse, MariaDB",
    "sqlx::Pool, Postgres",
    "sqlx::Pool, MariaDB",
];

macro_rules! cases {
    ($($name:literal: $module:ident::$case:ident;)+) => {
        const CASES: &[Case] = &[$(Case {
            name: $name,
            on: [
                Some(|| Box::pin($module::$case::<Own<Postgres>>())),
                Some(|| Box::pin($module::$case::<Own<MySql>>())),
                Some(|| Box::pin($module::$case::<SqlxAlone<Postgres>>())),
                Some(|| Box::pin($module::$case::<SqlxAlone<MySql>>())),
            ],
            limit: LIMIT,
        },)+
        Case {
            name: "pgbouncer in transaction mode, 100 tasks, 5 sessions, 100 000 queries",
            on: [
                Some(|| Box::pin(pooler::many_queries_on_the_engine(MANY))),
                None,
                Some(|| Box::pin(pooler::many_queries_on_sqlx(MANY))),
                None,
            ],
            limit: LONG_LIMIT,
        }];
    };
}

cases! {
    "9: a checkout is held for ever; close ends it and names the holder": close::held_for_ever;
    "10: a checkout is leaked; close ends": close::leaked;
    "11: a clone outlives the pool": close::outlived_by_a_clone;
    "12: a statement runs at close and is ended": close::running_statement;
    "13: a dropped query runs on at close and is ended": close::dropped_query;
    "13: a dropped query frees its slot": close::dropped_query_frees_its_slot;
    "14: begin() cancelled, nobody gets the transaction": cancel::begin;
    "14: a transaction cancelled anywhere": cancel::transaction;
    "14: a plain BEGIN dropped": cancel::plain_begin;
    "16: acquire() cancelled 10 000 times": cancel::acquire;
    "17: a thousand waiters get an error at close": close::a_thousand_waiters;
    "17: waiters take turns at close": close::waiters_in_turn;
    "18: a handshake under way at close": network::late_handshake;
    "19: the server restarts, the pool is idle": restart::while_idle;
    "20: the server restarts under queries": restart::in_the_middle_of_queries;
    "21: a connection returns into a black hole": network::return_into_a_black_hole;
    "21: an idle connection is in a black hole": network::idle_in_a_black_hole;
    "22: all peers are black holes at close": network::close_into_a_black_hole;
    "23: a half-read result at close": close::half_read_result;
    "24: a checkout dropped outside any runtime": runtimes::dropped_outside;
    "24: a checkout dropped after its runtime": runtimes::dropped_after_the_runtime;
    "25: another runtime ends": runtimes::another_runtime_ends;
    "26: a start fails after some connections": start::after_some_connections;
    "27: too many clients": start::too_many_clients;
    "27: a wrong password": start::wrong_password;
    "27: an unknown database": start::unknown_database;
    "27: TLS is refused": start::tls_refused;
    "36: a start is cancelled": start::cancelled;
    "39: a close is given up half-way": close::given_up;
    "42: errors of the client alone": errors::of_the_client_alone;
    "43: all queries cancelled behind a table lock": cancel::behind_a_lock;
    "43: the same, with no room for a further session": cancel::behind_a_lock_without_room;
    "45: 200 queries without a statement cache": errors::without_a_statement_cache;
    "47: a runtime ends without a close": runtimes::ends_without_a_close;
    "48: the longest times that there are": limits::the_longest_times;
    "49: secrets in the URL": secrets::in_the_url;
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut words = env::args().skip(1);
    if let (Some(case), Some(column)) = (words.next(), words.next()) {
        let case = CASES.get(case.parse::<usize>()?).context("no such case")?;
        let play = case
            .on
            .get(column.parse::<usize>()?)
            .context("no such column")?
            .context("this case has no meaning there")?;
        return play().await;
    }
    let postgres = servers::require(Kind::Postgres).context("run tests/compare")?;
    let mariadb = servers::require(Kind::MariaDb).context("run tests/compare")?;
    println!(
        "{}, sqlx {}, Postgres {}, MariaDB {}",
        answer(&postgres, "SELECT current_date::text").await?,
        sqlx_version().context("no sqlx in Cargo.lock")?,
        answer(&postgres, "SHOW server_version").await?,
        answer(&mariadb, "SELECT CAST(VERSION() AS CHAR)").await?,
    );
    println!();
    println!("| case | {} |", COLUMNS.join(" | "));
    println!("|---|{}", "---|".repeat(COLUMNS.len()));
    let mut held = [(0, 0); COLUMNS.len()];
    for (index, case) in CASES.iter().enumerate() {
        print!("| {} |", case.name);
        for (column, (held, played)) in held.iter_mut().enumerate() {
            if case.on[column].is_none() {
                print!(" – |");
                continue;
            }
            let verdict = verdict(index, column).await?;
            *held += usize::from(verdict == "holds");
            *played += 1;
            print!(" {verdict} |");
        }
        println!();
    }
    let held = held.map(|(held, played)| format!("{held} of {played}"));
    println!("| **hold** | {} |", held.join(" | "));
    Ok(())
}

/// The single value that a server returns.
async fn answer(server: &Server, sql: &str) -> anyhow::Result<String> {
    let rows = server.ask(&[sql.to_owned()]).await?;
    let value = rows.into_iter().flatten().flatten().next();
    value.with_context(|| format!("no answer to {sql}"))
}

/// The version of sqlx that this program was built with.
fn sqlx_version() -> Option<&'static str> {
    let lock = include_str!("../../../Cargo.lock");
    let (_, version) = lock.split_once("name = \"sqlx\"\nversion = \"")?;
    version.split('"').next()
}

/// Plays a case in its own process.
async fn verdict(case: usize, column: usize) -> anyhow::Result<&'static str> {
    let child = Command::new(env::current_exe()?)
        .args([case.to_string(), column.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status();
    Ok(match timeout(CASES[case].limit, child).await {
        Ok(status) => {
            if status?.success() {
                "holds"
            } else {
                "no"
            }
        }
        Err(_) => "hangs",
    })
}
