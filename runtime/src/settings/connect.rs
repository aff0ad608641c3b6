//! `connect_with` and `before_connect`: functions of the program that change the driver's own connect options.

use std::any::{Any, TypeId, type_name};
use std::sync::Arc;

use futures_core::future::BoxFuture;
use sqlx::error::BoxDynError;

use super::sources::Source;

type Change<O> = Box<dyn Fn(O) -> O + Send + Sync>;

/// A function that is called before each connect, and may fail.
pub(crate) type Prepare<O> =
    Arc<dyn Fn(O) -> BoxFuture<'static, Result<O, BoxDynError>> + Send + Sync>;

/// A function over the connect options of one driver. Their type is erased; only the caller and the driver know it.
#[derive(Clone)]
pub(crate) struct ConnectHook {
    change: Arc<dyn Any + Send + Sync>,
    /// The function's own type, which identifies a function that captures nothing.
    function: TypeId,
    captures_nothing: bool,
    pub(super) options: &'static str,
    pub(super) source: Source,
}

impl ConnectHook {
    pub(super) fn new<O: 'static, F: Fn(O) -> O + Send + Sync + 'static>(
        change: F,
        source: Source,
    ) -> Self {
        let change: Change<O> = Box::new(change);
        Self::of::<O, F>(Arc::new(change), source)
    }

    /// A hook that is called before each connect; `F` is the type of the program's own function in it.
    pub(super) fn before<O: 'static, F: 'static>(prepare: Prepare<O>, source: Source) -> Self {
        Self::of::<O, F>(Arc::new(prepare), source)
    }

    fn of<O: 'static, F: 'static>(change: Arc<dyn Any + Send + Sync>, source: Source) -> Self {
        Self {
            change,
            function: TypeId::of::<F>(),
            captures_nothing: size_of::<F>() == 0,
            options: type_name::<O>(),
            source,
        }
    }

    /// The function that is called before each connect, if it takes `O`.
    pub(super) fn prepare<O: 'static>(&self) -> Option<Prepare<O>> {
        self.change.downcast_ref::<Prepare<O>>().map(Arc::clone)
    }

    /// The function, if it takes `O`.
    pub(super) fn change<O: 'static>(&self) -> Option<&(dyn Fn(O) -> O + Send + Sync)> {
        self.change.downcast_ref::<Change<O>>().map(AsRef::as_ref)
    }

    /// The function's own type. It is the same in each process of a program, and does not tell what the function captures.
    #[cfg(feature = "testing")]
    pub(super) fn function(&self) -> TypeId {
        self.function
    }

    /// Whether both are the same function, as far as that can be known.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.change, &other.change)
            || (self.captures_nothing && self.function == other.function)
    }
}
