//! How long statements take, under OpenTelemetry's name, through the `metrics` facade.
//!
//! <https://opentelemetry.io/docs/specs/semconv/database/database-metrics/#metric-dbclientoperationduration>. Without the feature
//! `metrics` nothing is measured, and the calls below compile to nothing.

/// The durations of the statements of one connection, by operation and error.
pub(super) struct Durations {
    #[cfg(feature = "metrics")]
    of: on::Of,
}

/// When a statement began.
pub(super) struct StatementTimer {
    #[cfg(feature = "metrics")]
    begun: std::time::Instant,
}

#[cfg(feature = "metrics")]
mod on {
    use std::sync::{Mutex, PoisonError};
    use std::time::Instant;

    use metrics::{Histogram, Label, Unit, histogram};

    use super::{Durations, StatementTimer};

    const DURATION: &str = "db.client.operation.duration";

    pub(super) struct Of {
        labels: Vec<Label>,
        /// Those that succeeded, by operation: there are few.
        succeeded: Mutex<Vec<(Option<&'static str>, Histogram)>>,
    }

    impl Durations {
        pub(in crate::pool) const ARE_MEASURED: bool = true;

        pub(in crate::pool) fn new(
            engine: &str,
            system: &'static str,
            namespace: Option<&str>,
            address: Option<&str>,
            port: Option<u16>,
        ) -> Self {
            metrics::describe_histogram!(DURATION, Unit::Seconds, "Time of a statement");
            let port = port.map(|port| port.to_string());
            let labels = [
                ("db.client.connection.pool.name", Some(engine)),
                ("db.system.name", Some(system)),
                ("db.namespace", namespace),
                ("server.address", address),
                ("server.port", port.as_deref()),
            ];
            let labels = labels.into_iter();
            let labels =
                labels.filter_map(|(name, value)| Some(Label::new(name, value?.to_owned())));
            Self {
                of: Of {
                    labels: labels.collect(),
                    succeeded: Mutex::default(),
                },
            }
        }

        pub(in crate::pool) fn record(
            &self,
            timer: &StatementTimer,
            operation: Option<&'static str>,
            error: Option<&str>,
        ) {
            let took = timer.begun.elapsed();
            if error.is_some() {
                return self.of.histogram(operation, error).record(took);
            }
            // Nothing panics while the lock is held, and nobody but this connection's task wants it.
            let mut succeeded = self
                .of
                .succeeded
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some((_, known)) = succeeded.iter().find(|(known, _)| *known == operation) {
                return known.record(took);
            }
            let histogram = self.of.histogram(operation, None);
            histogram.record(took);
            succeeded.push((operation, histogram));
        }
    }

    impl Of {
        fn histogram(&self, operation: Option<&'static str>, error: Option<&str>) -> Histogram {
            let mut labels = self.labels.clone();
            let more = [("db.operation.name", operation), ("error.type", error)].into_iter();
            labels
                .extend(more.filter_map(|(name, value)| Some(Label::new(name, value?.to_owned()))));
            histogram!(DURATION, labels)
        }
    }

    impl StatementTimer {
        pub(in crate::pool) fn begin() -> Self {
            Self {
                begun: Instant::now(),
            }
        }
    }
}

#[cfg(not(feature = "metrics"))]
#[allow(clippy::unused_self)]
mod off {
    use super::{Durations, StatementTimer};

    impl Durations {
        pub(in crate::pool) const ARE_MEASURED: bool = false;

        pub(in crate::pool) fn new(
            _: &str,
            _: &'static str,
            _: Option<&str>,
            _: Option<&str>,
            _: Option<u16>,
        ) -> Self {
            Self {}
        }

        pub(in crate::pool) fn record(
            &self,
            _: &StatementTimer,
            _: Option<&'static str>,
            _: Option<&str>,
        ) {
        }
    }

    impl StatementTimer {
        pub(in crate::pool) fn begin() -> Self {
            Self {}
        }
    }
}
