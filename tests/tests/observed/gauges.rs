//! The gauges of a pool's settings follow the pool.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use poolhouse::{Settings, SqliteEngine, engine_finder_with};

/// The values of gauges, by name.
#[derive(Default)]
struct Gauges(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Gauges {
    fn value(&self, name: &str) -> Option<f64> {
        let gauges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Some(f64::from_bits(gauges.get(name)?.load(Relaxed)))
    }
}

impl Recorder for Gauges {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let mut gauges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gauge = gauges.entry(key.name().to_owned()).or_default();
        Gauge::from_arc(Arc::clone(gauge))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test]
async fn the_sizes_of_a_closed_pool_are_zero() -> anyhow::Result<()> {
    let gauges = Gauges::default();
    let _recording = metrics::set_default_local_recorder(&gauges);
    let sizes = || {
        let of = |name| gauges.value(&format!("db.client.connection.{name}"));
        (of("max"), of("idle.min"))
    };
    let settings = Settings::new().engine("gauges").url("sqlite::memory:");
    let db: SqliteEngine = engine_finder_with(&settings.max_size(5).min_size(2))?;
    for _ in 0..2 {
        db.start_connection_pool().await?;
        assert_eq!(sizes(), (Some(5.0), Some(2.0)));
        db.resize(NonZeroU32::MIN)?;
        assert_eq!(sizes(), (Some(1.0), Some(1.0)));
        db.close_connection_pool().await;
        assert_eq!(sizes(), (Some(0.0), Some(0.0)));
    }
    Ok(())
}
