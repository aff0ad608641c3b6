//! Drops a future at each of its await points, or polls it outside any runtime.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

/// Polls a future until it is ready or has been pending `pending` times, and then drops it.
///
/// Every await point that waits counts once, or more often after early wake-ups. With 0 the future is never polled.
///
/// # Cancellation
/// As the future itself.
pub async fn up_to<F: Future>(pending: usize, future: F) -> Option<F::Output> {
    if pending == 0 {
        return None;
    }
    let mut future = pin!(future);
    let mut times = 0;
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => {
            times += 1;
            if times == pending {
                Poll::Ready(None)
            } else {
                Poll::Pending
            }
        }
    })
    .await
}

/// Polls a future to its end, for a thread outside any runtime.
pub fn outside_any_runtime<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::up_to;

    async fn waits_twice() -> u8 {
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        7
    }

    #[tokio::test]
    async fn drops_at_each_await_point_and_then_lets_it_finish() {
        for pending in 0..=2 {
            assert_eq!(up_to(pending, waits_twice()).await, None);
        }
        assert_eq!(up_to(3, waits_twice()).await, Some(7));
    }
}
