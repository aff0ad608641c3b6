//! The write position of a server, and the query whether another server has replayed it.

use std::fmt;
use std::str::FromStr;

use crate::settings::ParseError;

/// The write position of a server at one moment, which its replicas can be asked about.
///
/// Its text is the answer of [`Dialect::written`](super::Dialect::written). The text may come back from a client, so it is
/// parsed strictly: only numbers and the characters of an identifier go into a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LogPosition {
    /// The database has no replication, or the server does not count its writes.
    Unknown,
    /// A position in the write-ahead log of Postgres.
    /// <https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-BACKUP>
    Log {
        /// The id of the cluster, which a replica has in common with its primary.
        system: i64,
        /// The timeline of the position: each promotion begins one.
        timeline: u32,
        /// Bytes from the log's beginning.
        at: u64,
    },
    /// The last transaction of each domain of MariaDB. <https://mariadb.com/kb/en/gtid/>
    Gtids {
        /// The id of the server that wrote.
        server: u32,
        /// `domain-server-sequence`
        list: Vec<(u32, u32, u64)>,
    },
    /// The executed transactions of MySQL, each part `uuid:1-7`.
    /// <https://dev.mysql.com/doc/refman/8.4/en/replication-gtids-concepts.html#replication-gtids-concepts-gtid-sets>
    GtidSet(Vec<String>),
}

/// Whether a server has replayed a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replayed {
    Yes,
    NotYet,
    /// The server does not replay the position: it follows no server or another one, or it wrote the position itself.
    Never,
}

impl LogPosition {
    /// The query for another server, whose answer [`Replayed::read`] parses. `None` where no server can be asked.
    pub(crate) fn question(&self) -> Option<String> {
        match self {
            Self::Unknown => None,
            // The control data functions are open to every user, and read a file of the server. Their timeline may be older
            // than the replayed one and is never newer. So a replica that has just followed a promotion counts as a replica
            // only after its next restart point:
            // <https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-CONTROLDATA>.
            Self::Log {
                system,
                timeline,
                at,
            } => Some(format!(
                "SELECT CASE WHEN NOT pg_is_in_recovery() THEN 'never' \
                 WHEN (SELECT system_identifier FROM pg_control_system()) <> {system} THEN 'never' \
                 WHEN coalesce(pg_last_wal_replay_lsn() - '0/0'::pg_lsn < {at}, true) THEN 'not yet' \
                 WHEN greatest((SELECT timeline_id FROM pg_control_checkpoint()), \
                               (SELECT min_recovery_end_timeline FROM pg_control_recovery())) < {timeline} THEN 'never' \
                 ELSE 'yes' END"
            )),
            // <https://mariadb.com/kb/en/master_gtid_wait/>; with a timeout of zero it does not wait.
            Self::Gtids { server, list } => {
                let list: Vec<String> = list.iter().map(gtid).collect();
                Some(format!(
                    "SELECT CAST(IF(@@global.server_id = {server}, 'never', \
                     IF(MASTER_GTID_WAIT('{}', 0) = 0, 'yes', 'not yet')) AS CHAR)",
                    list.join(",")
                ))
            }
            // <https://dev.mysql.com/doc/refman/8.4/en/gtid-functions.html>; the function that waits takes zero as forever.
            Self::GtidSet(parts) => Some(format!(
                "SELECT CAST(IF(GTID_SUBSET('{}', @@global.gtid_executed), 'yes', 'not yet') AS CHAR)",
                parts.join(",")
            )),
        }
    }
}

impl Replayed {
    pub(crate) fn read(answer: &str) -> Self {
        match answer {
            "yes" => Self::Yes,
            "not yet" => Self::NotYet,
            _ => Self::Never,
        }
    }
}

fn gtid((domain, server, sequence): &(u32, u32, u64)) -> String {
    format!("{domain}-{server}-{sequence}")
}

impl fmt::Display for LogPosition {
    /// The text has only letters, digits, `.`, `:`, `-` and `_`, which need no escape in a cookie, a header and a URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown"),
            Self::Log {
                system,
                timeline,
                at,
            } => write!(f, "postgres.{system}.{timeline}.{at}"),
            Self::Gtids { server, list } => {
                write!(f, "mariadb.{server}")?;
                list.iter()
                    .try_for_each(|entry| write!(f, ".{}", gtid(entry)))
            }
            Self::GtidSet(parts) => {
                f.write_str("mysql")?;
                parts.iter().try_for_each(|part| write!(f, ".{part}"))
            }
        }
    }
}

impl FromStr for LogPosition {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (kind, rest) = text.split_once('.').unwrap_or((text, ""));
        let read = match kind {
            "unknown" if rest.is_empty() => Some(Self::Unknown),
            "postgres" => log(rest),
            "mariadb" => gtids(rest),
            "mysql" => gtid_set(rest),
            _ => None,
        };
        read.ok_or_else(|| ParseError::new("a write mark"))
    }
}

fn log(rest: &str) -> Option<LogPosition> {
    let mut parts = rest.split('.');
    let position = LogPosition::Log {
        system: parts.next()?.parse().ok()?,
        timeline: number(parts.next()?)?,
        at: number(parts.next()?)?,
    };
    parts.next().is_none().then_some(position)
}

fn gtids(rest: &str) -> Option<LogPosition> {
    let (server, list) = rest.split_once('.').unwrap_or((rest, ""));
    let server = number(server)?;
    if list.is_empty() {
        // The server has no log of its writes.
        return Some(LogPosition::Unknown);
    }
    let list = list.split('.').map(|entry| {
        let mut parts = entry.split('-');
        let read = (
            number(parts.next()?)?,
            number(parts.next()?)?,
            number(parts.next()?)?,
        );
        parts.next().is_none().then_some(read)
    });
    let list = list.collect::<Option<_>>()?;
    Some(LogPosition::Gtids { server, list })
}

fn gtid_set(rest: &str) -> Option<LogPosition> {
    if rest.is_empty() {
        // The server does not count its transactions.
        return Some(LogPosition::Unknown);
    }
    let is_part = |part: &&str| {
        let (uuid, intervals) = part.split_once(':').unwrap_or_default();
        uuid.len() == 36
            && uuid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
            && !intervals.is_empty()
            && intervals
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-:_".contains(&b))
    };
    let parts: Vec<&str> = rest.split('.').collect();
    let parts = parts.iter().all(is_part).then_some(parts)?;
    Some(LogPosition::GtidSet(
        parts.into_iter().map(str::to_owned).collect(),
    ))
}

/// Parses a number without a sign, which `parse` would accept.
fn number<T: FromStr>(text: &str) -> Option<T> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "3E11FA47-71CA-11E1-9E33-C80AA9429562";

    #[test]
    fn a_text_that_is_read_is_written_the_same() {
        let of_mysql = format!("mysql.{UUID}:1-5:7.{UUID}:domain_1:1-9");
        for text in [
            "unknown",
            "postgres.7471289374910283746.1.23803720",
            "postgres.-1.4294967295.18446744073709551615",
            "mariadb.3306.0-1-100",
            "mariadb.1.0-1-100.7-4294967295-18446744073709551615",
            &of_mysql,
        ] {
            let position: LogPosition = text.parse().unwrap();
            assert_eq!(position.to_string(), text);
            assert_eq!(position.question().is_none(), text == "unknown");
        }
    }

    #[test]
    fn a_server_that_does_not_count_has_no_position() {
        for text in ["mariadb.1", "mariadb.1.", "mysql.", "mysql"] {
            assert_eq!(text.parse(), Ok(LogPosition::Unknown), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let injected = format!("mysql.{UUID}:1', (SELECT 1), '");
        let short = format!("mysql.{}:1", &UUID[1..]);
        for text in [
            "",
            "unknown.1",
            "postgres",
            "postgres.1.1",
            "postgres.1.1.1.1",
            "postgres.1.-1.1",
            "postgres.1.1.+1",
            "postgres.1.1.18446744073709551616",
            "postgres.1.1.0/1",
            "postgres.1.1.1; DROP TABLE band",
            "mariadb",
            "mariadb.x.0-1-1",
            "mariadb.1.0-1",
            "mariadb.1.0-1-1-1",
            "mariadb.1.0-1-1'",
            "mariadb.1.0-1-1.",
            "oracle.1",
            "mysql.x",
            &injected,
            &short,
        ] {
            let error = text.parse::<LogPosition>().unwrap_err();
            assert_eq!(error.to_string(), "not a write mark", "{text}");
        }
    }
}
