//! Other attributes on the function.

use poolhouse::{SqliteEngine, with_pool};
use tracing::Span;
use tracing::instrument::WithSubscriber;

use super::answer;

fn name_of_the_span() -> Option<&'static str> {
    Span::current().metadata().map(tracing::Metadata::name)
}

#[with_pool(engine = "instrumented_below", url = "sqlite::memory:")]
#[tracing::instrument(fields(answer))]
async fn instrumented_below(
    port: u16,
    #[pool] db: SqliteEngine,
) -> anyhow::Result<(i64, Option<&'static str>)> {
    Span::current().record("answer", port);
    Ok((answer(&db).await?, name_of_the_span()))
}

#[tracing::instrument(skip_all, err)]
#[with_pool(engine = "instrumented_above", url = "sqlite::memory:")]
async fn instrumented_above(
    port: u16,
    #[pool] db: SqliteEngine,
) -> anyhow::Result<(i64, Option<&'static str>)> {
    anyhow::ensure!(port > 0);
    Ok((answer(&db).await?, name_of_the_span()))
}

#[tokio::test]
async fn tracing_instrument_above_and_below() -> anyhow::Result<()> {
    let subscriber = tracing_subscriber::fmt()
        .with_writer(std::io::sink)
        .finish();
    async {
        let (answer, span) = instrumented_below(8000).await?;
        assert_eq!((answer, span), (42, Some("instrumented_below")));
        let (answer, span) = instrumented_above(8000).await?;
        assert_eq!((answer, span), (42, Some("instrumented_above")));
        anyhow::Ok(())
    }
    .with_subscriber(subscriber)
    .await
}

/// Has documentation, lint levels and a `cfg` that holds.
#[doc = "And some more."]
#[allow(unused_variables)]
#[expect(clippy::let_and_return)]
#[cfg(test)]
#[with_pool(engine = "decorated", url = "sqlite::memory:")]
#[inline]
#[must_use = "it is documented"]
async fn decorated(port: u16, #[pool] db: SqliteEngine) -> anyhow::Result<i64> {
    let answer = answer(&db).await?;
    answer.checked_sub(0).map_or_else(
        || Ok(0),
        |it| {
            let same = Ok(it);
            same
        },
    )
}

/// Has the same name and a `cfg` that does not hold.
#[with_pool(engine = "decorated", url = "sqlite::memory:")]
#[cfg(not(test))]
async fn decorated(nothing: Unknown) {}

#[tokio::test]
async fn documentation_conditions_and_levels_of_lints() -> anyhow::Result<()> {
    assert_eq!(decorated(8000).await?, 42);
    Ok(())
}
