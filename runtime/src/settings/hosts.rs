//! Several hosts in one URL, as in libpq.
//!
//! <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-MULTIPLE-HOSTS>
//!
//! The drivers accept one host only. The list is split here into a URL for each host, and the two parameters that choose
//! between the hosts are removed.

use std::borrow::Cow;
use std::iter;

use url::form_urlencoded;

use super::names;
use super::secrets::{HIDDEN, show_name};
use super::url::DatabaseUrl;

/// The wanted kind of session: `target_session_attrs`.
///
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
    /// The word in a URL.
    pub(crate) fn name(self) -> &'static str {
        TARGETS
            .iter()
            .find(|(_, target)| *target == self)
            .map_or("any", |(name, _)| name)
    }
}

/// The hosts of a URL, at least one, and the choice between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hosts {
    pub(crate) list: Vec<Host>,
    pub(crate) target: Target,
    /// Whether each connection tries the hosts in a random order.
    pub(crate) random: bool,
    /// The names of parameters that were removed because the driver does not know them.
    pub(crate) ignored: Vec<String>,
}

/// One host, with a URL of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// The host as messages show it: `db1:5433`. Empty when no hosts are read from the URL.
    pub(crate) name: String,
    pub(crate) url: DatabaseUrl,
}

/// A URL split into its pieces, as written.
struct Pieces<'a> {
    /// `postgres://user:password@`
    before: &'a str,
    hosts: &'a str,
    /// `/database`
    path: &'a str,
    parameters: Vec<&'a str>,
}

impl<'a> Pieces<'a> {
    /// Splits a URL. Without `//` it has no host before its path: `postgres:/database?host=db1`.
    fn of(url: &'a DatabaseUrl) -> Self {
        let scheme = url.scheme().len() + ":".len();
        let url = url.expose();
        let (start, authority) = match url[scheme..].strip_prefix("//") {
            Some(rest) => (scheme + "//".len(), rest.split(['/', '?', '#']).next()),
            None => (scheme, None),
        };
        let authority = authority.unwrap_or_default();
        // A password may have an unescaped `@` in it.
        let hosts = authority.rfind('@').map_or(0, |at| at + 1);
        let (end, hosts_at) = (start + authority.len(), start + hosts);
        let (path, query) = match url[end..].split_once('?') {
            Some((path, query)) => (path, query),
            None => (&url[end..], ""),
        };
        Self {
            before: &url[..hosts_at],
            hosts: &url[hosts_at..end],
            path,
            parameters: query.split('&').filter(|text| !text.is_empty()).collect(),
        }
    }

    /// Removes a parameter and returns its value as written; of several, the last one counts.
    fn take(&mut self, name: &str) -> Option<&'a str> {
        let is_it = |text: &str| name_of(text) == name;
        let value = self
            .parameters
            .iter()
            .rev()
            .find(|text| is_it(text))
            .copied();
        self.parameters.retain(|text| !is_it(text));
        Some(value?.split_once('=')?.1)
    }

    /// The decoded value of a parameter; of several, the last one counts.
    fn value(&self, name: &str) -> Option<String> {
        let mut of_name = self.parameters.iter().rev();
        let text = of_name.find(|text| name_of(text) == name)?;
        let (_, value) = form_urlencoded::parse(text.as_bytes()).next()?;
        Some(value.into_owned())
    }

    /// Removes the parameters that the driver does not know, and returns their names.
    fn take_unknown(&mut self, knows: impl Fn(&str) -> bool) -> Vec<String> {
        let mut unknown = Vec::new();
        self.parameters.retain(|text| {
            let name = name_of(text);
            let stays = knows(&name);
            if !stays {
                // A name without a value may be the rest of a secret with an unescaped `&` in it.
                let name = if text.contains('=') {
                    show_name(&name)
                } else {
                    HIDDEN
                };
                unknown.push(name.to_owned());
            }
            stays
        });
        unknown
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

/// The decoded name of a parameter.
fn name_of(parameter: &str) -> Cow<'_, str> {
    let mut pairs = form_urlencoded::parse(parameter.as_bytes());
    pairs.next().map(|(name, _)| name).unwrap_or_default()
}

impl Hosts {
    /// Reads the list. `knows` says whether the driver knows a parameter.
    ///
    /// # Errors
    ///
    /// The reason, with no more of the URL than the wrong part.
    pub(crate) fn read(url: &DatabaseUrl, knows: fn(&str) -> bool) -> Result<Self, String> {
        let mut pieces = Pieces::of(url);
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
        // Lists are split here, and have ports also where the driver has no such parameter.
        let is_list = pieces.hosts.contains(',');
        let ignored = pieces.take_unknown(|name| knows(name) || (is_list && name == "port"));
        // A parameter overrides the host part, as in the drivers. A single host is left to the driver.
        let has_list = |name| pieces.value(name).is_some_and(|value| value.contains(','));
        let list = if has_list("host") {
            of_parameters(&mut pieces)?
        } else if pieces.value("host").is_none() && (is_list || has_list("port")) {
            of_authority(&mut pieces)?
        } else {
            let name = pieces.value("host");
            vec![Host {
                name: name.unwrap_or_else(|| pieces.hosts.to_owned()),
                url: pieces.url(pieces.hosts, &[])?,
            }]
        };
        Ok(Self {
            list,
            target,
            random,
            ignored,
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
            ignored: vec![],
        }
    }
}

/// `host1:port1,host2:port2`
fn of_authority(pieces: &mut Pieces<'_>) -> Result<Vec<Host>, String> {
    let hosts = list_of(pieces.hosts)?;
    if !hosts.iter().all(|host| has_port_or_none(host)) {
        return Err("what follows the `:` of a host is not a port".to_owned());
    }
    // The parameter `port` overrides the port of a host, as in the drivers.
    let ports = ports_of(pieces, hosts.len())?;
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
    let hosts = list_of(&pieces.value("host").unwrap_or_default())?;
    pieces.take("host");
    let ports = ports_of(pieces, hosts.len())?;
    let of_one = hosts.iter().zip(ports).map(|(host, port)| {
        let escaped: String = form_urlencoded::byte_serialize(host.as_bytes()).collect();
        let mut parameters = vec![format!("host={escaped}")];
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

/// The port of each host: one port for each, or one for all.
fn ports_of(pieces: &mut Pieces<'_>, hosts: usize) -> Result<Vec<Option<u16>>, String> {
    let Some(written) = pieces.value("port") else {
        return Ok(vec![None; hosts]);
    };
    pieces.take("port");
    let ports = written.split(',').map(|port| match port {
        "" => Ok(None),
        port => match port.parse() {
            Ok(port) => Ok(Some(port)),
            Err(_) => Err(format!("`{}` is not a port", show_name(port))),
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

/// Whether the text after a host's `:` is a port. It may be a password without its `@`, so it is not shown.
fn has_port_or_none(host: &str) -> bool {
    let port = &host[without_port(host).len()..];
    let port = port.strip_prefix(':').unwrap_or(port);
    port.is_empty() || port.parse::<u16>().is_ok()
}

/// A host without its port. An address in brackets has colons of its own.
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
        "`{}` is not a value of {name}{meant}; it takes one of {}",
        show_name(written),
        words.join(", ")
    ))
}
