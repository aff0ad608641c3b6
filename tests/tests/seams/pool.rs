//! What the pool says of its server, and what it hands on.

use std::{
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Context, ensure};
use poolhouse::{
    AcquireError, AcquireKind, AnyEngine, Engine, Error, MySqlEngine, PgEngine, Readiness,
    engine_finder_with,
};
use poolhouse_tests::{CaseDatabase, PgBouncer, Sql, eventually, pgbouncer::Mode};
use sqlx::{
    Connection, MySql, PgConnection, Postgres,
    mysql::MySqlConnectOptions,
    postgres::{PgAdvisoryLock, PgConnectOptions},
};

use super::{bounded, settings, started, through_proxy};
use crate::table::case_databases;

case_databases! {
    a_silent_server_is_not_a_busy_pool: silent, on (postgres, mariadb);
    a_cancelled_statement_leaves_the_server_reachable: reachable, on (postgres, mariadb);
    a_connection_that_is_being_opened_is_evicted: evicted_while_opened, on (postgres, mariadb);
    an_eviction_is_followed_by_min_size: evicted_to_min_size, on (postgres, mariadb);
    every_checkout_is_counted: counted, on (postgres, mariadb, sqlite);
    a_session_of_another_user_is_not_reported_as_ended: other_user, on (postgres, mariadb);
}

async fn silent<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let (proxy, url) = through_proxy(&case_database)?;
    // One connection, which is validated; and none.
    for idle in [true, false] {
        let settings = settings("silent", &url)
            .max_size(1)
            .acquire_timeout("500ms")
            .validate_after("0s")
            .close_timeout("300ms")
            .lazy(true);
        let engine: Engine<DB> = started(&settings).await?;
        if idle {
            drop(engine.acquire().await?);
        }
        proxy.black_hole();
        // The second one waits for the slot of the first.
        let both = async { tokio::join!(engine.acquire(), engine.acquire()) };
        let (first, second) = bounded("the checkouts", both).await?;
        for refused in [first, second] {
            let error = refused.err().context("the server is there")?;
            let found = AcquireError::find(&error).context("another error")?;
            ensure!(found.kind() == AcquireKind::NoAnswer, "{error}");
            let said = error.to_string();
            ensure!(
                said.contains("no answer in time") && said.contains("acquire_timeout = 500ms"),
                "{said}"
            );
        }
        let health = bounded("the check", engine.health_within(Duration::from_secs(9))).await?;
        let Err(Error::Acquire(error)) = health else {
            anyhow::bail!("{health:?}");
        };
        ensure!(error.kind() != AcquireKind::TimedOut, "{error}");
        proxy.pass();
        proxy.reset();
        bounded("the close", engine.close_connection_pool()).await?;
        case_database.no_session_left().await?;
    }
    Ok(())
}

/// A statement that is cancelled is ended on the server, which has answered then.
async fn reachable<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let engine: Engine<DB> = started(&settings("reachable", case_database.url())).await?;
    let mut checkout = engine.acquire().await?;
    {
        let slow = DB::run(checkout.as_mut(), DB::SLEEP.unwrap_or_default());
        tokio::select! {
            ended = slow => ended?,
            running = case_database.one_runs("3600") => {
                running?;
            }
        }
    }
    drop(checkout);
    // It is counted once its session is ended, and before the connection is closed.
    let readiness = eventually("the connection is broken", async || {
        ensure!(engine.status().broken == 1, "{:?}", engine.status());
        Ok(engine.readiness())
    })
    .await?;
    ensure!(readiness == Readiness::Ready, "{readiness}");
    engine.close_connection_pool().await;
    Ok(())
}

async fn evicted_while_opened<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let sleep = DB::SLEEP.context("no server")?.replace("3600", "1");
    let settings = settings("opened", case_database.url())
        .session(sleep)
        .lazy(true);
    let engine: Engine<DB> = started(&settings).await?;
    let opening = engine.acquire();
    let (checkout, ()) = tokio::try_join!(async { Ok(opening.await?) }, async {
        case_database.one_runs("(1)").await?;
        engine.evict();
        anyhow::Ok(())
    })?;
    drop(checkout);
    eventually("it is retired", async || {
        let status = engine.status();
        ensure!(
            status.closed_lifetime == 1 && status.idle == 0,
            "{status:?}"
        );
        Ok(())
    })
    .await?;
    engine.close_connection_pool().await;
    Ok(())
}

async fn evicted_to_min_size<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let settings = settings("refilled", case_database.url()).min_size(3);
    let engine: Engine<DB> = started(&settings).await?;
    ensure!(engine.status().opened == 3, "{:?}", engine.status());
    engine.evict();
    // Without a wake-up, the keeper's next round comes after 30 s.
    let refilled = eventually("three others are open", async || {
        let status = engine.status();
        ensure!(status.opened == 6 && status.idle == 3, "{status:?}");
        Ok(())
    });
    bounded("the refill", refilled).await??;
    engine.close_connection_pool().await;
    Ok(())
}

async fn counted<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let settings = settings("counted", case_database.url()).validate_after("1h");
    let engine: Engine<DB> = started(&settings).await?;
    for _ in 0..2 {
        drop(engine.acquire().await?);
        drop(engine.try_acquire().await.context("one is idle")?);
    }
    ensure!(engine.status().acquired == 4, "{:?}", engine.status());
    engine.close_connection_pool().await;
    Ok(())
}

/// `before_connect` gives another user after a session was opened, as with dynamic credentials.
async fn other_user<DB: Sql>(case_database: CaseDatabase) -> anyhow::Result<()> {
    let database = case_database.database()?;
    let name = format!("{}_other", database.name());
    let (password, whole) = (database.password(), database.name());
    let postgres = [
        format!("CREATE ROLE {name} LOGIN PASSWORD '{password}'"),
        format!("GRANT ALL ON DATABASE {whole} TO {name}"),
    ];
    let mariadb = [
        format!("CREATE USER {name}@'%' IDENTIFIED BY '{password}'"),
        format!("GRANT ALL ON {whole}.* TO {name}@'%'"),
    ];
    let statements = match database.kind() {
        poolhouse_tests::Kind::Postgres => postgres,
        poolhouse_tests::Kind::MariaDb => mariadb,
    };
    database.server().ask(&statements).await?;
    let opened = Arc::new(AtomicUsize::new(0));
    // The first session is of the first user.
    let user = {
        let (name, opened) = (name.clone(), Arc::clone(&opened));
        move || (opened.fetch_add(1, Relaxed) > 0).then(|| name.clone())
    };
    let (one, other) = (user.clone(), user);
    let settings = settings("other_user", case_database.url())
        .max_size(1)
        .close_timeout("300ms")
        .before_connect(move |options: PgConnectOptions| {
            let user = one();
            async move {
                anyhow::Ok(match user {
                    Some(user) => options.username(&user),
                    None => options,
                })
            }
        })
        .before_connect(move |options: MySqlConnectOptions| {
            let user = other();
            async move {
                anyhow::Ok(match user {
                    Some(user) => options.username(&user),
                    None => options,
                })
            }
        });
    let engine: Engine<DB> = started(&settings).await?;
    let mut checkout = engine.acquire().await?;
    let running = tokio::spawn(async move {
        let _ = DB::run(checkout.as_mut(), DB::SLEEP.unwrap_or_default()).await;
    });
    case_database.one_runs("3600").await?;
    let report = engine.close_connection_pool().await.to_string();
    ensure!(opened.load(Relaxed) > 1, "nobody has asked for credentials");
    ensure!(
        report.contains("the sessions could not be terminated")
            && !report.contains("session was terminated"),
        "{report}"
    );
    running.abort();
    // The server's own user ends it.
    for session in database.sessions().await? {
        database.end_session(&session).await;
    }
    case_database.no_session_left().await?;
    let drop_user = match database.kind() {
        poolhouse_tests::Kind::Postgres => {
            vec![format!("DROP OWNED BY {name}"), format!("DROP ROLE {name}")]
        }
        poolhouse_tests::Kind::MariaDb => vec![format!("DROP USER {name}@'%'")],
    };
    database.server().ask(&drop_user).await?;
    Ok(())
}

/// pgbouncer gives all of its own errors the same code.
#[tokio::test]
async fn a_pooler_without_room_is_waited_for() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<Postgres>("full_pooler").await? else {
        return Ok(());
    };
    let room = [("max_client_conn", "1")];
    let pooler = PgBouncer::start(case_database.database()?, Mode::Transaction, &room).await?;
    let holder = PgConnection::connect(pooler.url()).await?;
    let settings = settings("full_pooler", pooler.url())
        .pooler("pgbouncer")
        .start_timeout("15s")
        .max_size(1);
    let engine: PgEngine = engine_finder_with(&settings)?;
    let heard = poolhouse_tests::Heard::here();
    let leaving = async {
        heard.line("the pooler has too many clients").await?;
        anyhow::Ok(holder.close().await?)
    };
    let start = async { anyhow::Ok(engine.start_connection_pool().await?) };
    tokio::try_join!(start, leaving)?;
    sqlx::query("SELECT 1").execute(&engine).await?;
    engine.close_connection_pool().await;
    Ok(())
}

/// A routine, or `autocommit`, opens a transaction that the driver does not count.
#[tokio::test]
async fn no_open_transaction_is_handed_on() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<MySql>("handed_on").await? else {
        return Ok(());
    };
    let settings = settings("handed_on", case_database.url()).max_size(1);
    let engine: MySqlEngine = started(&settings).await?;
    for statement in [
        "CREATE TABLE entry (id INTEGER)",
        "CREATE PROCEDURE opens() BEGIN START TRANSACTION; INSERT INTO entry VALUES (1); END",
    ] {
        case_database.run::<MySql>(statement).await?;
    }
    let count = async |id: i32| {
        let count = format!("SELECT count(*) FROM entry WHERE id = {id}");
        case_database.answer::<MySql>(&count).await
    };
    for opening in [
        &["CALL opens()"][..],
        &[
            "EXECUTE IMMEDIATE 'START TRANSACTION'",
            "INSERT INTO entry VALUES (1)",
        ],
        &["SET autocommit = 0", "INSERT INTO entry VALUES (1)"],
        &[
            "SET @@session.AutoCommit=OFF",
            "INSERT INTO entry VALUES (1)",
        ],
    ] {
        let mut checkout = engine.acquire().await?;
        for statement in opening {
            sqlx::raw_sql(*statement).execute(&mut checkout).await?;
        }
        drop(checkout);
        // The next statement is no part of it.
        sqlx::query("INSERT INTO entry VALUES (2)")
            .execute(&engine)
            .await?;
        let found = (count(1).await?, count(2).await?);
        ensure!(found == (0, 1), "after {opening:?}: {found:?}");
        // Nor is the next transaction, which would commit it.
        let mut checkout = engine.acquire().await?;
        for statement in opening {
            sqlx::raw_sql(*statement).execute(&mut checkout).await?;
        }
        drop(checkout);
        let mut next = engine.begin().await?;
        sqlx::query("INSERT INTO entry VALUES (2)")
            .execute(&mut next)
            .await?;
        next.commit().await?;
        let found = (count(1).await?, count(2).await?);
        ensure!(found == (0, 2), "after {opening:?}: {found:?}");
        case_database.run::<MySql>("DELETE FROM entry").await?;
    }
    engine.close_connection_pool().await;
    Ok(())
}

#[tokio::test]
async fn a_listener_connects_as_the_pool_does() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<Postgres>("listener").await? else {
        return Ok(());
    };
    let password = case_database.database()?.password().to_owned();
    let url = case_database.url().replace(&password, "outdated");
    let settings = settings("listener", url).before_connect(move |options: PgConnectOptions| {
        let password = password.clone();
        async move { anyhow::Ok(options.password(&password)) }
    });
    let engine: PgEngine = started(&settings).await?;
    let mut listener = engine.listener().await?;
    listener.listen("bands").await?;
    sqlx::query("NOTIFY bands, 'new'").execute(&engine).await?;
    let heard = bounded("the notification", listener.recv()).await??;
    ensure!(heard.payload() == "new");
    drop(listener);
    engine.close_connection_pool().await;
    Ok(())
}

/// `Any` passes on errors of one driver that would mean something else on another.
#[tokio::test]
async fn any_engine_keeps_a_session_after_an_error_of_the_client() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<Postgres>("any_client").await? else {
        return Ok(());
    };
    let engine: AnyEngine =
        engine_finder_with(&settings("any_client", case_database.url()).max_size(1))?;
    engine.start_connection_pool().await?;
    let pid = async || {
        sqlx::query_scalar::<_, i32>("SELECT pg_backend_pid()")
            .fetch_one(&engine)
            .await
    };
    let before = pid().await?;
    let mut many = sqlx::query("SELECT 1");
    for value in 0..70_000 {
        many = many.bind(value);
    }
    ensure!(many.execute(&engine).await.is_err());
    let after = pid().await?;
    ensure!(before == after, "session {before} became {after}");
    engine.close_connection_pool().await;
    Ok(())
}

#[tokio::test]
async fn any_engine_has_one_in_memory_database() -> anyhow::Result<()> {
    let engine: AnyEngine = engine_finder_with(&settings("any_memory", "sqlite::memory:"))?;
    engine.start_connection_pool().await?;
    sqlx::raw_sql("CREATE TABLE entry (id INTEGER)")
        .execute(&engine)
        .await?;
    let (mut one, mut other) = (engine.acquire().await?, engine.acquire().await?);
    sqlx::query("INSERT INTO entry VALUES (1)")
        .execute(&mut one)
        .await?;
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM entry")
        .fetch_one(&mut other)
        .await?;
    ensure!(count == 1, "{count} rows");
    drop((one, other));
    engine.close_connection_pool().await;
    // Another engine has another database.
    let other: AnyEngine = engine_finder_with(&settings("any_memory_2", "sqlite::memory:"))?;
    other.start_connection_pool().await?;
    ensure!(
        sqlx::query("SELECT id FROM entry")
            .execute(&other)
            .await
            .is_err()
    );
    other.close_connection_pool().await;
    Ok(())
}

/// The guard of sqlx derefs to the connection of what it was made with.
#[tokio::test]
async fn an_advisory_lock_is_taken_on_a_checkout() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<Postgres>("advisory").await? else {
        return Ok(());
    };
    let engine: PgEngine = started(&settings("advisory", case_database.url())).await?;
    let lock = PgAdvisoryLock::new("job");
    let mut guard = lock.acquire(engine.acquire().await?).await?;
    sqlx::query("SELECT 1").execute(&mut *guard).await?;
    drop(guard.release_now().await?);
    engine.close_connection_pool().await;
    Ok(())
}
