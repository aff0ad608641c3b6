//! `TransactionOptions`: timeout, local settings, and the relation to an outer transaction.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, ensure};
use poolhouse::{
    Engine, IsolationLevel, Settings, Transaction, TransactionError, TransactionOptions,
    engine_finder_with,
};
use poolhouse_tests::{CaseDatabase, Heard, Sql};
use sqlx::{MySql, PgConnection, Postgres, Sqlite};

const TABLE: &str = "CREATE TABLE entry (id INTEGER PRIMARY KEY)";

async fn begin<DB: Sql>(name: &str) -> anyhow::Result<Option<(CaseDatabase, Engine<DB>)>> {
    let Some(case_database) = CaseDatabase::of::<DB>(name).await? else {
        return Ok(None);
    };
    let settings = Settings::new().engine(name).url(case_database.url());
    let engine: Engine<DB> = engine_finder_with(&settings)?;
    engine.start_connection_pool().await?;
    case_database.run::<DB>(TABLE).await?;
    Ok(Some((case_database, engine)))
}

/// The `TransactionError` in a result.
fn said<T>(ended: &sqlx::Result<T>) -> Option<&TransactionError> {
    TransactionError::find(ended.as_ref().err()?)
}

macro_rules! on {
    ($module:ident, $database:ty) => {
        mod $module {
            use super::*;

            async fn insert(tx: &mut Transaction<$database>) -> sqlx::Result<()> {
                sqlx::query("INSERT INTO entry VALUES (1)")
                    .execute(&mut *tx)
                    .await?;
                Ok(())
            }

            #[tokio::test]
            async fn at_its_timeout_it_is_rolled_back() -> anyhow::Result<()> {
                let Some((case_database, engine)) = begin::<$database>("timeout").await? else {
                    return Ok(());
                };
                let options = TransactionOptions::new().timeout(Duration::from_secs(2));
                let stays = engine.transaction_with(options.clone(), async |tx| {
                    insert(&mut *tx).await?;
                    std::future::pending::<sqlx::Result<()>>().await
                });
                let ended = stays.await;
                ensure!(
                    matches!(said(&ended), Some(TransactionError::TimedOut { .. })),
                    "{ended:?}"
                );
                // In a savepoint, only the savepoint is rolled back.
                engine
                    .transaction(async |tx| {
                        let stays = engine.transaction_with(options.clone().join(), async |tx| {
                            insert(&mut *tx).await?;
                            std::future::pending::<sqlx::Result<()>>().await
                        });
                        let ended = stays.await;
                        ensure!(
                            matches!(said(&ended), Some(TransactionError::TimedOut { .. })),
                            "{ended:?}"
                        );
                        sqlx::query("INSERT INTO entry VALUES (2)")
                            .execute(&mut *tx)
                            .await?;
                        Ok(())
                    })
                    .await?;
                let zero = TransactionOptions::new().timeout(Duration::ZERO);
                let ended = engine
                    .transaction_with(zero, async |tx| insert(&mut *tx).await)
                    .await;
                ensure!(
                    matches!(said(&ended), Some(TransactionError::NoTime { .. })),
                    "{ended:?}"
                );
                let most = TransactionOptions::new()
                    .timeout(Duration::MAX)
                    .retries(usize::MAX);
                engine
                    .transaction_with(most, async |tx| {
                        sqlx::query("INSERT INTO entry VALUES (3)")
                            .execute(&mut *tx)
                            .await
                            .map(drop)
                    })
                    .await?;
                engine.close_connection_pool().await;
                ensure!(
                    case_database
                        .answer::<$database>("SELECT count(*) + 10 * min(id) FROM entry")
                        .await?
                        == 22
                );
                Ok(())
            }

            #[tokio::test]
            async fn it_must_stand_to_the_one_around_it_as_it_says() -> anyhow::Result<()> {
                let Some((case_database, engine)) = begin::<$database>("stands").await? else {
                    return Ok(());
                };
                let (mandatory, durable) = (
                    TransactionOptions::new().mandatory(),
                    TransactionOptions::new().durable(),
                );
                let ended = engine
                    .transaction_with(mandatory.clone(), async |tx| insert(&mut *tx).await)
                    .await;
                ensure!(
                    matches!(said(&ended), Some(TransactionError::Outside { .. })),
                    "{ended:?}"
                );
                ensure!(!engine.in_transaction());
                engine
                    .transaction_with(durable.clone(), async |tx| {
                        ensure!(engine.in_transaction());
                        engine
                            .transaction_with(mandatory.clone(), async |tx| insert(&mut *tx).await)
                            .await?;
                        // The inner transaction joined, so that its row is visible here.
                        ensure!(insert(&mut *tx).await.is_err());
                        anyhow::Result::<()>::Err(anyhow::anyhow!("rolled back"))
                    })
                    .await
                    .unwrap_err();
                engine
                    .transaction(async |tx| {
                        insert(&mut *tx).await?;
                        let ended = engine
                            .transaction_with(durable.clone(), async |tx| insert(&mut *tx).await)
                            .await;
                        ensure!(
                            matches!(said(&ended), Some(TransactionError::Inside { .. })),
                            "{ended:?}"
                        );
                        // A spawned task is in no transaction.
                        let other = engine.clone();
                        let inside = tokio::spawn(async move { other.in_transaction() }).await?;
                        ensure!(!inside);
                        Ok(())
                    })
                    .await?;
                engine.close_connection_pool().await;
                ensure!(
                    case_database
                        .answer::<$database>("SELECT count(*) FROM entry")
                        .await?
                        == 1
                );
                Ok(())
            }

            /// A level is granted or refused: a joining transaction has at most the outer one's level.
            #[tokio::test]
            async fn a_level_is_had_or_refused() -> anyhow::Result<()> {
                use IsolationLevel::{
                    ReadCommitted, ReadUncommitted, RepeatableRead, Serializable,
                };

                let Some((_case_database, engine)) = begin::<$database>("levels").await? else {
                    return Ok(());
                };
                let with = |level: Option<IsolationLevel>| {
                    let options = TransactionOptions::new();
                    match level {
                        Some(level) => options.isolation(level),
                        None => options,
                    }
                };
                let levels = [
                    None,
                    Some(ReadUncommitted),
                    Some(ReadCommitted),
                    Some(RepeatableRead),
                    Some(Serializable),
                ];
                for outer in levels {
                    for inner in levels {
                        for retries in [0, 3] {
                            for join in [false, true] {
                                let options = with(inner).retries(retries);
                                let options = if join { options.join() } else { options };
                                let ended: sqlx::Result<()> = engine
                                    .transaction_with(with(outer), async |_| {
                                        engine
                                            .transaction_with(options.clone(), async |_| Ok(()))
                                            .await
                                    })
                                    .await;
                                let least = <$database as Least>::LEAST;
                                let fits = inner
                                    .is_none_or(|inner| inner <= outer.unwrap_or(least).max(least));
                                let case =
                                    format!("{outer:?} {inner:?} {retries} {join}: {ended:?}");
                                if join && !fits {
                                    let refused = matches!(
                                        said(&ended),
                                        Some(TransactionError::CannotJoin { .. })
                                    );
                                    ensure!(refused, "{case}");
                                } else {
                                    ensure!(ended.is_ok(), "{case}");
                                }
                            }
                        }
                    }
                }
                engine.close_connection_pool().await;
                Ok(())
            }

            #[tokio::test]
            async fn a_second_connection_inside_of_a_transaction_is_a_warning_once()
            -> anyhow::Result<()> {
                let Some((_case_database, engine)) = begin::<$database>("second").await? else {
                    return Ok(());
                };
                let heard = Heard::here();
                for _ in 0..2 {
                    engine
                        .transaction(async |_| {
                            let inner = engine.transaction(async |_| Ok::<_, sqlx::Error>(()));
                            inner.await
                        })
                        .await?;
                }
                let lines = heard.lines("on a second connection, inside of another one");
                ensure!(lines.len() == 1 && lines[0].contains("WARN"), "{lines:?}");
                engine.close_connection_pool().await;
                Ok(())
            }

            #[tokio::test]
            async fn an_error_of_the_callers_choice_is_run_again() -> anyhow::Result<()> {
                #[derive(Debug, thiserror::Error)]
                enum AppError {
                    #[error("again")]
                    Again,
                    #[error(transparent)]
                    Database(#[from] sqlx::Error),
                }
                let Some((case_database, engine)) = begin::<$database>("choice").await? else {
                    return Ok(());
                };
                let runs = AtomicUsize::new(0);
                let again = |error: &AppError| matches!(error, AppError::Again);
                let options = TransactionOptions::new().retry_if(again);
                engine
                    .transaction_with(options, async |tx| {
                        insert(&mut *tx).await?;
                        if runs.fetch_add(1, Relaxed) < 2 {
                            Err(AppError::Again)
                        } else {
                            Ok(())
                        }
                    })
                    .await?;
                ensure!(runs.load(Relaxed) == 3, "{runs:?}");
                // Other errors are not.
                let options = TransactionOptions::new().retry_if(again);
                let ended = engine
                    .transaction_with(options, async |tx| {
                        runs.fetch_add(1, Relaxed);
                        Ok::<(), AppError>(insert(&mut *tx).await?)
                    })
                    .await;
                ensure!(
                    matches!(ended, Err(AppError::Database(_))) && runs.load(Relaxed) == 4,
                    "{runs:?}"
                );
                engine.close_connection_pool().await;
                ensure!(
                    case_database
                        .answer::<$database>("SELECT count(*) FROM entry")
                        .await?
                        == 1
                );
                Ok(())
            }
        }
    };
}

on!(postgres, Postgres);
on!(mariadb, MySql);
on!(sqlite, Sqlite);

/// The lowest isolation level of a database.
trait Least {
    const LEAST: IsolationLevel;
}

impl Least for Postgres {
    const LEAST: IsolationLevel = IsolationLevel::ReadCommitted;
}

impl Least for MySql {
    const LEAST: IsolationLevel = IsolationLevel::ReadUncommitted;
}

impl Least for Sqlite {
    const LEAST: IsolationLevel = IsolationLevel::Serializable;
}

/// A conflict on the driver's own connection, which the pool does not see.
#[tokio::test]
async fn a_conflict_of_the_drivers_connection_is_found_in_the_error() -> anyhow::Result<()> {
    async fn raise(connection: &mut PgConnection) -> sqlx::Result<()> {
        let sql = "DO $$ BEGIN RAISE 'on purpose' USING ERRCODE = '40001'; END $$";
        sqlx::query(sql).execute(connection).await.map(drop)
    }

    #[derive(Debug, thiserror::Error)]
    #[error("application")]
    struct AppError(#[from] sqlx::Error);

    let Some((_case_database, engine)) = begin::<Postgres>("driver").await? else {
        return Ok(());
    };
    let runs = AtomicUsize::new(0);
    let once = async |tx: &mut Transaction<Postgres>| {
        if runs.fetch_add(1, Relaxed) == 0 {
            raise(tx.as_mut()).await?;
        }
        Ok::<_, sqlx::Error>(())
    };
    engine.transaction(async |tx| once(tx).await).await?;
    ensure!(runs.swap(0, Relaxed) == 2, "sqlx::Error");
    let boxed = engine.transaction(async |tx| {
        once(tx)
            .await
            .map_err(Box::<dyn std::error::Error + Send + Sync>::from)
    });
    ensure!(boxed.await.is_ok() && runs.swap(0, Relaxed) == 2, "boxed");
    let ours = engine.transaction(async |tx| once(tx).await.map_err(poolhouse::Error::from));
    ensure!(
        ours.await.is_ok() && runs.swap(0, Relaxed) == 2,
        "poolhouse::Error"
    );
    let again = engine.clone();
    let options =
        TransactionOptions::new().retry_if(move |error: &AppError| again.is_conflict(error));
    engine
        .transaction_with(options, async |tx| Ok::<_, AppError>(once(tx).await?))
        .await?;
    ensure!(runs.swap(0, Relaxed) == 2, "an error type of the program");
    engine.close_connection_pool().await;
    Ok(())
}

/// The server enforces the timeout too, so that statements end without this program. A lower one of the session stays.
#[tokio::test]
async fn postgres_has_the_timeout_as_well() -> anyhow::Result<()> {
    let Some((_case_database, engine)) = begin::<Postgres>("limit").await? else {
        return Ok(());
    };
    let limit = async |timeout: Duration, session: &'static str| {
        let options = TransactionOptions::new().timeout(timeout);
        let mut checkout = engine.acquire().await?;
        sqlx::raw_sql(session).execute(&mut checkout).await?;
        drop(checkout);
        engine
            .transaction_with(options, async |tx| {
                let setting =
                    "SELECT setting::bigint FROM pg_settings WHERE name = 'statement_timeout'";
                sqlx::query_scalar::<_, i64>(setting)
                    .fetch_one(&mut *tx)
                    .await
            })
            .await
    };
    engine.resize(std::num::NonZeroU32::MIN)?;
    let found = limit(Duration::from_secs(90), "SET statement_timeout = 0").await?;
    ensure!((80_000..=90_000).contains(&found), "{found}");
    let found = limit(Duration::from_secs(90), "SET statement_timeout = '2min'").await?;
    ensure!((80_000..=90_000).contains(&found), "{found}");
    for (session, milliseconds) in [
        ("1min", 60_000),
        ("1500ms", 1_500),
        ("2s", 2_000),
        ("4321", 4_321),
    ] {
        let sql: &'static str =
            Box::leak(format!("SET statement_timeout = '{session}'").into_boxed_str());
        let found = limit(Duration::from_secs(90), sql).await?;
        ensure!(found == milliseconds, "{session}: {found}");
    }
    engine.close_connection_pool().await;
    Ok(())
}

/// The setting that a policy of row-level security reads.
const TENANT: &str = "SELECT coalesce(current_setting('app.tenant', true), '')";

async fn tenant(tx: &mut Transaction<Postgres>) -> sqlx::Result<String> {
    sqlx::query_scalar(TENANT).fetch_one(&mut *tx).await
}

#[tokio::test]
async fn a_setting_is_the_transactions_alone() -> anyhow::Result<()> {
    let Some((_case_database, engine)) = begin::<Postgres>("tenant").await? else {
        return Ok(());
    };
    engine.resize(std::num::NonZeroU32::MIN)?;
    let of = |value: &str| TransactionOptions::new().local("app.tenant", value);
    for value in [
        "7",
        "",
        "it's; DROP TABLE entry",
        r"back\slash \' quote",
        "ümlaut \u{1f600}\n",
        "$1 ?",
    ] {
        let seen = engine
            .transaction_with(of(value), async |tx| tenant(tx).await)
            .await?;
        ensure!(seen == value, "{seen:?} and not {value:?}");
    }
    // On the same connection, the setting has its old value again.
    ensure!(
        engine
            .transaction(async |tx| tenant(tx).await)
            .await?
            .is_empty()
    );
    // An inner transaction has its own value, and restores the outer one.
    engine
        .transaction_with(of("outer"), async |tx| {
            for well in [true, false] {
                let inner: anyhow::Result<()> = engine
                    .transaction_with(of("inner").join(), async |tx| {
                        ensure!(tenant(&mut *tx).await? == "inner");
                        engine
                            .transaction_with(of("innermost").join(), async |tx| {
                                ensure!(tenant(&mut *tx).await? == "innermost");
                                Ok(())
                            })
                            .await?;
                        ensure!(tenant(&mut *tx).await? == "inner");
                        ensure!(well, "no");
                        Ok(())
                    })
                    .await;
                ensure!(inner.is_ok() == well, "{inner:?}");
                ensure!(tenant(&mut *tx).await? == "outer");
            }
            anyhow::Ok(())
        })
        .await?;
    engine.close_connection_pool().await;
    Ok(())
}

#[tokio::test]
async fn a_setting_that_cannot_be_is_an_error_that_names_it() -> anyhow::Result<()> {
    let Some((case_database, engine)) = begin::<Postgres>("refused").await? else {
        return Ok(());
    };
    let secret = "s3cret-value";
    for name in [
        "no_such_setting",
        "app tenant.x",
        "",
        "max_connections",
        "app.\0",
    ] {
        for joined in [false, true] {
            let options = TransactionOptions::new().local(name, secret);
            let insert = async |tx: &mut Transaction<Postgres>| {
                sqlx::query("INSERT INTO entry VALUES (1)")
                    .execute(&mut *tx)
                    .await
                    .map(drop)
            };
            let ended = if joined {
                engine
                    .transaction(async |_| {
                        engine
                            .transaction_with(options.clone().join(), async |tx| insert(tx).await)
                            .await
                    })
                    .await
            } else {
                engine
                    .transaction_with(options, async |tx| insert(tx).await)
                    .await
            };
            let error = ended
                .as_ref()
                .err()
                .with_context(|| format!("{name:?} was taken"))?;
            let text = format!("{error} {error:?}");
            ensure!(
                matches!(said(&ended), Some(TransactionError::Setting { .. })),
                "{name:?} {joined}: {text}"
            );
            ensure!(!text.contains(secret), "{text}");
        }
    }
    ensure!(engine.health().await.is_ok());
    engine.close_connection_pool().await;
    ensure!(
        case_database
            .answer::<Postgres>("SELECT count(*) FROM entry")
            .await?
            == 0
    );
    case_database.no_session_left().await
}

#[tokio::test]
async fn without_such_settings_they_are_an_error() -> anyhow::Result<()> {
    async fn refused<DB: Sql>() -> anyhow::Result<()>
    where
        for<'c> &'c mut Transaction<DB>: Send,
    {
        let name = format!("nosettings_{}", std::any::type_name::<DB>().len());
        let Some((_case_database, engine)) = begin::<DB>(&name).await? else {
            return Ok(());
        };
        let options = TransactionOptions::new().local("app.tenant", "7");
        let ended: sqlx::Result<()> = engine.transaction_with(options, async |_| Ok(())).await;
        ensure!(
            matches!(said(&ended), Some(TransactionError::Unsupported { .. })),
            "{ended:?}"
        );
        engine.close_connection_pool().await;
        Ok(())
    }
    refused::<MySql>().await?;
    refused::<Sqlite>().await
}
