//! The one timer of a pool, which ends waits at their deadlines.
//!
//! The timer is a task on the pool's runtime. Without waiters it sleeps without a limit. The first waiter wakes it, and it
//! sleeps until that waiter's deadline. Later waiters have later deadlines, because all have the same limit. So the timer
//! wakes at most once in each `acquire_timeout`, however many tasks wait.
//!
//! The timer sleeps for a duration of the runtime's clock and then takes the deadline as reached, because no other clock
//! would agree with a paused one (`tokio::time::pause`). A waiter on another runtime has a timer of its own besides, because
//! the pool's runtime may stand still while it waits.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

use super::slots::{Slots, Vacate};

/// Ends waits at their deadlines, until the slots are closed or dropped. `slots` returns `None` once they are dropped, so
/// that this task does not keep them alive.
pub(crate) fn watch<T: Vacate>(
    slots: impl Fn() -> Option<Slots<T>> + Send + Sync,
) -> impl Future<Output = ()> + Send
where
    Slots<T>: Send,
{
    async move {
        loop {
            let next = poll_fn(|context| match slots() {
                Some(slots) => slots.poll_deadline(context),
                None => Poll::Ready(None),
            });
            let Some(deadline) = next.await else { return };
            let mut sleep = pin!(tokio::time::sleep(
                deadline.saturating_duration_since(Instant::now())
            ));
            poll_fn(|context| {
                // The close wakes this task too, so that it does not sleep until a deadline that may be hours away.
                if slots().is_none_or(|slots| slots.is_closed()) {
                    return Poll::Ready(());
                }
                sleep.as_mut().poll(context)
            })
            .await;
            let Some(slots) = slots() else { return };
            slots.expire(deadline.max(Instant::now()));
        }
    }
}
