//! Dropping a future at each of its await points.

use std::fmt::Debug;
use std::future::{Future, poll_fn};
use std::task::Poll;

use super::rows::{Changes, DatabaseRows};
use super::watched::Watched;
use crate::finder;

/// How often each await point is tried: the network and the scheduler also decide where a future waits.
const TIMES: usize = 4;

/// How often the work is run to its end again before rows count as a part of it: runs may agree by chance in a time in whole
/// seconds, or in a random value of a small range.
const RUNS_AGAIN: usize = 8;

/// A run that is not cancelled, in messages.
const END: &str = "run to its end";

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
/// - the rows of all tables of an engine are either those before the run or those after a complete run. Each engine is checked by
///   itself: work that is complete on one engine and absent on another is not found.
///
/// For the comparison of rows, the future first runs twice to its end, and up to eight times more before a panic about rows.
/// Columns in which complete runs differ, such as times and random numbers, are not compared. After each run that changed
/// something, the rows and the sequences (`AUTO_INCREMENT`) are restored, so that all runs begin with the same ones.
/// Definitions are not compared: the future must not create or drop tables or other objects. Each table is read as a whole
/// after each run, so the tables should be small.
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
/// await points; when rows cannot be read, because a policy for the table's owner hides some (`FORCE ROW LEVEL SECURITY`); and when
/// rows cannot be restored, because of a trigger that forbids it.
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
    let first = complete_run(&mut work, &mut watched, &before).await;
    let complete = before.iter().zip(first);
    let complete = complete.map(|(before, first)| Changes::of(before, first));
    let mut complete: Vec<Changes> = complete.collect();
    let second = complete_run(&mut work, &mut watched, &before).await;
    compare(&mut complete, &before, &second);
    let mut points = 0;
    for _ in 0..TIMES {
        let mut point = 0;
        loop {
            let output = up_to(point, work()).await;
            let what = match &output {
                None => format!("cancelled at its await point {point}"),
                Some(_) => END.to_owned(),
            };
            fail_on(output.as_ref(), &what);
            let states = restored(&mut watched, &before, &what).await;
            let mut left = part_left(&watched, &before, &states, &complete);
            for _ in 0..RUNS_AGAIN {
                if left.is_none() {
                    break;
                }
                let another = complete_run(&mut work, &mut watched, &before).await;
                compare(&mut complete, &before, &another);
                left = part_left(&watched, &before, &states, &complete);
            }
            if let Some(left) = left {
                panic!("{what}, the future leaves a part of what it does on {left}");
            }
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
    let changes = complete.iter().any(|changes| !changes.is_empty());
    Cancelled { points, changes }
}

/// Runs the work to its end, restores the rows, and returns the state of each database before that.
async fn complete_run<F, Fut>(
    work: &mut F,
    watched: &mut [Watched],
    before: &[DatabaseRows],
) -> Vec<DatabaseRows>
where
    F: FnMut() -> Fut,
    Fut: Future,
    Fut::Output: Completed,
{
    let output = work().await;
    fail_on(Some(&output), END);
    drop(output);
    restored(watched, before, END).await
}

/// Compares the changes of the first complete run with those of another one.
#[track_caller]
fn compare(complete: &mut [Changes], before: &[DatabaseRows], another: &[DatabaseRows]) {
    for (changes, (before, another)) in complete.iter_mut().zip(before.iter().zip(another)) {
        if let Err(table) = changes.compare(before, another) {
            panic!(
                "two complete runs leave different numbers of rows in {table}, so a partial run cannot be recognized"
            );
        }
    }
}

#[track_caller]
fn fail_on<T: Completed>(output: Option<&T>, what: &str) {
    if let Some(failure) = output.and_then(Completed::failure) {
        panic!("the future fails when it is {what}: {failure}");
    }
}

/// Checks the connections, restores the rows, and returns the state of each database before that.
async fn restored(
    watched: &mut [Watched],
    before: &[DatabaseRows],
    what: &str,
) -> Vec<DatabaseRows> {
    let mut states = Vec::new();
    for (engine, before) in watched.iter_mut().zip(before) {
        engine.settles(what).await;
        let state = engine.state().await;
        if state != *before || state.counters != before.counters {
            engine.put_back(before, &state, what).await;
        }
        states.push(state);
    }
    states
}

/// Describes the first engine on which a run has left a part of its changes.
fn part_left(
    watched: &[Watched],
    before: &[DatabaseRows],
    states: &[DatabaseRows],
    complete: &[Changes],
) -> Option<String> {
    let mut all = watched.iter().zip(before.iter().zip(states)).zip(complete);
    all.find_map(|((engine, (before, state)), complete)| {
        let half = complete.half(before, state)?;
        Some(format!("engine `{}`:\n{half}", engine.name()))
    })
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
