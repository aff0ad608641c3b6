//! Precedence of the sources.

use std::time::Duration;

use super::super::names;
use super::super::table::{TABLE, Written};
use super::super::{ProgramSettings, RuntimeFlavor, Settings};
use super::TestSources;

const FILE: &str = "
[engine]
max_size = 2
[engines.reports]
max_size = 3
url = 'sqlite:reports.db'
[profile.prod.engine]
max_size = 4
[profile.prod.engines.reports]
max_size = 5
[profile.test.engine]
max_size = 6
";

#[test]
fn of_url_and_env_the_stronger_one_in_code_counts() {
    let given = |settings: &Settings| {
        let layer = settings.layer();
        (layer.get("url").is_some(), layer.get("env").is_some())
    };
    let url = Settings::new().url("sqlite::memory:");
    let env = Settings::new().env("BANDS_URL");
    let neither = Settings::new().max_size(5);
    assert_eq!(given(&env.on_top_of(&url)), (false, true));
    assert_eq!(given(&url.on_top_of(&env)), (true, false));
    assert_eq!(given(&neither.on_top_of(&url)), (true, false));
    assert_eq!(given(&neither.on_top_of(&env)), (false, true));
}

#[test]
fn default_then_file_then_profile_then_code_then_dot_env_then_environment() {
    let sources = TestSources::with_url();
    assert_eq!(sources.settings().max_size, 10);

    let sources = sources.file("poolhouse.toml", FILE);
    assert_eq!(sources.settings().max_size, 2);

    let sources = sources.variable("POOLHOUSE_PROFILE", "prod");
    assert_eq!(sources.settings().max_size, 4);

    let code = Settings::new().max_size(7);
    assert_eq!(sources.resolve(&code).unwrap().max_size, 7);

    let sources = sources.file(".env", "POOLHOUSE_MAX_SIZE=8");
    assert_eq!(sources.resolve(&code).unwrap().max_size, 8);

    let sources = sources.variable("POOLHOUSE_MAX_SIZE", "9");
    assert_eq!(sources.resolve(&code).unwrap().max_size, 9);
}

#[test]
fn a_profile_changes_only_what_it_names() {
    let sources = TestSources::with_url()
        .file(
            "poolhouse.toml",
            "[engine]\nmin_size = 1\nmax_size = 2\n[profile.p.engine]\nmax_size = 3",
        )
        .variable("POOLHOUSE_PROFILE", "p");
    let settings = sources.settings();
    assert_eq!((settings.min_size, settings.max_size), (1, 3));
}

#[test]
fn each_engine_has_settings_of_its_own() {
    let reports = Settings::new().engine("reports");
    let sources = TestSources::with_url()
        .file("poolhouse.toml", FILE)
        .variable("POOLHOUSE_MAX_SIZE", "20");
    assert_eq!(sources.settings().max_size, 20);
    assert_eq!(sources.resolve(&reports).unwrap().max_size, 3);

    let sources = sources.variable("POOLHOUSE_PROFILE", "prod");
    assert_eq!(sources.resolve(&reports).unwrap().max_size, 5);

    let sources = sources.variable("POOLHOUSE_REPORTS_MAX_SIZE", "30");
    assert_eq!(sources.settings().max_size, 20);
    assert_eq!(sources.resolve(&reports).unwrap().max_size, 30);
}

#[test]
fn the_url_comes_from_the_engines_variable() {
    let sources = TestSources::new()
        .variable("DATABASE_URL", "sqlite:a.db")
        .variable("MY_REPORTS_DATABASE_URL", "sqlite:b.db")
        .variable("ELSEWHERE", "sqlite:c.db")
        .file("poolhouse.toml", "[engines.filed]\nenv = 'ELSEWHERE'");
    let url = |code: Settings| sources.resolve(&code).unwrap().url.expose().to_owned();

    assert_eq!(url(Settings::new()), "sqlite:a.db");
    assert_eq!(url(Settings::new().url("sqlite:z.db")), "sqlite:a.db");
    assert_eq!(url(Settings::new().engine("my-reports")), "sqlite:b.db");
    assert_eq!(url(Settings::new().env("ELSEWHERE")), "sqlite:c.db");
    assert_eq!(url(Settings::new().engine("filed")), "sqlite:c.db");
    // The variable that `env` names replaces the usual one.
    assert_eq!(
        url(Settings::new().env("UNSET").url("sqlite:z.db")),
        "sqlite:z.db"
    );
}

#[test]
fn an_empty_variable_is_not_set() {
    let sources = TestSources::new()
        .variable("DATABASE_URL", "")
        .variable("POOLHOUSE_MAX_SIZE", "")
        .file(".env", "DATABASE_URL=sqlite:beneath.db");
    let settings = sources.settings();
    assert_eq!(settings.url.expose(), "sqlite:beneath.db");
    assert_eq!(settings.max_size, 10);
}

#[test]
fn white_space_around_a_value_does_not_count() {
    let sources = TestSources::with_url()
        .variable("POOLHOUSE_LAZY", "true \r")
        .variable("POOLHOUSE_MAX_SIZE", " 7 ");
    let settings = sources.settings();
    assert_eq!((settings.lazy, settings.max_size), (true, 7));
}

#[test]
fn files_are_found_upwards_and_the_nearest_counts() {
    let sources = TestSources::new()
        .file("poolhouse.toml", "[engine]\nmax_size = 2")
        .file("a/poolhouse.toml", "[engine]\nmax_size = 3")
        .file(".env", "DATABASE_URL=sqlite:top.db")
        .enter("a/b/c");
    let settings = sources.settings();
    assert_eq!(settings.max_size, 3);
    assert_eq!(settings.url.expose(), "sqlite:top.db");
}

#[test]
fn poolhouse_conf_names_another_file() {
    let sources = TestSources::with_url()
        .file("poolhouse.toml", "[engine]\nmax_size = 2")
        .file("etc/other.toml", "[engine]\nmax_size = 3")
        .variable("POOLHOUSE_CONF", "etc/other.toml");
    assert_eq!(sources.settings().max_size, 3);
}

#[test]
fn an_empty_session_or_directory_of_migrations_takes_back_a_weaker_one() {
    let sources = TestSources::with_url()
        .file(
            "poolhouse.toml",
            "[engine]\nsession = 'SET x = 1'\nmigrations = 'migrations'\n\
             [profile.p.engine]\nsession = ''\nmigrations = ''\n",
        )
        .variable("POOLHOUSE_PROFILE", "p");
    let settings = sources.settings();
    assert_eq!(settings.session, None);
    assert_eq!(
        settings.describe("session"),
        "session = none (poolhouse.toml:5)"
    );
    assert_eq!(
        settings.describe("migrations"),
        "migrations = none (poolhouse.toml:6)"
    );
}

#[test]
fn dot_env_may_choose_the_file_and_the_profile() {
    let sources = TestSources::with_url()
        .file(".env", "POOLHOUSE_CONF=other.toml\nPOOLHOUSE_PROFILE=p\n")
        .file("other.toml", "[profile.p.engine]\nmax_size = 3");
    assert_eq!(sources.settings().max_size, 3);
    assert!(std::env::var_os("POOLHOUSE_CONF").is_none());
}

#[test]
fn the_first_line_of_dot_env_that_sets_a_variable_counts() {
    let sources =
        TestSources::with_url().file(".env", "POOLHOUSE_MAX_SIZE=8\nPOOLHOUSE_MAX_SIZE=9\n");
    assert_eq!(
        sources.settings().describe("max_size"),
        "max_size = 8 (.env:1, POOLHOUSE_MAX_SIZE)"
    );
}

/// The same value in the file, in the environment and in code is the same setting.
#[test]
fn every_setting_means_the_same_in_every_source() {
    let file = TestSources::with_url().file(
        "poolhouse.toml",
        r#"[engine]
        max_size = 21
        min_size = 3
        acquire_timeout = "1s"
        connect_timeout = "2s"
        start_timeout = "3s"
        idle_timeout = "4m"
        max_lifetime = "off"
        validate_after = "0s"
        leak_after = "1m 30s"
        close_timeout = "5s"
        lazy = true
        statement_cache = 7
        application_name = "bands"
        session = "SET x = 1"
        extensions = ["citext", "pgcrypto"]
        direct_url = "sqlite:direct.db"
        log_queries = "debug"
        slow_query = "250ms"
        "#,
    );
    let environment = TestSources::with_url()
        .variable("POOLHOUSE_MAX_SIZE", "21")
        .variable("POOLHOUSE_MIN_SIZE", "3")
        .variable("POOLHOUSE_ACQUIRE_TIMEOUT", "1s")
        .variable("POOLHOUSE_CONNECT_TIMEOUT", "2s")
        .variable("POOLHOUSE_START_TIMEOUT", "3s")
        .variable("POOLHOUSE_IDLE_TIMEOUT", "4m")
        .variable("POOLHOUSE_MAX_LIFETIME", "off")
        .variable("POOLHOUSE_VALIDATE_AFTER", "0s")
        .variable("POOLHOUSE_LEAK_AFTER", "1m 30s")
        .variable("POOLHOUSE_CLOSE_TIMEOUT", "5s")
        .variable("POOLHOUSE_LAZY", "yes")
        .variable("POOLHOUSE_STATEMENT_CACHE", "7")
        .variable("POOLHOUSE_APPLICATION_NAME", "bands")
        .variable("POOLHOUSE_SESSION", "SET x = 1")
        .variable("POOLHOUSE_EXTENSIONS", "citext, pgcrypto")
        .variable("POOLHOUSE_DIRECT_URL", "sqlite:direct.db")
        .variable("POOLHOUSE_LOG_QUERIES", "debug")
        .variable("POOLHOUSE_SLOW_QUERY", "250ms");
    let code = Settings::new()
        .max_size(21)
        .min_size(3)
        .acquire_timeout(Duration::from_secs(1))
        .connect_timeout("2s")
        .start_timeout("3s".to_owned())
        .idle_timeout(Duration::from_mins(4))
        .max_lifetime("off")
        .validate_after(Duration::ZERO)
        .leak_after(Duration::from_secs(90))
        .close_timeout("5s")
        .lazy(true)
        .statement_cache(7)
        .application_name("bands")
        .session("SET x = 1")
        .extensions(["citext", "pgcrypto"])
        .direct_url("sqlite:direct.db")
        .log_queries("debug")
        .slow_query(Duration::from_millis(250));

    let all = [
        file.settings(),
        environment.settings(),
        TestSources::with_url().resolve(&code).unwrap(),
    ];
    for settings in &all {
        assert_eq!(
            settings.changed().count(),
            19,
            "18 and the URL: {settings:?}"
        );
        for other in &all {
            settings.same_as(other).unwrap();
        }
    }
    let [settings, ..] = &all;
    assert_eq!(settings.max_lifetime, None);
    assert_eq!(settings.validate_after, Duration::ZERO);
    assert_eq!(settings.leak_after, Some(Duration::from_secs(90)));
    assert_eq!(settings.extensions, ["citext", "pgcrypto"]);
    assert_eq!(settings.log_queries, crate::settings::LogLevel::Debug);
}

/// A setting of the table that no code reads would be accepted without effect.
#[test]
fn every_setting_of_the_table_is_read() {
    for spec in TABLE
        .iter()
        .filter(|spec| spec.written == Written::Anywhere)
    {
        let name = spec.name;
        let sources = TestSources::with_url().variable(&names::variable("default", name), "?");
        let engine = sources.resolve(&Settings::new());
        let program = ProgramSettings::read(&sources.layers(&Settings::new()).unwrap());
        let set = engine
            .as_ref()
            .is_ok_and(|settings| !settings.source(name).is_default());
        assert!(set || engine.is_err() || program.is_err(), "{name}");
    }
}

#[test]
fn every_duration_survives_its_text() {
    const LONGEST: Duration = Duration::from_hours(100 * 365 * 24);
    for duration in [
        Duration::ZERO,
        Duration::from_nanos(1),
        Duration::from_millis(86_399_999),
        LONGEST.saturating_sub(Duration::from_nanos(1)),
        LONGEST,
        Duration::MAX,
    ] {
        let settings = TestSources::with_url()
            .resolve(&Settings::new().close_timeout(duration))
            .unwrap();
        assert_eq!(settings.close_timeout, duration.min(LONGEST));
    }
}

/// The runtime is built before any engine starts, also for a program without a default engine.
#[test]
fn the_program_settings_need_no_url() {
    let sources = TestSources::new().variable("POOLHOUSE_WORKER_THREADS", "3");
    let code = Settings::attribute()
        .flavor("current_thread")
        .worker_threads(2)
        .signals(false);
    let program = ProgramSettings::read(&sources.layers(&code).unwrap()).unwrap();
    assert_eq!(program.flavor, RuntimeFlavor::CurrentThread);
    assert_eq!(program.worker_threads.map(std::num::NonZero::get), Some(3));
    assert_eq!(program.signals, Some(false));
    assert_eq!(program.drain_delay, Duration::ZERO);
    // With the default of `close_timeout` and the time that a close may take beyond it: within 30 s.
    assert_eq!(program.shutdown_timeout, Duration::from_secs(20));
}
