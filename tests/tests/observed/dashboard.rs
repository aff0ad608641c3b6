//! Every query of `docs/grafana.json` names emitted metrics and labels. Every emitted metric is in the table of
//! `docs/deploying.md`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use poolhouse::{Settings, SqliteEngine, engine_finder_with};

/// The names of metrics, each with the names of its labels.
#[derive(Default)]
struct Names(Mutex<BTreeMap<String, BTreeSet<String>>>);

impl Names {
    fn note(&self, key: &Key) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let labels = names.entry(key.name().to_owned()).or_default();
        labels.extend(key.labels().map(|label| label.key().to_owned()));
    }
}

impl Recorder for Names {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.note(key);
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.note(key);
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.note(key);
        Histogram::noop()
    }
}

/// The metrics of an engine with a statement that succeeds and one that fails.
async fn emitted() -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
    let names = Names::default();
    {
        let _recording = metrics::set_default_local_recorder(&names);
        let settings = Settings::new().engine("dashboard").url("sqlite::memory:");
        let db: SqliteEngine = engine_finder_with(&settings)?;
        db.start_connection_pool().await?;
        sqlx::query("SELECT 1").execute(&db).await?;
        assert!(sqlx::query("SELECT nonsense").execute(&db).await.is_err());
        db.close_connection_pool().await;
    }
    Ok(names.0.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn document(name: &str) -> anyhow::Result<String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    Ok(std::fs::read_to_string(folder.join(name))?)
}

/// The names in a query.
fn words(query: &str) -> BTreeSet<&str> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.contains('_')).collect()
}

#[tokio::test]
async fn every_query_names_what_is_emitted() -> anyhow::Result<()> {
    let mut known = BTreeSet::new();
    for (name, labels) in emitted().await? {
        let name = name.replace('.', "_");
        for suffix in ["_bucket", "_sum", "_count"] {
            known.insert(format!("{name}{suffix}"));
        }
        known.insert(name);
        known.extend(labels.iter().map(|label| label.replace('.', "_")));
    }
    // Names of Prometheus, Grafana and the exporter.
    known.extend(["histogram_quantile", "label_values", "__rate_interval"].map(str::to_owned));

    let dashboard: serde_json::Value = serde_json::from_str(&document("grafana.json")?)?;
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{panel}");
        queries.extend(
            targets
                .iter()
                .map(|target| target["expr"].as_str().unwrap()),
        );
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        queries.extend(variable["query"]["query"].as_str());
    }
    assert!(queries.len() > 10, "{queries:?}");
    for query in queries {
        for word in words(query) {
            assert!(
                known.contains(word),
                "{word} of {query} is not emitted: {known:?}"
            );
        }
        assert!(
            words(query)
                .iter()
                .any(|word| word.starts_with("db_client_")),
            "{query}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn every_metric_is_in_the_guide() -> anyhow::Result<()> {
    let guide = document("deploying.md")?;
    for name in emitted().await?.keys() {
        assert!(guide.contains(&format!("| `{name}` |")), "{name}");
    }
    Ok(())
}
