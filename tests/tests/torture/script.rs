//! The steps of one test, as text from the torture to its victim.

use std::time::Duration;

/// One step of a test.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Compares the database with a fresh one.
    Check,
    /// Runs statements on a checkout that the test holds.
    Run(String),
    /// Runs a statement in a transaction that is never ended.
    Transaction(String),
    /// Runs statements on a connection beside the engine's.
    Visit(String),
    /// Runs a statement on a connection beside the engine's, after the body has ended.
    Linger(String),
    /// Runs a statement repeatedly in a detached task.
    Spawn(String),
    /// Leaks a checkout.
    Leak,
    /// Lets the server end a session.
    Lose,
    /// Panics.
    Fail,
    /// Ends the process with SIGABRT.
    Abort,
    /// Exits the process without a close message to the server.
    Exit,
    /// Waits until the process is killed.
    Hang,
    /// Waits for this time.
    Wait(Duration),
}

/// All steps of a test.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Script {
    pub(crate) steps: Vec<Step>,
}

impl Script {
    /// The text of the script.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for step in &self.steps {
            let line = match step {
                Step::Check => "check".to_owned(),
                Step::Run(sql) => format!("run {sql}"),
                Step::Transaction(sql) => format!("transaction {sql}"),
                Step::Visit(sql) => format!("visit {sql}"),
                Step::Linger(sql) => format!("linger {sql}"),
                Step::Spawn(sql) => format!("spawn {sql}"),
                Step::Leak => "leak".to_owned(),
                Step::Lose => "lose".to_owned(),
                Step::Fail => "fail".to_owned(),
                Step::Abort => "abort".to_owned(),
                Step::Exit => "exit".to_owned(),
                Step::Hang => "hang".to_owned(),
                Step::Wait(time) => format!("wait {}", time.as_millis()),
            };
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    /// Parses the text of a script.
    ///
    /// # Panics
    /// On a text that [`Script::text`] does not write.
    pub(crate) fn read(text: &str) -> Self {
        let steps = text.lines().map(|line| {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let sql = rest.to_owned();
            match word {
                "check" => Step::Check,
                "run" => Step::Run(sql),
                "transaction" => Step::Transaction(sql),
                "visit" => Step::Visit(sql),
                "linger" => Step::Linger(sql),
                "spawn" => Step::Spawn(sql),
                "leak" => Step::Leak,
                "lose" => Step::Lose,
                "fail" => Step::Fail,
                "abort" => Step::Abort,
                "exit" => Step::Exit,
                "hang" => Step::Hang,
                "wait" => Step::Wait(Duration::from_millis(rest.parse().unwrap())),
                _ => panic!("no such step: {line}"),
            }
        });
        Self {
            steps: steps.collect(),
        }
    }

    /// Whether the process ends with this test.
    pub(crate) fn is_deadly(&self) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(step, Step::Abort | Step::Exit | Step::Hang))
    }

    pub(crate) fn hangs(&self) -> bool {
        self.steps.contains(&Step::Hang)
    }
}
