//! Read your writes: after a mark, a reader is the primary, or a replica that has replayed the mark.

use std::time::Duration;

use anyhow::ensure;
use poolhouse::{Engine, Settings, WriteMark};
use poolhouse_tests::{Kind, PrivateServer, Proxy, Sql, TestDatabase, eventually};
use sqlx::{MySql, Postgres};

use super::{follows, primary, started};

/// A limit that a replica with running replay does not reach.
const LONG: Duration = Duration::from_secs(20);

/// A limit for a replica with stopped replay.
const SHORT: Duration = Duration::from_millis(300);

/// The statements that stop and resume the replay.
fn replay(kind: Kind) -> [&'static str; 2] {
    match kind {
        // https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-RECOVERY-CONTROL
        Kind::Postgres => [
            "SELECT pg_wal_replay_pause()",
            "SELECT pg_wal_replay_resume()",
        ],
        // https://mariadb.com/kb/en/stop-replica/
        Kind::MariaDb => ["STOP SLAVE SQL_THREAD", "START SLAVE SQL_THREAD"],
    }
}

/// A primary, its replica, and an engine with the replica as a node behind a proxy.
struct Pair<DB: Sql> {
    primary: PrivateServer,
    replica: PrivateServer,
    proxy: Proxy,
    database: TestDatabase,
    db: Engine<DB>,
}

impl<DB: Sql> Pair<DB> {
    async fn start() -> anyhow::Result<Option<Self>> {
        let Some(builder) = primary::<DB>()? else {
            return Ok(None);
        };
        let primary = match DB::SERVER {
            // A commit can be answered before its record is written; the record is written within this time.
            Some(Kind::Postgres) => builder.setting("wal_writer_delay", "10ms"),
            _ => builder,
        };
        let primary = primary.start().await?;
        let database = primary.database("marks").await?;
        let replica = primary.replica().await?;
        follows::<DB>(&replica, &database).await?;
        let proxy = Proxy::before(replica.address())?;
        let node = Settings::new()
            .url(database.url_through(proxy.address()))
            .max_size(2);
        let settings = Settings::new()
            .engine("marks")
            .url(database.url())
            .node("replica1", node);
        let db = started::<DB>(&settings).await?;
        let mut connection = db.acquire().await?;
        DB::run(&mut connection, "CREATE TABLE band (id BIGINT PRIMARY KEY)").await?;
        drop(connection);
        Ok(Some(Self {
            primary,
            replica,
            proxy,
            database,
            db,
        }))
    }

    /// Stops the replay, or resumes it.
    async fn replays(&self, resume: bool) -> anyhow::Result<()> {
        let statement = replay(self.replica.kind)[usize::from(resume)];
        self.replica.ask(&[statement.to_owned()]).await?;
        Ok(())
    }

    /// Writes one row and returns its mark, parsed from its text, as from a cookie.
    async fn write(&self, id: i64) -> anyhow::Result<WriteMark<DB>> {
        let insert = format!("INSERT INTO band VALUES ({id}) RETURNING id");
        DB::answer_on(self.db.clone(), &insert).await?;
        let mark = self.db.write_mark().await?;
        let text = mark.to_string();
        ensure!(format!("{mark:?}") == format!("WriteMark({text})"));
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".:-_".contains(&byte);
        ensure!(text != "unknown" && text.bytes().all(is_plain), "{text}");
        Ok(text.parse()?)
    }

    /// Whether the reader is the replica. Fails if the reader does not see the row.
    async fn reads(&self, mark: &WriteMark<DB>, limit: Duration, id: i64) -> anyhow::Result<bool> {
        let reader = self.db.reader_after(mark, limit).await;
        let last = "SELECT coalesce(max(id), 0) FROM band";
        let seen = DB::answer_on(reader.clone(), last).await?;
        ensure!(
            seen >= id,
            "{} reads {seen} after {id} was written",
            reader.name()
        );
        Ok(reader.name() == "marks/replica1")
    }

    async fn end(self) -> anyhow::Result<()> {
        self.db.close_connection_pool().await;
        self.database.no_session_left().await
    }
}

#[tokio::test]
async fn a_reader_never_reads_the_past_on_postgres() -> anyhow::Result<()> {
    a_reader_never_reads_the_past::<Postgres>().await
}

#[tokio::test]
async fn a_reader_never_reads_the_past_on_mariadb() -> anyhow::Result<()> {
    a_reader_never_reads_the_past::<MySql>().await
}

async fn a_reader_never_reads_the_past<DB: Sql>() -> anyhow::Result<()> {
    let Some(pair) = Pair::<DB>::start().await? else {
        return Ok(());
    };
    let mut by_replica = 0;
    let writes = async {
        for id in 1..=1_000 {
            let mark = pair.write(id).await?;
            let limit = Duration::from_millis(fastrand::u64(1..50));
            by_replica += usize::from(pair.reads(&mark, limit, id).await?);
        }
        anyhow::Ok(())
    };
    let stops = async {
        loop {
            pair.replays(false).await?;
            tokio::time::sleep(Duration::from_millis(fastrand::u64(0..20))).await;
            pair.replays(true).await?;
            tokio::time::sleep(Duration::from_millis(fastrand::u64(0..20))).await;
        }
        #[allow(unreachable_code, reason = "it gives the type")]
        anyhow::Ok(())
    };
    tokio::select! {
        written = writes => written?,
        stopped = stops => stopped?,
    }
    println!("{by_replica} of 1000 reads at the replica");
    ensure!(0 < by_replica && by_replica < 1_000, "{by_replica}");
    pair.end().await
}

#[tokio::test]
async fn the_primary_reads_when_the_limit_is_over_on_postgres() -> anyhow::Result<()> {
    the_primary_reads_when_the_limit_is_over::<Postgres>().await
}

#[tokio::test]
async fn the_primary_reads_when_the_limit_is_over_on_mariadb() -> anyhow::Result<()> {
    the_primary_reads_when_the_limit_is_over::<MySql>().await
}

async fn the_primary_reads_when_the_limit_is_over<DB: Sql>() -> anyhow::Result<()> {
    let Some(pair) = Pair::<DB>::start().await? else {
        return Ok(());
    };
    let mark = pair.write(1).await?;
    ensure!(pair.reads(&mark, LONG, 1).await?);

    pair.replays(false).await?;
    let mark = pair.write(2).await?;
    ensure!(!pair.reads(&mark, SHORT, 2).await?);
    ensure!(!pair.reads(&mark, Duration::ZERO, 2).await?);
    // This wait is dropped half-way.
    let dropped = pair.db.reader_after(&mark, LONG);
    ensure!(tokio::time::timeout(SHORT, dropped).await.is_err());
    let waiting = pair.db.reader_after(&mark, LONG);
    let (reader, resumed) = tokio::join!(waiting, async {
        tokio::time::sleep(SHORT).await;
        pair.replays(true).await
    });
    resumed?;
    ensure!(reader.name() == "marks/replica1", "{}", reader.name());
    ensure!(pair.reads(&mark, LONG, 2).await?);

    // The replica gives no answer at all.
    pair.proxy.black_hole();
    let mark = pair.write(3).await?;
    ensure!(!pair.reads(&mark, SHORT, 3).await?);
    pair.proxy.pass();
    pair.proxy.reset();
    eventually("the replica is asked again", async || {
        ensure!(pair.reads(&mark, LONG, 3).await?);
        Ok(())
    })
    .await?;
    let node = pair.db.node("replica1")?;
    eventually("no connection is kept by a question", async || {
        let status = node.status();
        ensure!(status.in_use == 0, "{status:?}");
        Ok(())
    })
    .await?;
    pair.end().await
}

#[tokio::test]
async fn a_server_that_is_no_replica_is_not_waited_for_on_postgres() -> anyhow::Result<()> {
    a_server_that_is_no_replica_is_not_waited_for::<Postgres>().await
}

#[tokio::test]
async fn a_server_that_is_no_replica_is_not_waited_for_on_mariadb() -> anyhow::Result<()> {
    a_server_that_is_no_replica_is_not_waited_for::<MySql>().await
}

/// The limit is infinite, so that a wait for it would hang the test.
async fn a_server_that_is_no_replica_is_not_waited_for<DB: Sql>() -> anyhow::Result<()> {
    const NEVER: Duration = Duration::MAX;
    let Some(pair) = Pair::<DB>::start().await? else {
        return Ok(());
    };
    let mark = pair.write(1).await?;
    let of_another_database = match pair.replica.kind {
        Kind::Postgres => "mariadb.1.0-1-1",
        Kind::MariaDb => "postgres.1.1.1",
    };
    ensure!(!pair.reads(&of_another_database.parse()?, NEVER, 1).await?);
    ensure!(!pair.reads(&"unknown".parse()?, NEVER, 1).await?);
    let bad = "yesterday".parse::<WriteMark<DB>>();
    ensure!(bad.is_err_and(|error| error.to_string() == "not a write mark"));

    // The node is the primary itself.
    let node = Settings::new().url(pair.database.url());
    let settings = Settings::new()
        .engine("marks_twice")
        .url(pair.database.url());
    let twice = started::<DB>(&settings.node("replica1", node)).await?;
    let reader = twice.reader_after(&mark, NEVER).await;
    ensure!(reader.name() == "marks_twice", "{}", reader.name());
    twice.close_connection_pool().await;

    // The node has several hosts, and its next connection may go to another one.
    let both = [pair.replica.address(), pair.primary.address()];
    let user = super::user_of(&pair.database);
    let node = super::url_of(super::scheme_of::<DB>(), &user, &both, pair.database.name());
    let settings = Settings::new()
        .engine("marks_hosts")
        .url(pair.database.url());
    let hosts = started::<DB>(&settings.node("replica1", Settings::new().url(node))).await?;
    let reader = hosts.reader_after(&mark, NEVER).await;
    ensure!(reader.name() == "marks_hosts", "{}", reader.name());
    hosts.close_connection_pool().await;

    // A promoted replica has no primary.
    if pair.replica.kind == Kind::Postgres {
        ensure!(pair.reads(&mark, LONG, 1).await?);
        pair.replica.promote().await?;
        eventually("it has taken over", async || {
            ensure!(super::number(&pair.replica, "SELECT pg_is_in_recovery()::int").await? == 0);
            Ok(())
        })
        .await?;
        ensure!(!pair.reads(&mark, NEVER, 1).await?);
        // Its writes are in a timeline of its own; their marks differ from those of the old primary.
        let of_replica = pair.db.node("replica1")?.write_mark().await?.to_string();
        ensure!(of_replica.split('.').nth(2) == Some("2"), "{of_replica}");
    }
    pair.end().await
}

#[tokio::test]
async fn without_replicas_a_mark_is_unknown_and_the_reader_is_the_engine() -> anyhow::Result<()> {
    let settings = Settings::new().engine("marks_alone").url("sqlite::memory:");
    let db = started::<sqlx::Sqlite>(&settings).await?;
    let mark = db.write_mark().await?;
    ensure!(mark.to_string() == "unknown");
    let reader = db.reader_after(&mark, Duration::MAX).await;
    ensure!(reader.name() == "marks_alone");
    db.close_connection_pool().await;
    Ok(())
}
