//! Buffers what a start logs until the program has a subscriber.
//!
//! A program sets up its logging in the body of `main`, which runs after its pools are started. So the lines of the start
//! are buffered, and logged as soon as the body has set a subscriber.

use std::fmt::{self, Write};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::dispatcher::{self, Dispatch};
use tracing::field::{Field, Visit};
use tracing::instrument::WithSubscriber;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::{Interest, NoSubscriber, Subscriber};
use tracing::{Event, Level, Metadata, span};

/// What the targets of this crate's events begin with.
const CRATE: &str = env!("CARGO_CRATE_NAME");

/// The lines of one start.
#[derive(Clone)]
pub(super) struct BufferedLog {
    /// Whether lines are buffered at all.
    buffers: bool,
    lines: Arc<Mutex<Vec<Line>>>,
}

struct Line {
    level: Level,
    text: String,
}

impl BufferedLog {
    /// `buffers` is false in a test, because its log is set up before it begins, and buffering takes time in every test.
    pub(super) fn new(buffers: bool) -> Self {
        Self {
            buffers,
            lines: Arc::default(),
        }
    }

    /// Runs the synchronous part of a start. Buffers what it logs, unless there is a subscriber.
    pub(super) fn buffer<T>(&self, part: impl FnOnce() -> T) -> T {
        if !self.buffers || has_subscriber() {
            return part();
        }
        dispatcher::with_default(&Dispatch::new(self.clone()), part)
    }

    /// Runs the asynchronous part of a start, as [`buffer`](Self::buffer).
    pub(super) async fn buffer_async<T>(&self, part: impl Future<Output = T>) -> T {
        if !self.buffers || has_subscriber() {
            return part.await;
        }
        part.with_subscriber(Dispatch::new(self.clone())).await
    }

    /// Runs the body, and logs the buffered lines once there is a subscriber.
    pub(super) async fn replay<T>(&self, body: impl Future<Output = T>) -> T {
        let mut body = pin!(body);
        let mut pending = !self.lines().is_empty();
        poll_fn(|context| {
            let polled = body.as_mut().poll(context);
            if pending && has_subscriber() {
                pending = false;
                self.lines().drain(..).for_each(Line::log);
            }
            polled
        })
        .await
    }

    /// Takes the buffered lines that warn of something.
    pub(super) fn take_warnings(&self) -> Vec<String> {
        let lines = self.lines().drain(..).collect::<Vec<_>>().into_iter();
        let warnings = lines.filter(|line| line.level <= Level::WARN);
        warnings.map(|line| line.text).collect()
    }

    fn lines(&self) -> MutexGuard<'_, Vec<Line>> {
        // Nothing panics while the lock is held.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn has_subscriber() -> bool {
    dispatcher::get_default(|subscriber| !subscriber.is::<NoSubscriber>())
}

impl Line {
    fn log(self) {
        let Self { level, text } = self;
        // A macro's level is fixed where it stands.
        match level {
            Level::ERROR => tracing::error!(target: CRATE, "{text}"),
            Level::WARN => tracing::warn!(target: CRATE, "{text}"),
            _ => tracing::info!(target: CRATE, "{text}"),
        }
    }
}

/// Keeps the events of this crate from INFO on, and nothing else.
impl Subscriber for BufferedLog {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
            && *metadata.level() <= Level::INFO
            && metadata.target().starts_with(CRATE)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        self.lines().push(Line {
            level: *event.metadata().level(),
            text: text.message + &text.fields,
        });
    }

    // No span is enabled, so none of these is called but the first, by those who do not ask.
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// An event as one text: its message, then its fields.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a `String` does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::{BufferedLog, has_subscriber};

    fn texts(log: &BufferedLog) -> Vec<String> {
        log.lines().iter().map(|line| line.text.clone()).collect()
    }

    #[tokio::test]
    async fn what_a_start_logs_is_logged_when_the_body_has_a_subscriber() {
        let log = BufferedLog::new(true);
        log.buffer(|| tracing::warn!(engine = "default", "a slip"));
        log.buffer_async(async { tracing::info!("started") }).await;
        log.buffer_async(async { tracing::debug!("a detail") })
            .await;
        assert!(!has_subscriber());

        // The body's subscriber, which keeps what it hears.
        let heard = BufferedLog::new(true);
        log.replay(async {
            tokio::task::yield_now().await;
            assert!(texts(&heard).is_empty());
            let _listening = tracing::subscriber::set_default(heard.clone());
            tracing::info!("the body");
            tokio::task::yield_now().await;
            tracing::info!("the body again");
            tokio::task::yield_now().await;
        })
        .await;
        assert_eq!(
            texts(&heard),
            [
                "the body",
                "a slip engine=\"default\"",
                "started",
                "the body again"
            ]
        );
    }

    #[tokio::test]
    async fn nothing_is_buffered_when_there_is_a_subscriber() {
        let heard = BufferedLog::new(true);
        let _listening = tracing::subscriber::set_default(heard.clone());
        let log = BufferedLog::new(true);
        log.buffer_async(async { tracing::info!("started") }).await;
        assert_eq!(texts(&heard), ["started"]);
        assert!(texts(&log).is_empty());
    }
}
