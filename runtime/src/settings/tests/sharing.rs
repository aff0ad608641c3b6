//! When two starts of an engine share a pool, and which function of `connect_with` is called.

use super::super::Settings;
use super::{TestSources, at};

#[test]
fn the_same_values_from_other_sources_are_the_same_pool() {
    let filed = TestSources::with_url().file("poolhouse.toml", "[engine]\nmax_size = 5");
    let coded = TestSources::with_url()
        .resolve(&Settings::new().max_size(5))
        .unwrap();
    filed.settings().same_as(&coded).unwrap();
    coded.same_as(&filed.settings()).unwrap();
}

#[test]
fn who_asks_for_nothing_gets_the_pool_as_it_is() {
    let started = TestSources::with_url()
        .resolve(&Settings::new().max_size(5).session("SET x = 1"))
        .unwrap();
    let plain = TestSources::with_url().settings();
    plain.same_as(&started).unwrap();
    started.same_as(&plain).unwrap_err();
}

#[test]
fn what_differs_is_named_with_both_sources() {
    let sources = TestSources::with_url().file("poolhouse.toml", "[engine]\nmax_size = 5");
    let (code, line) = at(Settings::attribute().max_size(6));
    let again = sources.resolve(&code).unwrap();
    let expected = format!(
        "engine `default` is already started with other settings: max_size = 6 (attribute, {line}), started with \
         max_size = 5 (poolhouse.toml:2). Give both the same, or start it once"
    );
    assert_eq!(
        again.same_as(&sources.settings()).unwrap_err().to_string(),
        expected
    );
}

#[test]
fn the_same_function_is_the_same_setting() {
    fn double(options: u32) -> u32 {
        options * 2
    }
    let sources = TestSources::with_url();
    let one = sources
        .resolve(&Settings::new().connect_with(double))
        .unwrap();
    let again = sources
        .resolve(&Settings::new().connect_with(double))
        .unwrap();
    let other = sources
        .resolve(&Settings::new().connect_with(|options: u32| options))
        .unwrap();
    again.same_as(&one).unwrap();
    other.same_as(&one).unwrap_err();
    // Two closures of one type that captured different values.
    let captured = |by: u32| Settings::new().connect_with(move |options: u32| options * by);
    let (one, other) = (
        sources.resolve(&captured(2)).unwrap(),
        sources.resolve(&captured(3)).unwrap(),
    );
    other.same_as(&one).unwrap_err();
}

#[test]
fn the_function_for_the_engines_driver_is_called() {
    let code = Settings::new()
        .connect_with(|options: u32| options + 1)
        .connect_with(|options: String| options + "!")
        .connect_with(|options: u32| options + 2);
    let settings = TestSources::with_url().resolve(&code).unwrap();
    assert_eq!(settings.connect_with(10_u32).unwrap(), 12);
    assert_eq!(settings.connect_with("a".to_owned()).unwrap(), "a!");
    assert_eq!(
        TestSources::with_url()
            .settings()
            .connect_with(10_u32)
            .unwrap(),
        10
    );
}

#[test]
fn a_function_for_another_driver_is_an_error() {
    let (code, line) = at(Settings::attribute().connect_with(|options: u32| options));
    let expected = format!(
        "engine `default`: `connect_with` (attribute, {line}) changes u32, but this engine's driver takes u64; give it a \
         function for u64"
    );
    let settings = TestSources::with_url().resolve(&code).unwrap();
    assert_eq!(
        settings.connect_with(10_u64).unwrap_err().to_string(),
        expected
    );
}
