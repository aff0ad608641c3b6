//! Dropping a future at each of its await points.

use std::fmt::Debug;
use std::future::{Future, poll_fn};
use std::task::Poll;

use super::rows::{Changes, DatabaseRows};
use super::watched::Watched;
use crate::finder;

/// Times that each await point is tried: where a future waits depends on the network and the scheduler, too.
const TIMES: usize = 4;

/// More await points than any future under test has. One that waits for ever has no last one.
const MOST_POINTS: usize = 10_000;

/// What [`cancel_everywhere`] has tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cancelled {
    /// The most await points at which one run was dropped. 0: the future never waited.
    pub points: usize,
    /// Whether a complete run changes what a database holds. If not, only the connections were under test.
    pub changes: bool,
}

/// What a future under [`cancel_everywhere`] returns, so that a complete run that fails is not taken for one that worked: `()` or
/// a `Result`.
#[diagnostic::on_unimplemented(
    message = "a future under `cancel_everywhere` cannot return `{Self}`",
    note = "return `()` or a `Result` whose error is `Debug`, such as `pay(&db).await.map(drop)`"
)]
pub trait Completed {
    /// Why the run has not worked.
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

/// Runs a future again and again, drops it at its first, second, … await point, and checks what it leaves.
///
/// ```no_run
/// # async fn pay(_: &poolhouse::PgEngine) -> sqlx::Result<()> { Ok(()) }
/// # async fn example(db: poolhouse::PgEngine) {
/// poolhouse::testing::cancel_everywhere(|| pay(&db)).await;
/// # }
/// ```
///
/// It watches every engine that is started in this runtime. After each drop,
///
/// - the pool has all its connections back, and every one can be had;
/// - no session of the pool is in a transaction, and the server has no session that the pool does not know of;
/// - the rows of all tables are either those from before or those that a complete run leaves.
///
/// For the last, the future is run twice to its end first. What differs between the two, such as times and random numbers, is
/// left out when rows are compared. After each run that has changed something, the rows and the sequences (`AUTO_INCREMENT`) are put
/// back as they were, so that each run begins with the same ones. Not compared are definitions: the future must create and drop
/// nothing. Each table is read as a whole after each run, so the tables should be small.
///
/// An await point is one at which the future waits. An answer that is there already is read without a wait, and whether it is
/// depends on the load of the machine: so each is tried four times, and the end is where it waits no more. What the future has
/// spawned goes on when it is dropped, and counts to the next run: wait for it inside of the future, or do not spawn it.
///
/// Works with `isolation = "database"` on Postgres, MySQL, MariaDB and SQLite, with engines of these kinds and with a `sqlx::Pool`
/// as a parameter of the test.
///
/// # Cancellation
///
/// A run that is under way is dropped, and rows may not have been put back.
///
/// # Panics
///
/// With what was left, and after how many await points. Also when nothing is to be watched: no engine is started, it is an
/// `AnyEngine`, or its database is not the test's own (`isolation = "none"` or `"rollback"`); when a complete run fails; when two
/// complete runs do not change as many rows; and when rows cannot be put back, because of a trigger that forbids it.
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

/// Runs the work twice to its end, and returns what it changes in each database. The rows are as before then.
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
            panic!("two complete runs leave other numbers of rows in {table}, so that nobody can tell what all of it is")
        })
}

#[track_caller]
fn fail_on<T: Completed>(output: Option<&T>, what: &str) {
    if let Some(failure) = output.and_then(Completed::failure) {
        panic!("the future fails when it is {what}: {failure}");
    }
}

/// Checks the connections and the rows, and puts these back.
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

/// Polls a future until it is ready, or until it has not been ready for so many times; then it is dropped. With 0 it is never
/// polled.
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
