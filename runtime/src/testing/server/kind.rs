//! The operations that differ between databases, over one connection.

use std::future::ready;

use crate::error::Error;
use crate::settings::EngineSettings;
use crate::testing::options::{DecidesContent, LeadsToServer};
use crate::testing::retention::KeptTest;
use crate::testing::test::Test;

/// The beginning of the names of all test databases.
pub(in crate::testing) const PREFIX: &str = "poolhouse_";

/// Whether a word of a name has exactly this many hexadecimal digits, as this crate writes them. A database whose name merely
/// resembles one of a test belongs to somebody else, and must not be dropped.
pub(in crate::testing) fn is_hex(word: &str, digits: usize) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    word.len() == digits && word.bytes().all(is_digit)
}

/// The digits of a [fingerprint](crate::testing::recipe::Recipe::fingerprint), without its scope.
pub(in crate::testing) const OF_FINGERPRINT: usize = 16;

/// The digits of a clone's number.
pub(in crate::testing) const OF_NUMBER: usize = 8;

/// The driver's connection of a kind.
pub(in crate::testing) type ConnectionOf<K> = <<K as Kind>::DB as sqlx::Database>::Connection;

/// A kind of database server.
///
/// Locks are named, belong to the session that takes them, and end with it. The `connection` of a method is the one that
/// holds the locks, unless its comment names another.
pub(in crate::testing) trait Kind: Sized + Send + Sync + 'static {
    type DB: DecidesContent + LeadsToServer;

    /// The content of a template, to clone it and to show that a database equals it.
    type Content: Send + Sync + 'static;

    /// The facts that identify the changes to a database since its lease.
    type Since: Clone + Send + Sync + 'static;

    /// Whether a connection can be reset to the state of a new one.
    const KEEPS_CONNECTIONS: bool;

    /// A statement that each of this process's own connections runs first. The statement turns off the limits of the server
    /// and the user for idle sessions, because a lease ends with its session, and for long statements.
    const SESSION: &'static str;

    /// Whether an error of a statement is an answer of the server that the same statement gets again: not one of a lost
    /// connection, a lack of room or time, or a lock of somebody else.
    fn is_lasting(error: &sqlx::Error) -> bool;

    /// Whether a statement may have failed because another session made the same thing at the same time, which both had looked
    /// for before.
    fn may_be_race(_: &sqlx::Error) -> bool {
        false
    }

    /// Opens the connection that holds the locks, and returns it with the name of its database.
    fn open(
        settings: &EngineSettings,
    ) -> impl Future<Output = Result<(ConnectionOf<Self>, String), Error>> + Send;

    /// Reads the identity of the server, once for each connection.
    fn identity(
        connection: &mut ConnectionOf<Self>,
    ) -> impl Future<Output = sqlx::Result<Identity>> + Send;

    /// Takes those of these locks that are free, at most `most`.
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

    /// Lists the test databases of the connection's scope, the oldest first if the server tells.
    fn list(
        connection: &mut ConnectionOf<Self>,
    ) -> impl Future<Output = sqlx::Result<Vec<Found>>> + Send;

    /// Reads the template of this fingerprint; `None` when it is missing or incomplete. Notes that the template is used
    /// today.
    fn find_template(
        connection: &mut ConnectionOf<Self>,
        fingerprint: &str,
        identity: &Identity,
    ) -> impl Future<Output = sqlx::Result<Option<Self::Content>>> + Send;

    /// Marks a ready database as leased, and returns its new name; `None` when it is no longer ready. Its lock must be held.
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

    /// Drops a database and its marks, over a worker connection. Ends the sessions in the database.
    fn drop(
        connection: &mut ConnectionOf<Self>,
        database: &str,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Whether transactions that outlive their session, or subscriptions, may be the reason why a drop was refused with this error.
    fn may_be_in_use(_: &sqlx::Error) -> bool {
        false
    }

    /// Ends the transactions in a database that outlive their session, and its subscriptions, over a connection to that database.
    /// Returns how many there were.
    fn end_prepared(
        _: &mut ConnectionOf<Self>,
    ) -> impl Future<Output = sqlx::Result<usize>> + Send {
        ready(Ok(0))
    }

    /// Removes the marks when no test database is left.
    fn removed_all(_: &mut ConnectionOf<Self>) -> impl Future<Output = sqlx::Result<()>> + Send {
        ready(Ok(()))
    }

    /// Counts the sessions in a database.
    fn sessions(
        connection: &mut ConnectionOf<Self>,
        database: &str,
    ) -> impl Future<Output = sqlx::Result<usize>> + Send;

    /// Notes a connection to the leased database that this process has opened, and queries it if needed.
    fn opened(
        connection: &mut ConnectionOf<Self>,
        since: &mut Self::Since,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Notes how many further connections a test's engine has opened and closed.
    fn opened_by_engine(since: &mut Self::Since, connections: i64);

    /// Clears the session of a test; false when that is not possible.
    fn clear_session(
        connection: &mut ConnectionOf<Self>,
    ) -> impl Future<Output = sqlx::Result<bool>> + Send;

    /// Whether a cleared connection to a database with this content, and the driver's part of it, are like new.
    fn is_like_new(
        _: &mut ConnectionOf<Self>,
        _: &Self::Content,
        _: &Self::Since,
    ) -> impl Future<Output = sqlx::Result<bool>> + Send {
        ready(Ok(true))
    }

    /// Whether a rollback restores a database with this content, if no other session was in it: the server undoes all writes,
    /// and tells how many sessions there were. By default it does not, and the database is cleaned as after other tests.
    fn rollback_restores(_: &Self::Content) -> bool {
        false
    }

    /// Rolls back the transaction of a test and clears its session; false when the connection must not be reused.
    fn end_rollback(_: &mut ConnectionOf<Self>) -> impl Future<Output = sqlx::Result<bool>> + Send {
        ready(Ok(false))
    }
}

/// The identity of a server, its user, and the connections that the user can have.
#[derive(Clone, Debug)]
pub(in crate::testing) struct Identity {
    /// The server's part of each fingerprint: its version, the user that owns the databases, and the scope of locks.
    pub(in crate::testing) server: String,
    /// The end of each fingerprint: letters and digits that differ between sets of processes whose locks do not exclude each
    /// other. Empty for the usual set.
    pub(in crate::testing) scope: String,
    /// Differs after each start and each crash of the server. Earlier clones are not used.
    pub(in crate::testing) incarnation: String,
    /// The user, as written in a `GRANT` statement.
    #[cfg_attr(
        not(feature = "mysql"),
        allow(dead_code, reason = "Postgres is asked which right is missing")
    )]
    pub(in crate::testing) user: String,
    /// The connections that the user can have.
    pub(in crate::testing) max_connections: u32,
}

/// The parts of a clone's name.
#[derive(Clone, Copy)]
pub(in crate::testing) struct CloneName<'a> {
    pub(in crate::testing) fingerprint: &'a str,
    pub(in crate::testing) incarnation: &'a str,
    /// Distinguishes the clone from all others.
    pub(in crate::testing) number: &'a str,
}

/// A test database, as a server lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::testing) struct Found {
    pub(in crate::testing) name: String,
    pub(in crate::testing) fingerprint: String,
    /// Distinguishes the clones of one template; empty for a template.
    pub(in crate::testing) number: String,
    pub(in crate::testing) state: DatabaseState,
}

/// The state of a test database, as far as the server tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::testing) enum DatabaseState {
    /// Becoming a template, or was when its builder was killed.
    Building,
    /// A template, which is complete and never changes; last used on this day since 1970.
    Template { day: u64 },
    /// Equal to its template, until the server is restarted.
    Ready { incarnation: String },
    /// Leased by a test, or was when the test's process ended.
    Leased,
    /// Kept for inspection, since this second since 1970, with its test if known.
    Kept { since: u64, test: Option<KeptTest> },
    /// Left by an interrupted drop.
    #[cfg_attr(
        not(feature = "postgres"),
        allow(dead_code, reason = "only Postgres shows one")
    )]
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
    format!("{PREFIX}{fingerprint}{OF_TEMPLATE}")
}

/// Whether a lock is one of [`template_lock`].
pub(super) fn is_of_template(key: &str) -> bool {
    key.ends_with(OF_TEMPLATE)
}

const OF_TEMPLATE: &str = "_template";

#[cfg(test)]
mod tests {
    use super::is_hex;

    #[test]
    fn a_word_has_exactly_the_digits() {
        assert!(is_hex("0123456789abcdef", 16));
        for other in [
            "",
            "0123456789abcde",
            "0123456789abcdef0",
            "0123456789ABCDEF",
            "0123456789abcdeg",
        ] {
            assert!(!is_hex(other, 16), "{other}");
        }
    }
}
