//! Engines behind a real pgbouncer, in session and in transaction mode.

mod bad_input;
mod dropped;
mod transactions;

use std::num::NonZeroU32;

use anyhow::{Context, bail, ensure};
use futures_util::TryStreamExt;
use poolhouse::{PgEngine, Readiness, Settings, engine_finder_with};
use poolhouse_tests::{
    Heard, Kind, PgBouncer, Proxy, TestDatabase, eventually, faults::pooler, pgbouncer::Mode,
    servers,
};
use sqlx::{Connection, Executor, Postgres, Row, SqlStr};
use tokio::task::JoinSet;

const MODES: [Mode; 2] = [Mode::Session, Mode::Transaction];

/// A database behind a pgbouncer with two sessions, or twenty in session mode.
struct Fixture {
    database: TestDatabase,
    pooler: PgBouncer,
}

impl Fixture {
    async fn of(mode: Mode) -> anyhow::Result<Option<Self>> {
        let Some(server) = servers::require(Kind::Postgres) else {
            return Ok(None);
        };
        let database = server.database("pooled").await?;
        // In session mode, every client has its own session until it disconnects.
        let sessions = if mode == Mode::Session { "20" } else { "2" };
        let pooler = PgBouncer::start(&database, mode, &[("default_pool_size", sessions)]).await?;
        Ok(Some(Self { database, pooler }))
    }

    /// Settings of an engine that uses the pooler without declaring it.
    fn undeclared(&self) -> Settings {
        Settings::new()
            .engine("pooled")
            .url(self.pooler.url())
            .max_size(6)
    }

    fn settings(&self) -> Settings {
        self.undeclared().pooler("pgbouncer")
    }

    async fn started(&self) -> anyhow::Result<PgEngine> {
        started(&self.settings()).await
    }
}

async fn started(settings: &Settings) -> anyhow::Result<PgEngine> {
    let engine = engine_finder_with::<Postgres>(settings)?;
    engine.start_connection_pool().await?;
    Ok(engine)
}

/// Runs a case in both modes, one after the other.
async fn in_both_modes(case: impl AsyncFn(Fixture) -> anyhow::Result<()>) -> anyhow::Result<()> {
    for mode in MODES {
        if let Some(fixture) = Fixture::of(mode).await? {
            case(fixture).await.with_context(|| format!("{mode:?}"))?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_tasks_share_five_sessions() -> anyhow::Result<()> {
    // `tests/compare` runs ten times as many.
    const QUERIES: NonZeroU32 = NonZeroU32::new(10_000).unwrap();
    pooler::many_queries_on_the_engine(QUERIES).await
}

#[tokio::test]
async fn a_type_of_the_users_own_is_found_in_the_right_session() -> anyhow::Result<()> {
    in_both_modes(async |fixture| {
        let db = fixture.started().await?;
        sqlx::raw_sql("CREATE TYPE mood AS ENUM ('calm', 'loud'); CREATE DOMAIN name AS text")
            .execute(&db)
            .await?;
        // Each query runs on a connection that has not seen the type.
        let mut tasks = JoinSet::new();
        for _ in 0..6 {
            let db = db.clone();
            tasks.spawn(async move {
                let row = sqlx::query("SELECT $1::mood, ARRAY['loud'::mood, $1], 'x'::name")
                    .bind(Mood::Calm)
                    .fetch_one(&db)
                    .await?;
                let moods: Vec<Mood> = row.try_get(1)?;
                ensure!(row.try_get::<Mood, _>(0)? == Mood::Calm);
                ensure!(moods == [Mood::Loud, Mood::Calm]);
                Ok(())
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        db.close_connection_pool().await;
        Ok(())
    })
    .await
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "mood", rename_all = "lowercase")]
enum Mood {
    Calm,
    Loud,
}

#[tokio::test]
async fn what_cannot_run_in_a_transaction_runs_outside_of_one() -> anyhow::Result<()> {
    in_both_modes(async |fixture| {
        let db = fixture.started().await?;
        sqlx::query("CREATE TABLE band (id int)")
            .execute(&db)
            .await?;
        sqlx::query("VACUUM band").execute(&db).await?;
        sqlx::query("CREATE INDEX CONCURRENTLY band_id ON band (id)")
            .execute(&db)
            .await?;
        let indexes: i64 =
            sqlx::query_scalar("SELECT count(*) FROM pg_indexes WHERE tablename = $1")
                .bind("band")
                .fetch_one(&db)
                .await?;
        ensure!(indexes == 1);
        db.close_connection_pool().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_statement_is_done_when_it_says_so_and_undone_when_it_fails() -> anyhow::Result<()> {
    in_both_modes(async |fixture| {
        let db = fixture.started().await?;
        sqlx::raw_sql(
            "CREATE TABLE band (id int PRIMARY KEY, \
             leader int REFERENCES band (id) DEFERRABLE INITIALLY DEFERRED)",
        )
        .execute(&db)
        .await?;
        let insert = "INSERT INTO band VALUES ($1, $2) RETURNING id";
        // Only the commit checks the reference.
        let refused = sqlx::query(insert).bind(1).bind(7).fetch_one(&db).await;
        let error = refused.err().context("the leader is not there")?;
        let code = error
            .as_database_error()
            .and_then(|error| error.code().map(String::from));
        ensure!(code.as_deref() == Some("23503"), "{error}");
        sqlx::query(insert).bind(1).bind(1).execute(&db).await?;
        let twice = sqlx::query(insert).bind(1).bind(1).execute(&db).await;
        ensure!(twice.is_err());
        // A stream that is not read to its end is undone.
        let mut rows = sqlx::query(insert).bind(2).bind(1).fetch(&db);
        ensure!(rows.try_next().await?.is_some());
        drop(rows);
        let mut all = Vec::new();
        for _ in 0..6 {
            all.push(db.acquire().await?);
        }
        drop(all);
        let ids: Vec<i32> = sqlx::query_scalar("SELECT id FROM band ORDER BY id")
            .fetch_all(&db)
            .await?;
        ensure!(ids == [1], "{ids:?}");
        db.close_connection_pool().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_statement_can_be_prepared_and_described() -> anyhow::Result<()> {
    in_both_modes(async |fixture| {
        let db = fixture.started().await?;
        for _ in 0..10 {
            let statement = (&db)
                .prepare(SqlStr::from_static("SELECT $1::int8 + 1"))
                .await?;
            let answer: i64 = sqlx::Statement::query_scalar(&statement)
                .bind(6_i64)
                .fetch_one(&db)
                .await?;
            ensure!(answer == 7);
            let described = (&db)
                .describe(SqlStr::from_static("SELECT 1 AS one"))
                .await?;
            ensure!(sqlx::Column::name(&described.columns[0]) == "one");
        }
        let left: i64 =
            sqlx::query_scalar("SELECT count(*) FROM pg_prepared_statements WHERE name <> ''")
                .fetch_one(&db)
                .await?;
        ensure!(left == 0, "{left} prepared statements are left");
        db.close_connection_pool().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_pooler_that_is_not_declared_is_warned_about() -> anyhow::Result<()> {
    const WORDS: &str = "a pooler seems to stand between";
    in_both_modes(async |fixture| {
        // The second time, the pooler has open sessions already.
        for _ in 0..2 {
            let heard = Heard::here();
            let db = started(&fixture.undeclared()).await?;
            db.close_connection_pool().await;
            let warnings = heard.lines(WORDS);
            ensure!(warnings.len() == 1, "{}", heard.everything());
            ensure!(
                warnings[0].contains("WARN") && warnings[0].contains("set pooler = \"pgbouncer\"")
            );
            ensure!(!warnings[0].contains(fixture.database.password()));
        }
        let heard = Heard::here();
        let db = started(&fixture.undeclared().lazy(true)).await?;
        for _ in 0..2 {
            let (one, two) = (db.acquire().await?, db.acquire().await?);
            drop((one, two));
            db.evict();
        }
        db.close_connection_pool().await;
        ensure!(heard.lines(WORDS).len() == 1, "{}", heard.everything());
        for settings in [
            fixture.settings(),
            fixture.undeclared().url(fixture.database.url()),
        ] {
            let heard = Heard::here();
            let db = started(&settings).await?;
            db.close_connection_pool().await;
            ensure!(heard.lines(WORDS).is_empty(), "{}", heard.everything());
        }
        Ok(())
    })
    .await
}

/// pgbouncer answers the login, and refuses the first query while its server is away.
#[tokio::test]
async fn an_undeclared_pooler_is_found_although_its_server_was_away_at_first() -> anyhow::Result<()>
{
    let Some(server) = servers::require(Kind::Postgres) else {
        return Ok(());
    };
    let database = server.database("away").await?;
    let proxy = Proxy::before(database.address()?)?;
    let limits = [("server_login_retry", "1"), ("query_wait_timeout", "1")];
    let pooler =
        PgBouncer::start_before(&database, proxy.address(), Mode::Transaction, &limits).await?;
    // pgbouncer knows from now on what a server says at a login.
    let mut first = sqlx::PgConnection::connect(pooler.url()).await?;
    first.execute("SELECT 1").await?;
    first.close().await?;
    proxy.refuse();
    proxy.reset();
    let heard = Heard::here();
    let settings = Settings::new().engine("away").url(pooler.url());
    let mut start = std::pin::pin!(started(&settings));
    let refused = async {
        // pgbouncer's own words about its server, or about the time that a query has waited.
        let log = async || {
            let log = pooler.log()?;
            ensure!(
                log.contains("server login") || log.contains("query_wait_timeout"),
                "{log}"
            );
            Ok(())
        };
        eventually("a query is refused", log).await
    };
    tokio::select! {
        ended = &mut start => bail!("it has started: {:?}", ended.map(|db| db.status())),
        refused = refused => refused?,
    }
    // Each attempt of the start is refused.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(3), &mut start).await;
    proxy.pass();
    let db = start.await?;
    db.close_connection_pool().await;
    let found = heard.lines("a pooler seems to stand between");
    ensure!(found.len() == 1, "{}", heard.everything());
    Ok(())
}

/// pgbouncer answers a login without its server.
#[tokio::test]
async fn a_dead_server_behind_the_pooler_is_unreachable() -> anyhow::Result<()> {
    let Some(server) = servers::require(Kind::Postgres) else {
        return Ok(());
    };
    let database = server.database("dead").await?;
    let proxy = Proxy::before(database.address()?)?;
    let limits = [("server_login_retry", "1"), ("query_wait_timeout", "1")];
    let pooler =
        PgBouncer::start_before(&database, proxy.address(), Mode::Transaction, &limits).await?;
    let settings = Settings::new()
        .engine("dead")
        .url(pooler.url())
        .pooler("pgbouncer");
    let db = started(&settings).await?;
    proxy.refuse();
    proxy.reset();
    let failed = sqlx::query("SELECT 1").execute(&db).await;
    failed.err().context("the server is there")?;
    ensure!(db.readiness() == Readiness::Unreachable);
    // Each opens a connection.
    for _ in 0..2 {
        let refused = db.acquire().await;
        refused.err().context("the server is there")?;
        ensure!(db.readiness() == Readiness::Unreachable);
    }
    proxy.pass();
    eventually("the server is reachable", async || {
        let readiness = db.readiness();
        ensure!(readiness == Readiness::Ready, "{readiness:?}");
        Ok(())
    })
    .await?;
    sqlx::query("SELECT 1").execute(&db).await?;
    db.close_connection_pool().await;
    Ok(())
}

/// A session of the pooler belongs to another client after each transaction.
#[tokio::test]
async fn no_session_is_terminated_behind_a_pooler_that_is_not_declared() -> anyhow::Result<()> {
    let Some(fixture) = Fixture::of(Mode::Transaction).await? else {
        return Ok(());
    };
    for lazy in [false, true] {
        let db = started(&fixture.undeclared().max_size(1).lazy(lazy)).await?;
        // The connection is opened, with the help of the session that the pooler used last.
        drop(db.acquire().await?);
        let mut other = sqlx::PgConnection::connect(fixture.pooler.url()).await?;
        sqlx::raw_sql("BEGIN; SELECT 1").execute(&mut other).await?;
        tokio::select! {
            ended = sqlx::raw_sql("SELECT pg_sleep(60)").execute(&db) => bail!("{ended:?}"),
            runs = fixture.database.sessions_become("it runs", |sessions| {
                sessions.iter().any(|session| {
                    session.state == "active" && session.statement.contains("pg_sleep")
                })
            }) => drop(runs?),
        }
        // The only slot is free when the connection was given up.
        drop(db.acquire().await?);
        sqlx::raw_sql("COMMIT")
            .execute(&mut other)
            .await
            .context("another client's session has ended")?;
        other.close().await?;
        db.close_connection_pool().await;
    }
    Ok(())
}

#[tokio::test]
async fn without_direct_url_neither_migrations_nor_a_listener_are_possible() -> anyhow::Result<()> {
    in_both_modes(async |fixture| {
        let db = fixture.started().await?;
        let migrated = db.migrate(&sqlx::migrate::Migrator::DEFAULT).await;
        let listened = db.listener().await.map(drop);
        let said = [
            format!("{:?}", migrated.err().context("it migrates")?),
            format!(
                "{:?}",
                poolhouse::Error::from(listened.err().context("it listens")?)
            ),
        ];
        for said in said {
            for words in ["engine `pooled`", "direct_url", "pooler = pgbouncer"] {
                ensure!(said.contains(words), "{words:?} is not in {said}");
            }
        }
        db.close_connection_pool().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn migrations_and_extensions_go_past_the_pooler() -> anyhow::Result<()> {
    in_both_modes(async |fixture| {
        let folder = tempfile::TempDir::new()?;
        std::fs::write(
            folder.path().join("1_way.sql"),
            "CREATE TABLE way AS SELECT source FROM pg_settings WHERE name = 'client_encoding'",
        )?;
        let settings = fixture
            .settings()
            .direct_url(fixture.database.url())
            .migrations(folder.path())
            .extensions(["citext"]);
        let db = started(&settings).await?;
        // The source is `client` in a session that no pooler opened.
        let source: String = sqlx::query_scalar("SELECT source FROM way")
            .fetch_one(&db)
            .await?;
        ensure!(source == "client", "{source}");
        let extensions: i64 =
            sqlx::query_scalar("SELECT count(*) FROM pg_extension WHERE extname = $1")
                .bind("citext")
                .fetch_one(&db)
                .await?;
        ensure!(extensions == 1);

        let mut listener = sqlx::postgres::PgListener::connect_with(
            &sqlx::PgPool::connect_lazy_with(db.connect_options()),
        )
        .await?;
        listener.listen("news").await?;
        sqlx::query("SELECT pg_notify($1, $2)")
            .bind("news")
            .bind("a new band")
            .execute(&db)
            .await?;
        ensure!(listener.recv().await?.payload() == "a new band");
        drop(listener);
        db.close_connection_pool().await;
        Ok(())
    })
    .await
}
