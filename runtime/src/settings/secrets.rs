//! Hides secrets in text that logs and errors show.
//!
//! Three rules, each of which hides too much rather than too little:
//!
//! 1. Of a URL, only known parts are shown: the scheme, the user, hosts with ports, a plain path, and the parameters that
//!    are known to hold no secret. Text that should be a URL and cannot be read as one is not shown at all: it may be a
//!    list of keywords with a password, or a password alone.
//! 2. Of any other text, nothing is shown after the first `=` or `:` that follows a word such as `password`, `pwd`,
//!    `secret`, `token` or `key`, in any case. Text with `user:password@`, or with such a word written as `%61`, is not
//!    shown at all.
//! 3. Known secrets of the settings are removed from the messages of servers and drivers.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::names;

/// The text shown in place of a secret.
pub(crate) const HIDDEN: &str = "***";

/// Words that mark the value of a name as a secret, anywhere in the name.
const SECRETS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "pwd",
    "pass",
    "secret",
    "token",
    "key",
    "credential",
    "signature",
];

/// The parameters of URLs whose values may be shown: those of the drivers, of libpq and of poolhouse that hold no secret.
const SHOWN_PARAMETERS: &[&str] = &[
    "application_name",
    "cache",
    "channel_binding",
    "charset",
    "collation",
    "connect_timeout",
    "dbname",
    "gssencmode",
    "host",
    "hostaddr",
    "immutable",
    "keepalives",
    "load_balance_hosts",
    "mode",
    "options",
    "port",
    "socket",
    "ssl-ca",
    "ssl-cert",
    "ssl-mode",
    "ssl-root-cert",
    "sslca",
    "sslcert",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "target_session_attrs",
    "time-zone",
    "timezone",
    "user",
    "vfs",
];

/// The values of the parameters that take one of a few words.
const KEYWORDS: &[&str] = &[
    "any",
    "disable",
    "memory",
    "prefer",
    "prefer-standby",
    "primary",
    "private",
    "random",
    "read-only",
    "read-write",
    "require",
    "shared",
    "standby",
    "verify-ca",
    "verify-full",
    "verify-identity",
];

/// The schemes whose URLs name a file and no server.
const FILE_SCHEMES: &[&str] = &["sqlite"];

/// Shows text that should be a URL, without its secrets.
pub(super) fn show_url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once(':').filter(|(scheme, _)| is_scheme(scheme)) else {
        return HIDDEN.to_owned();
    };
    if FILE_SCHEMES.contains(&scheme) {
        let (path, query) = split_query(rest);
        return format!("{scheme}:{}{}", conceal(path), show_query(query));
    }
    match rest.strip_prefix("//") {
        Some(rest) => format!("{scheme}://{}", show_authority(rest)),
        None => HIDDEN.to_owned(),
    }
}

/// Shows text that should not be a URL, without its secrets.
pub(crate) fn conceal(text: &str) -> Cow<'_, str> {
    if let Some(at) = text.find("://") {
        let scheme = text[..at]
            .rfind(|c: char| !is_scheme_char(c))
            .map_or(0, |before| {
                before + text[before..].chars().next().map_or(0, char::len_utf8)
            });
        return format!("{}{}", conceal(&text[..scheme]), show_url(&text[scheme..])).into();
    }
    if let Some(value) = secret_value(text) {
        return format!("{}{HIDDEN}", &text[..value]).into();
    }
    let decoded = decode(text);
    // `user:password@`
    let has_user = decoded
        .rsplit_once('@')
        .is_some_and(|(user, _)| user.contains(':'));
    if has_user || secret_value(&decoded).is_some() {
        return HIDDEN.into();
    }
    text.into()
}

/// The first word of SQL, which names the command and holds no value.
pub(super) fn show_sql(sql: &str) -> String {
    let mut words = sql.split_whitespace();
    match (words.next(), words.next()) {
        (Some(word), Some(_)) if word.chars().all(|c| c.is_ascii_alphabetic()) => {
            format!("{word} …")
        }
        // A single word is no statement, and may be a secret.
        _ => HIDDEN.to_owned(),
    }
}

/// A name from a file or a variable, hidden when it does not look like a name.
pub(super) fn show_name(name: &str) -> &str {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    if !name.is_empty() && name.len() <= 64 && name.chars().all(is_plain) {
        name
    } else {
        HIDDEN
    }
}

/// A short and plain value (a number, a time, a word), hidden when it is none.
pub(super) fn show_value(text: &str) -> &str {
    let is_plain = |c: char| c.is_alphanumeric() || " _-.+,/".contains(c);
    if text.len() <= 64 && text.chars().all(is_plain) {
        text
    } else {
        HIDDEN
    }
}

/// The index of a secret's value: after the first `=` or `:` that follows a secret's name.
fn secret_value(text: &str) -> Option<usize> {
    let lower = text.to_ascii_lowercase();
    let name = SECRETS.iter().filter_map(|word| {
        let at = lower.find(word)?;
        Some(at + word.len())
    });
    let name = name.min()?;
    let delimiter = text[name..].find(['=', ':'])?;
    Some(name + delimiter + 1)
}

/// The secrets of a URL: its password and its hidden parameters, each as written and decoded.
pub(super) fn secrets_of(url: &str) -> Vec<String> {
    let mut secrets = Vec::new();
    let mut add = |written: &str| {
        for secret in [written.to_owned(), decode(written).into_owned()] {
            secrets.push(secret);
        }
    };
    if let Some((_, rest)) = url.split_once(':') {
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (user, rest) = split_user(rest);
        if let Some((_, password)) = user.and_then(|user| user.split_once(':')) {
            add(password);
        }
        let (_, query) = split_query(rest);
        for parameter in query.trim_start_matches('?').split('&') {
            if let Some((name, value)) = parameter.split_once('=')
                && !may_be_shown(name, value)
            {
                add(value);
            }
        }
    }
    secrets
}

/// The literals of SQL, which may be secrets.
pub(super) fn literals_of(sql: &str) -> Vec<String> {
    let mut literals = Vec::new();
    // The last one is that of Postgres' `$$…$$` and `$tag$…$tag$`.
    for quote in ['\'', '"', '$'] {
        let pieces = sql.split(quote).skip(1);
        literals.extend(pieces.map(str::trim).map(str::to_owned));
    }
    // A value without quotes: `SET app.key = abc`.
    for statement in sql.split(';') {
        if let Some(value) = secret_value(statement) {
            literals.push(statement[value..].trim().to_owned());
        }
    }
    literals
}

/// A message without the secrets; `None` when it holds none. Secrets below 4 bytes stay: cutting them out would garble
/// the message and hide nothing that could not be guessed.
pub(super) fn without(message: &str, secrets: &[String]) -> Option<String> {
    const SHORTEST: usize = 4;
    let mut found: Vec<&String> = secrets
        .iter()
        .filter(|secret| secret.len() >= SHORTEST && message.contains(secret.as_str()))
        .collect();
    if found.is_empty() {
        return None;
    }
    found.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let mut message = message.to_owned();
    for secret in found {
        message = message.replace(secret.as_str(), HIDDEN);
    }
    Some(message)
}

fn decode(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// Whether text is a scheme: <https://www.rfc-editor.org/rfc/rfc3986#section-3.1>.
pub(super) fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(is_scheme_char)
}

fn is_scheme_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')
}

/// Splits `user:password` from the text after its `@`.
fn split_user(rest: &str) -> (Option<&str>, &str) {
    // The first `@` ends the user part or is inside it, so the query can only begin after it.
    let Some(first) = rest.find('@') else {
        return (None, rest);
    };
    let query = query_start(rest, first);
    let last = rest[first..query].rfind('@').map_or(first, |at| first + at);
    // The `@` belongs to a parameter when valid hosts and a path are in front of the query.
    let (before, query) = split_query(rest);
    if query.contains('@') && !before.contains('@') && is_understood(before) {
        return (None, rest);
    }
    (Some(&rest[..last]), &rest[last + 1..])
}

/// Whether text is a list of hosts and a path.
fn is_understood(text: &str) -> bool {
    let (hosts, path) = text.split_at(text.find('/').unwrap_or(text.len()));
    are_hosts(hosts) && is_plain_path(path)
}

fn show_authority(rest: &str) -> String {
    let (user, rest) = split_user(rest);
    let (user, hides) = match user {
        None => (String::new(), false),
        Some(user) => {
            let (name, password) = match user.split_once(':') {
                Some((name, password)) => (name, Some(password)),
                None => (user, None),
            };
            let shown = if is_user(name) && password != Some(name) {
                name
            } else {
                HIDDEN
            };
            let password = if password.is_some() { ":***" } else { "" };
            (format!("{shown}{password}@"), shown == HIDDEN)
        }
    };
    let (before, query) = split_query(rest);
    let (hosts, path) = before.split_at(before.find('/').unwrap_or(before.len()));
    if hides || !are_hosts(hosts) {
        return format!("{user}{HIDDEN}");
    }
    let path = if is_plain_path(path) { path } else { "/***" };
    format!("{user}{hosts}{path}{}", show_query(query))
}

fn is_user(name: &str) -> bool {
    let name = decode(name);
    !name.contains([':', '=', '/', '?', '#', ';', ' ']) && secret_value(&name).is_none()
}

/// `host1:port1,host2:port2`; a host may be an IPv6 address in brackets, or a folder of sockets in `%2F`.
fn are_hosts(hosts: &str) -> bool {
    hosts.split(',').all(|host| {
        let (name, port) = match host.rfind(']') {
            Some(bracket) => (
                host[..=bracket].trim_matches(['[', ']']),
                &host[bracket + 1..],
            ),
            None => host.split_at(host.find(':').unwrap_or(host.len())),
        };
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '%' | ':');
        let port = port.strip_prefix(':').unwrap_or(port);
        name.chars().all(is_name)
            && (host.contains(']') || !name.contains(':'))
            && (port.is_empty() || port.parse::<u16>().is_ok())
    })
}

fn is_plain_path(path: &str) -> bool {
    let path = decode(path);
    !path.contains([':', '=', '@', ';', '&', '?', '#']) && !path.contains(char::is_whitespace)
}

/// Splits text before the `?` of its query.
fn split_query(text: &str) -> (&str, &str) {
    text.split_at(query_start(text, 0))
}

/// The index of the query, or the end: the first `?` from `from` on that a parameter follows, `?name=`.
fn query_start(text: &str, from: usize) -> usize {
    text[from..]
        .match_indices('?')
        .map(|(at, _)| from + at)
        .find(|at| {
            let parameter = text[at + 1..].split('=').next().unwrap_or_default();
            parameter.len() < text.len() - at - 1
                && parameter
                    .chars()
                    .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '%' | '[' | ']'))
        })
        .unwrap_or(text.len())
}

/// Shows a query that begins with `?`; values that are not known to be harmless are hidden.
fn show_query(query: &str) -> String {
    let Some(query) = query.strip_prefix('?') else {
        return String::new();
    };
    let mut shown: Vec<String> = vec![];
    let mut after_secret = false;
    for parameter in query.split('&') {
        match parameter.split_once('=') {
            Some((name, value)) => {
                after_secret = !may_be_shown(name, value);
                shown.push(if after_secret {
                    format!("{}={HIDDEN}", show_parameter_name(name))
                } else {
                    parameter.to_owned()
                });
            }
            // The rest of a secret with an unescaped `&` in it.
            None if after_secret => {}
            None => shown.push(HIDDEN.to_owned()),
        }
    }
    format!("?{}", shown.join("&"))
}

fn show_parameter_name(name: &str) -> &str {
    let is_plain = |c: char| c.is_alphanumeric() || "_-.%[]".contains(c);
    if name.chars().all(is_plain) {
        name
    } else {
        HIDDEN
    }
}

/// Whether server settings in a URL have one of an extension or of the program, such as `app.jwt`, which may hold anything. Their
/// names have a dot: <https://www.postgresql.org/docs/current/runtime-config-custom.html>.
fn has_custom_setting(name: &str, value: &str) -> bool {
    match name.strip_prefix("options") {
        // The names are those before each `=`: `-c app.jwt=eyJ -c search_path=music`.
        Some("") => value
            .match_indices('=')
            .filter_map(|(at, _)| value[..at].rsplit([' ', '=']).next())
            .any(|name| name.contains('.')),
        Some(_) => name.contains('.'),
        None => false,
    }
}

fn may_be_shown(name: &str, value: &str) -> bool {
    let (name, value) = (decode(name).to_ascii_lowercase(), decode(value));
    let is_option = name.starts_with("options[") && !SECRETS.iter().any(|word| name.contains(word));
    let has_user = value.contains('@') && value.contains(':');
    // A value that its parameter cannot have may be a secret.
    match &*name {
        "user" => return is_user(&value),
        "host" | "hostaddr" if !value.starts_with('/') => return are_hosts(&value),
        "port" | "statement-cache-capacity" | "connect_timeout" | "keepalives" => {
            return value
                .chars()
                .all(|c| c.is_ascii_digit() || matches!(c, ',' | '-'));
        }
        "sslmode"
        | "ssl-mode"
        | "mode"
        | "cache"
        | "gssencmode"
        | "channel_binding"
        | "target_session_attrs"
        | "load_balance_hosts" => {
            let is_word = value
                .chars()
                .all(|c| c.is_ascii_alphabetic() || matches!(c, '-' | '_'));
            // A misspelt value is shown, so that it can be found.
            return is_word || names::nearest(&value, KEYWORDS.iter().copied()).is_some();
        }
        _ => {}
    }
    (is_option || SHOWN_PARAMETERS.contains(&name.as_str()))
        && !has_custom_setting(&name, &value)
        && secret_value(&value).is_none()
        && !value.contains("://")
        && !value.contains('#')
        && !has_user
}
