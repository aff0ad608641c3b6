//! Several hosts in one URL, as libpq has them: <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-MULTIPLE-HOSTS>.
//!
//! The drivers know one host alone. So the list is taken apart here, into a URL for each host, and the two parameters that
//! say which of them is wanted are taken out.

use std::iter;

use super::names;
use super::url::DatabaseUrl;

/// Which sessions are wanted.
/// <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-TARGET-SESSION-ATTRS>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

const TARGETS: &[(&str, Target)] = &[
    ("any", Target::Any),
    ("read-write", Target::ReadWrite),
    ("read-only", Target::ReadOnly),
    ("primary", Target::Primary),
    ("standby", Target::Standby),
    ("prefer-standby", Target::PreferStandby),
];

impl Target {
    /// As it is written in a URL.
    pub(crate) fn name(self) -> &'static str {
        TARGETS
            .iter()
            .find(|(_, target)| *target == self)
            .map_or("any", |(name, _)| name)
    }
}

/// The hosts of a URL, at least one, and which of them is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hosts {
    pub(crate) list: Vec<Host>,
    pub(crate) target: Target,
    /// Whether each connection takes them in another order.
    pub(crate) random: bool,
}

/// One host, with a URL of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// As it stands in the list: `db1:5433`.
    pub(crate) name: String,
    pub(crate) url: DatabaseUrl,
}

/// A URL in its pieces, as it is written.
struct Pieces<'a> {
    /// `postgres://user:password@`
    before: &'a str,
    hosts: &'a str,
    /// `/database`
    path: &'a str,
    parameters: Vec<&'a str>,
}

impl<'a> Pieces<'a> {
    /// `None` when there is no place for hosts.
    fn of(url: &'a str) -> Option<Self> {
        let start = url.find("://")? + "://".len();
        let authority = url[start..].split(['/', '?', '#']).next()?;
        // A password may have an unescaped `@` in it.
        let hosts = authority.rfind('@').map_or(0, |at| at + 1);
        let (end, hosts_at) = (start + authority.len(), start + hosts);
        let (path, query) = match url[end..].split_once('?') {
            Some((path, query)) => (path, query),
            None => (&url[end..], ""),
        };
        Some(Self {
            before: &url[..hosts_at],
            hosts: &url[hosts_at..end],
            path,
            parameters: query.split('&').filter(|text| !text.is_empty()).collect(),
        })
    }

    /// Takes a parameter out; of several, the last one counts.
    fn take(&mut self, name: &str) -> Option<&'a str> {
        let is_it = |text: &str| text.split('=').next() == Some(name);
        let value = self
            .parameters
            .iter()
            .rev()
            .find(|text| is_it(text))
            .copied();
        self.parameters.retain(|text| !is_it(text));
        Some(value?.split_once('=')?.1)
    }

    fn url(&self, host: &str, more: &[String]) -> Result<DatabaseUrl, String> {
        let own = self.parameters.iter().map(|text| (*text).to_owned());
        let parameters: Vec<String> = own.chain(more.iter().cloned()).collect();
        let mark = if parameters.is_empty() { "" } else { "?" };
        let url = format!(
            "{}{host}{}{mark}{}",
            self.before,
            self.path,
            parameters.join("&")
        );
        DatabaseUrl::parse(&url).map_err(str::to_owned)
    }
}

impl Hosts {
    /// Reads the list.
    ///
    /// # Errors
    ///
    /// What is wrong with it, without quoting more than that.
    pub(crate) fn read(url: &DatabaseUrl) -> Result<Self, String> {
        let Some(mut pieces) = Pieces::of(url.expose()) else {
            return Ok(Self::one(url));
        };
        let target = match pieces.take("target_session_attrs") {
            None => Target::Any,
            Some(written) => one_of("target_session_attrs", written, TARGETS)?,
        };
        let random = match pieces.take("load_balance_hosts") {
            None => false,
            Some(written) => one_of(
                "load_balance_hosts",
                written,
                &[("disable", false), ("random", true)],
            )?,
        };
        let list = if pieces
            .parameters
            .iter()
            .any(|text| text.starts_with("host=") && text.contains([',', '%']))
        {
            of_parameters(&mut pieces)?
        } else {
            of_authority(&mut pieces)?
        };
        Ok(Self {
            list,
            target,
            random,
        })
    }

    /// A URL that has no list.
    pub(crate) fn one(url: &DatabaseUrl) -> Self {
        let host = Host {
            name: String::new(),
            url: url.clone(),
        };
        Self {
            list: vec![host],
            target: Target::Any,
            random: false,
        }
    }
}

/// `host1:port1,host2:port2`
fn of_authority(pieces: &mut Pieces<'_>) -> Result<Vec<Host>, String> {
    let hosts = list_of(pieces.hosts)?;
    // One that is set apart counts for more, as in the drivers.
    let ports = match pieces.take("port") {
        Some(written) => ports(written, hosts.len())?,
        None => vec![None; hosts.len()],
    };
    let of_one = hosts.iter().zip(ports).map(|(host, port)| {
        let name = match port {
            Some(port) => format!("{}:{port}", without_port(host)),
            None => host.clone(),
        };
        let url = pieces.url(&name, &[])?;
        Ok(Host { name, url })
    });
    of_one.collect()
}

/// `?host=host1,host2&port=5432,5433`
fn of_parameters(pieces: &mut Pieces<'_>) -> Result<Vec<Host>, String> {
    let written = pieces
        .take("host")
        .unwrap_or_default()
        .replace("%2C", ",")
        .replace("%2c", ",");
    let hosts = list_of(&written)?;
    let ports = match pieces.take("port") {
        Some(written) => ports(written, hosts.len())?,
        None => vec![None; hosts.len()],
    };
    let of_one = hosts.iter().zip(ports).map(|(host, port)| {
        let mut parameters = vec![format!("host={host}")];
        let mut name = host.clone();
        if let Some(port) = port {
            parameters.push(format!("port={port}"));
            name = format!("{host}:{port}");
        }
        let url = pieces.url(pieces.hosts, &parameters)?;
        Ok(Host { name, url })
    });
    of_one.collect()
}

fn list_of(written: &str) -> Result<Vec<String>, String> {
    let list: Vec<String> = written.split(',').map(str::to_owned).collect();
    if list.len() > 1 && list.iter().any(String::is_empty) {
        return Err("its list of hosts has an empty place".to_owned());
    }
    Ok(list)
}

/// As many ports as hosts, or one for all.
fn ports(written: &str, hosts: usize) -> Result<Vec<Option<u16>>, String> {
    let written = written.replace("%2C", ",").replace("%2c", ",");
    let ports = written.split(',').map(|port| match port {
        "" => Ok(None),
        port => match port.parse() {
            Ok(port) => Ok(Some(port)),
            Err(_) => Err(format!("`{port}` is not a port")),
        },
    });
    let ports: Vec<Option<u16>> = ports.collect::<Result<_, _>>()?;
    match ports.as_slice() {
        [one] => Ok(iter::repeat_n(*one, hosts).collect()),
        _ if ports.len() == hosts => Ok(ports),
        _ => Err(format!(
            "it has {} ports for {hosts} host{}; give one for all, or one for each",
            ports.len(),
            if hosts == 1 { "" } else { "s" }
        )),
    }
}

/// A host without its port; one in brackets has colons of its own.
fn without_port(host: &str) -> &str {
    match host.rfind(']') {
        Some(bracket) => &host[..=bracket],
        None => host.split(':').next().unwrap_or(host),
    }
}

/// The value of a parameter that takes one of a few words.
fn one_of<T: Copy>(name: &str, written: &str, known: &[(&str, T)]) -> Result<T, String> {
    let words = || known.iter().map(|(word, _)| *word);
    if let Some((_, value)) = known.iter().find(|(word, _)| *word == written) {
        return Ok(*value);
    }
    let meant = names::nearest(written, words())
        .map(|word| format!(" (did you mean `{word}`?)"))
        .unwrap_or_default();
    let words: Vec<&str> = words().collect();
    Err(format!(
        "`{written}` is not a value of {name}{meant}; it takes one of {}",
        words.join(", ")
    ))
}
