//! Several hosts in one URL.

use super::super::{DatabaseUrl, Hosts, Target};

fn read(url: &str) -> Result<Hosts, String> {
    Hosts::read(&DatabaseUrl::parse(url)?)
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
    assert_eq!(
        urls("postgres:///db?host=%2Frun%2Fone%2Ch2"),
        ["postgres:///db?host=%2Frun%2Fone", "postgres:///db?host=h2"]
    );
}

#[test]
fn one_host_stays_as_it_is() {
    for url in [
        "postgres://u:p@h:5432/db?sslmode=require",
        "postgres:///db?host=/run/postgresql",
        "postgres://h",
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
    assert_eq!(hosts.list[1].url.expose(), "postgres://h2/db?a=b");
    assert_eq!(hosts.list[1].name, "h2");
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
