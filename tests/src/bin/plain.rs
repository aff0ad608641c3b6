//! Small programs under `#[with_pool]`, for tests of what users see after a mistake: `plain <program>`.
//!
//! Each queries its database and returns. They differ in their parameters and return types.

#![allow(
    clippy::wildcard_imports,
    reason = "each module is one program, with the imports of all"
)]

use std::{
    env,
    error::Error,
    process::{ExitCode, Termination},
};

use poolhouse::{AnyEngine, PgEngine, SqliteEngine, with_pool};

fn main() -> ExitCode {
    let name = env::args().nth(1).unwrap_or_default();
    match name.as_str() {
        "any" => any::main().report(),
        "none" => none::main().report(),
        "reports" => reports::main().report(),
        "sqlite" => sqlite::main().report(),
        "two" => two::main().report(),
        "unit" => {
            unit::main();
            ExitCode::SUCCESS
        }
        "exit_code" => exit_code::main(),
        "boxed" => boxed::main().report(),
        "sqlx_error" => sqlx_error::main().report(),
        "under_tokio" => under_tokio::main().report(),
        "migrated" => migrated::main().report(),
        "endless_hook" => endless_hook::main().report(),
        "late_hook" => late_hook::main().report(),
        other => panic!("there is no program {other}"),
    }
}

/// Takes any database.
mod any {
    use super::*;

    #[with_pool]
    pub(super) async fn main(db: AnyEngine) -> Result<(), poolhouse::Error> {
        sqlx::raw_sql("SELECT 1").execute(&db).await?;
        println!("done");
        Ok(())
    }
}

/// Takes no parameter.
mod none {
    use super::*;

    #[with_pool]
    pub(super) async fn main() -> Result<(), poolhouse::Error> {
        println!("done");
        Ok(())
    }
}

/// Names its engine.
mod reports {
    use super::*;

    #[with_pool(engine = "reports", max_size = 3)]
    pub(super) async fn main(db: AnyEngine) -> Result<(), poolhouse::Error> {
        println!("at most {}", db.status().max);
        Ok(())
    }
}

/// Selects the database by type.
mod sqlite {
    use super::*;

    #[with_pool]
    pub(super) async fn main(db: SqliteEngine) -> Result<(), poolhouse::Error> {
        sqlx::raw_sql("CREATE TABLE IF NOT EXISTS band (id INTEGER)")
            .execute(&db)
            .await?;
        println!("done");
        Ok(())
    }
}

/// Takes two engines, of two databases.
mod two {
    use super::*;

    #[with_pool]
    pub(super) async fn main(
        db: PgEngine,
        #[pool(engine = "local", url = "sqlite:local.db?mode=rwc")] local: SqliteEngine,
    ) -> Result<(), poolhouse::Error> {
        println!("{} and {}", db.status().size, local.status().size);
        Ok(())
    }
}

/// Returns nothing.
mod unit {
    use super::*;

    #[with_pool]
    pub(super) async fn main(db: AnyEngine) {
        println!("at most {}", db.status().max);
    }
}

/// Returns its own exit code.
mod exit_code {
    use super::*;

    #[with_pool]
    pub(super) async fn main(db: AnyEngine) -> ExitCode {
        println!("at most {}", db.status().max);
        ExitCode::from(42)
    }
}

/// Returns a boxed error.
mod boxed {
    use super::*;

    #[with_pool]
    pub(super) async fn main(db: AnyEngine) -> Result<ExitCode, Box<dyn Error>> {
        println!("at most {}", db.status().max);
        Ok(ExitCode::from(43))
    }
}

/// Returns sqlx's error.
mod sqlx_error {
    use super::*;

    #[with_pool]
    pub(super) async fn main(db: AnyEngine) -> sqlx::Result<()> {
        sqlx::raw_sql("SELECT 1").execute(&db).await?;
        Ok(())
    }
}

/// Runs under the runtime of another attribute.
mod under_tokio {
    use super::*;

    #[with_pool]
    #[tokio::main(flavor = "current_thread")]
    pub(super) async fn main(db: AnyEngine) -> Result<(), poolhouse::Error> {
        sqlx::raw_sql("SELECT 1").execute(&db).await?;
        println!("done");
        Ok(())
    }
}

/// Has embedded migrations.
mod migrated {
    use super::*;

    #[with_pool(migrations = "tests/engine/migrations")]
    pub(super) async fn main(db: AnyEngine) -> Result<(), poolhouse::Error> {
        let bands: i64 = sqlx::query_scalar("SELECT count(*) FROM band")
            .fetch_one(&db)
            .await?;
        println!("{bands} bands");
        Ok(())
    }
}

/// Leaves a future of `on_commit` that never ends.
mod endless_hook {
    use super::*;

    #[with_pool(close_timeout = "100ms")]
    pub(super) async fn main(db: SqliteEngine) -> Result<(), poolhouse::Error> {
        let (committed, mut commit) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            let transaction = db.transaction(async |tx| {
                let committed = committed.clone();
                tx.on_commit(async move {
                    let _ = committed.send(()).await;
                    std::future::pending::<()>().await;
                });
                Ok::<_, sqlx::Error>(())
            });
            transaction.await
        });
        println!("committed: {}", commit.recv().await.is_some());
        Ok(())
    }
}

/// Leaves a future of `on_commit` that uses the database after the body has returned.
mod late_hook {
    use super::*;

    #[with_pool]
    pub(super) async fn main(db: SqliteEngine) -> Result<(), poolhouse::Error> {
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        // Dropped with the body.
        let (_returns, returned) = tokio::sync::oneshot::channel::<()>();
        let mut tx = db.begin().await?;
        tx.on_commit(async move {
            let _ = begun.send(());
            let _ = returned.await;
            for _ in 0..100 {
                if let Err(error) = sqlx::raw_sql("SELECT 1").execute(&db).await {
                    return println!("{error}");
                }
            }
            println!("the future is done");
        });
        tokio::spawn(tx.commit());
        println!("committed: {}", has_begun.await.is_ok());
        Ok(())
    }
}
