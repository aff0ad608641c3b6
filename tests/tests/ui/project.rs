//! A generated package, and cargo's messages about each of its programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A package of programs that are checked or built, but never run.
pub(crate) struct Project {
    folder: PathBuf,
    manifest: String,
}

/// One message of rustc.
pub(crate) struct Diagnostic {
    pub(crate) level: String,
    /// `E0277` or `clippy::needless_return`; empty for a macro's own errors.
    pub(crate) code: String,
    /// The text that a user sees, without colours.
    pub(crate) rendered: String,
    /// The first line of each primary span.
    pub(crate) lines: Vec<u64>,
}

impl Diagnostic {
    pub(crate) fn is_error(&self) -> bool {
        self.level == "error"
    }
}

impl Project {
    /// Creates an empty package called `name`, below cargo's folder for files of tests.
    pub(crate) fn new(name: &str) -> Self {
        Self::with_dependency(name, "poolhouse")
    }

    /// Creates a package that depends on poolhouse under another name.
    pub(crate) fn with_dependency(name: &str, poolhouse: &str) -> Self {
        Self::with_features(name, poolhouse, &["postgres", "testing"])
    }

    /// Creates a package with these features of poolhouse.
    pub(crate) fn with_features(name: &str, poolhouse: &str, features: &[&str]) -> Self {
        let folder = Self::folder(name);
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        let runtime = tests.with_file_name("runtime");
        fs::create_dir_all(&folder).expect("the folder of the tests is writable");
        fs::copy(
            tests.with_file_name("Cargo.lock"),
            folder.join("Cargo.lock"),
        )
        .expect("the workspace has a lock file");
        let manifest = format!(
            r#"[package]
name = "{name}"
version = "0.0.0"
edition = "2024"
autobins = false

[workspace]

[dependencies]
anyhow = "1"
{poolhouse} = {{ package = "poolhouse", path = '{}', default-features = false, features = {features:?} }}
sqlx = {{ version = "0.9", default-features = false }}
tokio = {{ version = "1", features = ["macros", "rt-multi-thread"] }}
"#,
            runtime.display()
        );
        Self { folder, manifest }
    }

    /// The folder of the package called `name`.
    pub(crate) fn folder(name: &str) -> PathBuf {
        target().join(name)
    }

    /// Adds the program at `path`.
    pub(crate) fn program(&mut self, name: &str, path: &Path) {
        write!(
            self.manifest,
            "\n[[bin]]\nname = {name:?}\npath = '{}'\n",
            path.display()
        )
        .expect("a string takes everything");
    }

    /// Writes a source file into the package.
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.join(name);
        write_if_changed(&path, content);
        path
    }

    /// Runs `cargo check` or `cargo clippy` and returns the messages about each program.
    pub(crate) fn run(&self, command: &str) -> BTreeMap<String, Vec<Diagnostic>> {
        self.run_with(&[command, "--keep-going"])
    }

    /// Builds the program called `name`, and returns the content of its file.
    pub(crate) fn build(&self, name: &str) -> Vec<u8> {
        let output = self.cargo(&["build"]);
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stderr),
            String::from_utf8_lossy(&output.stdout)
        );
        let file = target().join("target/debug").join(name);
        fs::read(file).expect("cargo has built it")
    }

    /// Runs cargo.
    fn cargo(&self, arguments: &[&str]) -> Output {
        write_if_changed(&self.folder.join("Cargo.toml"), &self.manifest);
        Command::new(env!("CARGO"))
            .args(arguments)
            .args(["--offline", "--quiet", "--message-format=json"])
            .current_dir(&self.folder)
            .env("CARGO_TARGET_DIR", target().join("target"))
            .env_remove("RUSTFLAGS")
            // Users build so. Without it, the compiler omits some errors at a location that already has one.
            .env("CARGO_INCREMENTAL", "1")
            .output()
            .expect("the cargo that builds this test can be run again")
    }

    /// Runs a command of cargo and returns the messages about each program.
    pub(crate) fn run_with(&self, arguments: &[&str]) -> BTreeMap<String, Vec<Diagnostic>> {
        let output = self.cargo(arguments);
        let mut said = BTreeMap::<String, Vec<Diagnostic>>::new();
        for line in output.stdout.split(|byte| *byte == b'\n') {
            let Ok(message) = serde_json::from_slice::<Value>(line) else {
                continue;
            };
            if message["reason"] == "build-finished" {
                return said;
            }
            let is_ours = message["target"]["kind"][0] == "bin";
            let name = text(&message["target"]["name"]);
            match text(&message["reason"]).as_str() {
                "compiler-artifact" if is_ours => drop(said.entry(name).or_default()),
                "compiler-message" if is_ours => {
                    said.entry(name)
                        .or_default()
                        .extend(diagnostic(&message["message"]));
                }
                _ => {}
            }
        }
        panic!(
            "`cargo {arguments:?}` did not finish:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// The folder for all packages, and for the dependencies that they share.
fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("ui")
}

/// Writes a file only if its content changes, so that cargo compiles it only then.
fn write_if_changed(path: &Path, content: &str) {
    if fs::read_to_string(path).is_ok_and(|old| old == content) {
        return;
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).expect("the folder of the tests is writable");
    }
    fs::write(path, content).expect("the folder of the tests is writable");
}

fn diagnostic(message: &Value) -> Option<Diagnostic> {
    let spans = message["spans"].as_array()?;
    let lines = spans
        .iter()
        .filter(|span| span["is_primary"] == true)
        .filter_map(|span| span["line_start"].as_u64());
    let diagnostic = Diagnostic {
        level: text(&message["level"]),
        code: text(&message["code"]["code"]),
        rendered: text(&message["rendered"]),
        lines: lines.collect(),
    };
    // The other messages are about the build: the number of errors, and where to read about them.
    (!spans.is_empty() || !text(&message["message"]).starts_with("aborting due to"))
        .then_some(diagnostic)
        .filter(|diagnostic| diagnostic.level != "failure-note")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
