//! What a start logs before the program listens.
//!
//! A program sets its logging up in the body of `main`, and when that runs its pools are started. So the lines of the
//! start are kept meanwhile, and logged as soon as the body has put up a subscriber.

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
pub(super) struct Early {
    /// Whether they are kept.
    keeps: bool,
    lines: Arc<Mutex<Vec<Line>>>,
}

struct Line {
    level: Level,
    text: String,
}

impl Early {
    /// `keeps` is false in a test: who looks at one has a subscriber before it begins, and keeping costs every test.
    pub(super) fn new(keeps: bool) -> Self {
        Self {
            keeps,
            lines: Arc::default(),
        }
    }

    /// Runs the part of a start that does not wait; keeps what it logs, unless somebody listens already.
    pub(super) fn keep_of<T>(&self, part: impl FnOnce() -> T) -> T {
        if !self.keeps || somebody_listens() {
            return part();
        }
        dispatcher::with_default(&Dispatch::new(self.clone()), part)
    }

    /// As [`keep_of`](Self::keep_of), for the part that waits.
    pub(super) async fn keep<T>(&self, part: impl Future<Output = T>) -> T {
        if !self.keeps || somebody_listens() {
            return part.await;
        }
        part.with_subscriber(Dispatch::new(self.clone())).await
    }

    /// Runs the body, and logs what was kept once somebody listens.
    pub(super) async fn tell<T>(&self, body: impl Future<Output = T>) -> T {
        let mut body = pin!(body);
        let mut untold = !self.lines().is_empty();
        poll_fn(|context| {
            let polled = body.as_mut().poll(context);
            if untold && somebody_listens() {
                untold = false;
                self.lines().drain(..).for_each(Line::log);
            }
            polled
        })
        .await
    }

    fn lines(&self) -> MutexGuard<'_, Vec<Line>> {
        // Nothing panics while the lock is held.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn somebody_listens() -> bool {
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
impl Subscriber for Early {
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
    use super::{Early, somebody_listens};

    fn texts(early: &Early) -> Vec<String> {
        early.lines().iter().map(|line| line.text.clone()).collect()
    }

    #[tokio::test]
    async fn what_a_start_logs_is_told_when_the_body_listens() {
        let early = Early::new(true);
        early.keep_of(|| tracing::warn!(engine = "default", "a slip"));
        early.keep(async { tracing::info!("started") }).await;
        early.keep(async { tracing::debug!("a detail") }).await;
        assert!(!somebody_listens());

        // The body's subscriber, which keeps what it hears.
        let heard = Early::new(true);
        early
            .tell(async {
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
    async fn nothing_is_kept_when_somebody_listens_already() {
        let heard = Early::new(true);
        let _listening = tracing::subscriber::set_default(heard.clone());
        let early = Early::new(true);
        early.keep(async { tracing::info!("started") }).await;
        assert_eq!(texts(&heard), ["started"]);
        assert!(texts(&early).is_empty());
    }
}
