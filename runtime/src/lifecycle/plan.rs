//! The engines to start, collected from the attribute and its parameters before anything is opened.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::Backend;
use crate::engine::{Base, ErasedEngine, engine_of, erased};
use crate::error::{Error, StartError};
use crate::settings::{
    Described, EngineSettings, InTest, Layers, Migrations, ProgramSettings, Settings, Sources,
};
use crate::testing::{Test, url_of_test};

/// The engines of a run, and its settings.
pub struct Plan {
    /// The attribute's own settings.
    settings: Settings,
    /// The other sources of settings.
    sources: Sources,
    /// The layers of all sources for the attribute's own engine.
    own: Layers,
    /// The name of the program's crate, for `application_name`.
    application: &'static str,
    pub(super) program: ProgramSettings,
    listening: Listening,
    /// Whether the engines serve the whole process.
    pub(super) for_process: bool,
    pub(super) takes_shutdown: bool,
    pub(super) engines: Vec<Planned>,
    /// The test whose body is to be run, in the test position.
    pub(super) test: Option<Test>,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let engines = self.engines.iter().map(|planned| &planned.settings.engine);
        f.debug_struct("Plan")
            .field("engines", &engines.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// Whether a run listens for signals when the settings do not decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listening {
    Always,
    /// If the body takes [`Shutdown`](super::Shutdown).
    WithShutdown,
    Never,
}

/// An engine to be started.
pub(super) struct Planned {
    pub(super) settings: Arc<EngineSettings>,
    pub(super) base: Base,
    pub(super) build: BuildEngine,
    /// The kind that a parameter's type asks for; `None` leaves it to the URL.
    kind: Option<&'static str>,
}

type BuildEngine = fn(Arc<EngineSettings>) -> Result<Arc<dyn ErasedEngine>, Error>;

impl Plan {
    pub(super) fn new(
        application: &'static str,
        settings: Settings,
        is_main: bool,
        listening: Listening,
    ) -> Result<Box<Self>, Error> {
        let sources = Sources::of_process()?;
        Self::read(application, settings, sources, is_main, listening, None)
    }

    pub(super) fn of_test(
        application: &'static str,
        settings: Settings,
        test: Test,
    ) -> Result<Box<Self>, Error> {
        Self::read(
            application,
            settings,
            Sources::of_tests()?,
            false,
            Listening::Never,
            Some(test),
        )
    }

    fn read(
        application: &'static str,
        settings: Settings,
        sources: Sources,
        is_main: bool,
        listening: Listening,
        test: Option<Test>,
    ) -> Result<Box<Self>, Error> {
        let in_test = test.as_ref().map(|test| InTest {
            migrations: test.of_crate(),
        });
        let own = Layers::collect(&settings, &sources, in_test)?;
        // Boxed, because it is passed on often.
        Ok(Box::new(Self {
            program: ProgramSettings::read(&own)?,
            settings,
            sources,
            own,
            application,
            listening,
            for_process: is_main,
            takes_shutdown: false,
            engines: Vec::new(),
            test,
        }))
    }

    pub(super) fn listens(&self) -> bool {
        self.program.signals.unwrap_or(match self.listening {
            Listening::Always => true,
            Listening::WithShutdown => self.takes_shutdown,
            Listening::Never => false,
        })
    }

    /// The program's settings apart from its engines, for an operator.
    pub(super) fn described(&self) -> Vec<Described> {
        self.program.described(&self.own, self.listens())
    }

    /// The time that a body has to return after a signal; `None` when it does not take [`Shutdown`](super::Shutdown).
    pub(super) fn grace(&self) -> Option<Duration> {
        self.takes_shutdown.then_some(self.program.shutdown_timeout)
    }

    /// The longest `close_timeout` of its engines.
    pub(super) fn longest_close(&self) -> Duration {
        let engines = self.engines.iter();
        let limits = engines.map(|planned| planned.settings.close_timeout);
        limits.max().unwrap_or_default()
    }

    /// Adds the engine of one parameter: the one that its settings name, or else the attribute's.
    pub(super) fn engine<DB: Backend>(
        &mut self,
        settings: Option<&Settings>,
        base: Base,
    ) -> Result<(), Error> {
        let settings = self.resolve(settings, url_of_test::<DB>())?;
        let Some(planned) = self
            .engines
            .iter_mut()
            .find(|planned| planned.settings.engine == settings.engine)
        else {
            self.engines.push(Planned {
                settings: Arc::new(settings),
                base,
                build: erased::<DB>,
                kind: Some(DB::KIND),
            });
            return Ok(());
        };
        // Two parameters with one engine must have the same settings.
        settings.same_as(&planned.settings)?;
        if let Some(kind) = planned.kind
            && kind != DB::KIND
        {
            return Err(StartError::wrong_kind(&settings, kind, DB::KIND).into());
        }
        if base == Base::Sqlx {
            planned.base = base;
        }
        Ok(())
    }

    /// Adds the attribute's own engine when no parameter has one. Its URL determines the kind.
    ///
    /// # Errors
    ///
    /// The settings of that engine are not valid; or each parameter has another engine, and the attribute has settings of its
    /// own.
    pub(super) fn or_attribute_engine(&mut self) -> Result<(), Error> {
        let own = self.settings.engine_name();
        let mut engines = self.engines.iter();
        if !self.engines.is_empty() && engines.all(|planned| planned.settings.engine != own) {
            self.settings.check_unused()?;
        }
        if self.engines.is_empty() {
            let settings = self.resolve(None, None)?;
            self.engines.push(Planned {
                settings: Arc::new(settings),
                base: Base::Own,
                build: engine_of,
                kind: None,
            });
        }
        Ok(())
    }

    /// The name of a parameter's engine.
    pub(super) fn name_of(&self, settings: Option<&Settings>) -> String {
        settings
            .and_then(Settings::given_name)
            .unwrap_or_else(|| self.settings.engine_name())
    }

    /// The settings of a parameter's engine. Those of the attribute's own engine lie on top of the attribute's.
    fn resolve(
        &self,
        settings: Option<&Settings>,
        test_url: Option<&'static str>,
    ) -> Result<EngineSettings, Error> {
        let mut settings = match settings {
            None => EngineSettings::read(&self.own, test_url)?,
            Some(settings) => {
                let is_own = self.name_of(Some(settings)) == self.settings.engine_name();
                let settings = if is_own {
                    Cow::Owned(settings.on_top_of(&self.settings))
                } else {
                    Cow::Borrowed(settings)
                };
                // The crate's migrations belong to the attribute's own engine. Another engine has others.
                let in_test = self.test.as_ref().map(|test| InTest {
                    migrations: if is_own {
                        test.of_crate()
                    } else {
                        Migrations::None
                    },
                });
                let layers = Layers::collect(&settings, &self.sources, in_test)?;
                EngineSettings::read(&layers, test_url)?
            }
        };
        let nodes = settings.nodes.iter_mut();
        let nodes = nodes.filter_map(|(_, node)| Some(&mut node.as_mut()?.application_name));
        for name in nodes.chain([&mut settings.application_name]) {
            name.get_or_insert_with(|| self.application.to_owned());
        }
        Ok(settings)
    }
}
