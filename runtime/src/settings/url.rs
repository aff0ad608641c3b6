//! The URL of a database, which shows everything but its secrets.

use std::fmt;
use std::str::FromStr;

use super::error::ParseError;
use super::secrets;

/// A database URL.
///
/// Any URL that sqlx accepts: it is kept as it was written and given to the driver, which knows its own rules (`sqlite::memory:`,
/// `postgres:///db?host=/run/postgresql`, several hosts). What is fixed here is only what every URL has, a scheme.
///
/// `Display` and `Debug` show what they understand of the URL and hold no secret, and `***` for the rest; see
/// [`expose`](Self::expose) for the other way.
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
        if !secrets::is_scheme(scheme) {
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

    /// The value of a parameter, as it is meant; of several, the last one counts.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let (_, query) = self.raw.split_once('?')?;
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        let (_, value) = pairs.filter(|(known, _)| known == name).last()?;
        Some(value.into_owned())
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
        f.write_str(&secrets::show_url(&self.raw))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}
