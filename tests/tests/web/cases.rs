//! The effects of requests, by their status and their faults, on each framework and database.

use std::future::Future;
use std::sync::PoisonError;

use anyhow::{Context, ensure};
use poolhouse::{Engine, Settings, engine_finder_with};
use poolhouse_tests::{CaseDatabase, Kind, Proxy, Sql, eventually};

use crate::act::{key, point};
use crate::client::{Response, post, send};
use crate::framework::{Actix, Axum, Framework, Rocket, Server};
use crate::heard;

/// A server in front of a database.
struct Service<DB: Sql> {
    case_database: CaseDatabase,
    db: Engine<DB>,
    server: Server,
}

const TABLES: &str = "CREATE TABLE entry (id INTEGER PRIMARY KEY, value INTEGER NOT NULL);
    INSERT INTO entry VALUES (1, 0), (2, 0);
    CREATE TABLE child (entry INTEGER);";

/// A reference that is checked at the commit. It fails always, because its table stays empty.
const DEFERRED: &str = "DROP TABLE child; CREATE TABLE parent (id INTEGER PRIMARY KEY);
    CREATE TABLE child (entry INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);";

async fn engine_on<DB: Sql>(
    case_database: &CaseDatabase,
    settings: Settings,
) -> anyhow::Result<Engine<DB>> {
    case_database.run::<DB>(TABLES).await?;
    if DB::SERVER != Some(Kind::MariaDb) {
        case_database.run::<DB>(DEFERRED).await?;
    }
    let db: Engine<DB> = engine_finder_with(&settings)?;
    db.start_connection_pool().await?;
    Ok(db)
}

fn settings(url: String) -> Settings {
    Settings::new().url(url).max_size(4).close_timeout("1s")
}

impl<DB: Sql> Service<DB> {
    async fn of<F: Framework>(transactions: bool) -> anyhow::Result<Option<Self>> {
        heard::listen();
        let Some(case_database) = CaseDatabase::of::<DB>("web").await? else {
            return Ok(None);
        };
        let settings = settings(case_database.url());
        Self::on::<F>(case_database, settings, transactions)
            .await
            .map(Some)
    }

    async fn on<F: Framework>(
        case_database: CaseDatabase,
        settings: Settings,
        transactions: bool,
    ) -> anyhow::Result<Self> {
        let db = engine_on(&case_database, settings).await?;
        let server = F::serve::<DB>(transactions).await?;
        Ok(Self {
            case_database,
            db,
            server,
        })
    }

    async fn post(&self, path: String) -> anyhow::Result<Option<Response>> {
        post(self.server.address, &path).await
    }

    async fn status(&self, path: String) -> anyhow::Result<Option<u16>> {
        Ok(self.post(path).await?.map(|response| response.status))
    }

    /// The number of rows with these ids.
    async fn rows(&self, from: i32, to: i32) -> anyhow::Result<i64> {
        let sql = format!("SELECT count(*) FROM entry WHERE id BETWEEN {from} AND {to}");
        self.case_database.answer::<DB>(&sql).await
    }

    /// Waits until every connection is back, and fails if a transaction is open.
    async fn at_rest(&self) -> anyhow::Result<()> {
        eventually("every connection is back", async || {
            let status = self.db.status();
            ensure!(status.in_use == 0, "{status}");
            Ok(())
        })
        .await?;
        if let Ok(database) = self.case_database.database() {
            let sessions = database.sessions().await?;
            let open = sessions
                .iter()
                .any(|session| session.state.starts_with("idle in transaction"));
            ensure!(!open, "{sessions:?}");
        }
        Ok(())
    }

    async fn close(self) -> anyhow::Result<()> {
        self.at_rest().await?;
        drop(self.server);
        let report = self.db.close_connection_pool().await;
        ensure!(report.is_clean(), "{report}");
        Ok(())
    }
}

/// Whether the transaction is committed before the response, for each status.
async fn statuses<F: Framework, DB: Sql>() -> anyhow::Result<()> {
    let Some(service) = Service::<DB>::of::<F>(true).await? else {
        return Ok(());
    };
    let kept = [(200, 1), (201, 1), (299, 1), (303, 1), (304, 1)];
    let not_kept = [(400, 0), (404, 0), (409, 0), (500, 0), (503, 0)];
    for (status, rows) in kept.into_iter().chain(not_kept) {
        for (case, more) in [
            ("write", 0),
            ("shared", 0),
            ("joins", 0),
            ("joins_guard", 1),
        ] {
            let key = key();
            let answered = service
                .status(format!("/act/{case}/{status}/{key}"))
                .await?;
            ensure!(
                answered == Some(status),
                "{case}: {answered:?} for {status}"
            );
            let written = service.rows(key, key + 2).await?;
            let expected = rows * (1 + more);
            ensure!(written == expected, "{case} {status}: {written} rows");
        }
        ensure!(
            service
                .status(format!("/act/nothing/{status}/{}", key()))
                .await?
                == Some(status)
        );
    }
    // Two extractors at once: one gets an error, and neither waits.
    let at_once = key();
    ensure!(
        service
            .status(format!("/act/at_once/200/{at_once}"))
            .await?
            == Some(200)
    );
    ensure!(service.rows(at_once, at_once + 1).await? == 2, "at once");
    // A first statement that was dropped half-way.
    let given_up = key();
    ensure!(
        service
            .status(format!("/act/given_up/200/{given_up}"))
            .await?
            == Some(200)
    );
    ensure!(
        service.rows(given_up + 1, given_up + 1).await? == 1,
        "given up"
    );
    // Without a request transaction, nothing is rolled back.
    for case in ["write", "scoped"] {
        let key = key();
        ensure!(service.status(format!("/plain/{case}/500/{key}")).await? == Some(500));
        ensure!(service.rows(key, key).await? == 1, "plain {case}");
    }
    let holds = key();
    ensure!(service.status(format!("/holds/500/{holds}")).await? == Some(500));
    ensure!(service.rows(holds, holds).await? == 1, "holds");
    service.close().await
}

/// A transaction that is still held when the response leaves is rolled back, logged and answered with 500.
async fn held<F: Framework, DB: Sql>() -> anyhow::Result<()> {
    let Some(service) = Service::<DB>::of::<F>(true).await? else {
        return Ok(());
    };
    for case in ["body", "body_unused", "task"] {
        for status in [200, 302, 404] {
            let key = key();
            let before = heard::lines(&["is still held", "POST /act/"]).len();
            let answered = service.post(format!("/act/{case}/{status}/{key}")).await?;
            let answered = answered.context("an answer")?;
            ensure!(answered.status == 500, "{case}: {answered:?}");
            ensure!(!answered.body.contains("held"), "{answered:?}");
            ensure!(service.rows(key, key).await? == 0, "{case} {status}");
            let logged = heard::lines(&["is still held", "POST /act/"]).len();
            ensure!(logged > before, "{case} {status}: not logged");
            // The path may contain a secret, and the route does not.
            let path = format!("/act/{case}/{status}/{key}");
            let shown = heard::lines(&[&path]);
            ensure!(shown.is_empty(), "{shown:?}");
            if case == "task" {
                // A later statement of the task is an error.
                let point = point(key);
                point.reached.acquire().await?.forget();
                point.go.add_permits(1);
                point.reached.acquire().await?.forget();
                let said = point.said.lock().unwrap_or_else(PoisonError::into_inner);
                ensure!(said.contains("is over"), "{said}");
            }
            ensure!(
                service.rows(key, key + 1).await? == 0,
                "{case} {status}: later"
            );
        }
    }
    service.close().await
}

/// Handlers that panic, or whose client disconnects.
async fn ends<F: Framework, DB: Sql>() -> anyhow::Result<()> {
    let Some(service) = Service::<DB>::of::<F>(true).await? else {
        return Ok(());
    };
    let panics = key();
    let answered = service.status(format!("/act/panic/200/{panics}")).await?;
    ensure!(answered == F::PANICKED, "{answered:?}");
    service.at_rest().await?;
    ensure!(service.rows(panics, panics).await? == 0, "after a panic");

    let waits = key();
    let sent = send(service.server.address, &format!("/act/wait/200/{waits}")).await?;
    let point = point(waits);
    point.reached.acquire().await?.forget();
    drop(sent);
    if !F::DROPS_HANDLERS {
        point.go.add_permits(1);
    }
    point.gone.acquire().await?.forget();
    service.at_rest().await?;
    let written = service.rows(waits, waits).await?;
    ensure!(
        written == i64::from(!F::DROPS_HANDLERS),
        "{written} rows of a client that hung up"
    );
    // The same, with a task that holds the transaction.
    let waits = key();
    let path = format!("/act/wait_beside_task/200/{waits}");
    let sent = send(service.server.address, &path).await?;
    let beside = crate::act::point(waits);
    beside.reached.acquire().await?.forget();
    drop(sent);
    beside.go.add_permits(usize::from(!F::DROPS_HANDLERS));
    beside.gone.acquire().await?.forget();
    service.at_rest().await?;
    ensure!(service.rows(waits, waits).await? == 0, "a task kept it");
    // The service still works.
    let after = key();
    ensure!(service.status(format!("/act/write/200/{after}")).await? == Some(200));
    ensure!(service.rows(after, after).await? == 1);
    service.close().await
}

/// A client that disconnects while the transaction begins.
async fn hangs_up_at_begin<F: Framework, DB: Sql>() -> anyhow::Result<()> {
    let Some(case_database) = CaseDatabase::of::<DB>("web").await? else {
        return Ok(());
    };
    // Without a server, the request waits for a free connection instead.
    let proxy = match case_database.database() {
        Ok(database) => Some(Proxy::before(database.address()?)?),
        Err(_) => None,
    };
    let url = match (&proxy, case_database.database()) {
        (Some(proxy), Ok(database)) => database.url_through(proxy.address()),
        _ => case_database.url(),
    };
    let settings = settings(url).max_size(1);
    let service = Service::<DB>::on::<F>(case_database, settings, true).await?;
    let begins = key();
    let mut taken = None;
    match &proxy {
        Some(proxy) => proxy.stop(),
        None => taken = Some(service.db.acquire().await?),
    }
    let sent = send(service.server.address, &format!("/act/write/200/{begins}")).await?;
    eventually("the transaction begins", async || {
        let status = service.db.status();
        let waits = if proxy.is_some() {
            status.in_use
        } else {
            status.waiting
        };
        ensure!(waits == 1, "{status}");
        Ok(())
    })
    .await?;
    drop(sent);
    let gone = point(begins);
    if F::DROPS_HANDLERS {
        gone.gone.acquire().await?.forget();
    }
    drop(taken);
    if let Some(proxy) = &proxy {
        proxy.pass();
    }
    if !F::DROPS_HANDLERS {
        gone.gone.acquire().await?.forget();
    }
    service.at_rest().await?;
    let written = service.rows(begins, begins).await?;
    ensure!(written == i64::from(!F::DROPS_HANDLERS), "{written} rows");
    let after = key();
    ensure!(service.status(format!("/act/write/200/{after}")).await? == Some(200));
    ensure!(service.rows(after, after).await? == 1);
    drop(service.server);
    service.db.close_connection_pool().await;
    Ok(())
}

/// Commits that fail.
async fn failed_commits<F: Framework, DB: Sql>() -> anyhow::Result<()> {
    let Some(service) = Service::<DB>::of::<F>(true).await? else {
        return Ok(());
    };
    let fails = key();
    let answered = service
        .post(format!("/act/commit_fails/201/{fails}"))
        .await?;
    let answered = answered.context("an answer")?;
    ensure!(answered.status == 500, "{answered:?}");
    ensure!(answered.retry_after.is_none(), "{answered:?}");
    ensure!(answered.body == "Internal Server Error", "{answered:?}");
    ensure!(service.rows(fails, fails).await? == 0, "a failed commit");

    // The handler ignores a failed statement. Postgres rolls back the whole transaction, the others only the statement.
    let swallows = key();
    let whole = DB::SERVER == Some(Kind::Postgres);
    let answered = service
        .status(format!("/act/swallows/200/{swallows}"))
        .await?;
    ensure!(
        answered == Some(if whole { 500 } else { 200 }),
        "{answered:?}"
    );
    let written = service.rows(swallows, swallows).await?;
    ensure!(written == i64::from(!whole), "{written} rows");

    let conflicts: &[(&str, bool)] = match DB::SERVER {
        Some(Kind::Postgres) => &[("conflicts", true), ("deadlocks", true)],
        Some(Kind::MariaDb) => &[("deadlocks", true)],
        None => &[("conflicts", false)],
    };
    for (case, both) in conflicts {
        service.conflict(case, *both).await.context(*case)?;
    }
    service.close().await
}

impl<DB: Sql> Service<DB> {
    /// One of two requests with an even and an odd key has a conflict; without `both`, the only request.
    async fn conflict(&self, case: &str, both: bool) -> anyhow::Result<()> {
        let (first, second) = (key(), key() + 1);
        let mut sent = Vec::new();
        for key in [Some(first), both.then_some(second)].into_iter().flatten() {
            let path = format!("/act/{case}/200/{key}");
            sent.push(send(self.server.address, &path).await?);
            point(key).reached.acquire().await?.forget();
        }
        for key in [first, second] {
            point(key).go.add_permits(1);
        }
        let mut answers = Vec::new();
        for sent in sent {
            answers.push(sent.response().await?.context("an answer")?);
        }
        answers.sort_by_key(|answer| answer.status);
        let last = answers.pop().context("an answer")?;
        let expected = Response {
            status: 503,
            retry_after: Some("1".to_owned()),
            body: "Service Unavailable".to_owned(),
        };
        ensure!(last == expected, "{last:?}");
        ensure!(
            answers.iter().all(|answer| answer.status == 200),
            "{answers:?}"
        );
        Ok(())
    }
}

/// Exhausted and closed pools, and applications without request transactions.
async fn unavailable<F: Framework, DB: Sql>() -> anyhow::Result<()> {
    heard::listen();
    let Some(case_database) = CaseDatabase::of::<DB>("web").await? else {
        return Ok(());
    };
    let settings = settings(case_database.url())
        .max_size(1)
        .acquire_timeout("50ms");
    let service = Service::<DB>::on::<F>(case_database, settings, true).await?;
    let taken = service.db.acquire().await?;
    let paths = |key: i32| {
        [
            format!("/act/write/200/{key}"),
            format!("/act/joins/200/{key}"),
            format!("/plain/write/200/{key}"),
            format!("/holds/200/{key}"),
        ]
    };
    let unavailable = |path: &str, answer: Option<Response>| {
        let answer = answer.context("an answer")?;
        ensure!(answer.status == 503, "{path}: {answer:?}");
        ensure!(
            answer.retry_after.as_deref() == Some("5"),
            "{path}: {answer:?}"
        );
        let tells = ["engine", "max_size", "pool"];
        let body = answer.body.to_lowercase();
        ensure!(!tells.iter().any(|word| body.contains(word)), "{body}");
        Ok(())
    };
    for path in paths(key()) {
        unavailable(&path, service.post(path.clone()).await?)?;
    }
    // A handler without statements needs no connection.
    ensure!(
        service
            .status(format!("/act/nothing/200/{}", key()))
            .await?
            == Some(200)
    );
    drop(taken);
    service.db.close_connection_pool().await;
    for path in paths(key()) {
        unavailable(&path, service.post(path.clone()).await?)?;
    }
    drop(service);

    let Some(service) = Service::<DB>::of::<F>(false).await? else {
        return Ok(());
    };
    let before = heard::lines(&["nothing commits it", F::NAME_OF_LINE]).len();
    let missing = key();
    ensure!(service.status(format!("/act/write/200/{missing}")).await? == Some(500));
    ensure!(service.rows(missing, missing).await? == 0);
    let logged = heard::lines(&["nothing commits it", F::NAME_OF_LINE]).len();
    ensure!(logged > before, "not logged");
    let plain = key();
    ensure!(service.status(format!("/plain/scoped/200/{plain}")).await? == Some(200));
    ensure!(service.rows(plain, plain).await? == 1);
    service.close().await
}

/// Two engines in one request, the second by name.
async fn two_engines<F: Framework, DB: Sql>() -> anyhow::Result<()> {
    let Some(service) = Service::<DB>::of::<F>(true).await? else {
        return Ok(());
    };
    let unknown = key();
    ensure!(service.status(format!("/two/200/{unknown}")).await? == Some(503));
    let Some(case_database) = CaseDatabase::of::<DB>("reports").await? else {
        return Ok(());
    };
    let reports: Engine<DB> = engine_on(
        &case_database,
        settings(case_database.url()).engine("reports"),
    )
    .await?;
    for (status, rows) in [(200, 1), (404, 0)] {
        let key = key();
        ensure!(service.status(format!("/two/{status}/{key}")).await? == Some(status));
        ensure!(service.rows(key, key).await? == rows, "the first, {status}");
        let sql = format!("SELECT count(*) FROM entry WHERE id >= {key}");
        let of_reports = case_database.answer::<DB>(&sql).await?;
        ensure!(
            of_reports == 2 * rows,
            "{of_reports} of the second, {status}"
        );
    }
    // The second engine's transaction is dropped in a task.
    eventually("the second engine is at rest", async || {
        ensure!(reports.status().in_use == 0);
        Ok(())
    })
    .await?;
    reports.close_connection_pool().await;
    service.close().await
}

/// Request transactions that the middleware does not end are logged and rolled back.
#[tokio::test]
async fn never_ended() -> anyhow::Result<()> {
    heard::listen();
    let Some(case_database) = CaseDatabase::of::<sqlx::Sqlite>("web").await? else {
        return Ok(());
    };
    let settings = settings(case_database.url()).engine("never_ended");
    let db: Engine<sqlx::Sqlite> = engine_on(&case_database, settings).await?;
    let transactions = poolhouse::web::RequestTransactions::new();
    let mut tx = transactions.of(&db, "POST /forgotten")?;
    sqlx::query("INSERT INTO entry VALUES (3, 0)")
        .execute(&mut tx)
        .await?;
    drop((transactions, tx));
    ensure!(heard::lines(&["nothing has ended it", "never_ended"]).len() == 1);
    db.close_connection_pool().await;
    let sql = "SELECT count(*) FROM entry WHERE id = 3";
    ensure!(case_database.answer::<sqlx::Sqlite>(sql).await? == 0);
    Ok(())
}

/// Runs a case on its own runtime, whose scope no other test shares.
fn play<F: Framework>(case: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let played = runtime.block_on(case).context(F::NAME);
    runtime.shutdown_background();
    played
}

/// Makes a test of each case on each framework and database.
macro_rules! table {
    ($($framework:ident: $module:ident;)*) => {$(
        mod $module {
            use super::*;
            table!(@on postgres, sqlx::Postgres, $framework);
            table!(@on mariadb, sqlx::MySql, $framework);
            table!(@on sqlite, sqlx::Sqlite, $framework);
        }
    )*};
    (@on $module:ident, $database:ty, $framework:ident) => {
        mod $module {
            use super::*;
            table!(@cases $database, $framework; statuses held ends hangs_up_at_begin failed_commits unavailable two_engines);
        }
    };
    (@cases $database:ty, $framework:ident; $($case:ident)*) => {$(
        #[test]
        fn $case() -> anyhow::Result<()> {
            play::<$framework>(super::super::$case::<$framework, $database>())
        }
    )*};
}

table! {
    Axum: axum;
    Actix: actix_web;
    Rocket: rocket;
}
