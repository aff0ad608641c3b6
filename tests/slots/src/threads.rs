//! Every interleaving of two or three threads.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc as StdArc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use loom::future::block_on;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use loom::thread;

use crate::with_loom::slots::{Refused, Slot, Slots, Vacate};

/// A session, which counts the open ones.
struct Session(Arc<Counts>);

struct Counts {
    open: AtomicUsize,
    max: usize,
}

impl Counts {
    fn new(max: usize) -> Arc<Self> {
        let open = AtomicUsize::new(0);
        Arc::new(Self { open, max })
    }
}

impl Session {
    /// Opens a session. There are never more than `max`, because each needs a slot.
    fn open(counts: &Arc<Counts>) -> Self {
        let before = counts.open.fetch_add(1, SeqCst);
        assert!(before < counts.max, "{} sessions", before + 1);
        Self(Arc::clone(counts))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, SeqCst);
    }
}

impl Vacate for Session {
    fn vacate(self, slot: Slot<Self>) {
        drop(self);
        drop(slot);
    }
}

fn close_all(slots: Vec<Slot<Session>>) {
    for mut slot in slots {
        drop(slot.value.take());
    }
}

/// Takes a slot, opens a session in it if it is empty, and returns it.
fn use_one(slots: &Slots<Session>, counts: &Arc<Counts>) -> Result<(), Refused> {
    let mut slot = block_on(slots.take(None))?;
    if slot.value.is_none() {
        slot.value = Some(Session::open(counts));
    }
    drop(slot);
    Ok(())
}

/// Starts to take, and cancels at once if there is nothing.
fn cancel_one(slots: &Slots<Session>, counts: &Arc<Counts>) {
    let mut taking = pin!(slots.take(None));
    let polled = poll_once(taking.as_mut(), Waker::noop());
    if let Poll::Ready(Ok(mut slot)) = polled {
        slot.value.get_or_insert_with(|| Session::open(counts));
    }
}

fn poll_once<F: Future>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

/// Checks that `max` slots can be taken at the end, and no more.
fn nothing_is_lost(slots: &Slots<Session>, max: usize) {
    let all: Vec<_> = std::iter::from_fn(|| slots.try_take()).collect();
    assert_eq!(all.len(), max);
    assert_eq!(slots.sizes().waiting, 0);
}

fn threads(bound: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = bound;
    builder.check(model);
}

#[test]
fn takers_beside_each_other() {
    threads(None, || {
        let (slots, counts) = (Slots::new(1), Counts::new(1));
        let other = {
            let (slots, counts) = (slots.clone(), Arc::clone(&counts));
            thread::spawn(move || use_one(&slots, &counts).unwrap())
        };
        use_one(&slots, &counts).unwrap();
        other.join().unwrap();
        nothing_is_lost(&slots, 1);
    });
}

#[test]
fn three_takers_of_one_slot() {
    threads(Some(2), || {
        let (slots, counts) = (Slots::new(1), Counts::new(1));
        let others = [(); 2].map(|()| {
            let (slots, counts) = (slots.clone(), Arc::clone(&counts));
            thread::spawn(move || use_one(&slots, &counts).unwrap())
        });
        use_one(&slots, &counts).unwrap();
        for other in others {
            other.join().unwrap();
        }
        nothing_is_lost(&slots, 1);
    });
}

#[test]
fn a_waiter_goes_away_while_a_slot_returns() {
    threads(Some(3), || {
        let (slots, counts) = (Slots::new(1), Counts::new(1));
        let cancels = {
            let (slots, counts) = (slots.clone(), Arc::clone(&counts));
            thread::spawn(move || cancel_one(&slots, &counts))
        };
        let waits = {
            let (slots, counts) = (slots.clone(), Arc::clone(&counts));
            thread::spawn(move || use_one(&slots, &counts).unwrap())
        };
        use_one(&slots, &counts).unwrap();
        cancels.join().unwrap();
        waits.join().unwrap();
        nothing_is_lost(&slots, 1);
    });
}

#[test]
fn a_close_beside_takers() {
    threads(Some(3), || {
        let (slots, counts) = (Slots::new(1), Counts::new(1));
        let taker = || {
            let (slots, counts) = (slots.clone(), Arc::clone(&counts));
            thread::spawn(move || {
                let used = use_one(&slots, &counts);
                assert!(used.is_ok() || (used == Err(Refused::Closed) && slots.is_closed()));
            })
        };
        let takers = [taker(), taker()];
        close_all(slots.close());
        assert!(slots.try_take().is_none());
        assert_eq!(use_one(&slots, &counts), Err(Refused::Closed));
        for taker in takers {
            taker.join().unwrap();
        }
        assert_eq!(counts.open.load(SeqCst), 0, "a session is left");
        assert_eq!(slots.sizes().taken, 0);
    });
}

#[test]
fn a_resize_down_and_up_beside_takers() {
    threads(Some(2), || {
        let (slots, counts) = (Slots::new(2), Counts::new(2));
        let taker = || {
            let (slots, counts) = (slots.clone(), Arc::clone(&counts));
            thread::spawn(move || use_one(&slots, &counts).unwrap())
        };
        let takers = [taker(), taker()];
        close_all(slots.resize(1));
        close_all(slots.resize(2));
        for taker in takers {
            taker.join().unwrap();
        }
        nothing_is_lost(&slots, 2);
    });
}

#[test]
fn a_pool_without_slots_gets_one() {
    threads(Some(3), || {
        let (slots, counts) = (Slots::new(0), Counts::new(1));
        let taker = || {
            let (slots, counts) = (slots.clone(), Arc::clone(&counts));
            thread::spawn(move || use_one(&slots, &counts).unwrap())
        };
        let takers = [taker(), taker()];
        close_all(slots.resize(1));
        for taker in takers {
            taker.join().unwrap();
        }
        nothing_is_lost(&slots, 1);
    });
}

#[test]
fn a_deadline_beside_a_return() {
    threads(Some(3), || {
        let (slots, counts) = (Slots::new(1), Counts::new(1));
        let mut held = slots.try_take().unwrap();
        held.value = Some(Session::open(&counts));
        let now = Instant::now();
        let waits = {
            let slots = slots.clone();
            thread::spawn(move || match block_on(slots.take(Some(now))) {
                Ok(slot) => drop(slot),
                Err(why) => assert_eq!(why, Refused::TimedOut),
            })
        };
        let expires = {
            let slots = slots.clone();
            thread::spawn(move || slots.expire(now + Duration::from_secs(1)))
        };
        drop(held);
        waits.join().unwrap();
        expires.join().unwrap();
        nothing_is_lost(&slots, 1);
    });
}

#[test]
fn the_timer_is_woken_by_the_first_who_waits_or_by_the_close() {
    threads(Some(3), || {
        let slots: Slots<Session> = Slots::new(1);
        let _held = slots.try_take();
        let now = Instant::now();
        let waits = {
            let slots = slots.clone();
            thread::spawn(move || {
                let taken = block_on(slots.take(Some(now)));
                assert!(matches!(taken, Err(Refused::TimedOut | Refused::Closed)));
            })
        };
        let closes = {
            let slots = slots.clone();
            thread::spawn(move || close_all(slots.close()))
        };
        // Runs until the close; a lost wake-up hangs the model.
        while let Some(deadline) =
            block_on(std::future::poll_fn(|context| slots.poll_deadline(context)))
        {
            slots.expire(deadline);
        }
        waits.join().unwrap();
        closes.join().unwrap();
    });
}

#[test]
fn a_waiter_is_woken_through_the_waker_of_its_last_poll() {
    struct Counted(std::sync::atomic::AtomicUsize);
    impl Wake for Counted {
        fn wake(self: StdArc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }
    threads(None, || {
        let slots: Slots<Session> = Slots::new(1);
        let held = slots.try_take();
        let first = StdArc::new(Counted(0.into()));
        let last = StdArc::new(Counted(0.into()));
        let mut taking = pin!(slots.take(None));
        assert!(poll_once(taking.as_mut(), &Waker::from(StdArc::clone(&first))).is_pending());
        assert!(poll_once(taking.as_mut(), &Waker::from(StdArc::clone(&last))).is_pending());
        let returns = thread::spawn(move || drop(held));
        returns.join().unwrap();
        let wakes = [&first, &last].map(|waker| waker.0.load(std::sync::atomic::Ordering::SeqCst));
        assert_eq!(wakes, [0, 1]);
        assert!(poll_once(taking.as_mut(), Waker::noop()).is_ready());
    });
}
