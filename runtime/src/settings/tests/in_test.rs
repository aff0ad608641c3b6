//! The settings of tests: the environment gives only the URLs, and pools are small.

use super::super::layers::{InTest, Layers};
use super::super::migrations::Migrations;
use super::super::sources::Sources;
use super::super::{EngineSettings, Settings, SettingsError};
use super::TestSources;

fn in_test(sources: &TestSources, code: &Settings) -> Result<EngineSettings, SettingsError> {
    let in_test = InTest {
        migrations: Migrations::None,
    };
    let sources = Sources::read_in_test(sources.surroundings.clone())?;
    EngineSettings::read(&Layers::collect(code, &sources, Some(in_test))?, None)
}

#[test]
fn a_min_size_of_the_file_is_limited_to_the_default_max_size() {
    let sources = TestSources::with_url().file("poolhouse.toml", "[engine]\nmin_size = 6\n");
    let settings = in_test(&sources, &Settings::new()).unwrap();
    assert_eq!((settings.min_size, settings.max_size), (5, 5));
    assert_eq!(
        settings.describe("min_size"),
        "min_size = 5, because max_size = 5 (poolhouse.toml:2)"
    );
    let settings = in_test(&sources, &Settings::new().max_size(8)).unwrap();
    assert_eq!((settings.min_size, settings.max_size), (6, 8));
    // A wish of the test itself, or of both settings, is no accident.
    in_test(&sources, &Settings::new().min_size(6)).unwrap_err();
    in_test(&sources, &Settings::new().max_size(4)).unwrap_err();
}

#[test]
fn so_is_that_of_a_node() {
    let sources = TestSources::with_url().file(
        "poolhouse.toml",
        "[engine]\nmin_size = 6\n[engine.nodes.one]\nurl = 'sqlite:one.db'\n",
    );
    let settings = in_test(&sources, &Settings::new().isolation("none")).unwrap();
    let sizes = |settings: &EngineSettings| (settings.min_size, settings.max_size);
    assert_eq!(sizes(&settings), (5, 5));
    assert_eq!(sizes(settings.nodes[0].1.as_ref().unwrap()), (5, 5));
}

#[test]
fn variables_choose_neither_the_file_nor_a_profile() {
    let sources = TestSources::with_url()
        .file(
            "poolhouse.toml",
            "[engine]\nmax_size = 2\n[profile.p.engine]\nmax_size = 3\n",
        )
        .file("other.toml", "[engine]\nmax_size = 4\n")
        .file(".env", "POOLHOUSE_PROFILE=p\n");
    let max_size = |sources: &TestSources| in_test(sources, &Settings::new()).unwrap().max_size;
    assert_eq!((sources.settings().max_size, max_size(&sources)), (3, 2));
    let sources = sources
        .variable("POOLHOUSE_PROFILE", "unknown")
        .variable("POOLHOUSE_CONF", "other.toml");
    assert_eq!(max_size(&sources), 2);
}
