//! Logs the lines of a start after the body has set up its logging.

use std::future::{Future, poll_fn};
use std::pin::pin;

use crate::logging::{self, Buffering};

/// The buffered log of one run.
pub(super) struct BufferedLog(Option<Buffering>);

impl BufferedLog {
    /// `buffers` is false in a test, because its log is set up before it begins, and buffering takes time in every test.
    pub(super) fn new(buffers: bool) -> Self {
        Self(buffers.then(Buffering::begin))
    }

    /// Writes the warnings of a start that has failed to the standard error, when nobody can log them any more.
    pub(super) fn give_up(&mut self) {
        if self.0.take().is_some() {
            for warning in logging::take_lost_warnings() {
                logging::print(format_args!("Warning: {warning}"));
            }
        }
    }

    /// Runs the body, and logs the earlier lines once logging is set up.
    pub(super) async fn replay<T>(self, body: impl Future<Output = T>) -> T {
        let mut body = pin!(body);
        let mut buffering = self.0;
        poll_fn(|context| {
            let polled = body.as_mut().poll(context);
            if buffering.is_some() && logging::is_heard() {
                buffering = None;
                logging::replay();
            }
            polled
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::{self, Write};
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing::{Event, Metadata, Subscriber, span};

    use super::BufferedLog;
    use crate::lock::lock;
    use crate::logging;

    /// A subscriber that keeps the messages of this crate that contain `-marked`.
    #[derive(Clone, Default)]
    struct Hears(Arc<Mutex<Vec<String>>>);

    impl Hears {
        fn texts(&self) -> Vec<String> {
            lock(&self.0).clone()
        }
    }

    #[derive(Default)]
    struct Text(String);

    impl Visit for Text {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            if field.name() == "message" {
                let _ = write!(self.0, "{value:?}");
            }
        }
    }

    impl Subscriber for Hears {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.is_event()
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, event: &Event<'_>) {
            let mut text = Text::default();
            event.record(&mut text);
            // Other tests of this process may log too.
            if text.0.contains("-marked") {
                lock(&self.0).push(text.0);
            }
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    #[tokio::test]
    async fn what_a_start_logs_is_logged_when_the_body_has_a_subscriber() {
        let log = BufferedLog::new(true);
        logging::warn!(engine = "default", "a slip-marked");
        tokio::spawn(async { logging::info!("started-marked") })
            .await
            .unwrap();

        let heard = Hears::default();
        log.replay(async {
            tokio::task::yield_now().await;
            assert!(heard.texts().is_empty());
            let _listening = tracing::subscriber::set_default(heard.clone());
            logging::info!("the body-marked");
            tokio::task::yield_now().await;
            logging::info!("the body again-marked");
            tokio::task::yield_now().await;
        })
        .await;
        assert_eq!(
            heard.texts(),
            [
                "the body-marked",
                "a slip-marked engine=\"default\"",
                "started-marked",
                "the body again-marked"
            ]
        );
    }

    #[tokio::test]
    async fn nothing_is_buffered_when_somebody_listens() {
        let heard = Hears::default();
        let _listening = tracing::subscriber::set_default(heard.clone());
        let _log = BufferedLog::new(true);
        logging::info!("heard-marked");
        assert_eq!(heard.texts(), ["heard-marked"]);
    }
}
