//! Functions under `#[with_pool]` inside and beside one another, for tests of signals: `nested <shape>`.
//!
//! `DATABASE_URL` selects the database. Each pool opens three sessions. The program prints `ready` when the test may begin.

use std::{env, future::pending};

use anyhow::{Context, bail};
use poolhouse::{AnyEngine, Shutdown, with_pool};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    match env::args()
        .nth(1)
        .context("usage: nested <shape>")?
        .as_str()
    {
        "main" => in_main::main(),
        "main_with_shutdown" => in_main_with_shutdown::main(),
        "main_around_a_long_close" => in_main_around_a_long_close::main(),
        "main_with_shutdown_around_a_long_close" => {
            in_main_with_shutdown_around_a_long_close::main()
        }
        "main_with_two_engines" => in_main_with_two_engines::main(),
        "query_on_another_runtime" | "checkout_on_another_runtime" => {
            in_main_with_another_runtime::main()
        }
        shape => {
            let runtime = tokio::runtime::Runtime::new()?;
            runtime.block_on(run(shape))
        }
    }
}

async fn run(shape: &str) -> anyhow::Result<()> {
    match shape {
        "inside" => outer(inner()).await,
        "inside_a_deaf_one" => deaf(inner()).await,
        "inside_one_with_shutdown" => with_shutdown(inner()).await,
        "a_deaf_one_inside" => outer(deaf(wait())).await,
        "three_deep" => deaf(outer(inner())).await,
        "beside" => {
            let (one, other) = tokio::join!(outer(wait()), inner());
            one.and(other)
        }
        "beside_a_deaf_one" => {
            let (one, other) = tokio::join!(deaf(wait()), inner());
            one.and(other)
        }
        "in_a_task" => {
            let task = tokio::spawn(inner());
            outer(async move { task.await? }).await
        }
        "before_a_deaf_one" => {
            returns().await?;
            deaf(wait()).await
        }
        "returns_inside_a_deaf_one" => {
            deaf(async {
                returns().await?;
                wait().await
            })
            .await
        }
        "again_and_again" => {
            let signalled = signalled()?;
            loop {
                closes_at_the_signal(signalled.clone()).await?;
            }
        }
        "again_and_again_by_its_token" => {
            let signalled = signalled()?;
            loop {
                closes_by_its_token(signalled.clone()).await?;
            }
        }
        other => bail!("there is no shape {other}"),
    }
}

mod in_main {
    use super::{AnyEngine, inner, with_pool};

    #[with_pool(engine = "outer", env = "DATABASE_URL", min_size = 3)]
    pub(super) async fn main(db: AnyEngine) -> anyhow::Result<()> {
        drop(db);
        inner().await
    }
}

mod in_main_with_shutdown {
    use super::{AnyEngine, Shutdown, inner, with_pool};

    #[with_pool(engine = "outer", env = "DATABASE_URL", min_size = 3)]
    pub(super) async fn main(db: AnyEngine, shutdown: Shutdown) -> anyhow::Result<()> {
        drop((db, shutdown));
        inner().await
    }
}

mod in_main_around_a_long_close {
    use super::{AnyEngine, closes_for_long, with_pool};

    // Without a connection of its own, which the second signal could end too.
    #[with_pool(engine = "outer", env = "DATABASE_URL", lazy = true)]
    pub(super) async fn main(db: AnyEngine) -> anyhow::Result<()> {
        drop(db);
        closes_for_long().await
    }
}

mod in_main_with_shutdown_around_a_long_close {
    use super::{AnyEngine, Shutdown, closes_for_long, with_pool};

    // Without a connection of its own, which the second signal could end too.
    #[with_pool(engine = "outer", env = "DATABASE_URL", lazy = true)]
    pub(super) async fn main(db: AnyEngine, shutdown: Shutdown) -> anyhow::Result<()> {
        drop(db);
        tokio::select! {
            result = closes_for_long() => result,
            () = shutdown.wait() => {
                println!("the body returns");
                Ok(())
            }
        }
    }
}

mod in_main_with_two_engines {
    use super::{AnyEngine, wait, with_pool};

    #[with_pool(engine = "outer", env = "DATABASE_URL", min_size = 3)]
    pub(super) async fn main(
        db: AnyEngine,
        #[pool(engine = "other", env = "OTHER_URL")] other: AnyEngine,
    ) -> anyhow::Result<()> {
        drop((db, other));
        wait().await
    }
}

mod in_main_with_another_runtime {
    use std::{env, sync::OnceLock};

    use poolhouse::{Settings, engine_finder_with};
    use tokio::runtime::{Builder, Runtime};

    use super::{AnyEngine, with_pool};

    #[with_pool(engine = "outer", env = "DATABASE_URL", close_timeout = "100ms")]
    pub(super) async fn main(db: AnyEngine) -> anyhow::Result<()> {
        drop(db);
        tokio::task::spawn_blocking(on_another_runtime).await?
    }

    /// The runtime exists until the process ends, and does not run any more.
    fn on_another_runtime() -> anyhow::Result<()> {
        static OTHER: OnceLock<Runtime> = OnceLock::new();

        let other = Builder::new_current_thread().enable_all().build()?;
        other.block_on(async {
            // An engine that is not started.
            let settings = Settings::new().engine("other").env("DATABASE_URL");
            let db: AnyEngine = engine_finder_with(&settings)?;
            if env::args().any(|shape| shape.contains("checkout")) {
                drop(db.acquire().await?);
            } else {
                sqlx::query("SELECT 1").execute(&db).await?;
            }
            anyhow::Ok(())
        })?;
        let _ = OTHER.set(other);
        Ok(())
    }
}

#[with_pool(engine = "outer", env = "DATABASE_URL", min_size = 3, signals = true)]
async fn outer(
    body: impl Future<Output = anyhow::Result<()>>,
    #[pool] db: AnyEngine,
) -> anyhow::Result<()> {
    drop(db);
    body.await
}

/// A function that does not listen for signals.
#[with_pool(engine = "deaf", env = "DATABASE_URL", min_size = 3)]
async fn deaf(
    body: impl Future<Output = anyhow::Result<()>>,
    #[pool] db: AnyEngine,
) -> anyhow::Result<()> {
    drop(db);
    body.await
}

/// A function that may take an hour to return after a signal.
#[with_pool(
    engine = "with_shutdown",
    env = "DATABASE_URL",
    min_size = 3,
    signals = true,
    shutdown_timeout = "1h"
)]
async fn with_shutdown(
    body: impl Future<Output = anyhow::Result<()>>,
    #[pool] db: AnyEngine,
    #[pool] shutdown: Shutdown,
) -> anyhow::Result<()> {
    drop((db, shutdown));
    body.await
}

#[with_pool(engine = "inner", env = "DATABASE_URL", min_size = 3, signals = true)]
async fn inner(#[pool] db: AnyEngine) -> anyhow::Result<()> {
    drop(db);
    wait().await
}

/// A function that listens for signals, and ends before one comes.
#[with_pool(engine = "returns", env = "DATABASE_URL", signals = true)]
async fn returns(#[pool] db: AnyEngine) -> anyhow::Result<()> {
    drop(db);
    Ok(())
}

/// Whether a signal has come, from now on. A call of a function that begins after the signal sees it too.
fn signalled() -> anyhow::Result<watch::Receiver<bool>> {
    let mut signals = signal(SignalKind::terminate())?;
    let (sender, signalled) = watch::channel(false);
    tokio::spawn(async move {
        signals.recv().await;
        sender.send_replace(true);
    });
    Ok(signalled)
}

/// A function whose close waits for one of its three connections, until a signal has come.
#[with_pool(
    engine = "closes",
    env = "DATABASE_URL",
    min_size = 3,
    signals = true,
    close_timeout = "1h"
)]
async fn closes_at_the_signal(
    signalled: watch::Receiver<bool>,
    #[pool] db: AnyEngine,
) -> anyhow::Result<()> {
    hold(&db, signalled).await
}

/// As [`closes_at_the_signal`]. The body sets `Shutdown` itself.
#[with_pool(
    engine = "closes",
    env = "DATABASE_URL",
    min_size = 3,
    signals = true,
    close_timeout = "1h"
)]
async fn closes_by_its_token(
    signalled: watch::Receiver<bool>,
    #[pool] db: AnyEngine,
    #[pool] shutdown: Shutdown,
) -> anyhow::Result<()> {
    shutdown.token().cancel();
    hold(&db, signalled).await
}

/// Holds a connection in a task until a signal has come.
async fn hold(db: &AnyEngine, mut signalled: watch::Receiver<bool>) -> anyhow::Result<()> {
    let held = db.acquire().await?;
    tokio::spawn(async move {
        let _ = signalled.wait_for(|signalled| *signalled).await;
        drop(held);
    });
    println!("ready");
    Ok(())
}

/// A function whose close waits for a task that does not return its connection.
#[with_pool(engine = "closes", env = "DATABASE_URL", close_timeout = "1h")]
async fn closes_for_long(#[pool] db: AnyEngine) -> anyhow::Result<()> {
    let held = db.acquire().await?;
    tokio::spawn(async move {
        let _held = held;
        pending::<()>().await;
    });
    wait().await
}

async fn wait() -> anyhow::Result<()> {
    println!("ready");
    pending().await
}
