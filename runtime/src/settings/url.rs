//! The URL of a database, shown without its secrets.

use std::fmt;
use std::str::FromStr;

use super::error::ParseError;
use super::secrets;

/// A database URL.
///
/// Any URL that sqlx accepts. It is stored as written, with its scheme in lower case, and passed to the driver, which has
/// its own rules (`sqlite::memory:`, `postgres:///db?host=/run/postgresql`, several hosts). Only the scheme is checked
/// here.
///
/// `Display` and `Debug` show the parts of the URL that are known to hold no secret, and `***` for the rest;
/// [`expose`](Self::expose) gives all of it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DatabaseUrl {
    raw: String,
    /// The index of the colon after the scheme.
    colon: usize,
}

impl DatabaseUrl {
    /// Reads a URL without the white space around it (a secret read from a file often ends in a newline).
    ///
    /// # Errors
    /// The reason, without a quotation of the URL.
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
        // Schemes are case-insensitive, but not every driver treats them so.
        Ok(Self {
            raw: format!("{}{rest}", scheme.to_ascii_lowercase()),
            colon,
        })
    }

    /// The part before the first colon, in lower case: `postgres`, `mysql`, `sqlite`, …
    pub fn scheme(&self) -> &str {
        &self.raw[..self.colon]
    }

    /// The decoded value of a parameter; of several, the last one counts.
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

    /// Reads a URL without the white space around it. The error does not quote it.
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
