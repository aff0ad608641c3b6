//! Stands in for `testing` where the feature is off: there are no tests, so that nothing here has an effect.

#![allow(
    clippy::extra_unused_type_parameters,
    clippy::unused_async,
    reason = "the signatures are those of `testing`"
)]

use std::sync::Arc;

use crate::backend::Backend;
use crate::engine::ErasedEngine;
use crate::error::Error;
use crate::settings::{EngineSettings, Migrations, Settings};

/// A test function. There is none.
#[derive(Debug)]
pub enum Test {}

impl Test {
    pub(crate) fn passes_with_any_panic(&self) -> bool {
        match *self {}
    }

    pub(crate) fn of_crate(&self) -> Migrations {
        match *self {}
    }
}

/// The databases of a test. There are none.
pub(crate) enum Isolated {}

impl Isolated {
    pub(crate) async fn new<'a>(
        test: &Test,
        _: impl Iterator<Item = &'a mut Arc<EngineSettings>>,
    ) -> Result<Self, Error> {
        match *test {}
    }

    pub(crate) async fn give_up(self) {
        match self {}
    }

    pub(crate) async fn end(self, _: bool) -> Result<(), Error> {
        match self {}
    }
}

#[allow(clippy::unused_async, reason = "the one of tests waits")]
pub(crate) async fn seed(_: &EngineSettings, _: &dyn ErasedEngine) -> Result<(), Error> {
    Ok(())
}

pub(crate) fn url_of_test<DB: Backend>() -> Option<&'static str> {
    None
}

impl Settings {
    /// Accepts a fixture function, so that the error about the missing feature is the only one.
    #[doc(hidden)]
    #[must_use]
    pub fn fixture_fn<F>(self, _: &'static str, _: F) -> Self {
        self
    }
}
