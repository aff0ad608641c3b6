//! Sessions of other programs, which the pool must not terminate.

use anyhow::{Context, ensure};
use sqlx::Connection;

use super::{SHORT, bounded, case_database, restart::own_server};
use crate::{
    CaseDatabase, Kind, Options, PrivateServer, Rewriting, Sql, Stop, Subject, eventually,
    subject::ConnectionOf,
};

/// 50: the pool has not noticed the end of a session, and another program's session has its id now, on the same server or on
/// another one that has its address now. A close that cannot drain does not terminate that session.
pub async fn with_the_id_of_one_of_ours<S: Subject>() -> anyhow::Result<()> {
    match S::Db::SERVER.context("this case needs a server")? {
        Kind::Postgres => {
            with_the_same_process::<S>(
                "clock_timestamp() RETURNS timestamptz LANGUAGE sql AS \
                 'SELECT backend_start - interval ''1 ms'' FROM pg_catalog.pg_stat_activity WHERE pid = {id}'",
            )
            .await?;
            with_the_same_process::<S>(
                "pg_postmaster_start_time() RETURNS timestamptz LANGUAGE sql AS 'SELECT clock_timestamp()'",
            )
            .await
        }
        Kind::MariaDb => {
            with_the_same_number::<S>().await?;
            on_another_server::<S>().await
        }
    }
}

/// Postgres: the operating system reuses process ids, which a test cannot force. So the pool's session reports the id of another
/// session, and besides a time before that session's start, or a server that has another start at each question.
async fn with_the_same_process<S: Subject>(disguise: &str) -> anyhow::Result<()> {
    let case_database = case_database!(S, "stranger");
    let mut stranger = ConnectionOf::<S>::connect(&case_database.url()).await?;
    let session = S::Db::SESSION.context("no sessions")?;
    let id = S::Db::answer(&mut stranger, session).await?;
    let disguise = format!(
        "CREATE SCHEMA disguise; \
         CREATE FUNCTION disguise.pg_backend_pid() RETURNS integer LANGUAGE sql AS 'SELECT {id}'; \
         CREATE FUNCTION disguise.{}",
        disguise.replace("{id}", &id.to_string())
    );
    S::Db::run(&mut stranger, &disguise).await?;
    let pool = S::start(Options {
        close_timeout: SHORT,
        ..Options::new(format!(
            "{}?options=-c%20search_path%3Ddisguise,pg_catalog",
            case_database.url()
        ))
    })
    .await?;
    let mut held = pool.acquire().await?;
    let disguised = S::Db::answer(held.as_mut(), session).await?;
    ensure!(disguised == id, "it is not disguised");

    bounded("the close", pool.close()).await?;
    S::Db::run(&mut stranger, "SELECT 1")
        .await
        .context("the session of another program was ended")?;
    drop(held);
    drop(pool);
    stranger.close().await?;
    case_database.no_session_left().await?;
    let killed = case_database.database()?.killed().await?;
    ensure!(killed == 0, "{killed} sessions were ended");
    Ok(())
}

/// MariaDB: two servers were started in the same second. One that changes its own id stands for both. The pool's session reports
/// the id of another session.
async fn on_another_server<S: Subject>() -> anyhow::Result<()> {
    let Some((server, case_database)) = own_server::<S::Db>("stranger").await? else {
        return Ok(());
    };
    let database = case_database.database()?;
    let mut stranger = ConnectionOf::<S>::connect(&case_database.url()).await?;
    let session = S::Db::SESSION.context("no sessions")?;
    let id = S::Db::answer(&mut stranger, session).await?;
    let own_id = "CONNECTION_ID()";
    let proxy = Rewriting::before(database.address()?, own_id, &id.to_string()).await?;
    let pool = S::start(Options {
        close_timeout: SHORT,
        ..Options::new(database.url_through(proxy.address()))
    })
    .await?;
    let held = pool.acquire().await?;
    ensure!(proxy.replaced() > 0, "it is not disguised");
    let becomes_another = "SET GLOBAL server_id = 1 + @@global.server_id".to_owned();
    server.ask(&[becomes_another]).await?;

    bounded("the close", pool.close()).await?;
    S::Db::run(&mut stranger, "SELECT 1")
        .await
        .context("the session of another program was ended")?;
    drop((held, pool));
    stranger.close().await?;
    case_database.no_session_left().await?;
    let killed = database.killed().await?;
    ensure!(killed == 0, "{killed} sessions were ended");
    Ok(())
}

/// MariaDB: a restarted server counts from 1 again.
async fn with_the_same_number<S: Subject>() -> anyhow::Result<()> {
    const MAX_SIZE: u32 = 4;
    let Some((mut server, case_database)) = own_server::<S::Db>("stranger").await? else {
        return Ok(());
    };
    let session = S::Db::SESSION.context("no sessions")?;
    let connect = async || -> anyhow::Result<_> {
        let mut connection = ConnectionOf::<S>::connect(&case_database.url()).await?;
        let id = S::Db::answer(&mut connection, session).await?;
        Ok((id, connection))
    };
    // Servers are distinguished by the second of their start.
    eventually("the next one is started in another second", async || {
        let uptime = "SELECT CAST(VARIABLE_VALUE AS SIGNED) FROM information_schema.GLOBAL_STATUS \
                      WHERE VARIABLE_NAME = 'UPTIME'";
        let uptime = case_database.answer::<S::Db>(uptime).await?;
        ensure!(uptime > 0, "it was started in this second");
        Ok(())
    })
    .await?;
    // More connections than come between a restart and the first of the other program.
    while connect().await?.0 < 100 {}
    let pool = S::start(Options {
        max_size: MAX_SIZE,
        close_timeout: SHORT,
        ..Options::new(case_database.url())
    })
    .await?;
    let mut held = Vec::new();
    let mut ids = Vec::new();
    for _ in 0..MAX_SIZE {
        let mut checkout = pool.acquire().await?;
        ids.push(S::Db::answer(checkout.as_mut(), session).await?);
        held.push(checkout);
    }
    let last = ids.iter().copied().max().context("no ids")?;

    server.restart(Stop::Crash).await?;
    let mut strangers = Vec::new();
    loop {
        let (id, connection) = connect().await?;
        if ids.contains(&id) {
            strangers.push(connection);
        } else {
            connection.close().await?;
        }
        if id >= last {
            break;
        }
    }
    ensure!(!strangers.is_empty(), "no id was given again of {ids:?}");

    bounded("the close", pool.close()).await?;
    for stranger in &mut strangers {
        S::Db::run(stranger, "SELECT 1")
            .await
            .context("the session of another program was ended")?;
    }
    drop((held, pool));
    for stranger in strangers {
        stranger.close().await?;
    }
    case_database.no_session_left().await?;
    let killed = case_database.database()?.killed().await?;
    ensure!(killed == 0, "{killed} sessions were ended");
    Ok(())
}

/// 50, further: of sixty sessions of the pool, one is left. A close that cannot drain terminates that one, and asks for few that
/// have ended already.
pub async fn of_ours_that_have_ended<S: Subject>() -> anyhow::Result<()> {
    const SESSIONS: usize = 60;
    let kind = S::Db::SERVER.context("this case needs a server")?;
    let Some(builder) = PrivateServer::require(kind) else {
        return Ok(());
    };
    let builder = match kind {
        Kind::Postgres => builder.setting("log_statement", "all"),
        Kind::MariaDb => builder,
    };
    let server = builder.start().await?;
    let case_database = CaseDatabase::on(&server, "ended").await?;
    let pool = S::start(Options {
        max_size: 1,
        close_timeout: SHORT,
        ..Options::new(case_database.url())
    })
    .await?;
    let end = S::Db::END_SESSION.context("no sessions")?;
    for _ in 0..SESSIONS {
        let mut checkout = bounded("a checkout", pool.acquire()).await??;
        // The session ends, so the statement fails.
        let _ = S::Db::run(checkout.as_mut(), end).await;
    }
    let held = bounded("the last checkout", pool.acquire()).await??;
    let before = asked_to_end(&server).await?;
    bounded("the close", pool.close()).await?;
    let asked = asked_to_end(&server).await? - before;
    ensure!((1..20).contains(&asked), "the end of {asked} was asked for");
    drop(held);
    case_database.no_session_left().await
}

/// The number of requests to terminate a session.
async fn asked_to_end(server: &PrivateServer) -> anyhow::Result<usize> {
    Ok(match server.kind {
        Kind::Postgres => {
            let log = server.log()?;
            log.lines_with(&["pg_terminate_backend(pid)"])?.len()
        }
        Kind::MariaDb => {
            let count = "SHOW GLOBAL STATUS LIKE 'Com_kill'".to_owned();
            let rows = server.ask(&[count]).await?;
            let count = rows.into_iter().flatten().flatten().last();
            count.context("the server has no such count")?.parse()?
        }
    })
}
