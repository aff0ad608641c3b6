//! The log output of the code under test.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::{filter::LevelFilter, fmt::MakeWriter};

use crate::eventually;

/// Records everything that is logged on this thread, at every level, until it is dropped.
///
/// On a current-thread runtime this includes the logs of the runtime's tasks.
#[derive(Debug)]
pub struct Heard {
    text: Text,
    _listening: DefaultGuard,
}

#[derive(Clone, Debug, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl Heard {
    /// Starts to record.
    pub fn here() -> Self {
        let text = Text::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_ansi(false)
            .without_time()
            .with_writer(text.clone())
            .finish();
        Self {
            text,
            _listening: tracing::subscriber::set_default(subscriber),
        }
    }

    /// The whole log so far.
    pub fn everything(&self) -> String {
        let text = self.text.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The lines that contain `words`.
    pub fn lines(&self, words: &str) -> Vec<String> {
        let text = self.everything();
        let lines = text.lines().filter(|line| line.contains(words));
        lines.map(str::to_owned).collect()
    }

    /// Waits for a line that contains `words`.
    ///
    /// # Errors
    /// When there is none at the limit of [`eventually()`]; the error has the whole log.
    pub async fn line(&self, words: &str) -> anyhow::Result<String> {
        eventually(words, async || {
            let line = self.lines(words).pop();
            line.with_context(|| format!("heard:\n{}", self.everything()))
        })
        .await
    }
}

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Text {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
