//! The one timer of a pool: it ends the waits whose time is over.
//!
//! The timer runs in a task on the pool's runtime. While nobody waits, it sleeps without a time. The first waiter wakes it,
//! and it sleeps until that waiter's deadline; later waiters have later deadlines, because all have the same limit. So
//! it is woken at most once in each `acquire_timeout`, however many wait.
//!
//! It sleeps for a span of the runtime's clock, and takes the deadline for reached when the span is over: on a paused clock
//! (`tokio::time::pause`) no other clock would agree. A waiter on another runtime than the pool's has a timer of its own
//! besides, because nothing says that the pool's runtime is driven while it waits.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

use super::slots::{Slots, Vacate};

/// Watches the deadlines until the slots are closed or gone. `slots` looks whether they are there, so that this does not
/// keep them.
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
                // The close wakes this task too, and it is not to stay for a limit of hours.
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
