//! A stand-in for CockroachDB: Postgres behind a proxy that follows CockroachDB's manual.
//!
//! Tests use it on machines without CockroachDB. Nothing is distributed, and only the following differs from Postgres.
//!
//! | what | the page of the manual |
//! |---|---|
//! | `version()` | <https://www.cockroachlabs.com/docs/stable/functions-and-operators#system-info-functions> |
//! | `SHOW session_id`, `CANCEL SESSION` | <https://www.cockroachlabs.com/docs/stable/cancel-session> |
//! | `autocommit_before_ddl`, on by default | <https://www.cockroachlabs.com/docs/stable/session-variables> |
//! | `[SHOW CLUSTER SESSIONS]` | <https://www.cockroachlabs.com/docs/stable/show-sessions> |
//! | `DROP DATABASE … CASCADE` | <https://www.cockroachlabs.com/docs/stable/drop-database> |
//! | advisory locks that lock nothing | <https://www.cockroachlabs.com/docs/stable/functions-and-operators#compatibility-functions> |
//! | no `pg_terminate_backend`, no `pg_postmaster_start_time` | <https://www.cockroachlabs.com/docs/stable/functions-and-operators> |
//! | no templates of databases | <https://www.cockroachlabs.com/docs/stable/create-database> |
//! | 40001 at a statement and at a commit | <https://www.cockroachlabs.com/docs/stable/transaction-retry-error-reference> |
//! | a `COMMIT` outside of a transaction is an error | <https://www.cockroachlabs.com/docs/stable/commit-transaction> |
//! | 40003, the ambiguous result of a commit | <https://www.cockroachlabs.com/docs/stable/common-errors#result-is-ambiguous> |
//! | 57P01 from a node that drains | <https://www.cockroachlabs.com/docs/stable/node-shutdown> |

mod link;
mod says;
pub(crate) mod wire;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use anyhow::ensure;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::{net::TcpListener, task::AbortHandle};

use crate::TestDatabase;

/// A node of the stand-in, in front of one database. Dropping it ends every connection.
#[derive(Debug)]
pub struct Cockroach {
    url: String,
    node: Arc<Node>,
    listening: AbortHandle,
}

/// State that all connections share.
#[derive(Debug)]
struct Node {
    upstream: SocketAddr,
    /// The superuser's URL, to terminate sessions.
    superuser: String,
    draining: AtomicBool,
    /// The server's process of each session, by the id that the stand-in generated.
    sessions: Mutex<HashMap<String, i32>>,
    locked: AtomicUsize,
    statements: AtomicUsize,
    faults: Mutex<Faults>,
}

/// The faults to inject next.
#[derive(Debug, Default)]
struct Faults {
    statements: usize,
    commits: usize,
    ambiguous: usize,
    /// The share of further statements and commits in transactions that meet a conflict.
    rate: f64,
    conflicts: usize,
}

impl Cockroach {
    /// Starts the node in front of a database on Postgres, on the caller's runtime.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn before(database: &TestDatabase) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let node = Arc::new(Node {
            upstream: database.address()?,
            superuser: database.server().url.clone(),
            draining: AtomicBool::new(false),
            sessions: Mutex::default(),
            locked: AtomicUsize::new(0),
            statements: AtomicUsize::new(0),
            faults: Mutex::default(),
        });
        let url = database.url_through(listener.local_addr()?);
        let listening = tokio::spawn(link::serve(listener, Arc::clone(&node))).abort_handle();
        Ok(Self {
            url,
            node,
            listening,
        })
    }

    /// The URL, with the scheme of Postgres. Only a query shows that the server is another database.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The superuser's URL, with the scheme of CockroachDB.
    ///
    /// # Errors
    /// When the server's URL is invalid.
    pub fn superuser_url(&self) -> anyhow::Result<String> {
        let mut url = url::Url::parse(&self.node.superuser)?;
        let here = url::Url::parse(&self.url)?;
        url.set_host(here.host_str())?;
        ensure!(url.set_port(here.port()).is_ok() && url.set_scheme("cockroachdb").is_ok());
        Ok(url.into())
    }

    /// Lets the next `statements` statements in transactions meet a conflict.
    pub fn conflict_at_statements(&self, statements: usize) {
        self.node.faults().statements = statements;
    }

    /// Lets the next `commits` commits meet a conflict.
    pub fn conflict_at_commits(&self, commits: usize) {
        self.node.faults().commits = commits;
    }

    /// Lets this share of statements and commits in transactions meet a conflict.
    pub fn conflicts(&self, rate: f64) {
        self.node.faults().rate = rate;
    }

    /// Lets the next `commits` commits succeed and report an ambiguous result.
    pub fn ambiguous_commits(&self, commits: usize) {
        self.node.faults().ambiguous = commits;
    }

    /// The number of conflicts so far.
    pub fn conflicted(&self) -> usize {
        self.node.faults().conflicts
    }

    /// The number of statements so far.
    pub fn statements(&self) -> usize {
        self.node.statements.load(Relaxed)
    }

    /// The number of requests for an advisory lock, which lock nothing.
    pub fn advisory_locks(&self) -> usize {
        self.node.locked.load(Relaxed)
    }

    /// Drains the node: every session ends and new ones are refused, both with 57P01.
    ///
    /// # Errors
    /// When a session cannot be terminated.
    pub async fn drain(&self) -> anyhow::Result<()> {
        self.node.draining.store(true, Relaxed);
        let sessions: Vec<String> = self.node.sessions().keys().cloned().collect();
        for session in sessions {
            self.node.end(&session).await?;
        }
        Ok(())
    }

    /// Accepts connections again.
    pub fn undrain(&self) {
        self.node.draining.store(false, Relaxed);
    }
}

impl Drop for Cockroach {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Node {
    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, i32>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Terminates a session; `false` if no session has this id.
    async fn end(&self, session: &str) -> anyhow::Result<bool> {
        let Some(process) = self.sessions().get(session).copied() else {
            return Ok(false);
        };
        let mut connection = PgConnection::connect(&self.superuser).await?;
        sqlx::raw_sql(AssertSqlSafe(format!(
            "SELECT pg_terminate_backend({process})"
        )))
        .execute(&mut connection)
        .await?;
        connection.close().await?;
        Ok(true)
    }
}

impl Faults {
    /// Whether a statement in a transaction meets a conflict.
    fn at_statement(&mut self) -> bool {
        let due = take_one(&mut self.statements) || fastrand::f64() < self.rate;
        self.conflicts += usize::from(due);
        due
    }

    fn at_commit(&mut self) -> bool {
        let due = take_one(&mut self.commits) || fastrand::f64() < self.rate;
        self.conflicts += usize::from(due);
        due
    }

    fn at_answer_of_commit(&mut self) -> bool {
        take_one(&mut self.ambiguous)
    }
}

fn take_one(left: &mut usize) -> bool {
    let some = *left > 0;
    *left = left.saturating_sub(1);
    some
}
