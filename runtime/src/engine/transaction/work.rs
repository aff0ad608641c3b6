//! The bound of closures that a transaction runs.

use std::future::Future;

/// What a transaction can run: an async closure such as `async |tx| { … }`, or a function.
///
/// It is implemented for each of them, and for nothing else.
///
/// # Why it exists
///
/// A transaction needs a closure whose future is `Send` and may borrow the transaction and the closure's surroundings.
/// `AsyncFnOnce(A) -> R` allows the borrow, but stable Rust cannot yet name its future and require `Send` (return type
/// notation, <https://github.com/rust-lang/rust/issues/109417>). An async closure also implements `FnOnce(A) -> impl Future`,
/// whose future an associated type can name; with that bound alone the compiler does not infer the borrow. Both bounds together
/// do both. With return type notation in the language, this trait can go.
#[diagnostic::on_unimplemented(
    message = "a transaction cannot run this",
    label = "not an async closure of one `&mut Transaction`",
    note = "write `async |tx| {{ …; Ok(()) }}`, or `async move |tx| {{ … }}` for a closure that a spawned task owns; a boxed future is written no more"
)]
pub trait Work<A, R>: AsyncFnOnce(A) -> R + FnOnce(A) -> <Self as Work<A, R>>::Fut {
    /// The closure's future.
    type Fut: Future<Output = R>;
}

impl<F, A, R, Fut> Work<A, R> for F
where
    F: AsyncFnOnce(A) -> R + FnOnce(A) -> Fut,
    Fut: Future<Output = R>,
{
    type Fut = Fut;
}

/// The source of the work for each try of a transaction.
pub(super) trait Tries<F> {
    fn next(&mut self) -> Option<F>;
}

/// A clone of the work for each try.
pub(super) struct Again<F>(pub(super) F);

impl<F: Clone> Tries<F> for Again<F> {
    fn next(&mut self) -> Option<F> {
        Some(self.0.clone())
    }
}

/// A single try, for work that cannot be cloned.
pub(super) struct Once<F>(pub(super) Option<F>);

impl<F> Tries<F> for Once<F> {
    fn next(&mut self) -> Option<F> {
        self.0.take()
    }
}
