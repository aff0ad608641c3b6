//! A run of the program, and the comparison of its output with the expected one.

use std::{env, fs, path::Path};

use anyhow::{Context, ensure};
use poolhouse_tests::{
    Program, TestDatabase,
    program::{Ended, Running},
};

/// One run of the program under `POOLHOUSE_RUN`.
pub(crate) struct Run {
    program: Program,
    /// The texts that differ between runs, each with its replacement.
    masks: Vec<(String, &'static str)>,
    secrets: Vec<String>,
}

impl Run {
    pub(crate) fn new(command: &str) -> anyhow::Result<Self> {
        let program = Program::new(env!("CARGO_BIN_EXE_operated"))?;
        let folder = program.folder().display().to_string();
        Ok(Self {
            program: program.variable("POOLHOUSE_RUN", command),
            masks: vec![(folder, "FOLDER")],
            secrets: vec![],
        })
    }

    /// Sets the database of the default engine.
    pub(crate) fn on(self, database: &TestDatabase) -> anyhow::Result<Self> {
        Ok(self
            .knows(database)?
            .variable("DATABASE_URL", database.url()))
    }

    /// Masks the name and the address of a database, and makes its password a secret.
    pub(crate) fn knows(mut self, database: &TestDatabase) -> anyhow::Result<Self> {
        self.masks.push((database.name().to_owned(), "NAME"));
        self.masks.push((database.address()?.to_string(), "HOST"));
        Ok(self.secret(database.password()))
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.program = self.program.variable(name, value);
        self
    }

    pub(crate) fn mask(mut self, text: impl Into<String>, with: &'static str) -> Self {
        self.masks.push((text.into(), with));
        self
    }

    /// Adds a text that must not be in the output.
    pub(crate) fn secret(mut self, secret: &str) -> Self {
        self.secrets.push(secret.to_owned());
        self
    }

    /// Writes a file into the program's folder.
    pub(crate) fn file(self, name: &str, content: &str) -> anyhow::Result<Self> {
        let path = self.program.folder().join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, content)?;
        Ok(self)
    }

    /// Runs the program, and compares its exit code and its output.
    pub(crate) async fn golden(self, name: &str, code: i32) -> anyhow::Result<()> {
        let (masks, secrets) = (self.masks.clone(), self.secrets.clone());
        let ended = self.run(code).await?;
        compare(name, &masked(&ended.everything(), &masks))?;
        for secret in secrets {
            ensure!(
                !ended.everything().contains(&secret),
                "{name}: {secret} is in the output"
            );
        }
        Ok(())
    }

    /// Starts the program.
    pub(crate) fn start(self) -> anyhow::Result<Running> {
        self.program.start()
    }

    /// Runs the program, and checks its exit code.
    pub(crate) async fn run(self, code: i32) -> anyhow::Result<Ended> {
        let ended = self.program.run().await?;
        let said = ended.everything();
        ensure!(
            ended.code() == Some(code),
            "{} instead of {code}:\n{said}",
            ended.status
        );
        ensure!(!said.contains("the body runs"), "{said}");
        Ok(ended)
    }
}

fn masked(text: &str, masks: &[(String, &'static str)]) -> String {
    let mut text = text.to_owned();
    for (what, with) in masks {
        text = text.replace(what, with);
    }
    let lines = text
        .lines()
        .map(|line| without_source_line(&without_times(&without_version(line))));
    lines.map(|line| line + "\n").collect()
}

/// A line about an engine without the version of its server.
fn without_version(line: &str) -> String {
    for kind in ["Postgres ", "MySQL ", "SQLite "] {
        let name = format!(": {kind}");
        if line.starts_with("engine `")
            && let Some((before, version)) = line.split_once(&name)
            && version.starts_with(|c: char| c.is_ascii_digit())
        {
            return format!("{before}{name}VERSION");
        }
    }
    if line.trim_start().starts_with("\"version\": \"") {
        let (before, _) = line.split_once(':').unwrap_or_default();
        return format!("{before}: \"VERSION\",");
    }
    line.to_owned()
}

/// A line without the line number of Postgres's source, which the driver adds to the message.
fn without_source_line(line: &str) -> String {
    let Some((before, after)) = line.split_once(" at line ") else {
        return line.to_owned();
    };
    let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{before} at line N{after}")
}

/// A line without durations: words after `in` that begin with a digit and end with `s`.
fn without_times(line: &str) -> String {
    let mut words: Vec<&str> = line.split(' ').collect();
    for at in 1..words.len() {
        let is_time = words[at].starts_with(|c: char| c.is_ascii_digit())
            && words[at].trim_end_matches([';', ',', '.']).ends_with('s');
        if words[at - 1] == "in" && is_time {
            words[at] = if words[at].ends_with(';') {
                "TIME;"
            } else {
                "TIME"
            };
        }
    }
    words.join(" ")
}

fn compare(name: &str, output: &str) -> anyhow::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/operated/golden");
    let path = folder.join(format!("{name}.txt"));
    if env::var("POOLHOUSE_GOLDEN").is_ok_and(|wish| wish == "update") {
        fs::create_dir_all(&folder)?;
        return Ok(fs::write(&path, output)?);
    }
    let expected = fs::read_to_string(&path)
        .with_context(|| format!("no {}; the output is:\n{output}", path.display()))?;
    ensure!(
        output == expected,
        "{name}: the output is\n{output}\nand not\n{expected}"
    );
    Ok(())
}
