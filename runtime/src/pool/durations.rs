//! Statement durations, under OpenTelemetry's name, through the `metrics` facade.
//!
//! <https://opentelemetry.io/docs/specs/semconv/database/database-metrics/#metric-dbclientoperationduration>. Without the feature
//! `metrics` nothing is measured, and the calls below compile to nothing.

/// The durations of the statements of one connection, by operation and error.
pub(super) struct Durations {
    #[cfg(feature = "metrics")]
    of: on::Of,
}

/// The number of operations whose histograms are cached.
pub(super) const OPERATIONS_KNOWN: usize = 24;

#[cfg(feature = "metrics")]
mod on {
    use std::sync::OnceLock;
    use std::time::Duration;

    use metrics::{Histogram, Label, Unit, histogram};

    use super::{Durations, OPERATIONS_KNOWN};

    const DURATION: &str = "db.client.operation.duration";

    pub(super) struct Of {
        labels: Vec<Label>,
        /// Histograms of successful statements by operation; the last one is for unknown operations.
        succeeded: [OnceLock<Histogram>; OPERATIONS_KNOWN + 1],
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
                    succeeded: [const { OnceLock::new() }; OPERATIONS_KNOWN + 1],
                },
            }
        }

        pub(in crate::pool) fn record(
            &self,
            took: Duration,
            index: Option<usize>,
            operation: Option<&'static str>,
            error: Option<&str>,
        ) {
            if error.is_some() {
                return self.of.histogram(operation, error).record(took);
            }
            let known = self.of.succeeded.get(index.unwrap_or(OPERATIONS_KNOWN));
            if let Some(known) = known {
                known
                    .get_or_init(|| self.of.histogram(operation, None))
                    .record(took);
            }
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
}

#[cfg(not(feature = "metrics"))]
#[allow(clippy::unused_self)]
mod off {
    use std::time::Duration;

    use super::Durations;

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
            _: Duration,
            _: Option<usize>,
            _: Option<&'static str>,
            _: Option<&str>,
        ) {
        }
    }
}
