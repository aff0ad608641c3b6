//! A subscriber that collects spans.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tracing::{
    Level, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::DefaultGuard,
};
use tracing_subscriber::{
    Layer, Registry,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
};

/// A closed span of poolhouse.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) name: &'static str,
    pub(super) target: String,
    pub(super) level: Level,
    pub(super) parent: Option<&'static str>,
    pub(super) fields: BTreeMap<&'static str, String>,
}

/// Collects the spans that close on this thread, in order.
#[derive(Clone, Default)]
pub(super) struct Captured {
    closed: Arc<Mutex<Vec<Span>>>,
}

impl Captured {
    pub(super) fn here() -> (Self, DefaultGuard) {
        let captured = Self::default();
        let subscriber = Registry::default().with(captured.clone());
        (captured, tracing::subscriber::set_default(subscriber))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Span>> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the collected spans of this name.
    pub(super) fn take(&self, name: &str) -> Vec<Span> {
        let (wanted, others) = self.lock().drain(..).partition(|span| span.name == name);
        *self.lock() = others;
        wanted
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

impl Span {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Captured {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let metadata = attributes.metadata();
        if !metadata.target().starts_with("poolhouse::query")
            && !metadata.target().starts_with("poolhouse::pool")
            && !metadata.target().starts_with("poolhouse::transaction")
        {
            return;
        }
        let mut fields = BTreeMap::new();
        attributes.record(&mut Fields(&mut fields));
        span.extensions_mut().insert(Span {
            name: metadata.name(),
            target: metadata.target().to_owned(),
            level: *metadata.level(),
            parent: span.parent().map(|parent| parent.name()),
            fields,
        });
    }

    fn on_record(&self, id: &Id, record: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(kept) = span.extensions_mut().get_mut::<Span>()
        {
            record.record(&mut Fields(&mut kept.fields));
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        if let Some(span) = context.span(&id)
            && let Some(kept) = span.extensions_mut().remove::<Span>()
        {
            self.lock().push(kept);
        }
    }
}
