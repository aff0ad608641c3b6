//! Which of an engine's hosts a connection is opened to.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::timeout;

use crate::backend::{Backend, OptionsOf};
use crate::dialect::{Diagnosis, Dialect, diagnosed, diagnosis_of, message};
use crate::error::{Error, StartError};
use crate::settings::{EngineSettings, Hosts, Target};

/// A session of one of the hosts: its server's id of it means nothing on another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionId {
    pub(crate) id: Arc<str>,
    /// A moment when it was there, as its server told it: a later session may have the same id.
    pub(super) since: Option<Arc<str>>,
    pub(in crate::pool) host: usize,
}

/// The hosts of one engine, at least one.
pub(in crate::pool) struct HostChoice<DB: Backend> {
    list: Vec<(String, OptionsOf<DB>)>,
    target: Target,
    random: bool,
    /// Parameters of the URL that the driver does not know.
    ignored: Vec<String>,
    /// The one that the last connection was opened to.
    last: AtomicUsize,
}

/// What a server says of itself, as the bits of the dialect's `session_state`.
#[derive(Clone, Copy)]
struct ServerState(i64);

impl ServerState {
    fn reads_only(self) -> bool {
        self.0 & 1 != 0
    }

    fn follows_another(self) -> bool {
        self.0 & 2 != 0
    }

    fn is(self, target: Target) -> bool {
        match target {
            Target::Any => true,
            Target::ReadWrite => !self.reads_only() && !self.follows_another(),
            Target::ReadOnly => self.reads_only() || self.follows_another(),
            Target::Primary => !self.follows_another(),
            Target::Standby | Target::PreferStandby => self.follows_another(),
        }
    }
}

impl<DB: Backend> HostChoice<DB> {
    /// Takes the URL apart and lets the driver read each host's.
    ///
    /// # Errors
    ///
    /// The list is not one, or the driver does not accept the URL.
    pub(super) fn new(settings: &EngineSettings, dialect: &Dialect) -> Result<Self, Error> {
        let hosts = if dialect.session_state.is_some() {
            Hosts::read(&settings.url, dialect.knows_parameter)
                .map_err(|problem| StartError::hosts(settings, &problem))?
        } else {
            Hosts::one(&settings.url)
        };
        let mut list = Vec::with_capacity(hosts.list.len());
        for host in hosts.list {
            let options = DB::options(&host.url, settings)
                .map_err(|error| StartError::options(settings, &error))?;
            list.push((host.name, settings.connect_with(options)?));
        }
        Ok(Self {
            list,
            target: hosts.target,
            random: hosts.random,
            ignored: hosts.ignored,
            last: AtomicUsize::new(0),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// The options of the host that the last connection was opened to.
    pub(super) fn options(&self) -> &OptionsOf<DB> {
        self.options_of(self.last.load(Relaxed))
    }

    pub(super) fn options_of(&self, host: usize) -> &OptionsOf<DB> {
        &self.list[host].1
    }

    /// Says which parameters of the URL have no effect.
    pub(super) fn warn_of_ignored(&self, settings: &EngineSettings) {
        if !self.ignored.is_empty() {
            crate::logging::warn!(
                engine = %settings.engine,
                "the driver does not know these parameters of the url, and they have no effect: {}. {}",
                self.ignored.join(", "),
                settings.describe("url"),
            );
        }
    }

    /// Whether there is nothing to choose.
    pub(in crate::pool) fn is_one(&self) -> bool {
        self.list.len() == 1 && self.target == Target::Any
    }

    /// Whether it matters what a server says of itself while a connection is open. One that was the second best when it
    /// was opened is not worth less later.
    pub(in crate::pool) fn asks(&self) -> bool {
        !matches!(self.target, Target::Any | Target::PreferStandby)
    }

    /// Opens a connection to the first host that has the sessions that are wanted. `connect` has a time limit of its own,
    /// and the question what the host is has `limit`.
    ///
    /// # Errors
    ///
    /// What each host had to say. As in libpq, one that refuses us for good ends the search.
    pub(super) async fn open<F>(
        &self,
        dialect: &Dialect,
        limit: Duration,
        connect: impl Fn(usize) -> F,
    ) -> sqlx::Result<(usize, DB::Connection)>
    where
        F: Future<Output = sqlx::Result<DB::Connection>> + Send,
    {
        if self.is_one() {
            return Ok((0, connect(0).await?));
        }
        let mut refusals = Vec::new();
        let rounds: &[Target] = match self.target {
            Target::PreferStandby => &[Target::Standby, Target::Any],
            _ => &[self.target],
        };
        for target in rounds {
            for host in self.order() {
                let opened = match connect(host).await {
                    Ok(connection) => choose::<DB>(connection, dialect, *target, limit).await,
                    Err(error) => Err(refusal(dialect, error)),
                };
                match opened {
                    Ok(connection) => {
                        self.last.store(host, Relaxed);
                        return Ok((host, connection));
                    }
                    Err(Refusal::Final(error)) => return Err(error),
                    Err(Refusal::Next { retry, reason }) => {
                        refusals.push((retry, format!("{}: {reason}", self.list[host].0)));
                    }
                }
            }
        }
        Err(no_host(self.target, refusals))
    }

    /// The order in which they are asked: as written, or by chance. Where only one of them can be right, the one that was
    /// right before comes first, so that those that are down are not waited for.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.list.len()).collect();
        if self.random {
            fastrand::shuffle(&mut order);
        } else if matches!(self.target, Target::ReadWrite | Target::Primary) {
            let last = self.last.load(Relaxed);
            order.sort_by_key(|host| *host != last);
        }
        order
    }

    /// Whether an open connection still is what is wanted.
    pub(super) async fn still_right(
        &self,
        connection: &mut DB::Connection,
        dialect: &Dialect,
    ) -> sqlx::Result<bool> {
        is::<DB>(connection, dialect, self.target).await
    }
}

/// Keeps a connection whose server is what is wanted; says goodbye to any other.
async fn choose<DB: Backend>(
    mut connection: DB::Connection,
    dialect: &Dialect,
    target: Target,
    limit: Duration,
) -> Result<DB::Connection, Refusal> {
    let refusal = match timeout(limit, is::<DB>(&mut connection, dialect, target)).await {
        Ok(Ok(true)) => return Ok(connection),
        Ok(Ok(false)) => Refusal::Next {
            retry: true,
            reason: format!("it is not {}", target.name()),
        },
        Ok(Err(error)) => refusal(dialect, error),
        Err(_) => {
            let Diagnosis { retry, what, .. } = Diagnosis::silence();
            let reason = what.into_owned();
            // It would not hear a goodbye either.
            return Err(Refusal::Next { retry, reason });
        }
    };
    let _ = timeout(limit, sqlx::Connection::close(connection)).await;
    Err(refusal)
}

async fn is<DB: Backend>(
    connection: &mut DB::Connection,
    dialect: &Dialect,
    target: Target,
) -> sqlx::Result<bool> {
    match dialect.session_state {
        Some(ask) if target != Target::Any => {
            Ok(ServerState(DB::number(connection, ask).await?).is(target))
        }
        _ => Ok(true),
    }
}

/// Why a host gave no connection.
enum Refusal {
    /// Another host would say the same.
    Final(sqlx::Error),
    Next {
        retry: bool,
        reason: String,
    },
}

fn refusal(dialect: &Dialect, error: sqlx::Error) -> Refusal {
    let diagnosis = dialect.diagnosis(&error);
    match error {
        error @ (sqlx::Error::Database(_) | sqlx::Error::Configuration(_)) if !diagnosis.retry => {
            Refusal::Final(error)
        }
        sqlx::Error::Io(error) if !diagnosis.retry && diagnosis_of(&error).is_some() => {
            Refusal::Final(sqlx::Error::Io(error))
        }
        error => Refusal::Next {
            retry: diagnosis.retry,
            reason: format!("{} ({})", diagnosis.what, message(&error)),
        },
    }
}

/// The error when no host had what is wanted.
fn no_host(target: Target, refusals: Vec<(bool, String)>) -> sqlx::Error {
    let retry = refusals.iter().any(|(retry, _)| *retry);
    let mut reasons: Vec<String> = refusals.into_iter().map(|(_, reason)| reason).collect();
    reasons.dedup();
    let wanted = match target {
        Target::Any | Target::PreferStandby => String::new(),
        target => format!(" is {}", target.name()),
    };
    let diagnosis = Diagnosis {
        retry,
        what: format!(
            "none of the hosts {}",
            if wanted.is_empty() {
                "answered".to_owned()
            } else {
                format!("that answer{wanted}")
            }
        )
        .into(),
        cure: "start one of them, or correct the hosts and target_session_attrs of the url".into(),
    };
    diagnosed(reasons.join("; "), diagnosis)
}
