//! A layer: the values of one engine from one source, not yet checked.

use std::collections::BTreeMap;
use std::fmt;

use super::form;
use super::sources::Source;
use super::value::Value;

/// Values by the names of their settings, each with its source.
#[derive(Clone, Default)]
pub(super) struct Layer(BTreeMap<String, (Value, Source)>);

impl Layer {
    /// Sets a value; a later one replaces an earlier one.
    pub(super) fn set(&mut self, name: &str, value: impl Into<Value>, source: Source) {
        self.0.insert(name.to_owned(), (value.into(), source));
    }

    /// Removes a value.
    pub(super) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// The value of a setting and its source, if it is given.
    pub(super) fn get(&self, name: &str) -> Option<(&Value, &Source)> {
        self.0.get(name).map(|(value, source)| (value, source))
    }

    /// The names of all settings that are given, each with its source.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Source)> {
        let given = self.0.iter();
        given.map(|(name, (_, source))| (name.as_str(), source))
    }

    /// Puts a stronger layer on top: its values replace those of this one.
    pub(super) fn put_on(&mut self, stronger: &Layer) {
        let given = stronger.0.iter();
        self.0
            .extend(given.map(|(name, given)| (name.clone(), given.clone())));
    }

    /// Whether no other setting than `name` is given.
    pub(super) fn has_nothing_but(&self, name: &str) -> bool {
        self.0.keys().all(|given| given == name)
    }
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, (value, source)) in &self.0 {
            writeln!(f, "{name} = {} ({source})", form::show_raw(name, value))?;
        }
        Ok(())
    }
}
