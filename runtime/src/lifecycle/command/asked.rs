//! The command that an attributed `main` runs instead of its body, from the environment.

use std::env;
use std::process;

use crate::engine::Operation;
use crate::logging;

/// The variable that selects the operation.
const RUN: &str = "POOLHOUSE_RUN";

/// The variable that selects the format of the answer.
const OUTPUT: &str = "POOLHOUSE_OUTPUT";

/// The operation, and the format of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::lifecycle) struct Command {
    pub(super) operation: Operation,
    pub(super) output: Output,
}

/// The format of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Lines for people.
    Text,
    /// One JSON document.
    Json,
}

impl Command {
    /// Reads the command from the environment; `None` when the body is to run. An unknown command ends the process, because to
    /// run the body instead of a check could do anything.
    pub(in crate::lifecycle) fn of_environment() -> Option<Self> {
        let value = |name| {
            let value = env::var_os(name).filter(|value| !value.is_empty());
            value.map(|value| value.to_string_lossy().into_owned())
        };
        match Self::read(value(RUN).as_deref(), value(OUTPUT).as_deref()) {
            Ok(command) => command,
            Err(error) => {
                logging::print(format_args!("Error: {error}"));
                process::exit(1)
            }
        }
    }

    fn read(run: Option<&str>, output: Option<&str>) -> Result<Option<Self>, String> {
        let Some(run) = run else {
            return Ok(None);
        };
        let operation = match run {
            "check" => Operation::Check,
            "migrate" => Operation::Migrate,
            "info" => Operation::Info,
            _ => return Err(unknown(RUN, run, &["check", "migrate", "info"])),
        };
        let output = match output {
            None | Some("text") => Output::Text,
            Some("json") => Output::Json,
            Some(output) => return Err(unknown(OUTPUT, output, &["text", "json"])),
        };
        Ok(Some(Self { operation, output }))
    }

    /// The operation's name in the environment.
    pub(super) fn name(self) -> &'static str {
        match self.operation {
            Operation::Check => "check",
            Operation::Migrate => "migrate",
            Operation::Info => "info",
        }
    }
}

fn unknown(variable: &str, value: &str, known: &[&str]) -> String {
    // The value may be a secret, so it is shown only if it looks like a typing error.
    let is_word = value.len() <= 20 && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let shown = if is_word {
        format!("{value:?}")
    } else {
        "***".to_owned()
    };
    let known: Vec<String> = known.iter().map(|word| format!("{word:?}")).collect();
    let Some((last, first)) = known.split_last() else {
        return String::new();
    };
    format!(
        "{variable} = {shown} (environment): expected {} or {last}. The program's own code was not run",
        first.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::{Command, Operation, Output};

    #[test]
    fn the_environment_asks_for_a_command_or_for_nothing() {
        let command = |operation, output| Ok(Some(Command { operation, output }));
        let read = Command::read;
        assert_eq!(read(None, None), Ok(None));
        assert_eq!(read(None, Some("yaml")), Ok(None));
        assert_eq!(
            read(Some("check"), None),
            command(Operation::Check, Output::Text)
        );
        assert_eq!(
            read(Some("migrate"), Some("text")),
            command(Operation::Migrate, Output::Text)
        );
        assert_eq!(
            read(Some("info"), Some("json")),
            command(Operation::Info, Output::Json)
        );
        assert_eq!(
            read(Some("chek"), None).unwrap_err(),
            "POOLHOUSE_RUN = \"chek\" (environment): expected \"check\", \"migrate\" or \"info\". The program's own code was \
             not run"
        );
        let error = read(Some("check"), Some("postgres://u:secret@h")).unwrap_err();
        assert!(
            error.contains("***") && !error.contains("secret"),
            "{error}"
        );
    }
}
