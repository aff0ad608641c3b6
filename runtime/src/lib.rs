//! One attribute gives a Rust program its database.

#[allow(dead_code, unused_imports)]
mod settings;

pub use settings::{DatabaseUrl, IntoDuration, Settings, SettingsError};
