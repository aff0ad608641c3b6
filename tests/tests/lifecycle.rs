//! The lifecycle table, row by row: real programs, real signals, and the server's own evidence that nothing was left open.

use poolhouse_tests::program::{Running, Signal};
use poolhouse_tests::{Kind, Program, TestDatabase, servers};

const KINDS: [Kind; 2] = [Kind::Postgres, Kind::MariaDb];

/// A program that takes no `Shutdown`.
const DEAF: &str = env!("CARGO_BIN_EXE_house");
/// The same program with a `Shutdown` parameter.
const LISTENING: &str = env!("CARGO_BIN_EXE_house-listening");

/// A house on a database of its own, started and seen open by the server.
struct House {
    database: TestDatabase,
    running: Running,
    unclean_before: u64,
}

impl House {
    async fn open(
        kind: Kind,
        program: &str,
        way: &str,
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Option<Self>> {
        let Some(server) = servers::require(kind) else {
            return Ok(None);
        };
        let database = server.database("lifecycle").await?;
        let unclean_before = database.ended_uncleanly().await?;
        let mut program = Program::new(program)?
            .argument(way)
            .variable("DATABASE_URL", database.url());
        for (name, value) in variables {
            program = program.variable(name, *value);
        }
        let mut running = program.start()?;
        running.line("open: ").await?;
        Ok(Some(Self {
            database,
            running,
            unclean_before,
        }))
    }

    /// Waits for the end: its exit code, no session left, none ended without a goodbye, and no password said.
    async fn ends(self, code: i32, says: &[&str]) -> anyhow::Result<()> {
        let ended = self.running.end().await?;
        let said = ended.everything();
        assert_eq!(ended.code(), Some(code), "{said}");
        for words in says {
            assert!(said.contains(words), "{words:?} is not in: {said}");
        }
        assert!(
            !said.contains(self.database.password()),
            "a password: {said}"
        );
        self.database.no_session_left().await?;
        assert_eq!(
            self.database.ended_uncleanly().await?,
            self.unclean_before,
            "{said}"
        );
        Ok(())
    }
}

#[tokio::test]
async fn a_body_that_returns() -> anyhow::Result<()> {
    for kind in KINDS {
        let Some(house) = House::open(kind, DEAF, "return", &[]).await? else {
            continue;
        };
        house
            .ends(
                0,
                &[
                    "pool started on",
                    "max_size = 5 (attribute, ",
                    "pool closed, ",
                ],
            )
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_body_that_returns_an_error() -> anyhow::Result<()> {
    for kind in KINDS {
        let Some(house) = House::open(kind, DEAF, "error", &[]).await? else {
            continue;
        };
        house.ends(1, &["pool closed, ", "Error: as asked"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_body_that_leaves_by_the_question_mark() -> anyhow::Result<()> {
    for kind in KINDS {
        let Some(house) = House::open(kind, DEAF, "question mark", &[]).await? else {
            continue;
        };
        house.ends(1, &["pool closed, ", "nowhere"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_body_that_panics() -> anyhow::Result<()> {
    for kind in KINDS {
        let Some(house) = House::open(kind, DEAF, "panic", &[]).await? else {
            continue;
        };
        // 101 is how Rust reports a panic of `main`; the place is the user's.
        house
            .ends(101, &["house/body.rs:", "as asked", "pool closed, "])
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_exit_in_the_body_closes_nothing() -> anyhow::Result<()> {
    let Some(house) = House::open(Kind::Postgres, DEAF, "exit", &[]).await? else {
        return Ok(());
    };
    let ended = house.running.end().await?;
    assert_eq!(ended.code(), Some(7));
    assert!(!ended.everything().contains("pool closed"));
    house.database.no_session_left().await?;
    assert!(house.database.ended_uncleanly().await? > house.unclean_before);
    Ok(())
}

#[tokio::test]
async fn a_signal_drops_a_body_that_does_not_listen() -> anyhow::Result<()> {
    for kind in KINDS {
        for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
            let Some(house) = House::open(kind, DEAF, "wait", &[]).await? else {
                continue;
            };
            house.running.signal(signal)?;
            house.ends(code, &["pool closed, "]).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_signal_lets_a_listening_body_finish() -> anyhow::Result<()> {
    for kind in KINDS {
        let Some(house) = House::open(kind, LISTENING, "finish", &[]).await? else {
            continue;
        };
        house.running.signal(Signal::SIGTERM)?;
        house.ends(0, &["asked to end", "pool closed, "]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_listening_body_decides_the_exit_code() -> anyhow::Result<()> {
    let Some(house) = House::open(Kind::Postgres, LISTENING, "finish with error", &[]).await?
    else {
        return Ok(());
    };
    house.running.signal(Signal::SIGTERM)?;
    house.ends(1, &["pool closed, ", "could not finish"]).await
}

#[tokio::test]
async fn a_deaf_body_is_dropped_at_the_shutdown_timeout() -> anyhow::Result<()> {
    let timeout = [("POOLHOUSE_SHUTDOWN_TIMEOUT", "300ms")];
    let Some(house) = House::open(Kind::Postgres, LISTENING, "wait", &timeout).await? else {
        return Ok(());
    };
    house.running.signal(Signal::SIGTERM)?;
    house
        .ends(143, &["300ms", "shutdown_timeout", "pool closed, "])
        .await
}

#[tokio::test]
async fn a_second_signal_ends_what_is_left_now() -> anyhow::Result<()> {
    // Neither the body nor the close would end within the test's own limit.
    let limits = [
        ("POOLHOUSE_SHUTDOWN_TIMEOUT", "1h"),
        ("POOLHOUSE_CLOSE_TIMEOUT", "1h"),
    ];
    for kind in KINDS {
        let Some(mut house) = House::open(kind, LISTENING, "hold", &limits).await? else {
            continue;
        };
        let killed_before = house.database.killed().await?;
        house.running.signal(Signal::SIGTERM)?;
        house.running.line("a signal asks").await?;
        house.running.signal(Signal::SIGTERM)?;
        let ended = house.running.end().await?;
        let said = ended.everything();
        assert_eq!(ended.code(), Some(143), "{said}");
        assert!(
            said.contains("house/body.rs:"),
            "the holder is named: {said}"
        );
        assert!(said.contains("was ended on the server"), "{said}");
        house.database.no_session_left().await?;
        assert_eq!(house.database.killed().await?, killed_before + 1, "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn a_held_checkout_is_ended_at_the_close_timeout() -> anyhow::Result<()> {
    let timeout = [("POOLHOUSE_CLOSE_TIMEOUT", "300ms")];
    for kind in KINDS {
        let Some(house) = House::open(kind, DEAF, "hold", &timeout).await? else {
            continue;
        };
        let killed_before = house.database.killed().await?;
        house.running.signal(Signal::SIGTERM)?;
        let ended = house.running.end().await?;
        let said = ended.everything();
        assert_eq!(ended.code(), Some(143), "{said}");
        assert!(said.contains("was still out after"), "{said}");
        house.database.no_session_left().await?;
        assert_eq!(house.database.killed().await?, killed_before + 1, "{said}");
    }
    Ok(())
}

mod lifespan {
    //! The rows that only a function inside a program can show.

    use std::future::pending;

    use poolhouse::{Error, PgEngine, closed, with_pool};
    use poolhouse_tests::{Kind, servers};
    use tokio::sync::oneshot;

    /// Says that it runs, then never returns.
    #[with_pool(url = &url)]
    async fn for_ever(
        url: String,
        begun: oneshot::Sender<()>,
        #[pool] db: PgEngine,
    ) -> Result<(), Error> {
        // Only the attribute uses it.
        drop(url);
        sqlx::query("SELECT 1").execute(&db).await?;
        let _ = begun.send(());
        pending().await
    }

    #[tokio::test]
    async fn a_dropped_future_closes_in_a_task() -> anyhow::Result<()> {
        let Some(server) = servers::require(Kind::Postgres) else {
            return Ok(());
        };
        let database = server.database("dropped").await?;
        let unclean_before = database.ended_uncleanly().await?;
        let (begun, begins) = oneshot::channel();
        tokio::select! {
            ended = for_ever(database.url().to_owned(), begun) => panic!("it returned {ended:?}"),
            begun = begins => begun?,
        }
        closed().await;
        database.no_session_left().await?;
        assert_eq!(database.ended_uncleanly().await?, unclean_before);
        Ok(())
    }

    #[with_pool(url = url)]
    async fn inner(url: &str, #[pool] db: PgEngine) -> Result<usize, Error> {
        let _ = url;
        sqlx::query("SELECT 1").execute(&db).await?;
        Ok(db.status().size)
    }

    #[with_pool(url = url)]
    async fn outer(url: &str, #[pool] db: PgEngine) -> Result<(), Error> {
        sqlx::query("SELECT 1").execute(&db).await?;
        let seen_inside = inner(url).await?;
        // The inner function found the outer's pool, and left it open.
        assert_eq!(seen_inside, 1);
        sqlx::query("SELECT 1").execute(&db).await?;
        assert_eq!(db.status().opened, 1);
        Ok(())
    }

    #[tokio::test]
    async fn an_inner_function_shares_the_outer_pool() -> anyhow::Result<()> {
        let Some(server) = servers::require(Kind::Postgres) else {
            return Ok(());
        };
        let database = server.database("nested").await?;
        outer(database.url()).await?;
        database.no_session_left().await
    }

    /// Its second engine cannot be started.
    #[with_pool(url = url)]
    async fn half_way(
        url: &str,
        #[pool] db: PgEngine,
        #[pool(
            engine = "absent",
            url = "postgres://nobody:hush@127.0.0.1:1/none",
            start_timeout = "200ms"
        )]
        absent: PgEngine,
    ) -> Result<(), Error> {
        panic!("the body ran for {url} with {db:?} and {absent:?}");
    }

    #[tokio::test]
    async fn a_start_that_fails_half_way_closes_what_it_opened() -> anyhow::Result<()> {
        let Some(server) = servers::require(Kind::Postgres) else {
            return Ok(());
        };
        let database = server.database("half").await?;
        let unclean_before = database.ended_uncleanly().await?;
        let error = half_way(database.url()).await.unwrap_err();
        let message = error.to_string();
        assert!(message.contains("engine `absent`"), "{message}");
        assert!(
            message.contains("postgres://nobody:***@127.0.0.1:1/none"),
            "{message}"
        );
        assert!(!format!("{error:?}").contains("hush"));
        database.no_session_left().await?;
        assert_eq!(database.ended_uncleanly().await?, unclean_before);
        Ok(())
    }
}
