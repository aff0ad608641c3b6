//! The parameters that poolhouse fills in.

use std::fmt;
use std::future::Future;
use std::panic::Location;

use futures_util::future::BoxFuture;

use super::plan::Plan;
use super::running::RunningEngines;
use super::shutdown::Shutdown;
use crate::backend::Backend;
use crate::engine::{Base, Engine};
use crate::error::Error;
use crate::pool::{Checkout, Holder};
use crate::settings::Settings;

/// A type that an attributed function may take as a parameter: [`Engine`], [`sqlx::Pool`], [`Checkout`], [`Shutdown`].
///
/// The type determines the kind of database.
#[diagnostic::on_unimplemented(
    message = "poolhouse cannot fill in a parameter of type `{Self}`",
    label = "not an engine, a pool, a checkout or `Shutdown`",
    note = "take `PgEngine`, `MySqlEngine`, `SqliteEngine`, `AnyEngine`, a `sqlx::Pool` such as `PgPool`, `Checkout<DB>` \
            or `Shutdown`, by value",
    note = "on a lifespan function, a parameter without `#[pool]` is the caller's; a function named `main` is none"
)]
pub trait Parameter: sealed::Sealed + Sized + Send + 'static {
    /// Adds what has to be started for it to the plan.
    #[doc(hidden)]
    fn plan(settings: Option<&Settings>, plan: &mut Plan) -> Result<(), Error>;

    /// Makes the value, once everything is started.
    #[doc(hidden)]
    fn fill(
        settings: Option<&Settings>,
        location: &'static Location<'static>,
        engines: &RunningEngines,
    ) -> impl Future<Output = Result<Self, Error>> + Send;
}

#[diagnostic::do_not_recommend]
impl<DB: Backend> Parameter for Engine<DB> {
    fn plan(settings: Option<&Settings>, plan: &mut Plan) -> Result<(), Error> {
        plan.engine::<DB>(settings, Base::Own)
    }

    async fn fill(
        settings: Option<&Settings>,
        _: &'static Location<'static>,
        engines: &RunningEngines,
    ) -> Result<Self, Error> {
        engines.engine(settings)
    }
}

#[diagnostic::do_not_recommend]
impl<DB: Backend> Parameter for sqlx::Pool<DB> {
    fn plan(settings: Option<&Settings>, plan: &mut Plan) -> Result<(), Error> {
        plan.engine::<DB>(settings, Base::Sqlx)
    }

    async fn fill(
        settings: Option<&Settings>,
        _: &'static Location<'static>,
        engines: &RunningEngines,
    ) -> Result<Self, Error> {
        match engines.engine(settings)?.as_sqlx_pool() {
            Some(pool) => Ok(pool),
            None => unreachable!("the plan had the engine started on a `sqlx::Pool`"),
        }
    }
}

#[diagnostic::do_not_recommend]
impl<DB: Backend> Parameter for Checkout<DB> {
    fn plan(settings: Option<&Settings>, plan: &mut Plan) -> Result<(), Error> {
        plan.engine::<DB>(settings, Base::Own)
    }

    async fn fill(
        settings: Option<&Settings>,
        location: &'static Location<'static>,
        engines: &RunningEngines,
    ) -> Result<Self, Error> {
        let engine: Engine<DB> = engines.engine(settings)?;
        Ok(engine.checkout_for_caller(Holder::Code(location)).await?)
    }
}

#[diagnostic::do_not_recommend]
impl Parameter for Shutdown {
    fn plan(_: Option<&Settings>, plan: &mut Plan) -> Result<(), Error> {
        plan.takes_shutdown = true;
        Ok(())
    }

    async fn fill(
        _: Option<&Settings>,
        _: &'static Location<'static>,
        engines: &RunningEngines,
    ) -> Result<Self, Error> {
        Ok(engines.shutdown.clone())
    }
}

/// One parameter of an attributed function, and the settings of its `#[pool(…)]`.
///
/// It holds the functions of [`Parameter`], so that only [`parameter`] requires that trait: a type that poolhouse cannot fill
/// in gives one error.
pub struct Request<T> {
    settings: Option<Settings>,
    location: &'static Location<'static>,
    plan: fn(Option<&Settings>, &mut Plan) -> Result<(), Error>,
    fill: Fill<T>,
}

/// [`Parameter::fill`]
type Fill<T> = for<'a> fn(
    Option<&'a Settings>,
    &'static Location<'static>,
    &'a RunningEngines,
) -> BoxFuture<'a, Result<T, Error>>;

impl<T: Parameter> Request<T> {
    fn new(settings: Option<Settings>, location: &'static Location<'static>) -> Self {
        Self {
            settings,
            location,
            plan: T::plan,
            fill: |settings, location, engines| Box::pin(T::fill(settings, location, engines)),
        }
    }
}

impl<T> Request<T> {
    fn plan(&self, plan: &mut Plan) -> Result<(), Error> {
        (self.plan)(self.settings.as_ref(), plan)
    }

    async fn fill(self, engines: &RunningEngines) -> Result<T, Error> {
        (self.fill)(self.settings.as_ref(), self.location, engines).await
    }
}

impl<T> fmt::Debug for Request<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("settings", &self.settings)
            .field("location", &self.location)
            .finish_non_exhaustive()
    }
}

/// A parameter of the attribute's own engine.
#[track_caller]
pub fn parameter<T: Parameter>() -> Request<T> {
    Request::new(None, Location::caller())
}

/// A parameter with settings of its own.
#[track_caller]
pub fn parameter_with<T: Parameter>(settings: Settings) -> Request<T> {
    Request::new(Some(settings), Location::caller())
}

/// All parameters of an attributed function: a tuple of [`Request`]s.
pub trait Parameters {
    /// Their values.
    type Filled;

    /// Adds what has to be started for them to the plan.
    #[doc(hidden)]
    fn plan(&self, plan: &mut Plan) -> Result<(), Error>;

    /// Makes the values, in order.
    #[doc(hidden)]
    fn fill(self, engines: &RunningEngines) -> impl Future<Output = Result<Self::Filled, Error>>;
}

impl Parameters for () {
    type Filled = ();

    fn plan(&self, _: &mut Plan) -> Result<(), Error> {
        Ok(())
    }

    async fn fill(self, _: &RunningEngines) -> Result<(), Error> {
        Ok(())
    }
}

macro_rules! parameters {
    ($($T:ident $request:ident),+) => {
        impl<$($T),+> Parameters for ($(Request<$T>,)+) {
            type Filled = ($($T,)+);

            fn plan(&self, plan: &mut Plan) -> Result<(), Error> {
                let ($($request,)+) = self;
                $($request.plan(plan)?;)+
                Ok(())
            }

            async fn fill(self, engines: &RunningEngines) -> Result<Self::Filled, Error> {
                let ($($request,)+) = self;
                Ok(($($request.fill(engines).await?,)+))
            }
        }
    };
}

parameters!(A a);
parameters!(A a, B b);
parameters!(A a, B b, C c);
parameters!(A a, B b, C c, D d);
parameters!(A a, B b, C c, D d, E e);
parameters!(A a, B b, C c, D d, E e, F f);
parameters!(A a, B b, C c, D d, E e, F f, G g);
parameters!(A a, B b, C c, D d, E e, F f, G g, H h);
parameters!(A a, B b, C c, D d, E e, F f, G g, H h, I i);
parameters!(A a, B b, C c, D d, E e, F f, G g, H h, I i, J j);
parameters!(A a, B b, C c, D d, E e, F f, G g, H h, I i, J j, K k);
parameters!(A a, B b, C c, D d, E e, F f, G g, H h, I i, J j, K k, L l);

mod sealed {
    use crate::backend::Backend;
    use crate::engine::Engine;
    use crate::lifecycle::Shutdown;
    use crate::pool::Checkout;

    pub trait Sealed {}
    impl<DB: Backend> Sealed for Engine<DB> {}
    impl<DB: Backend> Sealed for sqlx::Pool<DB> {}
    impl<DB: Backend> Sealed for Checkout<DB> {}
    impl Sealed for Shutdown {}
}
