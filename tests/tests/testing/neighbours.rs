//! Test attributes of other crates, and other attributes on tests, in each order that can work.

use poolhouse::{SqliteEngine, with_pool};
use rstest::{fixture, rstest};
use serial_test::serial;

async fn add(db: &SqliteEngine, name: &str) -> Result<i64, sqlx::Error> {
    sqlx::query("INSERT INTO band (name) VALUES (?)")
        .bind(name)
        .execute(db)
        .await?;
    sqlx::query_scalar("SELECT count(*) FROM band")
        .fetch_one(db)
        .await
}

#[with_pool]
#[rstest]
#[case("Pythonistas", 11)]
#[case::with_a_name("Rustaceans", 10)]
#[tokio::test]
async fn cases_of_rstest(
    #[case] name: &str,
    #[case] letters: usize,
    #[pool] db: SqliteEngine,
) -> Result<(), sqlx::Error> {
    assert_eq!(name.len(), letters);
    // Each case has a database of its own.
    assert_eq!(add(&db, name).await?, 1);
    Ok(())
}

#[fixture]
fn name() -> String {
    "Pythonistas".to_owned()
}

#[with_pool]
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_fixture_of_rstest(name: String, #[pool] db: SqliteEngine) {
    assert_eq!(add(&db, &name).await.unwrap(), 1);
}

#[fixture]
async fn later() -> String {
    std::future::ready("Pythonistas".to_owned()).await
}

#[with_pool]
#[rstest]
#[case(async { 11 })]
#[tokio::test]
async fn futures_of_rstest(
    #[future] later: String,
    #[case]
    #[future]
    letters: usize,
    #[pool] db: SqliteEngine,
) {
    let name = later.await;
    assert_eq!(name.len(), letters.await);
    assert_eq!(add(&db, &name).await.unwrap(), 1);
}

#[with_pool]
#[rstest]
#[tokio::test]
async fn a_future_that_rstest_awaits(#[future(awt)] later: String, #[pool] db: SqliteEngine) {
    assert_eq!(add(&db, &later).await.unwrap(), 1);
}

#[with_pool]
#[rstest]
#[awt]
#[tokio::test]
async fn futures_that_rstest_awaits(#[future] later: String, #[pool] db: SqliteEngine) {
    assert_eq!(add(&db, &later).await.unwrap(), 1);
}

#[with_pool]
#[test_log::test(tokio::test)]
async fn test_log_over_tokio(db: SqliteEngine) {
    assert_eq!(add(&db, "Pythonistas").await.unwrap(), 1);
}

#[with_pool]
#[serial]
#[tokio::test]
async fn serial_above(db: SqliteEngine) {
    assert_eq!(add(&db, "Pythonistas").await.unwrap(), 1);
}

#[with_pool]
#[tokio::test]
#[serial]
async fn serial_below(db: SqliteEngine) {
    assert_eq!(add(&db, "Pythonistas").await.unwrap(), 1);
}

#[with_pool]
#[tokio::test]
#[should_panic(expected = "with 1 band")]
async fn should_panic_below(db: SqliteEngine) {
    panic!("with {} band", add(&db, "Pythonistas").await.unwrap());
}

#[should_panic(expected = "with 1 band")]
#[with_pool]
#[test]
async fn should_panic_above(db: SqliteEngine) {
    panic!("with {} band", add(&db, "Pythonistas").await.unwrap());
}

#[with_pool]
#[tokio::test]
#[ignore = "it fails, so that nobody takes an ignored test for one that has run"]
async fn ignored(db: SqliteEngine) {
    panic!("it was run with {db:?}");
}
