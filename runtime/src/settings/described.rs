//! Settings as an operator reads them: each with its value and its source.

use serde::Serialize;

use super::engine::EngineSettings;
use super::form::Form;
use super::layers::Layers;
use super::program::ProgramSettings;
use super::sources::Source;
use super::table::{self, Reach};
use super::words::Word;

/// One setting, without any secret in it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Described {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    pub(crate) source: String,
}

impl Described {
    fn new(name: &'static str, value: String, source: &Source) -> Self {
        Self {
            name,
            value,
            source: source.to_string(),
        }
    }
}

impl EngineSettings {
    /// Every setting of the engine, in the order in which they are read, without those of tests.
    pub(crate) fn described(&self) -> Vec<Described> {
        let of_tests = |name| table::find(name).is_some_and(|spec| spec.reach == Reach::Test);
        let shown = self.shown.iter().filter(|shown| !of_tests(shown.name));
        let mut described: Vec<Described> = shown
            .map(|shown| {
                let value = match &self.application_name {
                    // The position gives one when no source does.
                    Some(name) if shown.name == "application_name" => name.show(),
                    _ => shown.value(),
                };
                Described::new(shown.name, value, &shown.source)
            })
            .collect();
        for (name, hooks) in [
            ("connect_with", &self.connect),
            ("before_connect", &self.before),
        ] {
            let hooks = hooks.iter();
            described.extend(hooks.map(|hook| {
                let value = format!("a function over {}", hook.options);
                Described::new(name, value, &hook.source)
            }));
        }
        described
    }
}

impl ProgramSettings {
    /// The settings of the program; `listens` is the value of `signals` in this position.
    pub(crate) fn described(&self, layers: &Layers, listens: bool) -> Vec<Described> {
        let threads = self.worker_threads;
        let threads = threads.map_or_else(|| "one for each core".to_owned(), |n| n.to_string());
        let values = [
            ("drain_delay", self.drain_delay.show()),
            ("shutdown_timeout", self.shutdown_timeout.show()),
            ("signals", listens.show()),
            ("flavor", self.flavor.text().to_owned()),
            ("worker_threads", threads),
        ];
        let described = values.into_iter().map(|(name, value)| {
            let source = layers.raw(name).map(|(_, source)| source);
            Described::new(name, value, source.unwrap_or(&Source::Default))
        });
        described.collect()
    }
}
