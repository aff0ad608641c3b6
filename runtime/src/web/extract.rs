//! The types that a handler can take, and the choice of their engine, for every framework.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use futures_core::future::BoxFuture;

use super::RequestTransactions;
use crate::backend::Backend;
use crate::engine::Engine;
use crate::engine::RequestTransaction;
use crate::error::{Error, UsageError};
use crate::finder::{self, Scope};
use crate::pool::{Checkout, Holder};
use crate::settings::Settings;

/// The name of an engine, as a type: for [`Named`].
///
/// ```
/// struct Reports;
///
/// impl poolhouse::EngineName for Reports {
///     const NAME: &'static str = "reports";
/// }
/// ```
pub trait EngineName: 'static {
    /// The name, as in `#[pool(engine = "reports")]` or `[engines.reports]`.
    const NAME: &'static str;
}

/// Extracts from the engine `N` instead of the engine `default`: `Named<Reports, PgEngine>`,
/// `Named<Reports, RequestTransaction<Postgres>>`, `Named<Reports, Checkout<Postgres>>`.
///
/// It dereferences to the extracted value, which [`into_inner`](Self::into_inner) returns.
pub struct Named<N, T> {
    value: T,
    name: PhantomData<fn() -> N>,
}

impl<N, T> Named<N, T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            value,
            name: PhantomData,
        }
    }

    /// The extracted value.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<N, T> Deref for Named<N, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<N, T> DerefMut for Named<N, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<N: EngineName, T: fmt::Debug> fmt::Debug for Named<N, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple(N::NAME).field(&self.value).finish()
    }
}

/// A type that a handler can take: [`Engine`], [`Checkout`], [`RequestTransaction`]. Sealed.
pub trait Extract: sealed::Sealed + Send + Sized + 'static {
    /// Its database.
    type Database: Backend;

    #[doc(hidden)]
    #[allow(
        private_interfaces,
        reason = "the trait is sealed: what its hidden method takes is for this crate alone"
    )]
    fn extract(
        engine: Engine<Self::Database>,
        asked: Asked,
    ) -> BoxFuture<'static, Result<Self, Error>>;
}

mod sealed {
    use super::{Backend, Checkout, Engine, RequestTransaction};

    pub trait Sealed {}
    impl<DB: Backend> Sealed for Engine<DB> {}
    impl<DB: Backend> Sealed for Checkout<DB> {}
    impl<DB: Backend> Sealed for RequestTransaction<DB> {}
}

/// The data of a request that an extractor needs.
pub(crate) struct Asked {
    /// The name of the request, from [`request_name`].
    pub(crate) request: String,
    /// `None` when the application has no layer for them.
    pub(crate) transactions: Option<RequestTransactions>,
    /// The line of code that adds the layer.
    pub(crate) layer: &'static str,
}

/// What logs and errors call a request: its method and its route. Not its path, which may contain secrets, such as a token.
pub(crate) fn request_name(method: impl fmt::Display, route: Option<&str>) -> String {
    match route {
        Some(route) => format!("{method} {route}"),
        None => format!("{method} without a route"),
    }
}

#[allow(private_interfaces, reason = "as in the trait")]
impl<DB: Backend> Extract for Engine<DB> {
    type Database = DB;

    fn extract(engine: Engine<DB>, _: Asked) -> BoxFuture<'static, Result<Self, Error>> {
        Box::pin(async move { Ok(engine) })
    }
}

#[allow(private_interfaces, reason = "as in the trait")]
impl<DB: Backend> Extract for Checkout<DB> {
    type Database = DB;

    fn extract(engine: Engine<DB>, asked: Asked) -> BoxFuture<'static, Result<Self, Error>> {
        Box::pin(async move {
            let holder = Holder::Request(asked.request.into());
            Ok(engine.checkout_for_caller(holder).await?)
        })
    }
}

#[allow(private_interfaces, reason = "as in the trait")]
impl<DB: Backend> Extract for RequestTransaction<DB> {
    type Database = DB;

    fn extract(engine: Engine<DB>, asked: Asked) -> BoxFuture<'static, Result<Self, Error>> {
        Box::pin(async move {
            let Some(transactions) = asked.transactions else {
                return Err(UsageError::NoRequestTransactions {
                    engine: engine.name().to_owned(),
                    line: asked.layer,
                }
                .into());
            };
            Ok(transactions.of(&engine, &asked.request)?)
        })
    }
}

/// The name of the engine if a handler gives none.
pub(crate) fn default_name() -> String {
    Settings::new().engine_name()
}

/// The engine of this name: the application's (`given`), or else the one that is known to the current runtime, to the scope in
/// which the layer was made (`scope`), or to the process, a started one first. Never a new one: in a test it would be on
/// another database.
///
/// `line` is the code that gives this framework an engine.
pub(crate) fn engine<DB: Backend>(
    name: &str,
    given: Option<&Engine<DB>>,
    scope: Option<Scope>,
    line: &'static str,
) -> Result<Engine<DB>, Error> {
    if let Some(engine) = given.filter(|engine| engine.name() == name) {
        return Ok(engine.clone());
    }
    let known = finder::find_known(name, scope)?;
    known.ok_or_else(|| {
        let engine = name.to_owned();
        UsageError::NoEngine { engine, line }.into()
    })
}
