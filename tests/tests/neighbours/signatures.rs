//! All kinds of signatures.

#![allow(
    clippy::needless_lifetimes,
    clippy::too_many_arguments,
    clippy::used_underscore_binding,
    reason = "signatures of every kind"
)]

use std::fmt::Display;
use std::future::Future;
use std::rc::Rc;

use poolhouse::{Backend, Engine, Shutdown, SqliteEngine, with_pool};
use sqlx::{Sqlite, SqlitePool};

use super::answer;

#[with_pool(engine = "generic", url = "sqlite::memory:", min_size = u32::try_from(N)?)]
async fn generic<'a, DB: Backend, T, const N: usize>(
    name: &'a str,
    values: [T; N],
    #[pool] db: Engine<DB>,
    show: impl Fn(&T) -> String,
) -> anyhow::Result<(&'a str, Vec<String>, usize)>
where
    T: Display,
{
    Ok((name, values.iter().map(show).collect(), db.status().size))
}

#[tokio::test]
async fn generics_lifetimes_and_impl_trait() -> anyhow::Result<()> {
    let name = String::from("bands");
    let (name, shown, size) =
        generic::<Sqlite, _, 2>(&name, [1, 2], |value| format!("<{value}>")).await?;
    assert_eq!(
        (name, shown.concat().as_str(), size),
        ("bands", "<1><2>", 2)
    );
    Ok(())
}

#[with_pool(engine = "owned", url = url, session = setup)]
async fn owned(url: String, setup: &str, #[pool] db: SqliteEngine) -> anyhow::Result<String> {
    Ok(format!("{url} {setup} {}", answer(&db).await?))
}

#[tokio::test]
async fn a_setting_and_the_body_use_the_same_owned_parameter() -> anyhow::Result<()> {
    let said = owned("sqlite::memory:".to_owned(), "SELECT 1").await?;
    assert_eq!(said, "sqlite::memory: SELECT 1 42");
    Ok(())
}

#[with_pool(engine = "opaque", url = "sqlite::memory:")]
async fn opaque(
    names: &[String],
    #[pool] db: SqliteEngine,
) -> anyhow::Result<impl Iterator<Item = usize>> {
    let answer = usize::try_from(answer(&db).await?)?;
    Ok(names.iter().map(move |name| name.len() + answer))
}

#[tokio::test]
async fn impl_trait_in_the_return_type() -> anyhow::Result<()> {
    let names = [String::from("a"), String::from("bc")];
    let lengths: Vec<usize> = opaque(&names).await?.collect();
    assert_eq!(lengths, [43, 44]);
    Ok(())
}

struct Address {
    host: String,
    port: u16,
}

#[with_pool(engine = "patterns", url = "sqlite::memory:")]
async fn patterns(
    (first, _): (u16, u16),
    Address { host, mut port }: Address,
    _: bool,
    #[pool] mut db: SqliteEngine,
    _: bool,
    [a, .., z]: [u8; 4],
    &by_reference: &u16,
    r#type: &str,
    mut _counted: u16,
) -> anyhow::Result<String> {
    port += first + by_reference;
    _counted += 1;
    db = db.clone();
    Ok(format!(
        "{host}:{port} {a}{z} {type} {_counted} {}",
        answer(&db).await?
    ))
}

#[tokio::test]
async fn mutable_and_taken_apart_parameters() -> anyhow::Result<()> {
    let address = Address {
        host: "localhost".to_owned(),
        port: 1,
    };
    let said = patterns((10, 0), address, true, false, [1, 2, 3, 4], &100, "type", 6).await?;
    assert_eq!(said, "localhost:111 14 type 7 42");
    Ok(())
}

#[with_pool(engine = "raw", url = "sqlite::memory:")]
async fn r#loop(r#async: u16, #[pool] r#match: SqliteEngine) -> anyhow::Result<i64> {
    Ok(answer(&r#match).await? + i64::from(r#async))
}

#[tokio::test]
async fn raw_identifiers() -> anyhow::Result<()> {
    assert_eq!(r#loop(1).await?, 43);
    Ok(())
}

#[with_pool(engine = "local", url = "sqlite::memory:")]
async fn local(name: Rc<str>, #[pool] db: SqliteEngine) -> anyhow::Result<Rc<str>> {
    let db = Rc::new(db);
    let task = tokio::task::spawn_local(async move { answer(&db).await });
    task.await??;
    Ok(name)
}

#[tokio::test]
async fn what_cannot_be_sent_on_a_current_thread_runtime() -> anyhow::Result<()> {
    let tasks = tokio::task::LocalSet::new();
    assert_eq!(&*tasks.run_until(local("bands".into())).await?, "bands");
    Ok(())
}

#[with_pool(engine = "sent", url = "sqlite::memory:")]
async fn sent(
    name: String,
    #[pool] db: SqliteEngine,
    #[pool] pool: SqlitePool,
    #[pool] shutdown: Shutdown,
) -> anyhow::Result<String> {
    drop((db, shutdown));
    let found: String = sqlx::query_scalar("SELECT ?")
        .bind(name)
        .fetch_one(&pool)
        .await?;
    Ok(found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_be_sent_can_be_spawned() -> anyhow::Result<()> {
    assert_eq!(tokio::spawn(sent("bands".to_owned())).await??, "bands");
    Ok(())
}

#[with_pool(engine = "recursive", url = "sqlite::memory:")]
async fn recursive(depth: i64, #[pool] db: SqliteEngine) -> anyhow::Result<i64> {
    if depth == 0 {
        return Ok(answer(&db).await?);
    }
    Ok(Box::pin(recursive(depth - 1)).await? + 1)
}

#[tokio::test]
async fn recursion() -> anyhow::Result<()> {
    assert_eq!(recursive(3).await?, 45);
    Ok(())
}

#[with_pool(engine = "nested", url = "sqlite::memory:")]
async fn nested(#[pool] db: SqliteEngine) -> anyhow::Result<i64> {
    #[with_pool(engine = "nested_inner", url = "sqlite::memory:")]
    async fn inner(#[pool] db: SqliteEngine) -> anyhow::Result<i64> {
        Ok(answer(&db).await?)
    }
    Ok(answer(&db).await? + inner().await?)
}

#[tokio::test]
async fn one_inside_the_other() -> anyhow::Result<()> {
    assert_eq!(nested().await?, 84);
    Ok(())
}

#[with_pool(engine = "passed", url = "sqlite::memory:")]
async fn passed<F, Fut>(body: F, #[pool] db: SqliteEngine) -> anyhow::Result<i64>
where
    F: FnOnce(SqliteEngine) -> Fut,
    Fut: Future<Output = Result<i64, sqlx::Error>>,
{
    Ok(body(db).await?)
}

#[tokio::test]
async fn closures() -> anyhow::Result<()> {
    let asked = passed(async |db| answer(&db).await).await?;
    assert_eq!(asked, 42);
    Ok(())
}

/// Returns the result type of `main` for actix-web.
#[with_pool(engine = "io", url = "sqlite::memory:", max_size = 3)]
async fn io(#[pool] db: SqliteEngine) -> std::io::Result<usize> {
    Ok(db.status().max)
}

#[tokio::test]
async fn a_result_of_io() -> anyhow::Result<()> {
    assert_eq!(io().await?, 3);
    Ok(())
}
