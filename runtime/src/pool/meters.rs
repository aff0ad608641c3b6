//! Pool metrics, under OpenTelemetry's names for database client pools, through the `metrics` facade.
//!
//! The names, units and states are those of
//! <https://opentelemetry.io/docs/specs/semconv/database/database-metrics/#connection-pools>. The pool's name is the
//! engine's. Without the feature `metrics` nothing is measured, and the calls below compile to nothing.

use std::time::Duration;

/// The instruments of one pool. Cheap to clone.
#[derive(Clone)]
pub(super) struct Meters {
    #[cfg(feature = "metrics")]
    instruments: std::sync::Arc<on::Instruments>,
}

/// The state of a connection, as in `db.client.connection.state`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Idle,
    Used,
}

#[cfg(feature = "metrics")]
mod on {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use metrics::{Counter, Gauge, Histogram, Unit, counter, gauge, histogram};

    use super::{Duration, Meters, Use};
    use crate::settings::EngineSettings;

    const COUNT: &str = "db.client.connection.count";
    const MAX: &str = "db.client.connection.max";
    const IDLE_MIN: &str = "db.client.connection.idle.min";
    const PENDING: &str = "db.client.connection.pending_requests";
    const TIMEOUTS: &str = "db.client.connection.timeouts";
    const CREATE_TIME: &str = "db.client.connection.create_time";
    const WAIT_TIME: &str = "db.client.connection.wait_time";
    const USE_TIME: &str = "db.client.connection.use_time";

    pub(super) struct Instruments {
        idle: Gauge,
        used: Gauge,
        pending: Gauge,
        timeouts: Counter,
        create_time: Histogram,
        wait_time: Histogram,
        use_time: Histogram,
        max: Gauge,
        idle_min: Gauge,
        /// What this pool has added to `max`. Pools of one name in several runtimes share their gauges.
        added_max: AtomicU32,
        added_idle_min: AtomicU32,
    }

    impl Instruments {
        /// Sets what this pool adds to the gauges of its settings.
        fn set(&self, max: u32, idle_min: u32) {
            for (gauge, added, new) in [
                (&self.max, &self.added_max, max),
                (&self.idle_min, &self.added_idle_min, idle_min),
            ] {
                gauge.increment(f64::from(new) - f64::from(added.swap(new, Relaxed)));
            }
        }
    }

    impl Drop for Instruments {
        fn drop(&mut self) {
            self.set(0, 0);
        }
    }

    fn describe() {
        metrics::describe_gauge!(COUNT, Unit::Count, "Connections open now, by state");
        metrics::describe_gauge!(MAX, Unit::Count, "The most connections at one time");
        metrics::describe_gauge!(IDLE_MIN, Unit::Count, "Connections kept open");
        metrics::describe_gauge!(PENDING, Unit::Count, "Tasks waiting for a connection");
        metrics::describe_counter!(TIMEOUTS, Unit::Count, "Waits that ended at acquire_timeout");
        metrics::describe_histogram!(CREATE_TIME, Unit::Seconds, "Time to open a connection");
        metrics::describe_histogram!(
            WAIT_TIME,
            Unit::Seconds,
            "Time to get a connection from the pool"
        );
        metrics::describe_histogram!(
            USE_TIME,
            Unit::Seconds,
            "Time between a checkout and its return"
        );
    }

    impl Meters {
        pub(in crate::pool) fn new(settings: &EngineSettings) -> Self {
            const POOL: &str = "db.client.connection.pool.name";
            const STATE: &str = "db.client.connection.state";
            describe();
            let pool = settings.engine.clone();
            let instruments = Instruments {
                idle: gauge!(COUNT, POOL => pool.clone(), STATE => "idle"),
                used: gauge!(COUNT, POOL => pool.clone(), STATE => "used"),
                pending: gauge!(PENDING, POOL => pool.clone()),
                timeouts: counter!(TIMEOUTS, POOL => pool.clone()),
                create_time: histogram!(CREATE_TIME, POOL => pool.clone()),
                wait_time: histogram!(WAIT_TIME, POOL => pool.clone()),
                use_time: histogram!(USE_TIME, POOL => pool.clone()),
                idle_min: gauge!(IDLE_MIN, POOL => pool.clone()),
                max: gauge!(MAX, POOL => pool),
                added_max: AtomicU32::new(0),
                added_idle_min: AtomicU32::new(0),
            };
            instruments.set(settings.max_size, settings.min_size.min(settings.max_size));
            Self {
                instruments: std::sync::Arc::new(instruments),
            }
        }

        pub(in crate::pool) fn enter(&self, state: Use) {
            self.gauge(state).increment(1);
        }

        pub(in crate::pool) fn leave(&self, state: Use) {
            self.gauge(state).decrement(1);
        }

        fn gauge(&self, state: Use) -> &Gauge {
            match state {
                Use::Idle => &self.instruments.idle,
                Use::Used => &self.instruments.used,
            }
        }

        pub(in crate::pool) fn resized(&self, max: u32, min_size: u32) {
            self.instruments.set(max, min_size.min(max));
        }

        pub(in crate::pool) fn closed(&self) {
            self.instruments.set(0, 0);
        }

        pub(in crate::pool) fn created(&self, took: Duration) {
            self.instruments.create_time.record(took);
        }

        pub(in crate::pool) fn wait_begins(&self) {
            self.instruments.pending.increment(1);
        }

        pub(in crate::pool) fn wait_ends(&self, took: Duration) {
            self.instruments.pending.decrement(1);
            self.instruments.wait_time.record(took);
        }

        pub(in crate::pool) fn timed_out(&self) {
            self.instruments.timeouts.increment(1);
        }

        pub(in crate::pool) fn used(&self, took: Duration) {
            self.instruments.use_time.record(took);
        }
    }
}

#[cfg(not(feature = "metrics"))]
#[allow(clippy::unused_self)]
mod off {
    use super::{Duration, Meters, Use};
    use crate::settings::EngineSettings;

    impl Meters {
        pub(in crate::pool) fn new(_: &EngineSettings) -> Self {
            Self {}
        }
        pub(in crate::pool) fn enter(&self, _: Use) {}
        pub(in crate::pool) fn leave(&self, _: Use) {}
        pub(in crate::pool) fn resized(&self, _: u32, _: u32) {}
        pub(in crate::pool) fn closed(&self) {}
        pub(in crate::pool) fn created(&self, _: Duration) {}
        pub(in crate::pool) fn wait_begins(&self) {}
        pub(in crate::pool) fn wait_ends(&self, _: Duration) {}
        pub(in crate::pool) fn timed_out(&self) {}
        pub(in crate::pool) fn used(&self, _: Duration) {}
    }
}
