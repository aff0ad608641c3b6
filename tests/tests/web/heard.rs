//! The log of the whole process, because servers have their own threads.

use std::io::{self, Write};
use std::sync::{LazyLock, Mutex, PoisonError};

use tracing_subscriber::filter::LevelFilter;

static TEXT: LazyLock<Mutex<Vec<u8>>> = LazyLock::new(|| {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::WARN)
        .with_ansi(false)
        .with_writer(|| Text)
        .finish();
    // This cannot fail: nothing else in this binary sets a global subscriber.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Mutex::default()
});

struct Text;

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = TEXT.lock().unwrap_or_else(PoisonError::into_inner);
        text.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts to record the log.
pub(crate) fn listen() {
    LazyLock::force(&TEXT);
}

/// The lines with all these words.
pub(crate) fn lines(words: &[&str]) -> Vec<String> {
    let text = TEXT.lock().unwrap_or_else(PoisonError::into_inner);
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines = text
        .lines()
        .filter(|line| words.iter().all(|word| line.contains(word)));
    lines.map(str::to_owned).collect()
}
