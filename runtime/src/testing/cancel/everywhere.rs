//! Dropping a future at each of its await points.

use std::fmt::Debug;
use std::future::{Future, poll_fn};
use std::task::Poll;

use super::rows::{Changes, DatabaseRows};
use super::watched::Watched;
use crate::finder;

/// How often each await point is tried: the network and the scheduler also decide where a future waits.
const TIMES: usize = 4;

/// The limit of await points, for a future that waits for ever.
const MOST_POINTS: usize = 10_000;

/// The result of [`cancel_everywhere`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cancelled {
    /// The highest await point at which a run was dropped. 0: the future never waited.
    pub points: usize,
    /// Whether a complete run changes the rows of a database. If not, only the connections were tested.
    pub changes: bool,
}

/// The output of a future under [`cancel_everywhere`]: `()`, or a `Result`, of which an error is a failed run.
#[diagnostic::on_unimplemented(
    message = "a future under `cancel_everywhere` cannot return `{Self}`",
    note = "return `()` or a `Result` whose error is `Debug`, such as `pay(&db).await.map(drop)`"
)]
pub trait Completed {
    /// Why the run failed, if it did.
    #[doc(hidden)]
    fn failure(&self) -> Option<String>;
}

impl Completed for () {
    fn failure(&self) -> Option<String> {
        None
    }
}

impl<T, E: Debug> Completed for Result<T, E> {
    fn failure(&self) -> Option<String> {
        self.as_ref().err().map(|error| format!("{error:?}"))
    }
}

/// Runs a future repeatedly, drops it at its first, second, … await point, and checks its effects.
///
/// ```no_run
/// # async fn pay(_: &poolhouse::PgEngine) -> sqlx::Result<()> { Ok(()) }
/// # async fn example(db: poolhouse::PgEngine) {
/// poolhouse::testing::cancel_everywhere(|| pay(&db)).await;
/// # }
/// ```
///
/// The function watches every engine that is started in this runtime. After each drop, it checks that
///
/// - the pool has all its connections back, and each can be acquired;
/// - no session of the pool is in a transaction, and the server has no session that is unknown to the pool;
/// - the rows of all tables are either those before the run or those after a complete run.
///
/// For the comparison of rows, the future first runs twice to its end. Columns in which the two runs differ, such as times
/// and random numbers, are not compared. After each run that changed something, the rows and the sequences
/// (`AUTO_INCREMENT`) are restored, so that all runs begin with the same ones. Definitions are not compared: the future
/// must not create or drop tables or other objects. Each table is read as a whole after each run, so the tables should be
/// small.
///
/// Only points at which the future waits count as await points. An answer that has already arrived is read without a wait,
/// which depends on the load of the machine. So each point is tried four times, and the points end with the first run that
/// completes. Tasks that the future has spawned continue after the drop, and count as part of the next run: await them
/// inside the future, or do not spawn them.
///
/// Works with `isolation = "database"` on Postgres, MySQL, MariaDB and SQLite, with engines of these kinds and with a
/// `sqlx::Pool` as a parameter of the test.
///
/// # Cancellation
///
/// The current run is dropped, and rows may not be restored.
///
/// # Panics
///
/// When a check fails, with the effects of the run and its await point. Also when an engine cannot be watched: none is
/// started, it is an `AnyEngine`, or its database is not the test's own (`isolation = "none"` or `"rollback"`); when a
/// complete run fails; when two complete runs change different numbers of rows; when the future still waits after 10,000
/// await points; and when rows cannot be restored, because of a trigger that forbids it.
pub async fn cancel_everywhere<F, Fut>(mut work: F) -> Cancelled
where
    F: FnMut() -> Fut,
    Fut: Future,
    Fut::Output: Completed,
{
    let mut watched = Watched::all(finder::here()).await;
    let mut before = Vec::new();
    for engine in &mut watched {
        before.push(engine.state().await);
    }
    let complete = complete_runs(&mut work, &mut watched, &before).await;
    let changes = complete.iter().any(|changes| !changes.is_empty());
    let mut points = 0;
    for _ in 0..TIMES {
        let mut point = 0;
        loop {
            let output = up_to(point, work()).await;
            let what = match &output {
                None => format!("cancelled at its await point {point}"),
                Some(_) => "run to its end".to_owned(),
            };
            fail_on(output.as_ref(), &what);
            check(&mut watched, &before, &complete, &what).await;
            if output.is_some() {
                break;
            }
            points = points.max(point);
            point += 1;
            assert!(
                point < MOST_POINTS,
                "the future still waits after {MOST_POINTS} await points"
            );
        }
    }
    for engine in watched {
        engine.leave().await;
    }
    Cancelled { points, changes }
}

/// Runs the work twice to its end, restores the rows, and returns the changes in each database.
async fn complete_runs<F, Fut>(
    work: &mut F,
    watched: &mut [Watched],
    before: &[DatabaseRows],
) -> Vec<Changes>
where
    F: FnMut() -> Fut,
    Fut: Future,
    Fut::Output: Completed,
{
    let what = "run to its end";
    let mut runs = Vec::new();
    for _ in 0..2 {
        let output = work().await;
        fail_on(Some(&output), what);
        drop(output);
        let mut states = Vec::new();
        for (engine, before) in watched.iter_mut().zip(before) {
            engine.settles(what).await;
            let state = engine.state().await;
            engine.put_back(before, &state, what).await;
            states.push(state);
        }
        runs.push(states);
    }
    let (first, second) = (&runs[0], &runs[1]);
    let changes = before.iter().zip(first.iter().zip(second));
    let changes = changes.map(|(before, (first, second))| Changes::of(before, first, second));
    changes
        .collect::<Result<_, String>>()
        .unwrap_or_else(|table| {
            panic!("two complete runs leave different numbers of rows in {table}, so a partial run cannot be recognized")
        })
}

#[track_caller]
fn fail_on<T: Completed>(output: Option<&T>, what: &str) {
    if let Some(failure) = output.and_then(Completed::failure) {
        panic!("the future fails when it is {what}: {failure}");
    }
}

/// Checks the connections and the rows, and restores the rows.
async fn check(watched: &mut [Watched], before: &[DatabaseRows], complete: &[Changes], what: &str) {
    for ((engine, before), complete) in watched.iter_mut().zip(before).zip(complete) {
        engine.settles(what).await;
        let state = engine.state().await;
        if state != *before
            && let Some(half) = complete.half(before, &state)
        {
            panic!(
                "{what}, the future leaves a part of what it does on engine `{}`:\n{half}",
                engine.name()
            );
        }
        if state != *before || state.counters != before.counters {
            engine.put_back(before, &state, what).await;
        }
    }
}

/// Polls a future until it is ready, or drops it after it was pending `point` times. 0 drops it without a poll.
async fn up_to<F: Future>(point: usize, future: F) -> Option<F::Output> {
    if point == 0 {
        return None;
    }
    let mut future = Box::pin(future);
    let mut times = 0;
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => {
            times += 1;
            if times == point {
                Poll::Ready(None)
            } else {
                Poll::Pending
            }
        }
    })
    .await
}
