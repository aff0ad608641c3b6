//! Nodes: settings inherited from the engine, and settings of their own.

use super::{EngineSettings, Settings, TestSources};

/// A setting of a node, as logs show it.
fn described(settings: &EngineSettings, node: &str, setting: &str) -> String {
    let (_, of_node) = settings
        .nodes
        .iter()
        .find(|(name, _)| name == node)
        .unwrap();
    of_node.as_ref().unwrap().describe(setting)
}

fn names(settings: &EngineSettings) -> Vec<&str> {
    settings
        .nodes
        .iter()
        .map(|(name, _)| name.as_str())
        .collect()
}

const FILE: &str = r#"
[engine]
url = "postgres://u@primary/db"
max_size = 20
migrations = "migrations"

[engine.nodes.replica1]
url = "postgres://u@replica1/db"
max_size = 5

[engine.nodes.my-replica]
url = "postgres://u@replica2/db"

[engines.reports]
url = "postgres://u@reports/db"

[profile.production.engine.nodes.replica1]
max_size = 6
"#;

#[test]
fn a_node_has_the_engines_settings_but_for_its_own() {
    let settings = TestSources::new().file("poolhouse.toml", FILE).settings();
    assert_eq!(names(&settings), ["my-replica", "replica1"]);
    assert_eq!(
        described(&settings, "replica1", "max_size"),
        "max_size = 5 (poolhouse.toml:9)"
    );
    assert_eq!(
        described(&settings, "my-replica", "max_size"),
        "max_size = 20 (poolhouse.toml:4)"
    );
    assert_eq!(
        described(&settings, "my-replica", "url"),
        "url = postgres://u@replica2/db (poolhouse.toml:12)"
    );
    let of_node = settings.nodes[1].1.as_ref().unwrap();
    assert_eq!(of_node.engine, "default/replica1");
    assert_eq!(of_node.migrations.to_string(), "none");
    let reports = TestSources::new().file("poolhouse.toml", FILE);
    let reports = reports.resolve(&Settings::new().engine("reports")).unwrap();
    assert!(reports.nodes.is_empty());
}

#[test]
fn the_order_of_sources_is_the_same() {
    let sources = TestSources::new()
        .file("poolhouse.toml", FILE)
        .variable("POOLHOUSE_PROFILE", "production");
    assert_eq!(
        described(&sources.settings(), "replica1", "max_size"),
        "max_size = 6 (poolhouse.toml:18)"
    );
    let code = Settings::new().node("replica1", Settings::new().max_size(7).min_size(1));
    let resolved = sources.resolve(&code).unwrap();
    assert!(described(&resolved, "replica1", "max_size").starts_with("max_size = 7 (builder, "));
    let sources = sources
        .variable("POOLHOUSE_NODES_REPLICA1_MAX_SIZE", "8")
        .variable(
            "POOLHOUSE_NODES_MY_REPLICA_URL",
            "postgres://u@elsewhere/db",
        );
    let resolved = sources.resolve(&code).unwrap();
    assert_eq!(names(&resolved), ["my-replica", "replica1"]);
    assert_eq!(
        described(&resolved, "replica1", "max_size"),
        "max_size = 8 (environment, POOLHOUSE_NODES_REPLICA1_MAX_SIZE)"
    );
    assert!(described(&resolved, "my-replica", "url").contains("elsewhere"));
}

#[test]
fn the_environment_alone_can_add_one() {
    let sources = TestSources::new()
        .variable("DATABASE_URL", "postgres://u@primary/db")
        .variable("POOLHOUSE_NODES_EAST_URL", "postgres://u@east/db")
        .variable("POOLHOUSE_NODES_EAST_DIRECT_URL", "postgres://u@direct/db")
        .variable("REPORTS_DATABASE_URL", "postgres://u@reports/db")
        .variable("POOLHOUSE_REPORTS_NODES_WEST_URL", "postgres://u@west/db");
    assert_eq!(names(&sources.settings()), ["east"]);
    let reports = sources.resolve(&Settings::new().engine("reports")).unwrap();
    assert_eq!(names(&reports), ["west"]);
}

#[test]
fn an_empty_variable_adds_none() {
    let sources = TestSources::with_url()
        .variable("POOLHOUSE_NODES_EAST_URL", "")
        .file(".env", "POOLHOUSE_NODES_WEST_URL=\n");
    assert!(sources.settings().nodes.is_empty());
}

#[test]
fn env_names_the_variable_of_its_url() {
    let sources = TestSources::with_url()
        .file(
            "poolhouse.toml",
            "[engine.nodes.one]\nenv = 'ONE_URL'\n[engine.nodes.two]\nenv = 'TWO_URL'\nurl = 'sqlite:file.db'\n",
        )
        .variable("ONE_URL", "sqlite:one.db")
        .variable("TWO_URL", "sqlite:two.db");
    let code = Settings::new().node("three", Settings::new().env("THREE_URL"));
    let settings = sources
        .variable("THREE_URL", "sqlite:three.db")
        .resolve(&code)
        .unwrap();
    assert_eq!(
        described(&settings, "one", "url"),
        "url = sqlite:one.db (environment, ONE_URL)"
    );
    assert_eq!(
        described(&settings, "two", "url"),
        "url = sqlite:two.db (environment, TWO_URL)"
    );
    assert_eq!(
        described(&settings, "three", "url"),
        "url = sqlite:three.db (environment, THREE_URL)"
    );
    let unset =
        TestSources::with_url().file("poolhouse.toml", "[engine.nodes.one]\nenv = 'ONE_URL'\n");
    let said = unset.resolve(&Settings::new()).unwrap_err().to_string();
    assert!(said.contains("ONE_URL"), "{said}");
}

#[test]
fn a_mistake_in_a_node_is_found() {
    let sources = TestSources::new().file(
        "poolhouse.toml",
        "[engine]\nurl = 'sqlite:a'\n[engine.nodes.one]\nurl = 'sqlite:b'\nmax_sise = 3\n",
    );
    let said = sources.resolve(&Settings::new()).unwrap_err().to_string();
    assert!(
        said.contains("poolhouse.toml:5") && said.contains("`max_sise`"),
        "{said}"
    );
    let sources = TestSources::new().file(
        "poolhouse.toml",
        "[engine]\nurl = 'sqlite:a'\n[engine.nodes.one.nodes.two]\nurl = 'sqlite:b'\n",
    );
    let said = sources.resolve(&Settings::new()).unwrap_err().to_string();
    assert!(said.contains("there is no setting `nodes` here"), "{said}");
}

#[test]
fn an_error_names_the_engine_and_the_node() {
    let file = |node: &str| {
        let text = format!("[engines.reports]\nurl = 'sqlite:a'\n{node}\n");
        let sources = TestSources::new().file("poolhouse.toml", &text);
        sources.error(&Settings::new().engine("reports"))
    };
    for (node, start) in [
        (
            "nodes.one = { url = 'sqlite:b', max_size = 'many' }",
            "engine `reports/one`: `max_size` = \"many\" (poolhouse.toml:3)",
        ),
        (
            "nodes.one = { url = 'b' }",
            "engine `reports/one`: `url` = ",
        ),
        (
            "nodes.one = { env = 'a=b' }",
            "engine `reports/one`: `env` = ",
        ),
        (
            "nodes.'a:b' = { url = 'sqlite:b' }",
            "engine `reports`: `node` = ",
        ),
        ("env = 'a=b'", "engine `reports`: `env` = "),
    ] {
        let said = file(node);
        assert!(said.starts_with(start), "{said}");
    }
}

#[test]
fn a_node_has_the_direct_url_that_it_sets_itself() {
    let sources = TestSources::new().file(
        "poolhouse.toml",
        "[engine]\nurl = 'postgres://pooler/db'\ndirect_url = 'postgres://primary/db'\nmigrations = 'migrations'\n\
         extensions = ['citext']\n\
         [engine.nodes.one]\nurl = 'postgres://pooler1/db'\ndirect_url = 'postgres://replica1/db'\nextensions = ['hstore']\n\
         [engine.nodes.two]\nurl = 'postgres://pooler2/db'\n",
    );
    let settings = sources.settings();
    assert_eq!(
        described(&settings, "one", "direct_url"),
        "direct_url = postgres://replica1/db (poolhouse.toml:8)"
    );
    for (_, node) in &settings.nodes {
        let node = node.as_ref().unwrap();
        assert_eq!(node.direct_url.is_some(), node.engine == "default/one");
        assert!(node.extensions.is_empty());
        assert_eq!(node.describe("extensions"), "extensions = [] (default)");
        assert_eq!(node.describe("migrations"), "migrations = none (default)");
    }
    assert_eq!(
        described(&settings, "two", "direct_url"),
        "direct_url = not set (default)"
    );
}
