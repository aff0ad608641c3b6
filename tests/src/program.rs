//! A program as a child process: its lines, signals to it, and its exit status.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context;
use nix::{sys::signal::kill, unistd::Pid};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

pub use nix::sys::signal::Signal;

/// The longest time that a test waits for a line or for a program's end. It is longer than the programs' own limits, so that only
/// a hanging program takes it in full.
pub const LIMIT: Duration = Duration::from_mins(1);

/// The variables that a program inherits. A `DATABASE_URL` or `PGPASSWORD` of the machine must not reach it.
const KEPT: [&str; 4] = ["PATH", "TMPDIR", "RUST_BACKTRACE", "LLVM_PROFILE_FILE"];

/// A program before its start, with an otherwise empty environment. Its working and home folder is empty.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(String, OsString)>,
    folder: TempDir,
}

impl Program {
    /// The program at `path`. For a program of the tests' own package, that is `env!("CARGO_BIN_EXE_name")`.
    ///
    /// # Errors
    /// When no temporary folder can be created for it.
    pub fn new(path: impl Into<PathBuf>) -> anyhow::Result<Self> {
        Ok(Self {
            path: path.into(),
            arguments: Vec::new(),
            variables: Vec::new(),
            folder: TempDir::new()?,
        })
    }

    /// An example, which a test of the whole workspace builds. The quickstart has its own package; the example of its name only
    /// makes cargo build it.
    ///
    /// # Errors
    /// When the example has not been built, and as [`Program::new`].
    pub fn example(name: &str) -> anyhow::Result<Self> {
        // target/<profile>/deps/<this> or target/<profile>/<this>
        let this = env::current_exe()?;
        let path = this
            .ancestors()
            .flat_map(|folder| [folder.join(name), folder.join("examples").join(name)])
            .find(|path| path.is_file())
            .with_context(|| {
                format!(
                    "no example `{name}` here: `cargo build --workspace --bins --examples` makes it"
                )
            })?;
        Self::new(path)
    }

    /// Adds an argument.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// Writes a file to the program's folder.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn file(self, name: &str, content: &str) -> anyhow::Result<Self> {
        fs::write(self.folder.path().join(name), content)?;
        Ok(self)
    }

    /// The program's working folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the program.
    ///
    /// # Errors
    /// When the program cannot be started.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(self) -> anyhow::Result<Running> {
        let mut child = Command::new(&self.path)
            .args(&self.arguments)
            .env_clear()
            .envs(
                KEPT.iter()
                    .filter_map(|name| Some((name, env::var_os(name)?))),
            )
            .env("HOME", self.folder.path())
            .envs(self.variables)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.path.display()))?;
        let (lines, said) = watch::channel(Vec::new());
        let out = child.stdout.take().context("no standard output")?;
        let err = child.stderr.take().context("no standard error")?;
        let readers = [
            tokio::spawn(read(out, Stream::Output, lines.clone())),
            tokio::spawn(read(err, Stream::Error, lines)),
        ];
        Ok(Running {
            path: self.path,
            child,
            said,
            readers,
            folder: self.folder,
        })
    }

    /// Starts the program and waits for its end.
    ///
    /// # Errors
    /// As [`Program::start`] and [`Running::end`].
    pub async fn run(self) -> anyhow::Result<Ended> {
        self.start()?.end().await
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Output,
    Error,
}

type Line = (Stream, String);

async fn read(stream: impl AsyncRead + Unpin, name: Stream, lines: watch::Sender<Vec<Line>>) {
    let mut bytes = BufReader::new(stream).split(b'\n');
    while let Ok(Some(line)) = bytes.next_segment().await {
        lines.send_modify(|lines| lines.push((name, String::from_utf8_lossy(&line).into_owned())));
    }
}

/// A running program. Dropping the value kills it.
#[derive(Debug)]
pub struct Running {
    path: PathBuf,
    child: Child,
    said: watch::Receiver<Vec<Line>>,
    readers: [JoinHandle<()>; 2],
    folder: TempDir,
}

impl Running {
    /// Waits for a line that contains `words`, on either stream, and returns it. Earlier lines count too.
    ///
    /// # Errors
    /// When the program ends without the line or [`LIMIT`] passes; the error has the program's output.
    pub async fn line(&mut self, words: &str) -> anyhow::Result<String> {
        let find = |lines: &[Line]| lines.iter().find(|(_, line)| line.contains(words)).cloned();
        let found = match timeout(LIMIT, self.said.wait_for(|lines| find(lines).is_some())).await {
            Ok(Ok(lines)) => find(&lines).context("the line is gone"),
            Ok(Err(_)) => Err(anyhow::anyhow!("it ended without saying so")),
            Err(_) => Err(anyhow::anyhow!("it did not say so within {LIMIT:?}")),
        };
        let (_, line) =
            found.with_context(|| format!("waited for {words:?} from {}", self.so_far()))?;
        Ok(line)
    }

    /// Sends a signal to the program.
    ///
    /// # Errors
    /// When the program has ended and been waited for.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let id = self.id().context("it has ended")?;
        Ok(kill(Pid::from_raw(i32::try_from(id)?), signal)?)
    }

    /// The output so far, on both streams.
    pub fn said(&self) -> String {
        self.said_on(|_| true)
    }

    /// The process id until the program has been waited for.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// The program's working folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits for the program's end.
    ///
    /// # Errors
    /// When it still runs after [`LIMIT`]. The error has the program's output, and the program is killed.
    pub async fn end(mut self) -> anyhow::Result<Ended> {
        let Ok(status) = timeout(LIMIT, self.child.wait()).await else {
            anyhow::bail!("still running after {LIMIT:?}: {}", self.so_far());
        };
        let status = status?;
        // A grandchild may keep the streams open after the program's end.
        for reader in &mut self.readers {
            timeout(LIMIT, reader)
                .await
                .context("its streams are still open")??;
        }
        let of = |stream| self.said_on(|line| line == stream);
        Ok(Ended {
            status,
            output: of(Stream::Output),
            error: of(Stream::Error),
            folder: self.folder,
        })
    }

    /// Sends a signal again and again until the program ends.
    ///
    /// # Errors
    /// As [`end`](Self::end).
    pub async fn end_by(self, signal: Signal) -> anyhow::Result<Ended> {
        let id = Pid::from_raw(i32::try_from(self.id().context("it has ended")?)?);
        let signals = async {
            loop {
                // It has ended, and `end` sees that.
                let _ = kill(id, signal);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            ended = self.end() => ended,
            () = signals => unreachable!("it has no end"),
        }
    }

    fn so_far(&self) -> String {
        format!(
            "{}, which said so far:\n{}",
            self.path.display(),
            self.said_on(|_| true)
        )
    }

    fn said_on(&self, wanted: impl Fn(Stream) -> bool) -> String {
        let mut text = String::new();
        for (_, line) in self
            .said
            .borrow()
            .iter()
            .filter(|(stream, _)| wanted(*stream))
        {
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

/// A program that has ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit status.
    pub status: ExitStatus,
    /// The whole standard output.
    pub output: String,
    /// The whole standard error.
    pub error: String,
    folder: TempDir,
}

impl Ended {
    /// The exit code; `None` after a signal.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Both streams, one after the other.
    pub fn everything(&self) -> String {
        format!("{}{}", self.output, self.error)
    }

    /// The program's working folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Whether a process with this id runs. An ended process does not, even before it has been waited for.
pub fn runs(id: u32) -> bool {
    // https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html; other systems have no such file.
    let ended = |stat: String| stat.contains(") Z ");
    let exists = i32::try_from(id).is_ok_and(|id| kill(Pid::from_raw(id), None).is_ok());
    exists && !fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(ended)
}
