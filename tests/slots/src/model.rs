//! Long random sequences, compared with a simple model: vectors, no wakers, no keys.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::with_std::slots::{Refused, Slot, Slots, Vacate};

/// A value that records when it must be closed. The test ends the close.
struct Value {
    number: u32,
    closing: Closing,
}

/// Slots whose value is being closed, and whether the reason is that the value is one too many.
type Closing = Rc<RefCell<Vec<(bool, Slot<Value>)>>>;

impl Vacate for Value {
    fn vacate(self, slot: Slot<Self>) {
        self.closing.borrow_mut().push((true, slot));
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// A new task starts to take.
    Take,
    TryTake,
    TryTakeEmpty,
    /// A task is polled again, whether it was woken or not.
    Poll(prop::sample::Index),
    /// A task is cancelled.
    Cancel(prop::sample::Index),
    /// A slot returns with a value, or empty.
    Return(prop::sample::Index, bool),
    /// The close of a value ends.
    Closed(prop::sample::Index),
    Resize(usize),
    TakeIdle(u32),
    /// A second passes, and the timer expires waiters.
    Expire,
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    let any_index = any::<prop::sample::Index>;
    prop_oneof![
        12 => Just(Step::Take),
        2 => Just(Step::TryTake),
        1 => Just(Step::TryTakeEmpty),
        8 => any_index().prop_map(Step::Poll),
        3 => any_index().prop_map(Step::Cancel),
        12 => (any_index(), any::<bool>()).prop_map(|(index, full)| Step::Return(index, full)),
        3 => any_index().prop_map(Step::Closed),
        2 => (0_usize..6).prop_map(Step::Resize),
        1 => (0_u32..3).prop_map(Step::TakeIdle),
        1 => Just(Step::Expire),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    (
        prop::collection::vec(step(), 0..300),
        any::<bool>(),
        prop::collection::vec(step(), 0..30),
    )
        .prop_map(|(mut steps, close, after)| {
            if close {
                steps.push(Step::Close);
                steps.extend(after);
            }
            steps
        })
}

/// The state of a waiting task in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WaiterState {
    Waits,
    Assigned(Option<u32>),
    Refused(Refused),
}

#[derive(Default)]
struct Model {
    max: usize,
    /// Slots in use or handed over, including those whose values are being closed.
    taken: usize,
    leaving: usize,
    idle: Vec<u32>,
    order: VecDeque<usize>,
    waiters: BTreeMap<usize, (u64, WaiterState)>,
    closed: bool,
}

impl Model {
    fn size(&self) -> usize {
        self.taken + self.idle.len()
    }

    fn take(&mut self) -> Option<Option<u32>> {
        if self.closed || !self.order.is_empty() {
            return None;
        }
        if let Some(value) = self.idle.pop() {
            self.taken += 1;
            return Some(Some(value));
        }
        (self.size() < self.max).then(|| {
            self.taken += 1;
            None
        })
    }

    /// Returns whether the value must be closed.
    fn give_back(&mut self, value: Option<u32>) -> bool {
        if value.is_none() {
            self.taken -= 1;
            self.serve();
            return false;
        }
        if self.closed || self.size() - self.leaving > self.max {
            self.leaving += 1;
            return true;
        }
        if let Some(first) = self.order.pop_front() {
            self.waiters.get_mut(&first).expect("it waits").1 = WaiterState::Assigned(value);
        } else {
            self.taken -= 1;
            self.idle.extend(value);
        }
        false
    }

    /// Gives free slots to waiters.
    fn serve(&mut self) {
        while self.size() < self.max
            && let Some(first) = self.order.pop_front()
        {
            self.taken += 1;
            self.waiters.get_mut(&first).expect("it waits").1 = WaiterState::Assigned(None);
        }
    }
}

struct Task {
    number: usize,
    future: Pin<Box<dyn Future<Output = Result<Slot<Value>, Refused>>>>,
    wakes: Arc<Wakes>,
}

struct Both {
    slots: &'static Slots<Value>,
    closing: Closing,
    out: Vec<Slot<Value>>,
    tasks: Vec<Task>,
    model: Model,
    created: Instant,
    seconds: u64,
    next_task: usize,
    next_value: u32,
    /// The greatest `max` since the sessions last fit into `max`.
    allowed: usize,
}

const LIMIT: u64 = 3;

impl Both {
    fn at(&self, second: u64) -> Instant {
        self.created + Duration::from_secs(second)
    }

    /// Checks that a taken slot has the value of the model.
    fn got(&mut self, mut slot: Slot<Value>, expected: Option<u32>) {
        assert_eq!(slot.value.as_ref().map(|value| value.number), expected);
        if slot.value.is_none() {
            slot.value = Some(Value {
                number: self.next_value,
                closing: Rc::clone(&self.closing),
            });
            self.next_value += 1;
        }
        self.out.push(slot);
    }

    fn poll(&mut self, index: usize) {
        let task = &mut self.tasks[index];
        let waker = Waker::from(Arc::clone(&task.wakes));
        let polled = task.future.as_mut().poll(&mut Context::from_waker(&waker));
        let number = task.number;
        let begins = !self.model.waiters.contains_key(&number);
        if begins {
            let expected = if self.model.closed {
                Some(Err(Refused::Closed))
            } else {
                self.model.take().map(Ok)
            };
            match (polled, expected) {
                (Poll::Pending, None) => {
                    self.model.order.push_back(number);
                    self.model
                        .waiters
                        .insert(number, (self.seconds + LIMIT, WaiterState::Waits));
                }
                (Poll::Ready(Ok(slot)), Some(Ok(value))) => {
                    drop(self.tasks.remove(index));
                    self.got(slot, value);
                }
                (Poll::Ready(Err(why)), Some(Err(expected))) => {
                    assert_eq!(why, expected);
                    drop(self.tasks.remove(index));
                }
                (polled, expected) => {
                    panic!("{:?} and not {expected:?}", polled.map(|got| got.map(drop)))
                }
            }
            return;
        }
        let (_, state) = self.model.waiters[&number];
        if state == WaiterState::Waits {
            assert!(polled.is_pending());
            return;
        }
        // Woken exactly once, also if the close took the slot away again.
        let wakes = self.tasks[index].wakes.0.load(Relaxed);
        assert_eq!(wakes, 1, "woken {wakes} times for {state:?}");
        self.model.waiters.remove(&number);
        drop(self.tasks.remove(index));
        match (polled, state) {
            (Poll::Ready(Ok(slot)), WaiterState::Assigned(value)) => self.got(slot, value),
            (Poll::Ready(Err(why)), WaiterState::Refused(expected)) => assert_eq!(why, expected),
            (polled, state) => panic!("{:?} and not {state:?}", polled.map(|got| got.map(drop))),
        }
    }

    fn play(&mut self, step: Step) {
        match step {
            Step::Take => {
                let deadline = self.at(self.seconds + LIMIT);
                self.tasks.push(Task {
                    number: self.next_task,
                    future: Box::pin(self.slots.take(Some(deadline))),
                    wakes: Arc::default(),
                });
                self.next_task += 1;
                self.poll(self.tasks.len() - 1);
            }
            Step::TryTake => {
                let expected = self.model.take();
                let got = self.slots.try_take();
                assert_eq!(got.is_some(), expected.is_some());
                if let (Some(slot), Some(value)) = (got, expected) {
                    self.got(slot, value);
                }
            }
            Step::TryTakeEmpty => {
                let model = &mut self.model;
                let free = !model.closed && model.order.is_empty() && model.size() < model.max;
                model.taken += usize::from(free);
                let got = self.slots.try_take_empty();
                assert_eq!(got.is_some(), free);
                if let Some(slot) = got {
                    self.got(slot, None);
                }
            }
            Step::Poll(index) if !self.tasks.is_empty() => self.poll(index.index(self.tasks.len())),
            Step::Cancel(index) if !self.tasks.is_empty() => {
                let task = self.tasks.remove(index.index(self.tasks.len()));
                self.model.order.retain(|number| *number != task.number);
                if let Some((_, WaiterState::Assigned(value))) =
                    self.model.waiters.remove(&task.number)
                {
                    self.model.give_back(value);
                }
                drop(task);
            }
            Step::Return(index, full) if !self.out.is_empty() => {
                let mut slot = self.out.swap_remove(index.index(self.out.len()));
                if !full {
                    slot.value = None;
                }
                let value = slot.value.as_ref().map(|value| value.number);
                self.model.give_back(value);
                drop(slot);
            }
            Step::Closed(index) if !self.closing.borrow().is_empty() => {
                let index = index.index(self.closing.borrow().len());
                let (leaving, slot) = self.closing.borrow_mut().swap_remove(index);
                self.model.leaving -= usize::from(leaving);
                self.model.give_back(None);
                drop(slot);
            }
            Step::Resize(max) => {
                self.allowed = self.allowed.max(max);
                self.model.max = max;
                let mut excess = Vec::new();
                while self.model.size() - self.model.leaving > max && !self.model.idle.is_empty() {
                    excess.push(self.model.idle.remove(0));
                    self.model.taken += 1;
                    self.model.leaving += 1;
                }
                self.model.serve();
                let slots = self.slots.resize(max);
                self.close_all(slots, &excess, true);
            }
            Step::TakeIdle(rest) => {
                let chosen: Vec<u32> = self
                    .model
                    .idle
                    .extract_if(.., |number| *number % 3 == rest)
                    .collect();
                self.model.taken += chosen.len();
                let slots = self.slots.take_idle(|value| value.number % 3 == rest);
                self.close_all(slots, &chosen, false);
            }
            Step::Expire => {
                self.seconds += 1;
                while let Some(first) = self.model.order.front()
                    && let Some((deadline, state)) = self.model.waiters.get_mut(first)
                    && *deadline <= self.seconds
                {
                    *state = WaiterState::Refused(Refused::TimedOut);
                    self.model.order.pop_front();
                }
                self.slots.expire(self.at(self.seconds));
            }
            Step::Close => {
                self.model.closed = true;
                self.model.order.clear();
                let mut values = std::mem::take(&mut self.model.idle);
                self.model.taken += values.len();
                for (_, state) in self.model.waiters.values_mut() {
                    match *state {
                        WaiterState::Waits => {}
                        WaiterState::Assigned(Some(value)) => values.push(value),
                        WaiterState::Assigned(None) => self.model.taken -= 1,
                        WaiterState::Refused(_) => continue,
                    }
                    *state = WaiterState::Refused(Refused::Closed);
                }
                let slots = self.slots.close();
                values.sort_unstable();
                self.model.leaving += values.len();
                self.close_all(slots, &values, true);
            }
            _ => {}
        }
    }

    /// Checks that the values to close are those of the model.
    fn close_all(&mut self, slots: Vec<Slot<Value>>, expected: &[u32], leaving: bool) {
        let mut closing = self.closing.borrow_mut();
        let mut numbers = Vec::new();
        for mut slot in slots {
            let value = slot
                .value
                .take()
                .expect("only slots with values are to be closed");
            numbers.push(value.number);
            closing.push((leaving, slot));
        }
        if self.model.closed {
            numbers.sort_unstable();
        }
        assert_eq!(numbers, expected);
    }

    /// Checks the promises after every step.
    fn check(&mut self) {
        let sizes = self.slots.sizes();
        let model = &self.model;
        assert_eq!(
            (sizes.max, sizes.taken, sizes.idle, sizes.waiting),
            (model.max, model.taken, model.idle.len(), model.order.len())
        );
        // The count from outside, independent of the counters.
        let handed = model
            .waiters
            .values()
            .filter(|(_, state)| matches!(state, WaiterState::Assigned(_)))
            .count();
        let sessions = self.out.len() + self.closing.borrow().len() + handed + sizes.idle;
        assert_eq!(sessions, sizes.taken + sizes.idle);
        // No value is closed while there is room for it.
        let too_many = self
            .closing
            .borrow()
            .iter()
            .filter(|(leaving, _)| *leaving)
            .count();
        assert_eq!(too_many, model.leaving);
        assert!(
            sessions <= self.allowed,
            "{sessions} sessions, {} allowed",
            self.allowed
        );
        if sessions <= sizes.max {
            self.allowed = sizes.max;
        }
        assert!(
            sizes.waiting == 0 || (sizes.idle == 0 && sizes.taken >= sizes.max),
            "somebody waits for nothing: {sizes:?}"
        );
        let mut context = Context::from_waker(Waker::noop());
        let deadline = match self.slots.poll_deadline(&mut context) {
            Poll::Ready(None) => {
                assert!(model.closed);
                return;
            }
            Poll::Ready(deadline) => deadline,
            Poll::Pending => None,
        };
        let first = model
            .order
            .front()
            .map(|first| self.at(model.waiters[first].0));
        assert_eq!(deadline, first);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_is_as_the_model_says(max in 0_usize..6, steps in steps()) {
        // For tasks that borrow the slots; the test leaks a few bytes.
        let slots: &'static Slots<Value> = Box::leak(Box::new(Slots::new(max)));
        let mut both = Both {
            slots,
            closing: Rc::default(),
            out: Vec::new(),
            tasks: Vec::new(),
            model: Model { max, ..Model::default() },
            created: Instant::now(),
            seconds: 0,
            next_task: 0,
            next_value: 0,
            allowed: max,
        };
        for step in steps {
            both.play(step);
            both.check();
        }
        // Nothing is lost: after all returns, all of `max` can be taken at once.
        both.tasks.clear();
        both.out.clear();
        loop {
            let Some((_, slot)) = both.closing.borrow_mut().pop() else { break };
            drop(slot);
        }
        let all: Vec<_> = std::iter::from_fn(|| slots.try_take()).collect();
        prop_assert_eq!(all.len(), if slots.is_closed() { 0 } else { slots.sizes().max });
        both.closing.borrow_mut().clear();
    }
}
