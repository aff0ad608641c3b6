//! Several hosts in one URL.

use super::super::{DatabaseUrl, Hosts, Target};

fn read(url: &str) -> Result<Hosts, String> {
    // MySQL's driver has no parameters for hosts and ports.
    let knows: fn(&str) -> bool = if url.starts_with("mysql") {
        |name| name == "ssl-mode"
    } else {
        |name| matches!(name, "host" | "port" | "sslmode" | "dbname" | "password")
    };
    Hosts::read(&DatabaseUrl::parse(url)?, knows)
}

fn urls(url: &str) -> Vec<String> {
    let hosts = read(url).unwrap();
    hosts
        .list
        .iter()
        .map(|host| host.url.expose().to_owned())
        .collect()
}

#[test]
fn each_host_has_its_own_port() {
    assert_eq!(
        urls("postgres://u:p,@q@h1,h2:5433,[::1]:5434/db?sslmode=disable"),
        [
            "postgres://u:p,@q@h1/db?sslmode=disable",
            "postgres://u:p,@q@h2:5433/db?sslmode=disable",
            "postgres://u:p,@q@[::1]:5434/db?sslmode=disable"
        ]
    );
    assert_eq!(urls("mysql://h1,h2"), ["mysql://h1", "mysql://h2"]);
}

#[test]
fn ports_may_be_set_apart() {
    let two = ["postgres://h1:5/db", "postgres://h2:5/db"];
    assert_eq!(urls("postgres://h1,h2/db?port=5"), two);
    let two = ["postgres://h1:5/db", "postgres://[::1]:6/db"];
    assert_eq!(urls("postgres://h1:1,[::1]/db?port=5,6"), two);
    assert_eq!(
        urls("postgres:///db?host=h1,h2&port=5,6"),
        [
            "postgres:///db?host=h1&port=5",
            "postgres:///db?host=h2&port=6"
        ]
    );
    // Escaped names and values are the same.
    assert_eq!(
        urls("postgres:///db?h%6Fst=h1%2Ch2&%70ort=5%2C6"),
        urls("postgres:///db?host=h1,h2&port=5,6")
    );
    assert_eq!(
        urls("postgres:///db?host=%2Frun%2Fone%2Ch2"),
        ["postgres:///db?host=%2Frun%2Fone", "postgres:///db?host=h2"]
    );
}

#[test]
fn a_url_without_slashes_has_its_parameters_read() {
    let url = "postgres:/db?host=h1,h2&sslpassword=s3cret&a=b://c&target_session_attrs=primary";
    let hosts = read(url).unwrap();
    assert_eq!(urls(url), ["postgres:/db?host=h1", "postgres:/db?host=h2"]);
    assert_eq!(hosts.ignored, ["sslpassword", "a"]);
    assert_eq!(hosts.target, Target::Primary);
}

#[test]
fn one_host_stays_as_it_is() {
    for url in [
        "postgres://u:p@h:5432/db?sslmode=require",
        "postgres:///db?host=/run/postgresql",
        "postgres:///db?host=/run/postgresql&port=5433",
        "postgres:///db?host=%2Frun%2Fpostgresql&port=5433",
        "postgres://h:5432/db?port=5433",
        "postgres://h/db?host=other",
        "postgres://%2Frun%2Fpostgresql/db?port=5433",
        "postgres://[::1]:5432/db?port=5433",
        "mysql://h:3306/db?ssl-mode=DISABLED",
        "postgres://h",
        "postgres:/db?host=/run/postgresql",
        "sqlite::memory:",
    ] {
        assert_eq!(urls(url), [url]);
    }
}

#[test]
fn what_is_wanted_is_not_for_the_driver() {
    let hosts =
        read("postgres://h1,h2/db?target_session_attrs=read-write&a=b&load_balance_hosts=random")
            .unwrap();
    assert_eq!(hosts.target, Target::ReadWrite);
    assert!(hosts.random);
    assert_eq!(hosts.list[1].url.expose(), "postgres://h2/db");
    assert_eq!(hosts.list[1].name, "h2");
    let one = read("postgres:///db?host=/run&target%5Fsession_attrs=primary").unwrap();
    assert_eq!(one.target, Target::Primary);
    assert_eq!(one.list[0].url.expose(), "postgres:///db?host=/run");
    assert_eq!(one.list[0].name, "/run");
}

#[test]
fn what_the_driver_does_not_know_it_does_not_get() {
    for (url, given, ignored) in [
        (
            "postgres://h/db?a=s3cret&port=1",
            "postgres://h/db?port=1",
            "a",
        ),
        (
            "postgres://h/db?%61pi_key=s3cret",
            "postgres://h/db",
            "api_key",
        ),
        ("postgres://h1,h2/db?sas=s3cret", "postgres://h1/db", "sas"),
        // The rest of a password.
        (
            "postgres://h/db?password=a&s3cret",
            "postgres://h/db?password=a",
            "***",
        ),
        ("postgres://h/db?s3 cret=1", "postgres://h/db", "***"),
        ("mysql://h:3306/db?port=1", "mysql://h:3306/db", "port"),
        (
            "mysql://h:3306/db?host=x&ssl-mode=DISABLED",
            "mysql://h:3306/db?ssl-mode=DISABLED",
            "host",
        ),
        ("mysql://h1,h2/db?port=1&host=x", "mysql://h1:1/db", "host"),
    ] {
        let hosts = read(url).unwrap();
        assert_eq!(hosts.list[0].url.expose(), given);
        assert_eq!(hosts.ignored, [ignored], "{url}");
    }
}

#[test]
fn a_mistake_is_explained() {
    for (url, reason) in [
        (
            "postgres://h1,h2,h3/db?port=1,2",
            "it has 2 ports for 3 hosts; give one for all, or one for each",
        ),
        (
            "postgres://h1/db?port=1,2",
            "it has 2 ports for 1 host; give one for all, or one for each",
        ),
        ("postgres://h1,h2/db?port=x", "`x` is not a port"),
        (
            "postgres://h1,user:s3cret",
            "what follows the `:` of a host is not a port",
        ),
        ("postgres://h1,h2/db?port=s3:cret", "`***` is not a port"),
        (
            "postgres://h1,,h2/db",
            "its list of hosts has an empty place",
        ),
        (
            "postgres://h1,h2/db?target_session_attrs=readwrite",
            "`readwrite` is not a value of target_session_attrs (did you mean `read-write`?); it takes one of any, \
             read-write, read-only, primary, standby, prefer-standby",
        ),
        (
            "postgres://h1,h2/db?load_balance_hosts=on",
            "`on` is not a value of load_balance_hosts; it takes one of disable, random",
        ),
    ] {
        assert_eq!(read(url).unwrap_err(), reason);
    }
}
