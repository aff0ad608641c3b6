//! A private server of a test: its starts, stops, crashes and removal.

use std::path::Path;

use anyhow::Context;
use poolhouse_tests::{
    Kind, PrivateServer, Program, Server, Stop, eventually,
    program::{Running, Signal, runs},
};
use tokio::net::TcpStream;

async fn ask(server: &Server, statement: &str) -> anyhow::Result<String> {
    let rows = server.ask(&[statement.to_owned()]).await?;
    rows.into_iter()
        .flatten()
        .flatten()
        .next_back()
        .context("no value")
}

#[tokio::test]
async fn a_server_keeps_its_data_and_its_port_through_stops_and_crashes() -> anyhow::Result<()> {
    for kind in Kind::ALL {
        let Some(builder) = PrivateServer::require(kind) else {
            continue;
        };
        let mut server = builder.start().await?;
        let (address, first) = (server.address(), server.process_id());
        server
            .ask(&[
                "CREATE TABLE band (id INT)".into(),
                "INSERT INTO band VALUES (7)".into(),
            ])
            .await?;

        for stop in [Stop::Orderly, Stop::Crash] {
            server.stop(stop).await?;
            assert!(
                TcpStream::connect(address).await.is_err(),
                "{kind} after {stop:?}"
            );
            server.start().await?;
            assert_eq!(server.address(), address);
            assert_ne!(server.process_id(), first);
            assert_eq!(
                ask(&server, "SELECT id FROM band").await?,
                "7",
                "{kind} after {stop:?}"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn servers_stand_side_by_side_with_settings_of_their_own() -> anyhow::Result<()> {
    for kind in Kind::ALL {
        let Some(builder) = PrivateServer::require(kind) else {
            continue;
        };
        let few = builder.setting("max_connections", 17).start().await?;
        let many = PrivateServer::of(kind)
            .setting("max_connections", 18)
            .start()
            .await?;
        let setting = match kind {
            Kind::Postgres => "SHOW max_connections",
            Kind::MariaDb => "SELECT @@max_connections",
        };
        assert_eq!(
            (ask(&few, setting).await?, ask(&many, setting).await?),
            ("17".into(), "18".into())
        );
        assert_ne!(few.address(), many.address());
        let database = few.database("few").await?;
        assert_eq!(database.address()?, few.address());
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() -> anyhow::Result<()> {
    for kind in Kind::ALL {
        let Some(builder) = PrivateServer::require(kind) else {
            continue;
        };
        let error = builder
            .setting("no_such_setting", 1)
            .start()
            .await
            .expect_err("it started");
        let said = format!("{error:#}");
        assert!(
            said.contains("no_such_setting") || said.contains("no-such-setting"),
            "{said}"
        );
        assert!(said.contains("ended at once"), "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn a_dropped_server_leaves_neither_process_nor_folder() -> anyhow::Result<()> {
    for kind in Kind::ALL {
        let Some(builder) = PrivateServer::require(kind) else {
            continue;
        };
        let server = builder.start().await?;
        let process = server.process_id().context("it runs")?;
        let log = server.log()?.path().to_owned();
        assert!(log.exists() && runs(process));
        drop(server);
        assert!(!log.exists() && !runs(process), "{kind}");
    }
    Ok(())
}

/// A program with its own servers, their folder and their processes.
struct WithServers {
    program: Running,
    folder: String,
    processes: Vec<u32>,
}

impl WithServers {
    async fn start() -> anyhow::Result<Self> {
        let script = "echo folder $POOLHOUSE_TEST_FOLDER; \
                      head -1 $POOLHOUSE_TEST_FOLDER/postgres-*/data/postmaster.pid; \
                      cat $POOLHOUSE_TEST_FOLDER/mariadb-*/pid; echo ready; exec sleep 600";
        let mut program = Program::new(env!("CARGO_BIN_EXE_with-servers"))?
            .argument("sh")
            .argument("-c")
            .argument(script)
            .start()?;
        program.line("ready").await?;
        let folder = program.line("folder ").await?.replace("folder ", "");
        let processes = program
            .said()
            .lines()
            .filter_map(|line| line.parse().ok())
            .collect();
        Ok(Self {
            program,
            folder,
            processes,
        })
    }

    async fn servers_end(&self) -> anyhow::Result<()> {
        assert_eq!(self.processes.len(), 2, "{}", self.program.said());
        eventually("both servers have ended", async || {
            anyhow::ensure!(
                !self.processes.iter().any(|process| runs(*process)),
                "{:?}",
                self.processes
            );
            Ok(())
        })
        .await
    }
}

#[tokio::test]
async fn a_terminated_run_stops_its_servers_and_removes_its_folder() -> anyhow::Result<()> {
    if PrivateServer::require(Kind::Postgres).is_none() {
        return Ok(());
    }
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let run = WithServers::start().await?;
        run.program.signal(signal)?;
        run.servers_end().await?;
        let ended = run.program.end().await?;
        assert_eq!(ended.code(), Some(code), "{}", ended.everything());
        assert!(!Path::new(&run.folder).exists());
    }
    Ok(())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_killed_run_takes_its_servers_with_it() -> anyhow::Result<()> {
    if PrivateServer::require(Kind::Postgres).is_none() {
        return Ok(());
    }
    let run = WithServers::start().await?;
    run.program.signal(Signal::SIGKILL)?;
    run.servers_end().await?;
    // The killed run could not remove its folder.
    std::fs::remove_dir_all(&run.folder)?;
    Ok(())
}

#[tokio::test]
async fn a_run_ends_with_the_exit_code_of_its_command() -> anyhow::Result<()> {
    if PrivateServer::require(Kind::Postgres).is_none() {
        return Ok(());
    }
    let with_servers = || Program::new(env!("CARGO_BIN_EXE_with-servers"));
    let ended = with_servers()?
        .argument("sh")
        .argument("-c")
        .argument("exit 7")
        .run()
        .await?;
    assert_eq!(ended.code(), Some(7), "{}", ended.everything());
    let ended = with_servers()?.argument("/no/such/program").run().await?;
    assert_eq!(ended.code(), Some(1), "{}", ended.everything());
    assert!(ended.error.contains("/no/such/program"), "{}", ended.error);
    Ok(())
}
