//! What the names of databases tell.

use crate::testing::server::{CloneName, DatabaseState, Found, PREFIX};

pub(super) fn template(fingerprint: &str) -> String {
    format!("{PREFIX}{fingerprint}_template")
}

pub(super) fn clone(name: &CloneName<'_>) -> String {
    format!("{PREFIX}{}_db_{}", name.fingerprint, name.number)
}

/// What the marks begin with of a template that is complete, as long as the server has this incarnation; the day follows.
pub(super) fn done(template: &str, incarnation: &str) -> String {
    format!("{template}_done_{incarnation}_")
}

/// The mark of a ready clone.
pub(super) fn ready(name: &CloneName<'_>) -> String {
    format!("{}_ready_{}", clone(name), name.incarnation)
}

/// The databases of tests, of the names of all that begin like them. A mark whose database is gone stands for it.
pub(super) fn read(all: &[String]) -> Vec<Found> {
    let mut found: Vec<Found> = all.iter().filter_map(|name| database(name)).collect();
    for name in all {
        let Some((base, mark, value)) = mark(name) else {
            continue;
        };
        let state = match mark {
            "done" => value
                .parse()
                .ok()
                .map(|day| DatabaseState::Template { day }),
            "ready" => Some(DatabaseState::Ready {
                incarnation: value.to_owned(),
            }),
            _ => value
                .parse()
                .ok()
                .map(|since| DatabaseState::Kept { since, test: None }),
        };
        let Some(state) = state else {
            continue;
        };
        if let Some(one) = found.iter_mut().find(|one| one.name == base) {
            // A kept database stays so, whatever else is said of it.
            if !matches!(one.state, DatabaseState::Kept { .. }) {
                one.state = state;
            }
        } else if let Some(mut orphan) = database(base) {
            orphan.state = DatabaseState::Broken;
            found.push(orphan);
        }
    }
    found
}

/// A database that is no mark, as it is without any.
fn database(name: &str) -> Option<Found> {
    let words: Vec<&str> = name.strip_prefix(PREFIX)?.split('_').collect();
    let (fingerprint, number, state) = match words.as_slice() {
        [fingerprint, "template"] => (fingerprint, "", DatabaseState::Building),
        [fingerprint, "db", number] => (fingerprint, *number, DatabaseState::Leased),
        _ => return None,
    };
    Some(Found {
        name: name.to_owned(),
        fingerprint: (*fingerprint).to_owned(),
        number: number.to_owned(),
        state,
    })
}

/// The database that a mark speaks of, the kind of mark, and what else it says.
fn mark(name: &str) -> Option<(&str, &str, &str)> {
    let (rest, value) = name.rsplit_once('_')?;
    let (base, kind) = rest.rsplit_once('_')?;
    if matches!(kind, "ready" | "kept") {
        return Some((base, kind, value));
    }
    // Here `kind` is the incarnation.
    let (base, kind) = base.rsplit_once('_')?;
    (kind == "done").then_some((base, kind, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_tell_the_state() {
        let name = CloneName {
            fingerprint: "a",
            incarnation: "i",
            number: "1",
        };
        let names = [
            template("a"),
            format!("{}20000", done(&template("a"), "i")),
            template("b"),
            clone(&name),
            ready(&name),
            "poolhouse_a_db_2".to_owned(),
            "poolhouse_a_db_3".to_owned(),
            "poolhouse_a_db_3_kept_5".to_owned(),
            "poolhouse_a_db_4_ready_i".to_owned(),
            "poolhouse_dev".to_owned(),
            "poolhouse_dev_notes".to_owned(),
            "poolhouse_slot_7".to_owned(),
        ];
        let states: Vec<(String, DatabaseState)> = read(&names)
            .into_iter()
            .map(|found| (found.name, found.state))
            .collect();
        let expected = [
            (template("a"), DatabaseState::Template { day: 20000 }),
            (template("b"), DatabaseState::Building),
            (
                clone(&name),
                DatabaseState::Ready {
                    incarnation: "i".to_owned(),
                },
            ),
            ("poolhouse_a_db_2".to_owned(), DatabaseState::Leased),
            (
                "poolhouse_a_db_3".to_owned(),
                DatabaseState::Kept {
                    since: 5,
                    test: None,
                },
            ),
            ("poolhouse_a_db_4".to_owned(), DatabaseState::Broken),
        ];
        assert_eq!(states, expected);
    }
}
