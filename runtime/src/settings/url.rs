//! The URL of a database, which shows everything but its secrets.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use super::words::ParseError;

/// A database URL.
///
/// Any URL that sqlx accepts: it is kept as it was written and given to the driver, which knows its own rules (`sqlite::memory:`,
/// `postgres:///db?host=/run/postgresql`, several hosts). What is fixed here is only what every URL has, a scheme.
///
/// `Display` and `Debug` show the URL with its secrets replaced by `***`; see [`expose`](Self::expose) for the other way.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DatabaseUrl {
    raw: String,
    /// Where the scheme ends, at its colon.
    colon: usize,
}

impl DatabaseUrl {
    /// Takes a URL as it was written, less the white space around it (a secret read from a file often ends in a newline).
    ///
    /// # Errors
    /// What is wrong with it, without quoting it.
    pub(crate) fn parse(written: &str) -> Result<Self, &'static str> {
        let written = written.trim();
        if written.is_empty() {
            return Err("it is empty");
        }
        let colon = written.find(':').ok_or("it has no scheme")?;
        let (scheme, rest) = written.split_at(colon);
        // https://www.rfc-editor.org/rfc/rfc3986#section-3.1
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
        if !is_scheme {
            return Err("it does not begin with a scheme");
        }
        // Schemes mean the same in any case, but not every driver treats them so.
        Ok(Self {
            raw: format!("{}{rest}", scheme.to_ascii_lowercase()),
            colon,
        })
    }

    /// What stands before the first colon, in lower case: `postgres`, `mysql`, `sqlite`, …
    pub fn scheme(&self) -> &str {
        &self.raw[..self.colon]
    }

    /// The whole URL with its password, for the driver. Never log or print it.
    pub fn expose(&self) -> &str {
        &self.raw
    }
}

impl FromStr for DatabaseUrl {
    type Err = ParseError;

    /// Reads a URL, less the white space around it. The error does not quote it.
    fn from_str(written: &str) -> Result<Self, ParseError> {
        Self::parse(written).map_err(|reason| ParseError::new(format!("a database URL: {reason}")))
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact(&self.raw))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

/// A text that may be a URL, also a broken one, with everything that may be a secret replaced by `***`.
///
/// Works on the text rather than on a parsed URL: a URL that does not parse is just the one that ends up in an error, and
/// its password is often what broke it (an unescaped `@`, `/`, `?` or `#`). Where the two cannot be told apart, it hides
/// too much rather than too little.
pub(super) fn redact(text: &str) -> String {
    let authority = text.find("://").map_or(0, |at| at + "://".len());
    let (user, rest) = match password(text, authority) {
        Some(password) => (format!("{}***", &text[..password.start]), password.end),
        None => (text[..authority].to_owned(), authority),
    };
    let query = query_start(text, rest);
    format!(
        "{user}{}{}",
        &text[rest..query],
        redact_query(&text[query..])
    )
}

/// Where the password stands, between the first colon of the authority and the `@` that ends the user's part.
fn password(text: &str, authority: usize) -> Option<Range<usize>> {
    // The first `@` ends the user's part or stands in it, so the query can only begin after it.
    let first = authority + text[authority..].find('@')?;
    let query = query_start(text, first);
    let last = text[first..query].rfind('@').map_or(first, |at| first + at);
    match text[authority..last].find(':') {
        Some(colon) => Some(authority + colon + 1..last),
        // Without `//` nothing says that what stands before the `@` is a name.
        None if authority == 0 => Some(0..last),
        None => None,
    }
}

/// Where the query begins, or the end: the first `?` after `from` that a parameter follows, `?name=`.
fn query_start(text: &str, from: usize) -> usize {
    text[from..]
        .match_indices('?')
        .map(|(at, _)| from + at)
        .find(|at| {
            let parameter = text[at + 1..].split('=').next().unwrap_or_default();
            parameter.len() < text.len() - at - 1
                && parameter
                    .chars()
                    .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '%'))
        })
        .unwrap_or(text.len())
}

/// The query, from its `?` on, with the values of secret parameters hidden.
fn redact_query(query: &str) -> String {
    let mut shown: Vec<String> = vec![];
    let mut after_secret = false;
    for parameter in query.split('&') {
        match parameter.split_once('=') {
            Some((name, _)) => {
                after_secret = is_secret(name);
                shown.push(if after_secret {
                    format!("{name}=***")
                } else {
                    parameter.to_owned()
                });
            }
            // The rest of a secret with an unescaped `&` in it.
            None if after_secret => {}
            None => shown.push(parameter.to_owned()),
        }
    }
    shown.join("&")
}

/// Whether a parameter's value must not be shown: `password`, `sslpassword`, `access_token`, an inline `sslkey`.
fn is_secret(parameter: &str) -> bool {
    // A name can be written with escapes, `p%61ssword`. Nobody does so with good reason.
    let name = parameter.to_ascii_lowercase();
    name.contains('%')
        || [
            "password",
            "passwd",
            "pwd",
            "passphrase",
            "pass",
            "secret",
            "token",
            "key",
        ]
        .iter()
        .any(|secret| name.ends_with(secret))
}
