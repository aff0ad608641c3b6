//! The names of databases, which give their states.
//!
//! | name | the database |
//! |---|---|
//! | `poolhouse_<fingerprint>_building` | is becoming a template, or was when its builder was killed |
//! | `poolhouse_<fingerprint>_template` | is complete and never changes |
//! | `poolhouse_<fingerprint>_ready_<incarnation>_<n>` | is a clone that no test has used, valid until the server is restarted |
//! | `poolhouse_<fingerprint>_lease_<n>_<random>` | is leased, or was when its process ended; a comment gives another state |
//!
//! The fingerprint ends in the *scope*: the database whose advisory locks the leases are. It is empty for the database that all
//! processes use, if it admits them. A process does not touch databases of other scopes, because it does not see their leases.
//!
//! A process that leases a database renames it, so that leftover clients of another process's tests cannot reconnect. The
//! comment on a leased database marks it as clean or as kept.

use crate::testing::server::{
    CloneName, DatabaseState, Found, OF_FINGERPRINT, OF_NUMBER, PREFIX, is_hex,
};

/// The digits of a scope, of an incarnation, and of the random end of a leased database's name.
const OF_SCOPE: usize = 8;
const OF_INCARNATION: usize = 8;
const OF_RANDOM: usize = 4;

pub(super) fn building(fingerprint: &str) -> String {
    format!("{PREFIX}{fingerprint}_building")
}

pub(super) fn template(fingerprint: &str) -> String {
    format!("{PREFIX}{fingerprint}_template")
}

pub(super) fn ready(name: &CloneName<'_>) -> String {
    let CloneName {
        fingerprint,
        incarnation,
        number,
    } = name;
    format!("{PREFIX}{fingerprint}_ready_{incarnation}_{number}")
}

pub(super) fn lease(name: &CloneName<'_>) -> String {
    let CloneName {
        fingerprint,
        number,
        ..
    } = name;
    format!(
        "{PREFIX}{fingerprint}_lease_{number}_{:0OF_RANDOM$x}",
        fastrand::u16(..)
    )
}

/// The beginning of a clean database's comment. The incarnation of the server follows, and then how many sessions there were.
const CLEAN: &str = "poolhouse clean ";

/// The statement that marks a leased database as clean.
pub(super) fn mark_clean(database: &str, incarnation: &str, sessions: &str) -> String {
    format!("COMMENT ON DATABASE {database} IS '{CLEAN}{incarnation} {sessions}'")
}

/// Reads from a comment the incarnation of the server in which the database was clean.
pub(super) fn clean_in(comment: &str) -> Option<&str> {
    comment.strip_prefix(CLEAN)?.split(' ').next()
}

/// An SQL expression for the number of sessions in the mark of a clean database; NULL without a mark. `oid` is an SQL expression.
pub(super) fn marked_sessions(oid: &str) -> String {
    // The words of the comment after those of `CLEAN` and the incarnation.
    format!("substring(shobj_description({oid}, 'pg_database') FROM '^{CLEAN}[^ ]+ (.*)$')")
}

/// The scope in a fingerprint. The hash before it has hexadecimal digits only.
pub(super) fn scope(fingerprint: &str) -> &str {
    fingerprint.find('s').map_or("", |at| &fingerprint[at..])
}

/// Whether this is a fingerprint, with or without a scope.
fn is_fingerprint(word: &str) -> bool {
    let (hash, scope) = word.split_at(word.len() - scope(word).len());
    let is_scope = |scope: &str| scope.is_empty() || is_hex(&scope[1..], OF_SCOPE);
    is_hex(hash, OF_FINGERPRINT) && is_scope(scope)
}

/// Reads a name; `None` when it is not exactly one of a test database. A template's day is in its comment.
pub(super) fn parse(name: &str) -> Option<Found> {
    let words: Vec<&str> = name.strip_prefix(PREFIX)?.split('_').collect();
    let (fingerprint, number, state) = match words.as_slice() {
        [fingerprint, "building"] => (fingerprint, "", DatabaseState::Building),
        [fingerprint, "template"] => (fingerprint, "", DatabaseState::Template { day: 0 }),
        [fingerprint, "ready", incarnation, number]
            if is_hex(incarnation, OF_INCARNATION) && is_hex(number, OF_NUMBER) =>
        {
            let incarnation = (*incarnation).to_owned();
            (fingerprint, *number, DatabaseState::Ready { incarnation })
        }
        [fingerprint, "lease", number, random]
            if is_hex(number, OF_NUMBER) && is_hex(random, OF_RANDOM) =>
        {
            (fingerprint, *number, DatabaseState::Leased)
        }
        _ => return None,
    };
    is_fingerprint(fingerprint).then(|| Found {
        name: name.to_owned(),
        fingerprint: (*fingerprint).to_owned(),
        number: number.to_owned(),
        state,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_state() {
        let print = "0123456789abcdef";
        let name = CloneName {
            fingerprint: print,
            incarnation: "fedcba98",
            number: "76543210",
        };
        let state = |name: &str| parse(name).map(|one| (one.fingerprint, one.number, one.state));
        let found = |number: &str, state| Some((print.to_owned(), number.to_owned(), state));
        assert_eq!(state(&building(print)), found("", DatabaseState::Building));
        assert_eq!(
            state(&template(print)),
            found("", DatabaseState::Template { day: 0 })
        );
        let incarnation = name.incarnation.to_owned();
        assert_eq!(
            state(&ready(&name)),
            found(name.number, DatabaseState::Ready { incarnation })
        );
        assert_eq!(
            state(&lease(&name)),
            found(name.number, DatabaseState::Leased)
        );
        let mark = mark_clean("a", "fedcba98", "7 1700000000.25");
        let comment = mark.split('\'').nth(1);
        assert_eq!(comment.and_then(clean_in), Some("fedcba98"));
        assert_eq!(scope(print), "");
        assert_eq!(scope("0123456789abcdefs01234567"), "s01234567");
        for other in [
            "postgres",
            "poolhouse",
            "poolhouse_dev",
            "poolhouse_a_lease_x",
            "poolhouse_app_template",
            "poolhouse_app_building",
            "poolhouse_2024_template",
            "poolhouse_shop_lease_1_2",
            "poolhouse_shop_ready_1_2",
            "poolhouse_0123456789abcdef",
            "poolhouse_0123456789abcdef_copy",
            "poolhouse_0123456789abcde_template",
            "poolhouse_0123456789ABCDEF_template",
            "poolhouse_0123456789abcdefs0123_template",
            "poolhouse_0123456789abcdefs012345678_template",
            "poolhouse_0123456789abcdef_ready_fedcba9_76543210",
            "poolhouse_0123456789abcdef_ready_fedcba98_shop",
            "poolhouse_0123456789abcdef_lease_76543210_copy",
            "poolhouse_0123456789abcdef_lease_7654321_0123",
            "poolhouse_0123456789abcdef_lease_76543210_0123_old",
        ] {
            assert_eq!(state(other), None, "{other}");
        }
    }

    #[test]
    fn each_name_that_is_made_is_read() {
        let incarnation = "fedcba98";
        for fingerprint in ["0123456789abcdef", "0123456789abcdefs01234567"] {
            let name = CloneName {
                fingerprint,
                incarnation,
                number: "76543210",
            };
            for made in [
                building(fingerprint),
                template(fingerprint),
                ready(&name),
                lease(&name),
            ] {
                let read = parse(&made).map(|one| one.fingerprint);
                assert_eq!(read.as_deref(), Some(fingerprint), "{made}");
            }
        }
    }
}
