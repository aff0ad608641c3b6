//! What a driver's error means: whether to try again, what happened, and what to do about it.

use std::borrow::Cow;
use std::fmt;
use std::io;

/// What a failed connection attempt means, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    /// Whether the next attempt may succeed without a change by a person.
    pub(crate) retry: bool,
    /// Whether the server has answered that it has no room for another session.
    pub(crate) full: bool,
    /// Whether each of several hosts would refuse for the same reason.
    pub(crate) everywhere: bool,
    /// What happened, in a few words.
    pub(crate) what: Cow<'static, str>,
    /// What a person can do about it.
    pub(crate) cure: Cow<'static, str>,
}

impl Diagnosis {
    pub(crate) fn retry(what: &'static str, cure: &'static str) -> Self {
        Self {
            retry: true,
            full: false,
            everywhere: false,
            what: what.into(),
            cure: cure.into(),
        }
    }

    /// The diagnosis of a server or a pooler that has no room for another session.
    pub(super) fn full(what: &'static str, cure: &'static str) -> Self {
        Self {
            full: true,
            ..Self::retry(what, cure)
        }
    }

    /// The diagnosis of a server that sent no answer at all.
    pub(crate) fn no_answer() -> Self {
        Self::retry(
            "the server did not answer",
            "check the network between here and the server",
        )
    }

    /// The diagnosis of a refusal that each host would repeat, now and later.
    pub(crate) fn fatal(what: &'static str, cure: &'static str) -> Self {
        Self {
            everywhere: true,
            ..Self::fatal_here(what, cure)
        }
    }

    /// The diagnosis of a refusal that one host would repeat, and that says nothing about the others.
    pub(crate) fn fatal_here(what: &'static str, cure: &'static str) -> Self {
        Self {
            retry: false,
            full: false,
            everywhere: false,
            what: what.into(),
            cure: cure.into(),
        }
    }
}

/// The message of the server or the driver, without details for their developers: the driver's code and the line of the
/// server's source.
pub(crate) fn message(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        // Our own message, not the driver's.
        sqlx::Error::Io(error) if diagnosis_of(error).is_some() => error.to_string(),
        error => error.to_string(),
    }
}

/// The diagnosis of an error of the driver or the network, without a code of the server.
pub(super) fn of_driver(error: &sqlx::Error) -> Diagnosis {
    match error {
        sqlx::Error::Io(error) => diagnosis_of(error).unwrap_or_else(|| of_network(error)),
        sqlx::Error::Tls(_) => Diagnosis::fatal_here(
            "the TLS handshake failed",
            "check the server's certificate and the sslmode (MySQL: ssl-mode) of the url",
        ),
        sqlx::Error::Configuration(_) => Diagnosis::fatal(
            "the driver does not accept the connect options",
            "correct the url, its query parameters and the files that they name",
        ),
        _ => Diagnosis::fatal_here(
            "the connection could not be opened",
            "see the driver's message",
        ),
    }
}

fn of_network(error: &io::Error) -> Diagnosis {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Diagnosis::retry(
            "the server refused the connection",
            "start the server, or correct host and port of the url",
        ),
        io::ErrorKind::NotFound => Diagnosis::retry(
            "the server's socket does not exist",
            "start the server, or correct the socket path of the url",
        ),
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => Diagnosis::retry(
            "the server ended the connection while it was being opened",
            "see the server's log; a proxy without a server behind it does this too",
        ),
        io::ErrorKind::TimedOut => Diagnosis::retry(
            "the server did not answer in time",
            "check the network between here and the server, or raise connect_timeout",
        ),
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::AddrNotAvailable => Diagnosis::retry(
            "the server's host cannot be reached",
            "check the network between here and the server, or correct the host of the url",
        ),
        io::ErrorKind::PermissionDenied => Diagnosis::fatal_here(
            "the operating system denied access",
            "check the rights of the file or socket that the url names",
        ),
        // A container's name often resolves only once the container runs.
        _ if is_lookup(error) => Diagnosis::retry(
            "the host's name could not be resolved",
            "start the server, or correct the host of the url",
        ),
        _ => Diagnosis::fatal_here(
            "the connection could not be opened",
            "check host and port of the url and the network",
        ),
    }
}

/// Whether the lookup of a host name failed. The standard library has no stable kind for it; its messages begin with these
/// words (`std::net::ToSocketAddrs`), those of Windows with the second ones, and that of tokio for a name without addresses with
/// the last ones.
fn is_lookup(error: &io::Error) -> bool {
    let message = error.to_string();
    [
        "failed to lookup address information",
        "No such host is known",
        "could not resolve",
    ]
    .iter()
    .any(|words| message.starts_with(words))
}

/// Our own error, wrapped as `sqlx::Error::Io`, with its diagnosis.
#[derive(Debug)]
struct Diagnosed {
    message: String,
    diagnosis: Diagnosis,
}

impl fmt::Display for Diagnosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Diagnosed {}

/// A connect error with a message and diagnosis of our own.
pub(crate) fn diagnosed(message: String, diagnosis: Diagnosis) -> sqlx::Error {
    let error = Diagnosed { message, diagnosis };
    sqlx::Error::Io(io::Error::new(io::ErrorKind::NotConnected, error))
}

/// The message of an error that [`diagnosed`] has made. It is our own text, so the error that a caller gets includes it.
pub(crate) fn own_message(error: &sqlx::Error) -> Option<String> {
    match error {
        sqlx::Error::Io(error) => diagnosis_of(error).map(|_| error.to_string()),
        _ => None,
    }
}

/// The diagnosis of an error that [`diagnosed`] has made.
fn diagnosis_of(error: &io::Error) -> Option<Diagnosis> {
    let error: &Diagnosed = error.get_ref()?.downcast_ref()?;
    Some(error.diagnosis.clone())
}

#[cfg(test)]
mod tests {
    use std::net::ToSocketAddrs;

    use super::*;

    #[test]
    fn a_host_that_cannot_be_found_or_reached_is_tried_again() {
        // A name with an empty label never resolves, and is not asked for.
        let lookup = "a..b:5432".to_socket_addrs().map(drop).unwrap_err();
        let mut errors = vec![lookup];
        errors.extend(
            [
                io::ErrorKind::HostUnreachable,
                io::ErrorKind::NetworkUnreachable,
                io::ErrorKind::NetworkDown,
                io::ErrorKind::AddrNotAvailable,
                io::ErrorKind::ConnectionRefused,
            ]
            .map(io::Error::from),
        );
        for error in errors {
            let said = format!("{error:?}");
            assert!(of_driver(&sqlx::Error::Io(error)).retry, "{said}");
        }
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        assert!(!of_driver(&sqlx::Error::Io(denied)).retry);
    }
}
