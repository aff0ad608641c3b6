//! The shared timer of all waiters.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::runtime::Builder;
use tokio::task::JoinHandle;

use crate::with_std::deadline::watch;
use crate::with_std::slots::{Refused, Slot, Slots, Vacate};

struct Unit;

impl Vacate for Unit {
    fn vacate(self, slot: Slot<Self>) {
        drop(slot);
    }
}

struct Pool(Slots<Unit>);

fn pool(max: usize) -> (Arc<Pool>, JoinHandle<()>) {
    let pool = Arc::new(Pool(Slots::new(max)));
    let weak: Weak<Pool> = Arc::downgrade(&pool);
    let timer = tokio::spawn(watch(move || weak.upgrade().map(|pool| pool.0.clone())));
    (pool, timer)
}

async fn times_out(pool: &Pool, limit: Duration) {
    let taken = pool.0.take(Some(Instant::now() + limit)).await;
    assert_eq!(taken.err(), Some(Refused::TimedOut));
}

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test(start_paused = true)]
async fn on_a_paused_clock_every_wait_takes_its_limit() {
    let (pool, _timer) = pool(1);
    let _held = pool.0.try_take();
    // Repeatedly, so that the timer is armed again, an hour after the real clock.
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_hours(1)).await;
        let begun = tokio::time::Instant::now();
        times_out(&pool, LIMIT).await;
        let waited = begun.elapsed();
        assert!(
            waited >= LIMIT.mul_f64(0.99) && waited < 2 * LIMIT,
            "{waited:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_crowd_that_came_together_goes_together() {
    let (pool, _timer) = pool(1);
    let held = pool.0.try_take();
    join_all((0..10_000).map(|_| times_out(&pool, LIMIT))).await;
    drop(held);
    assert!(pool.0.try_take().is_some());
}

#[test]
fn on_a_current_thread_runtime_with_a_clock_that_runs() {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let (pool, _timer) = pool(1);
        let _held = pool.0.try_take();
        times_out(&pool, Duration::ZERO).await;
        times_out(&pool, Duration::from_millis(5)).await;
        // The timer sleeps until the deadline of a cancelled waiter, and then finds the next one.
        let gone = times_out(&pool, Duration::from_millis(20));
        assert!(
            tokio::time::timeout(Duration::from_millis(1), gone)
                .await
                .is_err()
        );
        times_out(&pool, Duration::from_millis(40)).await;
    });
}

#[test]
fn a_waiter_outside_of_any_runtime() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let (pool, _timer) = {
        let _inside = runtime.enter();
        pool(1)
    };
    let _held = pool.0.try_take();
    block_on_this_thread(times_out(&pool, Duration::from_millis(5)));
}

/// Runs a future on this thread, which belongs to no runtime.
fn block_on_this_thread(future: impl Future<Output = ()>) {
    let mut future = std::pin::pin!(future);
    let thread = std::thread::current();
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::task::Waker::from(Arc::new(Unpark(thread)));
    let mut context = std::task::Context::from_waker(&waker);
    while future.as_mut().poll(&mut context).is_pending() {
        std::thread::park();
    }
}

#[tokio::test]
async fn the_timer_ends_with_the_slots_however_late_its_deadline_is() {
    for close in [false, true] {
        for waits in [false, true] {
            let (pool, timer) = pool(1);
            let held = pool.0.try_take();
            if waits {
                let hour = times_out(&pool, Duration::from_hours(1));
                assert!(
                    tokio::time::timeout(Duration::from_millis(1), hour)
                        .await
                        .is_err()
                );
            } else {
                tokio::task::yield_now().await;
            }
            if close {
                assert!(pool.0.close().is_empty());
            } else {
                drop(held);
                drop(pool);
            }
            timer.await.unwrap();
        }
    }
}

#[test]
fn the_timer_is_woken_once_however_many_wait() {
    #[derive(Default)]
    struct Wakes(std::sync::atomic::AtomicUsize);
    impl std::task::Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }
    let slots: Slots<Unit> = Slots::new(0);
    let timer = Arc::new(Wakes::default());
    let waker = std::task::Waker::from(Arc::clone(&timer));
    let mut timers = std::task::Context::from_waker(&waker);
    assert!(slots.poll_deadline(&mut timers).is_pending());
    let deadline = Instant::now() + LIMIT;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let mut taking = Box::pin(slots.take(Some(deadline)));
        let mut nobody = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(taking.as_mut().poll(&mut nobody).is_pending());
        waiting.push(taking);
        // Waiters come before and after the timer reads the deadline.
        if waiting.len() == 2 {
            assert!(slots.poll_deadline(&mut timers).is_ready());
        }
    }
    assert_eq!(timer.0.load(std::sync::atomic::Ordering::Relaxed), 1);
}
