//! Fixtures: the data of a test's database besides that of the migrations.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::names::list_or_none;

/// The fixtures of one engine, in the order in which they were given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fixtures(Vec<Fixture>);

/// One fixture.
#[cfg_attr(
    not(feature = "testing"),
    allow(dead_code, reason = "tests alone use it")
)]
#[derive(Clone)]
pub(crate) enum Fixture {
    /// SQL, known at compile time, so that it can be part of a template.
    Script {
        name: &'static str,
        sql: &'static str,
    },
    /// A function, which is run for each test, because its result may differ each time.
    Function {
        name: &'static str,
        /// Only `testing` knows its type, which names engines.
        fill: Arc<dyn Any + Send + Sync>,
    },
}

impl Fixtures {
    pub(super) fn add(&mut self, fixture: Fixture) {
        self.0.push(fixture);
    }

    pub(super) fn extend(&mut self, others: &Self) {
        self.0.extend_from_slice(&others.0);
    }

    /// Names and contents of the scripts.
    #[cfg(feature = "testing")]
    pub(crate) fn scripts(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.0.iter().filter_map(|fixture| match fixture {
            Fixture::Script { name, sql } => Some((*name, *sql)),
            Fixture::Function { .. } => None,
        })
    }

    /// Names of the functions, and the functions, which only `testing` can call.
    #[cfg(feature = "testing")]
    pub(crate) fn functions(
        &self,
    ) -> impl Iterator<Item = (&'static str, &(dyn Any + Send + Sync))> {
        self.0.iter().filter_map(|fixture| match fixture {
            Fixture::Script { .. } => None,
            Fixture::Function { name, fill } => Some((*name, &**fill)),
        })
    }
}

impl fmt::Display for Fixtures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(Fixture::name).collect();
        f.write_str(&list_or_none(&names))
    }
}

impl Fixture {
    fn name(&self) -> &'static str {
        match self {
            Self::Script { name, .. } | Self::Function { name, .. } => name,
        }
    }
}

impl fmt::Debug for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
