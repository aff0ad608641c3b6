//! The source of a value as logs show it.

use super::super::Settings;
use super::{TestSources, at};

#[test]
fn each_source_has_its_form() {
    let sources = TestSources::with_url();
    assert_eq!(
        sources.settings().describe("max_size"),
        "max_size = 10 (default)"
    );
    assert_eq!(
        sources.settings().describe("leak_after"),
        "leak_after = off (default)"
    );
    assert_eq!(
        sources.settings().describe("url"),
        "url = sqlite::memory: (environment, DATABASE_URL)"
    );

    let sources = sources.file(
        "poolhouse.toml",
        "# ours\n\n[engine]\nmin_size = 1\nmax_size = 2\n",
    );
    assert_eq!(
        sources.settings().describe("max_size"),
        "max_size = 2 (poolhouse.toml:5)"
    );

    let (attribute, line) = at(Settings::attribute().max_size(20));
    let expected = format!("max_size = 20 (attribute, {line})");
    assert_eq!(
        sources.resolve(&attribute).unwrap().describe("max_size"),
        expected
    );

    let (builder, line) = at(Settings::new().acquire_timeout("90s"));
    assert_eq!(
        sources
            .resolve(&builder)
            .unwrap()
            .describe("acquire_timeout"),
        format!("acquire_timeout = 1m 30s (builder, {line})")
    );

    let sources = sources.file(".env", "# ours\n\nexport POOLHOUSE_MAX_SIZE=8");
    assert_eq!(
        sources.settings().describe("max_size"),
        "max_size = 8 (.env:3, POOLHOUSE_MAX_SIZE)"
    );

    let sources = sources.variable("POOLHOUSE_MAX_SIZE", "9");
    assert_eq!(
        sources.settings().describe("max_size"),
        "max_size = 9 (environment, POOLHOUSE_MAX_SIZE)"
    );
    assert!(!sources.settings().source("max_size").is_default());
    assert!(sources.settings().source("leak_after").is_default());
}

#[test]
fn each_setter_keeps_its_own_line() {
    let (code, first) = at(Settings::attribute().max_size(20));
    let (code, second) = at(code.session("SET x = 1"));
    let settings = TestSources::with_url().resolve(&code).unwrap();
    assert_eq!(
        settings.source("max_size").to_string(),
        format!("attribute, {first}")
    );
    assert_eq!(
        settings.source("session").to_string(),
        format!("attribute, {second}")
    );
}

#[test]
fn a_profile_shows_its_own_line() {
    let sources = TestSources::with_url()
        .file(
            "poolhouse.toml",
            "[engine]\nmax_size = 2\n[profile.p.engine]\nmax_size = 3",
        )
        .variable("POOLHOUSE_PROFILE", "p");
    assert_eq!(
        sources.settings().source("max_size").to_string(),
        "poolhouse.toml:4"
    );
}

#[test]
fn a_file_above_the_working_directory_shows_its_whole_path() {
    let sources = TestSources::with_url()
        .file("poolhouse.toml", "[engine]\nmax_size = 2")
        .enter("a");
    let path = sources.root.join("poolhouse.toml");
    assert_eq!(
        sources.settings().source("max_size").to_string(),
        format!("{}:2", path.display())
    );
}

#[test]
fn only_what_somebody_set_is_in_the_start_line() {
    let sources = TestSources::with_url().file("poolhouse.toml", "[engine]\nmax_size = 2");
    let changed: Vec<_> = sources.settings().changed().collect();
    assert_eq!(
        changed,
        [
            "url = sqlite::memory: (environment, DATABASE_URL)",
            "max_size = 2 (poolhouse.toml:2)"
        ]
    );
}
