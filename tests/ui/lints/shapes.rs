//! Every form of expansion, under all lints that a strict crate turns on. Only the last functions trigger lints, and only by
//! their own code.

#![warn(clippy::pedantic, clippy::nursery, clippy::cargo, unused)]
#![warn(
    elided_lifetimes_in_paths,
    let_underscore_drop,
    meta_variable_misuse,
    missing_docs,
    non_ascii_idents,
    redundant_lifetimes,
    single_use_lifetimes,
    trivial_casts,
    trivial_numeric_casts,
    unit_bindings,
    unnameable_types,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    unused_crate_dependencies,
    unused_lifetimes,
    unused_qualifications,
    unused_results,
    variant_size_differences
)]
#![allow(dead_code, clippy::cargo_common_metadata)]

use std::fmt::Display;
use std::rc::Rc;
use std::time::Duration;

use poolhouse::{Backend, Checkout, Engine, PgEngine, Shutdown};
use sqlx::{PgPool, Postgres};

const SIZE: u32 = 20;

#[poolhouse::with_pool(max_size = SIZE, acquire_timeout = "5s", idle_timeout = Duration::from_mins(1))]
async fn main(db: PgEngine, shutdown: Shutdown) -> anyhow::Result<()> {
    drop(db.acquire().await?);
    shutdown.wait().await;
    Ok(())
}

mod nothing {
    #[poolhouse::with_pool]
    async fn main() {}
}

mod settings {
    use poolhouse::PgEngine;
    use sqlx::postgres::PgConnectOptions;

    static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate::Migrator::DEFAULT;

    fn tune(options: PgConnectOptions) -> PgConnectOptions {
        options.port(5433)
    }

    #[poolhouse::with_pool(migrator = MIGRATOR, connect_with = tune, extensions("citext"), signals = false, flavor = "current_thread")]
    async fn main(db: PgEngine) -> std::process::ExitCode {
        drop(db);
        std::process::ExitCode::SUCCESS
    }
}

/// Takes everything that poolhouse fills in.
#[poolhouse::with_pool(engine = "bands", crate = ::poolhouse)]
async fn everything(
    #[pool] db: PgEngine,
    #[pool] pool: PgPool,
    #[pool] mut checkout: Checkout<Postgres>,
    #[pool] shutdown: Shutdown,
) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT 1").execute(&db).await.map(drop)?;
    sqlx::query("SELECT 1").execute(&pool).await.map(drop)?;
    sqlx::query("SELECT 1").execute(&mut *checkout).await.map(drop)?;
    shutdown.wait().await;
    Ok(())
}

/// Is generic in every way.
#[poolhouse::with_pool]
async fn generic<'a, DB: Backend, T, const N: usize>(
    name: &'a str,
    values: [T; N],
    show: impl Fn(&T) -> String + Send,
    #[pool] db: Engine<DB>,
) -> anyhow::Result<(&'a str, Vec<String>)>
where
    T: Display + Send + Sync,
{
    drop(db);
    Ok((name, values.iter().map(show).collect()))
}

/// Takes its parameters apart.
#[poolhouse::with_pool]
async fn patterns(
    (host, port): (String, u16),
    [first, .., last]: [u8; 4],
    _: bool,
    _unused: bool,
    r#type: &str,
    mut count: usize,
    #[pool] db: PgEngine,
) -> anyhow::Result<String> {
    drop(db);
    count += 1;
    Ok(format!("{host}:{port} {first} {last} {type} {count}"))
}

/// Holds a value that is not `Send`, on purpose.
#[allow(clippy::future_not_send)]
#[poolhouse::with_pool]
async fn local(#[pool] db: PgEngine) {
    let local = Rc::new(db);
    tokio::task::yield_now().await;
    drop(local);
}

/// Awaits nothing.
#[allow(clippy::unused_async)]
#[poolhouse::with_pool]
async fn awaits_nothing(#[pool] db: PgEngine) -> Result<(), poolhouse::Error> {
    drop(db);
    Ok(())
}

/// Calls itself.
#[poolhouse::with_pool]
async fn recursive(depth: u8, #[pool] db: PgEngine) -> anyhow::Result<u8> {
    drop(db.acquire().await?);
    Ok(depth)
}

/// Has more parameters than the lint allows, on purpose.
#[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools)]
#[poolhouse::with_pool]
async fn long(a: bool, b: bool, c: bool, d: bool, e: u8, f: u8, g: u8, h: u8, #[pool] db: PgEngine) -> anyhow::Result<u8> {
    drop(db.acquire().await?);
    Ok(u8::from(a && b && c && d) + e + f + g + h)
}

/// Has lints of its own.
#[poolhouse::with_pool]
pub async fn lints_of_its_own(name: String, ports: &Vec<u16>, #[pool] db: PgEngine) -> anyhow::Result<usize> {
    let unused = 5;
    let count = ports.iter().map(|port| *port).count();
    if name.len() == 0 {
        return Ok(0);
    }
    let ref borrowed = db;
    borrowed.acquire().await?;
    return Ok(count as usize);
}

#[poolhouse::with_pool]
pub async fn awaits_nothing_by_mistake(#[pool] db: PgEngine) -> anyhow::Result<()> {
    drop(db);
    Ok(())
}

#[poolhouse::with_pool]
pub async fn holds_a_local_value_by_mistake(#[pool] db: PgEngine) -> anyhow::Result<()> {
    let local = Rc::new(db);
    tokio::task::yield_now().await;
    drop(local);
    Ok(())
}
