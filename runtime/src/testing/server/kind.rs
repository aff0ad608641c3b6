//! What differs from database to database, over one connection.

use crate::backend::Backend;
use crate::error::Error;
use crate::settings::EngineSettings;
use crate::testing::test::Test;

/// What the names of all test databases begin with.
pub(in crate::testing) const PREFIX: &str = "poolhouse_";

/// The driver's connection of a kind.
pub(in crate::testing) type ConnectionOf<K> = <<K as Kind>::DB as sqlx::Database>::Connection;

/// A kind of database server.
///
/// Locks are named, belong to the session that takes them, and end with it. A method that gets a connection gets the one
/// that holds the locks, unless it says otherwise.
pub(in crate::testing) trait Kind: Sized + Send + Sync + 'static {
    type DB: Backend;

    /// What a template holds: enough to clone it, and to show that a database is what it is.
    type Content: Send + Sync + 'static;

    /// What tells the changes of a leased database from what was there before.
    type Since: Clone + Send + Sync + 'static;

    /// Whether a connection can be brought to the state of one that has just been opened.
    const KEEPS_CONNECTIONS: bool;

    /// A statement that each connection of this process's own runs first. It turns off the limits of the server and the user for
    /// idle sessions, because a lease ends with its session, and for long statements.
    const SESSION: &'static str;

    /// Opens the connection that holds the locks, and names the database in which it is.
    fn meet(
        settings: &EngineSettings,
    ) -> impl Future<Output = Result<(ConnectionOf<Self>, String), Error>> + Send;

    /// Reads what is known of the server once for each connection.
    fn identity(
        connection: &mut ConnectionOf<Self>,
    ) -> impl Future<Output = sqlx::Result<Identity>> + Send;

    /// Takes at most `most` of these locks, of those that are free.
    fn lock(
        connection: &mut ConnectionOf<Self>,
        keys: &[String],
        most: usize,
    ) -> impl Future<Output = sqlx::Result<Vec<String>>> + Send;

    /// Releases locks.
    fn unlock(
        connection: &mut ConnectionOf<Self>,
        keys: &[String],
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Lists the databases of tests, the oldest first where the server tells.
    fn list(
        connection: &mut ConnectionOf<Self>,
    ) -> impl Future<Output = sqlx::Result<Vec<Found>>> + Send;

    /// Reads the template of this fingerprint; `None` when it is not there, or not complete. Notes that it is used today.
    fn find_template(
        connection: &mut ConnectionOf<Self>,
        fingerprint: &str,
        identity: &Identity,
    ) -> impl Future<Output = sqlx::Result<Option<Self::Content>>> + Send;

    /// Marks a ready database, which has this name now, as leased, and tells its name from now on; `None` when it is not ready
    /// any more. Its lock is held.
    fn begin_lease(
        connection: &mut ConnectionOf<Self>,
        database: &str,
        name: &CloneName<'_>,
    ) -> impl Future<Output = sqlx::Result<Option<(String, Self::Since)>>> + Send;

    /// Marks a leased database as kept.
    fn keep(
        connection: &mut ConnectionOf<Self>,
        database: &str,
        test: &Test,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Drops a database and what says something of it, over a connection for work that takes long. Ends the sessions in it.
    fn drop(
        connection: &mut ConnectionOf<Self>,
        database: &str,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Removes what is left of this process's own when no database of tests is.
    fn removed_all(_: &mut ConnectionOf<Self>) -> impl Future<Output = sqlx::Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// Counts the sessions in a database.
    fn sessions(
        connection: &mut ConnectionOf<Self>,
        database: &str,
    ) -> impl Future<Output = sqlx::Result<i64>> + Send;

    /// Notes a connection into the leased database that this process has opened, and looks through it where need be.
    fn opened(
        connection: &mut ConnectionOf<Self>,
        since: &mut Self::Since,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Notes that a test's engine has opened and closed so many further connections.
    fn opened_by_engine(since: &mut Self::Since, connections: i64);

    /// Removes all that belongs to the session of a test; false when that cannot be done.
    fn clear_session(
        connection: &mut ConnectionOf<Self>,
    ) -> impl Future<Output = sqlx::Result<bool>> + Send;

    /// Whether the rollback of a transaction undoes whatever was written to a database like this.
    fn rollback_undoes_all(content: &Self::Content) -> bool;

    /// Ends the transaction of a test that rolls back, and all that belongs to its session; false when the connection must
    /// not be used again.
    fn end_rollback(
        connection: &mut ConnectionOf<Self>,
    ) -> impl Future<Output = sqlx::Result<bool>> + Send;
}

/// What is known of a server.
#[derive(Clone, Debug)]
pub(in crate::testing) struct Identity {
    /// What the server adds to every fingerprint: its version, the user that owns the databases, and where locks are known.
    pub(in crate::testing) server: String,
    /// Differs after every start and every crash of the server: clones of before are not used.
    pub(in crate::testing) incarnation: String,
    /// The user, as a statement that grants something names it.
    pub(in crate::testing) user: String,
    /// The connections that the user can have.
    pub(in crate::testing) max_connections: u32,
}

/// What the name of a clone is made of.
#[derive(Clone, Copy)]
pub(in crate::testing) struct CloneName<'a> {
    pub(in crate::testing) fingerprint: &'a str,
    pub(in crate::testing) incarnation: &'a str,
    /// Tells it from all others.
    pub(in crate::testing) number: &'a str,
}

/// A database of tests, as a server lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::testing) struct Found {
    pub(in crate::testing) name: String,
    pub(in crate::testing) fingerprint: String,
    /// Tells clones of one template from each other; empty for a template.
    pub(in crate::testing) number: String,
    pub(in crate::testing) state: DatabaseState,
}

/// What a database of tests is for, as far as the server tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::testing) enum DatabaseState {
    /// It is becoming a template, or was when its builder was killed.
    Building,
    /// It is complete and never changes. It was last used on this day since 1970.
    Template { day: u64 },
    /// It is what its template is, as long as the server has not been started anew.
    Ready { incarnation: String },
    /// A test has it, or had it when its process ended.
    Leased,
    /// It is kept for a person, since this second, for this test where that is known.
    Kept { since: u64, test: Option<String> },
    /// An interrupted drop has left it.
    Broken,
}

impl Found {
    /// The lock that a process holds while it uses the database.
    pub(super) fn lock(&self) -> String {
        lock_of(&self.fingerprint, &self.number)
    }
}

impl CloneName<'_> {
    /// The lock that a process holds while it uses the database.
    pub(super) fn lock(&self) -> String {
        lock_of(self.fingerprint, self.number)
    }
}

fn lock_of(fingerprint: &str, number: &str) -> String {
    if number.is_empty() {
        return template_lock(fingerprint);
    }
    format!("{PREFIX}{fingerprint}_{number}")
}

/// The lock that is held while a template is built.
pub(super) fn template_lock(fingerprint: &str) -> String {
    format!("{PREFIX}{fingerprint}_template")
}
