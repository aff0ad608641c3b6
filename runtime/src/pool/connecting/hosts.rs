//! The choice of a host for a connection.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::timeout;

use super::credentials::{KEEP_OPTIONS, OTHER_DATABASE};
use crate::backend::{Backend, OptionsOf};
use crate::dialect::{Diagnosis, Dialect, diagnosed, message};
use crate::error::{Error, StartError, TestError, TestKind};
use crate::settings::{EngineSettings, Hosts, Target};

/// A session's id with its host, because the id has no meaning on another host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionId {
    pub(crate) id: Arc<str>,
    /// Distinguishes the session from another one with the same id: a time at which it existed, and what distinguishes its
    /// server, in the server's own format.
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
    /// The index of the host that the last connection was opened to.
    last: AtomicUsize,
}

/// A server's role and whether it is cut off, as the bits of the dialect's `session_state`.
#[derive(Clone, Copy)]
struct ServerState(i64);

impl ServerState {
    fn reads_only(self) -> bool {
        self.0 & 1 != 0
    }

    fn follows_another(self) -> bool {
        self.0 & 2 != 0
    }

    fn is_cut_off(self) -> bool {
        self.0 & 4 != 0
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

    /// Why the server is not used; `None` if it is.
    fn objection(self, target: Target) -> Option<String> {
        if self.is_cut_off() {
            return Some("it is cut off from its cluster, or has not joined it".to_owned());
        }
        (!self.is(target)).then(|| format!("it is not {}", target.name()))
    }
}

impl<DB: Backend> HostChoice<DB> {
    /// Splits the URL by host, lets the driver parse each host's URL, and applies `connect_with`.
    ///
    /// # Errors
    ///
    /// The host list is invalid, the driver does not accept a URL, or `connect_with` does not fit.
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
            list.push((host.name, changed::<DB>(settings, options)?));
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

    /// Warns of URL parameters that have no effect.
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

    /// Whether there is one host only, and any role of it is accepted.
    pub(in crate::pool) fn is_one(&self) -> bool {
        self.list.len() == 1 && self.target == Target::Any
    }

    /// Whether the server's state is checked again while a connection is open. With `any` and `prefer-standby` its role is
    /// not, because the second choice stays acceptable.
    pub(in crate::pool) fn asks(&self, dialect: &Dialect) -> bool {
        let may_be_cut_off = self.list.len() > 1 && dialect.hosts_may_be_cut_off;
        may_be_cut_off || !matches!(self.target, Target::Any | Target::PreferStandby)
    }

    /// Opens a connection to the first host that has the wanted role and is not cut off. `connect` has its own time limit;
    /// `limit` is that of the query for the host's state.
    ///
    /// # Errors
    ///
    /// The refusals of all hosts. A refusal that each host would repeat ends the search, such as that of a wrong password.
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
        let mut refusals: Vec<(Diagnosis, String)> = Vec::new();
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
                    Err(Refusal::Next { diagnosis, reason }) => {
                        refusals.push((diagnosis, format!("{}: {reason}", self.list[host].0)));
                    }
                }
            }
        }
        Err(no_host(self.target, refusals))
    }

    /// The order of the hosts: as written, or random. If only one host can have the wanted role, the last one used comes
    /// first, so that no time is lost on hosts that are down.
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

    /// Whether the server of an open connection still has the wanted role, and is not cut off.
    pub(super) async fn still_right(
        &self,
        connection: &mut DB::Connection,
        dialect: &Dialect,
    ) -> sqlx::Result<bool> {
        let target = match self.target {
            Target::PreferStandby => Target::Any,
            target => target,
        };
        let objection = objection::<DB>(connection, dialect, target).await?;
        Ok(objection.is_none())
    }
}

/// The options as `connect_with` changes them.
///
/// # Errors
///
/// The function is for another driver; or it changes the database of a test.
fn changed<DB: Backend>(
    settings: &EngineSettings,
    options: OptionsOf<DB>,
) -> Result<OptionsOf<DB>, Error> {
    let database = DB::database_of(&options).filter(|_| settings.keeps_database);
    let options = settings.connect_with(options)?;
    let Some(source) = settings.connect_source::<OptionsOf<DB>>() else {
        return Ok(options);
    };
    if database.is_some() && DB::database_of(&options) != database {
        let what = format!("connect_with ({source}) {OTHER_DATABASE}");
        return Err(TestError::new(settings, TestKind::Url, what, KEEP_OPTIONS).into());
    }
    Ok(DB::corrected(options))
}

/// Keeps a connection whose server has the wanted role and is not cut off, and closes any other.
async fn choose<DB: Backend>(
    mut connection: DB::Connection,
    dialect: &Dialect,
    target: Target,
    limit: Duration,
) -> Result<DB::Connection, Refusal> {
    let asked = objection::<DB>(&mut connection, dialect, target);
    let refusal = match timeout(limit, asked).await {
        Ok(Ok(None)) => return Ok(connection),
        Ok(Ok(Some(reason))) => Refusal::Next {
            diagnosis: Diagnosis::retry("the host has another role, or is cut off", ""),
            reason,
        },
        Ok(Err(error)) => refusal(dialect, error),
        Err(_) => {
            let diagnosis = Diagnosis::no_answer();
            let reason = diagnosis.what.to_string();
            // A server that does not answer gets no close message.
            return Err(Refusal::Next { diagnosis, reason });
        }
    };
    let _ = timeout(limit, sqlx::Connection::close(connection)).await;
    Err(refusal)
}

/// Why the connection's server is not used; `None` if it is.
async fn objection<DB: Backend>(
    connection: &mut DB::Connection,
    dialect: &Dialect,
    target: Target,
) -> sqlx::Result<Option<String>> {
    match dialect.session_state {
        Some(ask) if target != Target::Any || dialect.hosts_may_be_cut_off => {
            let state = ServerState(DB::number(connection, ask).await?);
            Ok(state.objection(target))
        }
        _ => Ok(None),
    }
}

/// Why a host gave no connection.
enum Refusal {
    /// Another host would refuse for the same reason.
    Final(sqlx::Error),
    Next {
        diagnosis: Diagnosis,
        reason: String,
    },
}

fn refusal(dialect: &Dialect, error: sqlx::Error) -> Refusal {
    let diagnosis = dialect.diagnosis(&error);
    if diagnosis.everywhere {
        return Refusal::Final(error);
    }
    let reason = format!("{} ({})", diagnosis.what, message(&error));
    Refusal::Next { diagnosis, reason }
}

/// The error if no host is used.
fn no_host(target: Target, refusals: Vec<(Diagnosis, String)>) -> sqlx::Error {
    let retry = refusals.iter().any(|(of, _)| of.retry);
    let full = refusals.iter().any(|(of, _)| of.full);
    let mut reasons: Vec<String> = refusals.into_iter().map(|(_, reason)| reason).collect();
    reasons.dedup();
    let diagnosis = Diagnosis {
        retry,
        everywhere: false,
        what: match target {
            Target::Any | Target::PreferStandby => "none of the hosts can be used".into(),
            target => format!("none of the hosts that answer is {}", target.name()).into(),
        },
        cure: "start one of them, or correct the hosts and target_session_attrs of the url".into(),
        full,
    };
    diagnosed(reasons.join("; "), diagnosis)
}
