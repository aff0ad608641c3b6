//! Slots, each the right to have one session on the server, and the queue for them.
//!
//! This file is independent of databases. A slot holds a value, which is the pool's connection, or is empty; a task that
//! takes an empty slot opens a connection for it. Unused values are in the *idle queue*; waiting tasks are *waiters*.
//!
//! # Promises
//!
//! 1. **Never more than `max`.** Taken slots and idle values together are at most `max`. After a [`resize`](Slots::resize)
//!    to less than the number in use, the excess is closed as the slots return, and no task gets a slot before. A slot stays
//!    taken until its value is closed, so the sum counts sessions that exist. No more values are closed than exceed `max`.
//! 2. **Woken once, nothing lost.** A waiter is woken once: for a slot, for its deadline or for the close. A dropped waiter
//!    is removed; if it had just been given a slot, the slot goes to the next waiter.
//! 3. **First come, first served.** A returned slot is assigned directly to the waiter at the front, and no running task
//!    overtakes a waiter: the bound of overtaking is zero.
//! 4. **[`close`](Slots::close) is at once.** After it, no take succeeds. Every waiter is woken; values that return later
//!    are closed.
//! 5. **One deadline.** All waiters have the same limit, so the waiter at the front has the earliest deadline, and one timer
//!    serves all ([`deadline`](super::deadline)).
//!
//! # The lock
//!
//! One lock protects everything here. It is held for a few assignments, never across an await, a wake, or the drop of a
//! value. No other lock is taken inside of it.
//!
//! Checked in `tests/slots` by loom's models, by long random sequences against a simple model, and by mutations.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::queue::Queue;
use super::sync::{Arc, Mutex, MutexGuard};

/// A value that a slot can hold.
pub(crate) trait Vacate: Sized {
    /// Closes a value that its slot cannot keep, because of a close or a resize. The slot is empty, and is dropped when
    /// the value is closed.
    fn vacate(self, slot: Slot<Self>);
}

/// The slots of one pool. Cheap to clone.
pub(crate) struct Slots<T: Vacate>(Arc<SlotsInner<T>>);

struct SlotsInner<T: Vacate>(Mutex<SlotsState<T>>);

struct SlotsState<T> {
    max: usize,
    /// Slots taken by tasks or assigned to waiters. Together with `idle` at most `max`, except after a resize.
    taken: usize,
    /// Taken slots whose value is being closed because of a resize or a close.
    leaving: usize,
    /// Idle values, the most recently used last. Empty while there are waiters.
    idle: Vec<T>,
    waiters: Queue<Waiter<T>>,
    closed: bool,
    timer: Timer,
    /// Takes that got a slot. Counted here, under the lock that is held anyway.
    served: u64,
}

/// The task that ends waits at their deadlines.
#[derive(Default)]
struct Timer {
    task: Option<Waker>,
    /// Whether the task sleeps until a deadline, or was woken to look for one. Later waiters have later deadlines.
    armed: bool,
}

struct Waiter<T> {
    deadline: Option<Instant>,
    state: WaiterState<T>,
}

/// The state of a waiter. Only `Waits` is in the queue's order.
enum WaiterState<T> {
    Waits(Waker),
    /// The waiter has a slot with this value.
    Assigned(Option<T>),
    Refused(Refused),
}

/// Why a wait ended without a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Closed,
    TimedOut,
}

/// The numbers of slots at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) max: usize,
    pub(crate) taken: usize,
    pub(crate) idle: usize,
    pub(crate) waiting: usize,
    /// How many futures of [`Slots::take`] have returned a slot.
    pub(crate) served: u64,
}

/// A slot taken by a task, or by a task of the pool that opens, recovers or closes its connection.
///
/// Dropping a slot assigns it to the waiter at the front, or else puts its value into the idle queue.
pub(crate) struct Slot<T: Vacate> {
    shared: Arc<SlotsInner<T>>,
    pub(crate) value: Option<T>,
    /// Whether the slot's value is being closed because of a resize or a close.
    leaving: bool,
}

impl<T: Vacate> Slots<T> {
    pub(crate) fn new(max: usize) -> Self {
        Self(Arc::new(SlotsInner(Mutex::new(SlotsState {
            max,
            taken: 0,
            leaving: 0,
            idle: Vec::new(),
            waiters: Queue::new(),
            closed: false,
            timer: Timer::default(),
            served: 0,
        }))))
    }

    /// Takes a slot if one is free: with the most recently used value, or empty if no value is idle. No slot is free while
    /// there are waiters.
    pub(crate) fn try_take(&self) -> Option<Slot<T>> {
        let value = self.0.lock().take()?;
        Some(self.slot(value))
    }

    /// Takes an empty slot if one is free, even if values are idle. No slot is free while there are waiters.
    pub(crate) fn try_take_empty(&self) -> Option<Slot<T>> {
        let mut state = self.0.lock();
        if state.closed || state.size() >= state.max {
            return None;
        }
        state.taken += 1;
        drop(state);
        Some(self.slot(None))
    }

    /// Takes a slot, and waits for it up to `deadline`, when [`expire`](Self::expire) ends the wait.
    ///
    /// # Cancellation
    ///
    /// The future may be dropped at any time. A slot that it was assigned and has not returned goes to the next waiter.
    pub(crate) fn take(&self, deadline: Option<Instant>) -> Taking<'_, T> {
        Taking {
            slots: self,
            deadline,
            key: None,
        }
    }

    /// Takes the idle values that `choose` accepts, each with its slot, the least recently used first.
    pub(crate) fn take_idle(&self, mut choose: impl FnMut(&T) -> bool) -> Vec<Slot<T>> {
        let mut state = self.0.lock();
        let chosen: Vec<T> = state.idle.extract_if(.., |value| choose(value)).collect();
        state.taken += chosen.len();
        drop(state);
        self.slots_of(chosen, false)
    }

    /// Changes the maximum number of slots, and returns the excess idle ones, which the caller closes.
    #[must_use = "the slots are to be closed"]
    pub(crate) fn resize(&self, max: usize) -> Vec<Slot<T>> {
        let mut state = self.0.lock();
        state.max = max;
        let excess = state.staying().saturating_sub(max).min(state.idle.len());
        let values: Vec<T> = state.idle.drain(..excess).collect();
        state.taken += values.len();
        state.leaving += values.len();
        let mut woken = Vec::new();
        while let Some(waker) = state.assign_free() {
            woken.push(waker);
        }
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        self.slots_of(values, true)
    }

    /// Refuses every take from now on, wakes every waiter, and returns the idle slots, which the caller closes.
    #[must_use = "the slots are to be closed"]
    pub(crate) fn close(&self) -> Vec<Slot<T>> {
        let mut state = self.0.lock();
        state.closed = true;
        let mut values = std::mem::take(&mut state.idle);
        state.taken += values.len();
        let mut woken: Vec<Waker> = state.timer.task.take().into_iter().collect();
        let mut returned = 0;
        for waiter in state.waiters.pop_all() {
            match std::mem::replace(&mut waiter.state, WaiterState::Refused(Refused::Closed)) {
                WaiterState::Waits(waker) => woken.push(waker),
                // The waiter was woken for the slot, and gets the close instead.
                WaiterState::Assigned(Some(value)) => values.push(value),
                WaiterState::Assigned(None) => returned += 1,
                WaiterState::Refused(why) => waiter.state = WaiterState::Refused(why),
            }
        }
        state.taken -= returned;
        state.leaving += values.len();
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        self.slots_of(values, true)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.lock().closed
    }

    pub(crate) fn sizes(&self) -> Sizes {
        let state = self.0.lock();
        Sizes {
            max: state.max,
            taken: state.taken,
            idle: state.idle.len(),
            waiting: state.waiters.len(),
            served: state.served,
        }
    }

    /// Ends the waits whose deadline is not after `now`.
    pub(crate) fn expire(&self, now: Instant) {
        let mut state = self.0.lock();
        let mut woken = Vec::new();
        while let Some(Waiter {
            deadline: Some(deadline),
            ..
        }) = state.waiters.front()
            && *deadline <= now
            && let Some(waiter) = state.waiters.pop_front()
        {
            let timed_out = WaiterState::Refused(Refused::TimedOut);
            if let WaiterState::Waits(waker) = std::mem::replace(&mut waiter.state, timed_out) {
                woken.push(waker);
            }
        }
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    /// The earliest deadline of a waiter, `None` when the slots are closed. Pending without waiters.
    ///
    /// Only one task may poll. It is woken by the first waiter and by the close, also after it was given a deadline.
    pub(crate) fn poll_deadline(&self, context: &mut Context<'_>) -> Poll<Option<Instant>> {
        let mut state = self.0.lock();
        if state.closed {
            return Poll::Ready(None);
        }
        let deadline = state.waiters.front().and_then(|waiter| waiter.deadline);
        state.timer.armed = deadline.is_some();
        let old = state.timer.task.replace(context.waker().clone());
        drop(state);
        drop(old);
        deadline.map_or(Poll::Pending, |deadline| Poll::Ready(Some(deadline)))
    }

    fn slot(&self, value: Option<T>) -> Slot<T> {
        Slot {
            shared: Arc::clone(&self.0),
            value,
            leaving: false,
        }
    }

    fn slots_of(&self, values: Vec<T>, leaving: bool) -> Vec<Slot<T>> {
        let slot = |value| Slot {
            shared: Arc::clone(&self.0),
            value: Some(value),
            leaving,
        };
        values.into_iter().map(slot).collect()
    }
}

impl<T: Vacate> Clone for Slots<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Vacate> SlotsInner<T> {
    fn lock(&self) -> MutexGuard<'_, SlotsState<T>> {
        // Nothing panics while the lock is held, except `choose` of `take_idle`, which changes nothing.
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl<T> SlotsState<T> {
    /// The number of sessions that exist or may be opened.
    fn size(&self) -> usize {
        self.taken + self.idle.len()
    }

    /// [`size`](Self::size) without the slots whose value is being closed.
    fn staying(&self) -> usize {
        self.size() - self.leaving
    }

    /// Takes a free slot; the outer `None` if there is none. While there are waiters, nothing is idle and no slot is free.
    #[allow(
        clippy::option_option,
        reason = "a slot there is, and a value in it: two questions"
    )]
    fn take(&mut self) -> Option<Option<T>> {
        if self.closed {
            return None;
        }
        let value = self.idle.pop();
        if value.is_none() && self.size() >= self.max {
            return None;
        }
        self.taken += 1;
        Some(value)
    }

    /// Assigns a taken slot to the waiter at the front, and returns its waker.
    fn assign(&mut self, value: Option<T>) -> Option<Waker> {
        let waiter = self.waiters.pop_front()?;
        match std::mem::replace(&mut waiter.state, WaiterState::Assigned(value)) {
            WaiterState::Waits(waker) => Some(waker),
            WaiterState::Assigned(_) | WaiterState::Refused(_) => {
                unreachable!("only those that wait are in the order")
            }
        }
    }

    /// Takes a slot back. Returns the waker to wake, and a value that cannot be kept, whose slot stays taken.
    fn give_back(&mut self, value: Option<T>, leaving: bool) -> (Option<Waker>, Option<T>) {
        self.leaving -= usize::from(leaving);
        let Some(value) = value else {
            self.taken -= 1;
            return (self.assign_free(), None);
        };
        if self.closed || self.staying() > self.max {
            self.leaving += 1;
            return (None, Some(value));
        }
        if !self.waiters.is_empty() {
            return (self.assign(Some(value)), None);
        }
        self.taken -= 1;
        self.idle.push(value);
        (None, None)
    }

    /// Assigns a free slot to the waiter at the front, if there are both.
    fn assign_free(&mut self) -> Option<Waker> {
        if self.size() >= self.max {
            return None;
        }
        let waker = self.assign(None)?;
        self.taken += 1;
        Some(waker)
    }
}

impl<T: Vacate> Drop for Slot<T> {
    fn drop(&mut self) {
        let value = self.value.take();
        let (woken, refused) = self.shared.lock().give_back(value, self.leaving);
        if let Some(waker) = woken {
            waker.wake();
        }
        if let Some(value) = refused {
            let shared = Arc::clone(&self.shared);
            value.vacate(Slot {
                shared,
                value: None,
                leaving: true,
            });
        }
    }
}

impl<T: Vacate> Drop for SlotsInner<T> {
    /// Wakes the task that watches the deadlines, which then ends.
    fn drop(&mut self) {
        let timer = self.lock().timer.task.take();
        if let Some(timer) = timer {
            timer.wake();
        }
    }
}

/// The future of [`Slots::take`].
#[must_use = "a future does nothing until it is awaited"]
pub(crate) struct Taking<'a, T: Vacate> {
    slots: &'a Slots<T>,
    deadline: Option<Instant>,
    /// The waiter's key, while there is one.
    key: Option<usize>,
}

impl<T: Vacate> Future for Taking<'_, T> {
    type Output = Result<Slot<T>, Refused>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.key {
            None => self.begin(context),
            Some(key) => self.look(key, context),
        }
    }
}

impl<T: Vacate> Taking<'_, T> {
    /// Takes a slot, or becomes a waiter.
    fn begin(&mut self, context: &mut Context<'_>) -> Poll<Result<Slot<T>, Refused>> {
        let mut state = self.slots.0.lock();
        if state.closed {
            return Poll::Ready(Err(Refused::Closed));
        }
        if let Some(value) = state.take() {
            state.served += 1;
            drop(state);
            return Poll::Ready(Ok(self.slots.slot(value)));
        }
        self.key = Some(state.waiters.push_back(Waiter {
            deadline: self.deadline,
            state: WaiterState::Waits(context.waker().clone()),
        }));
        let timer = if self.deadline.is_some() && !state.timer.armed {
            state.timer.armed = true;
            state.timer.task.clone()
        } else {
            None
        };
        drop(state);
        if let Some(timer) = timer {
            timer.wake();
        }
        Poll::Pending
    }

    /// Checks the state of the wait.
    fn look(&mut self, key: usize, context: &mut Context<'_>) -> Poll<Result<Slot<T>, Refused>> {
        let mut state = self.slots.0.lock();
        if let Some(Waiter {
            state: WaiterState::Waits(waker),
            ..
        }) = state.waiters.get_mut(key)
        {
            // The old waker is dropped outside of the lock, because it may hold the last reference to its task.
            let old = (!waker.will_wake(context.waker()))
                .then(|| std::mem::replace(waker, context.waker().clone()));
            drop(state);
            drop(old);
            return Poll::Pending;
        }
        let waiter = state.waiters.remove(key);
        if matches!(
            &waiter,
            Some(Waiter {
                state: WaiterState::Assigned(_),
                ..
            })
        ) {
            state.served += 1;
        }
        drop(state);
        self.key = None;
        Poll::Ready(match waiter.map(|waiter| waiter.state) {
            Some(WaiterState::Assigned(value)) => Ok(self.slots.slot(value)),
            Some(WaiterState::Refused(why)) => Err(why),
            Some(WaiterState::Waits(_)) | None => {
                unreachable!("its entry stays until here, and was looked at")
            }
        })
    }
}

impl<T: Vacate> Drop for Taking<'_, T> {
    fn drop(&mut self) {
        let Some(key) = self.key.take() else { return };
        let waiter = self.slots.0.lock().waiters.remove(key);
        if let Some(WaiterState::Assigned(value)) = waiter.map(|waiter| waiter.state) {
            drop(self.slots.slot(value));
        }
    }
}
